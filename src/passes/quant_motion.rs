//! `quant-motion`: carries dequantizing down and quantizing up past operators that compute nothing, and drops pairs that undo each other.
//!
//! Before that, dropout that does not train goes, and what puts a dequantized copy's elements elsewhere in place does so out of place;
//! tensors that are dequantized one by one and then joined are dequantized as a list.
//!
//! Fusion takes an operator whose operands are dequantized right before it and whose result is quantized right behind it. Between them may
//! stand operators that only put elements elsewhere: they do the same to codes, and on codes they cost a quarter. Which moves lead to
//! something is found by trying all of them on a copy of the graph: those whose dequantize or quantize a rule takes are made, besides those
//! to where something is quantized again. All others would only change what floats look like in memory, and perhaps cost more.
//!
//! ```text
//! before: %1 : Tensor = aten::dequantize(%a)
//!         %2 : Tensor = aten::slice(%1, %dim, %start, %end, %step)
//!         %3 : Tensor = aten::conv2d(%2, %w, %b, …)
//! after:  %2 : Tensor = aten::slice(%a, %dim, %start, %end, %step)
//!         %1 : Tensor = aten::dequantize(%2)
//!         %3 : Tensor = aten::conv2d(%1, %w, %b, …)
//! ```

mod in_place;
mod joined;
mod moves;
mod sites;

use std::collections::HashMap;

use planish_ir::{Graph, GraphModule, NodeId, ValueId};

use crate::pass::{Changed, Fuel, Pass, PassCx, PassError};
use crate::remark::{Remark, RemarkKind};
use crate::rewrite::{Outcome, rewrite};
use crate::scope::Scope;
use crate::{kept, rules, scope};
use moves::{Fate, Move, place};
use sites::Sites;

/// The pass.
#[derive(Clone, Copy, Debug, Default)]
pub struct QuantMotion;

const NAME: &str = "quant-motion";

impl Pass for QuantMotion {
    fn name(&self) -> &'static str {
        NAME
    }

    fn doc(&self) -> &'static str {
        "moves dequantize and quantize past operators that compute nothing, and drops pairs of them"
    }

    fn run(&self, module: &mut GraphModule, cx: &mut PassCx<'_>) -> Result<Changed, PassError> {
        let methods = kept::kept_methods(module, &cx.options.preserved)?;
        let graphs = methods.iter().map(|id| &module.method(*id).graph);
        if !graphs.into_iter().any(sites::may_be) {
            return Ok(Changed(0));
        }
        let changed = scope::each_method(module, &methods, cx, |mut scope, graph, cx| {
            let mut changed = in_place::clear_way(&mut scope, graph, cx);
            changed += joined::dequantize_lists(&mut scope, graph, cx);
            changed += drop_pairs(&mut scope, graph, cx);
            let moved = carry(&scope, graph, cx);
            if moved > 0 {
                scope.facts = scope.facts.again(graph);
                changed += drop_pairs(&mut scope, graph, cx);
            }
            let mut misses = scope.misses(graph, rules::pairs());
            // Only what quantizes again has missed something.
            misses.retain(|(node, _)| !graph.node(*node).op().is("aten::dequantize"));
            scope.report(NAME, graph, &Outcome::default(), misses, cx);
            changed + moved
        });
        Ok(changed)
    }
}

fn drop_pairs(scope: &mut Scope<'_>, graph: &mut Graph, cx: &mut PassCx<'_>) -> usize {
    let dropped = scope.rewrite(graph, rules::pairs(), cx);
    scope.report(NAME, graph, &dropped, Vec::new(), cx)
}

/// Makes the moves that lead to something; returns how many.
fn carry(scope: &Scope<'_>, graph: &mut Graph, cx: &mut PassCx<'_>) -> usize {
    let sites = Sites::of(graph, &scope.facts, cx.options.quant_type);
    let tried = sites.moves();
    let fates = if tried.is_empty() {
        Vec::new()
    } else {
        fates(scope, graph, &tried, cx)
    };
    let mut chosen = sites.chosen(graph, &fates);
    for chosen in &mut chosen {
        *chosen = *chosen && cx.fuel.take();
    }
    for (node, reason) in sites.declined(graph, &chosen) {
        let at = (scope.method, &*graph, node);
        let remark = Remark::at(RemarkKind::Missed, NAME, "move", at, reason);
        cx.remarks.push(remark);
    }
    let chosen = tried.iter().zip(chosen).filter(|(_, chosen)| *chosen);
    let made: Vec<&Move> = chosen.map(|(one, _)| *one).collect();
    let placed = place(graph, &made);
    for node in &placed {
        let at = (scope.method, &*graph, *node);
        let reason = "moved past operators that compute nothing";
        cx.remarks
            .push(Remark::at(RemarkKind::Passed, NAME, "move", at, reason));
    }
    made.len()
}

/// What comes of moves that are all made on a copy of the graph, where rules then match.
fn fates(scope: &Scope<'_>, graph: &Graph, moves: &[&Move], cx: &PassCx<'_>) -> Vec<Fate> {
    let mut trial = graph.clone();
    let placed = place(&mut trial, moves);
    let mut facts = scope.facts.again(&trial);
    for rules in [rules::pairs(), rules::fusion(cx.options.quant_type)] {
        rewrite(&mut trial, rules, &mut facts, &mut Fuel::unlimited(), None);
    }
    // How often codes are dequantized still: equal operators are one in the end.
    let mut left: HashMap<ValueId, usize> = HashMap::new();
    let stay = graph.walk().filter(|node| {
        let dequantizes = graph.node(*node).op().is("aten::dequantize");
        dequantizes && is_read(&trial, *node)
    });
    let moved = moves.iter().zip(&placed);
    let moved = moved.filter(|(_, node)| is_read(&trial, **node));
    for from in stay.chain(moved.map(|(one, _)| one.from())) {
        *left.entry(graph.node(from).inputs()[0]).or_default() += 1;
    }
    let fate = |(one, node): (&&Move, &NodeId)| {
        if !trial.is_live(*node) {
            Fate::Taken
        } else if left.get(&graph.node(one.from()).inputs()[0]) == Some(&1) {
            Fate::Alone
        } else {
            Fate::Left
        }
    };
    moves.iter().zip(&placed).map(fate).collect()
}

fn is_read(graph: &Graph, node: NodeId) -> bool {
    let mut outputs = graph.node(node).outputs().iter();
    graph.is_live(node) && outputs.any(|output| !graph.value(*output).uses().is_empty())
}
