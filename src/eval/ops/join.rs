//! Joining and repeating tensors, and putting their elements into another order.

use planish_ir::{DType, Dims};

use super::{Kernel, Table};
use crate::call::Call;
use crate::promote::promote;
use crate::{Error, MemoryFormat, Result, Tensor, Value};
use Kernel::One;

pub(super) const OPS: Table = &[
    ("aten::cat", One(cat)),
    ("aten::hstack", One(side_by_side)),
    ("aten::vstack", One(side_by_side)),
    ("aten::stack", One(stack)),
    ("aten::repeat", One(repeat)),
    ("aten::tile", One(tile)),
    ("aten::repeat_interleave", One(repeat_interleave)),
    ("aten::flip", One(flip)),
    ("aten::roll", One(roll)),
    ("aten::pixel_shuffle", One(pixel_shuffle)),
    ("aten::pixel_unshuffle", One(pixel_unshuffle)),
    ("aten::channel_shuffle", One(channel_shuffle)),
    ("aten::copy_", One(copy_into)),
];

fn cat(call: &Call<'_>) -> Result<Value> {
    let tensors = call.tensors(0)?;
    if tensors.iter().any(|t| t.dtype().is_quantized()) {
        return super::quantized::cat_like_first(&tensors, call.int_or(1, 0)?);
    }
    Ok(joined(&tensors, call.int_or(1, 0)?)?.into())
}

/// `hstack(tensors)` joins along the second dimension, or the only one; `vstack(tensors)` joins rows.
fn side_by_side(call: &Call<'_>) -> Result<Value> {
    let rows = call.short_name() == "vstack";
    let mut tensors = call.tensors(0)?;
    for tensor in &mut tensors {
        while tensor.rank() < if rows { 2 } else { 1 } {
            *tensor = tensor.unsqueeze(0)?;
        }
    }
    let dim = i64::from(!rows && tensors.first().is_some_and(|first| first.rank() > 1));
    if tensors.iter().any(|t| t.dtype().is_quantized()) {
        return super::quantized::cat_like_first(&tensors, dim);
    }
    Ok(joined(&tensors, dim)?.into())
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
    if call.op.info().overload == *"Tensor" {
        // The places themselves.
        let places = places_of(call, 0, &tensor.to_i64()?)?;
        return Ok(Tensor::from_values(&[places.len() as i64], &places)?.into());
    }
    let flat;
    let (source, dim) = if call.is_none(2) {
        flat = tensor.reshape(&[-1])?;
        (&flat, 0)
    } else {
        (tensor, call.sized_dim(2, tensor)?.0)
    };
    let mut all: Vec<Vec<i64>> = source
        .shape()
        .iter()
        .map(|size| (0..*size).collect())
        .collect();
    let size = source.shape()[dim];
    all[dim] = if let Value::Tensor(counts) = call.get(1) {
        match (&counts.to_i64()?[..], size) {
            ([count], _) => places_of(call, 1, &vec![*count; size as usize])?,
            (counts, size) if counts.len() as i64 == size => places_of(call, 1, counts)?,
            _ => return Err(call.wrong(1, "a count for each element")),
        }
    } else {
        let mut places = positions(size, call.int(1)?)?;
        places.sort_unstable();
        places
    };
    Ok(picked(source, &all)?.into())
}

/// Each place as often as its count says; the counts are argument `index`.
fn places_of(call: &Call<'_>, index: usize, counts: &[i64]) -> Result<Vec<i64>> {
    let total = counts.iter().try_fold(0usize, |total, count| {
        total.checked_add(usize::try_from(*count).ok()?)
    });
    let total = total.ok_or_else(|| call.wrong(index, "counts that are not negative"))?;
    crate::limits::room(total, size_of::<i64>())?;
    let places = counts.iter().zip(0i64..);
    Ok(places
        .flat_map(|(count, at)| std::iter::repeat_n(at, *count as usize))
        .collect())
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
pub(super) fn picked(tensor: &Tensor, positions: &[Vec<i64>]) -> Result<Tensor> {
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
pub(super) fn copy_picked(from: &Tensor, out: &Tensor, positions: &[Vec<i64>]) -> Result<()> {
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

/// `channel_shuffle(x, groups)`: the channels of all groups in turn.
fn channel_shuffle(call: &Call<'_>) -> Result<Value> {
    let (tensor, groups) = (call.tensor(0)?, call.int(1)?);
    let shape = tensor.shape();
    if shape.len() < 3 || groups < 1 || shape[1] % groups != 0 {
        return Err(call.wrong(1, "a number of groups that divides the channels"));
    }
    let mut split = Dims::from(&shape[..1]);
    split.extend([groups, shape[1] / groups]);
    split.extend(shape[2..].iter().copied());
    let shuffled = tensor.reshape(&split)?.transpose(1, 2)?;
    Ok(shuffled.reshape(shape)?.into())
}

/// The reverse of `pixel_shuffle`.
fn pixel_unshuffle(call: &Call<'_>) -> Result<Value> {
    let (tensor, factor) = (call.tensor(0)?, call.int(1)?);
    let rank = tensor.rank();
    let fits = rank >= 3
        && (1..=1 << 20).contains(&factor)
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
    use crate::ops::trial::{counting, run};
    use planish_ir::Type;

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
    fn shuffled_pixels_come_back() {
        let x = counting(&[1, 8, 2, 3]);
        let up = run("aten::pixel_shuffle", &[x.clone().into(), Value::Int(2)]);
        assert_eq!(up.shape(), [1, 2, 4, 6]);
        let down = run("aten::pixel_unshuffle", &[up.into(), Value::Int(2)]);
        assert_eq!(down, x);
    }
}
