//! Joining, repeating, padding and picking elements.

use planish_ir::{DType, Dims};

use super::{Kernel, Table};
use crate::call::Call;
use crate::promote::promote;
use crate::{Error, MemoryFormat, Result, Tensor, Value};
use Kernel::One;

pub(super) const OPS: Table = &[
    ("aten::cat", One(cat)),
    ("aten::stack", One(stack)),
    ("aten::repeat", One(repeat)),
    ("aten::tile", One(tile)),
    ("aten::repeat_interleave", One(repeat_interleave)),
    ("aten::flip", One(flip)),
    ("aten::roll", One(roll)),
    ("aten::pad", One(pad)),
    ("aten::constant_pad_nd", One(constant_pad)),
    ("aten::reflection_pad1d", One(reflection_pad)),
    ("aten::reflection_pad2d", One(reflection_pad)),
    ("aten::replication_pad1d", One(replication_pad)),
    ("aten::replication_pad2d", One(replication_pad)),
    ("aten::index_select", One(index_select)),
    ("aten::gather", One(gather)),
    ("aten::embedding", One(embedding)),
    ("aten::index", One(index)),
    ("aten::pixel_shuffle", One(pixel_shuffle)),
    ("aten::pixel_unshuffle", One(pixel_unshuffle)),
    ("aten::copy_", One(copy_into)),
];

fn cat(call: &Call<'_>) -> Result<Value> {
    let tensors = call.tensors(0)?;
    if tensors.iter().any(|t| t.dtype().is_quantized()) {
        return super::quantized::cat_like_first(&tensors, call.int_or(1, 0)?);
    }
    Ok(joined(&tensors, call.int_or(1, 0)?)?.into())
}

/// The tensors one after the other along a dimension.
pub(super) fn joined(tensors: &[Tensor], dim: i64) -> Result<Tensor> {
    // An empty vector joins with anything, for old programs' sake.
    let tensors: Vec<&Tensor> = match tensors.iter().find(|t| t.shape() != [0]) {
        Some(_) => tensors.iter().filter(|t| t.shape() != [0]).collect(),
        None => tensors.iter().take(1).collect(),
    };
    let Some(first) = tensors.first() else {
        return Err(Error::invalid("there are no tensors to join"));
    };
    let dim = first.dim_index(dim)?;
    let mut shape = Dims::from(first.shape());
    if shape.is_empty() {
        return Err(Error::invalid(
            "tensors without dimensions cannot be joined",
        ));
    }
    shape[dim] = 0;
    for tensor in &tensors {
        let fits = tensor.rank() == shape.len()
            && (0..shape.len()).all(|d| d == dim || tensor.shape()[d] == shape[d]);
        if !fits {
            return Err(Error::Invalid(format!(
                "{tensor:?} does not join {first:?} along dimension {dim}"
            )));
        }
        shape[dim] += tensor.shape()[dim];
    }
    let dtype = tensors
        .iter()
        .map(|t| t.dtype())
        .reduce(promote)
        .unwrap_or(DType::Float);
    // The result has the layout that all parts agree on.
    let format = first.memory_format();
    let agree = tensors.iter().all(|t| t.memory_format() == format);
    let format = if agree {
        format
    } else {
        MemoryFormat::Contiguous
    };
    let out = Tensor::zeros(dtype, &shape, format)?;
    let mut start = 0;
    for tensor in tensors {
        let size = tensor.shape()[dim];
        if tensor.numel() > 0 {
            convert_into(tensor, &out.slice(dim, start, size, 1)?)?;
        }
        start += size;
    }
    Ok(out)
}

/// Copies elements to a tensor of the same shape, converted to its type.
pub(super) fn convert_into(from: &Tensor, to: &Tensor) -> Result<()> {
    if from.dtype() == to.dtype() {
        return match from.dtype().size() {
            1 => to.write_elements(&from.elements::<u8>()?),
            2 => to.write_elements(&from.elements::<u16>()?),
            4 => to.write_elements(&from.elements::<u32>()?),
            8 => to.write_elements(&from.elements::<u64>()?),
            _ => to.write_elements(&from.elements::<u128>()?),
        };
    }
    if from.dtype().is_floating_point() {
        to.write_f64(&from.to_f64()?)
    } else {
        to.write_i64(&from.to_i64()?)
    }
}

fn stack(call: &Call<'_>) -> Result<Value> {
    let tensors = call.tensors(0)?;
    let Some(first) = tensors.first() else {
        return Err(Error::invalid("there are no tensors to stack"));
    };
    if tensors.iter().any(|t| t.shape() != first.shape()) {
        return Err(Error::invalid("the tensors to stack differ in shape"));
    }
    let rank = first.rank() as i64;
    let dim = call.int_or(1, 0)?;
    let at = if dim < 0 { dim + rank + 1 } else { dim };
    if !(0..=rank).contains(&at) {
        return Err(call.wrong(1, "a place for a dimension"));
    }
    let tensors: Vec<Tensor> = tensors
        .iter()
        .map(|t| t.unsqueeze(at as usize))
        .collect::<Result<_>>()?;
    if first.dtype().is_quantized() {
        return super::quantized::cat_like_first(&tensors, at);
    }
    // Stacking makes contiguous results whatever the layout of the parts.
    let out = joined(&tensors, at)?;
    Ok(out.contiguous(MemoryFormat::Contiguous)?.into())
}

fn repeat(call: &Call<'_>) -> Result<Value> {
    repeated(call.tensor(0)?, &call.ints(1)?)
}

fn tile(call: &Call<'_>) -> Result<Value> {
    let tensor = call.tensor(0)?;
    let mut counts = call.ints(1)?;
    while counts.len() < tensor.rank() {
        counts.insert(0, 1);
    }
    repeated(tensor, &counts)
}

fn repeated(tensor: &Tensor, counts: &[i64]) -> Result<Value> {
    let Some(new) = counts.len().checked_sub(tensor.rank()) else {
        return Err(Error::Invalid(format!(
            "{tensor:?} is repeated along {} dimensions",
            counts.len()
        )));
    };
    let mut source = tensor.clone();
    for _ in 0..new {
        source = source.unsqueeze(0)?;
    }
    let positions: Vec<Vec<i64>> = source
        .shape()
        .iter()
        .zip(counts)
        .map(|(size, count)| positions(*size, *count))
        .collect::<Result<_>>()?;
    Ok(picked(&source, &positions)?.into())
}

fn positions(size: i64, count: i64) -> Result<Vec<i64>> {
    if count < 0 {
        return Err(Error::invalid("a negative number of repetitions"));
    }
    let total = usize::try_from(size.saturating_mul(count)).unwrap_or(usize::MAX);
    crate::limits::room(total, size_of::<i64>())?;
    Ok((0..total as i64).map(|at| at % size.max(1)).collect())
}

fn repeat_interleave(call: &Call<'_>) -> Result<Value> {
    let tensor = call.tensor(0)?;
    let Value::Int(count) = call.get(1) else {
        return Err(call.unsupported("with a count for each element"));
    };
    let flat;
    let (source, dim) = match call.int_opt(2)? {
        Some(dim) => (tensor, tensor.dim_index(dim)?),
        None => {
            flat = tensor.reshape(&[-1])?;
            (&flat, 0)
        }
    };
    let mut all: Vec<Vec<i64>> = source
        .shape()
        .iter()
        .map(|size| (0..*size).collect())
        .collect();
    let size = source.shape()[dim];
    all[dim] = positions(size, *count)?;
    all[dim].sort_unstable();
    Ok(picked(source, &all)?.into())
}

fn flip(call: &Call<'_>) -> Result<Value> {
    let tensor = call.tensor(0)?;
    let dims = super::shape::dims(call, 1, tensor)?;
    let positions = (0..tensor.rank()).map(|dim| {
        let size = tensor.shape()[dim];
        let flipped = dims.contains(&dim);
        (0..size)
            .map(|at| if flipped { size - 1 - at } else { at })
            .collect()
    });
    Ok(picked(tensor, &positions.collect::<Vec<_>>())?.into())
}

fn roll(call: &Call<'_>) -> Result<Value> {
    let tensor = call.tensor(0)?;
    let (shifts, dims) = (call.ints(1)?, call.ints_opt(2)?.unwrap_or_default());
    if dims.is_empty() {
        let flat = tensor.reshape(&[-1])?;
        let rolled = rolled(&flat, &shifts, &[0])?;
        return Ok(rolled.reshape(tensor.shape())?.into());
    }
    let dims: Vec<usize> = dims
        .iter()
        .map(|dim| tensor.dim_index(*dim))
        .collect::<Result<_>>()?;
    Ok(rolled(tensor, &shifts, &dims)?.into())
}

fn rolled(tensor: &Tensor, shifts: &[i64], dims: &[usize]) -> Result<Tensor> {
    let mut all: Vec<Vec<i64>> = tensor
        .shape()
        .iter()
        .map(|size| (0..*size).collect())
        .collect();
    if shifts.len() != dims.len() {
        return Err(Error::invalid("there is not one shift for each dimension"));
    }
    for (shift, dim) in shifts.iter().zip(dims) {
        if let Some(positions) = all.get_mut(*dim)
            && !positions.is_empty()
        {
            let by = shift.rem_euclid(positions.len() as i64) as usize;
            positions.rotate_right(by);
        }
    }
    picked(tensor, &all)
}

/// The elements at the given positions of each dimension, as a contiguous tensor.
fn picked(tensor: &Tensor, positions: &[Vec<i64>]) -> Result<Tensor> {
    let shape: Dims = positions.iter().map(|p| p.len() as i64).collect();
    let out = Tensor::zeros(tensor.dtype(), &shape, MemoryFormat::Contiguous)?;
    let out = match tensor.qparams() {
        Some(qparams) => out.with_qparams(qparams)?,
        None => out,
    };
    if out.numel() == 0 {
        return Ok(out);
    }
    copy_picked(tensor, &out, positions)?;
    Ok(out)
}

/// Copies, for each element of `out`, the element of `from` at `positions`; where a position is negative nothing is copied.
fn copy_picked(from: &Tensor, out: &Tensor, positions: &[Vec<i64>]) -> Result<()> {
    let size = from.dtype().size();
    let source = from.storage().read();
    let mut target = out.storage().write()?;
    let mut index = vec![0usize; positions.len()];
    let numel: usize = positions.iter().map(Vec::len).product();
    let (from_strides, to_strides) = (from.strides(), out.strides());
    for _ in 0..numel {
        let (mut read, mut write, mut inside) = (from.offset(), out.offset(), true);
        for dim in 0..index.len() {
            let at = positions[dim][index[dim]];
            inside &= at >= 0;
            read += at * from_strides[dim];
            write += index[dim] as i64 * to_strides[dim];
        }
        if inside {
            let (read, write) = (read as usize * size, write as usize * size);
            target[write..write + size].copy_from_slice(&source[read..read + size]);
        }
        for dim in (0..index.len()).rev() {
            index[dim] += 1;
            if index[dim] < positions[dim].len() {
                break;
            }
            index[dim] = 0;
        }
    }
    Ok(())
}

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

fn index_select(call: &Call<'_>) -> Result<Value> {
    let tensor = call.tensor(0)?;
    let dim = call.dim(1, tensor)?;
    let wanted = call.tensor(2)?.to_i64()?;
    let size = tensor.shape().get(dim).copied().unwrap_or(0);
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
        return Ok(tensor.clone().into());
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
    let out = Tensor::zeros(tensor.dtype(), &shape, MemoryFormat::Contiguous)?;
    let mut places = Vec::with_capacity(out.numel());
    let mut at = vec![0i64; shape.len()];
    for _ in 0..out.numel() {
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
    copy_places(tensor, &out, &places)?;
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
fn advance(at: &mut [i64], shape: &[i64]) {
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

/// Channels become blocks of pixels: `(…, c·r², h, w)` to `(…, c, h·r, w·r)`.
fn pixel_shuffle(call: &Call<'_>) -> Result<Value> {
    let (tensor, factor) = (call.tensor(0)?, call.int(1)?);
    let rank = tensor.rank();
    let square = factor.checked_mul(factor).unwrap_or(0);
    if rank < 3 || factor < 1 || square < 1 || tensor.shape()[rank - 3] % square != 0 {
        return Err(call.wrong(1, "a factor whose square divides the channels"));
    }
    let (outer, inner) = tensor.shape().split_at(rank - 3);
    let (c, h, w) = (inner[0] / square, inner[1], inner[2]);
    let mut split = Dims::from(outer);
    split.extend([c, factor, factor, h, w]);
    let n = outer.len();
    let mut order: Vec<usize> = (0..n).collect();
    order.extend([n, n + 3, n + 1, n + 4, n + 2]);
    let mut shape = Dims::from(outer);
    shape.extend([c, h * factor, w * factor]);
    Ok(tensor
        .reshape(&split)?
        .permute(&order)?
        .reshape(&shape)?
        .into())
}

/// The reverse of `pixel_shuffle`.
fn pixel_unshuffle(call: &Call<'_>) -> Result<Value> {
    let (tensor, factor) = (call.tensor(0)?, call.int(1)?);
    let rank = tensor.rank();
    let fits = rank >= 3
        && factor >= 1
        && tensor.shape()[rank - 1] % factor == 0
        && tensor.shape()[rank - 2] % factor == 0;
    if !fits {
        return Err(call.wrong(1, "a factor that divides height and width"));
    }
    let (outer, inner) = tensor.shape().split_at(rank - 3);
    let (c, h, w) = (inner[0], inner[1] / factor, inner[2] / factor);
    let mut split = Dims::from(outer);
    split.extend([c, h, factor, w, factor]);
    let n = outer.len();
    let mut order: Vec<usize> = (0..n).collect();
    order.extend([n, n + 2, n + 4, n + 1, n + 3]);
    let mut shape = Dims::from(outer);
    shape.extend([c * factor * factor, h, w]);
    Ok(tensor
        .reshape(&split)?
        .permute(&order)?
        .reshape(&shape)?
        .into())
}

fn copy_into(call: &Call<'_>) -> Result<Value> {
    let (to, from) = (call.tensor(0)?, call.tensor(1)?);
    convert_into(&from.expand(to.shape())?, to)?;
    Ok(to.clone().into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Contract, apply};
    use planish_ir::{Op, Type};

    fn run(op: &str, inputs: &[Value]) -> Tensor {
        let out = apply(Op::of(op), inputs, Contract::Fbgemm)
            .unwrap()
            .remove(0);
        out.as_tensor().unwrap().clone()
    }

    fn counting(shape: &[i64]) -> Tensor {
        let count: i64 = shape.iter().product();
        let values: Vec<f32> = (0..count).map(|i| i as f32).collect();
        Tensor::from_values(shape, &values).unwrap()
    }

    #[test]
    fn joins_keep_channels_last() {
        let part = counting(&[1, 2, 2, 2])
            .contiguous(MemoryFormat::ChannelsLast)
            .unwrap();
        let parts = Value::list(Type::TENSOR, [part.clone().into(), part.clone().into()]);
        let out = run("aten::cat", &[parts, Value::Int(1)]);
        assert_eq!(out.strides(), [16, 1, 8, 4]);
        assert_eq!(out.to_f32().unwrap()[8..], part.to_f32().unwrap()[..]);
    }

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

    #[test]
    fn shuffled_pixels_come_back() {
        let x = counting(&[1, 8, 2, 3]);
        let up = run("aten::pixel_shuffle", &[x.clone().into(), Value::Int(2)]);
        assert_eq!(up.shape(), [1, 2, 4, 6]);
        let down = run("aten::pixel_unshuffle", &[up.into(), Value::Int(2)]);
        assert_eq!(down, x);
    }
}
