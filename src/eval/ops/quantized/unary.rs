//! Functions of one quantized tensor, element by element.
//!
//! Each is a table of 256 entries in effect: two of them, where the two ways to dequantize give different codes.

use planish_ir::QParams;

use super::binary::mapped;
use crate::call::Call;
use crate::float::{SINGLE, VECTOR};
use crate::ops::quant::{self, Affine, per_tensor, suggested_strides};
use crate::ops::{Kernel, Table};
use crate::{MemoryFormat, Result, Tensor, Value};
use Kernel::One;

pub(in crate::ops) const OPS: Table = &[
    ("quantized::hardswish", One(hardswish)),
    ("quantized::elu", One(elu)),
    ("quantized::celu", One(celu)),
    ("quantized::leaky_relu", One(leaky_relu)),
    ("quantized::sigmoid", One(sigmoid)),
    ("quantized::clamp", One(clamp)),
    ("quantized::relu6", One(relu6)),
    ("quantized::threshold", One(threshold)),
    ("quantized::dropout", One(dropout)),
    ("quantized::prelu", One(prelu)),
    ("quantized::softmax", One(softmax)),
];

/// Applies a function of real numbers with new parameters, in the operand's layout.
fn map(
    input: &Tensor,
    scale: f64,
    zero_point: i64,
    f: impl Fn(f32, bool) -> f32,
) -> Result<Tensor> {
    map_to(input, &suggested_strides(input), scale, zero_point, f)
}

fn map_to(
    input: &Tensor,
    strides: &[i64],
    scale: f64,
    zero_point: i64,
    f: impl Fn(f32, bool) -> f32,
) -> Result<Tensor> {
    let from = Affine::of(input)?;
    let to = Affine::new(scale, zero_point, input.dtype())?;
    mapped(input, strides, scale, zero_point, |q, fused| {
        let value = if fused { from.fused(q) } else { from.plain(q) };
        to.quantize(f(value, fused))
    })
}

/// `hardswish(input, scale, zero_point)`
fn hardswish(call: &Call<'_>) -> Result<Value> {
    let (scale, zero_point) = quant::qparams(call, 1)?;
    let f = |x: f32, _| x * (x + 3.0).clamp(0.0, 6.0) / 6.0;
    Ok(map(call.tensor(0)?, scale, zero_point, f)?.into())
}

/// `elu(input, scale, zero_point, alpha, scale of the result, scale of the exponent)`
fn elu(call: &Call<'_>) -> Result<Value> {
    let (scale, zero_point) = quant::qparams(call, 1)?;
    let (alpha, gain, inner) = (
        call.float_or(3, 1.0)?,
        call.float_or(4, 1.0)?,
        call.float_or(5, 1.0)?,
    );
    elu_with(call.tensor(0)?, scale, zero_point, [alpha, gain, inner])
}

/// `celu(input, scale, zero_point, alpha)`
fn celu(call: &Call<'_>) -> Result<Value> {
    let (scale, zero_point) = quant::qparams(call, 1)?;
    let alpha = call.float_or(3, 1.0)?;
    elu_with(
        call.tensor(0)?,
        scale,
        zero_point,
        [alpha, 1.0, 1.0 / alpha],
    )
}

fn elu_with(
    input: &Tensor,
    scale: f64,
    zero_point: i64,
    [alpha, gain, inner]: [f64; 3],
) -> Result<Value> {
    let (alpha, gain, inner) = (alpha as f32, gain as f32, inner as f32);
    let negative = alpha * gain;
    let f = |x: f32, fused: bool| {
        if x >= 0.0 {
            return x * gain;
        }
        let functions = if fused { &VECTOR } else { &SINGLE };
        let grown = (functions.exp_m1)(x * inner);
        grown * negative
    };
    // The result is contiguous, whatever the operand's layout.
    let strides = MemoryFormat::Contiguous.strides(input.shape());
    Ok(map_to(input, &strides, scale, zero_point, f)?.into())
}

/// `leaky_relu(input, slope, in place, scale, zero_point)`
fn leaky_relu(call: &Call<'_>) -> Result<Value> {
    let (scale, zero_point) = quant::qparams(call, 3)?;
    Ok(leaky(call.tensor(0)?, call.float(1)?, scale, zero_point, false)?.into())
}

/// `aten::leaky_relu` of a quantized tensor keeps its parameters.
pub(in crate::ops) fn aten_leaky_relu(
    input: &Tensor,
    slope: f64,
    in_place: bool,
) -> Result<Tensor> {
    let (scale, zero_point) = per_tensor(input)?;
    leaky(input, slope, scale, zero_point, in_place)
}

/// The layout says which numbers are read in vectors: in place the tensor's own, otherwise that of the result, which the operand is first
/// brought to.
fn leaky(
    input: &Tensor,
    slope: f64,
    scale: f64,
    zero_point: i64,
    in_place: bool,
) -> Result<Tensor> {
    let slope = slope as f32;
    let f = |x: f32, _| if x > 0.0 { x } else { x * slope };
    if in_place {
        return map_to(input, input.strides(), scale, zero_point, f);
    }
    let dense = input.copy_strided(&suggested_strides(input))?;
    map(&dense, scale, zero_point, f)
}

/// `sigmoid(input, scale, zero_point)`
fn sigmoid(call: &Call<'_>) -> Result<Value> {
    let (scale, zero_point) = quant::qparams(call, 1)?;
    Ok(map(call.tensor(0)?, scale, zero_point, |x, _| logistic(x))?.into())
}

/// `aten::sigmoid` of a quantized tensor has fixed parameters.
pub(in crate::ops) fn aten_sigmoid(input: &Tensor) -> Result<Tensor> {
    let (scale, zero_point) = unit_range(input);
    map(input, scale, zero_point, |x, _| logistic(x))
}

fn logistic(x: f32) -> f32 {
    (1.0 / (1.0 + (-f64::from(x)).exp())) as f32
}

/// `aten::hardsigmoid` of a quantized tensor has fixed parameters.
pub(in crate::ops) fn aten_hardsigmoid(input: &Tensor) -> Result<Tensor> {
    let (scale, zero_point) = unit_range(input);
    map(input, scale, zero_point, |x, _| {
        (x + 3.0).clamp(0.0, 6.0) / 6.0
    })
}

/// `aten::tanh` of a quantized tensor has fixed parameters.
pub(in crate::ops) fn aten_tanh(input: &Tensor) -> Result<Tensor> {
    let (low, _) = Affine::of(input)?.range();
    map(input, 1.0 / 128.0, i64::from(low) + 128, |x, _| {
        f64::from(x).tanh() as f32
    })
}

/// Parameters of codes that cover 0 to 1.
fn unit_range(input: &Tensor) -> (f64, i64) {
    let low = input.dtype().quantized_range().map_or(0, |(low, _)| low);
    (1.0 / 256.0, low)
}

/// `aten::relu` of a quantized tensor.
pub(in crate::ops) fn aten_relu(input: &Tensor) -> Result<Tensor> {
    let zero = Affine::of(input)?.zero;
    bounded(input, zero, i32::MAX)
}

/// `aten::clamp` of a quantized tensor: bounds become codes.
pub(in crate::ops) fn aten_clamp(
    input: &Tensor,
    low: Option<f64>,
    high: Option<f64>,
) -> Result<Tensor> {
    let affine = Affine::of(input)?;
    let low = low.map_or(i32::MIN, |x| affine.quantize(x as f32));
    let high = high.map_or(i32::MAX, |x| affine.quantize(x as f32));
    bounded(input, low, high)
}

fn bounded(input: &Tensor, low: i32, high: i32) -> Result<Tensor> {
    let (scale, zero_point) = per_tensor(input)?;
    let strides = suggested_strides(input);
    mapped(input, &strides, scale, zero_point, |q, _| {
        q.max(low).min(high)
    })
}

fn clamp(call: &Call<'_>) -> Result<Value> {
    Ok(aten_clamp(call.tensor(0)?, call.float_opt(1)?, call.float_opt(2)?)?.into())
}

fn relu6(call: &Call<'_>) -> Result<Value> {
    let input = call.tensor(0)?;
    let out = aten_clamp(input, Some(0.0), Some(6.0))?;
    if call.bool_or(1, false)? {
        return overwrite(input, &out);
    }
    Ok(out.into())
}

/// `threshold(input, threshold, value)`: what does not exceed the threshold becomes the value.
fn threshold(call: &Call<'_>) -> Result<Value> {
    let input = call.tensor(0)?;
    let (least, other) = (call.float(1)? as f32, call.float(2)? as f32);
    let (scale, zero_point) = per_tensor(input)?;
    let f = |x: f32, _| if x > least { x } else { other };
    Ok(map(input, scale, zero_point, f)?.into())
}

fn dropout(call: &Call<'_>) -> Result<Value> {
    if call.bool_or(4, false)? && call.float_or(3, 0.5)? != 0.0 {
        return Err(call.unsupported("in training"));
    }
    Ok(call.tensor(0)?.clone().into())
}

/// `prelu(input, weight, scale, zero_point)`: a slope for each channel, itself quantized. All is done on codes, also the slope of what is
/// above zero: it is the code of 1 in the weight's scale, so that slopes that are all small flatten it, as they do in PyTorch.
fn prelu(call: &Call<'_>) -> Result<Value> {
    let (input, weight) = (call.tensor(0)?, call.tensor(1)?);
    let (scale, zero_point) = quant::qparams(call, 2)?;
    let (x, w) = (Affine::of(input)?, Affine::of(weight)?);
    let slopes: Vec<i32> = weight.codes()?;
    let slopes: Vec<i64> = slopes
        .iter()
        .map(|q| i64::from(*q) - i64::from(w.zero))
        .collect();
    let channels = input.shape().get(1).copied().unwrap_or(1).max(1) as usize;
    if slopes.len() != 1 && slopes.len() != channels {
        return Err(call.wrong(1, "one slope, or one for each channel"));
    }
    let inner: i64 = input.shape().get(2..).unwrap_or_default().iter().product();
    let to = Affine::new(scale, zero_point, input.dtype())?;
    let one = i64::from(w.quantize(1.0)) - i64::from(w.zero);
    let factor = x.scale * w.scale * (1.0 / to.scale);
    let codes = input.codes()?.into_iter().enumerate().map(|(at, q)| {
        let slope = slopes[at / inner.max(1) as usize % channels % slopes.len()];
        let steps = i64::from(q) - i64::from(x.zero);
        let product = steps.saturating_mul(if steps > 0 { one } else { slope });
        to.code(product as f32 * factor)
    });
    let codes: Vec<i32> = codes.collect();
    let strides = suggested_strides(input);
    Ok(quant::from_codes(
        input.dtype(),
        input.shape(),
        &strides,
        &codes,
        scale,
        zero_point,
    )?
    .into())
}

/// `softmax(input, dim, scale, zero_point)`: over the real numbers; not pinned to PyTorch's last bit.
fn softmax(call: &Call<'_>) -> Result<Value> {
    let input = call.tensor(0)?;
    let (scale, zero_point) = quant::qparams(call, 2)?;
    let real = quant::dequantized(input)?;
    let out = crate::ops::softmax::softmax_along(&real, call.dim(1, input)?)?;
    Ok(quant::quantized(&out, scale, zero_point, input.dtype())?.into())
}

/// Writes a result over its operand, whose parameters change for everybody.
pub(in crate::ops) fn overwrite(input: &Tensor, result: &Tensor) -> Result<Value> {
    input.write_codes(&result.codes()?)?;
    if let Some(qparams @ QParams::PerTensor { .. }) = result.qparams() {
        input.set_qparams(qparams);
    }
    Ok(input.clone().into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::trial::run;
    use planish_ir::DType;

    /// Codes that PyTorch 2.15 gives.
    #[test]
    fn slopes_of_a_prelu_are_codes() {
        let codes = |shape: &[i64], codes: &[i32], scale: f64, zero: i64| -> Value {
            let strides = crate::MemoryFormat::Contiguous.strides(shape);
            let tensor = quant::from_codes(DType::QUInt8, shape, &strides, codes, scale, zero);
            tensor.unwrap().into()
        };
        let x = codes(&[1, 2, 4], &[0, 60, 100, 140, 255, 99, 0, 101], 0.05, 100);
        let prelu = |weight| {
            let args = [x.clone(), weight, Value::Float(0.04), Value::Int(90)];
            run("quantized::prelu", &args).codes().unwrap()
        };
        let each = prelu(codes(&[2], &[107, 7], 0.0075, 40));
        assert_eq!(each, [27, 65, 90, 140, 255, 90, 121, 91]);
        // The largest code stands for 0.255: what is above zero shrinks too.
        let small = prelu(codes(&[1], &[250], 0.001, 0));
        assert_eq!(small, [59, 77, 90, 103, 139, 90, 59, 90]);
    }

    #[test]
    fn a_leaky_relu_reads_in_vectors_what_lay_apart() {
        let codes: Vec<i32> = (0..128).collect();
        let like = |strides: &[i64]| {
            let tensor = quant::from_codes(DType::QUInt8, &[1, 2, 64], strides, &codes, 0.033, 65);
            let args = [tensor.unwrap().into(), Value::Float(0.1)];
            run("aten::leaky_relu", &args).codes().unwrap()
        };
        assert_eq!(like(&[128, 1, 2]), like(&[128, 64, 1]));
    }
}
