//! The dataflow graph of a method.
//!
//! Laws, each checked by [`crate::verify`]:
//! - every use of a value stands in the value's use list exactly once, and every entry of a use list is a use;
//! - a definition dominates its uses: it stands before them in the same block or in a block around them;
//! - ids are never reused: an erased node's slot stays empty until the graph is copied by [`Graph::compact`].
//!
//! Only this file and its children change what ties nodes and values together.

mod attrs;
mod layout;
mod lists;
mod tables;
mod uses;

use std::sync::LazyLock;

use smallvec::SmallVec;

pub use attrs::Attributes;
pub use layout::{At, Walk};
use tables::{Head, Nodes, Values};

use crate::entity::PrimaryMap;
use crate::{
    Block, BlockId, Def, Label, Literal, Node, NodeId, Op, Sym, Type, Value, ValueId, ValueName,
};

/// A graph: one block with parameters and results, in which nodes may nest further blocks.
#[derive(Clone, Debug)]
pub struct Graph {
    pub(crate) nodes: Nodes,
    pub(crate) values: Values,
    blocks: PrimaryMap<BlockId, Block>,
    entry: BlockId,
    live: usize,
}

/// The operator of constants.
static CONSTANT: LazyLock<Op> = LazyLock::new(|| Op::of("prim::Constant"));

/// The attribute that holds the value of a constant.
static VALUE: LazyLock<Sym> = LazyLock::new(|| Sym::new("value"));

impl Graph {
    /// An empty graph.
    pub fn new() -> Self {
        let mut blocks = PrimaryMap::new();
        let entry = blocks.push(Block::new(None));
        Self {
            nodes: Nodes::default(),
            values: Values::default(),
            blocks,
            entry,
            live: 0,
        }
    }

    /// The graph's own block.
    #[inline]
    pub fn entry(&self) -> BlockId {
        self.entry
    }

    /// Parameters of the graph.
    #[inline]
    pub fn params(&self) -> &[ValueId] {
        &self.blocks[self.entry].params
    }

    /// Results of the graph.
    #[inline]
    pub fn results(&self) -> &[ValueId] {
        &self.blocks[self.entry].results
    }

    /// Number of nodes, nested ones included.
    #[inline]
    pub fn len(&self) -> usize {
        self.live
    }

    /// Whether there is no node.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.live == 0
    }

    /// A node.
    #[inline]
    pub fn node(&self, id: NodeId) -> Node<'_> {
        Node { graph: self, id }
    }

    /// A value.
    #[inline]
    pub fn value(&self, id: ValueId) -> Value<'_> {
        Value { graph: self, id }
    }

    /// A value, or `None` when the id belongs to another graph.
    #[inline]
    pub fn get_value(&self, id: ValueId) -> Option<Value<'_>> {
        self.values.defs.get(id).map(|_| self.value(id))
    }

    /// A block.
    #[inline]
    pub fn block(&self, id: BlockId) -> &Block {
        &self.blocks[id]
    }

    /// The type of a value.
    #[inline]
    pub fn ty(&self, id: ValueId) -> &Type {
        &self.values.types[id]
    }

    /// Number of node ids given out; a bound for tables over nodes.
    #[inline]
    pub fn node_capacity(&self) -> usize {
        self.nodes.heads.len()
    }

    /// Number of value ids given out; a bound for tables over values.
    #[inline]
    pub fn value_capacity(&self) -> usize {
        self.values.defs.len()
    }

    /// Number of block ids given out; a bound for tables over blocks.
    #[inline]
    pub fn block_capacity(&self) -> usize {
        self.blocks.len()
    }

    /// The node that computes a value; `None` for a parameter.
    #[inline]
    pub fn producer(&self, value: ValueId) -> Option<NodeId> {
        match self.values.defs[value] {
            Def::Output(node, _) => Some(node),
            Def::Param(..) => None,
        }
    }

    /// The only output of a node.
    ///
    /// # Panics
    /// When the node has no output or several.
    #[inline]
    pub fn output(&self, node: NodeId) -> ValueId {
        let outputs = self.node(node).outputs();
        assert!(
            outputs.len() == 1,
            "{} has {} outputs",
            self.node(node).op(),
            outputs.len()
        );
        outputs[0]
    }

    /// A value as messages name it.
    pub fn label(&self, value: ValueId) -> Label {
        let name = self.value(value).name().cloned();
        name.map_or(Label::Id(value), Label::Name)
    }

    /// The payload of the `prim::Constant` that makes a value.
    ///
    /// A constant without a payload is `None` (the value) unless the text left the payload out.
    #[inline]
    pub fn constant(&self, value: ValueId) -> Option<&Literal> {
        let node = self.node(self.producer(value)?);
        if !node.op().is("prim::Constant") {
            return None;
        }
        Some(node.literal("value").unwrap_or(&Literal::None))
    }

    /// Adds a parameter to a block.
    pub fn add_param(&mut self, block: BlockId, ty: Type) -> ValueId {
        let index = self.blocks[block].params.len() as u32;
        let value = self.values.push(ty, Def::Param(block, index));
        self.blocks[block].params.push(value);
        value
    }

    /// Inserts a node.
    pub fn insert(
        &mut self,
        at: At,
        op: Op,
        inputs: &[ValueId],
        outputs: impl IntoIterator<Item = Type>,
    ) -> NodeId {
        let block = match at {
            At::Start(block) | At::End(block) => block,
            At::Before(node) | At::After(node) => self.block_of(node),
        };
        let id = self.nodes.push(Head {
            op,
            block,
            prev: None,
            next: None,
            live: true,
            nests: false,
        });
        self.live += 1;
        self.link(id, at);
        self.add_inputs(id, inputs);
        for ty in outputs {
            self.add_output(id, ty);
        }
        id
    }

    /// Inserts a `prim::Constant` and returns its value.
    pub fn insert_constant(&mut self, at: At, literal: Literal) -> ValueId {
        let ty = literal.ty();
        self.insert_typed_constant(at, literal, ty)
    }

    /// Inserts a `prim::Constant` of the given type and returns its value.
    pub fn insert_typed_constant(&mut self, at: At, literal: Literal, ty: Type) -> ValueId {
        let node = self.insert(at, *CONSTANT, &[], [ty]);
        self.set_payload(node, literal);
        self.output(node)
    }

    /// Makes a node the `prim::Constant` of what it computes; its output, with its type, name and uses, stays.
    ///
    /// # Panics
    /// When the node has no output, several, or nested blocks.
    pub fn become_constant(&mut self, node: NodeId, literal: Literal) {
        let op = self.node(node).op();
        assert!(!self.nodes.heads[node].nests, "{op} has blocks");
        self.output(node);
        self.drop_inputs(node);
        self.set_op(node, *CONSTANT);
        self.remove_attrs(node);
        self.set_payload(node, literal);
    }

    /// Adds an output to a node.
    pub fn add_output(&mut self, node: NodeId, ty: Type) -> ValueId {
        let index = self.node(node).outputs().len() as u32;
        let value = self.values.push(ty, Def::Output(node, index));
        let nodes = &mut self.nodes;
        nodes.lists.push(&mut nodes.operands[node].outputs, value);
        value
    }

    /// Adds a nested block to a node.
    pub fn add_block(&mut self, node: NodeId) -> BlockId {
        let block = self.blocks.push(Block::new(Some(node)));
        let blocks = &mut self.nodes.margins[node].blocks;
        blocks.get_or_insert_default().push(block);
        self.nodes.heads[node].nests = true;
        block
    }

    /// Replaces a node's operator; inputs and outputs stay.
    pub fn set_op(&mut self, node: NodeId, op: Op) {
        self.nodes.heads[node].op = op;
    }

    /// Sets the place in the source that a node comes from.
    pub fn set_loc(&mut self, node: NodeId, loc: Option<crate::Loc>) {
        self.nodes.margins[node].loc = loc;
    }

    /// Sets the type of a value.
    pub fn set_ty(&mut self, value: ValueId, ty: Type) {
        self.values.types[value] = ty;
    }

    /// Sets the name of a value, or takes it away.
    pub fn set_name(&mut self, value: ValueId, name: impl Into<Option<ValueName>>) {
        self.values.names[value] = name.into().unwrap_or(ValueName::NONE);
    }

    /// Gives a node the attributes, the place and the names of outputs of a node of another graph.
    pub(crate) fn copy_description(&mut self, from: &Self, old: NodeId, new: NodeId) {
        self.copy_attrs(from, old, new);
        self.nodes.margins[new].loc = from.nodes.margins[old].loc;
        let made = self.nodes.outputs(new).iter();
        for (old, new) in from.node(old).outputs().iter().zip(made) {
            self.values.names[*new].clone_from(&from.values.names[*old]);
        }
    }

    /// Gives a value the name of another.
    pub fn copy_name(&mut self, from: ValueId, to: ValueId) {
        self.values.names[to] = self.values.names[from].clone();
    }

    /// Removes a node and all that is nested in it.
    ///
    /// # Panics
    /// When an output is still used.
    pub fn erase(&mut self, node: NodeId) {
        if !self.nodes.heads[node].nests {
            self.drop_inputs(node);
            self.unlink(node);
            self.bury(node);
            return;
        }
        let mut nodes = vec![node];
        for block in self.node(node).blocks() {
            nodes.extend(self.walk_block(*block));
        }
        for id in &nodes {
            for block in self.node(*id).blocks().to_vec() {
                self.set_results(block, &[]);
                (self.blocks[block].first, self.blocks[block].last) = (None, None);
            }
            self.drop_inputs(*id);
        }
        self.unlink(node);
        for id in nodes {
            self.bury(id);
        }
    }

    /// Removes an unused output of a node.
    ///
    /// # Panics
    /// When the output is still used.
    pub fn remove_output(&mut self, node: NodeId, index: usize) {
        let value = self.node(node).outputs()[index];
        assert!(
            self.values.uses(value).is_empty(),
            "output {index} of {} is removed while it is used",
            self.node(node).op()
        );
        let nodes = &mut self.nodes;
        let outputs = &mut nodes.operands[node].outputs;
        nodes.lists.remove(outputs, index);
        for (at, value) in self.nodes.outputs(node).iter().enumerate().skip(index) {
            self.values.defs[*value] = Def::Output(node, at as u32);
        }
    }

    /// Removes an unused parameter of a block.
    ///
    /// # Panics
    /// When the parameter is still used.
    pub fn remove_param(&mut self, block: BlockId, index: usize) {
        let value = self.blocks[block].params[index];
        assert!(
            self.values.uses(value).is_empty(),
            "parameter {index} of a block is removed while it is used"
        );
        self.blocks[block].params.remove(index);
        for (at, value) in self.blocks[block]
            .params
            .clone()
            .into_iter()
            .enumerate()
            .skip(index)
        {
            self.values.defs[value] = Def::Param(block, at as u32);
        }
    }

    /// A block, to break laws in the tests of the verifier.
    #[cfg(test)]
    pub(crate) fn raw_block(&mut self, id: BlockId) -> &mut Block {
        &mut self.blocks[id]
    }

    fn set_payload(&mut self, constant: NodeId, literal: Literal) {
        if !matches!(literal, Literal::None) {
            self.set(constant, *VALUE, literal.into());
        }
    }

    /// Marks a node that nothing ties to others any more. The id stays taken; a constant's weights need not stay in memory.
    fn bury(&mut self, id: NodeId) {
        for output in self.nodes.outputs(id) {
            let uses = self.values.uses(*output);
            assert!(
                uses.is_empty(),
                "{} is erased while {uses:?} still read it",
                self.node(id).op()
            );
            let values = &mut self.values;
            values.lists.clear(&mut values.uses[*output]);
        }
        self.remove_attrs(id);
        let head = &mut self.nodes.heads[id];
        (head.live, head.nests) = (false, false);
        self.live -= 1;
    }
}

impl Default for Graph {
    fn default() -> Self {
        Self::new()
    }
}

impl Block {
    fn new(parent: Option<NodeId>) -> Self {
        Self {
            params: SmallVec::new(),
            results: SmallVec::new(),
            result_slots: SmallVec::new(),
            first: None,
            last: None,
            parent,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Use;

    fn relu_twice() -> (Graph, ValueId, NodeId, NodeId) {
        let mut graph = Graph::new();
        let entry = graph.entry();
        let x = graph.add_param(entry, Type::TENSOR);
        let relu = Op::of("aten::relu");
        let first = graph.insert(At::End(entry), relu, &[x], [Type::TENSOR]);
        let mid = graph.output(first);
        let second = graph.insert(At::End(entry), relu, &[mid], [Type::TENSOR]);
        let out = graph.output(second);
        graph.set_results(entry, &[out, mid, out]);
        (graph, x, first, second)
    }

    #[test]
    fn replacing_uses_reaches_inputs_and_results() {
        let (mut graph, x, first, second) = relu_twice();
        let mid = graph.output(first);
        graph.replace_all_uses(mid, x);
        assert_eq!(graph.node(second).inputs(), [x]);
        assert_eq!(graph.results()[1], x);
        assert!(graph.value(mid).uses().is_empty());
        graph.erase(first);
        assert_eq!(
            (graph.len(), graph.nodes(graph.entry()).collect::<Vec<_>>()),
            (1, vec![second])
        );
    }

    #[test]
    fn results_and_repeated_inputs_keep_the_use_lists_exact() {
        let (mut graph, x, _, second) = relu_twice();
        let out = graph.output(second);
        let add = graph.insert(
            At::After(second),
            Op::of("aten::add"),
            &[out, out, x, out],
            [Type::TENSOR],
        );
        graph.set_results(graph.entry(), &[out]);
        graph.set_input(add, 1, x);
        graph.remove_input(add, 0);
        assert_eq!(graph.node(add).inputs(), [x, x, out]);
        for value in [x, out] {
            for at in graph.value(value).uses() {
                let read = match *at {
                    Use::Input(node, index) => graph.node(node).inputs()[index as usize],
                    Use::Result(block, index) => graph.block(block).results()[index as usize],
                };
                assert_eq!(read, value);
            }
        }
        assert_eq!(
            (graph.value(x).uses().len(), graph.value(out).uses().len()),
            (3, 2)
        );
    }

    #[test]
    fn erasing_a_node_erases_what_is_nested() {
        let mut graph = Graph::new();
        let entry = graph.entry();
        let cond = graph.add_param(entry, Type::Bool);
        let branch = graph.insert(At::End(entry), Op::of("prim::If"), &[cond], [Type::TENSOR]);
        for _ in 0..2 {
            let block = graph.add_block(branch);
            let inner = graph.insert(
                At::End(block),
                Op::of("aten::rand"),
                &[cond],
                [Type::TENSOR],
            );
            let out = graph.output(inner);
            graph.push_result(block, out);
        }
        assert_eq!(graph.walk().count(), 3);
        graph.erase(branch);
        assert!(graph.is_empty() && graph.value(cond).uses().is_empty());
    }
}
