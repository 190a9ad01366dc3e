//! Variances and standard deviations, with the mean besides or without. They are taken in `f64` and rounded once.

use super::reduce::{dims_or_all, rows};
use super::{Kernel, Table};
use crate::call::Call;
use crate::{Result, Value};
use Kernel::{Many, One};

pub(super) const OPS: Table = &[
    ("aten::var", One(spread)),
    ("aten::std", One(spread)),
    ("aten::var_mean", Many(with_mean)),
    ("aten::std_mean", Many(with_mean)),
];

fn spread(call: &Call<'_>) -> Result<Value> {
    Ok(with_mean(call)?.swap_remove(0))
}

/// `var(tensor, unbiased)`, `var(tensor, dims, unbiased, keepdim)` or with a correction in place of `unbiased`, then the mean; `std` is the
/// variance's root.
fn with_mean(call: &Call<'_>) -> Result<Vec<Value>> {
    let tensor = call.tensor(0)?;
    let (dims, correction, keep) = if let Value::Bool(unbiased) = call.get(1) {
        (None, f64::from(u8::from(*unbiased)), false)
    } else {
        let correction = match call.get(2) {
            Value::None => 1.0,
            _ => call.float(2)?,
        };
        (call.ints_opt(1)?, correction, call.bool_or(3, false)?)
    };
    let rows = rows(tensor, &dims_or_all(tensor, dims)?, keep)?;
    let root = call.short_name().starts_with("std");
    let mean = |row: &[f64]| row.iter().sum::<f64>() / row.len() as f64;
    let spread = |row: &[f64]| {
        let mean = mean(row);
        let squares: f64 = row.iter().map(|x| (x - mean) * (x - mean)).sum();
        let variance = squares / (row.len() as f64 - correction).max(0.0);
        if root { variance.sqrt() } else { variance }
    };
    let (spread, mean) = (
        rows.floats(tensor.dtype(), spread)?,
        rows.floats(tensor.dtype(), mean)?,
    );
    Ok(vec![spread.into(), mean.into()])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::trial::counting;
    use crate::{Contract, apply};
    use planish_ir::Op;

    #[test]
    fn a_variance_comes_with_its_mean() {
        let args = [
            counting(&[2, 3]).into(),
            Value::ints(&[1]),
            Value::Int(1),
            false.into(),
        ];
        let both = apply(Op::of("aten::var_mean.correction"), &args, Contract::Fbgemm).unwrap();
        let both: Vec<Vec<f32>> = both
            .iter()
            .map(|v| v.as_tensor().unwrap().to_f32().unwrap())
            .collect();
        assert_eq!(both, [[1.0, 1.0], [1.0, 4.0]]);
    }
}
