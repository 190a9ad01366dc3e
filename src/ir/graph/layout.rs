//! In which order nodes stand: the chains of nodes in blocks.

use smallvec::SmallVec;

use crate::{BlockId, Graph, NodeId};

/// The nodes of a graph or a block, with those nested in them, in program order.
#[derive(Clone, Debug)]
pub struct Walk<'g> {
    graph: &'g Graph,
    next: Option<NodeId>,
    /// Where the walk goes on when it comes to the end of a block. Not a recursion: nesting is as deep as the input file says.
    outer: SmallVec<[Option<NodeId>; 4]>,
}

/// A place between nodes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum At {
    /// Before the first node of a block.
    Start(BlockId),
    /// After the last node of a block.
    End(BlockId),
    /// Right before a node.
    Before(NodeId),
    /// Right after a node.
    After(NodeId),
}

impl Graph {
    /// Whether the node still stands in the graph.
    #[inline]
    pub fn is_live(&self, id: NodeId) -> bool {
        self.nodes.heads[id].live
    }

    /// The block that a node stands in.
    #[inline]
    pub fn block_of(&self, id: NodeId) -> BlockId {
        self.nodes.heads[id].block
    }

    /// The node before this one in its block.
    #[inline]
    pub fn prev(&self, id: NodeId) -> Option<NodeId> {
        self.nodes.heads[id].prev
    }

    /// The node after this one in its block.
    #[inline]
    pub fn next(&self, id: NodeId) -> Option<NodeId> {
        self.nodes.heads[id].next
    }

    /// The nodes of a block, in order, without those nested in them.
    #[inline]
    pub fn nodes(&self, block: BlockId) -> impl Iterator<Item = NodeId> + '_ {
        std::iter::successors(self.blocks[block].first, |id| self.nodes.heads[*id].next)
    }

    /// All nodes in program order: a node comes before those nested in it.
    pub fn walk(&self) -> Walk<'_> {
        self.walk_block(self.entry)
    }

    /// [`Self::walk`], for who changes the graph meanwhile.
    pub fn in_order(&self) -> Vec<NodeId> {
        let mut nodes = Vec::with_capacity(self.live);
        nodes.extend(self.walk());
        nodes
    }

    /// The nodes whose operator has this qualified name, whatever its overload, in program order.
    pub fn find_all(&self, op: &str) -> Vec<NodeId> {
        let nodes = self.walk();
        nodes.filter(|node| self.node(*node).op().is(op)).collect()
    }

    /// All nodes of `block` and of the blocks nested in it, in program order.
    pub fn walk_block(&self, block: BlockId) -> Walk<'_> {
        Walk {
            graph: self,
            next: self.blocks[block].first,
            outer: SmallVec::new(),
        }
    }

    /// Moves a node, with all that is nested in it.
    pub fn move_node(&mut self, node: NodeId, at: At) {
        if matches!(at, At::Before(other) | At::After(other) if other == node) {
            return;
        }
        self.unlink(node);
        self.link(node, at);
    }

    /// Moves the nodes of `from` to the place `at`, in order; parameters, results and the emptied block stay.
    pub fn splice(&mut self, from: BlockId, at: At) {
        let mut at = at;
        for node in self.nodes(from).collect::<Vec<_>>() {
            self.move_node(node, at);
            at = At::After(node);
        }
    }

    pub(super) fn link(&mut self, id: NodeId, at: At) {
        let (block, prev, next) = match at {
            At::Start(block) => (block, None, self.blocks[block].first),
            At::End(block) => (block, self.blocks[block].last, None),
            At::Before(node) => (
                self.nodes.heads[node].block,
                self.nodes.heads[node].prev,
                Some(node),
            ),
            At::After(node) => (
                self.nodes.heads[node].block,
                Some(node),
                self.nodes.heads[node].next,
            ),
        };
        let place = &mut self.nodes.heads[id];
        (place.block, place.prev, place.next) = (block, prev, next);
        match prev {
            Some(prev) => self.nodes.heads[prev].next = Some(id),
            None => self.blocks[block].first = Some(id),
        }
        match next {
            Some(next) => self.nodes.heads[next].prev = Some(id),
            None => self.blocks[block].last = Some(id),
        }
    }

    pub(super) fn unlink(&mut self, id: NodeId) {
        let (block, prev, next) = (
            self.nodes.heads[id].block,
            self.nodes.heads[id].prev,
            self.nodes.heads[id].next,
        );
        match prev {
            Some(prev) => self.nodes.heads[prev].next = next,
            None => self.blocks[block].first = next,
        }
        match next {
            Some(next) => self.nodes.heads[next].prev = prev,
            None => self.blocks[block].last = prev,
        }
    }
}

impl Iterator for Walk<'_> {
    type Item = NodeId;

    #[inline]
    fn next(&mut self) -> Option<NodeId> {
        let id = loop {
            match self.next {
                Some(id) => break id,
                None => self.next = self.outer.pop()?,
            }
        };
        let head = &self.graph.nodes.heads[id];
        self.next = head.next;
        if head.nests {
            let blocks = self.graph.node(id).blocks().iter().rev();
            let firsts = blocks.map(|block| self.graph.blocks[*block].first);
            self.outer.push(self.next.take());
            self.outer.extend(firsts);
        }
        Some(id)
    }
}
