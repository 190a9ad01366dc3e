//! Nodes, values, blocks, and what they hold.

use std::fmt;
use std::sync::Arc;

use smallvec::SmallVec;

use crate::entity::entity_id;
use crate::{Attributes, Graph, Literal, Op, Sym, Type, ValueName};

entity_id!(
    /// A node of a graph.
    NodeId,
    "n"
);
entity_id!(
    /// A value of a graph.
    ValueId,
    "%"
);
entity_id!(
    /// A block of a graph.
    BlockId,
    "block"
);

/// An operation of a graph: what it computes, from what, and where it came from.
///
/// A look at the graph's tables; what ties nodes and values together is changed through [`Graph`].
#[derive(Clone, Copy)]
pub struct Node<'g> {
    pub(crate) graph: &'g Graph,
    pub(crate) id: NodeId,
}

/// A place in a source file.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Loc {
    /// File name.
    pub file: Sym,
    /// Line, from 1.
    pub line: u32,
    /// Column, from 0, as PyTorch counts it.
    pub column: u32,
}

/// An attribute of a node.
#[derive(Clone, Debug)]
pub enum Attr {
    /// A value.
    Literal(Literal),
    /// A type.
    Type(Type),
    /// Types.
    Types(Arc<[Type]>),
    /// A graph, such as the body of a fork.
    Graph(Arc<Graph>),
}

/// A value of a graph: its type, its name, where it comes from and who reads it.
#[derive(Clone, Copy)]
pub struct Value<'g> {
    pub(crate) graph: &'g Graph,
    pub(crate) id: ValueId,
}

/// Where a value comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Def {
    /// Output `.1` of a node.
    Output(NodeId, u32),
    /// Parameter `.1` of a block.
    Param(BlockId, u32),
}

/// One use of a value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Use {
    /// Input `.1` of a node.
    Input(NodeId, u32),
    /// Result `.1` of a block.
    Result(BlockId, u32),
}

/// A list of nodes with parameters and results.
#[derive(Clone, Debug)]
pub struct Block {
    pub(crate) params: SmallVec<[ValueId; 4]>,
    pub(crate) results: SmallVec<[ValueId; 2]>,
    pub(crate) result_slots: SmallVec<[u32; 2]>,
    pub(crate) first: Option<NodeId>,
    pub(crate) last: Option<NodeId>,
    pub(crate) parent: Option<NodeId>,
}

impl<'g> Node<'g> {
    /// Operator.
    #[inline]
    pub fn op(self) -> Op {
        self.graph.nodes.heads[self.id].op
    }

    /// Inputs, in the operator's order.
    #[inline]
    pub fn inputs(self) -> &'g [ValueId] {
        self.graph.nodes.inputs(self.id)
    }

    /// Outputs.
    #[inline]
    pub fn outputs(self) -> &'g [ValueId] {
        self.graph.nodes.outputs(self.id)
    }

    /// Nested blocks (`prim::If`: then, else; `prim::Loop`: the body).
    #[inline]
    pub fn blocks(self) -> &'g [BlockId] {
        if !self.graph.nodes.heads[self.id].nests {
            return &[];
        }
        let blocks = self.graph.nodes.margins[self.id].blocks.as_deref();
        blocks.map_or(&[], SmallVec::as_slice)
    }

    /// Attributes.
    #[inline]
    pub fn attrs(self) -> Attributes<'g> {
        self.graph.attrs(self.id)
    }

    /// The attribute with this name.
    #[inline]
    pub fn attr(self, name: &str) -> Option<&'g Attr> {
        self.graph.attr(self.id, name)
    }

    /// The attribute with this name, when it is a value.
    #[inline]
    pub fn literal(self, name: &str) -> Option<&'g Literal> {
        match self.attr(name)? {
            Attr::Literal(literal) => Some(literal),
            _ => None,
        }
    }

    /// The string attribute with this name.
    pub fn str_attr(self, name: &str) -> Option<&'g str> {
        self.literal(name)?.as_str()
    }

    /// The string attribute `name`: which attribute a `prim::GetAttr` reads, which method a `prim::CallMethod` calls.
    #[inline]
    pub fn name_attr(self) -> Option<Sym> {
        self.graph.nodes.names[self.id]
    }

    /// Where the operation stood in the source it came from.
    pub fn loc(self) -> Option<Loc> {
        self.graph.nodes.margins[self.id].loc
    }

    /// For each input, the position of this use in the value's use list.
    pub(crate) fn slots(self) -> &'g [u32] {
        self.graph.nodes.slots(self.id)
    }
}

impl<'g> Value<'g> {
    /// Type.
    #[inline]
    pub fn ty(self) -> &'g Type {
        &self.graph.values.types[self.id]
    }

    /// Name in the source; kept for messages and for the faithful printer, without meaning.
    pub fn name(self) -> Option<&'g ValueName> {
        let name = &self.graph.values.names[self.id];
        (!name.is_none()).then_some(name)
    }

    /// Where the value comes from.
    #[inline]
    pub fn def(self) -> Def {
        self.graph.values.defs[self.id]
    }

    /// All uses, one for each operand; their order has no meaning.
    #[inline]
    pub fn uses(self) -> &'g [Use] {
        self.graph.values.uses(self.id)
    }
}

impl Block {
    /// Parameters.
    #[inline]
    pub fn params(&self) -> &[ValueId] {
        &self.params
    }

    /// Results.
    #[inline]
    pub fn results(&self) -> &[ValueId] {
        &self.results
    }

    /// First node.
    #[inline]
    pub fn first(&self) -> Option<NodeId> {
        self.first
    }

    /// Last node.
    #[inline]
    pub fn last(&self) -> Option<NodeId> {
        self.last
    }

    /// The node that this block is nested in; `None` for a graph's own block.
    #[inline]
    pub fn parent(&self) -> Option<NodeId> {
        self.parent
    }
}

impl From<Literal> for Attr {
    fn from(literal: Literal) -> Self {
        Self::Literal(literal)
    }
}

/// Equal values and types; graphs are equal only when they are one and the same.
impl PartialEq for Attr {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Literal(a), Self::Literal(b)) => a == b,
            (Self::Type(a), Self::Type(b)) => a == b,
            (Self::Types(a), Self::Types(b)) => a == b,
            (Self::Graph(a), Self::Graph(b)) => Arc::ptr_eq(a, b),
            _ => false,
        }
    }
}

impl fmt::Debug for Node<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (op, inputs, outputs) = (self.op(), self.inputs(), self.outputs());
        write!(f, "{}: {outputs:?} = {op}({inputs:?})", self.id)
    }
}

impl fmt::Debug for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {:?}", self.id, self.ty())
    }
}

impl fmt::Display for Loc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}
