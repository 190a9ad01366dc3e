//! Activations, of floats and of codes, in place or not.

use super::arith::in_place;
use super::elementwise::{Elementwise, like, map_float, map_into};
use super::quantized::unary::{
    aten_clamp, aten_hardsigmoid, aten_leaky_relu, aten_relu, aten_sigmoid, aten_tanh, overwrite,
};
use super::vector::in_vectors;
use super::{Kernel, Table};
use crate::call::Call;
use crate::float::{self, BLOCK, Functions, SINGLE, VECTOR};
use crate::{MemoryFormat, Result, Tensor, Value};
use Kernel::One;
use planish_ir::DType;

pub(super) const OPS: Table = &[
    ("aten::relu", One(relu)),
    ("aten::relu_", One(relu)),
    ("aten::relu6", One(relu6)),
    ("aten::relu6_", One(relu6)),
    ("aten::clamp", One(clamp)),
    ("aten::clamp_", One(clamp)),
    ("aten::clamp_min", One(clamp_min)),
    ("aten::clamp_max", One(clamp_max)),
    ("aten::hardtanh", One(hardtanh)),
    ("aten::hardtanh_", One(hardtanh)),
    ("aten::sigmoid", One(sigmoid)),
    ("aten::sigmoid_", One(sigmoid)),
    ("aten::tanh", One(tanh)),
    ("aten::tanh_", One(tanh)),
    ("aten::hardsigmoid", One(hardsigmoid)),
    ("aten::hardsigmoid_", One(hardsigmoid)),
    ("aten::hardswish", One(hardswish)),
    ("aten::hardswish_", One(hardswish)),
    ("aten::leaky_relu", One(leaky_relu)),
    ("aten::leaky_relu_", One(leaky_relu)),
    ("aten::elu", One(elu)),
    ("aten::elu_", One(elu)),
    ("aten::celu", One(celu)),
    ("aten::celu_", One(celu)),
    ("aten::selu", One(selu)),
    ("aten::selu_", One(selu)),
    ("aten::gelu", One(gelu)),
    ("aten::silu", One(silu)),
    ("aten::silu_", One(silu)),
    ("aten::mish", One(mish)),
    ("aten::softplus", One(softplus)),
    ("aten::log_sigmoid", One(log_sigmoid)),
    ("aten::hardshrink", One(hardshrink)),
    ("aten::softshrink", One(softshrink)),
    ("aten::threshold", One(threshold)),
    ("aten::prelu", One(prelu)),
    ("aten::rrelu", One(rrelu)),
    ("aten::glu", One(glu)),
    ("aten::dropout", One(dropout)),
    ("aten::dropout_", One(dropout)),
    ("aten::feature_dropout", One(dropout)),
    ("aten::feature_dropout_", One(dropout)),
    ("aten::alpha_dropout", One(dropout)),
    ("aten::alpha_dropout_", One(dropout)),
    ("aten::feature_alpha_dropout", One(dropout)),
    ("aten::feature_alpha_dropout_", One(dropout)),
];

/// What an activation does to a quantized tensor.
type CodeMap<'a> = dyn Fn(&Tensor) -> Result<Tensor> + 'a;

/// Applies `code` to a quantized tensor, `float` to each element of another one; in place if the operator says so.
fn activate(
    call: &Call<'_>,
    code: Option<&CodeMap<'_>>,
    float: impl Fn(f64) -> f64,
) -> Result<Value> {
    let input = call.tensor(0)?;
    let target = in_place(call)?;
    if input.dtype().is_quantized() {
        let Some(code) = code else {
            return Err(call.wrong(0, "a tensor of plain numbers"));
        };
        let out = code(input)?;
        return match target {
            Some(target) => overwrite(target, &out),
            None => Ok(out.into()),
        };
    }
    if let Some(target) = target {
        map_into(input, target, float)?;
        return Ok(target.clone().into());
    }
    Ok(map_float(input, float)?.into())
}

/// Like [`activate`], for functions whose value depends on how it is computed: in single precision, by the functions given.
fn curve(
    call: &Call<'_>,
    code: Option<&CodeMap<'_>>,
    value: impl Fn(&Functions, f32) -> f32,
) -> Result<Value> {
    curve_in(BLOCK, call, code, value)
}

/// Like [`curve`], with vectors of another length.
fn curve_in(
    block: i64,
    call: &Call<'_>,
    code: Option<&CodeMap<'_>>,
    value: impl Fn(&Functions, f32) -> f32,
) -> Result<Value> {
    let input = call.tensor(0)?;
    if input.dtype().is_quantized() {
        return activate(call, code, |x| x);
    }
    if input.dtype() == DType::Double {
        return Err(call.unsupported("of doubles"));
    }
    let out = match in_place(call)? {
        Some(target) => target.clone(),
        None if input.dtype().is_floating_point() => like(input, input.dtype())?,
        None => like(input, DType::Float)?,
    };
    let vector = in_vectors(block, input.shape(), out.strides(), &[input.strides()]);
    let values = input.to_f32()?.into_iter().zip(vector);
    let values: Vec<f32> = values
        .map(|(x, vector)| value(if vector { &VECTOR } else { &SINGLE }, x))
        .collect();
    out.write_f32(&values)?;
    Ok(out.into())
}

/// Like [`activate`], for functions that give integers for integers.
fn select(call: &Call<'_>, code: &CodeMap<'_>, f: impl Fn(f64) -> f64) -> Result<Value> {
    let input = call.tensor(0)?;
    let plain = !input.dtype().is_quantized() && !input.dtype().is_floating_point();
    if plain && in_place(call)?.is_none() {
        let out = like(input, input.dtype())?;
        map_into(input, &out, f)?;
        return Ok(out.into());
    }
    activate(call, Some(code), f)
}

fn relu(call: &Call<'_>) -> Result<Value> {
    select(call, &aten_relu, |x| if x <= 0.0 { 0.0 } else { x })
}

fn relu6(call: &Call<'_>) -> Result<Value> {
    between(call, Some(0.0), Some(6.0))
}

/// `clamp(input, min, max)`; bounds may be absent, numbers or tensors.
fn clamp(call: &Call<'_>) -> Result<Value> {
    if let (Value::Tensor(_), _) | (_, Value::Tensor(_)) = (call.get(1), call.get(2)) {
        let input = call.tensor(0)?;
        let mut out = input.clone();
        for (index, low) in [(1, true), (2, false)] {
            if let Some(bound) = call.tensor_opt(index)? {
                let pair = Elementwise::new(vec![(&out).into(), bound.into()])?;
                let pick = |a: f64, b| {
                    let choose = if low { f64::max } else { f64::min };
                    super::arith::nan_or(a, b, choose)
                };
                let whole = |a: i64, b: i64| if low { a.max(b) } else { a.min(b) };
                out = pair.binary(None, whole, pick)?;
            }
        }
        if let Some(target) = in_place(call)? {
            super::join::convert_into(&out, target)?;
            return Ok(target.clone().into());
        }
        return Ok(out.into());
    }
    between(call, call.float_opt(1)?, call.float_opt(2)?)
}

fn clamp_min(call: &Call<'_>) -> Result<Value> {
    between(call, Some(call.float(1)?), None)
}

fn clamp_max(call: &Call<'_>) -> Result<Value> {
    between(call, None, Some(call.float(1)?))
}

fn hardtanh(call: &Call<'_>) -> Result<Value> {
    between(
        call,
        Some(call.float_or(1, -1.0)?),
        Some(call.float_or(2, 1.0)?),
    )
}

fn between(call: &Call<'_>, low: Option<f64>, high: Option<f64>) -> Result<Value> {
    // Bounds are numbers of the tensor's precision.
    let wide = call.tensor(0)?.dtype() == DType::Double;
    let near = |bound: Option<f64>| bound.map(|x| if wide { x } else { f64::from(x as f32) });
    let (least, most) = (near(low), near(high));
    let f = |x: f64| {
        let x = least.map_or(x, |low| if x < low { low } else { x });
        most.map_or(x, |high| if x > high { high } else { x })
    };
    select(call, &|input| aten_clamp(input, low, high), f)
}

fn sigmoid(call: &Call<'_>) -> Result<Value> {
    curve(call, Some(&aten_sigmoid), |f, x| 1.0 / (1.0 + (f.exp)(-x)))
}

fn tanh(call: &Call<'_>) -> Result<Value> {
    if let Value::Float(_) | Value::Int(_) = call.get(0) {
        return Ok(Value::Float(call.float(0)?.tanh()));
    }
    activate(call, Some(&aten_tanh), f64::tanh)
}

fn hardsigmoid(call: &Call<'_>) -> Result<Value> {
    curve(call, Some(&aten_hardsigmoid), |_, x| {
        (x + 3.0).clamp(0.0, 6.0) / 6.0
    })
}

fn hardswish(call: &Call<'_>) -> Result<Value> {
    curve(call, None, |_, x| x * (x + 3.0).clamp(0.0, 6.0) / 6.0)
}

fn leaky_relu(call: &Call<'_>) -> Result<Value> {
    let slope = call.float_or(1, 0.01)?;
    let near = f64::from(slope as f32);
    let in_place = call.short_name().ends_with('_');
    let codes = |input: &Tensor| aten_leaky_relu(input, slope, in_place);
    activate(call, Some(&codes), |x| if x > 0.0 { x } else { x * near })
}

/// `rrelu(input, lower, upper, training)`: outside of training the slope is the middle of the two.
fn rrelu(call: &Call<'_>) -> Result<Value> {
    if call.bool_or(3, false)? {
        return Err(call.unsupported("in training"));
    }
    let slope = f64::midpoint(call.float_or(1, 0.125)?, call.float_or(2, 1.0 / 3.0)?);
    call.other(
        "aten::leaky_relu",
        &[call.get(0).clone(), Value::Float(slope)],
    )
}

/// `elu(input, alpha, scale, scale of the exponent)`
fn elu(call: &Call<'_>) -> Result<Value> {
    exponential(
        call,
        call.float_or(1, 1.0)?,
        call.float_or(2, 1.0)?,
        call.float_or(3, 1.0)?,
    )
}

fn celu(call: &Call<'_>) -> Result<Value> {
    let alpha = call.float_or(1, 1.0)?;
    exponential(call, alpha, 1.0, 1.0 / alpha)
}

fn selu(call: &Call<'_>) -> Result<Value> {
    // The constants of self-normalizing networks: Klambauer et al., 2017.
    exponential(call, 1.673_263_242_354_377_3, 1.050_700_987_355_480_5, 1.0)
}

fn exponential(call: &Call<'_>, alpha: f64, scale: f64, inner: f64) -> Result<Value> {
    let (alpha, scale, inner) = (alpha as f32, scale as f32, inner as f32);
    curve(call, None, |f, x| {
        if x <= 0.0 {
            (f.exp_m1)(x * inner) * (alpha * scale)
        } else {
            x * scale
        }
    })
}

/// `gelu(input, approximate)`
fn gelu(call: &Call<'_>) -> Result<Value> {
    let kind = match call.get(1) {
        Value::None => "none",
        _ => call.str(1)?,
    };
    match kind {
        "none" => {
            let input = call.tensor(0)?;
            if input.numel() > 1 && input.is_dense(MemoryFormat::Contiguous) {
                return curve(call, None, |_, x| float::gelu(x));
            }
            curve(call, None, |f, x| {
                x * 0.5 * (1.0 + (f.erf)(x * std::f32::consts::FRAC_1_SQRT_2))
            })
        }
        "tanh" => curve(call, None, |f, x| {
            // √(2/π)
            let inner = 0.797_884_6 * 0.044_715_f32.mul_add(x * x * x, x);
            0.5 * x * (1.0 + (f.tanh)(inner))
        }),
        _ => Err(call.wrong(1, "none or tanh")),
    }
}

fn silu(call: &Call<'_>) -> Result<Value> {
    curve(call, None, |f, x| x / (1.0 + (f.exp)(-x)))
}

fn mish(call: &Call<'_>) -> Result<Value> {
    curve(call, None, |f, x| x * (f.tanh)((f.log1p)((f.exp)(x))))
}

fn softplus(call: &Call<'_>) -> Result<Value> {
    let (beta, most) = (call.float_or(1, 1.0)?, call.float_or(2, 20.0)?);
    let (beta, most) = (beta as f32, most as f32);
    curve(call, None, |f, x| {
        if x * beta > most {
            x
        } else {
            (f.log1p)((f.exp)(x * beta)) / beta
        }
    })
}

fn log_sigmoid(call: &Call<'_>) -> Result<Value> {
    curve(call, None, |f, x| x.min(0.0) - (f.log1p)((f.exp)(-x.abs())))
}

fn hardshrink(call: &Call<'_>) -> Result<Value> {
    let bound = f64::from(call.float_or(1, 0.5)? as f32);
    activate(call, None, |x| if x.abs() <= bound { 0.0 } else { x })
}

fn softshrink(call: &Call<'_>) -> Result<Value> {
    // One at a time PyTorch keeps the sign of what it shrinks to nothing. Its compiler made vectors of 16 of some of what it takes so.
    let bound = call.float_or(1, 0.5)? as f32;
    curve_in(BLOCK / 2, call, None, |f, x| {
        if x > bound {
            x - bound
        } else if x < -bound {
            x + bound
        } else if x.is_nan() {
            x
        } else {
            (f.zero)(x)
        }
    })
}

fn threshold(call: &Call<'_>) -> Result<Value> {
    let (bound, value) = (call.float(1)?, call.float(2)?);
    activate(call, None, |x| if x <= bound { value } else { x })
}

/// `prelu(input, weight)`: one slope, or one for each channel.
fn prelu(call: &Call<'_>) -> Result<Value> {
    let (input, weight) = (call.tensor(0)?, call.tensor(1)?);
    let mut shape = vec![1; input.rank()];
    if weight.numel() != 1 {
        match shape.get_mut(1) {
            Some(channels) => *channels = weight.numel() as i64,
            None => return Err(call.wrong(1, "one slope")),
        }
    }
    let slopes = weight.reshape(&shape)?;
    let pair = Elementwise::new(vec![input.into(), (&slopes).into()])?;
    Ok(pair
        .binary(
            None,
            |a, _| a,
            |x, slope| if x > 0.0 { x } else { x * slope },
        )?
        .into())
}

/// `glu(input, dim)`: one half times the sigmoid of the other.
fn glu(call: &Call<'_>) -> Result<Value> {
    let input = call.tensor(0)?;
    let dim = input.dim_index(call.int_or(1, -1)?)?;
    let size = input.shape().get(dim).copied().unwrap_or(1);
    if size % 2 != 0 {
        return Err(call.wrong(0, "a dimension of even size"));
    }
    let (a, b) = (
        input.slice(dim, 0, size / 2, 1)?,
        input.slice(dim, size / 2, size / 2, 1)?,
    );
    let pair = Elementwise::new(vec![(&a).into(), (&b).into()])?;
    let out = pair.result(pair.dtype)?;
    let strides = [a.strides(), b.strides()];
    let vector = in_vectors(BLOCK, &pair.shape, out.strides(), &strides);
    let values = a.to_f32()?.into_iter().zip(b.to_f32()?).zip(vector);
    let values: Vec<f32> = values
        .map(|((a, b), vector)| {
            let functions = if vector { &VECTOR } else { &SINGLE };
            a * (1.0 / (1.0 + (functions.exp)(-b)))
        })
        .collect();
    out.write_f32(&values)?;
    Ok(out.into())
}

/// Outside of training nothing is dropped.
fn dropout(call: &Call<'_>) -> Result<Value> {
    if call.bool(2)? && call.float(1)? != 0.0 {
        return Err(call.unsupported("in training"));
    }
    Ok(call.tensor(0)?.clone().into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Contract, apply};
    use planish_ir::Op;

    fn run(op: &str, inputs: &[Value]) -> Tensor {
        let out = apply(Op::of(op), inputs, Contract::Fbgemm)
            .unwrap()
            .remove(0);
        out.as_tensor().unwrap().clone()
    }

    fn codes(values: &[u8], scale: f64, zero_point: i64) -> Tensor {
        let codes: Vec<i32> = values.iter().map(|q| i32::from(*q)).collect();
        let shape = [codes.len() as i64];
        super::super::quant::from_codes(DType::QUInt8, &shape, &[1], &codes, scale, zero_point)
            .unwrap()
    }

    #[test]
    fn codes_are_clamped_where_their_bounds_round_to() {
        let x = codes(&[0, 10, 11, 23, 24, 255], 0.25, 10);
        let out = run(
            "aten::hardtanh",
            &[x.clone().into(), Value::Float(0.1), Value::Int(3)],
        );
        assert_eq!(out.codes().unwrap(), [10, 10, 11, 22, 22, 22]);
        let relu = run("aten::relu_", &[x.clone().into()]);
        assert!(relu.is_same(&x));
        assert_eq!(x.codes().unwrap(), [10, 10, 11, 23, 24, 255]);
    }

    #[test]
    fn fixed_parameters_cover_the_range() {
        let x = codes(&[0, 128, 255], 0.1, 128);
        let out = run("aten::sigmoid", &[x.into()]);
        assert_eq!(out.codes().unwrap(), [0, 128, 255]);
        assert!(matches!(
            out.qparams(),
            Some(planish_ir::QParams::PerTensor { scale, zero_point: 0 }) if scale == 1.0 / 256.0
        ));
    }

    #[test]
    fn floats_take_known_values() {
        let x = Tensor::from_values(&[3], &[-1f32, 0.0, 2.0]).unwrap();
        let out = run("aten::leaky_relu", &[x.clone().into(), Value::Float(0.5)]);
        assert_eq!(out.to_f32().unwrap(), [-0.5, 0., 2.]);
        let out = run("aten::gelu", &[x.into(), Value::str("none")])
            .to_f32()
            .unwrap();
        assert!((out[0] + 0.158_655_26).abs() < 1e-7 && (out[2] - 1.954_499_8).abs() < 1e-6);
    }
}
