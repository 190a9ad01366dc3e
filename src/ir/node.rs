//! Nodes, values, blocks, and what they hold.

use std::fmt;
use std::sync::Arc;

use smallvec::SmallVec;

use crate::entity::entity_id;
use crate::{Graph, Literal, Op, Sym, Type};

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

/// An operation: what it computes, from what, and where it stands.
///
/// Fields that tie nodes and values together are changed through [`Graph`] only.
#[derive(Clone, Debug)]
pub struct Node {
    pub(crate) op: Op,
    pub(crate) inputs: SmallVec<[ValueId; 4]>,
    /// For each input, the position of this use in the value's use list: removing a use is constant time.
    pub(crate) slots: SmallVec<[u32; 4]>,
    pub(crate) outputs: SmallVec<[ValueId; 1]>,
    // Most nodes have neither: what walks over nested blocks need not look up those without.
    pub(crate) blocks: Option<Box<SmallVec<[BlockId; 2]>>>,
    pub(crate) attrs: Option<Box<Attrs>>,
    /// Where the operation stood in the source it came from.
    pub loc: Option<Loc>,
}

/// The attributes of a node, in the order in which they were given. There are one or two: a list is faster than a map.
#[derive(Clone, Debug, Default)]
pub(crate) struct Attrs {
    entries: SmallVec<[(Sym, Attr); 1]>,
    /// The string attribute `name`, interned once for all who follow it.
    name: Option<Sym>,
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

/// What is known of a value.
#[derive(Clone, Debug)]
pub struct Value {
    /// Type.
    pub ty: Type,
    /// Name in the source; kept for messages and for the faithful printer, without meaning.
    pub name: Option<Arc<str>>,
    pub(crate) def: Def,
    pub(crate) uses: SmallVec<[Use; 2]>,
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

impl Node {
    /// Operator.
    #[inline]
    pub fn op(&self) -> Op {
        self.op
    }

    /// Inputs, in the operator's order.
    #[inline]
    pub fn inputs(&self) -> &[ValueId] {
        &self.inputs
    }

    /// Outputs.
    #[inline]
    pub fn outputs(&self) -> &[ValueId] {
        &self.outputs
    }

    /// Nested blocks (`prim::If`: then, else; `prim::Loop`: the body).
    #[inline]
    pub fn blocks(&self) -> &[BlockId] {
        self.blocks.as_ref().map_or(&[], |blocks| blocks)
    }

    /// Attributes, in the order in which they were given.
    #[inline]
    pub fn attrs(&self) -> impl ExactSizeIterator<Item = (Sym, &Attr)> {
        let entries = self.attrs.as_ref().map_or(&[][..], |attrs| &attrs.entries);
        entries.iter().map(|(name, attr)| (*name, attr))
    }

    /// The attribute with this name.
    #[inline]
    pub fn attr(&self, name: &str) -> Option<&Attr> {
        let mut entries = self.attrs.as_ref()?.entries.iter();
        entries.find_map(|(key, attr)| (*key == *name).then_some(attr))
    }

    /// The attribute with this name, when it is a value.
    #[inline]
    pub fn literal(&self, name: &str) -> Option<&Literal> {
        match self.attr(name)? {
            Attr::Literal(literal) => Some(literal),
            _ => None,
        }
    }

    /// The string attribute with this name.
    pub fn str_attr(&self, name: &str) -> Option<&str> {
        self.literal(name)?.as_str()
    }

    /// The string attribute `name`: which attribute a `prim::GetAttr` reads, which method a `prim::CallMethod` calls.
    #[inline]
    pub fn name_attr(&self) -> Option<Sym> {
        self.attrs.as_ref()?.name
    }
}

impl Attrs {
    /// Sets an attribute; one that was there keeps its place.
    pub(crate) fn set(&mut self, name: Sym, attr: Attr) {
        if name == "name" {
            self.name = match &attr {
                Attr::Literal(literal) => literal.as_str().map(Sym::new),
                _ => None,
            };
        }
        match self.entries.iter_mut().find(|(key, _)| *key == name) {
            Some((_, old)) => *old = attr,
            None => self.entries.push((name, attr)),
        }
    }

    /// Removes an attribute; the others keep their order.
    pub(crate) fn remove(&mut self, name: &str) {
        self.entries.retain(|(key, _)| *key != *name);
        if name == "name" {
            self.name = None;
        }
    }
}

impl Value {
    /// Where the value comes from.
    #[inline]
    pub fn def(&self) -> Def {
        self.def
    }

    /// All uses, one for each operand; their order has no meaning.
    #[inline]
    pub fn uses(&self) -> &[Use] {
        &self.uses
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

impl fmt::Display for Loc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_stays_small() {
        assert!(size_of::<Node>() <= 112, "{}", size_of::<Node>());
    }
}
