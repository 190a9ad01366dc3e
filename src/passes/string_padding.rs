//! The padding words of convolutions as numbers: `valid` is no padding, `same` is what keeps sizes at stride 1.
//!
//! Only convolutions whose weight is dequantized are looked at: the others stay as they are written. Where the two sides of a dimension
//! would need different padding there is no number for it, and the convolution stays in float.

use planish_ir::{At, Graph, Literal, NodeId, Op};

use crate::pass::PassCx;
use crate::remark::{Remark, RemarkKind};
use crate::rewrite::forget;
use crate::scope::Scope;

// Positions of operands of `aten::conv2d.padding` and its kin.
const WEIGHT: usize = 1;
const STRIDE: usize = 3;
const PADDING: usize = 4;
const DILATION: usize = 5;

/// Replaces padding words by numbers; returns how many.
pub(crate) fn resolve(
    graph: &mut Graph,
    scope: &mut Scope<'_>,
    pass: &'static str,
    cx: &mut PassCx<'_>,
) -> usize {
    let mut resolved = 0;
    for node in graph.walk() {
        let name = graph.node(node).op().name();
        let (Some(dims), true) = (
            dimensions(name.as_str()),
            graph.node(node).op().info().overload == *"padding",
        ) else {
            continue;
        };
        let weight = graph.producer(graph.node(node).inputs()[WEIGHT]);
        if !weight.is_some_and(|weight| graph.node(weight).op().is("aten::dequantize")) {
            continue;
        }
        let (kind, reason) = match padding(graph, scope, node, dims) {
            Ok(padding) => {
                if !cx.fuel.take() {
                    break;
                }
                let numbers = graph.insert_constant(At::Before(node), Literal::ints(&padding));
                let word = graph.node(node).inputs()[PADDING];
                graph.set_input(node, PADDING, numbers);
                forget(graph, vec![word]);
                graph.set_op(node, Op::of(name.as_str()));
                resolved += 1;
                (RemarkKind::Passed, format!("padding {padding:?}"))
            }
            Err(reason) => (RemarkKind::Missed, reason),
        };
        cx.remarks.push(Remark::at(
            kind,
            pass,
            "string padding",
            (scope.method.as_str(), graph, node),
            reason,
        ));
    }
    resolved
}

fn dimensions(name: &str) -> Option<usize> {
    ["aten::conv1d", "aten::conv2d", "aten::conv3d"]
        .iter()
        .position(|conv| *conv == name)
        .map(|at| at + 1)
}

fn padding(
    graph: &Graph,
    scope: &Scope<'_>,
    node: NodeId,
    dims: usize,
) -> Result<Vec<i64>, String> {
    let inputs = graph.node(node).inputs();
    let word = scope
        .facts
        .literal(graph, inputs[PADDING])
        .and_then(Literal::as_str);
    match word {
        Some("valid") => return Ok(vec![0; dims]),
        Some("same") => {}
        Some(other) => {
            return Err(format!(
                "padding {other:?} is neither \"same\" nor \"valid\""
            ));
        }
        None => return Err("the padding is not a constant".to_owned()),
    }
    let list = |at: usize| {
        let values = scope
            .facts
            .literal(graph, inputs[at])
            .and_then(Literal::as_ints)?;
        // One number stands for all dimensions.
        Some(if values.len() == 1 {
            vec![values[0]; dims]
        } else {
            values
        })
    };
    if list(STRIDE).is_none_or(|stride| stride.iter().any(|step| *step != 1)) {
        return Err("padding \"same\" needs stride 1".to_owned());
    }
    let dilation = list(DILATION).filter(|dilation| dilation.len() == dims);
    let dilation = dilation.ok_or("the dilation is not constant, so \"same\" has no number")?;
    let kernel = scope
        .facts
        .shape(graph, inputs[WEIGHT])
        .filter(|shape| shape.len() == dims + 2);
    let kernel = kernel.ok_or("the kernel's size is not known, so \"same\" has no number")?;
    let total: Vec<i64> = kernel[2..]
        .iter()
        .zip(&dilation)
        .map(|(size, dilation)| dilation * (size - 1))
        .collect();
    if total.iter().any(|total| total % 2 != 0) {
        return Err(format!(
            "padding \"same\" needs {total:?} in all, which is not the same on both sides"
        ));
    }
    Ok(total.iter().map(|total| total / 2).collect())
}
