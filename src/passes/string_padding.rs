//! The padding words of convolutions as numbers: `valid` is no padding, `same` is what keeps sizes at stride 1.
//!
//! Only convolutions whose weight is dequantized are looked at: the others stay as they are written. Where the two sides of a dimension
//! need different padding, what the far side needs more is put around the input before; `quant-motion` brings that onto codes, where the zero
//! point stands for the zeros. It pays when the convolution stands between codes; else it stays in float as it is.

use planish_ir::{At, Graph, Literal, NodeId, Op, Type, Use};

use crate::pass::PassCx;
use crate::remark::{Remark, RemarkKind};
use crate::rewrite::forget;
use crate::scope::Scope;

// Positions of operands of `aten::conv2d.padding` and its kin.
const INPUT: usize = 0;
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
    let words = graph.walk().filter_map(|node| {
        let op = graph.node(node).op();
        let dims = dimensions(op.name().as_str())?;
        (op.info().overload == *"padding").then_some((node, dims))
    });
    for (node, dims) in words.collect::<Vec<_>>() {
        let name = graph.node(node).op().name();
        let weight = graph.producer(graph.node(node).inputs()[WEIGHT]);
        if !weight.is_some_and(|weight| graph.node(weight).op().is("aten::dequantize")) {
            continue;
        }
        let (kind, reason) = match padding(graph, scope, node, dims) {
            Ok(sides) => {
                if !cx.fuel.take() {
                    break;
                }
                let Sides { padding, more } = sides;
                pad_far_sides(graph, node, &more);
                let numbers = graph.insert_constant(At::Before(node), Literal::ints(&padding));
                let word = graph.node(node).inputs()[PADDING];
                graph.set_input(node, PADDING, numbers);
                forget(graph, vec![word]);
                graph.set_op(node, Op::of(name.as_str()));
                resolved += 1;
                let far = if is_even(&more) {
                    String::new()
                } else {
                    format!(", and {more:?} on the far sides")
                };
                (RemarkKind::Passed, format!("padding {padding:?}{far}"))
            }
            Err(reason) => (RemarkKind::Missed, reason),
        };
        cx.remarks.push(Remark::at(
            kind,
            pass,
            "string padding",
            (scope.method, graph, node),
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

/// What is put around each dimension.
struct Sides {
    /// On both sides.
    padding: Vec<i64>,
    /// On the far side besides.
    more: Vec<i64>,
}

fn is_even(more: &[i64]) -> bool {
    more.iter().all(|more| *more == 0)
}

/// Puts zeros behind the elements of a convolution's input.
fn pad_far_sides(graph: &mut Graph, node: NodeId, more: &[i64]) {
    if is_even(more) {
        return;
    }
    let before = At::Before(node);
    // Pairs of a near and a far side, the last dimension first.
    let amounts: Vec<i64> = more.iter().rev().flat_map(|more| [0, *more]).collect();
    let amounts = graph.insert_constant(before, Literal::ints(&amounts));
    let zero = graph.insert_constant(before, Literal::Int(0));
    let input = graph.node(node).inputs()[INPUT];
    let (ty, loc) = (Type::TENSOR, graph.node(node).loc());
    let pad = Op::of("aten::constant_pad_nd");
    let padded = graph.insert(before, pad, &[input, amounts, zero], [ty]);
    graph.set_loc(padded, loc);
    graph.set_input(node, INPUT, graph.output(padded));
}

/// Whether a convolution reads what is dequantized and is quantized again, at once or behind a relu.
fn is_between_codes(graph: &Graph, node: NodeId) -> bool {
    let input = graph.producer(graph.node(node).inputs()[INPUT]);
    let from_codes = input.is_some_and(|input| graph.node(input).op().is("aten::dequantize"));
    let mut value = graph.output(node);
    loop {
        let &[Use::Input(user, 0)] = graph.value(value).uses() else {
            return false;
        };
        let op = graph.node(user).op();
        if !op.is("aten::relu") && !op.is("aten::relu_") {
            return from_codes && op.is("aten::quantize_per_tensor");
        }
        value = graph.output(user);
    }
}

fn padding(graph: &Graph, scope: &Scope<'_>, node: NodeId, dims: usize) -> Result<Sides, String> {
    let inputs = graph.node(node).inputs();
    let word = scope
        .facts
        .literal(graph, inputs[PADDING])
        .and_then(Literal::as_str);
    match word {
        Some("valid") => {
            let none = || vec![0; dims];
            return Ok(Sides {
                padding: none(),
                more: none(),
            });
        }
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
    let more: Vec<i64> = total.iter().map(|total| total % 2).collect();
    if !is_even(&more) && !is_between_codes(graph, node) {
        return Err(format!(
            "padding \"same\" needs {total:?} in all, which is not the same on both sides, and not both its input and its result are quantized"
        ));
    }
    Ok(Sides {
        padding: total.iter().map(|total| total / 2).collect(),
        more,
    })
}
