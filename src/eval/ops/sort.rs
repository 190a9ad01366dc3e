//! Elements in order.

use planish_ir::{DType, Dims};

use super::quant::{empty, per_tensor};
use super::{Kernel, Table};
use crate::call::Call;
use crate::{MemoryFormat, Result, Tensor, Value};
use Kernel::Many;

pub(super) const OPS: Table = &[("aten::sort", Many(sort)), ("aten::topk", Many(topk))];

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

/// `topk(tensor, k, dim, largest, sorted)`: values and indices.
fn topk(call: &Call<'_>) -> Result<Vec<Value>> {
    let tensor = call.tensor(0)?;
    let count = call.int(1)?;
    let dim = tensor.dim_index(call.int_or(2, -1)?)?;
    let size = tensor.shape().get(dim).copied().unwrap_or(1);
    if !(0..=size).contains(&count) {
        return Err(call.wrong(1, "at most as many as there are"));
    }
    sorted(tensor, dim, call.bool_or(3, true)?, count)
}

/// The first `count` elements of each row in order, and where they stood; equal elements keep their order.
fn sorted(tensor: &Tensor, dim: usize, descending: bool, count: i64) -> Result<Vec<Value>> {
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
        let mut at: Vec<usize> = (0..len).collect();
        at.sort_by(|a, b| {
            // NaN counts as the largest.
            let order = row[*a]
                .partial_cmp(&row[*b])
                .unwrap_or(row[*a].is_nan().cmp(&row[*b].is_nan()));
            if descending { order.reverse() } else { order }
        });
        order.extend(at.into_iter().take(count as usize).map(|at| at as i64));
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
