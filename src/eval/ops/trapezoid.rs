//! Areas under points, by trapezoids.

use super::{Kernel, Table};
use crate::call::Call;
use crate::{Result, Tensor, Value};
use Kernel::One;

pub(super) const OPS: Table = &[
    ("aten::trapezoid", One(trapezoid)),
    ("aten::trapz", One(trapezoid)),
    ("aten::cumulative_trapezoid", One(trapezoids)),
];

/// `trapezoid(y, dx, dim)` or `trapezoid(y, x, dim)`: the area under the points.
fn trapezoid(call: &Call<'_>) -> Result<Value> {
    let y = call.tensor(0)?;
    let (dim, size) = call.sized_dim(2, y)?;
    let summed = |tensor: Value| {
        call.other(
            "aten::sum.dim_IntList",
            &[
                tensor,
                Value::ints(&[dim as i64]),
                false.into(),
                Value::None,
            ],
        )
    };
    let scaled =
        |tensor: Value, by: f64| call.other("aten::mul.Scalar", &[tensor, Value::Float(by)]);
    if size == 0 {
        return scaled(summed(y.clone().into())?, 0.0);
    }
    if let Value::Tensor(x) = call.get(1) {
        let areas = between(call, y, x, dim)?;
        return scaled(summed(areas)?, 0.5);
    }
    // All points, less half of those at the ends.
    let dx = if call.is_none(1) { 1.0 } else { call.float(1)? };
    let ends = [
        y.select(dim, 0)?.into(),
        y.select(dim, size - 1)?.into(),
        Value::Int(1),
    ];
    let ends = scaled(call.other("aten::add.Tensor", &ends)?, 0.5)?;
    let inner = call.other(
        "aten::sub.Tensor",
        &[summed(y.clone().into())?, ends, Value::Int(1)],
    )?;
    scaled(inner, dx)
}

/// `cumulative_trapezoid(y, dx, dim)` or `cumulative_trapezoid(y, x, dim)`: the areas so far.
fn trapezoids(call: &Call<'_>) -> Result<Value> {
    let y = call.tensor(0)?;
    let (dim, _) = call.sized_dim(2, y)?;
    let (areas, half) = match call.get(1) {
        Value::Tensor(x) => (between(call, y, x, dim)?, 0.5),
        Value::None => (neighbours(call, y, dim)?, 0.5),
        _ => (neighbours(call, y, dim)?, call.float(1)? / 2.0),
    };
    let areas = call.other("aten::mul.Scalar", &[areas, Value::Float(half)])?;
    call.other(
        "aten::cumsum",
        &[areas, Value::Int(dim as i64), Value::None],
    )
}

/// Each element and the next one, added.
fn neighbours(call: &Call<'_>, y: &Tensor, dim: usize) -> Result<Value> {
    let (later, sooner) = steps(y, dim)?;
    call.other(
        "aten::add.Tensor",
        &[later.into(), sooner.into(), Value::Int(1)],
    )
}

/// Twice the areas between points at `x`, which has the points' sizes or is one row of places.
fn between(call: &Call<'_>, y: &Tensor, x: &Tensor, dim: usize) -> Result<Value> {
    let x = if x.rank() == 1 {
        let mut shape = vec![1; y.rank()];
        shape[dim] = x.numel() as i64;
        x.reshape(&shape)?
    } else {
        x.clone()
    };
    if x.shape().get(dim) != y.shape().get(dim) {
        return Err(call.wrong(1, "as many places as there are points"));
    }
    let (later, sooner) = steps(&x, dim)?;
    let widths = call.other(
        "aten::sub.Tensor",
        &[later.into(), sooner.into(), Value::Int(1)],
    )?;
    call.other("aten::mul.Tensor", &[widths, neighbours(call, y, dim)?])
}

/// All elements along a dimension but the first, and all but the last.
pub(super) fn steps(tensor: &Tensor, dim: usize) -> Result<(Tensor, Tensor)> {
    let count = (tensor.shape()[dim] - 1).max(0);
    let later = tensor.slice(dim, i64::from(count > 0), count, 1)?;
    Ok((later, tensor.slice(dim, 0, count, 1)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::trial::{counting, run};

    #[test]
    fn areas_at_even_and_at_given_places() {
        let y = counting(&[2, 3]);
        let even = run(
            "aten::trapezoid",
            &[y.clone().into(), Value::Int(2), Value::Int(1)],
        );
        assert_eq!(even.to_f32().unwrap(), [4.0, 16.0]);
        let x = Tensor::from_values(&[3], &[0f32, 1.0, 4.0]).unwrap();
        let given = run(
            "aten::trapezoid.x",
            &[y.clone().into(), x.into(), Value::Int(-1)],
        );
        assert_eq!(given.to_f32().unwrap(), [5.0, 17.0]);
        let so_far = run(
            "aten::cumulative_trapezoid",
            &[y.into(), Value::None, Value::Int(1)],
        );
        assert_eq!(so_far.to_f32().unwrap(), [0.5, 2.0, 3.5, 8.0]);
    }
}
