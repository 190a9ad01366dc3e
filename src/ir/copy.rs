//! Copies of graphs: into another graph, or fresh without the empty slots of erased nodes.

use smallvec::SmallVec;

use crate::{At, BlockId, Graph, NodeId, SecondaryMap, ValueId};

/// What became of the values of the graph that is copied from.
type Renaming = SecondaryMap<ValueId, Option<ValueId>>;

impl Graph {
    /// Copies the body of `callee` to a place, its parameters replaced by `args`, and returns what its results became.
    ///
    /// Nested blocks, attributes, names and places in the source come along.
    ///
    /// # Panics
    /// When there is not one argument for each parameter.
    pub fn inline(&mut self, at: At, callee: &Graph, args: &[ValueId]) -> Vec<ValueId> {
        let params = callee.params();
        assert!(
            params.len() == args.len(),
            "{} arguments stand for {} parameters",
            args.len(),
            params.len()
        );
        let mut renaming = Renaming::new();
        for (param, arg) in params.iter().zip(args) {
            renaming[*param] = Some(*arg);
        }
        self.copy(at, callee, callee.entry(), callee.walk(), &mut renaming);
        let results = callee.results().iter();
        results.map(|value| renamed(&renaming, *value)).collect()
    }

    /// Copies one node of a graph, with all that is nested in it, to a place; `input` says what stands for the values that it reads.
    pub fn copy_node(
        &mut self,
        at: At,
        from: &Graph,
        node: NodeId,
        mut input: impl FnMut(ValueId) -> ValueId,
    ) -> NodeId {
        let mut nodes = vec![node];
        for block in from.node(node).blocks() {
            nodes.extend(from.walk_block(*block));
        }
        let mut renaming = Renaming::new();
        for value in from.reads_from_outside(&nodes, &[], &[]) {
            renaming[value] = Some(input(value));
        }
        self.copy(
            at,
            from,
            from.block_of(node),
            nodes.iter().copied(),
            &mut renaming,
        )
        .expect("the first of the nodes stands in the block that is copied from")
    }

    /// A block as a graph on its own, and the values that it reads from outside: the graph has the block's parameters first, then one for
    /// each of those values.
    pub fn outlined(&self, block: BlockId) -> (Self, Vec<ValueId>) {
        let mut nodes = Vec::new();
        nodes.extend(self.walk_block(block));
        let (params, results) = (self.block(block).params(), self.block(block).results());
        let outside = self.reads_from_outside(&nodes, params, results);
        let mut graph = Self::new();
        let entry = graph.entry();
        let mut renaming = Renaming::new();
        for old in params.iter().chain(&outside) {
            let new = graph.add_param(entry, self.ty(*old).clone());
            graph.set_name(new, self.value(*old).name().cloned());
            renaming[*old] = Some(new);
        }
        graph.copy(
            At::End(entry),
            self,
            block,
            nodes.iter().copied(),
            &mut renaming,
        );
        for old in results {
            graph.push_result(entry, renamed(&renaming, *old));
        }
        (graph, outside)
    }

    /// The same graph with ids given out anew in program order, without the slots of erased nodes.
    #[must_use]
    pub fn compact(&self) -> Self {
        let mut graph = Self::new();
        let entry = graph.entry();
        let mut args = Vec::with_capacity(self.params().len());
        for param in self.params() {
            let value = graph.add_param(entry, self.ty(*param).clone());
            graph.set_name(value, self.value(*param).name().cloned());
            args.push(value);
        }
        let results = graph.inline(At::End(entry), self, &args);
        graph.set_results(entry, &results);
        graph
    }

    /// The values that `nodes`, and a block with these parameters and results around them, read and do not define; each once.
    fn reads_from_outside(
        &self,
        nodes: &[NodeId],
        params: &[ValueId],
        results: &[ValueId],
    ) -> Vec<ValueId> {
        let mut seen = SecondaryMap::<ValueId, bool>::new();
        let blocks = || nodes.iter().flat_map(|id| self.node(*id).blocks());
        let outputs = nodes.iter().flat_map(|id| self.node(*id).outputs());
        let inner = blocks().flat_map(|block| self.block(*block).params());
        for value in outputs.chain(inner).chain(params) {
            seen[*value] = true;
        }
        let inputs = nodes.iter().flat_map(|id| self.node(*id).inputs());
        let inner = blocks().flat_map(|block| self.block(*block).results());
        let mut outside = Vec::new();
        for value in inputs.chain(inner).chain(results) {
            if !std::mem::replace(&mut seen[*value], true) {
                outside.push(*value);
            }
        }
        outside
    }

    /// Copies `nodes`, which are those of `block` and all that is nested in them, in program order. Returns the first copy.
    fn copy(
        &mut self,
        mut at: At,
        from: &Graph,
        block: BlockId,
        nodes: impl Iterator<Item = NodeId>,
        renaming: &mut Renaming,
    ) -> Option<NodeId> {
        let mut first = None;
        let mut nested: Vec<(BlockId, BlockId)> = Vec::new();
        let mut copies = SecondaryMap::<BlockId, Option<BlockId>>::new();
        for id in nodes {
            let node = from.node(id);
            let inputs = node.inputs().iter();
            let inputs: SmallVec<[ValueId; 8]> =
                inputs.map(|value| renamed(renaming, *value)).collect();
            let types = node.outputs().iter().map(|value| from.ty(*value).clone());
            let place = match copies[from.block_of(id)] {
                Some(copy) => At::End(copy),
                None => at,
            };
            let copy = self.insert(place, node.op(), &inputs, types);
            if from.block_of(id) == block {
                at = At::After(copy);
                first = first.or(Some(copy));
            }
            self.copy_description(from, id, copy);
            for (old, new) in node.outputs().iter().zip(self.node(copy).outputs()) {
                renaming[*old] = Some(*new);
            }
            for old in node.blocks() {
                let new = self.add_block(copy);
                copies[*old] = Some(new);
                nested.push((*old, new));
                for param in from.block(*old).params() {
                    let value = self.add_param(new, from.ty(*param).clone());
                    self.set_name(value, from.value(*param).name().cloned());
                    renaming[*param] = Some(value);
                }
            }
        }
        for (old, new) in nested {
            for value in from.block(old).results() {
                self.push_result(new, renamed(renaming, *value));
            }
        }
        first
    }
}

fn renamed(renaming: &Renaming, value: ValueId) -> ValueId {
    renaming[value].expect("a definition dominates its uses: a law of graphs")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Literal, Loc, Op, Sym, Type, ValueName, verify_graph};

    /// `graph(%c, %x): %y = If(%c) { relu(%x) } { %x }; return (%y, %x)`, after a node that was erased.
    fn callee() -> Graph {
        let mut graph = Graph::new();
        let entry = graph.entry();
        let cond = graph.add_param(entry, Type::Bool);
        let x = graph.add_param(entry, Type::TENSOR);
        graph.set_name(x, ValueName::new("x.1"));
        let gone = graph.insert(At::End(entry), Op::of("aten::relu"), &[x], [Type::TENSOR]);
        graph.erase(gone);
        let branch = graph.insert(At::End(entry), Op::of("prim::If"), &[cond], [Type::TENSOR]);
        graph.set_attr(branch, "note", Literal::str("kept"));
        let loc = Loc {
            file: Sym::new("net.py"),
            line: 4,
            column: 8,
        };
        graph.set_loc(branch, Some(loc));
        let (then, other) = (graph.add_block(branch), graph.add_block(branch));
        let relu = graph.insert(At::End(then), Op::of("aten::relu"), &[x], [Type::TENSOR]);
        let out = graph.output(relu);
        graph.set_name(out, ValueName::new("inner"));
        graph.set_results(then, &[out]);
        graph.set_results(other, &[x]);
        let y = graph.output(branch);
        graph.set_results(entry, &[y, x]);
        graph
    }

    #[test]
    fn inlining_copies_blocks_names_and_places() {
        let callee = callee();
        let mut graph = Graph::new();
        let entry = graph.entry();
        let cond = graph.add_param(entry, Type::Bool);
        let a = graph.add_param(entry, Type::TENSOR);
        let last = graph.insert(At::End(entry), Op::of("aten::relu"), &[a], [Type::TENSOR]);
        let results = graph.inline(At::Before(last), &callee, &[cond, a]);
        graph.set_input(last, 0, results[0]);
        graph.set_results(entry, &results);
        assert_eq!(verify_graph(&graph), Ok(()));
        assert_eq!(results[1], a);
        let branch = graph.block(entry).first().expect("two nodes");
        assert_eq!(graph.next(branch), Some(last));
        assert_eq!(graph.node(branch).str_attr("note"), Some("kept"));
        assert_eq!(graph.node(branch).loc().map(|loc| loc.line), Some(4));
        let then = graph.block(graph.node(branch).blocks()[0]);
        let inner = graph.value(then.results()[0]);
        assert_eq!(inner.name(), Some(&ValueName::new("inner")));
    }

    #[test]
    fn compacting_gives_ids_anew() {
        let old = callee();
        let new = old.compact();
        assert_eq!(verify_graph(&new), Ok(()));
        assert_eq!((old.node_capacity(), new.node_capacity()), (3, 2));
        assert_eq!(
            new.value(new.params()[1]).name(),
            Some(&ValueName::new("x.1"))
        );
        assert_eq!(new.results()[1], new.params()[1]);
    }

    #[test]
    fn a_block_is_outlined_with_what_it_reads() {
        let from = callee();
        let branch = from.block(from.entry()).first().expect("one node");
        let [then, other] = [0, 1].map(|at| from.node(branch).blocks()[at]);
        let x = from.params()[1];
        let (graph, outside) = from.outlined(then);
        assert_eq!(verify_graph(&graph), Ok(()));
        assert_eq!((outside, graph.len()), (vec![x], 1));
        let (graph, outside) = from.outlined(other);
        assert_eq!((outside, graph.len()), (vec![x], 0));
        assert_eq!(graph.results(), graph.params());
    }

    #[test]
    fn one_node_is_copied_with_what_is_nested() {
        let from = callee();
        let branch = from.block(from.entry()).first().expect("one node");
        let mut graph = Graph::new();
        let entry = graph.entry();
        let cond = graph.add_param(entry, Type::Bool);
        let a = graph.add_param(entry, Type::TENSOR);
        let args = [cond, a];
        let params = from.params().to_vec();
        let copy = graph.copy_node(At::End(entry), &from, branch, |value| {
            let at = params.iter().position(|param| *param == value);
            args[at.expect("it reads parameters only")]
        });
        assert_eq!(verify_graph(&graph), Ok(()));
        assert_eq!(graph.node(copy).inputs(), [cond]);
        assert_eq!(graph.len(), 2);
    }
}
