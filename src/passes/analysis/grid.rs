//! How a tensor of codes is quantized, as far as what computes it tells.

use planish_ir::{DType, Graph, Literal, NodeId, QParams, Tensor, ValueId};

use super::codes::{PADS_ELEMENTS, keeps_elements};

/// One scale and one zero point for all elements, and the type of the codes.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Grid {
    /// The distance between what two neighbouring codes stand for.
    pub scale: f64,
    /// The code that stands for zero.
    pub zero_point: i64,
    /// The type of the codes.
    pub dtype: DType,
}

/// The constant that a value is, if it is one.
pub type Known<'a> = dyn Fn(ValueId) -> Option<&'a Literal> + 'a;

impl Grid {
    /// The grid of a tensor, when it is the same on every run.
    pub fn of(graph: &Graph, known: &Known<'_>, tensor: ValueId) -> Option<Self> {
        let mut left = STEPS;
        Self::within(graph, known, tensor, &mut left)
    }

    /// The grid that a quantize operator is told by three operands.
    pub fn told(
        graph: &Graph,
        known: &Known<'_>,
        [scale, zero_point, dtype]: [ValueId; 3],
    ) -> Option<Self> {
        let mut left = STEPS;
        Self::read(graph, known, (scale, zero_point, dtype), &mut left)
    }

    /// Whether what a code stands for is quantized to that code again, for every code.
    ///
    /// A distance of up to 255 from the zero point, times the scale, times its reciprocal is three roundings of 2^-24 away from that
    /// distance, and rounds back to it; the sum with the zero point is the code, which no bound cuts. It takes a zero point in the range of
    /// the codes and products that are normal numbers. Codes of 32 bits are too far from zero for the first, and codes of 4 bits lie two in a
    /// byte.
    pub fn gives_codes_back(&self) -> bool {
        /// Far from where products with distances, and the reciprocal, are too small or too large for floats.
        const SCALES: std::ops::RangeInclusive<f64> = 1e-30..=1e30;
        let (bytes, range) = match self.dtype {
            DType::QInt8 | DType::QUInt8 => (true, self.dtype.quantized_range()),
            _ => (false, None),
        };
        let in_range = |(low, high)| (low..=high).contains(&self.zero_point);
        bytes && range.is_some_and(in_range) && SCALES.contains(&self.scale)
    }

    fn within(graph: &Graph, known: &Known<'_>, tensor: ValueId, left: &mut usize) -> Option<Self> {
        let node = match source(graph, known, tensor, left)? {
            Source::Constant(QParams::PerTensor { scale, zero_point }, dtype) => {
                let (scale, zero_point) = (*scale, *zero_point);
                return Some(Self {
                    scale,
                    zero_point,
                    dtype,
                });
            }
            Source::Constant(..) => return None,
            Source::Node(node) => node,
        };
        let inputs = graph.node(node).inputs();
        if let &[_, scale, zero_point, dtype] = inputs
            && graph.node(node).op().is("aten::quantize_per_tensor")
        {
            return Self::read(graph, known, (scale, zero_point, dtype), left);
        }
        let (scale, zero_point) = told_at(graph, node)?;
        Some(Self {
            scale: scale_of(graph, known, *inputs.get(scale)?, left)?,
            zero_point: zero_point_of(graph, known, *inputs.get(zero_point)?, left)?,
            dtype: Self::within(graph, known, *inputs.first()?, left)?.dtype,
        })
    }

    fn read(
        graph: &Graph,
        known: &Known<'_>,
        (scale, zero_point, dtype): (ValueId, ValueId, ValueId),
        left: &mut usize,
    ) -> Option<Self> {
        let code = match known(dtype) {
            Some(code) => DType::from_code(code.as_int()?)?,
            None => asked(graph, known, dtype, "prim::dtype", left)?.dtype,
        };
        Some(Self {
            scale: scale_of(graph, known, scale, left)?,
            zero_point: zero_point_of(graph, known, zero_point, left)?,
            dtype: code,
        })
    }
}

/// A scale and a zero point for each index of an axis, and the type of the codes.
#[derive(Clone, PartialEq, Debug)]
pub struct ChannelGrid {
    grids: Vec<Grid>,
    axis: i64,
}

impl ChannelGrid {
    /// The grid of a constant.
    pub fn of(tensor: &Tensor) -> Option<Self> {
        let QParams::PerChannel {
            scales,
            zero_points,
            axis,
        } = tensor.qparams()?
        else {
            return None;
        };
        let pairs = scales.iter().copied().zip(zero_points.iter().copied());
        Some(Self::new(pairs, *axis as i64, tensor.dtype()))
    }

    /// The grid that a quantize operator is told: scales, zero points, axis and type.
    pub fn told(literals: &[&Literal]) -> Option<Self> {
        let &[
            Literal::Tensor(scales),
            Literal::Tensor(zero_points),
            axis,
            dtype,
        ] = literals
        else {
            return None;
        };
        let scales = match scales.values::<f32>() {
            Some(scales) => scales.into_iter().map(f64::from).collect(),
            None => scales.values::<f64>()?,
        };
        let zero_points = match zero_points.values::<i32>() {
            Some(zero_points) => zero_points.into_iter().map(i64::from).collect(),
            None => zero_points.values::<i64>()?,
        };
        if scales.len() != zero_points.len() {
            return None;
        }
        let pairs = scales.into_iter().zip(zero_points);
        Some(Self::new(
            pairs,
            axis.as_int()?,
            DType::from_code(dtype.as_int()?)?,
        ))
    }

    /// Whether what a code stands for is quantized to that code again, for every code of every channel.
    pub fn gives_codes_back(&self) -> bool {
        self.grids.iter().all(Grid::gives_codes_back)
    }

    fn new(pairs: impl Iterator<Item = (f64, i64)>, axis: i64, dtype: DType) -> Self {
        let grids = pairs.map(|(scale, zero_point)| Grid {
            scale,
            zero_point,
            dtype,
        });
        Self {
            grids: grids.collect(),
            axis,
        }
    }
}

/// Whether one scale and one zero point stand for all elements of a tensor of codes.
pub fn is_per_tensor(graph: &Graph, known: &Known<'_>, tensor: ValueId) -> bool {
    let mut left = STEPS;
    match source(graph, known, tensor, &mut left) {
        Some(Source::Constant(qparams, _)) => matches!(qparams, QParams::PerTensor { .. }),
        Some(Source::Node(_)) => true,
        None => false,
    }
}

/// The type of a tensor's codes, as far as what quantizes it tells; what operators of `quantized::` make of others is not looked into.
pub fn codes(graph: &Graph, known: &Known<'_>, tensor: ValueId) -> Option<DType> {
    let mut left = STEPS;
    match source(graph, known, tensor, &mut left)? {
        Source::Constant(_, dtype) => Some(dtype),
        Source::Node(node) => {
            let told = graph.node(node);
            let dtype = *told.inputs().get(3)?;
            if !told.op().is("aten::quantize_per_tensor") {
                return None;
            }
            match known(dtype) {
                Some(code) => DType::from_code(code.as_int()?),
                None => Some(asked(graph, known, dtype, "prim::dtype", &mut left)?.dtype),
            }
        }
    }
}

/// Operators looked through, in all: far enough for what a few layers do.
const STEPS: usize = 256;

/// What gives a tensor of codes its scale and zero point.
enum Source<'a> {
    Constant(&'a QParams, DType),
    /// An operator that makes codes of one scale and zero point.
    Node(NodeId),
}

/// Operators on codes that compute others with the scale and zero point of their first operand.
const KEEPS_GRID: [&str; 16] = [
    "aten::__getitem__",
    "aten::adaptive_avg_pool1d",
    "aten::adaptive_avg_pool2d",
    "aten::adaptive_avg_pool3d",
    "aten::avg_pool1d",
    "aten::avg_pool2d",
    "aten::avg_pool3d",
    "aten::clamp",
    "aten::hardtanh",
    "aten::leaky_relu",
    "aten::mean",
    "aten::upsample_bilinear2d",
    "aten::upsample_nearest1d",
    "aten::upsample_nearest2d",
    "aten::upsample_nearest3d",
    "prim::ListUnpack",
];

fn source<'a>(
    graph: &Graph,
    known: &Known<'a>,
    tensor: ValueId,
    left: &mut usize,
) -> Option<Source<'a>> {
    let mut at = tensor;
    loop {
        *left = left.checked_sub(1)?;
        if let Some(literal) = known(at) {
            let Literal::Tensor(tensor) = literal else {
                return None;
            };
            return Some(Source::Constant(tensor.qparams()?, tensor.dtype()));
        }
        let id = graph.producer(at)?;
        let node = graph.node(id);
        let name = node.op().name();
        let name = name.as_str();
        if node.op().is("aten::quantize_per_tensor") || told_at(graph, id).is_some() {
            return Some(Source::Node(id));
        }
        let keeps = |names: &[&str]| names.contains(&name);
        if !keeps_elements(name) && !keeps(&KEEPS_GRID) && !keeps(&PADS_ELEMENTS) {
            return None;
        }
        at = *node.inputs().first()?;
    }
}

/// Where an operator of `quantized::` is told the scale and zero point of its only output.
fn told_at(graph: &Graph, id: NodeId) -> Option<(usize, usize)> {
    let node = graph.node(id);
    let schema = node.op().schema()?;
    if !node.op().name().as_str().starts_with("quantized::") || node.outputs().len() != 1 {
        return None;
    }
    let find = |names: [&str; 3]| {
        let at = |name: &&str| schema.params.iter().position(|param| param.name == **name);
        names.iter().find_map(at)
    };
    Some((
        find(["output_scale", "Y_scale_i", "scale"])?,
        find(["output_zero_point", "Y_zero_point_i", "zero_point"])?,
    ))
}

fn scale_of(graph: &Graph, known: &Known<'_>, value: ValueId, left: &mut usize) -> Option<f64> {
    match known(value) {
        Some(Literal::Float(scale)) => Some(*scale),
        Some(_) => None,
        None => Some(asked(graph, known, value, "aten::q_scale", left)?.scale),
    }
}

fn zero_point_of(
    graph: &Graph,
    known: &Known<'_>,
    value: ValueId,
    left: &mut usize,
) -> Option<i64> {
    match known(value) {
        Some(literal) => literal.as_int(),
        None => Some(asked(graph, known, value, "aten::q_zero_point", left)?.zero_point),
    }
}

/// The grid of the tensor that a value is read from by this operator.
fn asked(
    graph: &Graph,
    known: &Known<'_>,
    value: ValueId,
    op: &str,
    left: &mut usize,
) -> Option<Grid> {
    let node = graph.node(graph.producer(value)?);
    if !node.op().is(op) {
        return None;
    }
    Grid::within(graph, known, *node.inputs().first()?, left)
}
