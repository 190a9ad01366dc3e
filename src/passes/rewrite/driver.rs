//! Applies rules: one walk over the graph, at every node the first rule that matches, and again at what a rewrite made or feeds.

use std::collections::{HashSet, VecDeque};

use indexmap::IndexMap;
use planish_ir::{At, Effects, Graph, NodeId, Type, Use, ValueId};

use super::facts::Facts;
use super::matcher::{Match, Why, find};
use super::rule::{Rule, RuleSet, Term};
use super::watch::{Before, Watch};
use crate::pass::Fuel;

/// What a set of rules did to a graph.
#[derive(Debug, Default)]
pub(crate) struct Outcome<'r> {
    /// Rewrites in the order in which they were made: the rule and the node that took the root's place. A later rewrite may have
    /// consumed it; what is known of the node stays readable.
    pub(crate) applied: Vec<(&'r Rule, NodeId)>,
    /// For roots where a rule came near, the nearest one and the first of its conditions that fails.
    pub(crate) missed: Vec<(&'r Rule, NodeId, String)>,
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
    let mut misses = IndexMap::new();
    let mut queue = VecDeque::from(graph.walk());
    let mut queued: HashSet<NodeId> = queue.iter().copied().collect();
    while let Some(node) = queue.pop_front() {
        queued.remove(&node);
        if !graph.is_live(node) {
            continue;
        }
        match first_match(graph, rules, facts, node) {
            Ok((rule, found)) => {
                if !fuel.take() {
                    break;
                }
                misses.shift_remove(&node);
                let before = watch.as_ref().map(|_| Before::of(graph, rule, &found));
                let made = apply(graph, rule, &found, facts);
                if let (Some(watch), Some(before)) = (&mut watch, before) {
                    watch.tell((rule, fuel.used()), before, (graph, &made), facts);
                }
                let Some(root) = made.last().copied() else {
                    continue;
                };
                outcome.applied.push((rule, root));
                let users =
                    graph
                        .value(graph.output(root))
                        .uses()
                        .iter()
                        .filter_map(|at| match at {
                            Use::Input(user, _) => Some(*user),
                            Use::Result(..) => None,
                        });
                let mut again: Vec<NodeId> = made
                    .iter()
                    .copied()
                    .chain(users)
                    .filter(|node| queued.insert(*node))
                    .collect();
                // In the order of the walk, before what it has still to visit.
                while let Some(node) = again.pop() {
                    queue.push_front(node);
                }
            }
            Err(Some(miss)) => {
                misses.insert(node, miss);
            }
            Err(None) => {
                misses.shift_remove(&node);
            }
        }
    }
    let missed = misses.into_iter().filter(|(node, _)| graph.is_live(*node));
    outcome.missed = missed
        .map(|(node, (rule, why))| (rule, node, why.to_string()))
        .collect();
    outcome
}

/// The first rule that matches at a node, or the one that came nearest.
fn first_match<'r>(
    graph: &Graph,
    rules: &'r RuleSet,
    facts: &Facts<'_>,
    node: NodeId,
) -> Result<(&'r Rule, Match), Option<(&'r Rule, Why)>> {
    let mut nearest: Option<(usize, &Rule, Why)> = None;
    for index in rules.candidates(graph, node) {
        let rule = &rules.rules()[index];
        match find(rule, graph, node, facts) {
            Ok(found) => return Ok((rule, found)),
            // One node alone says nothing: every `aten::linear` is the root of some rule.
            Err(miss) if miss.matched < 2 && rule.spine.len() < 2 => {}
            Err(miss)
                if nearest
                    .as_ref()
                    .is_none_or(|(matched, ..)| miss.matched > *matched) =>
            {
                nearest = Some((miss.matched, rule, miss.why));
            }
            Err(_) => {}
        }
    }
    Err(nearest
        .filter(|(.., why)| *why != Why::Irrelevant)
        .map(|(_, rule, why)| (rule, why)))
}

/// Puts the replacement in the root's place and removes what nobody reads any more; returns the new nodes, the root's last.
fn apply(graph: &mut Graph, rule: &Rule, found: &Match, facts: &mut Facts<'_>) -> Vec<NodeId> {
    let root = found.nodes[rule.pattern.len() - 1];
    let old = graph.output(root);
    let loc = graph
        .node(found.nodes[rule.core()])
        .loc
        .or(graph.node(root).loc);
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
    if let Some(last) = made.last() {
        let new = graph.output(*last);
        let name = graph.value(old).name.clone();
        graph.set_ty(new, graph.ty(old).clone());
        graph.set_name(new, name.as_deref());
        graph.replace_all_uses(old, new);
        facts.replaced(old, new);
    }
    for node in found.nodes.iter().rev() {
        if unread(graph, *node) {
            let operands = graph.node(*node).inputs().to_vec();
            graph.erase(*node);
            forget(graph, operands);
        }
    }
    made
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
