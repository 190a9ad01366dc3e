//! Conditions that rules name in `where`: plain functions over what is known of the values that a pattern takes.

use planish_ir::{DType, Graph, Literal, QParams, Type, Use, ValueId};

use super::facts::Facts;
use super::rule::Var;
use crate::analysis::codes::{CHOOSES_ELEMENTS, keeps_elements};
use crate::analysis::grid::{ChannelGrid, Grid};

/// A condition of a rule.
#[derive(Debug)]
pub(super) struct Guard {
    pub(super) name: &'static str,
    pub(super) args: Vec<Var>,
    /// What it asks of the first argument.
    pub(super) law: &'static str,
    check: Check,
}

/// What a condition says of a match.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Verdict {
    /// It holds.
    Holds,
    /// It does not: what the first argument is instead.
    Fails(String),
    /// The rule does not speak about such a match: no reason is reported.
    Irrelevant,
}

type Check = fn(&Facts<'_>, &Graph, &[ValueId]) -> Verdict;

/// A guard: its name, its number of arguments, what it asks of the first one, and how.
type Kind = (&'static str, usize, &'static str, Check);

const GUARDS: [Kind; 20] = [
    (
        "one",
        1,
        "the constant int 1: the quantized operator has no factor",
        one,
    ),
    ("number", 1, "a number, not a tensor", number),
    (
        "zero_dim",
        1,
        "a constant tensor without dimensions, which stands for a number",
        zero_dim,
    ),
    (
        "quint8",
        1,
        "13: the quantized operator makes quint8, whatever is asked for",
        quint8,
    ),
    (
        "quint8_codes",
        1,
        "of type quint8, as far as is known: the quantized operator takes and makes no other codes",
        quint8_codes,
    ),
    (
        "byte_codes",
        1,
        "codes of one byte, as far as is known: wider ones are not exact as floats",
        byte_codes,
    ),
    (
        "few_steps",
        2,
        "a number of so few steps of the scale that they can be counted, as far as is known",
        few_steps,
    ),
    ("is_true", 1, "the constant true", is_true),
    ("is_false", 1, "the constant false", is_false),
    (
        "none_or_float",
        1,
        "none or 6, float: the quantized operator computes in float and cannot change its own type",
        none_or_float,
    ),
    (
        "quantized_like",
        4,
        "read by others for its scale, zero point and type, in this order: the quantized operator keeps them",
        quantized_like,
    ),
    (
        "private",
        1,
        "seen by one operator alone, so that nobody notices that it is written to",
        private,
    ),
    ("constant", 1, "the same on every run", constant),
    (
        "attribute",
        1,
        "read from an attribute of a module",
        attribute,
    ),
    ("matrix", 1, "a constant with two dimensions", matrix),
    (
        "bias_of",
        2,
        "a constant vector with an element for each row of the weight",
        bias_of,
    ),
    (
        "int8_weight",
        1,
        "a constant qint8 tensor that is not unpacked already",
        int8_weight,
    ),
    (
        "gives_codes_back",
        4,
        "codes of bytes by the scale, zero point and type that follow: quantized again they are what they were",
        gives_codes_back,
    ),
    (
        "gives_channels_back",
        5,
        "codes of bytes by the scales, zero points, axis and type that follow: quantized again they are what they were",
        gives_channels_back,
    ),
    (
        "laid_out",
        2,
        "as quantizing lays it out, or read by nobody who would notice",
        laid_out,
    ),
];

impl Guard {
    pub(super) fn new(name: &str, args: Vec<Var>) -> Result<Self, String> {
        let Some((name, arity, law, check)) =
            GUARDS.iter().copied().find(|(guard, ..)| *guard == name)
        else {
            return Err(format!("there is no guard `{name}`"));
        };
        if args.len() != arity {
            return Err(format!("`{name}` takes {arity} values, not {}", args.len()));
        }
        Ok(Self {
            name,
            args,
            law,
            check,
        })
    }

    pub(super) fn check(&self, facts: &Facts<'_>, graph: &Graph, args: &[ValueId]) -> Verdict {
        (self.check)(facts, graph, args)
    }
}

impl Verdict {
    fn of_constant(result: Result<(), String>) -> Self {
        match result {
            Ok(()) => Self::Holds,
            Err(reason) => Self::Fails(format!("is not constant: {reason}")),
        }
    }
}

/// The constant int 1: the factor of `aten::add` that the quantized operator has no operand for.
fn one(facts: &Facts<'_>, graph: &Graph, args: &[ValueId]) -> Verdict {
    literal_is(facts, graph, args[0], &Literal::Int(1), "1")
}

fn number(_: &Facts<'_>, graph: &Graph, args: &[ValueId]) -> Verdict {
    match graph.ty(args[0]) {
        Type::Int | Type::Float | Type::Scalar => Verdict::Holds,
        other => Verdict::Fails(format!("is a {other:?}, not a number")),
    }
}

fn zero_dim(facts: &Facts<'_>, graph: &Graph, args: &[ValueId]) -> Verdict {
    match facts.literal(graph, args[0]) {
        Some(Literal::Tensor(tensor)) if tensor.shape().is_empty() => Verdict::Holds,
        _ => Verdict::Fails("is neither quantized nor a constant number".to_owned()),
    }
}

/// The quantized operators that choose scale and zero point make `quint8`, whatever the simulation asked for.
fn quint8(facts: &Facts<'_>, graph: &Graph, args: &[ValueId]) -> Verdict {
    literal_is(
        facts,
        graph,
        args[0],
        &Literal::Int(DType::QUInt8.code()),
        "quint8 (13)",
    )
}

fn quint8_codes(facts: &Facts<'_>, graph: &Graph, args: &[ValueId]) -> Verdict {
    match facts.codes(graph, args[0]) {
        None | Some(DType::QUInt8) => Verdict::Holds,
        Some(other) => Verdict::Fails(format!("holds {other} codes")),
    }
}

fn byte_codes(facts: &Facts<'_>, graph: &Graph, args: &[ValueId]) -> Verdict {
    match facts.codes(graph, args[0]) {
        None | Some(DType::QUInt8 | DType::QInt8) => Verdict::Holds,
        Some(other) => Verdict::Fails(format!("holds {other} codes")),
    }
}

/// The quantized operator moves the zero point by whole steps, which it counts in 32 bits.
fn few_steps(facts: &Facts<'_>, graph: &Graph, args: &[ValueId]) -> Verdict {
    let number = match facts.literal(graph, args[0]) {
        Some(Literal::Float(number)) => *number,
        Some(Literal::Int(number)) => *number as f64,
        Some(Literal::Tensor(tensor)) => match tensor.values::<f32>().as_deref() {
            Some([number]) => f64::from(*number),
            _ => return Verdict::Holds,
        },
        _ => return Verdict::Holds,
    };
    match facts.grid(graph, args[1]) {
        Some(grid) if (number / grid.scale).abs() >= f64::from(i32::MAX) => {
            Verdict::Fails(format!("is too many steps of {}", grid.scale))
        }
        _ => Verdict::Holds,
    }
}

fn is_true(facts: &Facts<'_>, graph: &Graph, args: &[ValueId]) -> Verdict {
    literal_is(facts, graph, args[0], &Literal::Bool(true), "true")
}

fn is_false(facts: &Facts<'_>, graph: &Graph, args: &[ValueId]) -> Verdict {
    literal_is(facts, graph, args[0], &Literal::Bool(false), "false")
}

fn none_or_float(facts: &Facts<'_>, graph: &Graph, args: &[ValueId]) -> Verdict {
    let float = Literal::Int(DType::Float.code());
    if facts.literal(graph, args[0]) == Some(&float) {
        return Verdict::Holds;
    }
    literal_is(facts, graph, args[0], &Literal::None, "none or float (6)")
}

/// Scale, zero point and type are read from the first argument itself.
fn quantized_like(_: &Facts<'_>, graph: &Graph, args: &[ValueId]) -> Verdict {
    for (value, op) in args[1..]
        .iter()
        .zip(["aten::q_scale", "aten::q_zero_point", "prim::dtype"])
    {
        let reads = graph.producer(*value).is_some_and(|node| {
            graph.node(node).op().is(op) && graph.node(node).inputs() == [args[0]]
        });
        if !reads {
            return Verdict::Fails(format!(
                "may have another {} than what is quantized with",
                op.rsplit(':').next().unwrap_or(op)
            ));
        }
    }
    Verdict::Holds
}

/// Nobody but one operator sees the value, so writing to it is that operator's own affair.
fn private(_: &Facts<'_>, graph: &Graph, args: &[ValueId]) -> Verdict {
    let value = graph.value(args[0]);
    let Some(producer) = graph.producer(args[0]) else {
        return Verdict::Fails("is written to, and the caller sees it".to_owned());
    };
    let op = graph.node(producer).op();
    if !graph.node(producer).blocks().is_empty()
        || (0..graph.node(producer).inputs().len()).any(|input| op.may_alias(0, input))
    {
        return Verdict::Fails(
            "is written to, and may share storage with another tensor".to_owned(),
        );
    }
    let mut users = value.uses().iter().map(|at| match at {
        Use::Input(node, _) => Some(*node),
        Use::Result(..) => None,
    });
    let first = users.next().flatten();
    if first.is_none() || users.any(|user| user != first) {
        return Verdict::Fails("is written to, and others read it".to_owned());
    }
    Verdict::Holds
}

fn attribute(_: &Facts<'_>, graph: &Graph, args: &[ValueId]) -> Verdict {
    match graph.producer(args[0]).map(|node| graph.node(node).op()) {
        Some(op) if op.is("prim::GetAttr") => Verdict::Holds,
        Some(op) => Verdict::Fails(format!("is computed by {op}")),
        None => Verdict::Fails("is a parameter".to_owned()),
    }
}

fn matrix(facts: &Facts<'_>, graph: &Graph, args: &[ValueId]) -> Verdict {
    match facts.shape(graph, args[0]) {
        Some(shape) if shape.len() == 2 => Verdict::Holds,
        Some(shape) => Verdict::Fails(format!("has the shape {shape:?}, not two dimensions")),
        None => Verdict::Fails("has no known shape".to_owned()),
    }
}

fn bias_of(facts: &Facts<'_>, graph: &Graph, args: &[ValueId]) -> Verdict {
    let rows = facts.shape(graph, args[1]);
    let rows = rows.as_ref().and_then(|shape| shape.first());
    match (facts.shape(graph, args[0]).as_deref(), rows) {
        (Some([size]), Some(rows)) if size == rows => Verdict::Holds,
        (Some(shape), Some(rows)) => {
            Verdict::Fails(format!("has the shape {shape:?}, not [{rows}]"))
        }
        _ => Verdict::Fails("has no known shape".to_owned()),
    }
}

fn constant(facts: &Facts<'_>, graph: &Graph, args: &[ValueId]) -> Verdict {
    Verdict::of_constant(facts.constant(graph, args[0]))
}

/// A constant `qint8` tensor that is not unpacked already.
fn int8_weight(facts: &Facts<'_>, graph: &Graph, args: &[ValueId]) -> Verdict {
    let producer = graph.producer(args[0]).map(|node| graph.node(node));
    if producer.is_some_and(|node| node.op().name().as_str().ends_with("_unpack")) {
        return Verdict::Irrelevant;
    }
    if let Err(reason) = facts.constant(graph, args[0]) {
        return Verdict::Fails(format!("is not constant: {reason}"));
    }
    let told = |value: Option<&ValueId>| facts.literal(graph, *value?)?.as_int();
    let (dtype, axis) = match (facts.literal(graph, args[0]), producer) {
        (Some(Literal::Tensor(tensor)), _) => {
            let axis = match tensor.qparams() {
                Some(QParams::PerChannel { axis, .. }) => Some(*axis as i64),
                _ => None,
            };
            (Some(tensor.dtype().code()), axis)
        }
        (_, Some(node)) if node.op().is("aten::quantize_per_tensor") => {
            (told(node.inputs().last()), None)
        }
        (_, Some(node)) if node.op().is("aten::quantize_per_channel") => {
            (told(node.inputs().last()), told(node.inputs().get(3)))
        }
        _ => (None, None),
    };
    // Packed weights have a scale for each output channel, which is what the first axis counts.
    match (dtype, axis) {
        (None, _) => Verdict::Fails("has no known type".to_owned()),
        (Some(_), Some(axis)) if axis != 0 => Verdict::Fails(format!(
            "is quantized along axis {axis}, not by output channel"
        )),
        (Some(dtype), _) if dtype == DType::QInt8.code() => Verdict::Holds,
        (Some(_), _) => Verdict::Fails("is not qint8".to_owned()),
    }
}

fn gives_codes_back(facts: &Facts<'_>, graph: &Graph, args: &[ValueId]) -> Verdict {
    let Some(has) = facts.grid(graph, args[0]) else {
        return Verdict::Fails("has no known scale and zero point".to_owned());
    };
    let Some(gets) = facts.grid_told(graph, [args[1], args[2], args[3]]) else {
        let reason = "is quantized again by a scale or zero point that is not known";
        return Verdict::Fails(reason.to_owned());
    };
    let told = |grid: Grid| {
        let (scale, zero_point, dtype) = (grid.scale, grid.zero_point, grid.dtype);
        format!("scale {scale} and zero point {zero_point} of {dtype}")
    };
    if has != gets {
        return Verdict::Fails(format!(
            "has {} and is quantized again by {}",
            told(has),
            told(gets)
        ));
    }
    if !has.gives_codes_back() {
        return Verdict::Fails(format!(
            "has {}, by which not every code is got back",
            told(has)
        ));
    }
    Verdict::Holds
}

fn gives_channels_back(facts: &Facts<'_>, graph: &Graph, args: &[ValueId]) -> Verdict {
    let told = |args: &[ValueId]| {
        let literals: Option<Vec<&Literal>> =
            args.iter().map(|arg| facts.literal(graph, *arg)).collect();
        ChannelGrid::told(&literals?)
    };
    let has = match facts.literal(graph, args[0]) {
        Some(Literal::Tensor(tensor)) => ChannelGrid::of(tensor),
        _ => graph.producer(args[0]).and_then(|node| {
            let node = graph.node(node);
            let quantizes = node.op().is("aten::quantize_per_channel");
            told(node.inputs().get(1..).filter(|_| quantizes)?)
        }),
    };
    match (has, told(&args[1..])) {
        (None, _) => Verdict::Fails("has no known scales and zero points".to_owned()),
        (Some(has), Some(gets)) if has == gets && has.gives_codes_back() => Verdict::Holds,
        _ => Verdict::Fails("is quantized again by other scales or zero points".to_owned()),
    }
}

/// What an operator makes lies as quantizing would have it unless it only looks at a tensor in another way. What is dequantized is laid out
/// anew.
fn laid_out(facts: &Facts<'_>, graph: &Graph, args: &[ValueId]) -> Verdict {
    let mut at = args[0];
    let looks = loop {
        if let Some(Literal::Tensor(tensor)) = facts.literal(graph, at) {
            break !tensor.is_contiguous();
        }
        let Some(node) = graph.producer(at).map(|node| graph.node(node)) else {
            break true;
        };
        let name = node.op().name();
        match node.inputs().first() {
            Some(first) if CHOOSES_ELEMENTS.contains(&name.as_str()) => at = *first,
            _ => break !lays_out(name.as_str()),
        }
    };
    let mut open = vec![args[1]];
    while let (true, Some(value)) = (looks, open.pop()) {
        for at in graph.value(value).uses() {
            let Use::Input(user, 0) = at else { continue };
            let node = graph.node(*user);
            let name = node.op().name();
            if node.op().is("aten::dequantize") || keeps_elements(name.as_str()) {
                open.extend(node.outputs());
            } else if !lays_out(name.as_str()) && !asks(name.as_str()) {
                return Verdict::Fails(format!("is a view, and {name} would see its layout"));
            }
        }
    }
    Verdict::Holds
}

/// Whether what an operator computes, and how it lies, is the same whatever the layout of its operands is.
fn lays_out(name: &str) -> bool {
    let short = name.rsplit("::").next().unwrap_or_default();
    let operators = ["conv", "linear", "quantize_per_"];
    operators.iter().any(|op| short.starts_with(op))
}

/// Whether an operator only asks a tensor of codes how it is quantized or how large it is.
fn asks(name: &str) -> bool {
    let queries = [
        "aten::q_scale",
        "aten::q_zero_point",
        "prim::dtype",
        "aten::size",
        "aten::dim",
    ];
    queries.contains(&name)
}

fn literal_is(
    facts: &Facts<'_>,
    graph: &Graph,
    value: ValueId,
    expected: &Literal,
    shown: &str,
) -> Verdict {
    match facts.literal(graph, value) {
        Some(found) if found == expected => Verdict::Holds,
        Some(found) => Verdict::Fails(format!("is {}, not {shown}", show(found))),
        None => Verdict::Fails(format!("is not known to be {shown}")),
    }
}

/// A short text for a constant in a reason.
pub(super) fn show(literal: &Literal) -> String {
    match literal {
        Literal::None => "none".to_owned(),
        Literal::Bool(value) => value.to_string(),
        Literal::Int(value) => value.to_string(),
        Literal::Float(value) => format!("{value:?}"),
        Literal::Str(value) => format!("{value:?}"),
        Literal::Tensor(tensor) => format!("a tensor {:?}", tensor.shape()),
        other => format!("a constant of type {:?}", other.ty()),
    }
}
