//! Writing elements to places that tensors name.
//!
//! The operators in place compute the same and write it back.

use planish_ir::{DType, Dims};

use super::elementwise::like;
use super::index::{advance, selection};
use super::join::convert_into;
use super::{Kernel, Table};
use crate::call::Call;
use crate::{MemoryFormat, Result, Tensor, Value};
use Kernel::One;

pub(super) const OPS: Table = &[
    ("aten::index_add", One(index_add)),
    ("aten::index_copy", One(index_copy)),
    ("aten::index_fill", One(index_fill)),
    ("aten::masked_scatter", One(masked_scatter)),
    ("aten::scatter", One(scatter)),
    ("aten::scatter_add", One(scatter)),
    ("aten::scatter_reduce", One(scatter_reduce)),
    ("aten::select_scatter", One(select_scatter)),
    ("aten::slice_scatter", One(slice_scatter)),
];

/// What becomes of an element and a value that is written to it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum How {
    Assign,
    Add,
    Multiply,
    Most,
    Least,
}

impl How {
    /// The meaning of a reduction's name; a mean is a sum that is divided afterwards.
    fn of(name: &str) -> Option<Self> {
        Some(match name {
            "add" | "sum" | "mean" => Self::Add,
            "multiply" | "prod" => Self::Multiply,
            "amax" => Self::Most,
            "amin" => Self::Least,
            _ => return None,
        })
    }

    fn floats(self, old: f64, new: f64) -> f64 {
        match self {
            Self::Assign => new,
            Self::Add => old + new,
            Self::Multiply => old * new,
            Self::Most if old.is_nan() || new.is_nan() => f64::NAN,
            Self::Most => old.max(new),
            Self::Least if old.is_nan() || new.is_nan() => f64::NAN,
            Self::Least => old.min(new),
        }
    }

    fn ints(self, old: i64, new: i64) -> i64 {
        match self {
            Self::Assign => new,
            Self::Add => old.wrapping_add(new),
            Self::Multiply => old.wrapping_mul(new),
            Self::Most => old.max(new),
            Self::Least => old.min(new),
        }
    }
}

/// A copy of the call's tensor, to be written to.
fn copy(call: &Call<'_>) -> Result<Tensor> {
    let tensor = call.tensor(0)?;
    if tensor.dtype().is_quantized() || tensor.dtype().is_complex() {
        return Err(call.wrong(0, "a tensor of plain real numbers"));
    }
    let out = like(tensor, tensor.dtype())?;
    convert_into(tensor, &out)?;
    Ok(out)
}

/// Brings `values` to the places in memory of a fresh tensor, in order; each step is rounded to the tensor's type.
fn store(out: &Tensor, places: &[i64], values: &Tensor, how: How) -> Result<()> {
    let flat = out.as_strided(&[out.numel() as i64], &[1], 0)?;
    let places = places.iter().map(|place| *place as usize);
    if out.dtype().is_floating_point() {
        let mut all = flat.to_f64()?;
        let round = |value: f64| match out.dtype() {
            DType::Double => value,
            DType::Half => f64::from(half::f16::from_f32(value as f32)),
            DType::BFloat16 => f64::from(half::bf16::from_f32(value as f32)),
            _ => f64::from(value as f32),
        };
        for (place, value) in places.zip(values.to_f64()?) {
            all[place] = round(how.floats(all[place], value));
        }
        return flat.write_f64(&all);
    }
    let mut all = flat.to_i64()?;
    for (place, value) in places.zip(values.to_i64()?) {
        all[place] = how.ints(all[place], value);
    }
    flat.write_i64(&all)
}

/// The places in `out` that `index` names along a dimension.
fn along(call: &Call<'_>, out: &Tensor, dim: usize, index: &Tensor) -> Result<Vec<i64>> {
    let fits = out.rank() == index.rank()
        && (0..out.rank()).all(|d| d == dim || index.shape()[d] <= out.shape()[d]);
    if !fits {
        return Err(call.wrong(2, "an index with the tensor's dimensions"));
    }
    let mut at = vec![0i64; index.rank()];
    let mut places = Vec::with_capacity(index.numel());
    for wanted in index.to_i64()? {
        if out.rank() > 0 && !(0..out.shape()[dim]).contains(&wanted) {
            return Err(call.wrong(2, "positions inside the dimension"));
        }
        let steps = (0..at.len()).map(|d| if d == dim { wanted } else { at[d] } * out.strides()[d]);
        places.push(steps.sum());
        advance(&mut at, index.shape());
    }
    Ok(places)
}

/// The first elements of the source, as many as the index has in each dimension; a number stands for all of them.
fn source(call: &Call<'_>, at: usize, shape: &[i64]) -> Result<Tensor> {
    let Value::Tensor(source) = call.get(at) else {
        let number = Tensor::scalar(call.float(at)?)?;
        return number.expand(shape);
    };
    if source.rank() != shape.len() || shape.iter().zip(source.shape()).any(|(a, b)| a > b) {
        return Err(call.wrong(at, "a value for each index"));
    }
    let mut part = source.clone();
    for (dim, size) in shape.iter().enumerate() {
        part = part.slice(dim, 0, *size, 1)?;
    }
    Ok(part)
}

/// `scatter(self, dim, index, source or value, reduce)`, `scatter_add(self, dim, index, source)`
fn scatter(call: &Call<'_>) -> Result<Value> {
    let how = match call.get(4) {
        Value::Str(name) => How::of(name).ok_or_else(|| call.wrong(4, "a reduction"))?,
        _ if call.short_name() == "scatter_add" => How::Add,
        _ => How::Assign,
    };
    let (out, index) = (copy(call)?, call.tensor(2)?);
    let places = along(call, &out, call.dim(1, &out)?, index)?;
    store(&out, &places, &source(call, 3, index.shape())?, how)?;
    Ok(out.into())
}

/// `scatter_reduce(self, dim, index, source, reduce, include_self)`
fn scatter_reduce(call: &Call<'_>) -> Result<Value> {
    let name = call.str(4)?;
    let how = How::of(name).ok_or_else(|| call.wrong(4, "a reduction"))?;
    let (out, index) = (copy(call)?, call.tensor(2)?);
    let places = along(call, &out, call.dim(1, &out)?, index)?;
    let values = source(call, 3, index.shape())?;
    let own = call.bool_or(5, true)?;
    let mut counts = vec![i64::from(own); out.numel()];
    for place in &places {
        counts[*place as usize] += 1;
    }
    if !own {
        // What stood there does not count: sums begin at 0, products at 1, extremes with the first value.
        let neutral = match how {
            How::Multiply => Some(1.0),
            How::Most | How::Least => None,
            _ => Some(0.0),
        };
        match neutral {
            Some(value) => {
                let neutral = Tensor::scalar(value)?.expand(&[places.len() as i64])?;
                store(&out, &places, &neutral, How::Assign)?;
            }
            None => store(&out, &places, &values, How::Assign)?,
        }
    }
    store(&out, &places, &values, how)?;
    if name == "mean" {
        let flat = out.as_strided(&[out.numel() as i64], &[1], 0)?;
        let counts = counts.iter().map(|count| (*count).max(1));
        if out.dtype().is_floating_point() {
            let values = flat.to_f64()?.into_iter().zip(counts);
            let means: Vec<f64> = values.map(|(sum, count)| sum / count as f64).collect();
            flat.write_f64(&means)?;
        } else {
            let values = flat.to_i64()?.into_iter().zip(counts);
            let means: Vec<i64> = values.map(|(sum, count)| sum.div_euclid(count)).collect();
            flat.write_i64(&means)?;
        }
    }
    Ok(out.into())
}

/// `index_put(self, indices, values, accumulate)`, accumulating.
pub(super) fn accumulated(call: &Call<'_>) -> Result<Tensor> {
    let out = copy(call)?;
    let Some((shape, places)) = selection(call, &out)? else {
        return Err(call.wrong(1, "at least one index"));
    };
    let values = call.tensor(2)?.expand(&shape)?;
    store(&out, &places, &values, How::Add)?;
    Ok(out)
}

/// The index along a dimension of a list of positions, the same for all others.
fn lists(call: &Call<'_>, out: &Tensor) -> Result<(usize, Tensor, Dims)> {
    let (dim, _) = call.sized_dim(1, out)?;
    let index = call.tensor(2)?;
    let count = index.numel() as i64;
    let mut shape = Dims::from(out.shape());
    shape[dim] = count;
    let mut line: Dims = shape.iter().map(|_| 1).collect();
    line[dim] = count;
    Ok((dim, index.reshape(&line)?.expand(&shape)?, shape))
}

/// `index_add(self, dim, index, source, alpha)`
fn index_add(call: &Call<'_>) -> Result<Value> {
    let out = copy(call)?;
    let (dim, index, shape) = lists(call, &out)?;
    if call.float_or(4, 1.0)?.to_bits() != 1f64.to_bits() {
        return Err(call.unsupported("with a factor"));
    }
    let places = along(call, &out, dim, &index)?;
    store(&out, &places, &source(call, 3, &shape)?, How::Add)?;
    Ok(out.into())
}

/// `index_copy(self, dim, index, source)`
fn index_copy(call: &Call<'_>) -> Result<Value> {
    let out = copy(call)?;
    let (dim, index, shape) = lists(call, &out)?;
    let places = along(call, &out, dim, &index)?;
    store(&out, &places, &source(call, 3, &shape)?, How::Assign)?;
    Ok(out.into())
}

/// `index_fill(self, dim, index, value)`
fn index_fill(call: &Call<'_>) -> Result<Value> {
    let out = copy(call)?;
    let (dim, index, shape) = lists(call, &out)?;
    let value = match call.get(3) {
        Value::Tensor(value) if value.numel() == 1 => value.reshape(&[])?,
        _ => Tensor::scalar(call.float(3)?)?,
    };
    let places = along(call, &out, dim, &index)?;
    store(&out, &places, &value.expand(&shape)?, How::Assign)?;
    Ok(out.into())
}

/// `masked_scatter(self, mask, source)`: the true elements become the source's first ones.
fn masked_scatter(call: &Call<'_>) -> Result<Value> {
    let out = copy(call)?;
    let mask = call.tensor(1)?.expand(out.shape())?.to_i64()?;
    let mut at = vec![0i64; out.rank()];
    let mut places = Vec::new();
    for truth in mask {
        if truth != 0 {
            let steps = at.iter().zip(out.strides()).map(|(at, stride)| at * stride);
            places.push(steps.sum());
        }
        advance(&mut at, out.shape());
    }
    let values = call.tensor(2)?.contiguous(MemoryFormat::Contiguous)?;
    if values.numel() < places.len() {
        return Err(call.wrong(2, "a value for each true element"));
    }
    let values = values.reshape(&[values.numel() as i64])?;
    store(&out, &places, &values, How::Assign)?;
    Ok(out.into())
}

/// `select_scatter(self, source, dim, index)`
fn select_scatter(call: &Call<'_>) -> Result<Value> {
    let out = copy(call)?;
    let (dim, size) = call.sized_dim(2, &out)?;
    let index = call.int(3)?;
    let index = if index < 0 { index + size } else { index };
    if !(0..size).contains(&index) {
        return Err(call.wrong(3, "a position inside the dimension"));
    }
    fill_view(call, &out.select(dim, index)?)?;
    Ok(out.into())
}

/// `slice_scatter(self, source, dim, start, end, step)`
fn slice_scatter(call: &Call<'_>) -> Result<Value> {
    let out = copy(call)?;
    let (dim, size) = call.sized_dim(2, &out)?;
    let bound = |at: i64| (if at < 0 { at.saturating_add(size) } else { at }).clamp(0, size);
    let (start, end) = (bound(call.int_or(3, 0)?), bound(call.int_or(4, i64::MAX)?));
    let step = call.int_or(5, 1)?;
    if !(1..=i64::from(u32::MAX)).contains(&step) {
        return Err(call.wrong(5, "a positive step"));
    }
    let count = ((end - start).max(0) + step - 1) / step;
    fill_view(call, &out.slice(dim, start.min(size), count, step)?)?;
    Ok(out.into())
}

fn fill_view(call: &Call<'_>, view: &Tensor) -> Result<()> {
    let source = call.tensor(1)?;
    if source.shape() != view.shape() || source.dtype() != view.dtype() {
        return Err(call.wrong(1, "a tensor of the shape and type of what it replaces"));
    }
    convert_into(source, view)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::trial::{counting, run};
    use planish_ir::Type;

    fn ints(shape: &[i64], values: &[i64]) -> Value {
        Tensor::from_values(shape, values).unwrap().into()
    }

    #[test]
    fn elements_go_where_the_index_says() {
        let x: Value = counting(&[2, 3]).into();
        let index = ints(&[1, 3], &[1, 0, 1]);
        let args = [x.clone(), Value::Int(0), index.clone(), x.clone()];
        let out = run("aten::scatter.src", &args);
        assert_eq!(out.to_f32().unwrap(), [0., 1., 2., 0., 4., 2.]);
        let out = run("aten::scatter_add", &args);
        assert_eq!(out.to_f32().unwrap(), [0., 2., 2., 3., 4., 7.]);
        let args = [x, Value::Int(0), index, Value::Float(9.0)];
        let out = run("aten::scatter.value", &args);
        assert_eq!(out.to_f32().unwrap(), [0., 9., 2., 9., 4., 9.]);
    }

    #[test]
    fn equal_places_are_added_up() {
        let x: Value = counting(&[3, 2]).into();
        let rows = Value::list(Type::TENSOR, [ints(&[3], &[1, 1, -1])]);
        let ones: Value = Tensor::from_values(&[2], &[1f32, 10.]).unwrap().into();
        let out = run("aten::index_put", &[x, rows, ones, true.into()]);
        assert_eq!(out.to_f32().unwrap(), [0., 1., 4., 23., 5., 15.]);
    }
}
