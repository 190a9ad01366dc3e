//! The rules that nearly match: what came closest to fusing an operator, and the first of its conditions that fails.
//!
//! A rule is looked for from the operator that it speaks about, not from its root: from there up, through what reads the results, to where
//! the root must stand, and then with the matcher from the root down.

use std::cmp::Reverse;

use planish_ir::{Graph, NodeId, Type, Use};

use super::facts::Facts;
use super::matcher::{Miss, Why, find, names};
use super::rule::{Rule, RuleSet};

/// A rule that does not match, and why.
#[derive(Debug)]
pub struct NearMiss<'r> {
    /// The rule.
    pub rule: &'r Rule,
    /// Operators of its pattern that were found.
    pub matched: usize,
    /// The first condition that fails.
    pub reason: String,
}

/// Operators that were not rewritten, each with what came nearest.
pub(crate) type Misses<'r> = Vec<(NodeId, NearMiss<'r>)>;

/// For every operator that a rule of the set speaks about and that was not rewritten: the nearest rule.
///
/// Silent where nothing was meant to be quantized: no operand is dequantized, and the result is not quantized.
pub(crate) fn misses<'r>(graph: &Graph, rules: &'r RuleSet, facts: &Facts<'_>) -> Misses<'r> {
    let mut misses = Vec::new();
    for node in graph.walk() {
        let about = rules.about(graph.node(node).op().name());
        if about.is_empty() || !is_quantizable(graph, node) {
            continue;
        }
        let nearest = about
            .iter()
            .map(|at| {
                let rule = &rules.rules()[*at];
                (rule, attempt(rule, rule.core(), graph, node, facts))
            })
            // The first of the nearest.
            .reduce(|best, next| if is_nearer(&next, &best) { next } else { best });
        // What is computed on codes already has missed something only where the rest of a rule is there.
        let least = usize::from(is_quantized(graph, node)) + 1;
        if let Some((rule, Err(miss))) = nearest
            && !matches!(miss.why, Why::Irrelevant)
            && miss.matched >= least
        {
            let reason = miss.why.tell(graph, facts);
            let matched = miss.matched;
            misses.push((
                node,
                NearMiss {
                    rule,
                    matched,
                    reason,
                },
            ));
        }
    }
    misses
}

/// The rule that matches with a node in its pattern, else the rules in whose patterns it could stand, those that come nearest first.
pub(crate) fn nearest<'r>(
    graph: &Graph,
    rules: &'r RuleSet,
    facts: &Facts<'_>,
    node: NodeId,
) -> Result<&'r Rule, Vec<NearMiss<'r>>> {
    let op = graph.node(node).op();
    let mut near = Vec::new();
    for rule in rules.rules() {
        let steps = (0..rule.pattern.len()).filter(|at| rule.pattern[*at].op.name() == op.name());
        let best = steps
            .map(|at| (rule, attempt(rule, at, graph, node, facts)))
            .reduce(|best, next| if is_nearer(&next, &best) { next } else { best });
        match best {
            Some((rule, Ok(()))) => return Ok(rule),
            Some((rule, Err(miss))) if !matches!(miss.why, Why::Irrelevant) => {
                near.push(NearMiss {
                    rule,
                    matched: miss.matched,
                    reason: miss.why.tell(graph, facts),
                });
            }
            _ => {}
        }
    }
    near.sort_by_key(|miss| {
        let missing = miss.rule.operators().saturating_sub(miss.matched);
        (Reverse(miss.matched), missing)
    });
    Err(near)
}

/// Whether a rule matches with a node as one of its steps.
fn attempt<'r>(
    rule: &'r Rule,
    step: usize,
    graph: &Graph,
    node: NodeId,
    facts: &Facts<'_>,
) -> Result<(), Miss<'r>> {
    let (mut at, mut node, mut matched) = (step, node, 0);
    while let Some((reader, operand, output)) = rule.reader(at) {
        let (step, next) = (&rule.pattern[at], &rule.pattern[reader]);
        let found = graph.node(node).op();
        if !names(step.op, found) {
            let expected = step.op;
            return Err(Miss {
                why: Why::Overload { expected, found },
                matched,
            });
        }
        let Some(value) = graph.node(node).outputs().get(output).copied() else {
            return Err(Miss {
                why: Why::Form(found),
                matched,
            });
        };
        matched += 1;
        let uses = graph.value(value).uses();
        let user = uses.iter().find_map(|at| match at {
            Use::Input(user, index) => (*index as usize == operand
                && names(next.op, graph.node(*user).op()))
            .then_some(*user),
            Use::Result(..) => None,
        });
        let Some(user) = user else {
            return Err(Miss {
                why: Why::Reader {
                    of: step.op,
                    value,
                    expected: next.op,
                },
                matched,
            });
        };
        (at, node) = (reader, user);
    }
    find(rule, graph, node, facts).map(drop)
}

type Attempt<'r> = (&'r Rule, Result<(), Miss<'r>>);

fn is_nearer(next: &Attempt<'_>, best: &Attempt<'_>) -> bool {
    let distance = |(rule, outcome): &Attempt<'_>| match outcome {
        Ok(()) => (usize::MAX, 0),
        Err(miss) => (
            miss.matched,
            usize::MAX - rule.operators().saturating_sub(miss.matched),
        ),
    };
    distance(next) > distance(best)
}

/// Whether somebody may have meant an operator to be computed on codes.
fn is_quantizable(graph: &Graph, node: NodeId) -> bool {
    if is_quantized(graph, node) {
        return true;
    }
    let node = graph.node(node);
    let Some(output) = node.outputs().first() else {
        return false;
    };
    if !matches!(graph.ty(*output), Type::Tensor(_)) {
        return false;
    }
    let is = |node: NodeId, name| graph.node(node).op().is(name);
    let dequantized = node.inputs().iter().any(|input| {
        let producer = graph.producer(*input);
        producer.is_some_and(|node| is(node, "aten::dequantize"))
    });
    dequantized
        || graph.value(*output).uses().iter().any(|at| match at {
            Use::Input(user, 0) => is(*user, "aten::quantize_per_tensor"),
            _ => false,
        })
}

fn is_quantized(graph: &Graph, node: NodeId) -> bool {
    let name = graph.node(node).op().name();
    name.as_str().starts_with("quantized::")
}
