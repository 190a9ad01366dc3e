//! Quantization on tensors of plain integers, as PyTorch's reference modules of FX graph mode spell it: nothing remembers scale and zero point.

use planish_ir::DType;

use super::elementwise::like;
use super::quant::floats;
use super::{Kernel, Table};
use crate::call::Call;
use crate::{Result, Tensor, Value};
use Kernel::One;

pub(super) const OPS: Table = &[
    (
        "quantized_decomposed::quantize_per_tensor",
        One(quantize_per_tensor),
    ),
    (
        "quantized_decomposed::dequantize_per_tensor",
        One(dequantize_per_tensor),
    ),
    (
        "quantized_decomposed::quantize_per_channel",
        One(quantize_per_channel),
    ),
    (
        "quantized_decomposed::dequantize_per_channel",
        One(dequantize_per_channel),
    ),
];

/// `(input, scale, zero_point, quant_min, quant_max, dtype)`; each of the numbers may be a tensor.
fn quantize_per_tensor(call: &Call<'_>) -> Result<Value> {
    let input = floats(call, call.tensor(0)?)?;
    let dtype = call.dtype(5)?;
    let (inverse, zero) = ((1.0 / number(call, 1)?) as f32, number(call, 2)? as f32);
    let (low, high) = (number(call, 3)? as f32, number(call, 4)? as f32);
    let codes = input.to_f32()?.into_iter().map(|value| {
        let code = (value * inverse).round_ties_even() + zero;
        f64::from(held(code, low, high))
    });
    let codes: Vec<f64> = codes.collect();
    integers(input, dtype, &codes)
}

/// `(input, scale, zero_point, quant_min, quant_max, dtype, out_dtype)`
fn dequantize_per_tensor(call: &Call<'_>) -> Result<Value> {
    let input = call.tensor(0)?;
    let out = answer(call, 6, input)?;
    let (scale, zero) = (number(call, 1)? as f32, number(call, 2)? as f32);
    let codes = input.to_f32()?.into_iter();
    let values: Vec<f32> = codes.map(|code| (code - zero) * scale).collect();
    out.write_elements(&values)?;
    Ok(out.into())
}

/// `(input, scales, zero_points, axis, quant_min, quant_max, dtype)`: scales in double precision are computed with in double precision.
fn quantize_per_channel(call: &Call<'_>) -> Result<Value> {
    let input = floats(call, call.tensor(0)?)?;
    let channels = Channels::of(call, input)?;
    let dtype = call.dtype(6)?;
    let (low, high) = (call.float(4)?, call.float(5)?);
    let codes = input.to_f32()?.into_iter().enumerate().map(|(at, value)| {
        let (scale, zero) = channels.at(at);
        if channels.double {
            let code = (f64::from(value) * (1.0 / scale)).round_ties_even() + zero;
            held(code, low, high)
        } else {
            let code = (value * (1.0 / scale as f32)).round_ties_even() + zero as f32;
            f64::from(held(code, low as f32, high as f32))
        }
    });
    let codes: Vec<f64> = codes.collect();
    integers(input, dtype, &codes)
}

/// `(input, scales, zero_points, axis, quant_min, quant_max, dtype, out_dtype)`
fn dequantize_per_channel(call: &Call<'_>) -> Result<Value> {
    let input = call.tensor(0)?;
    let out = answer(call, 7, input)?;
    let channels = Channels::of(call, input)?;
    let values = input.to_f64()?.into_iter().enumerate().map(|(at, code)| {
        let (scale, zero) = channels.at(at);
        let steps = code - zero;
        if channels.double {
            (steps * scale) as f32
        } else {
            steps as f32 * scale as f32
        }
    });
    let values: Vec<f32> = values.collect();
    out.write_elements(&values)?;
    Ok(out.into())
}

/// A scale and a zero point for each index of an axis.
struct Channels {
    scales: Vec<f64>,
    zeros: Vec<f64>,
    /// Whether the scales are doubles.
    double: bool,
    /// How many elements in a row belong to one channel.
    inner: usize,
}

impl Channels {
    fn of(call: &Call<'_>, input: &Tensor) -> Result<Self> {
        let (axis, size) = call.sized_dim(3, input)?;
        let tensor = call.tensor(1)?;
        let scales = tensor.to_f64()?;
        let zeros = match call.tensor_opt(2)? {
            Some(zeros) => zeros.to_f64()?,
            None => vec![0.0; scales.len()],
        };
        if scales.len() as i64 != size || zeros.len() as i64 != size {
            return Err(call.wrong(1, "one scale and zero point for each channel"));
        }
        let inner: i64 = input.shape()[axis + 1..].iter().product();
        Ok(Self {
            scales,
            zeros,
            double: tensor.dtype() == DType::Double,
            inner: (inner as usize).max(1),
        })
    }

    fn at(&self, element: usize) -> (f64, f64) {
        let channel = element / self.inner % self.scales.len();
        (self.scales[channel], self.zeros[channel])
    }
}

/// A number, or a tensor that holds one.
fn number(call: &Call<'_>, index: usize) -> Result<f64> {
    let Value::Tensor(tensor) = call.get(index) else {
        return call.float(index);
    };
    match tensor.to_f64()?[..] {
        [one] => Ok(one),
        _ => Err(call.wrong(index, "a number, or a tensor of one")),
    }
}

/// A code between the smallest and the largest; what is no number stays so.
fn held<T: PartialOrd>(code: T, low: T, high: T) -> T {
    if code < low {
        low
    } else if code > high {
        high
    } else {
        code
    }
}

fn integers(input: &Tensor, dtype: DType, codes: &[f64]) -> Result<Value> {
    let out = like(input, dtype)?;
    if dtype.is_floating_point() {
        out.write_f64(codes)?;
    } else {
        let codes: Vec<i64> = codes.iter().map(|code| *code as i64).collect();
        out.write_i64(&codes)?;
    }
    Ok(out.into())
}

/// What is dequantized to: `out_dtype` may ask for float only.
fn answer(call: &Call<'_>, index: usize, input: &Tensor) -> Result<Tensor> {
    match call.dtype_opt(index)? {
        None | Some(DType::Float) => like(input, DType::Float),
        Some(other) => Err(call.unsupported(format_args!("to {other}"))),
    }
}
