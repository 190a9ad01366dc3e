//! Reductions: sums, means, extremes.
//!
//! Sums and means of floats are taken in PyTorch's order where that is known (`docs/numerics.md`); others in `f64`, rounded once.

use planish_ir::{DType, Dims, Type};

use super::quantized::reduce::{Grouped, mean as quantized_mean};
use super::{Kernel, Table};
use crate::call::{Call, Scalar};
use crate::tensor::{is_dense, memory_order};
use crate::{Error, MemoryFormat, Result, Tensor, Value};
use Kernel::{Many, One};

pub(super) const OPS: Table = &[
    ("aten::sum", One(sum_of)),
    ("aten::mean", One(mean)),
    ("aten::prod", One(prod)),
    ("aten::norm", One(norm)),
    ("aten::linalg_vector_norm", One(norm)),
    ("aten::amax", One(amax)),
    ("aten::amin", One(amin)),
    ("aten::max", Many(max)),
    ("aten::min", Many(min)),
    ("aten::aminmax", Many(aminmax)),
    ("aten::argmax", One(argmax)),
    ("aten::argmin", One(argmin)),
    ("aten::all", One(all)),
    ("aten::any", One(any)),
    ("aten::logsumexp", One(logsumexp)),
    ("aten::count_nonzero", One(count_nonzero)),
];

/// A tensor whose dimensions were split into those that stay and those that are reduced.
pub(super) struct Rows {
    /// Elements to reduce together, one row after the other, follow each other in this tensor's logical order.
    pub(super) tensor: Tensor,
    /// Elements of each row.
    pub(super) len: usize,
    /// Shape of the result.
    pub(super) shape: Dims,
}

/// Brings the reduced dimensions to the end.
pub(super) fn rows(tensor: &Tensor, dims: &[usize], keep: bool) -> Result<Rows> {
    let (reduced, kept): (Vec<usize>, Vec<usize>) =
        (0..tensor.rank()).partition(|dim| dims.contains(dim));
    let len = reduced
        .iter()
        .map(|dim| tensor.shape()[*dim] as usize)
        .product();
    let shape = (0..tensor.rank()).filter_map(|dim| match (dims.contains(&dim), keep) {
        (true, true) => Some(1),
        (true, false) => None,
        (false, _) => Some(tensor.shape()[dim]),
    });
    let order: Vec<usize> = kept.into_iter().chain(reduced).collect();
    Ok(Rows {
        shape: shape.collect(),
        tensor: tensor.permute(&order)?,
        len,
    })
}

impl Rows {
    /// Reduces each row of floats.
    pub(super) fn floats(&self, dtype: DType, f: impl Fn(&[f64]) -> f64) -> Result<Tensor> {
        let out = Tensor::zeros(dtype, &self.shape, MemoryFormat::Contiguous)?;
        let values = self.tensor.to_f64()?;
        out.write_f64(&self.each(&values, out.numel(), f))?;
        Ok(out)
    }

    /// Reduces each row of integers.
    fn ints(&self, dtype: DType, f: impl Fn(&[i64]) -> i64) -> Result<Tensor> {
        let out = Tensor::zeros(dtype, &self.shape, MemoryFormat::Contiguous)?;
        let values = self.tensor.to_i64()?;
        out.write_i64(&self.each(&values, out.numel(), f))?;
        Ok(out)
    }

    fn each<T, U>(&self, values: &[T], count: usize, f: impl Fn(&[T]) -> U) -> Vec<U> {
        (0..count)
            .map(|row| f(&values[row * self.len..(row + 1) * self.len]))
            .collect()
    }
}

/// `sum(tensor, dtype)`, `sum(tensor, dims, keepdim, dtype)`, or the sum of a list.
fn sum_of(call: &Call<'_>) -> Result<Value> {
    if let Value::List(_) = call.get(0) {
        return sum_of_list(call);
    }
    let (rows, dtype) = reduction(call)?;
    let own = rows.tensor.dtype();
    if own.is_floating_point() || dtype.is_some_and(DType::is_floating_point) {
        if own == DType::Float && dtype.is_none_or(|dtype| dtype == own) {
            return floats_of(&rows, &sums_over(call.tensor(0)?, &dims_of(call)?.0)?);
        }
        return Ok(rows
            .floats(dtype.unwrap_or(own), |row| row.iter().sum())?
            .into());
    }
    let add = |row: &[i64]| row.iter().copied().fold(0, i64::wrapping_add);
    Ok(rows.ints(dtype.unwrap_or(DType::Long), add)?.into())
}

fn sum_of_list(call: &Call<'_>) -> Result<Value> {
    let numbers: Option<Vec<Scalar>> = call.items(0)?.iter().map(Scalar::of).collect();
    let numbers = numbers.ok_or_else(|| call.wrong(0, "a list of numbers"))?;
    if numbers.iter().any(|n| matches!(n, Scalar::Float(_))) {
        return Ok(Value::Float(numbers.iter().map(|n| n.to_f64()).sum()));
    }
    let add = |sum: i64, n: &Scalar| sum.wrapping_add(n.to_i64());
    Ok(Value::Int(numbers.iter().fold(0, add)))
}

/// `mean(tensor, dtype)` or `mean(tensor, dims, keepdim, dtype)`
fn mean(call: &Call<'_>) -> Result<Value> {
    let tensor = call.tensor(0)?;
    if tensor.dtype().is_quantized() {
        let (dims, keep, dtype) = dims_of(call)?;
        let typed = !matches!(call.get(dtype), Value::None);
        return Ok(quantized_mean(tensor, &dims, keep, typed)?.into());
    }
    let (rows, dtype) = reduction(call)?;
    let dtype = dtype.unwrap_or(rows.tensor.dtype());
    if !dtype.is_floating_point() {
        return Err(call.wrong(0, "floats"));
    }
    if rows.tensor.dtype() == DType::Float && dtype == DType::Float {
        let sums = sums_over(tensor, &dims_of(call)?.0)?;
        let means: Vec<f32> = sums.iter().map(|sum| sum / rows.len as f32).collect();
        return floats_of(&rows, &means);
    }
    let average = |row: &[f64]| row.iter().sum::<f64>() / row.len() as f64;
    Ok(rows.floats(dtype, average)?.into())
}

/// The sums of a float tensor's elements over some dimensions, in the order that their places in memory ask for.
pub(super) fn sums_over(input: &Tensor, dims: &[usize]) -> Result<Vec<f32>> {
    let rows = rows(input, dims, false)?;
    let count = rows.shape.iter().product::<i64>() as usize;
    if let Some(grouped) = Grouped::new(input, dims) {
        return grouped.sums(&grouped.view.to_f32()?);
    }
    // The order of other sums is not known: add them exactly.
    let exact = |row: &[f64]| row.iter().sum::<f64>() as f32;
    Ok(rows.each(&rows.tensor.to_f64()?, count, exact))
}

/// A result of the shape of the rows.
fn floats_of(rows: &Rows, values: &[f32]) -> Result<Value> {
    let out = Tensor::zeros(DType::Float, &rows.shape, MemoryFormat::Contiguous)?;
    out.write_f32(values)?;
    Ok(out.into())
}

/// `prod(tensor, dtype)` or `prod(tensor, dim, keepdim, dtype)`
fn prod(call: &Call<'_>) -> Result<Value> {
    let tensor = call.tensor(0)?;
    let with_dim = call.args.len() > 2;
    let dims = if with_dim {
        vec![call.dim(1, tensor)?]
    } else {
        (0..tensor.rank()).collect()
    };
    let rows = rows(tensor, &dims, with_dim && call.bool_or(2, false)?)?;
    let dtype = call.dtype_opt(if with_dim { 3 } else { 1 })?;
    if tensor.dtype().is_floating_point() || dtype.is_some_and(DType::is_floating_point) {
        let dtype = dtype.unwrap_or(tensor.dtype());
        return Ok(rows.floats(dtype, |row| row.iter().product())?.into());
    }
    let multiply = |row: &[i64]| row.iter().copied().fold(1, i64::wrapping_mul);
    Ok(rows.ints(dtype.unwrap_or(DType::Long), multiply)?.into())
}

/// `norm(tensor, p)` or `norm(tensor, p, dims, keepdim, …)`
fn norm(call: &Call<'_>) -> Result<Value> {
    let tensor = call.tensor(0)?;
    let p = call.float_or(1, 2.0)?;
    let dims = match call.get(2) {
        Value::List(_) => call.ints_opt(2)?,
        _ => None,
    };
    let dims = dims_or_all(tensor, dims)?;
    let tensor = as_it_lies(tensor, &dims)?;
    let rows = rows(&tensor, &dims, call.bool_or(3, false)?)?;
    let kept = (0..tensor.rank()).filter(|dim| !dims.contains(dim));
    let run = kept.count()..;
    let (shape, strides) = (
        &rows.tensor.shape()[run.clone()],
        &rows.tensor.strides()[run],
    );
    let adjacent = MemoryFormat::Contiguous.fits(shape, strides);
    let single = tensor.dtype() == DType::Float;
    Ok(rows
        .floats(tensor.dtype(), |row| {
            if single && p == 2.0 {
                return f64::from(length(row, adjacent));
            }
            if single && p == 1.0 {
                return f64::from(row.iter().fold(0f32, |sum, x| sum + x.abs() as f32));
            }
            if p == f64::INFINITY {
                return row.iter().fold(0.0, |most, x| f64::max(most, x.abs()));
            }
            row.iter()
                .map(|x| x.abs().powf(p))
                .sum::<f64>()
                .powf(1.0 / p)
        })?
        .into())
}

/// A dense tensor that is reduced as a whole, with its dimensions as they lie in memory.
fn as_it_lies(tensor: &Tensor, reduced: &[usize]) -> Result<Tensor> {
    let (shape, strides) = (tensor.shape(), tensor.strides());
    let all = (0..tensor.rank()).all(|dim| reduced.contains(&dim));
    if !all || !is_dense(shape, strides) {
        return Ok(tensor.clone());
    }
    let mut order = memory_order(shape, &[strides]);
    order.reverse();
    tensor.permute(&order)
}

/// The root of the sum of squares of floats (`docs/numerics.md`, section 5.2): of neighbours in memory on eight lanes, of others in order.
fn length(row: &[f64], adjacent: bool) -> f32 {
    const LANES: usize = 8;
    let add = |sum: f32, x: &f64| sum + *x as f32 * *x as f32;
    if !adjacent {
        return row.iter().fold(0.0, add).sqrt();
    }
    let (vectors, rest) = row.split_at(row.len() / LANES * LANES);
    let mut lanes = [0f32; LANES];
    for vector in vectors.chunks_exact(LANES) {
        for (lane, x) in lanes.iter_mut().zip(vector) {
            *lane = add(*lane, x);
        }
    }
    let sum = lanes[1..].iter().fold(lanes[0], |sum, lane| sum + lane);
    let (four, last) = rest.split_at(rest.len() / 4 * 4);
    let sum = four.iter().fold(sum, add);
    let fused = |sum: f32, x: &f64| (*x as f32).mul_add(*x as f32, sum);
    last.iter().fold(sum, fused).sqrt()
}

fn amax(call: &Call<'_>) -> Result<Value> {
    extreme(call, |a, b| a > b)
}

fn amin(call: &Call<'_>) -> Result<Value> {
    extreme(call, |a, b| a < b)
}

fn extreme(call: &Call<'_>, better: fn(f64, f64) -> bool) -> Result<Value> {
    let tensor = call.tensor(0)?;
    let dims = dims_or_all(tensor, call.ints_opt(1)?)?;
    let rows = rows(tensor, &dims, call.bool_or(2, false)?)?;
    Ok(picked(&rows, better)?.0.into())
}

fn max(call: &Call<'_>) -> Result<Vec<Value>> {
    max_or_min(call, |a, b| a > b)
}

fn min(call: &Call<'_>) -> Result<Vec<Value>> {
    max_or_min(call, |a, b| a < b)
}

/// `max(tensor)`, `max(tensor, tensor)` or `max(tensor, dim, keepdim)`, which gives the indices too.
fn max_or_min(call: &Call<'_>, better: fn(f64, f64) -> bool) -> Result<Vec<Value>> {
    let tensor = call.tensor(0)?;
    match call.get(1) {
        Value::Tensor(_) => {
            let pair = super::arith::operands(call)?;
            let pick = |a: f64, b: f64| if better(b, a) || b.is_nan() { b } else { a };
            let whole = |a: i64, b: i64| if better(b as f64, a as f64) { b } else { a };
            Ok(vec![pair.binary(None, whole, pick)?.into()])
        }
        Value::None => {
            let all: Vec<usize> = (0..tensor.rank()).collect();
            let (values, _) = picked(&rows(tensor, &all, false)?, better)?;
            Ok(vec![values.into()])
        }
        _ => {
            let dim = call.dim(1, tensor)?;
            let rows = rows(tensor, &[dim], call.bool_or(2, false)?)?;
            let (values, places) = picked(&rows, better)?;
            Ok(vec![values.into(), places.into()])
        }
    }
}

/// `aminmax(tensor, dim, keepdim)`: the smallest and the largest.
fn aminmax(call: &Call<'_>) -> Result<Vec<Value>> {
    let tensor = call.tensor(0)?;
    let dims = dims_or_all(tensor, call.int_opt(1)?.map(|dim| vec![dim]))?;
    let rows = rows(tensor, &dims, call.bool_or(2, false)?)?;
    let (least, most) = (
        picked(&rows, |a, b| a < b)?.0,
        picked(&rows, |a, b| a > b)?.0,
    );
    Ok(vec![least.into(), most.into()])
}

fn argmax(call: &Call<'_>) -> Result<Value> {
    place(call, |a, b| a > b)
}

fn argmin(call: &Call<'_>) -> Result<Value> {
    place(call, |a, b| a < b)
}

fn place(call: &Call<'_>, better: fn(f64, f64) -> bool) -> Result<Value> {
    let tensor = call.tensor(0)?;
    let dims = dims_or_all(tensor, call.int_opt(1)?.map(|dim| vec![dim]))?;
    let rows = rows(tensor, &dims, call.bool_or(2, false)?)?;
    Ok(picked(&rows, better)?.1.into())
}

/// The first best element of each row, NaN before everything, and its index.
fn picked(rows: &Rows, better: fn(f64, f64) -> bool) -> Result<(Tensor, Tensor)> {
    let tensor = &rows.tensor;
    let best = |row: &[f64]| {
        let mut at = 0;
        for (index, value) in row.iter().enumerate() {
            if better(*value, row[at]) || (value.is_nan() && !row[at].is_nan()) {
                at = index;
            }
        }
        at
    };
    let places = Tensor::zeros(DType::Long, &rows.shape, MemoryFormat::Contiguous)?;
    if rows.len == 0 {
        return Err(Error::invalid("there is no element to pick from"));
    }
    // Codes of one scale are in the order of the numbers they stand for.
    let (values, quantized) = match tensor.qparams() {
        Some(qparams) => {
            let codes = tensor.codes()?;
            (codes.into_iter().map(f64::from).collect(), Some(qparams))
        }
        None => (tensor.to_f64()?, None),
    };
    let at = rows.each(&values, places.numel(), best);
    let chosen: Vec<f64> = at
        .iter()
        .enumerate()
        .map(|(row, at)| values[row * rows.len + at])
        .collect();
    let out = Tensor::zeros(tensor.dtype(), &rows.shape, MemoryFormat::Contiguous)?;
    let out = if let Some(qparams) = quantized {
        out.write_codes(&chosen.iter().map(|q| *q as i32).collect::<Vec<_>>())?;
        out.with_qparams(qparams)?
    } else if tensor.dtype().is_floating_point() {
        out.write_f64(&chosen)?;
        out
    } else {
        let whole = tensor.to_i64()?;
        let whole: Vec<i64> = at
            .iter()
            .enumerate()
            .map(|(row, at)| whole[row * rows.len + at])
            .collect();
        out.write_i64(&whole)?;
        out
    };
    places.write_i64(&at.iter().map(|at| *at as i64).collect::<Vec<_>>())?;
    Ok((out, places))
}

fn all(call: &Call<'_>) -> Result<Value> {
    truth(call, true, |row| row.iter().all(|x| *x != 0.0))
}

fn any(call: &Call<'_>) -> Result<Value> {
    truth(call, false, |row| row.iter().any(|x| *x != 0.0))
}

fn truth(call: &Call<'_>, empty: bool, test: impl Fn(&[f64]) -> bool) -> Result<Value> {
    if let Value::List(list) = call.get(0) {
        let numbers: Option<Vec<f64>> = list
            .to_vec()
            .iter()
            .map(|v| Scalar::of(v).map(Scalar::to_f64))
            .collect();
        let numbers = numbers.ok_or_else(|| call.wrong(0, "a list of numbers"))?;
        return Ok(if numbers.is_empty() {
            empty
        } else {
            test(&numbers)
        }
        .into());
    }
    let tensor = call.tensor(0)?;
    let dims = match call.get(1) {
        Value::None => None,
        _ => call.ints_opt(1)?,
    };
    let rows = rows(tensor, &dims_or_all(tensor, dims)?, call.bool_or(2, false)?)?;
    Ok(rows
        .floats(DType::Bool, |row| f64::from(u8::from(test(row))))?
        .into())
}

/// `count_nonzero(tensor, dims)`
fn count_nonzero(call: &Call<'_>) -> Result<Value> {
    let tensor = call.tensor(0)?;
    let rows = rows(tensor, &dims_or_all(tensor, call.ints_opt(1)?)?, false)?;
    let count = |row: &[f64]| row.iter().filter(|x| **x != 0.0).count() as f64;
    Ok(rows.floats(DType::Long, count)?.into())
}

fn logsumexp(call: &Call<'_>) -> Result<Value> {
    let tensor = call.tensor(0)?;
    let dims = dims_or_all(tensor, call.ints_opt(1)?)?;
    let rows = rows(tensor, &dims, call.bool_or(2, false)?)?;
    Ok(rows.floats(tensor.dtype(), log_sum)?.into())
}

pub(super) fn log_sum(row: &[f64]) -> f64 {
    let most = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    most + row.iter().map(|x| (x - most).exp()).sum::<f64>().ln()
}

pub(super) fn as_dtype(tensor: &Tensor, dtype: Option<DType>) -> Result<Tensor> {
    match dtype {
        Some(dtype) if dtype != tensor.dtype() => {
            let out = super::elementwise::like(tensor, dtype)?;
            super::join::convert_into(tensor, &out)?;
            Ok(out)
        }
        _ => Ok(tensor.clone()),
    }
}

/// The rows of `reduce(tensor, dtype)` or `reduce(tensor, dims, keepdim, dtype)`, and the type asked for.
fn reduction(call: &Call<'_>) -> Result<(Rows, Option<DType>)> {
    let tensor = call.tensor(0)?;
    let (dims, keep, dtype) = dims_of(call)?;
    let dtype = call.dtype_opt(dtype)?;
    Ok((rows(tensor, &dims, keep)?, dtype))
}

/// Dimensions, whether they stay with size 1, and the position of the type argument.
fn dims_of(call: &Call<'_>) -> Result<(Vec<usize>, bool, usize)> {
    let tensor = call.tensor(0)?;
    let with_dims = matches!(call.get(1), Value::List(list) if *list.element() == Type::Int || !list.lock().is_empty() || call.args.len() > 2)
        || call.args.len() == 4;
    if !with_dims {
        return Ok(((0..tensor.rank()).collect(), false, 1));
    }
    let dims = dims_or_all(tensor, call.ints_opt(1)?)?;
    Ok((dims, call.bool_or(2, false)?, 3))
}

/// The given dimensions; all of them when none is given.
pub(super) fn dims_or_all(tensor: &Tensor, dims: Option<Vec<i64>>) -> Result<Vec<usize>> {
    match dims {
        Some(dims) if !dims.is_empty() => dims.iter().map(|dim| tensor.dim_index(*dim)).collect(),
        _ => Ok((0..tensor.rank()).collect()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Contract, apply};
    use planish_ir::Op;

    fn run(op: &str, inputs: &[Value]) -> Vec<Tensor> {
        let out = apply(Op::of(op), inputs, Contract::Fbgemm).unwrap();
        out.iter()
            .map(|value| value.as_tensor().unwrap().clone())
            .collect()
    }

    fn matrix() -> Value {
        Tensor::from_values(&[2, 3], &[3f32, 1., 2., -1., 5., 5.])
            .unwrap()
            .into()
    }

    /// Bits that PyTorch 2.15 gives on one thread.
    #[test]
    fn norms_are_summed_in_order() {
        let floats = |shape: &[i64]| -> Value {
            let numbers = 0..shape.iter().product();
            let values = numbers.map(|i: i64| ((i * i * 7 + i * 13) % 101) as f32 * 0.1 - 3.0);
            let values: Vec<f32> = values.collect();
            Tensor::from_values(shape, &values).unwrap().into()
        };
        let norms = |tensor: Value, p: f64, dims: Value| -> Vec<u32> {
            let keep = Value::Bool(false);
            let norms = run("aten::norm.ScalarOpt_dim", &[tensor, p.into(), dims, keep]);
            let norms = norms[0].to_f32().unwrap();
            norms.iter().map(|norm| norm.to_bits()).collect()
        };
        for (len, bits) in [
            (4, 0x409d_5254),
            (7, 0x40bf_706e),
            (43, 0x419c_c2e0),
            (300, 0x4265_2c97),
        ] {
            let all = norms(floats(&[len]), 2.0, Value::ints(&[0]));
            assert_eq!(all, [bits], "{len}");
        }
        let apart = norms(floats(&[9, 4]), 2.0, Value::ints(&[0]));
        assert_eq!(apart, [0x4127_28e9, 0x40f4_5aeb, 0x40c0_e790, 0x4108_6c42]);
        // The step over a dimension of size 1 does not count.
        let ints = [1, 0, 4, 4].map(Value::Int);
        let every_fourth = [&[floats(&[3, 4, 23])], &ints[..]].concat();
        let sliced = run("aten::slice.Tensor", &every_fourth).remove(0);
        let together = norms(sliced.into(), 2.0, Value::ints(&[1, 2]));
        assert_eq!(together, [0x4146_7a37, 0x4159_61db, 0x4185_69bd]);
        let sums = norms(floats(&[300]), 1.0, Value::ints(&[0]));
        assert_eq!(sums, [0x4455_132d]);
    }

    #[test]
    fn reductions_drop_or_keep_dimensions() {
        let sum = run(
            "aten::sum.dim_IntList",
            &[matrix(), Value::ints(&[0]), true.into(), Value::None],
        );
        assert_eq!(
            (sum[0].shape(), sum[0].to_f32().unwrap()),
            (&[1, 3][..], vec![2., 6., 7.])
        );
        let mean = run("aten::mean", &[matrix(), Value::None]);
        assert_eq!((mean[0].rank(), mean[0].to_f32().unwrap()), (0, vec![2.5]));
    }

    #[test]
    fn extremes_come_with_the_first_place() {
        let out = run("aten::max.dim", &[matrix(), Value::Int(1), false.into()]);
        assert_eq!(out[0].to_f32().unwrap(), [3., 5.]);
        assert_eq!(out[1].to_i64().unwrap(), [0, 1]);
        let top = run(
            "aten::topk",
            &[
                matrix(),
                Value::Int(2),
                Value::Int(-1),
                true.into(),
                true.into(),
            ],
        );
        assert_eq!(top[0].to_f32().unwrap(), [3., 2., 5., 5.]);
        assert_eq!(top[1].to_i64().unwrap(), [0, 2, 1, 2]);
    }
}
