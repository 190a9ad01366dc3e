//! Defect B9 of PyTorch's Finalize: what interface calls and forks lead to is inlined after fusion, so that its linear maps stay in float.

use planish::eval::Contract;
use planish::ir::{At, Graph, GraphModule, Literal, NodeId, Op, Type, Use, ValueId};

use crate::case::{Case, compare};
use crate::defects::{count, equals};
use crate::float::TOLERANCE;

/// More places than this are too many to try all choices of them.
const MOST: usize = 10;

/// Whether PyTorch's answer and planish's both follow from the module before: from the one where some linear maps stay in float, from the
/// other where none does.
pub(crate) fn leaves_in_float(case: &Case, ours: &GraphModule, theirs: &[Graph]) -> bool {
    let Some(before) = case.inlined() else {
        return false;
    };
    let Some(forward) = before.root_method("forward") else {
        return false;
    };
    let graph = &before.method(forward).graph;
    let places: Vec<NodeId> = graph.walk().filter(|at| fuses(graph, *at)).collect();
    let left = count(theirs, "aten::linear");
    if left == 0 || left > places.len() || places.len() > MOST {
        return false;
    }
    let answer = |module: &GraphModule| case.answer(module, Contract::Fbgemm).ok();
    let follows = answer(ours).zip(answer(&with(&before, &places)));
    follows.is_some_and(|(ours, all)| compare(&ours, &all, TOLERANCE).is_ok())
        && (0..1usize << places.len()).any(|choice| {
            let chosen = |at: &usize| choice >> at & 1 == 1;
            let fused: Vec<NodeId> = (0..places.len())
                .filter(chosen)
                .map(|at| places[at])
                .collect();
            fused.len() + left == places.len()
                && equals(case, &with(&before, &fused), "after_fbgemm", TOLERANCE)
        })
}

/// Whether Finalize changes what is computed here: a float is quantized on the run, a weight is rounded to half precision.
fn fuses(graph: &Graph, node: NodeId) -> bool {
    let made_by = |at: usize, op: &str| {
        let made = graph
            .node(node)
            .inputs()
            .get(at)
            .and_then(|value| graph.producer(*value));
        made.is_some_and(|made| graph.node(made).op().is(op))
    };
    let op = graph.node(node).op();
    op.is("aten::_saturate_weight_to_fp16")
        || op.is("aten::linear")
            && made_by(1, "aten::dequantize")
            && !made_by(0, "aten::dequantize")
}

/// The module with these places computed as Finalize would.
fn with(module: &GraphModule, places: &[NodeId]) -> GraphModule {
    let mut module = module.clone();
    let Some(forward) = module.root_method("forward") else {
        return module;
    };
    let graph = &mut module.method_mut(forward).graph;
    for node in places {
        if graph.node(*node).op().is("aten::linear") {
            quantize_input(graph, *node);
        } else {
            round_to_half(graph, *node);
        }
    }
    module
}

fn quantize_input(graph: &mut Graph, node: NodeId) {
    let before = At::Before(node);
    let x = graph.node(node).inputs()[0];
    let reduced = graph.insert_constant(before, Literal::Bool(true));
    let quint8 = graph.insert_constant(before, Literal::Int(13));
    let choose = Op::of("aten::_choose_qparams_per_tensor");
    let choose = graph.insert(before, choose, &[x, reduced], [Type::Float, Type::Int]);
    let &[scale, zero_point] = graph.node(choose).outputs() else {
        return;
    };
    let mut put = |op: &str, inputs: &[ValueId]| {
        let made = graph.insert(before, Op::of(op), inputs, [Type::TENSOR]);
        graph.output(made)
    };
    let codes = put("aten::quantize_per_tensor", &[x, scale, zero_point, quint8]);
    let rounded = put("aten::dequantize.self", &[codes]);
    graph.set_use(Use::Input(node, 0), rounded);
}

fn round_to_half(graph: &mut Graph, node: NodeId) {
    let weight = graph.output(node);
    let readers = graph.value(weight).uses().to_vec();
    let mut last = node;
    let mut value = weight;
    for dtype in [5, 6] {
        let literals = [
            Literal::Int(dtype),
            Literal::Bool(false),
            Literal::Bool(false),
            Literal::None,
        ];
        let mut inputs = vec![value];
        for literal in literals {
            inputs.push(graph.insert_constant(At::Before(node), literal));
        }
        last = graph.insert(
            At::After(last),
            Op::of("aten::to.dtype"),
            &inputs,
            [Type::TENSOR],
        );
        value = graph.output(last);
    }
    for reader in readers {
        graph.set_use(reader, value);
    }
}
