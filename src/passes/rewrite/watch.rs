//! Tells an observer of each rewrite: what the pattern matched and what took its place, lifted out as graphs of their own.

use std::collections::HashMap;

use planish_ir::{At, Graph, NodeId, Type, ValueId};

use super::facts::Facts;
use super::matcher::Match;
use super::rule::Rule;
use crate::observer::{Input, Observer, Rewrite};

/// Somebody who watches the rewrites of a method.
pub(crate) struct Watch<'a> {
    pub(crate) method: &'a str,
    pub(crate) observer: &'a mut dyn Observer,
}

/// What a rule is about to rewrite.
pub(super) struct Before {
    region: Region,
    root: ValueId,
}

impl Before {
    pub(super) fn of(graph: &Graph, rule: &Rule, found: &Match) -> Self {
        let root = graph.output(found.nodes[rule.pattern.len() - 1]);
        Self {
            region: Region::lift(graph, &found.nodes, &[], &[root]),
            root,
        }
    }
}

impl Watch<'_> {
    /// Tells of a rewrite that was made.
    pub(super) fn tell(
        &mut self,
        (rule, number): (&Rule, u64),
        before: Before,
        (graph, made, result): (&Graph, &[NodeId], ValueId),
        facts: &Facts<'_>,
    ) {
        let outputs = made.iter().flat_map(|node| graph.node(*node).outputs());
        let mut outputs: Vec<ValueId> = outputs.copied().collect();
        if made.is_empty() {
            outputs.push(result);
        }
        let after = Region::lift(graph, made, &before.region.inputs, &outputs);
        let inputs = after.inputs.iter().map(|value| Input {
            value: *value,
            constant: facts.constant(graph, *value).is_ok(),
            grows: matches!(graph.ty(*value), Type::List(_)) && facts.is_written(*value),
        });
        let inputs = inputs.collect();
        self.observer.rewrite(Rewrite {
            rule,
            number,
            method: self.method,
            graph,
            before: before.region.graph,
            after: after.graph,
            inputs,
            old: before.root,
            made: outputs,
        });
    }
}

/// Operations as a graph: its parameters are what they read from outside, constants excepted, which stand in it.
struct Region {
    graph: Graph,
    /// The values that are the parameters.
    inputs: Vec<ValueId>,
}

impl Region {
    /// Lifts `nodes` out of a graph, operands before users. `inputs` are parameters to begin with; `results` are values that the nodes
    /// compute or read.
    fn lift(from: &Graph, nodes: &[NodeId], inputs: &[ValueId], results: &[ValueId]) -> Self {
        let mut region = Self {
            graph: Graph::new(),
            inputs: Vec::new(),
        };
        let mut known = HashMap::new();
        for input in inputs {
            region.outside(from, *input, &mut known);
        }
        for id in nodes {
            let node = from.node(*id);
            let operands: Vec<ValueId> = node
                .inputs()
                .iter()
                .map(|value| region.outside(from, *value, &mut known))
                .collect();
            let types = node.outputs().iter().map(|value| from.ty(*value).clone());
            let end = At::End(region.graph.entry());
            let copy = region.graph.insert(end, node.op(), &operands, types);
            region.graph.set_loc(copy, node.loc());
            for (index, old) in node.outputs().iter().enumerate() {
                let new = region.graph.node(copy).outputs()[index];
                let name = from.value(*old).name().cloned();
                region.graph.set_name(new, name);
                known.insert(*old, new);
            }
        }
        let results: Vec<ValueId> = results
            .iter()
            .map(|value| region.outside(from, *value, &mut known))
            .collect();
        region.graph.set_results(region.graph.entry(), &results);
        region
    }

    /// What stands for a value: what was computed, a constant, or a parameter.
    fn outside(
        &mut self,
        from: &Graph,
        value: ValueId,
        known: &mut HashMap<ValueId, ValueId>,
    ) -> ValueId {
        if let Some(known) = known.get(&value) {
            return *known;
        }
        let (entry, ty) = (self.graph.entry(), from.ty(value).clone());
        let new = if let Some(literal) = from.constant(value) {
            let literal = literal.clone();
            self.graph
                .insert_typed_constant(At::End(entry), literal, ty)
        } else {
            self.inputs.push(value);
            self.graph.add_param(entry, ty)
        };
        self.graph.set_name(new, from.value(value).name().cloned());
        known.insert(value, new);
        new
    }
}
