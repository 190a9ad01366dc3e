//! Where something could be moved: every dequantize with the operators that compute nothing behind it, and every quantize with those before
//! it.

use std::collections::HashSet;

use planish_ir::{Graph, Literal, NodeId, Op, Use, ValueId};

use super::in_place::may_stand_aside;
use super::moves::{Fate, Move};
use crate::analysis::codes::{
    CHOOSES_ELEMENTS, PADS_ELEMENTS, keeps_elements, may_grow, plain_among,
};
use crate::pass::QuantType;
use crate::rewrite::Facts;
use crate::rules;

/// The places of a graph where moves begin.
pub(super) struct Sites {
    downs: Vec<Site>,
    ups: Vec<Move>,
    /// Operators right before a quantize that it cannot be carried past, and why.
    fixed_ups: Vec<(NodeId, String)>,
}

/// A dequantize that operators which compute nothing read.
struct Site {
    dequantize: NodeId,
    /// Why it must stay; then there are no readers.
    fixed: Option<String>,
    /// Who reads what it computes, at the end of such operators or directly.
    readers: Vec<Reader>,
    /// Such operators that must stay behind it, and why.
    obstacles: Vec<(NodeId, String)>,
}

struct Reader {
    /// From the dequantize to where it is read.
    down: Move,
    kind: Kind,
}

/// Who reads floats.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Somebody that a rule may fuse.
    Fusible,
    /// What quantizes them again, or the caller: no matter how they are laid out.
    Any,
    /// Somebody who computes on floats.
    Float,
}

/// Whether a graph has anything that could be moved or dropped: the answer for most graphs, without looking at what is written where.
pub(super) fn may_be(graph: &Graph) -> bool {
    let undoes = |op: Op| {
        op.is("aten::dequantize")
            || op.is("aten::quantize_per_tensor")
            || op.is("aten::quantize_per_channel")
            || op.is("prim::ListConstruct")
            || is_mover(op.name().as_str())
            || may_stand_aside(op)
    };
    graph.walk().any(|id| {
        let node = graph.node(id);
        let behind = node.inputs().first();
        let Some(behind) = behind.and_then(|input| graph.producer(*input)) else {
            return false;
        };
        let (op, behind) = (node.op(), graph.node(behind).op());
        if behind.is("aten::dequantize") {
            return undoes(op);
        }
        let name = behind.name().as_str();
        let moves = || is_mover(name) && !CHOOSES_ELEMENTS.contains(&name);
        op.is("aten::quantize_per_tensor") && (may_stand_aside(behind) || moves())
    })
}

impl Sites {
    pub(super) fn of(graph: &Graph, facts: &Facts<'_>, quant_type: QuantType) -> Self {
        let mut sites = Self {
            downs: Vec::new(),
            ups: Vec::new(),
            fixed_ups: Vec::new(),
        };
        let (dequantize, quantize) = (
            Op::of("aten::dequantize.self"),
            Op::of("aten::quantize_per_tensor"),
        );
        for id in graph.walk() {
            let op = graph.node(id).op();
            if op == dequantize {
                sites.downs.extend(site(graph, facts, quant_type, id));
            } else if op == quantize {
                match up(graph, facts, id) {
                    Some(Ok(up)) => sites.ups.push(up),
                    Some(Err(fixed)) => sites.fixed_ups.push(fixed),
                    None => {}
                }
            }
        }
        sites
    }

    /// What is worth a try.
    pub(super) fn moves(&self) -> Vec<&Move> {
        let downs = self.downs.iter().flat_map(|site| &site.readers);
        let downs = downs.filter(|reader| reader.is_tried());
        downs.map(|reader| &reader.down).chain(&self.ups).collect()
    }

    /// Which of the moves that were tried are to be made when this came of them: what is taken, and what costs nothing.
    pub(super) fn chosen(&self, graph: &Graph, fates: &[Fate]) -> Vec<bool> {
        let readers = self.downs.iter().flat_map(|site| &site.readers);
        let readers = readers.filter(|reader| reader.is_tried());
        let free = readers.map(|reader| reader.costs_nothing(graph));
        let free = free.chain(self.ups.iter().map(|_| false));
        let chosen = fates.iter().zip(free).map(|(fate, free)| match fate {
            Fate::Taken => true,
            Fate::Alone => free,
            Fate::Left => false,
        });
        chosen.collect()
    }

    /// Operators that stay between codes when of the moves that were tried these are made, and why.
    pub(super) fn declined(&self, graph: &Graph, made: &[bool]) -> Vec<(NodeId, String)> {
        let mut made = made.iter().copied();
        let mut declined = self.fixed_ups.clone();
        for site in &self.downs {
            if let Some(reason) = &site.fixed {
                let users = movers_behind(graph, graph.output(site.dequantize));
                declined.extend(users.into_iter().map(|user| (user, reason.clone())));
            }
            declined.extend(site.obstacles.iter().cloned());
            for reader in &site.readers {
                let is_made = reader.is_tried() && made.next() == Some(true);
                if let (false, Some(first)) = (is_made, reader.past().first()) {
                    declined.push((*first, reader.why_not(graph)));
                }
            }
        }
        for up in &self.ups {
            let first = up.past().first();
            if let (Some(false), Some(first)) = (made.next(), first) {
                let value = graph.label(graph.node(*first).inputs()[0]);
                let reason = format!("no rule takes a quantize right behind {value}");
                declined.push((*first, reason));
            }
        }
        // One reason for each is enough.
        let mut told = HashSet::new();
        declined.retain(|(node, _)| told.insert(*node));
        declined
    }
}

impl Reader {
    fn past(&self) -> &[NodeId] {
        self.down.past()
    }

    fn is_tried(&self) -> bool {
        self.kind != Kind::Float && !self.past().is_empty()
    }

    /// Whether a dequantize that stands before this reader and nowhere else costs no more than where it stands, and nobody sees a difference.
    fn costs_nothing(&self, graph: &Graph) -> bool {
        let Move::Down { from, past, to } = &self.down else {
            return false;
        };
        let block = match to {
            Use::Input(user, _) => graph.block_of(*user),
            Use::Result(block, _) => *block,
        };
        self.kind == Kind::Any
            && !past.is_empty()
            && !past.iter().any(|node| grows(graph, *node))
            && block == graph.block_of(*from)
    }

    fn why_not(&self, graph: &Graph) -> String {
        let to = match &self.down {
            Move::Down { to, .. } => Some(*to),
            Move::Up { .. } => None,
        };
        if let Some(node) = self.past().iter().find(|node| grows(graph, **node))
            && self.kind == Kind::Any
        {
            let op = graph.node(*node).op().name();
            return format!(
                "{op} may give more elements than it reads, which would cost more to dequantize"
            );
        }
        match (self.kind, to) {
            (Kind::Any, _) => "others read the floats too".to_owned(),
            (_, Some(Use::Input(user, _))) => {
                let user = graph.node(user);
                let label = user.outputs().first().map(|value| graph.label(*value));
                let label = label.map(|label| format!(" {label}")).unwrap_or_default();
                format!(
                    "{}{label}, which reads it, stays in float",
                    user.op().name()
                )
            }
            (_, _) => "it is the result of a branch or a loop".to_owned(),
        }
    }
}

/// What stands behind a dequantize; `None` when nothing does that could be passed.
fn site(graph: &Graph, facts: &Facts<'_>, quant_type: QuantType, id: NodeId) -> Option<Site> {
    let (codes, floats) = (graph.node(id).inputs()[0], graph.output(id));
    if movers_behind(graph, floats).is_empty() || plain_among(graph, codes).is_some() {
        return None;
    }
    let mut site = Site {
        dequantize: id,
        fixed: None,
        readers: Vec::new(),
        obstacles: Vec::new(),
    };
    if facts.is_written(codes) || facts.is_written(floats) {
        let written = if facts.is_written(codes) {
            codes
        } else {
            floats
        };
        site.fixed = Some(format!("something writes to {}", graph.label(written)));
    } else if !facts.is_per_tensor(graph, codes) {
        let codes = graph.label(codes);
        site.fixed = Some(format!(
            "it is not known that one scale stands for all of {codes}"
        ));
    } else {
        site.read(graph, facts, quant_type, floats, &mut Vec::new());
    }
    Some(site)
}

/// Operators that one move passes at most: no network puts more in a row, and files that do must not cost more than they are long.
const MOST: usize = 32;

impl Site {
    fn read(
        &mut self,
        graph: &Graph,
        facts: &Facts<'_>,
        quant_type: QuantType,
        value: ValueId,
        past: &mut Vec<NodeId>,
    ) {
        for at in graph.value(value).uses() {
            if let Use::Input(user, 0) = at
                && past.len() < MOST
                && passes(graph, facts, *user)
            {
                past.push(*user);
                for output in graph.node(*user).outputs() {
                    self.read(graph, facts, quant_type, *output, past);
                }
                past.pop();
                continue;
            }
            if let Use::Input(user, 0) = at
                && let Some(reason) = obstacle(graph, facts, *user)
                && is_mover(graph.node(*user).op().name().as_str())
            {
                self.obstacles.push((*user, reason.to_owned()));
            }
            let kind = match at {
                Use::Input(user, 0) if graph.node(*user).op().is("aten::quantize_per_tensor") => {
                    Kind::Any
                }
                Use::Input(user, _) if is_tensor(graph, value) => {
                    let op = graph.node(*user).op().name();
                    if rules::speak_about(quant_type, op) {
                        Kind::Fusible
                    } else {
                        Kind::Float
                    }
                }
                Use::Result(block, _) if *block == graph.entry() && is_tensor(graph, value) => {
                    Kind::Any
                }
                _ => Kind::Float,
            };
            self.readers.push(Reader {
                down: Move::Down {
                    from: self.dequantize,
                    past: past.clone(),
                    to: *at,
                },
                kind,
            });
        }
    }
}

/// The way up from a quantize past operators that only move elements, or the one where it ends and why; `None` when there is none.
fn up(graph: &Graph, facts: &Facts<'_>, id: NodeId) -> Option<Result<Move, (NodeId, String)>> {
    let block = graph.block_of(id);
    let mut value = graph.node(id).inputs()[0];
    let mut past: Vec<NodeId> = Vec::new();
    let top = loop {
        let node = graph.producer(value)?;
        let name = graph.node(node).op().name();
        let here = graph.block_of(node) == block;
        if !here || graph.value(value).uses().len() > 1 {
            let reason = if here {
                format!("others read {} too", graph.label(value))
            } else {
                format!("{} is computed in another block", graph.label(value))
            };
            return past.last().map(|last| Err((*last, reason)));
        }
        // A list is not quantized.
        if !is_tensor(graph, value) {
            return None;
        }
        // What compares elements sees a NaN, for which there is no code.
        let compares = CHOOSES_ELEMENTS.contains(&name.as_str());
        if compares || !passes(graph, facts, node) {
            break node;
        }
        past.push(node);
        value = graph.node(node).inputs()[0];
        if past.len() > MOST {
            return None;
        }
    };
    let last = *past.last()?;
    if graph.node(top).op().is("aten::dequantize") {
        return None;
    }
    // What is quantized where the quantize stood must be what it was where the first of them read it.
    let mut between = graph.prev(id);
    while let Some(node) = between.filter(|node| *node != top) {
        if facts.may_write(graph, node, &[value]) {
            let reason = format!("{} may write to it", graph.node(node).op().name());
            return Some(Err((last, reason)));
        }
        between = graph.prev(node);
    }
    past.reverse();
    Some(Ok(Move::Up { from: id, past }))
}

/// Operators behind a value that could be passed.
fn movers_behind(graph: &Graph, value: ValueId) -> Vec<NodeId> {
    let users = graph.value(value).uses().iter().filter_map(|at| match at {
        Use::Input(user, 0) => Some(*user),
        _ => None,
    });
    let moves = |user: &NodeId| {
        let op = graph.node(*user).op();
        is_mover(op.name().as_str()) || may_stand_aside(op)
    };
    users.filter(moves).collect()
}

/// Why an operator that computes nothing cannot be passed; `None` when it can, or when it is another operator.
fn obstacle(graph: &Graph, facts: &Facts<'_>, id: NodeId) -> Option<&'static str> {
    let node = graph.node(id);
    let pads = |value: usize| pads_with_zeros(graph, facts, node.inputs().get(value));
    let outputs = node.outputs();
    match node.op().name().as_str() {
        _ if outputs.iter().any(|output| facts.is_written(*output)) => {
            Some("something writes to what it gives")
        }
        "aten::view" if node.op() != Op::of("aten::view") => {
            Some("it looks at the elements as another type")
        }
        // Otherwise it is gone by now.
        "aten::dropout" => Some("it may train"),
        "aten::constant_pad_nd" if !pads(2) => Some("it puts other numbers around than zeros"),
        "aten::pad" if !pads(3) => Some("it puts other numbers around than zeros"),
        _ => None,
    }
}

/// Whether an operator does to codes what it does to floats.
fn passes(graph: &Graph, facts: &Facts<'_>, id: NodeId) -> bool {
    let node = graph.node(id);
    let name = node.op().name();
    let takes_apart = ["prim::ListUnpack", "aten::__getitem__"].contains(&name.as_str());
    (takes_apart || is_mover(name.as_str()))
        && node.attrs().len() == 0
        && node.blocks().is_empty()
        && !node.outputs().is_empty()
        && obstacle(graph, facts, id).is_none()
}

fn is_mover(name: &str) -> bool {
    keeps_elements(name) || PADS_ELEMENTS.contains(&name)
}

/// Whether zeros are put around, or nothing that is said: also where elements are repeated instead.
fn pads_with_zeros(graph: &Graph, facts: &Facts<'_>, value: Option<&ValueId>) -> bool {
    match value.and_then(|value| facts.literal(graph, *value)) {
        Some(Literal::None | Literal::Int(0)) => true,
        // Codes stand for positive zeros.
        Some(Literal::Float(value)) => value.to_bits() == 0,
        _ => false,
    }
}

fn grows(graph: &Graph, node: NodeId) -> bool {
    may_grow(graph.node(node).op().name().as_str())
}

fn is_tensor(graph: &Graph, value: ValueId) -> bool {
    matches!(graph.ty(value), planish_ir::Type::Tensor(_))
}
