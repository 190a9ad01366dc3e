//! A dequantize that is carried down, or a quantize that is carried up, past operators that compute nothing.

use std::collections::{HashMap, HashSet};

use foldhash::fast::FixedState;
use planish_ir::{At, Graph, NodeId, Op, Use, ValueId};

use crate::rewrite::forget;

/// A move.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Move {
    /// A dequantize comes to stand right before a reader.
    Down {
        /// The dequantize.
        from: NodeId,
        /// What is passed, from it to the reader.
        past: Vec<NodeId>,
        /// The reader.
        to: Use,
    },
    /// A quantize comes to stand behind what computes the floats.
    Up {
        /// The quantize.
        from: NodeId,
        /// What is passed, down to it.
        past: Vec<NodeId>,
    },
}

/// What comes of a move.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Fate {
    /// A rule takes what was moved.
    Taken,
    /// It stays, and it is the only place where these codes are dequantized.
    Alone,
    /// It stays, beside others.
    Left,
}

impl Move {
    /// What is moved.
    pub(super) fn from(&self) -> NodeId {
        let (Self::Down { from, .. } | Self::Up { from, .. }) = self;
        *from
    }

    /// What is passed.
    pub(super) fn past(&self) -> &[NodeId] {
        let (Self::Down { past, .. } | Self::Up { past, .. }) = self;
        past
    }
}

/// Makes moves; returns for each the dequantize or quantize at its new place.
///
/// What is passed is copied for codes; what then nobody reads any more is removed.
pub(super) fn place(graph: &mut Graph, moves: &[&Move]) -> Vec<NodeId> {
    let mut placing = Placing {
        graph,
        on_codes: HashMap::default(),
        instead: Vec::new(),
        left: Vec::new(),
    };
    let placed = moves.iter().map(|one| placing.place(one)).collect();
    let Placing { instead, left, .. } = placing;
    forget(graph, left);
    // What took the place of something that is gone is called as that was.
    let mut named = HashSet::new();
    for (old, new) in instead {
        let gone = graph.producer(old).is_none_or(|node| !graph.is_live(node));
        if gone && named.insert(old) {
            graph.copy_name(old, new);
        }
    }
    placed
}

struct Placing<'g> {
    graph: &'g mut Graph,
    /// For floats that were dequantized, the codes that they stand for.
    on_codes: HashMap<ValueId, ValueId, FixedState>,
    /// What may be gone afterwards, and what stands for it.
    instead: Vec<(ValueId, ValueId)>,
    /// What may have lost its last reader.
    left: Vec<ValueId>,
}

impl Placing<'_> {
    fn place(&mut self, one: &Move) -> NodeId {
        match one {
            Move::Down { from, past, to } => self.down(*from, past, *to),
            Move::Up { from, past } => self.up(*from, past),
        }
    }

    fn down(&mut self, from: NodeId, past: &[NodeId], to: Use) -> NodeId {
        let (codes, floats) = (self.graph.node(from).inputs()[0], self.graph.output(from));
        self.on_codes.insert(floats, codes);
        for node in past {
            let first = self.graph.node(*node).inputs()[0];
            if !self
                .on_codes
                .contains_key(&self.graph.node(*node).outputs()[0])
            {
                let codes = self.on_codes[&first];
                self.copy(*node, codes, At::Before(*node));
            }
        }
        let (place, floats) = match to {
            Use::Input(user, at) => (
                At::Before(user),
                self.graph.node(user).inputs()[at as usize],
            ),
            Use::Result(block, at) => (
                At::End(block),
                self.graph.block(block).results()[at as usize],
            ),
        };
        let ty = self.graph.ty(floats).clone();
        let dequantize = Op::of("aten::dequantize.self");
        let moved = self
            .graph
            .insert(place, dequantize, &[self.on_codes[&floats]], [ty]);
        let loc = self.graph.node(from).loc();
        self.graph.set_loc(moved, loc);
        self.graph.set_use(to, self.graph.output(moved));
        self.instead
            .push((self.graph.output(from), self.graph.output(moved)));
        self.left.push(floats);
        moved
    }

    fn up(&mut self, from: NodeId, past: &[NodeId]) -> NodeId {
        let mut operands = self.graph.node(from).inputs().to_vec();
        let top = past.first().map(|node| self.graph.node(*node).inputs()[0]);
        self.left.push(operands[0]);
        operands[0] = top.unwrap_or(operands[0]);
        let (op, loc) = (self.graph.node(from).op(), self.graph.node(from).loc());
        let old = self.graph.output(from);
        let ty = self.graph.ty(old).clone();
        let moved = self.graph.insert(At::Before(from), op, &operands, [ty]);
        self.graph.set_loc(moved, loc);
        let mut codes = self.graph.output(moved);
        for node in past {
            codes = self.copy(*node, codes, At::Before(from));
        }
        self.instead.pop();
        self.graph.replace_all_uses(old, codes);
        self.graph.erase(from);
        // The last of them gives the result now.
        self.graph.copy_name(old, codes);
        moved
    }

    /// An operator once more, with codes as its first operand; returns the first value that it gives.
    fn copy(&mut self, node: NodeId, codes: ValueId, at: At) -> ValueId {
        let mut operands = self.graph.node(node).inputs().to_vec();
        operands[0] = codes;
        let outputs = self.graph.node(node).outputs().to_vec();
        let types: Vec<_> = outputs
            .iter()
            .map(|output| self.graph.ty(*output).clone())
            .collect();
        let (op, loc) = (self.graph.node(node).op(), self.graph.node(node).loc());
        let copy = self.graph.insert(at, op, &operands, types);
        self.graph.set_loc(copy, loc);
        for (old, new) in outputs.iter().zip(self.graph.node(copy).outputs().to_vec()) {
            self.on_codes.insert(*old, new);
            self.instead.push((*old, new));
        }
        self.graph.node(copy).outputs()[0]
    }
}
