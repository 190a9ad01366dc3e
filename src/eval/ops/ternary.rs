//! Functions of three tensors, element by element. PyTorch's vector units round a product and the sum it is part of once.

use planish_ir::DType;

use super::elementwise::broadcast;
use super::{Kernel, Table};
use crate::call::Call;
use crate::{Result, Tensor, Value};
use Kernel::One;

pub(super) const OPS: Table = &[
    ("aten::addcmul", One(addcmul)),
    ("aten::addcdiv", One(addcdiv)),
    ("aten::lerp", One(lerp)),
];

/// Combines the elements of three float tensors.
fn combined(call: &Call<'_>, operands: [&Tensor; 3], f: impl Fn([f32; 3]) -> f32) -> Result<Value> {
    if operands
        .iter()
        .any(|operand| operand.dtype() != DType::Float)
    {
        return Err(call.wrong(0, "tensors of type Float"));
    }
    let (shape, strides, expanded) = broadcast(&operands)?;
    let values: Vec<Vec<f32>> = expanded.iter().map(Tensor::to_f32).collect::<Result<_>>()?;
    let [a, b, c] = &values[..] else {
        return Err(call.wrong(0, "three tensors"));
    };
    let triples = a.iter().zip(b).zip(c);
    let values: Vec<f32> = triples.map(|((a, b), c)| f([*a, *b, *c])).collect();
    Ok(Tensor::from_slice(DType::Float, &shape, &strides, &values)?.into())
}

fn operands<'a>(call: &Call<'a>) -> Result<[&'a Tensor; 3]> {
    Ok([call.tensor(0)?, call.tensor(1)?, call.tensor(2)?])
}

/// `addcmul(self, a, b, value)`
fn addcmul(call: &Call<'_>) -> Result<Value> {
    let value = call.float_or(3, 1.0)? as f32;
    combined(call, operands(call)?, |[x, a, b]| (value * a).mul_add(b, x))
}

/// `addcdiv(self, a, b, value)`
fn addcdiv(call: &Call<'_>) -> Result<Value> {
    let value = call.float_or(3, 1.0)? as f32;
    combined(call, operands(call)?, |[x, a, b]| x + value * a / b)
}

/// `lerp(self, end, weight)`: measured from the nearer end.
fn lerp(call: &Call<'_>) -> Result<Value> {
    let number = match call.get(2) {
        Value::Tensor(weight) => weight.clone(),
        _ => Tensor::scalar(call.float(2)? as f32)?,
    };
    let operands = [call.tensor(0)?, call.tensor(1)?, &number];
    combined(call, operands, |[start, end, weight]| {
        if weight.abs() < 0.5 {
            weight.mul_add(end - start, start)
        } else {
            (weight - 1.0).mul_add(end - start, end)
        }
    })
}
