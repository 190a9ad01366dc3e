//! A graph as petgraph sees it, so that its algorithms run on the arena without a copy.
//!
//! An edge leads from a node to each node that needs it: to those that read its outputs, and to the node that it is nested in, which is
//! done only when all that is nested in it is done. A topological order is therefore an order in which everything can be computed. Edges
//! repeat when a value is read twice. Whatever orders side effects is no edge: for that there is [`crate::ProgramOrder`].

use petgraph::Direction;
use petgraph::visit::{
    GraphBase, IntoNeighbors, IntoNeighborsDirected, IntoNodeIdentifiers, NodeCount, NodeIndexable,
    VisitMap, Visitable,
};

use crate::entity::EntityId;
use crate::{Graph, NodeId, Use, ValueId, Walk};

/// The nodes that an algorithm met.
#[derive(Clone, Debug, Default)]
pub struct Visited(Vec<bool>);

impl Graph {
    /// The nodes that need this one; one that needs it twice stands there twice.
    pub fn users(&self, node: NodeId) -> impl Iterator<Item = NodeId> + '_ {
        let outputs = self.node(node).outputs().iter();
        let readers = outputs.flat_map(|output| self.value(*output).uses());
        readers
            .filter_map(|at| match at {
                Use::Input(user, _) => Some(*user),
                Use::Result(block, _) => self.block(*block).parent(),
            })
            .chain(self.block(self.block_of(node)).parent())
    }

    /// The nodes that this one needs; one that it needs twice stands there twice.
    pub fn needs(&self, node: NodeId) -> impl Iterator<Item = NodeId> + '_ {
        let inputs = self.producers(self.node(node).inputs());
        let nested = self.node(node).blocks().iter().flat_map(|block| {
            let results = self.producers(self.block(*block).results());
            self.nodes(*block).chain(results)
        });
        inputs.chain(nested)
    }

    fn producers<'a>(&'a self, values: &'a [ValueId]) -> impl Iterator<Item = NodeId> + 'a {
        values.iter().filter_map(|value| self.producer(*value))
    }
}

impl GraphBase for Graph {
    type NodeId = NodeId;
    type EdgeId = (NodeId, NodeId);
}

impl Visitable for Graph {
    type Map = Visited;

    fn visit_map(&self) -> Visited {
        Visited(vec![false; self.node_capacity()])
    }

    fn reset_map(&self, map: &mut Visited) {
        map.0.clear();
        map.0.resize(self.node_capacity(), false);
    }
}

impl VisitMap<NodeId> for Visited {
    fn visit(&mut self, node: NodeId) -> bool {
        !std::mem::replace(&mut self.0[node.index()], true)
    }

    fn is_visited(&self, node: &NodeId) -> bool {
        self.0[node.index()]
    }

    fn unvisit(&mut self, node: NodeId) -> bool {
        std::mem::replace(&mut self.0[node.index()], false)
    }
}

impl NodeIndexable for Graph {
    fn node_bound(&self) -> usize {
        self.node_capacity()
    }

    fn to_index(&self, node: NodeId) -> usize {
        node.index()
    }

    fn from_index(&self, index: usize) -> NodeId {
        EntityId::from_index(index)
    }
}

impl NodeCount for Graph {
    fn node_count(&self) -> usize {
        self.len()
    }
}

impl<'g> IntoNodeIdentifiers for &'g Graph {
    type NodeIdentifiers = Walk<'g>;

    fn node_identifiers(self) -> Self::NodeIdentifiers {
        self.walk()
    }
}

impl<'a> IntoNeighbors for &'a Graph {
    type Neighbors = Box<dyn Iterator<Item = NodeId> + 'a>;

    fn neighbors(self, node: NodeId) -> Self::Neighbors {
        Box::new(self.users(node))
    }
}

impl<'a> IntoNeighborsDirected for &'a Graph {
    type NeighborsDirected = Box<dyn Iterator<Item = NodeId> + 'a>;

    fn neighbors_directed(self, node: NodeId, direction: Direction) -> Self::NeighborsDirected {
        match direction {
            Direction::Outgoing => Box::new(self.users(node)),
            Direction::Incoming => Box::new(self.needs(node)),
        }
    }
}

#[cfg(test)]
mod tests {
    use petgraph::algo::{dominators, tarjan_scc, toposort};
    use petgraph::visit::{Dfs, Reversed};

    use super::*;
    use crate::{At, Op, Type};

    /// `a = relu(x); b = relu(a); i = If(c) { n = relu(a) -> n } { -> b }; d = add(i, b)`.
    fn sample() -> (Graph, [NodeId; 5]) {
        let mut graph = Graph::new();
        let entry = graph.entry();
        let x = graph.add_param(entry, Type::TENSOR);
        let cond = graph.add_param(entry, Type::Bool);
        let relu = Op::of("aten::relu");
        let a = graph.insert(At::End(entry), relu, &[x], [Type::TENSOR]);
        let a_out = graph.output(a);
        let b = graph.insert(At::End(entry), relu, &[a_out], [Type::TENSOR]);
        let b_out = graph.output(b);
        let branch = graph.insert(At::End(entry), Op::of("prim::If"), &[cond], [Type::TENSOR]);
        let (then, other) = (graph.add_block(branch), graph.add_block(branch));
        let inner = graph.insert(At::End(then), relu, &[a_out], [Type::TENSOR]);
        let inner_out = graph.output(inner);
        graph.set_results(then, &[inner_out]);
        graph.set_results(other, &[b_out]);
        let i_out = graph.output(branch);
        let d = graph.insert(
            At::End(entry),
            Op::of("mine::add"),
            &[i_out, b_out],
            [Type::TENSOR],
        );
        let d_out = graph.output(d);
        graph.set_results(entry, &[d_out]);
        (graph, [a, b, inner, branch, d])
    }

    #[test]
    fn edges_are_the_same_in_both_directions() {
        let (graph, nodes) = sample();
        for from in nodes {
            for to in nodes {
                let there = graph.users(from).filter(|user| *user == to).count();
                let back = graph.needs(to).filter(|need| *need == from).count();
                assert_eq!(there, back, "{from} {to}");
            }
        }
    }

    #[test]
    fn algorithms_run_on_the_arena() {
        let (graph, [a, b, inner, branch, d]) = sample();
        let order = toposort(&graph, None).expect("a graph has no cycles");
        assert_eq!(order.len(), 5);
        let at = |node| order.iter().position(|found| *found == node);
        for (first, second) in [
            (a, b),
            (a, inner),
            (inner, branch),
            (b, branch),
            (branch, d),
        ] {
            assert!(at(first) < at(second));
        }
        assert_eq!(tarjan_scc(&graph).len(), 5);
        let dominators = dominators::simple_fast(&graph, a);
        assert_eq!(dominators.immediate_dominator(branch), Some(a));
        assert_eq!(dominators.immediate_dominator(inner), Some(a));
        let mut needed = Dfs::new(Reversed(&graph), branch);
        let mut count = 0;
        while needed.next(Reversed(&graph)).is_some() {
            count += 1;
        }
        assert_eq!(count, 4);
    }
}
