//! What a graph holds of its nodes and values: one table for what is read together.
//!
//! A pass walks over all nodes and looks closely at few. Graphs of many thousand nodes do not fit into a processor's caches, and what a walk
//! reads of a node it skips is what the walk costs. So a node is not one record: its head (operator and neighbours) is what every walk
//! reads, its operands are one cache line, and what few passes ask for stands apart. Types, definitions, uses and names of values likewise.

use smallvec::SmallVec;

use crate::entity::PrimaryMap;
use crate::node::Attrs;
use crate::{BlockId, Def, Loc, NodeId, Op, Type, Use, ValueId, ValueName};

/// The nodes of a graph.
#[derive(Clone, Debug, Default)]
pub(crate) struct Nodes {
    pub(crate) heads: PrimaryMap<NodeId, Head>,
    pub(crate) operands: PrimaryMap<NodeId, Operands>,
    pub(crate) attrs: PrimaryMap<NodeId, Option<Box<Attrs>>>,
    pub(crate) margins: PrimaryMap<NodeId, Margin>,
}

/// What a node computes and where it stands.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Head {
    pub(crate) op: Op,
    pub(crate) block: BlockId,
    pub(crate) prev: Option<NodeId>,
    pub(crate) next: Option<NodeId>,
    /// Whether it still stands there.
    pub(crate) live: bool,
    /// Whether blocks are nested in it.
    pub(crate) nests: bool,
}

/// What a node reads and makes. A convolution, the widest of the frequent operators, reads seven values.
#[derive(Clone, Debug, Default)]
pub(crate) struct Operands {
    pub(crate) inputs: SmallVec<[ValueId; 8]>,
    pub(crate) outputs: SmallVec<[ValueId; 4]>,
}

/// What is seldom asked of a node.
#[derive(Clone, Debug, Default)]
pub(crate) struct Margin {
    /// For each input, the position of this use in the value's use list: removing a use is constant time.
    pub(crate) slots: SmallVec<[u32; 4]>,
    /// In a box, as few nodes have any.
    pub(crate) blocks: Option<Box<SmallVec<[BlockId; 2]>>>,
    pub(crate) loc: Option<Loc>,
}

/// The values of a graph.
#[derive(Clone, Debug, Default)]
pub(crate) struct Values {
    pub(crate) types: PrimaryMap<ValueId, Type>,
    pub(crate) defs: PrimaryMap<ValueId, Def>,
    pub(crate) uses: PrimaryMap<ValueId, SmallVec<[Use; 2]>>,
    pub(crate) names: PrimaryMap<ValueId, ValueName>,
}

impl Nodes {
    /// Adds a node without operands.
    pub(crate) fn push(&mut self, head: Head) -> NodeId {
        self.operands.push(Operands::default());
        self.attrs.push(None);
        self.margins.push(Margin::default());
        self.heads.push(head)
    }
}

impl Values {
    /// Adds a value that nobody reads.
    pub(crate) fn push(&mut self, ty: Type, def: Def) -> ValueId {
        self.types.push(ty);
        self.uses.push(SmallVec::new());
        self.names.push(ValueName::NONE);
        self.defs.push(def)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operands_fill_a_cache_line_and_nothing_is_larger() {
        assert_eq!((size_of::<Head>(), size_of::<Operands>()), (24, 64));
        assert_eq!((size_of::<Margin>(), size_of::<Attrs>()), (48, 64));
    }
}
