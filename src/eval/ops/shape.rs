//! Sizes, views, copies and pieces.

use planish_ir::{DType, Dims};

use super::{Kernel, Table};
use crate::call::Call;
use crate::{Error, MemoryFormat, Result, Tensor, Value};
use Kernel::One;

pub(super) const OPS: Table = &[
    ("aten::dim", One(dim)),
    ("aten::size", One(size)),
    ("aten::stride", One(stride)),
    ("aten::numel", One(numel)),
    ("aten::view", One(view)),
    ("aten::view_as", One(view_as)),
    ("aten::reshape", One(reshape)),
    ("aten::reshape_as", One(reshape_as)),
    ("aten::flatten", One(flatten)),
    ("aten::unflatten", One(unflatten)),
    ("aten::transpose", One(transpose)),
    ("aten::swapaxes", One(transpose)),
    ("aten::t", One(matrix_transpose)),
    ("aten::numpy_T", One(reversed)),
    ("aten::permute", One(permute)),
    ("aten::movedim", One(movedim)),
    ("aten::squeeze", One(squeeze)),
    ("aten::unsqueeze", One(unsqueeze)),
    ("aten::contiguous", One(contiguous)),
    ("aten::clone", One(clone)),
    ("aten::detach", One(same)),
    ("aten::cpu", One(same)),
    ("aten::positive", One(same)),
    ("aten::requires_grad_", One(same)),
    ("aten::ravel", One(ravel)),
    ("aten::mT", One(matrices_transpose)),
    ("aten::as_strided", One(as_strided)),
    ("aten::resize_", One(resize)),
    ("aten::is_contiguous", One(is_contiguous)),
    ("aten::storage_offset", One(storage_offset)),
    ("aten::is_same_size", One(is_same_size)),
    ("aten::alias", One(same)),
    ("prim::data", One(same)),
    ("aten::slice", One(slice)),
    ("aten::narrow", One(narrow)),
    ("aten::select", One(select)),
    ("aten::chunk", One(chunk)),
    ("aten::split", One(split)),
    ("aten::split_with_sizes", One(split)),
    ("aten::tensor_split", One(tensor_split)),
    ("aten::unbind", One(unbind)),
    ("aten::expand", One(expand)),
    ("aten::expand_as", One(expand_as)),
    ("aten::broadcast_tensors", One(broadcast_tensors)),
    ("aten::unfold", One(unfold)),
];

fn dim(call: &Call<'_>) -> Result<Value> {
    Ok(Value::Int(call.tensor(0)?.rank() as i64))
}

fn size(call: &Call<'_>) -> Result<Value> {
    let tensor = call.tensor(0)?;
    one_or_all(call, tensor, tensor.shape())
}

fn stride(call: &Call<'_>) -> Result<Value> {
    let tensor = call.tensor(0)?;
    one_or_all(call, tensor, tensor.strides())
}

fn one_or_all(call: &Call<'_>, tensor: &Tensor, values: &[i64]) -> Result<Value> {
    if call.is_none(1) {
        return Ok(Value::ints(values));
    }
    let dim = call.dim(1, tensor)?;
    match values.get(dim) {
        Some(value) => Ok(Value::Int(*value)),
        None => Err(call.wrong(0, "a tensor with dimensions")),
    }
}

fn numel(call: &Call<'_>) -> Result<Value> {
    Ok(Value::Int(call.tensor(0)?.numel() as i64))
}

fn view(call: &Call<'_>) -> Result<Value> {
    if let Value::Int(code) = call.get(1) {
        let dtype = DType::from_code(*code).ok_or_else(|| call.wrong(1, "an element type"))?;
        return Ok(call.tensor(0)?.cast_bits(dtype, None)?.into());
    }
    view_to(call, &call.ints(1)?)
}

fn view_as(call: &Call<'_>) -> Result<Value> {
    view_to(call, call.tensor(1)?.shape())
}

fn view_to(call: &Call<'_>, shape: &[i64]) -> Result<Value> {
    let tensor = call.tensor(0)?;
    match tensor.view(shape)? {
        Some(view) => Ok(view.into()),
        None => Err(Error::Invalid(format!(
            "{tensor:?} with strides {:?} has no view of shape {shape:?}; reshape copies",
            tensor.strides()
        ))),
    }
}

fn reshape(call: &Call<'_>) -> Result<Value> {
    Ok(call.tensor(0)?.reshape(&call.ints(1)?)?.into())
}

fn reshape_as(call: &Call<'_>) -> Result<Value> {
    Ok(call.tensor(0)?.reshape(call.tensor(1)?.shape())?.into())
}

fn flatten(call: &Call<'_>) -> Result<Value> {
    let tensor = call.tensor(0)?;
    let start = tensor.dim_index(call.int_or(1, 0)?)?;
    let end = tensor.dim_index(call.int_or(2, -1)?)?;
    if tensor.rank() == 0 {
        return Ok(tensor.reshape(&[1])?.into());
    }
    if start > end {
        return Err(Error::Invalid(format!(
            "dimensions {start} to {end} cannot be flattened"
        )));
    }
    let shape = tensor.shape();
    let mut flat = Dims::from(&shape[..start]);
    flat.push(shape[start..=end].iter().product());
    flat.extend_from_slice(&shape[end + 1..]);
    Ok(tensor.reshape(&flat)?.into())
}

fn unflatten(call: &Call<'_>) -> Result<Value> {
    let tensor = call.tensor(0)?;
    let (dim, size) = call.sized_dim(1, tensor)?;
    let mut sizes = call.ints(2)?;
    let known = sizes.iter().filter(|size| **size != -1);
    let known = known.fold(1i64, |known, size| known.saturating_mul(*size));
    if let Some(open) = sizes.iter_mut().find(|size| **size == -1)
        && known > 0
    {
        *open = size / known;
    }
    let mut shape = Dims::from(tensor.shape());
    shape.remove(dim);
    shape.insert_many(dim, sizes);
    view_to(call, &shape)
}

fn transpose(call: &Call<'_>) -> Result<Value> {
    let tensor = call.tensor(0)?;
    let (a, b) = (call.dim(1, tensor)?, call.dim(2, tensor)?);
    if tensor.rank() == 0 {
        return same(call);
    }
    Ok(tensor.transpose(a, b)?.into())
}

/// `x.T`: the dimensions in reverse.
fn reversed(call: &Call<'_>) -> Result<Value> {
    let tensor = call.tensor(0)?;
    let order: Vec<usize> = (0..tensor.rank()).rev().collect();
    Ok(tensor.permute(&order)?.into())
}

fn matrix_transpose(call: &Call<'_>) -> Result<Value> {
    let tensor = call.tensor(0)?;
    match tensor.rank() {
        0 | 1 => same(call),
        2 => Ok(tensor.transpose(0, 1)?.into()),
        _ => Err(call.wrong(0, "a tensor of at most two dimensions")),
    }
}

/// `x.mT`: the last two dimensions change places.
fn matrices_transpose(call: &Call<'_>) -> Result<Value> {
    let tensor = call.tensor(0)?;
    match tensor.rank() {
        0 | 1 => Err(call.wrong(0, "matrices")),
        rank => Ok(tensor.transpose(rank - 2, rank - 1)?.into()),
    }
}

fn ravel(call: &Call<'_>) -> Result<Value> {
    Ok(call
        .tensor(0)?
        .contiguous(MemoryFormat::Contiguous)?
        .reshape(&[-1])?
        .into())
}

/// `as_strided(tensor, sizes, strides, offset)`
fn as_strided(call: &Call<'_>) -> Result<Value> {
    let tensor = call.tensor(0)?;
    let (sizes, strides) = (call.ints(1)?, call.ints(2)?);
    if strides.iter().any(|stride| *stride < 0) {
        return Err(call.wrong(2, "strides that are not negative"));
    }
    let offset = call.int_or(3, tensor.offset())?;
    Ok(tensor.as_strided(&sizes, &strides, offset)?.into())
}

/// `resize_(tensor, sizes)`: the elements in a row as they lie in memory.
fn resize(call: &Call<'_>) -> Result<Value> {
    let (tensor, sizes) = (call.tensor(0)?, call.ints(1)?);
    if tensor.shape() != &sizes[..] {
        let strides = MemoryFormat::Contiguous.strides(&sizes);
        let view = tensor.as_strided(&sizes, &strides, tensor.offset());
        let grows = |_| {
            call.unsupported(format_args!(
                "of {tensor:?} to {sizes:?}, which its memory does not hold,"
            ))
        };
        tensor.turn_into(&view.map_err(grows)?)?;
    }
    Ok(tensor.clone().into())
}

fn is_contiguous(call: &Call<'_>) -> Result<Value> {
    let format = MemoryFormat::from_code(call.int_or(1, 0)?);
    let format = format.ok_or_else(|| call.wrong(1, "a memory format"))?;
    Ok(call.tensor(0)?.is_dense(format).into())
}

fn storage_offset(call: &Call<'_>) -> Result<Value> {
    Ok(Value::Int(call.tensor(0)?.offset()))
}

fn is_same_size(call: &Call<'_>) -> Result<Value> {
    Ok((call.tensor(0)?.shape() == call.tensor(1)?.shape()).into())
}

fn permute(call: &Call<'_>) -> Result<Value> {
    let tensor = call.tensor(0)?;
    let order = dims(call, 1, tensor)?;
    if order.len() != tensor.rank() {
        return Err(call.wrong(1, "each dimension once"));
    }
    Ok(tensor.permute(&order)?.into())
}

fn movedim(call: &Call<'_>) -> Result<Value> {
    let tensor = call.tensor(0)?;
    let (from, to) = (dims(call, 1, tensor)?, dims(call, 2, tensor)?);
    if from.len() != to.len() || from.len() > tensor.rank() {
        return Err(call.wrong(2, "one place for each dimension that moves"));
    }
    let mut order: Vec<Option<usize>> = vec![None; tensor.rank()];
    for (from, to) in from.iter().zip(&to) {
        order[*to] = Some(*from);
    }
    let mut rest = (0..tensor.rank()).filter(|dim| !from.contains(dim));
    let order: Option<Vec<usize>> = order
        .into_iter()
        .map(|dim| dim.or_else(|| rest.next()))
        .collect();
    let order = order.ok_or_else(|| call.wrong(2, "different places"))?;
    Ok(tensor.permute(&order)?.into())
}

/// Different dimensions, each of which may count from the end.
pub(super) fn dims(call: &Call<'_>, index: usize, tensor: &Tensor) -> Result<Vec<usize>> {
    let dims = call
        .ints(index)?
        .into_iter()
        .map(|dim| tensor.dim_index(dim));
    let dims: Vec<usize> = dims.collect::<Result<_>>()?;
    let once = dims
        .iter()
        .enumerate()
        .all(|(at, dim)| !dims[..at].contains(dim));
    if once {
        Ok(dims)
    } else {
        Err(call.wrong(index, "different dimensions"))
    }
}

fn squeeze(call: &Call<'_>) -> Result<Value> {
    let tensor = call.tensor(0)?;
    let dims = match call.get(1) {
        Value::None => (0..tensor.rank()).collect(),
        _ => dims(call, 1, tensor)?,
    };
    Ok(tensor.squeeze(|dim| dims.contains(&dim))?.into())
}

fn unsqueeze(call: &Call<'_>) -> Result<Value> {
    let tensor = call.tensor(0)?;
    let rank = tensor.rank() as i64;
    let dim = call.int(1)?;
    let at = if dim < 0 { dim + rank + 1 } else { dim };
    if !(0..=rank).contains(&at) {
        return Err(call.wrong(1, "a place for a dimension"));
    }
    Ok(tensor.unsqueeze(at as usize)?.into())
}

fn contiguous(call: &Call<'_>) -> Result<Value> {
    let format = MemoryFormat::from_code(call.int_or(1, 0)?);
    let format = format.ok_or_else(|| call.wrong(1, "a memory format"))?;
    Ok(call.tensor(0)?.contiguous(format)?.into())
}

fn clone(call: &Call<'_>) -> Result<Value> {
    let format = call.int_opt(1)?.and_then(MemoryFormat::from_code);
    Ok(call.tensor(0)?.copied(format)?.into())
}

fn same(call: &Call<'_>) -> Result<Value> {
    Ok(call.tensor(0)?.clone().into())
}

/// `slice(tensor, dim, start, end, step)`
fn slice(call: &Call<'_>) -> Result<Value> {
    let tensor = call.tensor(0)?;
    let dim = tensor.dim_index(call.int_or(1, 0)?)?;
    let step = call.int_or(4, 1)?;
    if step < 1 || tensor.rank() == 0 {
        return Err(call.wrong(4, "a positive step"));
    }
    let size = tensor.shape()[dim];
    let bound = |at: i64| (if at < 0 { at + size } else { at }).clamp(0, size);
    let start = bound(call.int_or(2, 0)?);
    let end = bound(call.int_or(3, i64::MAX)?).max(start);
    let count = ((end - start) as u64).div_ceil(step as u64) as i64;
    // An empty piece may start right behind the last element.
    let start = if count == 0 { 0 } else { start };
    Ok(tensor.slice(dim, start, count, step)?.into())
}

fn narrow(call: &Call<'_>) -> Result<Value> {
    let tensor = call.tensor(0)?;
    let (dim, size) = call.sized_dim(1, tensor)?;
    let start = match call.get(2) {
        Value::Tensor(start) => start.to_i64()?.first().copied().unwrap_or(0),
        _ => call.int(2)?,
    };
    let count = call.int(3)?;
    let start = if start < 0 { start + size } else { start };
    if start < 0 || count < 0 || start > size - count {
        return Err(Error::Invalid(format!(
            "{count} elements from {start} on lie outside dimension {dim} of {tensor:?}"
        )));
    }
    Ok(tensor.slice(dim, start, count, 1)?.into())
}

fn select(call: &Call<'_>) -> Result<Value> {
    let tensor = call.tensor(0)?;
    if tensor.rank() == 0 {
        return Err(call.wrong(0, "a tensor with dimensions"));
    }
    Ok(tensor.select(call.dim(1, tensor)?, call.int(2)?)?.into())
}

fn chunk(call: &Call<'_>) -> Result<Value> {
    let pieces = chunks(call.tensor(0)?, call.int(1)?, call.int_or(2, 0)?)?;
    Ok(tensor_list(pieces))
}

/// At most `count` pieces of equal size along a dimension; the last may be smaller.
pub(crate) fn chunks(tensor: &Tensor, count: i64, dim: i64) -> Result<Vec<Value>> {
    let dim = tensor.dim_index(dim)?;
    if count < 1 || tensor.rank() == 0 {
        return Err(Error::Invalid(format!("{count} chunks of {tensor:?}")));
    }
    let size = tensor.shape()[dim];
    if size == 0 {
        // Nothing to split: that many empty pieces.
        crate::limits::room(count as usize, size_of::<Value>())?;
        return Ok(vec![Value::Tensor(tensor.clone()); count as usize]);
    }
    let each = (size - 1) / count + 1;
    let sizes = (0..size)
        .step_by(each as usize)
        .map(|at| each.min(size - at));
    pieces(tensor, &sizes.collect::<Vec<_>>(), dim)
}

fn split(call: &Call<'_>) -> Result<Value> {
    let tensor = call.tensor(0)?;
    let dim = tensor.dim_index(call.int_or(2, 0)?)?;
    let Some(size) = tensor.shape().get(dim).copied() else {
        return Err(call.wrong(0, "a tensor with dimensions"));
    };
    let sizes = match call.get(1) {
        Value::Int(each) if *each > 0 => {
            let starts = (0..size.max(1)).step_by(*each as usize);
            starts.map(|at| (*each).min(size - at)).collect()
        }
        Value::Int(0) if size == 0 => vec![0],
        Value::Int(_) => return Err(call.wrong(1, "a positive size")),
        _ => call.ints(1)?,
    };
    let total = sizes.iter().map(|size| i128::from(*size)).sum::<i128>();
    if sizes.iter().any(|size| *size < 0) || total != i128::from(size) {
        return Err(Error::Invalid(format!(
            "pieces of sizes {sizes:?} do not make up dimension {dim} of {tensor:?}"
        )));
    }
    Ok(tensor_list(pieces(tensor, &sizes, dim)?))
}

/// Cuts before the given positions, or into that many pieces whose sizes differ by one at most.
fn tensor_split(call: &Call<'_>) -> Result<Value> {
    let tensor = call.tensor(0)?;
    let dim = tensor.dim_index(call.int_or(2, 0)?)?;
    let Some(size) = tensor.shape().get(dim).copied() else {
        return Err(call.wrong(0, "a tensor with dimensions"));
    };
    let bounds: Vec<i64> = match call.get(1) {
        Value::Int(count) if (1..=size.max(1)).contains(count) => {
            let (each, longer) = (size / count, size % count);
            (1..*count).map(|at| at * each + at.min(longer)).collect()
        }
        Value::Int(_) => return Err(call.wrong(1, "a number of pieces")),
        _ => call.ints(1)?,
    };
    let bound = |at: i64| (if at < 0 { at + size } else { at }).clamp(0, size);
    let mut out = Vec::new();
    let mut start = 0;
    for end in bounds.into_iter().map(bound).chain([size]) {
        let count = (end - start).max(0);
        let from = if count == 0 { 0 } else { start };
        out.push(Value::Tensor(tensor.slice(dim, from, count, 1)?));
        start = end;
    }
    Ok(tensor_list(out))
}

fn pieces(tensor: &Tensor, sizes: &[i64], dim: usize) -> Result<Vec<Value>> {
    let mut start = 0;
    let pieces = sizes.iter().map(|size| {
        let from = if *size == 0 { 0 } else { start };
        let piece = tensor.slice(dim, from, *size, 1);
        start += size;
        Ok(Value::Tensor(piece?))
    });
    pieces.collect()
}

fn unbind(call: &Call<'_>) -> Result<Value> {
    let tensor = call.tensor(0)?;
    let dim = tensor.dim_index(call.int_or(1, 0)?)?;
    let Some(size) = tensor.shape().get(dim) else {
        return Err(call.wrong(0, "a tensor with dimensions"));
    };
    let parts = (0..*size).map(|at| Ok(Value::Tensor(tensor.select(dim, at)?)));
    Ok(tensor_list(parts.collect::<Result<_>>()?))
}

fn expand(call: &Call<'_>) -> Result<Value> {
    Ok(call.tensor(0)?.expand(&call.ints(1)?)?.into())
}

fn expand_as(call: &Call<'_>) -> Result<Value> {
    Ok(call.tensor(0)?.expand(call.tensor(1)?.shape())?.into())
}

fn broadcast_tensors(call: &Call<'_>) -> Result<Value> {
    let tensors = call.tensors(0)?;
    let (_, _, expanded) = super::elementwise::broadcast(&tensors.iter().collect::<Vec<_>>())?;
    Ok(tensor_list(
        expanded.into_iter().map(Value::Tensor).collect(),
    ))
}

/// `unfold(tensor, dim, size, step)`: windows along a dimension, as a new last dimension.
fn unfold(call: &Call<'_>) -> Result<Value> {
    let tensor = call.tensor(0)?;
    let (dim, have) = call.sized_dim(1, tensor)?;
    let (window, step) = (call.int(2)?, call.int(3)?);
    if window < 0 || window > have || step < 1 {
        return Err(call.wrong(2, "a window inside the dimension"));
    }
    let (mut shape, mut strides) = (Dims::from(tensor.shape()), Dims::from(tensor.strides()));
    shape[dim] = (have - window) / step + 1;
    shape.push(window);
    strides.push(strides[dim]);
    strides[dim] = strides[dim].saturating_mul(step);
    Ok(tensor.as_strided(&shape, &strides, tensor.offset())?.into())
}

/// A list of tensors.
pub(super) fn tensor_list(tensors: Vec<Value>) -> Value {
    Value::list(planish_ir::Type::TENSOR, tensors)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Contract, apply};
    use planish_ir::Op;

    fn run(op: &str, inputs: &[Value]) -> Value {
        apply(Op::of(op), inputs, Contract::Fbgemm)
            .unwrap()
            .remove(0)
    }

    fn counting(shape: &[i64]) -> Value {
        let count: i64 = shape.iter().product();
        let values: Vec<f32> = (0..count).map(|i| i as f32).collect();
        Tensor::from_values(shape, &values).unwrap().into()
    }

    #[test]
    fn flattening_channels_last_copies_to_logical_order() {
        let x = counting(&[1, 2, 2, 2]);
        let last = run("aten::contiguous", &[x, Value::Int(2)]);
        assert_eq!(last.as_tensor().unwrap().strides(), [8, 1, 4, 2]);
        let flat = run("aten::flatten", &[last, Value::Int(1), Value::Int(-1)]);
        let flat = flat.as_tensor().unwrap();
        assert_eq!(flat.to_f32().unwrap(), [0., 1., 2., 3., 4., 5., 6., 7.]);
    }

    #[test]
    fn slices_and_chunks_are_views() {
        let x = counting(&[5]);
        let inputs = [
            x.clone(),
            Value::Int(0),
            Value::Int(1),
            Value::None,
            Value::Int(2),
        ];
        let slice = run("aten::slice", &inputs);
        assert_eq!(slice.as_tensor().unwrap().to_f32().unwrap(), [1., 3.]);
        let Value::List(chunks) = run("aten::chunk", &[x, Value::Int(2), Value::Int(0)]) else {
            panic!("a list was expected")
        };
        let sizes: Vec<usize> = chunks
            .to_vec()
            .iter()
            .map(|c| c.as_tensor().unwrap().numel())
            .collect();
        assert_eq!(sizes, [3, 2]);
    }
}
