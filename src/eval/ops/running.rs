//! Results so far, along a dimension: sums, products, extremes.

use planish_ir::DType;

use super::reduce::{as_dtype, log_sum, rows};
use super::{Kernel, Table};
use crate::call::Call;
use crate::{MemoryFormat, Result, Tensor, Value};
use Kernel::{Many, One};

pub(super) const OPS: Table = &[
    ("aten::cumsum", One(cumsum)),
    ("aten::cumprod", One(cumprod)),
    ("aten::logcumsumexp", One(logcumsumexp)),
    ("aten::cummax", Many(cummax)),
    ("aten::cummin", Many(cummin)),
];

/// `cumsum(tensor, dim, dtype)`
fn cumsum(call: &Call<'_>) -> Result<Value> {
    so_far(call, 0.0, |sum, x| sum + x)
}

fn cumprod(call: &Call<'_>) -> Result<Value> {
    so_far(call, 1.0, |product, x| product * x)
}

/// Each element with all before it; sums and products of integers are long ones.
fn so_far(call: &Call<'_>, start: f64, step: impl Fn(f64, f64) -> f64) -> Result<Value> {
    let tensor = call.tensor(0)?;
    let dtype = match call.dtype_opt(2)? {
        None if !tensor.dtype().is_floating_point() => Some(DType::Long),
        other => other,
    };
    let input = as_dtype(tensor, dtype)?;
    let out = along(&input, call.dim(1, tensor)?, |row| {
        let mut so_far = start;
        for value in row {
            so_far = step(so_far, *value);
            *value = so_far;
        }
    })?;
    Ok(out.into())
}

fn logcumsumexp(call: &Call<'_>) -> Result<Value> {
    let tensor = call.tensor(0)?;
    let out = along(tensor, call.dim(1, tensor)?, |row| {
        for at in 1..row.len() {
            row[at] = log_sum(&row[at - 1..=at]);
        }
    })?;
    Ok(out.into())
}

fn cummax(call: &Call<'_>) -> Result<Vec<Value>> {
    extremes(call, |x, best| x >= best)
}

fn cummin(call: &Call<'_>) -> Result<Vec<Value>> {
    extremes(call, |x, best| x <= best)
}

/// The best so far, the last one of equal ones, and where it stands; what is not a number stays the best.
fn extremes(call: &Call<'_>, better: fn(f64, f64) -> bool) -> Result<Vec<Value>> {
    let tensor = call.tensor(0)?;
    if tensor.dtype().is_quantized() {
        return Err(call.wrong(0, "a tensor of plain numbers"));
    }
    let dim = call.dim(1, tensor)?;
    let best = |row: &mut [f64], place: bool| {
        let mut at = 0;
        let values = row.to_vec();
        for (index, x) in values.iter().enumerate() {
            if x.is_nan() || better(*x, values[at]) {
                at = index;
            }
            row[index] = if place { at as f64 } else { values[at] };
        }
    };
    let values = along(tensor, dim, |row| best(row, false))?;
    Ok(vec![values.into(), places(tensor, dim, best)?.into()])
}

/// What `best` makes of each row: places, laid out as the tensor.
fn places(tensor: &Tensor, dim: usize, best: impl Fn(&mut [f64], bool)) -> Result<Tensor> {
    let Some(last) = tensor.rank().checked_sub(1) else {
        return Tensor::scalar(0i64);
    };
    let rows = rows(tensor, &[dim], false)?;
    let mut all = rows.tensor.to_f64()?;
    for row in all.chunks_exact_mut(rows.len.max(1)) {
        best(row, true);
    }
    let out = Tensor::zeros(DType::Long, rows.tensor.shape(), MemoryFormat::Contiguous)?;
    out.write_f64(&all)?;
    let mut order: Vec<usize> = (0..last).collect();
    order.insert(dim, last);
    out.permute(&order)?.contiguous(MemoryFormat::Contiguous)
}

/// Rewrites each row along a dimension.
pub(super) fn along(tensor: &Tensor, dim: usize, f: impl Fn(&mut [f64])) -> Result<Tensor> {
    let out = super::elementwise::like(tensor, tensor.dtype())?;
    if tensor.numel() == 0 {
        return Ok(out);
    }
    let last = tensor.rank().saturating_sub(1);
    let (from, to) = if tensor.rank() == 0 {
        (tensor.clone(), out.clone())
    } else {
        (tensor.transpose(dim, last)?, out.transpose(dim, last)?)
    };
    let len = tensor.shape().get(dim).copied().unwrap_or(1) as usize;
    let mut values = from.to_f64()?;
    values.chunks_exact_mut(len).for_each(f);
    to.write_f64(&values)?;
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Contract, apply};
    use planish_ir::Op;

    #[test]
    fn the_last_of_equal_ones_is_the_best_so_far() {
        let x = Tensor::from_values(&[1, 5], &[1f32, 3., 3., f32::NAN, 9.]).unwrap();
        let both = apply(
            Op::of("aten::cummax"),
            &[x.into(), Value::Int(1)],
            Contract::Fbgemm,
        )
        .unwrap();
        let [values, places] = &both[..] else {
            panic!("cummax gives two tensors");
        };
        assert_eq!(
            values.as_tensor().unwrap().to_f32().unwrap()[..3],
            [1., 3., 3.]
        );
        assert_eq!(
            places.as_tensor().unwrap().to_i64().unwrap(),
            [0, 1, 2, 3, 3]
        );
    }
}
