//! Kernel steps: from the values of a node to the arguments of its kernel, and back.
//!
//! A step checks whether the tensors it is given are laid out as its kernel reads them. Images in rows (NCHW) are brought into channels-last
//! order where the result does not depend on it; whatever else a kernel does not read goes to the reference evaluator, and the step says
//! so ([`Outcome::NotTaken`]).

mod binary;
mod cat;
mod code;
mod pool;
mod table;
mod weighted;

use planish_eval::{Tensor, Value};
use planish_ir::{DType, QParams};
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
    /// Whether negative results become zero.
    pub(crate) relu: bool,
    /// The output's buffer.
    pub(crate) buffer: Option<usize>,
}

/// What came of a step.
pub(crate) enum Outcome {
    /// The output, and how many products of integers were summed.
    Done(Tensor, u64),
    /// The kernel does not read tensors laid out like these, in words.
    NotTaken(&'static str),
}

/// Computes a node by the reference evaluator.
pub(crate) type Reference<'a> = &'a dyn Fn(&[Value]) -> Result<Vec<Value>, RunError>;

impl KernelStep {
    /// Computes the node's output from its inputs.
    pub(crate) fn run(
        &self,
        inputs: &[Value],
        arena: &mut Arena,
        reference: Reference<'_>,
    ) -> Result<Outcome, RunError> {
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

/// The tensor among the inputs at `index`.
fn tensor(inputs: &[Value], index: usize) -> Option<&Tensor> {
    inputs.get(index).and_then(Value::as_tensor)
}

/// The scale and zero point among the inputs at `index` and the next.
fn scale_and_zero(inputs: &[Value], index: usize) -> Option<(f64, i64)> {
    match (inputs.get(index), inputs.get(index + 1)) {
        (Some(Value::Float(scale)), Some(Value::Int(zero))) => Some((*scale, *zero)),
        _ => None,
    }
}

/// The quantization of a `quint8` tensor with one scale.
fn affine(tensor: &Tensor) -> Option<Affine> {
    match tensor.qparams()? {
        QParams::PerTensor { scale, zero_point } if tensor.dtype() == DType::QUInt8 => {
            Some(Affine {
                scale: scale as f32,
                zero: i32::try_from(zero_point).ok()?,
            })
        }
        _ => None,
    }
}

/// A tensor in a buffer of the arena; its elements are not yet written.
fn output(
    arena: &mut Arena,
    buffer: Option<usize>,
    dtype: DType,
    shape: &[i64],
    strides: &[i64],
    qparams: Option<(f64, i64)>,
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
    let qparams = qparams.map(|(scale, zero_point)| QParams::PerTensor { scale, zero_point });
    let tensor = Tensor::view_of(storage, dtype, shape, strides, 0)?;
    Ok(match qparams {
        Some(qparams) => tensor.with_qparams(qparams)?,
        None => tensor,
    })
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
fn sizes<const N: usize>(shape: &[i64]) -> Option<[usize; N]> {
    let mut sizes = [0; N];
    if shape.len() != N {
        return None;
    }
    for (to, from) in sizes.iter_mut().zip(shape) {
        *to = usize::try_from(*from).ok()?;
    }
    Some(sizes)
}
