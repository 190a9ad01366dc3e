//! In which order nodes stand: the chains of nodes in blocks.
//!
//! It is kept apart from what nodes are. Every pass walks over all nodes, from one to the next; a node is large, and a walk that had to read
//! it for its successor would wait for memory at each step.

use crate::{BlockId, Graph, NodeId};

/// Where a node stands.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) block: BlockId,
    pub(crate) prev: Option<NodeId>,
    pub(crate) next: Option<NodeId>,
    /// Whether it still stands there.
    pub(crate) live: bool,
    /// Whether blocks are nested in it: a walk reads nothing else of a node.
    pub(crate) nests: bool,
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
        self.places[id].live
    }

    /// The block that a node stands in.
    #[inline]
    pub fn block_of(&self, id: NodeId) -> BlockId {
        self.places[id].block
    }

    /// The node before this one in its block.
    #[inline]
    pub fn prev(&self, id: NodeId) -> Option<NodeId> {
        self.places[id].prev
    }

    /// The node after this one in its block.
    #[inline]
    pub fn next(&self, id: NodeId) -> Option<NodeId> {
        self.places[id].next
    }

    /// The nodes of a block, in order, without those nested in them.
    #[inline]
    pub fn nodes(&self, block: BlockId) -> impl Iterator<Item = NodeId> + '_ {
        std::iter::successors(self.blocks[block].first, |id| self.places[*id].next)
    }

    /// All nodes in program order: a node comes before those nested in it.
    pub fn walk(&self) -> Vec<NodeId> {
        let mut order = Vec::with_capacity(self.live);
        self.walk_block(self.entry, &mut order);
        order
    }

    /// All nodes of `block` and of the blocks nested in it, in program order.
    pub fn walk_block(&self, block: BlockId, order: &mut Vec<NodeId>) {
        // An explicit stack: nesting is as deep as the input file says.
        let mut stack = vec![self.blocks[block].first];
        while let Some(top) = stack.last_mut() {
            let Some(id) = *top else {
                stack.pop();
                continue;
            };
            let place = self.places[id];
            *top = place.next;
            order.push(id);
            if !place.nests {
                continue;
            }
            stack.extend(
                self.nodes[id]
                    .blocks()
                    .iter()
                    .rev()
                    .map(|block| self.blocks[*block].first),
            );
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

    /// Puts a node that was just made in its place.
    pub(super) fn place(&mut self, id: NodeId, at: At) {
        let block = match at {
            At::Start(block) | At::End(block) => block,
            At::Before(node) | At::After(node) => self.places[node].block,
        };
        let made = self.places.push(Place {
            block,
            prev: None,
            next: None,
            live: true,
            nests: false,
        });
        debug_assert_eq!(made, id, "every node has a place");
        self.link(id, at);
    }

    fn link(&mut self, id: NodeId, at: At) {
        let (block, prev, next) = match at {
            At::Start(block) => (block, None, self.blocks[block].first),
            At::End(block) => (block, self.blocks[block].last, None),
            At::Before(node) => (self.places[node].block, self.places[node].prev, Some(node)),
            At::After(node) => (self.places[node].block, Some(node), self.places[node].next),
        };
        let place = &mut self.places[id];
        (place.block, place.prev, place.next) = (block, prev, next);
        match prev {
            Some(prev) => self.places[prev].next = Some(id),
            None => self.blocks[block].first = Some(id),
        }
        match next {
            Some(next) => self.places[next].prev = Some(id),
            None => self.blocks[block].last = Some(id),
        }
    }

    pub(super) fn unlink(&mut self, id: NodeId) {
        let (block, prev, next) = (
            self.places[id].block,
            self.places[id].prev,
            self.places[id].next,
        );
        match prev {
            Some(prev) => self.places[prev].next = next,
            None => self.blocks[block].first = next,
        }
        match next {
            Some(next) => self.places[next].prev = prev,
            None => self.blocks[block].last = prev,
        }
    }
}
