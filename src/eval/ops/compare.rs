//! Comparison, logic and identity.

use std::cmp::Ordering;

use planish_ir::DType;

use super::arith::{in_place, operand, operands};
use super::elementwise::Elementwise;
use super::{Kernel, Table};
use crate::call::Call;
use crate::{Error, Result, Value};
use Kernel::One;

pub(super) const OPS: Table = &[
    ("aten::eq", One(eq)),
    ("aten::ne", One(ne)),
    ("aten::lt", One(lt)),
    ("aten::le", One(le)),
    ("aten::gt", One(gt)),
    ("aten::ge", One(ge)),
    ("aten::__is__", One(is)),
    ("aten::__isnot__", One(is_not)),
    ("aten::__not__", One(not)),
    ("aten::logical_not", One(not)),
    ("aten::bitwise_not", One(bitwise_not)),
    ("aten::__and__", One(and)),
    ("aten::__or__", One(or)),
    ("aten::__xor__", One(xor)),
    ("aten::bitwise_and", One(and)),
    ("aten::bitwise_or", One(or)),
    ("aten::logical_and", One(logical_and)),
    ("aten::logical_or", One(logical_or)),
    ("aten::logical_xor", One(logical_xor)),
    ("aten::__lshift__", One(shift_left)),
    ("aten::__rshift__", One(shift_right)),
    ("aten::where", One(select)),
    ("aten::masked_fill", One(masked_fill)),
    ("aten::masked_fill_", One(masked_fill)),
];

fn eq(call: &Call<'_>) -> Result<Value> {
    compare(call, |order| order == Some(Ordering::Equal), true)
}

fn ne(call: &Call<'_>) -> Result<Value> {
    compare(call, |order| order != Some(Ordering::Equal), false)
}

fn lt(call: &Call<'_>) -> Result<Value> {
    compare(call, |order| order == Some(Ordering::Less), false)
}

fn le(call: &Call<'_>) -> Result<Value> {
    compare(call, |order| order.is_some_and(Ordering::is_le), true)
}

fn gt(call: &Call<'_>) -> Result<Value> {
    compare(call, |order| order == Some(Ordering::Greater), false)
}

fn ge(call: &Call<'_>) -> Result<Value> {
    compare(call, |order| order.is_some_and(Ordering::is_ge), true)
}

/// Compares tensors element by element, numbers and strings by their order, and all else for being equal.
fn compare(
    call: &Call<'_>,
    test: impl Fn(Option<Ordering>) -> bool,
    when_equal: bool,
) -> Result<Value> {
    match (call.get(0), call.get(1)) {
        (Value::Tensor(_), _) | (_, Value::Tensor(_)) => {
            let truth = operands(call)?
                .compare(|a, b| test(Some(a.cmp(&b))), |a, b| test(a.partial_cmp(&b)))?;
            Ok(truth.into())
        }
        (Value::Int(a), Value::Int(b)) => Ok(test(Some(a.cmp(b))).into()),
        (Value::Str(a), Value::Str(b)) => Ok(test(Some(a.cmp(b))).into()),
        (
            Value::Bool(_) | Value::Int(_) | Value::Float(_),
            Value::Bool(_) | Value::Int(_) | Value::Float(_),
        ) => Ok(test(call.float(0)?.partial_cmp(&call.float(1)?)).into()),
        // Lists of tensors compare the tensors' values.
        (a, b) if matches!(call.short_name(), "eq" | "ne") => {
            Ok((a.equals(b) == when_equal).into())
        }
        _ => Err(call.wrong(0, "numbers, strings or tensors to put in order")),
    }
}

fn is(call: &Call<'_>) -> Result<Value> {
    Ok(same(call.get(0), call.get(1)).into())
}

fn is_not(call: &Call<'_>) -> Result<Value> {
    Ok((!same(call.get(0), call.get(1))).into())
}

/// References are the same when they refer to one thing; small values when they are equal.
fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::List(a), Value::List(b)) => a.is_same(b),
        (Value::Tuple(a), Value::Tuple(b)) => a.is_same(b),
        _ => std::mem::discriminant(a) == std::mem::discriminant(b) && a.equals(b),
    }
}

fn not(call: &Call<'_>) -> Result<Value> {
    match call.get(0) {
        Value::Tensor(tensor) => {
            let out = super::elementwise::like(tensor, DType::Bool)?;
            let truth: Vec<u8> = tensor
                .to_f64()?
                .iter()
                .map(|x| u8::from(*x == 0.0))
                .collect();
            out.write_elements(&truth)?;
            Ok(out.into())
        }
        _ => Ok((!call.bool(0)?).into()),
    }
}

fn bitwise_not(call: &Call<'_>) -> Result<Value> {
    let tensor = call.tensor(0)?;
    if tensor.dtype() == DType::Bool {
        return not(call);
    }
    let out = super::elementwise::like(tensor, tensor.dtype())?;
    let values: Vec<i64> = tensor.to_i64()?.iter().map(|x| !x).collect();
    out.write_i64(&values)?;
    Ok(out.into())
}

fn and(call: &Call<'_>) -> Result<Value> {
    bits(call, |a, b| a & b)
}

fn or(call: &Call<'_>) -> Result<Value> {
    bits(call, |a, b| a | b)
}

fn xor(call: &Call<'_>) -> Result<Value> {
    bits(call, |a, b| a ^ b)
}

fn shift_left(call: &Call<'_>) -> Result<Value> {
    bits(call, |a, b| if (0..64).contains(&b) { a << b } else { 0 })
}

fn shift_right(call: &Call<'_>) -> Result<Value> {
    bits(call, |a, b| a >> b.clamp(0, 63))
}

fn bits(call: &Call<'_>, f: impl Fn(i64, i64) -> i64) -> Result<Value> {
    match (call.get(0), call.get(1)) {
        (Value::Bool(a), Value::Bool(b)) => Ok((f(i64::from(*a), i64::from(*b)) != 0).into()),
        (Value::Tensor(_), _) | (_, Value::Tensor(_)) => {
            let all = operands(call)?;
            if !all.is_integral() {
                return Err(call.wrong(0, "integers or bools"));
            }
            Ok(all.binary(in_place(call)?, f, |a, _| a)?.into())
        }
        _ => Ok(Value::Int(f(call.int(0)?, call.int(1)?))),
    }
}

fn logical_and(call: &Call<'_>) -> Result<Value> {
    truth(call, |a, b| a && b)
}

fn logical_or(call: &Call<'_>) -> Result<Value> {
    truth(call, |a, b| a || b)
}

fn logical_xor(call: &Call<'_>) -> Result<Value> {
    truth(call, |a, b| a != b)
}

fn truth(call: &Call<'_>, f: impl Fn(bool, bool) -> bool) -> Result<Value> {
    let all = operands(call)?;
    Ok(all
        .compare(|a, b| f(a != 0, b != 0), |a, b| f(a != 0.0, b != 0.0))?
        .into())
}

/// `where(condition, self, other)`
fn select(call: &Call<'_>) -> Result<Value> {
    if call.args.len() < 3 {
        return Err(call.unsupported("with a condition alone"));
    }
    choose(call, 1, 2)
}

/// `masked_fill(self, mask, value)`
fn masked_fill(call: &Call<'_>) -> Result<Value> {
    let (tensor, mask) = (call.tensor(0)?, call.tensor(1)?);
    let value = operand(call, 2)?;
    let all = Elementwise::new(vec![mask.into(), value, tensor.into()])?;
    let target = in_place(call)?;
    let out = match target {
        Some(target) => all.target(Some(target), tensor.dtype())?,
        None => all.result(tensor.dtype())?,
    };
    pick(&all, &out)?;
    Ok(out.into())
}

fn choose(call: &Call<'_>, yes: usize, no: usize) -> Result<Value> {
    let condition = call.tensor(0)?;
    let common = Elementwise::new(vec![operand(call, yes)?, operand(call, no)?])?.dtype;
    let all = Elementwise::new(vec![
        condition.into(),
        operand(call, yes)?,
        operand(call, no)?,
    ])?;
    let out = all.result(common)?;
    pick(&all, &out)?;
    Ok(out.into())
}

/// Writes operand 1 where operand 0 is true, else operand 2.
fn pick(all: &Elementwise, out: &crate::Tensor) -> Result<()> {
    let mask = all.ints(0)?;
    if out.dtype().is_floating_point() {
        let (yes, no) = (all.floats(1)?, all.floats(2)?);
        let values = mask.iter().zip(yes.iter().zip(&no));
        let values: Vec<f64> = values
            .map(|(m, (y, n))| if *m != 0 { *y } else { *n })
            .collect();
        out.write_f64(&values)
    } else if out.dtype().is_quantized() {
        Err(Error::Unsupported(
            "choosing among quantized elements".to_owned(),
        ))
    } else {
        let (yes, no) = (all.ints(1)?, all.ints(2)?);
        let values = mask.iter().zip(yes.iter().zip(&no));
        let values: Vec<i64> = values
            .map(|(m, (y, n))| if *m != 0 { *y } else { *n })
            .collect();
        out.write_i64(&values)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Contract, Tensor, apply};
    use planish_ir::Op;

    #[test]
    fn nan_is_unequal_to_itself_and_none_is_none() {
        let run = |op: &str, a: Value, b: Value| {
            apply(Op::of(op), &[a, b], Contract::Fbgemm)
                .unwrap()
                .remove(0)
        };
        let nan = Value::Float(f64::NAN);
        assert!(run("aten::eq", nan.clone(), nan.clone()).equals(&false.into()));
        assert!(run("aten::ne", nan.clone(), nan).equals(&true.into()));
        assert!(run("aten::__is__", Value::None, Value::None).equals(&true.into()));
        assert!(run("aten::eq", Value::ints(&[1]), Value::ints(&[1])).equals(&true.into()));
        assert!(run("aten::ne", Value::ints(&[1]), Value::ints(&[2])).equals(&true.into()));
    }

    #[test]
    fn masks_broadcast() {
        let x = Tensor::from_values(&[2, 2], &[1f32, 2., 3., 4.]).unwrap();
        let mask = Tensor::from_values(&[2], &[1u8, 0]).unwrap();
        let mask = mask.cast_bits(DType::Bool, None).unwrap();
        let inputs = [x.into(), mask.into(), Value::Float(0.0)];
        let out = apply(Op::of("aten::masked_fill"), &inputs, Contract::Fbgemm).unwrap();
        assert_eq!(
            out[0].as_tensor().unwrap().to_f32().unwrap(),
            [0., 2., 0., 4.]
        );
    }
}
