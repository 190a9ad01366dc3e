//! Picking elements by their positions.

use planish_ir::{DType, Dims};

use super::join::{convert_into, picked};
use super::{Kernel, Table};
use crate::call::Call;
use crate::limits::room;
use crate::{MemoryFormat, Result, Tensor, Value};
use Kernel::One;

pub(super) const OPS: Table = &[
    ("aten::index_select", One(index_select)),
    ("aten::gather", One(gather)),
    ("aten::embedding", One(embedding)),
    ("aten::index", One(index)),
    ("aten::masked_select", One(masked_select)),
    ("aten::nonzero", One(nonzero_rows)),
    ("aten::argwhere", One(nonzero_rows)),
    ("aten::take", One(take)),
    ("aten::index_put", One(index_put)),
    ("aten::index_put_", One(index_put)),
];

fn index_select(call: &Call<'_>) -> Result<Value> {
    let tensor = call.tensor(0)?;
    let (dim, size) = call.sized_dim(1, tensor)?;
    let wanted = call.tensor(2)?.to_i64()?;
    if wanted.iter().any(|at| !(0..size).contains(at)) {
        return Err(call.wrong(2, "positions inside the dimension"));
    }
    let mut positions: Vec<Vec<i64>> = tensor
        .shape()
        .iter()
        .map(|size| (0..*size).collect())
        .collect();
    positions[dim] = wanted;
    Ok(picked(tensor, &positions)?.into())
}

/// `gather(tensor, dim, index)`: along one dimension the index tensor says which element to take.
fn gather(call: &Call<'_>) -> Result<Value> {
    let (tensor, index) = (call.tensor(0)?, call.tensor(2)?);
    let dim = call.dim(1, tensor)?;
    let fits = tensor.rank() == index.rank()
        && (0..tensor.rank()).all(|d| d == dim || index.shape()[d] <= tensor.shape()[d]);
    if !fits || tensor.rank() == 0 {
        return Err(call.wrong(2, "an index with the tensor's dimensions"));
    }
    let out = Tensor::zeros(tensor.dtype(), index.shape(), MemoryFormat::Contiguous)?;
    let wanted = index.to_i64()?;
    let size = tensor.shape()[dim];
    let mut places: Vec<i64> = Vec::with_capacity(wanted.len());
    let mut at = vec![0i64; index.rank()];
    for wanted in &wanted {
        if !(0..size).contains(wanted) {
            return Err(call.wrong(2, "positions inside the dimension"));
        }
        let offsets = (0..at.len()).map(|d| {
            let position = if d == dim { *wanted } else { at[d] };
            position * tensor.strides()[d]
        });
        places.push(tensor.offset() + offsets.sum::<i64>());
        advance(&mut at, index.shape());
    }
    copy_places(tensor, &out, &places)?;
    Ok(out.into())
}

fn embedding(call: &Call<'_>) -> Result<Value> {
    let (weight, indices) = (call.tensor(0)?, call.tensor(1)?);
    let wanted = indices.to_i64()?;
    let rows = weight.shape().first().copied().unwrap_or(0);
    if weight.rank() != 2 || wanted.iter().any(|at| !(0..rows).contains(at)) {
        return Err(call.wrong(1, "rows of the weight"));
    }
    let columns = (0..weight.shape()[1]).collect();
    let mut shape = Dims::from(indices.shape());
    shape.push(weight.shape()[1]);
    Ok(picked(weight, &[wanted, columns])?.reshape(&shape)?.into())
}

/// `index(tensor, indices)`: tensors of positions (or masks) for the first dimensions; `None` takes a dimension whole.
fn index(call: &Call<'_>) -> Result<Value> {
    let tensor = call.tensor(0)?;
    let Some((shape, places)) = selection(call, tensor)? else {
        return Ok(tensor.clone().into());
    };
    let out = Tensor::zeros(tensor.dtype(), &shape, MemoryFormat::Contiguous)?;
    copy_places(tensor, &out, &places)?;
    Ok(out.into())
}

/// `index_put(tensor, indices, values, accumulate)`: writes where `index` reads.
fn index_put(call: &Call<'_>) -> Result<Value> {
    let (tensor, values) = (call.tensor(0)?, call.tensor(2)?);
    if values.dtype() != tensor.dtype() {
        return Err(call.wrong(2, "values of the tensor's type"));
    }
    if call.bool_or(3, false)? {
        let sums = super::scatter::accumulated(call)?;
        if call.op.is("aten::index_put_") {
            convert_into(&sums, tensor)?;
            return Ok(tensor.clone().into());
        }
        return Ok(sums.into());
    }
    let target = if call.op.is("aten::index_put_") {
        tensor.clone()
    } else {
        tensor.copied(None)?
    };
    let Some((shape, places)) = selection(call, &target)? else {
        convert_into(&values.expand(target.shape())?, &target)?;
        return Ok(target.into());
    };
    let values = values.expand(&shape)?.logical_bytes()?;
    let size = target.dtype().size();
    let mut bytes = target.storage().write()?;
    for (value, place) in values.chunks_exact(size).zip(places) {
        let start = place as usize * size;
        bytes[start..start + size].copy_from_slice(value);
    }
    drop(bytes);
    Ok(target.into())
}

/// The shape of what `index` takes, and the place of each of its elements in the storage; `None` for all of the tensor.
pub(super) fn selection(call: &Call<'_>, tensor: &Tensor) -> Result<Option<(Dims, Vec<i64>)>> {
    let items = call.items(1)?;
    let mut given: Vec<Option<Tensor>> = Vec::new();
    for item in items {
        match item {
            Value::Tensor(mask) if matches!(mask.dtype(), DType::Bool | DType::Byte) => {
                given.extend(nonzero(&mask)?.into_iter().map(Some));
            }
            Value::Tensor(positions) => given.push(Some(positions)),
            Value::None => given.push(None),
            _ => return Err(call.wrong(1, "tensors of positions")),
        }
    }
    if given.len() > tensor.rank() {
        return Err(call.wrong(1, "at most one index for each dimension"));
    }
    given.resize(tensor.rank(), None);
    let indexed: Vec<usize> = (0..given.len()).filter(|d| given[*d].is_some()).collect();
    let (Some(first), Some(last)) = (indexed.first(), indexed.last()) else {
        return Ok(None);
    };
    let tensors: Vec<&Tensor> = given.iter().flatten().collect();
    let (common, _, expanded) = super::elementwise::broadcast(&tensors)?;
    let adjacent = last - first + 1 == indexed.len();
    // The indexed dimensions come out where they stood, or in front when they were not neighbours.
    let front = if adjacent { *first } else { 0 };
    let kept: Vec<usize> = (0..tensor.rank()).filter(|d| given[*d].is_none()).collect();
    let mut shape: Dims = kept.iter().map(|d| tensor.shape()[*d]).collect();
    shape.insert_many(front, common.iter().copied());
    let positions: Vec<Vec<i64>> = expanded.iter().map(Tensor::to_i64).collect::<Result<_>>()?;
    let sizes = shape.iter().map(|size| usize::try_from(*size).ok());
    let count = sizes
        .into_iter()
        .try_fold(1usize, |n, size| n.checked_mul(size?));
    let count = count.ok_or_else(|| call.wrong(1, "positions that can be counted"))?;
    room(count, size_of::<i64>())?;
    let mut places = Vec::with_capacity(count);
    let mut at = vec![0i64; shape.len()];
    for _ in 0..count {
        let inner = &at[front..front + common.len()];
        let nth = inner
            .iter()
            .zip(&common)
            .fold(0, |n, (i, size)| n * size + i) as usize;
        let mut place = tensor.offset();
        for (positions, dim) in positions.iter().zip(&indexed) {
            let size = tensor.shape()[*dim];
            let wanted = positions[nth];
            let wanted = if wanted < 0 { wanted + size } else { wanted };
            if !(0..size).contains(&wanted) {
                return Err(call.wrong(1, "positions inside the dimensions"));
            }
            place += wanted * tensor.strides()[*dim];
        }
        let outer = at[..front].iter().chain(&at[front + common.len()..]);
        for (index, dim) in outer.zip(&kept) {
            place += index * tensor.strides()[*dim];
        }
        places.push(place);
        advance(&mut at, &shape);
    }
    Ok(Some((shape, places)))
}

/// `masked_select(self, mask)`: the elements where the mask is true.
fn masked_select(call: &Call<'_>) -> Result<Value> {
    let (_, _, expanded) = super::elementwise::broadcast(&[call.tensor(0)?, call.tensor(1)?])?;
    let [tensor, mask] = &expanded[..] else {
        return Err(call.wrong(1, "a mask"));
    };
    let mut places = Vec::new();
    let mut at = vec![0i64; tensor.rank()];
    for truth in mask.to_i64()? {
        if truth != 0 {
            let steps = at
                .iter()
                .zip(tensor.strides())
                .map(|(at, stride)| at * stride);
            places.push(tensor.offset() + steps.sum::<i64>());
        }
        advance(&mut at, tensor.shape());
    }
    let shape = [places.len() as i64];
    let out = Tensor::zeros(tensor.dtype(), &shape, MemoryFormat::Contiguous)?;
    copy_places(tensor, &out, &places)?;
    Ok(out.into())
}

/// `nonzero(self)`: one row of positions for each element that is not zero.
fn nonzero_rows(call: &Call<'_>) -> Result<Value> {
    let tensor = call.tensor(0)?;
    let truth = if tensor.dtype().is_floating_point() {
        let values = tensor.to_f64()?;
        let truth: Vec<u8> = values.iter().map(|value| u8::from(*value != 0.0)).collect();
        Tensor::from_values(tensor.shape(), &truth)?
    } else {
        tensor.clone()
    };
    let columns = nonzero(&truth)?;
    let count = columns.first().map_or_else(
        || {
            truth
                .to_i64()
                .map(|values| values.iter().filter(|v| **v != 0).count())
        },
        |column| Ok(column.numel()),
    )?;
    let mut positions = Vec::with_capacity(count * columns.len());
    for column in &columns {
        positions.extend(column.to_i64()?);
    }
    // The positions of a dimension stand side by side in memory.
    let shape = [columns.len() as i64, count as i64];
    let rows = Tensor::from_values(&shape, &positions)?.transpose(0, 1)?;
    Ok(rows.into())
}

/// `take(self, index)`: elements by their place in logical order.
fn take(call: &Call<'_>) -> Result<Value> {
    let (tensor, index) = (call.tensor(0)?, call.tensor(1)?);
    let flat = tensor.contiguous(MemoryFormat::Contiguous)?;
    let count = flat.numel() as i64;
    let places = index.to_i64()?.into_iter().map(|at| {
        let at = if at < 0 { at.saturating_add(count) } else { at };
        let inside = (0..count).contains(&at);
        inside.then(|| flat.offset() + at)
    });
    let Some(places) = places.collect::<Option<Vec<i64>>>() else {
        return Err(call.wrong(1, "places of elements"));
    };
    let out = Tensor::zeros(tensor.dtype(), index.shape(), MemoryFormat::Contiguous)?;
    copy_places(&flat, &out, &places)?;
    Ok(out.into())
}

/// For each dimension, the positions of the true elements.
fn nonzero(mask: &Tensor) -> Result<Vec<Tensor>> {
    let truth = mask.to_i64()?;
    let mut columns = vec![Vec::new(); mask.rank()];
    let mut at = vec![0i64; mask.rank()];
    for value in truth {
        if value != 0 {
            for (column, index) in columns.iter_mut().zip(&at) {
                column.push(*index);
            }
        }
        advance(&mut at, mask.shape());
    }
    columns
        .iter()
        .map(|column| Tensor::from_values(&[column.len() as i64], column))
        .collect()
}

/// The next index in logical order.
pub(super) fn advance(at: &mut [i64], shape: &[i64]) {
    for dim in (0..at.len()).rev() {
        at[dim] += 1;
        if at[dim] < shape[dim] {
            return;
        }
        at[dim] = 0;
    }
}

/// Copies the elements at the given places of the source's storage to a contiguous tensor.
fn copy_places(from: &Tensor, out: &Tensor, places: &[i64]) -> Result<()> {
    let size = from.dtype().size();
    let source = from.storage().read();
    let mut target = out.storage().write()?;
    for (element, place) in target.chunks_exact_mut(size).zip(places) {
        let start = *place as usize * size;
        element.copy_from_slice(&source[start..start + size]);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::trial::{counting, run};
    use planish_ir::Type;

    #[test]
    fn indices_pick_rows_and_masks_pick_elements() {
        let x = counting(&[3, 2]);
        let rows = Tensor::from_values(&[2], &[2i64, -3]).unwrap();
        let rows = Value::list(Type::TENSOR, [rows.into()]);
        let picked = run("aten::index", &[x.clone().into(), rows]);
        assert_eq!(picked.to_f32().unwrap(), [4., 5., 0., 1.]);
        let mask = Tensor::from_values(&[3, 2], &[0u8, 1, 0, 0, 1, 0]).unwrap();
        let mask = mask.cast_bits(DType::Bool, None).unwrap();
        let mask = Value::list(Type::TENSOR, [mask.into()]);
        assert_eq!(
            run("aten::index", &[x.into(), mask]).to_f32().unwrap(),
            [1., 4.]
        );
    }
}
