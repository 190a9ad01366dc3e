//! Functions of one Python number or of each element of a tensor.

use planish_ir::DType;

use super::elementwise::{like, map_float};
use super::{Kernel, Table};
use crate::call::{Call, Scalar};
use crate::{Error, Result, Value};
use Kernel::One;

pub(super) const OPS: Table = &[
    ("aten::neg", One(neg)),
    ("aten::abs", One(abs)),
    ("prim::abs", One(abs)),
    ("aten::fabs", One(abs)),
    ("aten::ceil", One(ceil)),
    ("aten::floor", One(floor)),
    ("aten::round", One(round)),
    ("aten::trunc", One(trunc)),
    ("aten::sign", One(sign)),
    ("aten::sqrt", One(sqrt)),
    ("aten::rsqrt", One(rsqrt)),
    ("aten::square", One(square)),
    ("aten::reciprocal", One(reciprocal)),
    ("aten::exp", One(exp)),
    ("aten::expm1", One(expm1)),
    ("aten::log", One(log)),
    ("aten::log2", One(log2)),
    ("aten::log10", One(log10)),
    ("aten::log1p", One(log1p)),
    ("aten::sin", One(sin)),
    ("aten::cos", One(cos)),
    ("aten::tan", One(tan)),
    ("aten::asin", One(asin)),
    ("aten::acos", One(acos)),
    ("aten::atan", One(atan)),
    ("aten::sinh", One(sinh)),
    ("aten::cosh", One(cosh)),
    ("aten::asinh", One(asinh)),
    ("aten::acosh", One(acosh)),
    ("aten::atanh", One(atanh)),
    ("aten::erf", One(erf)),
    ("aten::erfc", One(erfc)),
    ("aten::lgamma", One(lgamma)),
    ("aten::digamma", One(digamma)),
    ("aten::exp2", One(exp2)),
    ("aten::frac", One(frac)),
    ("aten::deg2rad", One(deg2rad)),
    ("aten::rad2deg", One(rad2deg)),
    ("aten::nan_to_num", One(nan_to_num)),
    ("aten::logit", One(logit)),
    ("aten::degrees", One(degrees)),
    ("aten::radians", One(radians)),
    ("aten::isnan", One(is_nan)),
    ("aten::isinf", One(is_inf)),
    ("aten::isfinite", One(is_finite)),
    ("aten::isposinf", One(is_infinity)),
    ("aten::isneginf", One(is_negative_infinity)),
    ("aten::signbit", One(is_negative)),
];

fn neg(call: &Call<'_>) -> Result<Value> {
    same_kind(call, i64::wrapping_neg, |x| -x)
}

fn abs(call: &Call<'_>) -> Result<Value> {
    same_kind(call, i64::wrapping_abs, f64::abs)
}

fn sign(call: &Call<'_>) -> Result<Value> {
    same_kind(
        call,
        i64::signum,
        |x| if x == 0.0 { 0.0 } else { x.signum() },
    )
}

fn square(call: &Call<'_>) -> Result<Value> {
    same_kind(call, |x| x.wrapping_mul(x), |x| x * x)
}

fn trunc(call: &Call<'_>) -> Result<Value> {
    same_kind(call, |x| x, f64::trunc)
}

/// The ceiling of a Python float is an int.
fn ceil(call: &Call<'_>) -> Result<Value> {
    to_int(call, f64::ceil)
}

fn floor(call: &Call<'_>) -> Result<Value> {
    to_int(call, f64::floor)
}

fn to_int(call: &Call<'_>, f: impl Fn(f64) -> f64) -> Result<Value> {
    match call.get(0) {
        Value::Tensor(_) => same_kind(call, |x| x, f),
        _ => match call.scalar(0)? {
            Scalar::Float(x) => Ok(Value::Int(f(x) as i64)),
            whole => Ok(whole.into()),
        },
    }
}

/// Rounds ties to even; `decimals` may be given for a tensor.
fn round(call: &Call<'_>) -> Result<Value> {
    if let Value::Tensor(_) = call.get(0) {
        let scale = 10f64.powi(call.int_or(1, 0)? as i32);
        return same_kind(call, |x| x, |x| (x * scale).round_ties_even() / scale);
    }
    // A number that is halfway goes away from zero, as C's `round` does.
    let x = call.float(0)?;
    Ok(Value::Float(x.round()))
}

fn sqrt(call: &Call<'_>) -> Result<Value> {
    real(call, f64::sqrt)
}

fn rsqrt(call: &Call<'_>) -> Result<Value> {
    real(call, |x| 1.0 / x.sqrt())
}

fn reciprocal(call: &Call<'_>) -> Result<Value> {
    real(call, |x| 1.0 / x)
}

fn exp(call: &Call<'_>) -> Result<Value> {
    real(call, f64::exp)
}

fn expm1(call: &Call<'_>) -> Result<Value> {
    real(call, f64::exp_m1)
}

/// The natural logarithm, or that to the base given second.
fn log(call: &Call<'_>) -> Result<Value> {
    match call.get(1) {
        Value::None => real(call, f64::ln),
        _ => Ok(Value::Float(call.float(0)?.ln() / call.float(1)?.ln())),
    }
}

fn log2(call: &Call<'_>) -> Result<Value> {
    real(call, f64::log2)
}

fn log10(call: &Call<'_>) -> Result<Value> {
    real(call, f64::log10)
}

fn log1p(call: &Call<'_>) -> Result<Value> {
    real(call, f64::ln_1p)
}

fn sin(call: &Call<'_>) -> Result<Value> {
    real(call, f64::sin)
}

fn cos(call: &Call<'_>) -> Result<Value> {
    real(call, f64::cos)
}

fn tan(call: &Call<'_>) -> Result<Value> {
    real(call, f64::tan)
}

fn asin(call: &Call<'_>) -> Result<Value> {
    real(call, f64::asin)
}

fn acos(call: &Call<'_>) -> Result<Value> {
    real(call, f64::acos)
}

fn atan(call: &Call<'_>) -> Result<Value> {
    real(call, f64::atan)
}

fn sinh(call: &Call<'_>) -> Result<Value> {
    real(call, f64::sinh)
}

fn cosh(call: &Call<'_>) -> Result<Value> {
    real(call, f64::cosh)
}

fn asinh(call: &Call<'_>) -> Result<Value> {
    real(call, f64::asinh)
}

fn acosh(call: &Call<'_>) -> Result<Value> {
    real(call, f64::acosh)
}

fn atanh(call: &Call<'_>) -> Result<Value> {
    real(call, f64::atanh)
}

fn erf(call: &Call<'_>) -> Result<Value> {
    real(call, super::special::erf)
}

fn erfc(call: &Call<'_>) -> Result<Value> {
    real(call, super::special::erfc)
}

fn lgamma(call: &Call<'_>) -> Result<Value> {
    real(call, super::special::log_gamma)
}

fn digamma(call: &Call<'_>) -> Result<Value> {
    real(call, super::special::digamma)
}

fn exp2(call: &Call<'_>) -> Result<Value> {
    real(call, f64::exp2)
}

fn frac(call: &Call<'_>) -> Result<Value> {
    same_kind(call, |_| 0, |x| x - x.trunc())
}

/// A product with a number of the tensor's precision.
fn deg2rad(call: &Call<'_>) -> Result<Value> {
    real(call, |x| {
        x * f64::from((std::f64::consts::PI / 180.0) as f32)
    })
}

fn rad2deg(call: &Call<'_>) -> Result<Value> {
    real(call, |x| {
        x * f64::from((180.0 / std::f64::consts::PI) as f32)
    })
}

/// `nan_to_num(tensor, nan, posinf, neginf)`: what the type holds at most stands for infinity without a number for it.
fn nan_to_num(call: &Call<'_>) -> Result<Value> {
    let most = match call.tensor(0)?.dtype() {
        DType::Double => f64::MAX,
        DType::Half => 65_504.0,
        DType::BFloat16 => 3.389_531_389_251_535_5e38,
        _ => f64::from(f32::MAX),
    };
    let (nan, above, below) = (
        call.float_or(1, 0.0)?,
        call.float_or(2, most)?,
        call.float_or(3, -most)?,
    );
    let number = |x: f64| match x {
        _ if x.is_nan() => nan,
        f64::INFINITY => above,
        f64::NEG_INFINITY => below,
        _ => x,
    };
    same_kind(call, |x| x, number)
}

/// `logit(tensor, eps)`: the logarithm of the odds, of what lies between `eps` and `1 - eps`.
fn logit(call: &Call<'_>) -> Result<Value> {
    let eps = call.float_opt(1)?;
    real(call, |x| {
        let x = eps.map_or(x, |eps| x.max(eps).min(1.0 - eps));
        (x / (1.0 - x)).ln()
    })
}

fn degrees(call: &Call<'_>) -> Result<Value> {
    real(call, f64::to_degrees)
}

fn radians(call: &Call<'_>) -> Result<Value> {
    real(call, f64::to_radians)
}

fn is_nan(call: &Call<'_>) -> Result<Value> {
    test(call, f64::is_nan)
}

fn is_inf(call: &Call<'_>) -> Result<Value> {
    test(call, f64::is_infinite)
}

fn is_finite(call: &Call<'_>) -> Result<Value> {
    test(call, f64::is_finite)
}

fn is_infinity(call: &Call<'_>) -> Result<Value> {
    test(call, |x| x == f64::INFINITY)
}

fn is_negative_infinity(call: &Call<'_>) -> Result<Value> {
    test(call, |x| x == f64::NEG_INFINITY)
}

fn is_negative(call: &Call<'_>) -> Result<Value> {
    test(call, f64::is_sign_negative)
}

/// A function that gives ints for ints and floats for floats.
fn same_kind(
    call: &Call<'_>,
    int: impl Fn(i64) -> i64,
    float: impl Fn(f64) -> f64,
) -> Result<Value> {
    match call.get(0) {
        Value::Tensor(tensor) if tensor.dtype().is_floating_point() => {
            Ok(map_float(tensor, float)?.into())
        }
        Value::Tensor(tensor) => {
            let out = like(tensor, tensor.dtype())?;
            out.write_i64(&tensor.to_i64()?.into_iter().map(int).collect::<Vec<_>>())?;
            Ok(out.into())
        }
        Value::Float(x) => Ok(Value::Float(float(*x))),
        _ => Ok(Value::Int(int(call.int(0)?))),
    }
}

/// A function that gives floats.
fn real(call: &Call<'_>, f: impl Fn(f64) -> f64) -> Result<Value> {
    if let Value::Tensor(tensor) = call.get(0) {
        return Ok(map_float(tensor, f)?.into());
    }
    let (x, name) = (call.float(0)?, call.short_name());
    let y = f(x);
    if y.is_nan() && !x.is_nan() {
        return Err(Error::Invalid(format!("{name} has no value at {x}")));
    }
    Ok(Value::Float(y))
}

fn test(call: &Call<'_>, f: impl Fn(f64) -> bool) -> Result<Value> {
    match call.get(0) {
        Value::Tensor(tensor) => {
            let out = like(tensor, DType::Bool)?;
            let truth: Vec<u8> = tensor.to_f64()?.iter().map(|x| u8::from(f(*x))).collect();
            out.write_elements(&truth)?;
            Ok(out.into())
        }
        _ => Ok(f(call.float(0)?).into()),
    }
}
