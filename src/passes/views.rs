//! Views of what a quantized convolution makes.
//!
//! In floats a convolution's result lies row by row; a quantized one puts the channels last. A view of other sizes may not exist then, and
//! PyTorch's finalized module raises. Here it becomes `aten::reshape`, which is the same where the view exists and copies where it does not.
//! What is written to, in place or through a view, keeps its views, and so does what was laid row by row just before.

use planish_ir::{Graph, Literal, Op, ValueId};

use crate::pass::PassCx;
use crate::remark::{Remark, RemarkKind};
use crate::scope::Scope;

/// Lets the views in a method with quantized convolutions copy; returns how many.
pub(crate) fn may_copy(
    graph: &mut Graph,
    scope: &Scope<'_>,
    pass: &'static str,
    cx: &mut PassCx<'_>,
) -> usize {
    let convolves = |node| {
        let name = graph.node(node).op().name();
        name.as_str().starts_with("quantized::conv")
    };
    if !graph.walk().any(convolves) {
        return 0;
    }
    let (mut changed, plain, copies) = (0, Op::of("aten::view"), Op::of("aten::reshape"));
    for node in graph.find_all("aten::view") {
        let view = graph.node(node);
        let (&[tensor, _], &[output]) = (view.inputs(), view.outputs()) else {
            continue;
        };
        if view.op() != plain
            || [tensor, output]
                .iter()
                .any(|value| scope.facts.is_written(*value))
            || lies_row_by_row(graph, tensor)
        {
            continue;
        }
        if !cx.fuel.take() {
            break;
        }
        cx.remarks.push(Remark::at(
            RemarkKind::Passed,
            pass,
            "view",
            (scope.method, graph, node),
            "aten::reshape, which may copy: a quantized convolution puts the channels last",
        ));
        graph.set_op(node, copies);
        changed += 1;
    }
    changed
}

/// Whether a tensor comes from `aten::contiguous`, which puts the last dimension last.
fn lies_row_by_row(graph: &Graph, tensor: ValueId) -> bool {
    /// `torch.contiguous_format`.
    const ROW_BY_ROW: i64 = 0;
    let Some(node) = graph.producer(tensor).map(|id| graph.node(id)) else {
        return false;
    };
    let format = node
        .inputs()
        .get(1)
        .and_then(|format| graph.constant(*format));
    node.op().is("aten::contiguous") && format.and_then(Literal::as_int) == Some(ROW_BY_ROW)
}
