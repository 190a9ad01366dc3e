//! Node by node: which kernels compute it.

use planish_ir::{DType, Graph, Literal, NodeId, PackedKind, PackedParams, QParams, Type, ValueId};

use super::Lowered;
use super::facts::Facts;
use crate::{AvgPool2d, Code, Conv2d, Divisor, KernelSpec, Layout, Linear, MaxPool2d};

/// How a node runs; `None` when it moves no tensor elements.
pub(super) fn lower(graph: &Graph, facts: &Facts<'_>, id: NodeId) -> Option<Lowered> {
    let node = graph.node(id);
    let name = node.op().name().as_str();
    if !touches_tensors(graph, id)
        || VIEWS_AND_QUERIES.contains(&name)
        || name.starts_with("prim::")
    {
        return None;
    }
    Some(match kernels(graph, facts, id) {
        Ok(specs) => match specs.iter().find_map(|spec| spec.check().err()) {
            None => Lowered::Kernels(specs),
            Some(error) => Lowered::Fallback(error.to_string()),
        },
        Err(reason) => Lowered::Fallback(reason),
    })
}

fn kernels(graph: &Graph, facts: &Facts<'_>, id: NodeId) -> Result<Vec<KernelSpec>, String> {
    let node = graph.node(id);
    let inputs = node.inputs();
    let name = node.op().name().as_str();
    let codes = |index: usize| {
        let dtype = inputs.get(index).and_then(|value| facts.dtype(*value));
        match dtype {
            Some(DType::QUInt8) => Ok(()),
            Some(other) => Err(format!(
                "kernels take quint8 activations, and this is {other}"
            )),
            None => Err("its input is not quantized".to_owned()),
        }
    };
    let input = |index: usize| {
        let value = inputs.get(index).copied();
        value.ok_or_else(|| format!("it has no operand number {index}"))
    };
    match name {
        "quantized::conv1d"
        | "quantized::conv1d_relu"
        | "quantized::conv2d"
        | "quantized::conv2d_relu" => {
            codes(0)?;
            let conv = conv2d(graph, facts, input(1)?)?;
            Ok(vec![
                KernelSpec::Conv2d(conv),
                KernelSpec::Relayout(Layout::NchwToNhwc),
            ])
        }
        "quantized::linear" | "quantized::linear_relu" => {
            codes(0)?;
            let linear = linear(graph, facts, input(1)?)?;
            Ok(vec![KernelSpec::Linear(linear)])
        }
        "quantized::conv1d_prepack" | "quantized::conv2d_prepack" => {
            weight_shape(facts, input(0)?)?;
            Ok(vec![KernelSpec::PackConv])
        }
        "quantized::linear_prepack" => {
            weight_shape(facts, input(0)?)?;
            Ok(vec![KernelSpec::PackLinear])
        }
        "quantized::add" | "quantized::add_relu" => codes(0)
            .and_then(|()| codes(1))
            .map(|()| vec![KernelSpec::Add]),
        "quantized::mul" | "quantized::mul_relu" => codes(0)
            .and_then(|()| codes(1))
            .map(|()| vec![KernelSpec::Mul]),
        "quantized::cat" => codes(0).map(|()| vec![KernelSpec::Cat]),
        _ if OF_ONE_CODE.contains(&name) => {
            codes(0)?;
            let is_tensor = |operand: &ValueId| holds_tensor(graph.ty(*operand));
            if inputs.iter().skip(1).any(is_tensor) {
                return Err("an operand besides the first is a tensor".to_owned());
            }
            Ok(vec![KernelSpec::Lut])
        }
        "aten::max_pool2d" | "quantized::max_pool2d" => {
            codes(0)?;
            let [kernel, stride, padding, dilation] = window::<4, 2>(facts, inputs.get(1..5))?;
            let stride = stride.or(kernel);
            let (Some(kernel), Some(stride), Some(padding), Some(dilation)) =
                (kernel, stride, padding, dilation)
            else {
                return Err(NOT_CONSTANT.to_owned());
            };
            Ok(vec![KernelSpec::MaxPool2d(MaxPool2d {
                kernel,
                stride,
                padding,
                dilation,
            })])
        }
        "aten::max_pool1d" | "quantized::max_pool1d" => {
            codes(0)?;
            let [kernel, stride, padding, dilation] = window::<4, 1>(facts, inputs.get(1..5))?;
            let stride = stride.or(kernel);
            let (Some([kernel]), Some([stride]), Some([padding]), Some([dilation])) =
                (kernel, stride, padding, dilation)
            else {
                return Err(NOT_CONSTANT.to_owned());
            };
            // A line is an image of height 1.
            Ok(vec![KernelSpec::MaxPool2d(MaxPool2d {
                kernel: [1, kernel],
                stride: [1, stride],
                padding: [0, padding],
                dilation: [1, dilation],
            })])
        }
        "aten::avg_pool2d" => {
            codes(0)?;
            let [kernel, stride, padding] = window::<3, 2>(facts, inputs.get(1..4))?;
            let stride = stride.or(kernel);
            let (Some(kernel), Some(stride), Some(padding)) = (kernel, stride, padding) else {
                return Err(NOT_CONSTANT.to_owned());
            };
            Ok(vec![KernelSpec::AvgPool2d(AvgPool2d {
                kernel,
                stride,
                padding,
                divisor: divisor(facts, inputs)?,
            })])
        }
        "aten::adaptive_avg_pool2d" => codes(0).map(|()| vec![KernelSpec::AdaptiveAvgPool2d]),
        // Its sum is one of real numbers, in an order of its own: no pool gives the same codes.
        "aten::mean" => Err("no kernel computes a mean over dimensions".to_owned()),
        "aten::quantize_per_tensor" if node.op().info().overload != *"" => {
            Err("its scale is a tensor".to_owned())
        }
        "aten::quantize_per_tensor" => {
            match node.outputs().first().and_then(|out| facts.dtype(*out)) {
                Some(DType::QUInt8) => Ok(vec![KernelSpec::Quantize(Code::U8)]),
                Some(DType::QInt8) => Ok(vec![KernelSpec::Quantize(Code::S8)]),
                _ => Err("it makes codes of a type that kernels do not make".to_owned()),
            }
        }
        "aten::dequantize" if per_channel(facts, input(0)?) => {
            Err("no kernel reads codes that are scaled channel by channel".to_owned())
        }
        "aten::dequantize" => match facts.dtype(input(0)?) {
            Some(DType::QUInt8) => Ok(vec![KernelSpec::Dequantize(Code::U8)]),
            Some(DType::QInt8) => Ok(vec![KernelSpec::Dequantize(Code::S8)]),
            _ => Err("it reads codes of a type that kernels do not read".to_owned()),
        },
        _ => Err("no kernel computes it".to_owned()),
    }
}

/// Geometry of the convolution whose packed weight is `packed`.
fn conv2d(graph: &Graph, facts: &Facts<'_>, packed: ValueId) -> Result<Conv2d, String> {
    if let Some(Literal::Packed(params)) = facts.literal(packed) {
        return match spec_of(&params)? {
            KernelSpec::Conv2d(conv) => Ok(conv),
            _ => Err(FOR_ANOTHER.to_owned()),
        };
    }
    let producer = graph.producer(packed).ok_or("its weight is an input")?;
    let [weight, _, stride, padding, dilation, groups] = *graph.node(producer).inputs() else {
        return Err(NOT_KNOWN.to_owned());
    };
    let shape = weight_shape(facts, weight)?;
    let dims = shape.len().saturating_sub(2);
    let list = |value: ValueId| {
        let ints = facts.ints(value, dims);
        ints.ok_or("its geometry is not constant")
    };
    let groups = facts.literal(groups).as_ref().and_then(Literal::as_int);
    let groups = groups.ok_or("its groups are not constant")?;
    conv_spec(
        &shape,
        [&list(stride)?, &list(padding)?, &list(dilation)?],
        groups,
    )
}

const NOT_CONSTANT: &str = "its window is not constant";
const FOR_ANOTHER: &str = "its weight is packed for another operator";
const NOT_KNOWN: &str = "its weight is not known before it runs";

/// The kernel that reads a packed weight.
///
/// # Errors
/// The reason, in words, when no kernel does.
pub fn spec_of(params: &PackedParams) -> Result<KernelSpec, String> {
    let shape = params.weight.shape();
    match &params.kind {
        PackedKind::Linear => {
            symmetric(&params.weight)?;
            Ok(KernelSpec::Linear(linear_spec(shape)?))
        }
        PackedKind::Conv(geometry) if geometry.transposed => {
            Err("no kernel computes transposed convolutions".to_owned())
        }
        PackedKind::Conv(geometry) => {
            symmetric(&params.weight)?;
            let lists = [
                &geometry.stride[..],
                &geometry.padding[..],
                &geometry.dilation[..],
            ];
            Ok(KernelSpec::Conv2d(conv_spec(
                shape,
                lists,
                geometry.groups,
            )?))
        }
        PackedKind::LinearFp16 => Err("no kernel reads weights of half precision".to_owned()),
        PackedKind::Embedding => Err("no kernel reads tables of embeddings".to_owned()),
    }
}

fn conv_spec(
    shape: &[i64],
    [stride, padding, dilation]: [&[i64]; 3],
    groups: i64,
) -> Result<Conv2d, String> {
    let size =
        |value: i64| usize::try_from(value).map_err(|_| format!("its geometry contains {value}"));
    let (Some((channels, kernel)), groups) = (shape.split_at_checked(2), size(groups)?) else {
        return Err("its weight has no channels".to_owned());
    };
    let pair = |list: &[i64], missing: usize| match *list {
        [width] => Ok([missing, size(width)?]),
        [height, width] => Ok([size(height)?, size(width)?]),
        _ => Err("no kernel computes convolutions over that many dimensions".to_owned()),
    };
    // One spatial dimension is stored with a leading entry for the height that is not there.
    let last = |list: &[i64]| list[list.len().saturating_sub(kernel.len())..].to_vec();
    Ok(Conv2d {
        inputs: size(channels[1])?.saturating_mul(groups),
        outputs: size(channels[0])?,
        kernel: pair(kernel, 1)?,
        stride: pair(&last(stride), 1)?,
        padding: pair(&last(padding), 0)?,
        dilation: pair(&last(dilation), 1)?,
        groups,
    })
}

fn linear(graph: &Graph, facts: &Facts<'_>, packed: ValueId) -> Result<Linear, String> {
    if let Some(Literal::Packed(params)) = facts.literal(packed) {
        return match spec_of(&params)? {
            KernelSpec::Linear(linear) => Ok(linear),
            _ => Err(FOR_ANOTHER.to_owned()),
        };
    }
    let producer = graph.producer(packed).ok_or("its weight is an input")?;
    let weight = graph.node(producer).inputs().first().ok_or(NOT_KNOWN)?;
    linear_spec(&weight_shape(facts, *weight)?)
}

fn linear_spec(shape: &[i64]) -> Result<Linear, String> {
    match *shape {
        [outputs, inputs] => Ok(Linear {
            inputs: inputs.max(0) as usize,
            outputs: outputs.max(0) as usize,
        }),
        _ => Err(format!("its weight has the shape {shape:?}")),
    }
}

fn weight_shape(facts: &Facts<'_>, weight: ValueId) -> Result<Vec<i64>, String> {
    facts
        .weight_shape(weight)
        .ok_or_else(|| NOT_KNOWN.to_owned())
}

/// Kernels read weight codes as they are: their zero points must be 0.
fn symmetric(weight: &planish_ir::Tensor) -> Result<(), String> {
    let zero = match weight.qparams() {
        Some(QParams::PerTensor { zero_point, .. }) => *zero_point == 0,
        Some(QParams::PerChannel {
            zero_points, axis, ..
        }) => *axis == 0 && zero_points.iter().all(|zero_point| *zero_point == 0),
        Some(QParams::PerChannelFloat { .. }) | None => false,
    };
    if zero && weight.dtype() == DType::QInt8 {
        Ok(())
    } else {
        Err("kernels take qint8 weights whose zero points are 0".to_owned())
    }
}

fn per_channel(facts: &Facts<'_>, value: ValueId) -> bool {
    let literal = facts.literal(value);
    let qparams = literal
        .as_ref()
        .and_then(Literal::as_tensor)
        .and_then(planish_ir::Tensor::qparams);
    matches!(qparams, Some(QParams::PerChannel { .. }))
}

/// Lists of as many ints as there are spatial dimensions; an empty list (a stride that is not given) is `None`.
fn window<const N: usize, const DIMS: usize>(
    facts: &Facts<'_>,
    values: Option<&[ValueId]>,
) -> Result<[Option<[usize; DIMS]>; N], String> {
    let mut lists = [None; N];
    for (list, value) in lists.iter_mut().zip(values.unwrap_or_default()) {
        let ints = facts.ints(*value, DIMS).ok_or(NOT_CONSTANT)?;
        if ints.is_empty() {
            continue;
        }
        let wrong = || format!("its window contains {ints:?}");
        let sizes: Result<Vec<usize>, _> = ints.iter().map(|int| usize::try_from(*int)).collect();
        let sizes = sizes.ok().and_then(|sizes| sizes.try_into().ok());
        *list = Some(sizes.ok_or_else(wrong)?);
    }
    Ok(lists)
}

fn divisor(facts: &Facts<'_>, inputs: &[ValueId]) -> Result<Divisor, String> {
    let unknown = || "its divisor is not constant".to_owned();
    let fixed = inputs
        .get(6)
        .map(|value| facts.literal(*value).ok_or_else(unknown))
        .transpose()?;
    match fixed {
        Some(Literal::Int(by)) => {
            return usize::try_from(by)
                .map(Divisor::Fixed)
                .map_err(|_| format!("its divisor is {by}"));
        }
        None | Some(Literal::None) => {}
        Some(_) => return Err(unknown()),
    }
    let padded = inputs.get(5).and_then(|value| facts.literal(*value));
    match padded.as_ref().and_then(Literal::as_bool) {
        Some(true) => Ok(Divisor::Padded),
        Some(false) => Ok(Divisor::Valid),
        None => Err(unknown()),
    }
}

/// Whether a node reads and makes tensors: what makes only scalars is a query.
fn touches_tensors(graph: &Graph, id: NodeId) -> bool {
    let node = graph.node(id);
    let tensor = |value: &ValueId| holds_tensor(graph.ty(*value));
    let packs = |value: &ValueId| matches!(graph.ty(*value), Type::Class(class) if class.as_str().starts_with("__torch__.torch.classes."));
    node.outputs()
        .iter()
        .any(|value| tensor(value) || packs(value))
}

fn holds_tensor(ty: &Type) -> bool {
    match ty {
        Type::Tensor(_) => true,
        Type::Optional(inner) | Type::List(inner) => holds_tensor(inner),
        Type::Tuple(elements) => elements.iter().any(holds_tensor),
        _ => false,
    }
}

/// Functions of one code. What is not listed here is no function of a code alone, or works in place.
const OF_ONE_CODE: [&str; 21] = [
    "aten::relu",
    "aten::relu6",
    "aten::clamp",
    "aten::clamp_min",
    "aten::clamp_max",
    "aten::hardtanh",
    "aten::sigmoid",
    "aten::tanh",
    "aten::hardsigmoid",
    "aten::leaky_relu",
    "quantized::hardswish",
    "quantized::leaky_relu",
    "quantized::sigmoid",
    "quantized::elu",
    "quantized::celu",
    "quantized::clamp",
    "quantized::threshold",
    "quantized::add_scalar",
    "quantized::add_scalar_relu",
    "quantized::mul_scalar",
    "quantized::mul_scalar_relu",
];

/// Operators that move no elements: they look at a tensor in another way, or ask for what is written on it. (A view of a tensor whose
/// layout does not allow the view copies it; that is the layout's cost, not the operator's.)
const VIEWS_AND_QUERIES: [&str; 24] = [
    "aten::flatten",
    "aten::view",
    "aten::reshape",
    "aten::permute",
    "aten::transpose",
    "aten::t",
    "aten::squeeze",
    "aten::squeeze_",
    "aten::unsqueeze",
    "aten::unsqueeze_",
    "aten::contiguous",
    "aten::detach",
    "aten::slice",
    "aten::select",
    "aten::narrow",
    "aten::chunk",
    "aten::split",
    "aten::expand",
    "aten::alias",
    "aten::__getitem__",
    "aten::list",
    "aten::append",
    "aten::dropout",
    "aten::unflatten",
];
