//! Sizes, views and reorderings.

use super::{Kernel, Table};
use crate::call::Call;
use crate::{Error, Result, Tensor, Value};
use Kernel::One;

pub(super) const OPS: Table = &[("aten::dim", One(dim))];

fn dim(call: &Call<'_>) -> Result<Value> {
    Ok(Value::Int(call.tensor(0)?.rank() as i64))
}

/// At most `count` pieces of equal size along a dimension; the last may be smaller.
pub(crate) fn chunks(tensor: &Tensor, count: i64, dim: i64) -> Result<Vec<Value>> {
    let dim = tensor.dim_index(dim)?;
    if count < 1 || tensor.rank() == 0 {
        return Err(Error::Invalid(format!("{count} chunks of {tensor:?}")));
    }
    let size = tensor.shape()[dim];
    let each = (size + count - 1) / count;
    if each == 0 {
        // Nothing to split: that many empty pieces.
        return Ok(vec![Value::Tensor(tensor.clone()); count as usize]);
    }
    split(tensor, each, dim)
}

/// Pieces of `each` elements along a dimension; the last may be smaller.
fn split(tensor: &Tensor, each: i64, dim: usize) -> Result<Vec<Value>> {
    let size = tensor.shape()[dim];
    let starts = (0..size.max(1)).step_by(each.max(1) as usize);
    starts
        .map(|start| {
            let piece = tensor.slice(dim, start, each.min(size - start), 1)?;
            Ok(Value::Tensor(piece))
        })
        .collect()
}
