//! Padding.

use planish_ir::Dims;

use super::join::copy_picked;
use super::{Kernel, Table};
use crate::call::Call;
use crate::{Result, Tensor, Value};
use Kernel::One;

pub(super) const OPS: Table = &[
    ("aten::pad", One(pad)),
    ("aten::constant_pad_nd", One(constant_pad)),
    ("aten::reflection_pad1d", One(reflection_pad)),
    ("aten::reflection_pad2d", One(reflection_pad)),
    ("aten::replication_pad1d", One(replication_pad)),
    ("aten::replication_pad2d", One(replication_pad)),
];

/// `pad(tensor, amounts, mode, value)`; amounts come in pairs from the last dimension on.
fn pad(call: &Call<'_>) -> Result<Value> {
    let mode = match call.get(2) {
        Value::None => "constant",
        _ => call.str(2)?,
    };
    let how = match mode {
        "constant" => return padded(call, Padding::Constant, 3),
        "reflect" => Padding::Reflect,
        "replicate" => Padding::Replicate,
        "circular" => Padding::Circular,
        _ => return Err(call.wrong(2, "constant, reflect, replicate or circular")),
    };
    padded(call, how, 3)
}

fn constant_pad(call: &Call<'_>) -> Result<Value> {
    padded(call, Padding::Constant, 2)
}

fn reflection_pad(call: &Call<'_>) -> Result<Value> {
    padded(call, Padding::Reflect, 2)
}

fn replication_pad(call: &Call<'_>) -> Result<Value> {
    padded(call, Padding::Replicate, 2)
}

#[derive(Clone, Copy, PartialEq)]
enum Padding {
    Constant,
    Reflect,
    Replicate,
    Circular,
}

fn padded(call: &Call<'_>, how: Padding, value: usize) -> Result<Value> {
    let tensor = call.tensor(0)?;
    let amounts = call.ints(1)?;
    let rank = tensor.rank();
    if amounts.len() % 2 != 0 || amounts.len() / 2 > rank {
        return Err(call.wrong(1, "two amounts for each of the last dimensions"));
    }
    let mut positions: Vec<Vec<i64>> = tensor
        .shape()
        .iter()
        .map(|size| (0..*size).collect())
        .collect();
    for (pair, dim) in amounts.chunks_exact(2).zip((0..rank).rev()) {
        let size = tensor.shape()[dim];
        let (before, after) = (pair[0], pair[1]);
        if before.checked_abs().is_none() || after.checked_abs().is_none() {
            return Err(call.wrong(1, "amounts that fit the sizes"));
        }
        let total = size.saturating_add(before).saturating_add(after);
        let fits = match how {
            Padding::Constant => total >= 0,
            Padding::Reflect => before < size && after < size,
            Padding::Replicate => size > 0,
            Padding::Circular => before <= size && after <= size,
        };
        if !fits || total < 0 {
            return Err(call.wrong(1, "amounts that fit the sizes"));
        }
        crate::limits::room(total as usize, size_of::<i64>())?;
        let place = |at: i64| match how {
            Padding::Constant if (0..size).contains(&at) => at,
            Padding::Constant => -1,
            Padding::Reflect if at < 0 => -at,
            Padding::Reflect if at >= size => 2 * (size - 1) - at,
            Padding::Reflect => at,
            Padding::Replicate => at.clamp(0, size - 1),
            Padding::Circular => at.rem_euclid(size),
        };
        positions[dim] = (-before..size + after).map(place).collect();
    }
    let shape: Dims = positions.iter().map(|p| p.len() as i64).collect();
    let out = Tensor::zeros(tensor.dtype(), &shape, tensor.memory_format())?;
    let out = match tensor.qparams() {
        Some(qparams) => out.with_qparams(qparams)?,
        None => out,
    };
    if how == Padding::Constant {
        let fill = call
            .scalar_opt(value)?
            .map_or(0.0, crate::call::Scalar::to_f64);
        super::create::fill(&out, fill)?;
    }
    copy_picked(tensor, &out, &positions)?;
    Ok(out.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::trial::{counting, run};

    #[test]
    fn padding_reflects_and_fills() {
        let x = counting(&[1, 1, 4]);
        let reflected = [
            x.clone().into(),
            Value::ints(&[2, 1]),
            Value::str("reflect"),
        ];
        assert_eq!(
            run("aten::pad", &reflected).to_f32().unwrap(),
            [2., 1., 0., 1., 2., 3., 2.]
        );
        let filled = [
            x.into(),
            Value::ints(&[1, -1]),
            Value::str("constant"),
            Value::Float(9.0),
        ];
        assert_eq!(
            run("aten::pad", &filled).to_f32().unwrap(),
            [9., 0., 1., 2.]
        );
    }
}
