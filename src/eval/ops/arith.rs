//! Arithmetic of numbers, tensors, lists and strings.

use planish_ir::DType;

use super::elementwise::Elementwise;
use super::{Kernel, Table};
use crate::call::{Call, Scalar};
use crate::limits::room;
use crate::promote::Operand;
use crate::value::List;
use crate::{Error, Result, Tensor, Value};
use Kernel::{Many, One};

pub(super) const OPS: Table = &[
    ("aten::add", One(add)),
    ("aten::add_", One(add)),
    ("aten::sub", One(sub)),
    ("aten::sub_", One(sub)),
    ("aten::rsub", One(rsub)),
    ("aten::mul", One(mul)),
    ("aten::mul_", One(mul)),
    ("aten::div", One(div)),
    ("aten::div_", One(div)),
    ("aten::true_divide", One(div)),
    ("aten::floor_divide", One(floordiv)),
    ("aten::floordiv", One(floordiv)),
    ("aten::__round_to_zero_floordiv", One(truncdiv)),
    ("aten::remainder", One(remainder)),
    ("aten::mathremainder", One(remainder)),
    ("aten::fmod", One(fmod)),
    ("aten::divmod", Many(divmod)),
    ("aten::pow", One(pow)),
    ("aten::maximum", One(maximum)),
    ("aten::minimum", One(minimum)),
    ("aten::max.other", One(maximum)),
    ("aten::min.other", One(minimum)),
    ("prim::max", One(python_max)),
    ("prim::min", One(python_min)),
    ("aten::gcd", One(gcd)),
    ("aten::atan2", One(atan2)),
    ("aten::copysign", One(copysign)),
    ("aten::hypot", One(hypot)),
    ("aten::heaviside", One(heaviside)),
    ("aten::xlogy", One(xlogy)),
    ("aten::logaddexp", One(logaddexp)),
    ("aten::fmax", One(fmax)),
    ("aten::fmin", One(fmin)),
    ("aten::__derive_index", One(derive_index)),
    ("aten::__range_length", One(range_length)),
];

fn add(call: &Call<'_>) -> Result<Value> {
    match (call.get(0), call.get(1)) {
        (Value::Str(a), Value::Str(b)) => Ok(Value::str(&format!("{a}{b}"))),
        (Value::List(a), Value::List(b)) => {
            let more = b.to_vec();
            if call.short_name() == "add_" {
                a.lock().extend(more);
                return Ok(Value::List(a.clone()));
            }
            let mut items = a.to_vec();
            items.extend(more);
            Ok(Value::List(List::new(a.element().clone(), items)))
        }
        _ => scaled(call, i64::wrapping_add, |a, b| a + b),
    }
}

fn sub(call: &Call<'_>) -> Result<Value> {
    scaled(call, i64::wrapping_sub, |a, b| a - b)
}

fn rsub(call: &Call<'_>) -> Result<Value> {
    scaled_by(call, |a, b| b.wrapping_sub(a), |a, b| b - a, Scaled::First)
}

/// Addition and subtraction of tensors scale the second operand by `alpha`, the third argument.
fn scaled(
    call: &Call<'_>,
    int: impl Fn(i64, i64) -> i64,
    float: impl Fn(f64, f64) -> f64,
) -> Result<Value> {
    scaled_by(call, int, float, Scaled::Second)
}

#[derive(Clone, Copy)]
enum Scaled {
    First,
    Second,
}

fn scaled_by(
    call: &Call<'_>,
    int: impl Fn(i64, i64) -> i64,
    float: impl Fn(f64, f64) -> f64,
    which: Scaled,
) -> Result<Value> {
    let alpha = call.scalar_opt(2)?.unwrap_or(Scalar::Int(1));
    let (whole, real) = (alpha.to_i64(), alpha.to_f64());
    let scale = |a: i64, b: i64| match which {
        Scaled::First => (a.wrapping_mul(whole), b),
        Scaled::Second => (a, b.wrapping_mul(whole)),
    };
    let scale_real = |a: f64, b: f64| match which {
        Scaled::First => (a * real, b),
        Scaled::Second => (a, b * real),
    };
    binary(
        call,
        |a, b| {
            let (a, b) = scale(a, b);
            Ok(int(a, b))
        },
        |a, b| {
            let (a, b) = scale_real(a, b);
            float(a, b)
        },
    )
}

fn mul(call: &Call<'_>) -> Result<Value> {
    match (call.get(0), call.get(1)) {
        (Value::List(list), Value::Int(count)) | (Value::Int(count), Value::List(list)) => {
            let items = list.to_vec();
            let count = usize::try_from(*count).unwrap_or(0);
            room(count.saturating_mul(items.len()), size_of::<Value>())?;
            let count = if items.is_empty() { 0 } else { count };
            let repeated: Vec<Value> = (0..count).flat_map(|_| items.iter().cloned()).collect();
            if call.short_name() == "mul_" {
                *list.lock() = repeated;
                return Ok(Value::List(list.clone()));
            }
            Ok(Value::List(List::new(list.element().clone(), repeated)))
        }
        _ => binary(call, |a, b| Ok(a.wrapping_mul(b)), |a, b| a * b),
    }
}

/// True division; tensors may ask for another rounding with their third argument.
fn div(call: &Call<'_>) -> Result<Value> {
    match (call.get(0), call.get(1), call.get(2)) {
        (_, _, Value::Str(mode)) => match &**mode {
            "floor" => floordiv(call),
            "trunc" => truncdiv(call),
            _ => Err(call.wrong(2, "the rounding mode floor or trunc")),
        },
        (Value::Tensor(_), _, _) | (_, Value::Tensor(_), _) => {
            let mut all = operands(call)?;
            if all.dtype != DType::Double && all.is_integral() {
                all.dtype = DType::Float;
            }
            let out = all.binary(in_place(call)?, |a, _| a, |a, b| a / b)?;
            Ok(out.into())
        }
        _ => {
            let (a, b) = (call.float(0)?, call.float(1)?);
            if b == 0.0 && matches!(call.get(1), Value::Int(_) | Value::Float(_)) {
                return Err(by_zero());
            }
            Ok(Value::Float(a / b))
        }
    }
}

fn floordiv(call: &Call<'_>) -> Result<Value> {
    binary(call, floor_ints, |a, b| floor_floats(a, b).0)
}

fn truncdiv(call: &Call<'_>) -> Result<Value> {
    binary(
        call,
        |a, b| {
            if b == 0 {
                Err(by_zero())
            } else {
                Ok(a.wrapping_div(b))
            }
        },
        |a, b| (a / b).trunc(),
    )
}

fn remainder(call: &Call<'_>) -> Result<Value> {
    binary(
        call,
        |a, b| Ok(a.wrapping_sub(floor_ints(a, b)?.wrapping_mul(b))),
        |a, b| floor_floats(a, b).1,
    )
}

fn fmod(call: &Call<'_>) -> Result<Value> {
    binary(
        call,
        |a, b| {
            if b == 0 {
                Err(by_zero())
            } else {
                Ok(a.wrapping_rem(b))
            }
        },
        |a, b| a % b,
    )
}

fn divmod(call: &Call<'_>) -> Result<Vec<Value>> {
    Ok(vec![floordiv(call)?, remainder(call)?])
}

fn floor_ints(a: i64, b: i64) -> Result<i64> {
    if b == 0 {
        return Err(by_zero());
    }
    let quotient = a.wrapping_div(b);
    let exact = quotient.wrapping_mul(b) == a;
    Ok(if !exact && (a < 0) != (b < 0) {
        quotient - 1
    } else {
        quotient
    })
}

/// Quotient rounded down and remainder with the sign of the divisor, as in Python.
fn floor_floats(a: f64, b: f64) -> (f64, f64) {
    let mut rest = a % b;
    let mut quotient = (a - rest) / b;
    if rest != 0.0 && (b < 0.0) != (rest < 0.0) {
        rest += b;
        quotient -= 1.0;
    }
    if quotient == 0.0 || !quotient.is_finite() {
        return (if b == 0.0 { a / b } else { quotient }, rest);
    }
    let whole = quotient.floor();
    (
        if quotient - whole > 0.5 {
            whole + 1.0
        } else {
            whole
        },
        rest,
    )
}

fn pow(call: &Call<'_>) -> Result<Value> {
    let whole = |a: i64, b: i64| -> Result<i64> {
        let power = u32::try_from(b)
            .map_err(|_| Error::invalid("an integer is raised to a negative power"))?;
        Ok(a.wrapping_pow(power))
    };
    if let (Value::Tensor(_), _) | (_, Value::Tensor(_)) = (call.get(0), call.get(1)) {
        return binary(call, whole, f64::powf);
    }
    if call.op.info().overload == *"int_to_int" {
        return Ok(Value::Int(whole(call.int(0)?, call.int(1)?)?));
    }
    Ok(Value::Float(call.float(0)?.powf(call.float(1)?)))
}

fn maximum(call: &Call<'_>) -> Result<Value> {
    binary(call, |a, b| Ok(a.max(b)), |a, b| nan_or(a, b, f64::max))
}

fn minimum(call: &Call<'_>) -> Result<Value> {
    binary(call, |a, b| Ok(a.min(b)), |a, b| nan_or(a, b, f64::min))
}

/// NaN when either is NaN.
pub(super) fn nan_or(a: f64, b: f64, pick: impl Fn(f64, f64) -> f64) -> f64 {
    if a.is_nan() || b.is_nan() {
        f64::NAN
    } else {
        pick(a, b)
    }
}

fn python_max(call: &Call<'_>) -> Result<Value> {
    extreme(call, |a, b| a > b)
}

fn python_min(call: &Call<'_>) -> Result<Value> {
    extreme(call, |a, b| a < b)
}

/// The first extreme of a list, the better of two numbers, or the better of two lists.
fn extreme(call: &Call<'_>, better: impl Fn(f64, f64) -> bool) -> Result<Value> {
    match (call.get(0), call.get(1)) {
        (Value::List(_), Value::None) => {
            let items = call.items(0)?;
            let mut best: Option<&Value> = None;
            for item in &items {
                let number = |value| Scalar::of(value).map_or(f64::NAN, Scalar::to_f64);
                if best.is_none_or(|best| better(number(item), number(best))) {
                    best = Some(item);
                }
            }
            best.cloned()
                .ok_or_else(|| Error::invalid("the list has no elements"))
        }
        (Value::Int(a), Value::Int(b)) => {
            // Not through floats: they do not hold every int.
            let first = if better(1.0, 0.0) { a >= b } else { a <= b };
            Ok(Value::Int(if first { *a } else { *b }))
        }
        _ => {
            let (a, b) = (call.float(0)?, call.float(1)?);
            Ok(Value::Float(if better(b, a) { b } else { a }))
        }
    }
}

fn gcd(call: &Call<'_>) -> Result<Value> {
    let (mut a, mut b) = (call.int(0)?.unsigned_abs(), call.int(1)?.unsigned_abs());
    while b != 0 {
        (a, b) = (b, a % b);
    }
    Ok(Value::Int(a as i64))
}

fn atan2(call: &Call<'_>) -> Result<Value> {
    real(call, f64::atan2)
}

fn copysign(call: &Call<'_>) -> Result<Value> {
    real(call, f64::copysign)
}

fn hypot(call: &Call<'_>) -> Result<Value> {
    real(call, f64::hypot)
}

/// 0 below zero, 1 above, the second operand at zero.
fn heaviside(call: &Call<'_>) -> Result<Value> {
    let step = |x: f64, at_zero: f64| {
        if x == 0.0 {
            at_zero
        } else {
            f64::from(u8::from(x > 0.0))
        }
    };
    binary(
        call,
        |x, at_zero| Ok(if x == 0 { at_zero } else { i64::from(x > 0) }),
        step,
    )
}

fn xlogy(call: &Call<'_>) -> Result<Value> {
    real(call, |x, y| {
        if x == 0.0 && !y.is_nan() {
            0.0
        } else {
            x * y.ln()
        }
    })
}

fn logaddexp(call: &Call<'_>) -> Result<Value> {
    real(call, |a, b| {
        if a.is_infinite() && a == b {
            return a;
        }
        a.max(b) + (-(a - b).abs()).exp().ln_1p()
    })
}

/// The larger, of numbers if one is not.
fn fmax(call: &Call<'_>) -> Result<Value> {
    binary(call, |a, b| Ok(a.max(b)), f64::max)
}

fn fmin(call: &Call<'_>) -> Result<Value> {
    binary(call, |a, b| Ok(a.min(b)), f64::min)
}

/// A function of two floats, also of ints.
fn real(call: &Call<'_>, f: impl Fn(f64, f64) -> f64) -> Result<Value> {
    match (call.get(0), call.get(1)) {
        (Value::Tensor(_), _) | (_, Value::Tensor(_)) => {
            let mut all = operands(call)?;
            if all.is_integral() {
                all.dtype = DType::Float;
            }
            Ok(all.binary(None, |a, _| a, f)?.into())
        }
        _ => Ok(Value::Float(f(call.float(0)?, call.float(1)?))),
    }
}

/// The value of a `range` with this start and step at a position.
fn derive_index(call: &Call<'_>) -> Result<Value> {
    let (index, start, step) = (call.int(0)?, call.int(1)?, call.int(2)?);
    Ok(Value::Int(start.wrapping_add(index.wrapping_mul(step))))
}

fn range_length(call: &Call<'_>) -> Result<Value> {
    let (low, high, step) = (call.int(0)?, call.int(1)?, call.int(2)?);
    let (low, high, step) = (i128::from(low), i128::from(high), i128::from(step));
    let count = match step {
        0 => return Err(Error::invalid("the step of a range is 0")),
        1.. if low < high => (high - low - 1) / step + 1,
        ..=-1 if low > high => (low - high - 1) / -step + 1,
        _ => 0,
    };
    Ok(Value::Int(count as i64))
}

/// A function of two numbers or two tensors.
fn binary(
    call: &Call<'_>,
    int: impl Fn(i64, i64) -> Result<i64>,
    float: impl Fn(f64, f64) -> f64,
) -> Result<Value> {
    match (call.get(0), call.get(1)) {
        (Value::Tensor(_), _) | (_, Value::Tensor(_)) => {
            let failed = std::cell::RefCell::new(None);
            let whole = |a, b| {
                int(a, b).unwrap_or_else(|error| {
                    *failed.borrow_mut() = Some(error);
                    0
                })
            };
            let out = operands(call)?.binary(in_place(call)?, whole, float)?;
            match failed.into_inner() {
                Some(error) => Err(error),
                None => Ok(out.into()),
            }
        }
        (Value::Int(_) | Value::Bool(_), Value::Int(_) | Value::Bool(_)) => {
            Ok(Value::Int(int(call.int(0)?, call.int(1)?)?))
        }
        _ => Ok(Value::Float(float(call.float(0)?, call.float(1)?))),
    }
}

/// The first two arguments as operands.
pub(super) fn operands(call: &Call<'_>) -> Result<Elementwise> {
    Elementwise::new(vec![operand(call, 0)?, operand(call, 1)?])
}

/// A tensor of numbers, or a number.
pub(super) fn operand(call: &Call<'_>, index: usize) -> Result<Operand> {
    match call.get(index) {
        Value::Tensor(tensor) if tensor.dtype().is_quantized() => {
            Err(call.wrong(index, "a tensor of plain numbers"))
        }
        Value::Tensor(tensor) => Ok(Operand::from(tensor)),
        _ => Ok(call.scalar(index)?.into()),
    }
}

/// The tensor that an in-place operator writes to: its first argument.
pub(super) fn in_place<'a>(call: &Call<'a>) -> Result<Option<&'a Tensor>> {
    let name = call.short_name();
    if name.ends_with('_') && !name.ends_with("__") {
        return call.tensor(0).map(Some);
    }
    Ok(None)
}

fn by_zero() -> Error {
    Error::Raised {
        class: "builtins.ZeroDivisionError".to_owned(),
        message: "division by zero".to_owned(),
        loc: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Contract, apply};
    use planish_ir::Op;

    fn run(op: &str, inputs: &[Value]) -> Value {
        apply(Op::of(op), inputs, Contract::Fbgemm)
            .unwrap()
            .remove(0)
    }

    #[test]
    fn division_rounds_as_in_python() {
        for (a, b, quotient, rest) in [(7, 2, 3, 1), (-7, 2, -4, 1), (7, -2, -4, -1)] {
            let (a, b) = (Value::Int(a), Value::Int(b));
            let inputs = [a, b];
            assert!(run("aten::floordiv", &inputs).equals(&Value::Int(quotient)));
            assert!(run("aten::remainder", &inputs).equals(&Value::Int(rest)));
        }
        assert!(run("aten::div", &[Value::Int(1), Value::Int(2)]).equals(&Value::Float(0.5)));
        assert!(
            apply(
                Op::of("aten::floordiv"),
                &[Value::Int(1), Value::Int(0)],
                Contract::Fbgemm
            )
            .is_err()
        );
    }

    #[test]
    fn in_place_addition_writes_to_its_first_operand() {
        let x = Tensor::from_values(&[3], &[1f32, 2., 3.]).unwrap();
        let inputs = [
            x.clone().into(),
            Tensor::scalar(10f32).unwrap().into(),
            Value::Int(2),
        ];
        let out = run("aten::add_", &inputs);
        assert!(out.as_tensor().unwrap().is_same(&x));
        assert_eq!(x.to_f32().unwrap(), [21., 22., 23.]);
    }

    #[test]
    fn ranges_have_python_lengths() {
        let length = |low, high, step| {
            run(
                "aten::__range_length",
                &[Value::Int(low), Value::Int(high), Value::Int(step)],
            )
            .as_int()
        };
        assert_eq!(
            [length(0, 5, 2), length(5, 0, -2), length(3, 3, 1)],
            [Some(3), Some(3), Some(0)]
        );
    }
}
