//! Program order: what is computed before what, and which values can be read where.

use crate::{BlockId, Def, Graph, NodeId, SecondaryMap, ValueId};

/// The order in which a graph is evaluated, numbered once so that every question about it takes constant time.
///
/// It describes the graph as it was when the order was taken: nodes added or moved later have no place in it.
#[derive(Clone, Debug)]
pub struct ProgramOrder {
    nodes: SecondaryMap<NodeId, Span>,
    blocks: SecondaryMap<BlockId, Span>,
}

/// When a node or block is entered and left; zero for one that the walk did not meet.
#[derive(Clone, Copy, Default, Debug)]
struct Span {
    enter: u32,
    leave: u32,
}

enum Step {
    EnterBlock(BlockId),
    LeaveBlock(BlockId),
    EnterNode(NodeId),
    LeaveNode(NodeId),
}

impl ProgramOrder {
    /// The order of the graph as it is now.
    pub fn new(graph: &Graph) -> Self {
        let mut order = Self {
            nodes: SecondaryMap::with_capacity(Span::default(), graph.node_capacity()),
            blocks: SecondaryMap::new(),
        };
        // An explicit stack: nesting is as deep as the input file says.
        let mut stack = vec![Step::EnterBlock(graph.entry())];
        let mut clock = 0;
        while let Some(step) = stack.pop() {
            clock += 1;
            match step {
                Step::EnterBlock(block) => {
                    order.blocks[block].enter = clock;
                    stack.push(Step::LeaveBlock(block));
                    stack.extend(graph.block(block).first().map(Step::EnterNode));
                }
                Step::LeaveBlock(block) => order.blocks[block].leave = clock,
                Step::EnterNode(node) => {
                    order.nodes[node].enter = clock;
                    stack.extend(graph.next(node).map(Step::EnterNode));
                    stack.push(Step::LeaveNode(node));
                    let blocks = graph.node(node).blocks().iter().rev();
                    stack.extend(blocks.copied().map(Step::EnterBlock));
                }
                Step::LeaveNode(node) => order.nodes[node].leave = clock,
            }
        }
        order
    }

    /// Whether the walk met the node.
    pub fn contains(&self, node: NodeId) -> bool {
        self.nodes[node].is_met()
    }

    /// Whether `a` stands before `b`; a node stands before those nested in it.
    pub fn before(&self, a: NodeId, b: NodeId) -> bool {
        let (a, b) = (self.nodes[a], self.nodes[b]);
        a.is_met() && b.is_met() && a.enter < b.enter
    }

    /// Whether `inner` is nested in `outer`, at any depth.
    pub fn is_nested(&self, inner: NodeId, outer: NodeId) -> bool {
        inner != outer && self.nodes[outer].encloses(self.nodes[inner])
    }

    /// Whether the node stands in the block or in a block nested in it.
    pub fn encloses(&self, block: BlockId, node: NodeId) -> bool {
        self.blocks[block].encloses(self.nodes[node])
    }

    /// Whether a value can be an input of a node: its definition dominates the node.
    pub fn reaches(&self, graph: &Graph, value: ValueId, node: NodeId) -> bool {
        self.dominates(graph, value, self.nodes[node])
    }

    /// Whether a value can be a result of a block: its definition dominates the block's end.
    pub fn reaches_end(&self, graph: &Graph, value: ValueId, block: BlockId) -> bool {
        let Span { leave, .. } = self.blocks[block];
        let end = Span {
            enter: leave,
            leave,
        };
        self.dominates(graph, value, end)
    }

    fn dominates(&self, graph: &Graph, value: ValueId, at: Span) -> bool {
        match graph.value(value).def() {
            Def::Param(block, _) => self.blocks[block].encloses(at),
            Def::Output(node, _) => {
                let def = self.nodes[node];
                def.is_met()
                    && def.leave < at.enter
                    && self.blocks[graph.block_of(node)].encloses(at)
            }
        }
    }
}

impl Span {
    fn is_met(self) -> bool {
        self.enter > 0
    }

    fn encloses(self, other: Self) -> bool {
        self.is_met() && other.is_met() && self.enter <= other.enter && other.leave <= self.leave
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{At, Op, Type};

    #[test]
    fn a_value_reaches_what_comes_after_it_in_its_block_and_below() {
        let mut graph = Graph::new();
        let entry = graph.entry();
        let cond = graph.add_param(entry, Type::Bool);
        let relu = Op::of("aten::relu");
        let before = graph.insert(At::End(entry), relu, &[cond], [Type::TENSOR]);
        let branch = graph.insert(At::End(entry), Op::of("prim::If"), &[cond], [Type::TENSOR]);
        let (then, other) = (graph.add_block(branch), graph.add_block(branch));
        let inside = graph.insert(At::End(then), relu, &[cond], [Type::TENSOR]);
        let beside = graph.insert(At::End(other), relu, &[cond], [Type::TENSOR]);
        let after = graph.insert(At::End(entry), relu, &[cond], [Type::TENSOR]);
        let value = |node| graph.output(node);

        let order = ProgramOrder::new(&graph);
        let nodes = graph.in_order();
        assert_eq!(nodes, [before, branch, inside, beside, after]);
        assert!(order.before(branch, inside) && order.before(inside, beside));
        assert!(order.before(beside, after) && !order.before(after, before));
        assert!(!order.before(after, after));
        assert!(order.is_nested(inside, branch) && !order.is_nested(after, branch));
        assert!(order.encloses(entry, inside) && !order.encloses(other, inside));

        assert!(order.reaches(&graph, value(before), inside));
        assert!(order.reaches(&graph, value(branch), after));
        assert!(order.reaches(&graph, cond, inside));
        for (from, to) in [
            (branch, inside),
            (inside, beside),
            (inside, after),
            (after, before),
            (after, after),
        ] {
            assert!(!order.reaches(&graph, value(from), to), "{from} {to}");
        }
        assert!(order.reaches_end(&graph, value(before), then));
        assert!(order.reaches_end(&graph, value(inside), then));
        assert!(!order.reaches_end(&graph, value(inside), other));
        assert!(!order.reaches_end(&graph, value(branch), then));
        assert!(order.reaches_end(&graph, value(branch), entry));
    }
}
