//! Elements in order, and those at a place in it.

use planish_ir::{DType, Dims};

use super::quant::{empty, per_tensor};
use super::reduce::rows;
use super::select::{self, Item};
use super::{Kernel, Table};
use crate::call::Call;
use crate::{Error, MemoryFormat, Result, Tensor, Value};
use Kernel::{Many, One};

pub(super) const OPS: Table = &[
    ("aten::sort", Many(sort)),
    ("aten::argsort", One(argsort)),
    ("aten::msort", One(msort)),
    ("aten::topk", Many(topk)),
    ("aten::kthvalue", Many(kth)),
    ("aten::median", Many(median)),
];

/// `sort(tensor, dim, descending)` or `sort(tensor, stable, dim, descending)`: values and indices.
fn sort(call: &Call<'_>) -> Result<Vec<Value>> {
    let first = if call.op.info().overload == *"stable" {
        2
    } else {
        1
    };
    let tensor = call.tensor(0)?;
    let dim = tensor.dim_index(call.int_or(first, -1)?)?;
    let size = tensor.shape().get(dim).copied().unwrap_or(1);
    sorted(tensor, dim, call.bool_or(first + 1, false)?, size)
}

/// Where elements stand in order, with the arguments of `sort`.
fn argsort(call: &Call<'_>) -> Result<Value> {
    Ok(sort(call)?.swap_remove(1))
}

fn msort(call: &Call<'_>) -> Result<Value> {
    let tensor = call.tensor(0)?;
    let size = tensor.shape().first().copied().unwrap_or(1);
    Ok(sorted(tensor, 0, false, size)?.swap_remove(0))
}

/// `topk(tensor, k, dim, largest, sorted)`: values and indices.
fn topk(call: &Call<'_>) -> Result<Vec<Value>> {
    let tensor = call.tensor(0)?;
    let count = call.int(1)?;
    let dim = tensor.dim_index(call.int_or(2, -1)?)?;
    let size = tensor.shape().get(dim).copied().unwrap_or(1);
    if !(0..=size).contains(&count) {
        return Err(call.wrong(1, "at most as many as there are"));
    }
    let (largest, in_order) = (call.bool_or(3, true)?, call.bool_or(4, true)?);
    ordered(tensor, dim, count, |row| {
        let mut items: Vec<Item> = row.iter().copied().zip(0..).collect();
        select::first(
            &mut items,
            count as usize,
            in_order,
            &select::order(largest),
        );
        items.into_iter().map(|(_, at)| at).collect()
    })
}

/// `kthvalue(tensor, k, dim, keepdim)`: the k-th smallest of each row, and where it stood.
fn kth(call: &Call<'_>) -> Result<Vec<Value>> {
    let (tensor, k) = (call.tensor(0)?, call.int(1)?);
    let dim = tensor.dim_index(call.int_or(2, -1)?)?;
    let size = tensor.shape().get(dim).copied().unwrap_or(1);
    if !(1..=size).contains(&k) {
        return Err(call.wrong(1, "a place in the order"));
    }
    placed(tensor, dim, call.bool_or(3, false)?, |_| k as usize - 1)
}

/// `median(tensor)`, or `median(tensor, dim, keepdim)`, which gives the places too. Of two in the middle it is the smaller one, and what
/// is not a number wins.
fn median(call: &Call<'_>) -> Result<Vec<Value>> {
    let tensor = call.tensor(0)?;
    let middle = |row: &[f64]| match row.last() {
        Some(last) if last.is_nan() => row.iter().position(|x| x.is_nan()).unwrap_or(0),
        _ => row.len().saturating_sub(1) / 2,
    };
    if call.is_none(1) {
        let mut found = placed(&tensor.reshape(&[-1])?, 0, false, middle)?;
        found.truncate(1);
        return Ok(found);
    }
    placed(
        tensor,
        call.dim(1, tensor)?,
        call.bool_or(2, false)?,
        middle,
    )
}

/// The element of each row at a place in its order, and where it stood.
fn placed(
    tensor: &Tensor,
    dim: usize,
    keep: bool,
    place: impl Fn(&[f64]) -> usize,
) -> Result<Vec<Value>> {
    if tensor.dtype().is_quantized() || tensor.numel() == 0 {
        return Err(Error::Invalid(format!(
            "no element of {tensor:?} is at a place in its order"
        )));
    }
    let size = tensor.shape().get(dim).copied().unwrap_or(1);
    let found = sorted(tensor, dim, false, size)?;
    let values = match found.first().and_then(Value::as_tensor) {
        Some(values) if tensor.rank() > 0 => rows(values, &[dim], keep)?.tensor.to_f64()?,
        _ => Vec::new(),
    };
    let picked = found.iter().filter_map(Value::as_tensor).map(|all| {
        if tensor.rank() == 0 {
            return Ok(all.clone().into());
        }
        let rows = rows(all, &[dim], keep)?;
        let out = Tensor::zeros(all.dtype(), &rows.shape, MemoryFormat::Contiguous)?;
        let at = values.chunks_exact(rows.len).map(&place).enumerate();
        let at = at.map(|(row, at)| row * rows.len + at);
        if all.dtype().is_floating_point() {
            let all = rows.tensor.to_f64()?;
            out.write_f64(&at.map(|at| all[at]).collect::<Vec<_>>())?;
        } else {
            let all = rows.tensor.to_i64()?;
            out.write_i64(&at.map(|at| all[at]).collect::<Vec<_>>())?;
        }
        Ok(out.into())
    });
    picked.collect()
}

/// The first `count` elements of each row in order, and where they stood; equal elements keep their order.
fn sorted(tensor: &Tensor, dim: usize, descending: bool, count: i64) -> Result<Vec<Value>> {
    ordered(tensor, dim, count, |row| {
        let mut at: Vec<usize> = (0..row.len()).collect();
        at.sort_by(|a, b| {
            // NaN counts as the largest.
            let order = row[*a]
                .partial_cmp(&row[*b])
                .unwrap_or(row[*a].is_nan().cmp(&row[*b].is_nan()));
            if descending { order.reverse() } else { order }
        });
        at
    })
}

/// The first `count` elements of each row in an order that is given as places, and these places.
fn ordered(
    tensor: &Tensor,
    dim: usize,
    count: i64,
    order_of: impl Fn(&[f64]) -> Vec<usize>,
) -> Result<Vec<Value>> {
    if tensor.rank() == 0 {
        let zero = Tensor::scalar(0i64)?;
        return Ok(vec![tensor.clone().into(), zero.into()]);
    }
    let last = tensor.rank() - 1;
    let len = tensor.shape()[dim] as usize;
    let mut shape = Dims::from(tensor.shape());
    shape[dim] = count;
    // Codes are in the order of what they stand for.
    let quantized = tensor.dtype().is_quantized();
    let values = if quantized {
        let (scale, zero_point) = per_tensor(tensor)?;
        let strides = MemoryFormat::Contiguous.strides(&shape);
        empty(tensor.dtype(), &shape, &strides, scale, zero_point)?
    } else {
        Tensor::zeros(tensor.dtype(), &shape, MemoryFormat::Contiguous)?
    };
    let places = Tensor::zeros(DType::Long, &shape, MemoryFormat::Contiguous)?;
    let rows = tensor.transpose(dim, last)?;
    let numbers = if quantized {
        rows.codes()?.into_iter().map(f64::from).collect()
    } else {
        rows.to_f64()?
    };
    let mut order = Vec::with_capacity(places.numel());
    for row in numbers.chunks_exact(len.max(1)) {
        let at = order_of(row).into_iter().take(count as usize);
        order.extend(at.map(|at| at as i64));
    }
    let picked = numbers
        .chunks_exact(len.max(1))
        .zip(order.chunks_exact(count.max(1) as usize));
    let picked: Vec<f64> = picked
        .flat_map(|(row, at)| at.iter().map(|at| row[*at as usize]))
        .collect();
    if !picked.is_empty() {
        let values = values.transpose(dim, last)?;
        if quantized {
            values.write_codes(&picked.iter().map(|q| *q as i32).collect::<Vec<_>>())?;
        } else {
            values.write_f64(&picked)?;
        }
        places.transpose(dim, last)?.write_i64(&order)?;
    }
    Ok(vec![values.into(), places.into()])
}
