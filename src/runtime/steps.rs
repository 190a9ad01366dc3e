//! Kernel steps: from the values of a node to the arguments of its kernel, and back.
//!
//! A step checks whether its kernel gives what the reference evaluator would give for these very tensors: their types and quantization,
//! and where the result depends on it, their layouts. Tensors are brought into another layout where that changes no result; whatever else
//! a kernel does not read goes to the reference evaluator, and the step says so ([`Outcome::NotTaken`]). Outputs have the evaluator's
//! strides.

mod binary;
mod cat;
mod code;
mod pool;
mod table;
mod weighted;

use planish_eval::{MemoryFormat, Tensor, Value};
use planish_ir::{DType, Dims, QParams};
use planish_kernels::{Affine, KernelSpec};

use crate::arena::Arena;
use crate::{Entry, RunError};

pub(crate) use table::Tables;
pub(crate) use weighted::Weight;

/// A node that a kernel computes.
#[derive(Debug)]
pub(crate) struct KernelStep {
    pub(crate) entry: Entry,
    /// Brings images from NCHW to channels-last order.
    pub(crate) to_nhwc: Option<Entry>,
    /// The packed weight, for the operators that have one.
    pub(crate) weight: Option<Weight>,
    /// Tables of the elementwise operators.
    pub(crate) tables: Tables,
    /// What the operator is, beyond its kernel.
    pub(crate) variant: Variant,
    /// The output's buffer.
    pub(crate) buffer: Option<usize>,
}

/// What tells apart operators that share a kernel.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Variant {
    /// Whether negative results become zero.
    pub(crate) relu: bool,
    /// Dimensions of the input of a convolution or pool: 3 for images that are lines.
    pub(crate) rank: usize,
    /// Whether an elementwise operator keeps its operand's layout, as all but one do.
    pub(crate) keeps_layout: bool,
}

impl Variant {
    /// What the operator of this name is.
    pub(crate) fn of(name: &str) -> Self {
        Self {
            relu: name.ends_with("_relu"),
            rank: if name.contains("1d") { 3 } else { 4 },
            keeps_layout: !matches!(name, "quantized::elu" | "quantized::celu"),
        }
    }
}

/// What came of a step.
pub(crate) enum Outcome {
    /// The output, and how many products of integers were summed.
    Done(Tensor, u64),
    /// The kernel does not read tensors like these, in words.
    NotTaken(&'static str),
}

/// Computes a node by the reference evaluator.
pub(crate) type Reference<'a> = &'a dyn Fn(&[Value]) -> Result<Vec<Value>, RunError>;

const NOT_CODES: &str = "its operand is not a quint8 tensor with one scale";

impl KernelStep {
    /// Computes the node's output from its inputs.
    pub(crate) fn run(
        &self,
        inputs: &[Value],
        arena: &mut Arena,
        reference: Reference<'_>,
    ) -> Result<Outcome, RunError> {
        let empty = |value: &Value| value.as_tensor().is_some_and(|tensor| tensor.numel() == 0);
        if inputs.iter().any(empty) {
            return Ok(Outcome::NotTaken("its operand has no elements"));
        }
        match self.entry.kernel().spec() {
            KernelSpec::Conv2d(conv) => self.conv2d(conv, inputs, arena),
            KernelSpec::Linear(linear) => self.linear(*linear, inputs, arena),
            KernelSpec::Add | KernelSpec::Mul => self.binary(inputs, arena),
            KernelSpec::Cat => self.cat(inputs, arena),
            KernelSpec::Lut => self.table(inputs, arena, reference),
            KernelSpec::MaxPool2d(_) | KernelSpec::AvgPool2d(_) | KernelSpec::AdaptiveAvgPool2d => {
                self.pool(inputs, arena)
            }
            KernelSpec::Quantize(_) => self.quantize(inputs, arena),
            KernelSpec::Dequantize(_) => self.dequantize(inputs, arena),
            _ => Ok(Outcome::NotTaken("the kernel is not one of a node")),
        }
    }
}

/// A scale and zero point, as tensors carry them.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Scaling {
    scale: f64,
    zero_point: i64,
}

impl Scaling {
    /// The quantization of a `quint8` tensor with one scale; `None` for any other, and for numbers that no kernel computes with.
    fn of(tensor: &Tensor) -> Option<Self> {
        match tensor.qparams()? {
            QParams::PerTensor { scale, zero_point } if tensor.dtype() == DType::QUInt8 => {
                Self { scale, zero_point }.valid(DType::QUInt8)
            }
            _ => None,
        }
    }

    /// The scale and zero point of a `quint8` output among the inputs at `index` and the next.
    fn among(inputs: &[Value], index: usize) -> Option<Self> {
        match (inputs.get(index), inputs.get(index + 1)) {
            (Some(Value::Float(scale)), Some(Value::Int(zero_point))) => Self {
                scale: *scale,
                zero_point: *zero_point,
            }
            .valid(DType::QUInt8),
            _ => None,
        }
    }

    /// These numbers, when the scale is one and the zero point is a code of `dtype`.
    fn valid(self, dtype: DType) -> Option<Self> {
        let scale = self.scale as f32;
        let (low, high) = dtype.quantized_range()?;
        let valid = scale.is_finite() && scale > 0.0 && (low..=high).contains(&self.zero_point);
        valid.then_some(self)
    }

    /// The same as kernels take it.
    fn affine(self) -> Affine {
        Affine {
            scale: self.scale as f32,
            zero: self.zero_point as i32,
        }
    }
}

/// The tensor among the inputs at `index`.
fn tensor(inputs: &[Value], index: usize) -> Option<&Tensor> {
    inputs.get(index).and_then(Value::as_tensor)
}

/// A tensor with its quantization, when it is `quint8` with one scale.
fn codes(inputs: &[Value], index: usize) -> Option<(&Tensor, Scaling)> {
    let tensor = tensor(inputs, index)?;
    Some((tensor, Scaling::of(tensor)?))
}

/// A tensor in a buffer of the arena; its elements are not yet written.
fn output(
    arena: &mut Arena,
    buffer: Option<usize>,
    dtype: DType,
    shape: &[i64],
    strides: &Dims,
    scaling: Option<Scaling>,
) -> Result<Tensor, RunError> {
    let numel = shape
        .iter()
        .try_fold(1_i64, |numel, size| numel.checked_mul(*size));
    let bytes = numel
        .and_then(|numel| usize::try_from(numel).ok())
        .and_then(|numel| numel.checked_mul(dtype.size()));
    let bytes =
        bytes.ok_or_else(|| RunError::Shape(format!("make a tensor of shape {shape:?}")))?;
    let storage = arena.take(buffer, bytes)?;
    let tensor = Tensor::view_of(storage, dtype, shape, strides, 0)?;
    Ok(match scaling {
        Some(Scaling { scale, zero_point }) => {
            tensor.with_qparams(QParams::PerTensor { scale, zero_point })?
        }
        None => tensor,
    })
}

/// The tensor without gaps, in the order of memory that results like it have; with that order.
///
/// The strides that it has may be of another order, when it is a transposed view for one. What an operator does may depend on it.
fn dense(x: &Tensor) -> Result<(Tensor, MemoryFormat), RunError> {
    let format = x.memory_format();
    Ok((x.contiguous(format)?, format))
}

/// Calls with the bytes of a dense input and of a dense output.
fn with_bytes(
    x: &Tensor,
    out: &Tensor,
    call: impl FnOnce(&[u8], &mut [u8]) -> Result<(), crate::Error>,
) -> Result<(), RunError> {
    let result = x.with_bytes(|x| out.with_bytes_mut(|out| call(x, out)));
    let gaps = || RunError::Shape("read a tensor with gaps as one run of memory".to_owned());
    Ok(result.ok_or_else(gaps)??.ok_or_else(gaps)??)
}

/// Sizes as a kernel counts them.
fn sizes<const N: usize>(shape: [i64; N]) -> Option<[usize; N]> {
    let mut sizes = [0; N];
    for (to, from) in sizes.iter_mut().zip(shape) {
        *to = usize::try_from(from).ok()?;
    }
    Some(sizes)
}
