//! Views of what a quantized convolution makes.
//!
//! In floats a convolution's result lies row by row; a quantized one puts the channels last. A view of other sizes may not exist then, and
//! PyTorch's finalized module raises. Here it becomes `aten::reshape`, which is the same where the view exists and copies where it does not.
//! What is written to, in place or through a view, keeps its views.

use planish_ir::{Graph, Op};

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
        {
            continue;
        }
        if !cx.fuel.take() {
            break;
        }
        graph.set_op(node, copies);
        changed += 1;
        cx.remarks.push(Remark::at(
            RemarkKind::Passed,
            pass,
            "view",
            (scope.method.as_str(), graph, node),
            "a quantized convolution puts the channels last: it may have to copy".to_owned(),
        ));
    }
    changed
}
