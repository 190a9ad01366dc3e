//! What a graph holds of its nodes and values: one table for what is read together.
//!
//! A pass walks over all nodes and looks closely at few. Graphs of many thousand nodes do not fit into a processor's caches, and what a walk
//! reads of a node it skips is what the walk costs. So a node is not one record: its head (operator and neighbours) is what every walk
//! reads, its operands lie with those of its neighbours, and what few passes ask for stands apart. Types, definitions, uses and names of
//! values likewise.

use smallvec::SmallVec;

use crate::entity::PrimaryMap;
use crate::graph::attrs::Attrs;
use crate::graph::lists::{List, Lists};
use crate::{BlockId, Def, Loc, NodeId, Op, Sym, Type, Use, ValueId, ValueName};

/// The nodes of a graph.
#[derive(Clone, Debug, Default)]
pub(crate) struct Nodes {
    pub(crate) heads: PrimaryMap<NodeId, Head>,
    pub(crate) operands: PrimaryMap<NodeId, Operands>,
    /// The inputs and outputs of all nodes.
    pub(crate) lists: Lists<ValueId>,
    /// The string attributes `name`.
    pub(crate) names: PrimaryMap<NodeId, Option<Sym>>,
    pub(crate) attrs: PrimaryMap<NodeId, Option<Box<Attrs>>>,
    pub(crate) margins: PrimaryMap<NodeId, Margin>,
    /// The slots of all nodes.
    pub(crate) slots: Lists<u32>,
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

/// What a node reads and makes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Operands {
    pub(crate) inputs: List,
    pub(crate) outputs: List,
}

/// What is seldom asked of a node.
#[derive(Clone, Debug, Default)]
pub(crate) struct Margin {
    /// For each input, the position of this use in the value's use list: removing a use is constant time.
    pub(crate) slots: List,
    /// In a box, as few nodes have any.
    pub(crate) blocks: Option<Box<SmallVec<[BlockId; 2]>>>,
    pub(crate) loc: Option<Loc>,
}

/// The values of a graph.
#[derive(Clone, Debug, Default)]
pub(crate) struct Values {
    pub(crate) types: PrimaryMap<ValueId, Type>,
    pub(crate) defs: PrimaryMap<ValueId, Def>,
    pub(crate) uses: PrimaryMap<ValueId, List>,
    /// The uses of all values.
    pub(crate) lists: Lists<Use>,
    pub(crate) names: PrimaryMap<ValueId, ValueName>,
}

impl Nodes {
    /// What a node reads.
    #[inline]
    pub(crate) fn inputs(&self, node: NodeId) -> &[ValueId] {
        self.lists.get(self.operands[node].inputs)
    }

    /// Where the uses of what a node reads stand.
    #[inline]
    pub(crate) fn slots(&self, node: NodeId) -> &[u32] {
        self.slots.get(self.margins[node].slots)
    }

    pub(crate) fn set_slot(&mut self, node: NodeId, index: usize, slot: u32) {
        let slots = self.margins[node].slots;
        self.slots.get_mut(slots)[index] = slot;
    }

    /// What a node makes.
    #[inline]
    pub(crate) fn outputs(&self, node: NodeId) -> &[ValueId] {
        self.lists.get(self.operands[node].outputs)
    }

    /// Adds a node without operands.
    pub(crate) fn push(&mut self, head: Head) -> NodeId {
        self.operands.push(Operands::default());
        self.names.push(None);
        self.attrs.push(None);
        self.margins.push(Margin::default());
        self.heads.push(head)
    }
}

impl Values {
    /// Who reads a value.
    #[inline]
    pub(crate) fn uses(&self, value: ValueId) -> &[Use] {
        self.lists.get(self.uses[value])
    }

    /// Adds a value that nobody reads.
    pub(crate) fn push(&mut self, ty: Type, def: Def) -> ValueId {
        self.types.push(ty);
        self.uses.push(List::default());
        self.names.push(ValueName::NONE);
        self.defs.push(def)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_every_walk_reads_is_small() {
        assert_eq!((size_of::<Head>(), size_of::<Operands>()), (24, 16));
        assert_eq!((size_of::<Margin>(), size_of::<Attrs>()), (32, 56));
    }
}
