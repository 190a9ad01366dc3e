//! `dce`: removes operations whose outputs nobody needs and which do nothing else.
//!
//! What is needed is found from the other end: the results of the graph, and operations that do more than compute outputs. An operation
//! that writes is needed when what it writes to can be seen from outside or by an operation that is needed. Outputs of `prim::If` and
//! values that a `prim::Loop` carries round are removed one by one. All in one walk there and one back; where nothing is nested and nothing
//! is written, one walk back does: who reads a value stands behind it.
//!
//! What stands behind a `prim::RaiseException` never runs, and what its block would give is never made.
//!
//! ```text
//! before: %1 : Tensor = aten::relu(%x)
//!         return (%x)
//! after:  return (%x)
//! ```

use std::collections::HashMap;

use planish_ir::{At, Def, Effects, Graph, GraphModule, NodeId, Op, SecondaryMap, ValueId};

use crate::analysis::alias::Aliases;
use crate::optimize::on_each_method;
use crate::pass::{Changed, Pass, PassCx, PassError};

/// The pass.
#[derive(Clone, Copy, Debug, Default)]
pub struct Dce;

impl Pass for Dce {
    fn name(&self) -> &'static str {
        "dce"
    }

    fn doc(&self) -> &'static str {
        "removes operations whose outputs nobody needs"
    }

    fn run(&self, module: &mut GraphModule, _: &mut PassCx<'_>) -> Result<Changed, PassError> {
        Ok(on_each_method(module, |graph, _, aliases| {
            eliminate_dead_code(graph, aliases)
        }))
    }
}

/// Removes dead operations; returns how many.
pub(crate) fn eliminate_dead_code(graph: &mut Graph, aliases: &Aliases) -> usize {
    let unreachable = drop_unreachable(graph);
    let before = graph.len();
    if graph.block_capacity() == 1 && aliases.nothing_is_written() {
        erase_unread(graph);
        return before - graph.len();
    }
    let Needed { nodes, values, .. } = Needed::of(graph, aliases);
    let order = graph.in_order();
    for node in order.iter().filter(|node| nodes[**node]) {
        drop_dead_results(graph, *node, &values);
    }
    for node in order.iter().rev() {
        // What is nested in a dead operation goes with it.
        let parent = graph.block(graph.block_of(*node)).parent();
        if !nodes[*node] && parent.is_none_or(|parent| nodes[parent]) {
            graph.erase(*node);
        }
    }
    for node in order.iter().filter(|node| nodes[**node]) {
        drop_dead_outputs(graph, *node, &values);
    }
    unreachable + before - graph.len()
}

/// Removes what stands in a block behind an operation that raises; returns how many operations.
fn drop_unreachable(graph: &mut Graph) -> usize {
    let mut dropped = 0;
    // The last first: what is nested behind another one is still there.
    for raise in graph.find_all("prim::RaiseException").into_iter().rev() {
        let block = graph.block_of(raise);
        let behind = graph.nodes(block).skip_while(|node| *node != raise);
        let stays = |node: &NodeId| {
            let op = graph.node(*node).op();
            op.is("prim::Constant") || op.is("prim::Uninitialized")
        };
        let behind: Vec<NodeId> = behind.skip(1).filter(|node| !stays(node)).collect();
        if behind.is_empty() {
            continue;
        }
        let mut results = graph.block(block).results().to_vec();
        for result in &mut results {
            if matches!(graph.value(*result).def(), Def::Output(node, _) if behind.contains(&node))
            {
                let ty = graph.ty(*result).clone();
                let never = graph.insert(At::End(block), Op::of("prim::Uninitialized"), &[], [ty]);
                *result = graph.output(never);
            }
        }
        graph.set_results(block, &results);
        for node in behind.iter().rev() {
            graph.erase(*node);
        }
        dropped += behind.len();
    }
    dropped
}

/// Removes operations that do nothing and whose outputs nobody reads from a graph of one block.
fn erase_unread(graph: &mut Graph) {
    let mut next = graph.block(graph.entry()).last();
    while let Some(id) = next {
        next = graph.prev(id);
        let mut outputs = graph.node(id).outputs().iter();
        if outputs.all(|output| graph.value(*output).uses().is_empty())
            && graph.effects(id).changes_nothing()
        {
            graph.erase(id);
        }
    }
}

/// What is needed.
struct Needed<'g> {
    graph: &'g Graph,
    aliases: &'g Aliases,
    nodes: SecondaryMap<NodeId, bool>,
    values: SecondaryMap<ValueId, bool>,
    /// Operations that write to storage of this class, which nobody needs yet.
    writers: HashMap<usize, Vec<NodeId>>,
    open: Vec<ValueId>,
}

impl<'g> Needed<'g> {
    fn of(graph: &'g Graph, aliases: &'g Aliases) -> Self {
        let mut needed = Self {
            graph,
            aliases,
            nodes: SecondaryMap::new(),
            values: SecondaryMap::new(),
            writers: HashMap::new(),
            open: graph.results().to_vec(),
        };
        for node in graph.walk() {
            if needed.is_root(node) {
                needed.node(node);
            }
        }
        while let Some(value) = needed.open.pop() {
            if !std::mem::replace(&mut needed.values[value], true) {
                needed.value(value);
            }
        }
        needed
    }

    /// Whether an operation is needed whoever reads its outputs; notes what it writes to.
    fn is_root(&mut self, id: NodeId) -> bool {
        let node = self.graph.node(id);
        let effects = if node.blocks().is_empty() {
            self.graph.effects(id)
        } else {
            // What is nested is looked at by itself.
            node.op().info().effects
        };
        if effects != Effects::Writes {
            return !effects.changes_nothing();
        }
        let inputs = node.inputs().iter().enumerate();
        for (_, value) in inputs.filter(|(at, _)| self.graph.writes(id, *at)) {
            match self.aliases.class(*value) {
                Some(class) if !self.aliases.is_outside(*value) => {
                    self.writers.entry(class).or_default().push(id);
                }
                _ => return true,
            }
        }
        false
    }

    fn node(&mut self, id: NodeId) {
        let mut next = Some(id);
        while let Some(id) = next {
            if std::mem::replace(&mut self.nodes[id], true) {
                return;
            }
            let node = self.graph.node(id);
            if node.op().is("prim::If") {
                self.open.extend(node.inputs().first());
            } else if node.op().is("prim::Loop") {
                let body = self.graph.block(node.blocks()[0]);
                self.open.extend(node.inputs().iter().take(2));
                self.open.extend(body.results().first());
            } else {
                self.open.extend(node.inputs());
                // What an unknown operator does with its blocks' results is its own affair.
                for block in node.blocks() {
                    self.open.extend(self.graph.block(*block).results());
                }
            }
            next = self.graph.block(self.graph.block_of(id)).parent();
        }
    }

    fn value(&mut self, value: ValueId) {
        if !self.writers.is_empty() {
            let class = self.aliases.class(value);
            let writers = class.and_then(|class| self.writers.remove(&class));
            for writer in writers.into_iter().flatten() {
                self.node(writer);
            }
        }
        match self.graph.value(value).def() {
            Def::Output(id, index) => {
                self.node(id);
                let node = self.graph.node(id);
                if node.op().is("prim::If") {
                    for block in node.blocks() {
                        let results = self.graph.block(*block).results();
                        self.open.extend(results.get(index as usize));
                    }
                } else if node.op().is("prim::Loop") {
                    self.carried(id, index as usize);
                }
            }
            Def::Param(block, index) => {
                // The first parameter of a loop's body is the count.
                if let (Some(parent), Some(index)) = (
                    self.graph.block(block).parent(),
                    (index as usize).checked_sub(1),
                ) {
                    self.carried(parent, index);
                }
            }
        }
    }

    /// A value that a loop carries round is needed with all that it is before, in and after a round.
    fn carried(&mut self, id: NodeId, index: usize) {
        let node = self.graph.node(id);
        let body = self.graph.block(node.blocks()[0]);
        let places = [
            node.inputs().get(index + 2),
            body.params().get(index + 1),
            body.results().get(index + 1),
            node.outputs().get(index),
        ];
        self.open.extend(places.into_iter().flatten());
    }
}

/// Makes blocks give, and loops take, only what is needed.
fn drop_dead_results(graph: &mut Graph, id: NodeId, values: &SecondaryMap<ValueId, bool>) {
    let node = graph.node(id);
    // Results and inputs that stand before those of the outputs.
    let (results, inputs) = match node.op().name().as_str() {
        "prim::If" => (0, None),
        "prim::Loop" => (1, Some(2)),
        _ => return,
    };
    if node.outputs().iter().all(|output| values[*output]) {
        return;
    }
    let kept: Vec<bool> = node
        .outputs()
        .iter()
        .map(|output| values[*output])
        .collect();
    let keep = |all: &[ValueId], first: usize| -> Vec<ValueId> {
        let (head, tail) = all.split_at(first);
        let tail = tail.iter().zip(&kept).filter(|(_, kept)| **kept);
        head.iter()
            .chain(tail.map(|(value, _)| value))
            .copied()
            .collect()
    };
    let new_inputs = inputs.map(|first| keep(node.inputs(), first));
    let blocks = node.blocks().iter();
    let new_results: Vec<_> = blocks
        .map(|block| (*block, keep(graph.block(*block).results(), results)))
        .collect();
    if let Some(inputs) = new_inputs {
        graph.set_inputs(id, &inputs);
    }
    for (block, results) in new_results {
        graph.set_results(block, &results);
    }
}

/// Removes outputs, and parameters of loops, that are not needed; by now nobody reads them.
fn drop_dead_outputs(graph: &mut Graph, id: NodeId, values: &SecondaryMap<ValueId, bool>) {
    let is_loop = graph.node(id).op().is("prim::Loop");
    if !is_loop && !graph.node(id).op().is("prim::If") {
        return;
    }
    for index in (0..graph.node(id).outputs().len()).rev() {
        if values[graph.node(id).outputs()[index]] {
            continue;
        }
        graph.remove_output(id, index);
        if is_loop {
            let body = graph.node(id).blocks()[0];
            graph.remove_param(body, index + 1);
        }
    }
}
