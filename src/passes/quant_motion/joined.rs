//! Tensors that are dequantized one by one and then joined: where the whole is quantized again, their list is dequantized instead, which is
//! what PyTorch's quantizer writes and what a rule takes.
//!
//! ```text
//! before: %1 : Tensor = aten::dequantize(%a)
//!         %2 : Tensor = aten::dequantize(%b)
//!         %3 : Tensor[] = prim::ListConstruct(%1, %2)
//!         %4 : Tensor = aten::cat(%3, %dim)
//! after:  %1 : Tensor[] = prim::ListConstruct(%a, %b)
//!         %3 : Tensor[] = aten::dequantize(%1)
//!         %4 : Tensor = aten::cat(%3, %dim)
//! ```

use planish_ir::{At, DType, Graph, Literal, NodeId, Op, Use, ValueId};

use super::NAME;
use crate::pass::PassCx;
use crate::remark::{Remark, RemarkKind};
use crate::rewrite::{Facts, forget};
use crate::scope::Scope;

/// Dequantizes lists instead of their elements; returns how many rewrites that were.
pub(super) fn dequantize_lists(
    scope: &mut Scope<'_>,
    graph: &mut Graph,
    cx: &mut PassCx<'_>,
) -> usize {
    let mut changed = 0;
    for cat in graph.find_all("aten::cat") {
        let Some(list) = list_of_dequantized(graph, cat) else {
            continue;
        };
        let (kind, reason) = match codes(graph, &scope.facts, cat, list) {
            Ok(_) if !cx.fuel.take() => break,
            Ok(codes) => {
                dequantize_list(graph, cat, list, &codes);
                changed += 1;
                let reason = "its operands are dequantized as a list".to_owned();
                (RemarkKind::Passed, reason)
            }
            Err(reason) => (RemarkKind::Missed, reason),
        };
        let at = (scope.method, &*graph, cat);
        cx.remarks.push(Remark::at(kind, NAME, "list", at, reason));
    }
    if changed > 0 {
        scope.facts = scope.facts.again(graph);
    }
    changed
}

/// The list that a node joins, when it is made of tensors of which one is dequantized, and something quantizes what comes out.
fn list_of_dequantized(graph: &Graph, cat: NodeId) -> Option<NodeId> {
    let node = graph.node(cat);
    if node.op() != Op::of("aten::cat") || quantizer(graph, cat).is_none() {
        return None;
    }
    let list = graph.producer(node.inputs()[0])?;
    let dequantized = |value: &ValueId| dequantized(graph, *value).is_some();
    let made = graph.node(list);
    (made.op().is("prim::ListConstruct") && made.inputs().iter().any(dequantized)).then_some(list)
}

/// The codes that stand for the elements of a list; or why the list cannot be dequantized instead, or why no rule would take it.
fn codes(
    graph: &Graph,
    facts: &Facts<'_>,
    cat: NodeId,
    list: NodeId,
) -> Result<Vec<ValueId>, String> {
    let label = |value| graph.label(value);
    let result = graph.output(cat);
    if graph.value(result).uses().len() > 1 {
        return Err(format!("others read {} too", label(result)));
    }
    let quint8 = quantizer(graph, cat).and_then(|id| {
        let dtype = graph.node(id).inputs().get(3)?;
        facts.literal(graph, *dtype)
    });
    if quint8 != Some(&Literal::Int(DType::QUInt8.code())) {
        return Err(format!("{} is not quantized to quint8", label(result)));
    }
    let floats = graph.output(list);
    if graph.value(floats).uses().len() > 1 {
        return Err(format!("others read {} too", label(floats)));
    }
    if graph.block_of(list) != graph.block_of(cat) {
        return Err(format!("{} is made in another block", label(floats)));
    }
    let elements_of = graph.node(list).inputs().iter();
    let codes = elements_of.map(|element| {
        let codes = dequantized(graph, *element)
            .ok_or_else(|| format!("{}, which it joins, is not dequantized", label(*element)))?;
        let mut values = [floats, *element, codes, result].into_iter();
        if let Some(written) = values.find(|value| facts.is_written(*value)) {
            return Err(format!("something writes to {}", label(written)));
        }
        match facts.grid(graph, codes).map(|grid| grid.dtype) {
            Some(DType::QUInt8) => Ok(codes),
            Some(other) => Err(format!("{} is of {other}, not of quint8", label(codes))),
            None => Err(format!("it is not known how {} is quantized", label(codes))),
        }
    });
    codes.collect()
}

/// What was dequantized to this tensor.
fn dequantized(graph: &Graph, value: ValueId) -> Option<ValueId> {
    let node = graph.node(graph.producer(value)?);
    (node.op() == Op::of("aten::dequantize.self")).then(|| node.inputs()[0])
}

/// What quantizes the result of a node.
fn quantizer(graph: &Graph, id: NodeId) -> Option<NodeId> {
    let mut uses = graph.value(graph.output(id)).uses().iter();
    uses.find_map(|at| match at {
        Use::Input(user, 0) => {
            let quantizes = graph.node(*user).op() == Op::of("aten::quantize_per_tensor");
            (quantizes && graph.block_of(*user) == graph.block_of(id)).then_some(*user)
        }
        _ => None,
    })
}

fn dequantize_list(graph: &mut Graph, cat: NodeId, list: NodeId, codes: &[ValueId]) {
    let floats = graph.output(list);
    let (ty, loc) = (graph.ty(floats).clone(), graph.node(list).loc());
    let op = graph.node(list).op();
    let made = graph.insert(At::Before(list), op, codes, [ty.clone()]);
    let codes = graph.output(made);
    let op = Op::of("aten::dequantize.tensors");
    let dequantize = graph.insert(At::Before(list), op, &[codes], [ty]);
    for node in [made, dequantize] {
        graph.set_loc(node, loc);
    }
    let dequantized = graph.output(dequantize);
    graph.copy_name(floats, dequantized);
    graph.set_use(Use::Input(cat, 0), dequantized);
    forget(graph, vec![floats]);
}
