//! Planned once, when a program is loaded: when each value dies, and which buffer each computed tensor gets.
//!
//! Values are numbered by where they are computed in program order. A value dies at its last use; a use inside a loop counts as the end
//! of the loop when the value comes from outside. Buffers are handed out by linear scan over these lifetimes: a tensor takes the buffer
//! that became free last, so that it is still in the cache. Sizes are not known before the first call; a buffer grows to the largest
//! tensor that is put into it, and from the second call with the same sizes on nothing is allocated. The plan is advice: a buffer that
//! somebody still holds when it is asked for (through a view, or because the caller kept an output) is left to them and replaced.

use planish_ir::entity::EntityId;
use planish_ir::{BlockId, Graph, NodeId, SecondaryMap, Use, ValueId};

/// When values die, and which buffers tensors get.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    dead_after: SecondaryMap<NodeId, Vec<ValueId>>,
    buffer: SecondaryMap<ValueId, Option<u32>>,
    buffers: usize,
}

impl Plan {
    /// Plans a graph. `computes` says which values are tensors that get a buffer, `views` which node's outputs may share their inputs'
    /// buffers.
    pub(crate) fn new(
        graph: &Graph,
        computes: impl Fn(NodeId) -> bool,
        views: impl Fn(NodeId) -> bool,
    ) -> Self {
        let order = graph.in_order();
        let mut plan = Self {
            dead_after: SecondaryMap::new(),
            buffer: SecondaryMap::new(),
            buffers: 0,
        };
        plan.find_deaths(graph, &order);
        plan.assign_buffers(graph, &order, computes, views);
        plan
    }

    /// The values of a node's own block that nobody reads after it.
    pub(crate) fn dead_after(&self, node: NodeId) -> &[ValueId] {
        &self.dead_after[node]
    }

    /// The buffer of a computed tensor.
    pub(crate) fn buffer(&self, value: ValueId) -> Option<usize> {
        self.buffer[value].map(|buffer| buffer as usize)
    }

    /// Number of buffers.
    pub(crate) fn buffers(&self) -> usize {
        self.buffers
    }

    /// A value is dropped after the last node of its own block that reads it, itself or in a nested block.
    fn find_deaths(&mut self, graph: &Graph, order: &[NodeId]) {
        let mut position: SecondaryMap<NodeId, usize> = SecondaryMap::with_default(0);
        for (at, node) in order.iter().enumerate() {
            position[*node] = at;
        }
        let mut seen = vec![false; graph.value_capacity()];
        let mut values = Vec::new();
        for node in order {
            values.extend_from_slice(graph.node(*node).outputs());
            for block in graph.node(*node).blocks() {
                values.extend_from_slice(graph.block(*block).params());
            }
        }
        values.extend_from_slice(graph.params());
        for value in values {
            if std::mem::replace(&mut seen[value.index()], true) {
                continue;
            }
            let home = home(graph, value);
            let mut last: Option<NodeId> = None;
            let mut leaves = false;
            for at in graph.value(value).uses() {
                match reader_in(graph, *at, home) {
                    Some(node) if last.is_none_or(|last| position[node] > position[last]) => {
                        last = Some(node);
                    }
                    Some(_) => {}
                    None => leaves = true,
                }
            }
            let last = last.or_else(|| graph.producer(value));
            if let (Some(last), false) = (last, leaves) {
                self.dead_after[last].push(value);
            }
        }
    }

    fn assign_buffers(
        &mut self,
        graph: &Graph,
        order: &[NodeId],
        computes: impl Fn(NodeId) -> bool,
        views: impl Fn(NodeId) -> bool,
    ) {
        // For each value, the computed tensors whose buffers it may share, and for each tensor how many values hold it.
        let mut shares: SecondaryMap<ValueId, Vec<ValueId>> = SecondaryMap::new();
        let mut holders: SecondaryMap<ValueId, u32> = SecondaryMap::new();
        let mut free: Vec<u32> = Vec::new();
        for node in order {
            let outputs = graph.node(*node).outputs().to_vec();
            if computes(*node) {
                for output in &outputs {
                    let buffer = free.pop().unwrap_or_else(|| {
                        self.buffers += 1;
                        self.buffers as u32 - 1
                    });
                    self.buffer[*output] = Some(buffer);
                    shares[*output] = vec![*output];
                    holders[*output] = 1;
                }
            } else if views(*node) {
                let mut held: Vec<ValueId> = graph
                    .node(*node)
                    .inputs()
                    .iter()
                    .flat_map(|input| shares[*input].clone())
                    .collect();
                held.sort_unstable();
                held.dedup();
                for output in &outputs {
                    for tensor in &held {
                        holders[*tensor] += 1;
                    }
                    shares[*output].clone_from(&held);
                }
            }
            for value in &self.dead_after[*node] {
                for tensor in std::mem::take(&mut shares[*value]) {
                    holders[tensor] -= 1;
                    if holders[tensor] == 0 {
                        free.extend(self.buffer[tensor]);
                    }
                }
            }
        }
    }
}

/// The block whose run ends a value's life: the one that it is computed in.
fn home(graph: &Graph, value: ValueId) -> BlockId {
    match graph.value(value).def() {
        planish_ir::Def::Output(node, _) => graph.block_of(node),
        planish_ir::Def::Param(block, _) => block,
    }
}

/// The node of `home` that a use belongs to; `None` when the value leaves the block as a result.
fn reader_in(graph: &Graph, at: Use, home: BlockId) -> Option<NodeId> {
    let (mut node, mut block) = match at {
        Use::Input(node, _) => (Some(node), graph.block_of(node)),
        Use::Result(block, _) => (None, block),
    };
    while block != home {
        node = graph.block(block).parent();
        block = graph.block_of(node?);
    }
    node
}

#[cfg(test)]
mod tests {
    use super::*;
    use planish_ir::{At, Op, Type};

    fn chain(len: usize) -> (Graph, Vec<NodeId>) {
        let mut graph = Graph::new();
        let entry = graph.entry();
        let mut value = graph.add_param(entry, Type::TENSOR);
        let mut nodes = Vec::new();
        for _ in 0..len {
            let node = graph.insert(
                At::End(entry),
                Op::of("aten::relu"),
                &[value],
                [Type::TENSOR],
            );
            value = graph.output(node);
            nodes.push(node);
        }
        graph.set_results(entry, &[value]);
        (graph, nodes)
    }

    #[test]
    fn a_chain_takes_two_buffers() {
        let (graph, _) = chain(9);
        assert_eq!(Plan::new(&graph, |_| true, |_| false).buffers(), 2);
    }

    #[test]
    fn a_view_keeps_the_buffer_of_what_it_views() {
        let (graph, nodes) = chain(3);
        let plan = Plan::new(&graph, |node| node != nodes[1], |node| node == nodes[1]);
        let [first, last] = [nodes[0], nodes[2]].map(|node| plan.buffer(graph.output(node)));
        assert!(first.is_some() && last.is_some() && first != last);
        assert_eq!(plan.buffer(graph.output(nodes[1])), None);
    }

    #[test]
    fn what_a_block_reads_lives_until_the_block_has_run() {
        let (mut graph, nodes) = chain(2);
        let entry = graph.entry();
        let cond = graph.add_param(entry, Type::Bool);
        let branch = graph.insert(At::End(entry), Op::of("prim::If"), &[cond], []);
        let block = graph.add_block(branch);
        graph.add_block(branch);
        let mid = graph.output(nodes[0]);
        graph.insert(At::End(block), Op::of("aten::relu"), &[mid], [Type::TENSOR]);
        let plan = Plan::new(&graph, |_| true, |_| false);
        assert!(plan.dead_after(branch).contains(&mid));
        assert!(!plan.dead_after(nodes[1]).contains(&mid));
    }
}
