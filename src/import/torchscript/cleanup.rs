//! What PyTorch does to a graph right after it emitted it, so that graphs compare.
//!
//! Tuples that are taken apart where they were made disappear; branches and loops hand on only what
//! is used, in the order of use; nodes that nobody needs go.

use planish_ir::{BlockId, Graph, Literal, NodeId, SecondaryMap, Use, ValueId};

/// Cleans a graph that was just emitted.
pub(super) fn run(graph: &mut Graph) {
    lower_tuples(graph);
    simplify_blocks(graph);
    while sweep(graph, graph.entry()) {}
    order_outputs(graph);
}

/// Lets every user of an element of a tuple use the element itself, where the tuple's making is
/// in sight.
fn lower_tuples(graph: &mut Graph) {
    let takes_apart = graph.walk().filter(|node| {
        let op = graph.node(*node).op();
        op.is("prim::TupleUnpack") || op.is("prim::TupleIndex")
    });
    for node in takes_apart.collect::<Vec<_>>() {
        if graph.node(node).op().is("prim::TupleUnpack") {
            let tuple = graph.node(node).inputs()[0];
            let Some(parts) = parts(graph, tuple) else {
                continue;
            };
            for (output, part) in graph.node(node).outputs().to_vec().into_iter().zip(parts) {
                graph.replace_all_uses(output, part);
            }
        } else {
            let [tuple, index] = *graph.node(node).inputs() else {
                continue;
            };
            let index = graph.constant(index).and_then(Literal::as_int);
            let index = index.and_then(|index| usize::try_from(index).ok());
            let part = parts(graph, tuple).zip(index);
            if let Some(part) = part.and_then(|(parts, index)| parts.get(index).copied()) {
                let output = graph.output(node);
                graph.replace_all_uses(output, part);
            }
        }
    }
}

/// The values that a tuple was made of.
fn parts(graph: &Graph, tuple: ValueId) -> Option<Vec<ValueId>> {
    let maker = graph.node(graph.producer(tuple)?);
    maker
        .op()
        .is("prim::TupleConstruct")
        .then(|| maker.inputs().to_vec())
}

/// Outputs of a branch that are one value on both sides, and loop variables that never change, are
/// what they were before.
fn simplify_blocks(graph: &mut Graph) {
    let nests = graph
        .walk()
        .filter(|node| !graph.node(*node).blocks().is_empty());
    for node in nests.collect::<Vec<_>>() {
        let blocks = graph.node(node).blocks().to_vec();
        match blocks[..] {
            [then, other] => {
                for at in (0..graph.node(node).outputs().len()).rev() {
                    let (a, b) = (
                        graph.block(then).results()[at],
                        graph.block(other).results()[at],
                    );
                    if a == b {
                        replace_output(graph, node, at, a);
                        graph.remove_result(then, at);
                        graph.remove_result(other, at);
                    }
                }
            }
            [body] if graph.node(node).op().is("prim::Loop") => {
                for at in (0..graph.node(node).outputs().len()).rev() {
                    let param = graph.block(body).params()[at + 1];
                    if graph.block(body).results()[at + 1] == param {
                        let initial = graph.node(node).inputs()[at + 2];
                        replace_output(graph, node, at, initial);
                        graph.remove_result(body, at + 1);
                        graph.replace_all_uses(param, initial);
                        graph.remove_param(body, at + 1);
                        graph.remove_input(node, at + 2);
                    }
                }
            }
            _ => {}
        }
    }
}

fn replace_output(graph: &mut Graph, node: NodeId, at: usize, value: ValueId) {
    let output = graph.node(node).outputs()[at];
    graph.replace_all_uses(output, value);
    graph.remove_output(node, at);
}

/// Removes what nobody needs, from the last node to the first. Says whether anything went.
fn sweep(graph: &mut Graph, block: BlockId) -> bool {
    let mut changed = false;
    let nodes: Vec<NodeId> = graph.nodes(block).collect();
    for node in nodes.into_iter().rev() {
        changed |= drop_unused_outputs(graph, node);
        for inner in graph.node(node).blocks().to_vec() {
            changed |= sweep(graph, inner);
        }
        let unused = |value: &ValueId| graph.value(*value).uses().is_empty();
        if graph.effects(node).changes_nothing() && graph.node(node).outputs().iter().all(unused) {
            graph.erase(node);
            changed = true;
        }
    }
    changed
}

fn drop_unused_outputs(graph: &mut Graph, node: NodeId) -> bool {
    let blocks = graph.node(node).blocks().to_vec();
    let mut changed = false;
    for at in (0..graph.node(node).outputs().len()).rev() {
        let output = graph.node(node).outputs()[at];
        if !graph.value(output).uses().is_empty() {
            continue;
        }
        match blocks[..] {
            [then, other] => {
                graph.remove_output(node, at);
                graph.remove_result(then, at);
                graph.remove_result(other, at);
                changed = true;
            }
            [body] if graph.node(node).op().is("prim::Loop") => {
                let param = graph.block(body).params()[at + 1];
                if graph.value(param).uses().is_empty() {
                    graph.remove_output(node, at);
                    graph.remove_result(body, at + 1);
                    graph.remove_param(body, at + 1);
                    graph.remove_input(node, at + 2);
                    changed = true;
                }
            }
            _ => {}
        }
    }
    changed
}

/// Puts the outputs of branches and loops in the order of their first use.
fn order_outputs(graph: &mut Graph) {
    let mut places = Places::default();
    places.number(graph, graph.entry());
    order_block(graph, graph.entry(), &places);
}

/// What comes last is put in order first, and what holds blocks before its blocks: the order of a node's inputs and of a block's results
/// is the order of the uses of what comes before.
fn order_block(graph: &mut Graph, block: BlockId, places: &Places) {
    let nodes: Vec<NodeId> = graph.nodes(block).collect();
    for node in nodes.into_iter().rev() {
        let blocks = graph.node(node).blocks().to_vec();
        let outputs = graph.node(node).outputs();
        let mut wanted: Vec<usize> = (0..outputs.len()).collect();
        wanted.sort_by_key(|at| {
            let uses = graph.value(outputs[*at]).uses().iter();
            let first = uses.map(|at| places.of(*at)).min();
            // What is not used comes last.
            (first.is_none(), first)
        });
        if !blocks.is_empty() {
            permute(graph, node, &blocks, &wanted);
        }
        for inner in blocks {
            order_block(graph, inner, places);
        }
    }
}

/// Where nodes and ends of blocks stand in the text: a node before what is nested in it.
#[derive(Default)]
struct Places {
    next: usize,
    nodes: SecondaryMap<NodeId, usize>,
    ends: SecondaryMap<BlockId, usize>,
}

impl Places {
    fn number(&mut self, graph: &Graph, block: BlockId) {
        for node in graph.nodes(block) {
            self.nodes[node] = self.next;
            self.next += 1;
            for inner in graph.node(node).blocks() {
                self.number(graph, *inner);
            }
        }
        self.ends[block] = self.next;
        self.next += 1;
    }

    /// The place of a use, and which of the user's inputs or results it is.
    fn of(&self, at: Use) -> (usize, u32) {
        match at {
            Use::Input(user, input) => (self.nodes[user], input),
            Use::Result(block, index) => (self.ends[block], index),
        }
    }
}

/// Reorders the outputs of a branch or loop: output `n` becomes what was output `wanted[n]`.
fn permute(graph: &mut Graph, node: NodeId, blocks: &[BlockId], wanted: &[usize]) {
    if wanted.is_sorted() {
        return;
    }
    let is_loop = blocks.len() == 1;
    let lead = usize::from(is_loop);
    for block in blocks {
        let old = graph.block(*block).results().to_vec();
        let moved = wanted.iter().map(|at| old[at + lead]);
        let new: Vec<ValueId> = old[..lead].iter().copied().chain(moved).collect();
        graph.set_results(*block, &new);
    }
    if is_loop {
        let old = graph.node(node).inputs().to_vec();
        let moved = wanted.iter().map(|at| old[at + 2]);
        let new: Vec<ValueId> = old[..2].iter().copied().chain(moved).collect();
        graph.set_inputs(node, &new);
        let params = graph.block(blocks[0]).params().to_vec();
        let old: Vec<ValueId> = wanted.iter().map(|at| params[at + 1]).collect();
        exchange(graph, &params[1..], &old);
    }
    let outputs = graph.node(node).outputs().to_vec();
    let old: Vec<ValueId> = wanted.iter().map(|at| outputs[*at]).collect();
    exchange(graph, &outputs, &old);
}

/// Makes each of `places` what the value beside it in `old` was: its users, type and name.
fn exchange(graph: &mut Graph, places: &[ValueId], old: &[ValueId]) {
    let state: Vec<_> = old
        .iter()
        .map(|value| {
            let value = graph.value(*value);
            let name = value.name().cloned();
            (value.uses().to_vec(), value.ty().clone(), name)
        })
        .collect();
    for (place, (uses, ty, name)) in places.iter().zip(state) {
        for at in uses {
            graph.set_use(at, *place);
        }
        graph.set_ty(*place, ty);
        graph.set_name(*place, name);
    }
}
