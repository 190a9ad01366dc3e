//! Applies rules: one walk over the graph, at every node the first rule that matches, and again at what a rewrite made or feeds.

use std::collections::VecDeque;

use planish_ir::{At, Effects, Graph, NodeId, SecondaryMap, Type, Use, ValueId};

use super::facts::Facts;
use super::matcher::{Match, find};
use super::rule::{Rule, RuleSet, Term};
use super::watch::{Before, Watch};
use crate::pass::Fuel;

/// What a set of rules did to a graph.
#[derive(Debug, Default)]
pub(crate) struct Outcome<'r> {
    /// Rewrites in the order in which they were made.
    pub(crate) applied: Vec<Applied<'r>>,
}

/// One rewrite. A later one may have consumed what it made; what is known of a node stays readable.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Applied<'r> {
    pub(crate) rule: &'r Rule,
    /// The root of the match, which is gone.
    pub(crate) root: NodeId,
    /// What of the match says most about it, gone as well.
    pub(crate) core: NodeId,
    /// What took its place; `None` when that was there before.
    pub(crate) made: Option<NodeId>,
}

/// Rewrites a graph until no rule matches or the fuel is gone.
pub(crate) fn rewrite<'r>(
    graph: &mut Graph,
    rules: &'r RuleSet,
    facts: &mut Facts<'_>,
    fuel: &mut Fuel,
    mut watch: Option<Watch<'_>>,
) -> Outcome<'r> {
    let mut outcome = Outcome::default();
    let mut queue = VecDeque::from(graph.in_order());
    let mut queued: SecondaryMap<NodeId, bool> =
        SecondaryMap::with_capacity(false, graph.node_capacity());
    for node in &queue {
        queued[*node] = true;
    }
    while let Some(node) = queue.pop_front() {
        queued[node] = false;
        if !graph.is_live(node) {
            continue;
        }
        let Some((rule, found)) = first_match(graph, rules, facts, node) else {
            continue;
        };
        if !fuel.take() {
            break;
        }
        let before = watch.as_ref().map(|_| Before::of(graph, rule, &found));
        let uses = graph.value(graph.output(node)).uses();
        let users = uses.iter().filter_map(|at| match at {
            Use::Input(user, _) => Some(*user),
            Use::Result(..) => None,
        });
        let users: Vec<NodeId> = users.collect();
        let (made, result) = apply(graph, rule, &found, facts);
        if let (Some(watch), Some(before)) = (&mut watch, before) {
            watch.tell((rule, fuel.used()), before, (graph, &made, result), facts);
        }
        outcome.applied.push(Applied {
            rule,
            root: node,
            core: found.nodes[rule.core()],
            made: made.last().copied(),
        });
        let mut again: Vec<NodeId> = made
            .iter()
            .copied()
            .chain(users)
            .filter(|node| !std::mem::replace(&mut queued[*node], true))
            .collect();
        // In the order of the walk, before what it has still to visit.
        while let Some(node) = again.pop() {
            queue.push_front(node);
        }
    }
    outcome
}

/// The first rule that matches at a node.
fn first_match<'r>(
    graph: &Graph,
    rules: &'r RuleSet,
    facts: &Facts<'_>,
    node: NodeId,
) -> Option<(&'r Rule, Match)> {
    rules.candidates(graph, node).into_iter().find_map(|index| {
        let rule = &rules.rules()[index];
        Some((rule, find(rule, graph, node, facts).ok()?))
    })
}

/// Puts the replacement in the root's place and removes what nobody reads any more; returns the new nodes, and the value that stands for
/// the root's output.
fn apply(
    graph: &mut Graph,
    rule: &Rule,
    found: &Match,
    facts: &mut Facts<'_>,
) -> (Vec<NodeId>, ValueId) {
    let root = found.nodes[rule.pattern.len() - 1];
    let old = graph.output(root);
    let loc = graph
        .node(found.nodes[rule.core()])
        .loc()
        .or(graph.node(root).loc());
    let mut values = found.values.clone();
    let mut made = Vec::new();
    for step in &rule.replacement {
        let inputs: Vec<ValueId> = step
            .inputs
            .iter()
            .map(|term| match term {
                Term::Var(var) => values[*var].expect("the compiler lets a replacement read inputs of the pattern and earlier steps only"),
                Term::Literal(literal) => graph.insert_constant(At::Before(root), literal.clone()),
            })
            .collect();
        let returns = step.op.schema().map_or(&[][..], |schema| &schema.returns);
        let types: Vec<Type> = returns.iter().map(|ret| ret.ty.clone()).collect();
        let node = graph.insert(At::Before(root), step.op, &inputs, types);
        graph.set_loc(node, loc);
        for (var, value) in step.outputs.iter().zip(graph.node(node).outputs()) {
            values[*var] = Some(*value);
        }
        made.push(node);
    }
    let new = values[rule.result]
        .expect("the compiler lets a replacement return what it computes, or an input");
    if !rule.becomes_a_value() {
        graph.set_ty(new, graph.ty(old).clone());
        graph.copy_name(old, new);
        facts.replaced(old, new);
    }
    graph.replace_all_uses(old, new);
    for node in found.nodes.iter().rev() {
        if unread(graph, *node) {
            let operands = graph.node(*node).inputs().to_vec();
            graph.erase(*node);
            forget(graph, operands);
        }
    }
    (made, new)
}

/// Removes what computes these values, and what only that read, as far as nobody reads it and it does nothing else: what is dead must not
/// count as a reader in later matches.
pub(crate) fn forget(graph: &mut Graph, mut values: Vec<ValueId>) {
    while let Some(value) = values.pop() {
        let Some(node) = graph.producer(value) else {
            continue;
        };
        if unread(graph, node) && graph.effects(node) == Effects::Pure {
            values.extend(graph.node(node).inputs());
            graph.erase(node);
        }
    }
}

fn unread(graph: &Graph, node: NodeId) -> bool {
    let mut outputs = graph.node(node).outputs().iter();
    graph.is_live(node) && outputs.all(|output| graph.value(*output).uses().is_empty())
}
