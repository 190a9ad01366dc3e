//! Products of float matrices.
//!
//! Floats are summed in the order that PyTorch's libraries take, see [`Product`]; doubles as they come.

use planish_ir::{DType, Dims};

use super::conv::Sum;
use super::elementwise::broadcast;
use super::{Kernel, Table};
use crate::call::Call;
use crate::float::product::{Dot, Product};
use crate::{MemoryFormat, Result, Tensor, Value};
use Kernel::One;

pub(super) const OPS: Table = &[
    ("aten::linear", One(linear)),
    ("aten::mm", One(matmul)),
    ("aten::bmm", One(matmul)),
    ("aten::matmul", One(matmul)),
    ("aten::addmm", One(addmm)),
    ("aten::baddbmm", One(addmm)),
    ("aten::scaled_dot_product_attention", One(attention)),
];

fn linear(call: &Call<'_>) -> Result<Value> {
    let (input, weight) = (call.tensor(0)?, call.tensor(1)?);
    let depth = input.shape().last().copied().unwrap_or(0).max(1) as usize;
    let product = Product {
        rows: input.numel() / depth,
        columns: weight.shape().first().copied().unwrap_or(0) as usize,
        depth,
        transposed: weight.strides().last() == Some(&1),
    };
    let dot = product.single();
    Ok(linear_map(call, input, weight, call.tensor_opt(2)?, |_| dot)?.into())
}

/// Rows times the transpose of a weight `[out, in]`, plus a bias; `dot` sums the products of an output.
pub(super) fn linear_map(
    call: &Call<'_>,
    input: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    dot: impl Fn(usize) -> Dot,
) -> Result<Tensor> {
    let Some((depth, rows)) = input.shape().split_last() else {
        return Err(call.wrong(0, "rows"));
    };
    let (outputs, mut shape) = match weight.shape() {
        [outputs, columns] if columns == depth => (*outputs, Dims::from(rows)),
        _ => return Err(call.wrong(1, "a matrix whose rows are as long as the input's")),
    };
    if !input.dtype().is_floating_point() || !weight.dtype().is_floating_point() {
        return Err(call.wrong(0, "floats"));
    }
    shape.push(outputs);
    call.work((input.numel() as u64).saturating_mul(outputs as u64))?;
    let bias = match bias {
        Some(bias) if bias.shape() == [outputs] => bias.clone(),
        Some(_) => return Err(call.wrong(2, "one value for each output")),
        None => Tensor::zeros(input.dtype(), &[outputs], MemoryFormat::Contiguous)?,
    };
    let (outputs, depth) = (outputs as usize, *depth as usize);
    let rows = rows.iter().product::<i64>() as usize;
    let out = Tensor::zeros(input.dtype(), &shape, MemoryFormat::Contiguous)?;
    if input.dtype() == DType::Double {
        let bias = bias.to_f64()?;
        let (x, w) = (input.to_f64()?, weight.to_f64()?);
        let values = pairs(&x, &w, [rows, outputs, depth], |_, o, x, w| {
            f64::dot(x, w) + bias[o]
        });
        out.write_f64(&values)?;
    } else {
        let bias = bias.to_f32()?;
        let (x, w) = (input.to_f32()?, weight.to_f32()?);
        let values = pairs(&x, &w, [rows, outputs, depth], |_, o, x, w| {
            dot(o)(bias[o], x, w)
        });
        out.write_f32(&values)?;
    }
    Ok(out)
}

/// Something of each row of `x` and each row of `w`, whose indices come with them.
fn pairs<T, U>(
    x: &[T],
    w: &[T],
    [rows, outputs, depth]: [usize; 3],
    each: impl Fn(usize, usize, &[T], &[T]) -> U,
) -> Vec<U> {
    let mut out = Vec::with_capacity(rows * outputs);
    for row in 0..rows {
        let x = &x[row * depth..(row + 1) * depth];
        out.extend((0..outputs).map(|o| each(row, o, x, &w[o * depth..(o + 1) * depth])));
    }
    out
}

fn matmul(call: &Call<'_>) -> Result<Value> {
    Ok(product(call, call.tensor(0)?, call.tensor(1)?, None)?.into())
}

/// The matrix product with broadcasting over leading dimensions; vectors are rows on the left and columns on the right. The sums of floats
/// go onto `base`.
fn product(call: &Call<'_>, a: &Tensor, b: &Tensor, base: Option<&Tensor>) -> Result<Tensor> {
    if a.rank() == 0 || b.rank() == 0 {
        return Err(call.wrong(0, "matrices or vectors"));
    }
    let left = if a.rank() == 1 {
        a.unsqueeze(0)?
    } else {
        a.clone()
    };
    let right = if b.rank() == 1 {
        b.unsqueeze(1)?
    } else {
        b.clone()
    };
    let (m, k) = (left.shape()[left.rank() - 2], left.shape()[left.rank() - 1]);
    let (depth, n) = (
        right.shape()[right.rank() - 2],
        right.shape()[right.rank() - 1],
    );
    if k != depth {
        return Err(call.wrong(1, "as many rows as the first has columns"));
    }
    // Leading dimensions broadcast; a tensor without elements stands for them.
    let lead = |t: &Tensor| -> Result<Tensor> {
        let rank = t.rank() - 2;
        t.as_strided(&t.shape()[..rank], &t.strides()[..rank], t.offset())
    };
    let batch = if left.numel() == 0 || right.numel() == 0 {
        Dims::from(&left.shape()[..left.rank() - 2])
    } else {
        broadcast(&[&lead(&left)?, &lead(&right)?])?.0
    };
    let expand = |t: &Tensor, rows, columns| {
        let mut shape = batch.clone();
        shape.extend([rows, columns]);
        t.expand(&shape)
    };
    let (left, right) = (expand(&left, m, k)?, expand(&right, k, n)?);
    let mut shape = batch.clone();
    shape.extend([m, n]);
    let dtype = crate::promote::promote(a.dtype(), b.dtype());
    let out = Tensor::zeros(dtype, &shape, MemoryFormat::Contiguous)?;
    call.work((out.numel() as u64).saturating_mul(k as u64))?;
    let rank = right.rank();
    let columns = right.transpose(rank - 2, rank - 1)?;
    let sizes = [m, n, k];
    if dtype == DType::Double {
        let (x, y) = (left.to_f64()?, columns.to_f64()?);
        let dot = |_, x: &[f64], y: &[f64]| f64::dot(x, y);
        out.write_f64(&batched_products(&x, &y, &batch, sizes, dot))?;
    } else if dtype.is_floating_point() {
        let (x, y) = (left.to_f32()?, columns.to_f32()?);
        // Leading dimensions of the first alone are rows.
        let one = b.rank() <= 2;
        let rows = if one {
            batch.iter().product::<i64>() * m
        } else {
            m
        };
        let product = Product {
            rows: rows as usize,
            columns: n as usize,
            depth: k as usize,
            transposed: columns.strides()[rank - 1] == 1 && right.strides()[rank - 1] != 1,
        };
        let dot = if one {
            product.single()
        } else {
            product.batched()
        };
        let base = match base {
            Some(base) => base.expand(&shape)?.to_f32()?,
            None => vec![0.0; out.numel()],
        };
        let dot = |at: usize, x: &[f32], y: &[f32]| dot(base[at], x, y);
        out.write_f32(&batched_products(&x, &y, &batch, sizes, dot))?;
    } else {
        let (x, y) = (left.to_i64()?, columns.to_i64()?);
        let dot = |_, a: &[i64], b: &[i64]| {
            let products = a.iter().zip(b).map(|(a, b)| a.wrapping_mul(*b));
            products.fold(0, i64::wrapping_add)
        };
        out.write_i64(&batched_products(&x, &y, &batch, sizes, dot))?;
    }
    let out = if b.rank() == 1 {
        out.squeeze(|d| d + 1 == shape.len())?
    } else {
        out
    };
    if a.rank() == 1 {
        let row = out.rank() - usize::from(b.rank() != 1) - 1;
        return out.squeeze(|d| d == row);
    }
    Ok(out)
}

/// Something of the rows of each pair of matrices; `dot` is told the place of its result.
fn batched_products<T, U>(
    x: &[T],
    y: &[T],
    batch: &[i64],
    [m, n, k]: [i64; 3],
    dot: impl Fn(usize, &[T], &[T]) -> U,
) -> Vec<U> {
    let (m, n, k) = (m as usize, n as usize, k as usize);
    let batch: i64 = batch.iter().product();
    let mut out = Vec::with_capacity(batch as usize * m * n);
    for at in 0..batch as usize {
        let first = out.len();
        let (x, y) = (&x[at * m * k..], &y[at * n * k..]);
        out.extend(pairs(x, y, [m, n, k], |row, o, x, y| {
            dot(first + row * n + o, x, y)
        }));
    }
    out
}

/// `addmm(self, a, b, beta, alpha)`: `beta * self + alpha * (a @ b)`
fn addmm(call: &Call<'_>) -> Result<Value> {
    let (base, a, b) = (call.tensor(0)?, call.tensor(1)?, call.tensor(2)?);
    let beta = call.float_or(3, 1.0)?;
    let alpha = call.float_or(4, 1.0)?;
    if a.dtype() != DType::Double && [alpha, beta] == [1.0; 2] {
        return Ok(product(call, a, b, Some(base))?.into());
    }
    let sums = product(call, a, b, None)?;
    let base = base.expand(sums.shape())?;
    let out = Tensor::zeros(a.dtype(), sums.shape(), MemoryFormat::Contiguous)?;
    if a.dtype() == DType::Double {
        let (sums, base) = (sums.to_f64()?, base.to_f64()?);
        let values = sums.iter().zip(&base);
        let values = values.map(|(sum, base)| alpha * sum + beta * base);
        out.write_f64(&values.collect::<Vec<_>>())?;
    } else {
        let (alpha, beta) = (alpha as f32, beta as f32);
        let (sums, base) = (sums.to_f32()?, base.to_f32()?);
        let values = sums.iter().zip(&base);
        let values = values.map(|(sum, base)| alpha.mul_add(*sum, beta * base));
        out.write_f32(&values.collect::<Vec<_>>())?;
    }
    Ok(out.into())
}

/// `scaled_dot_product_attention(query, key, value, mask, dropout, causal, scale)`
fn attention(call: &Call<'_>) -> Result<Value> {
    let (query, key, value) = (call.tensor(0)?, call.tensor(1)?, call.tensor(2)?);
    if call.float_or(4, 0.0)? != 0.0 {
        return Err(call.unsupported("with dropout"));
    }
    let rank = key.rank();
    if query.rank() < 2 || rank < 2 {
        return Err(call.wrong(0, "matrices"));
    }
    let depth = query.shape()[query.rank() - 1] as f64;
    let scale = call.float_opt(6)?.unwrap_or(1.0 / depth.sqrt());
    let scores = product(call, query, &key.transpose(rank - 2, rank - 1)?, None)?;
    let (rows, columns) = (
        scores.shape()[scores.rank() - 2] as usize,
        scores.shape()[scores.rank() - 1] as usize,
    );
    let mut weights = scores.to_f64()?;
    for (at, weight) in weights.iter_mut().enumerate() {
        *weight *= scale;
        if call.bool_or(5, false)? && at % columns > at / columns % rows {
            *weight = f64::NEG_INFINITY;
        }
    }
    if let Some(mask) = call.tensor_opt(3)? {
        let keep = mask.dtype() == DType::Bool;
        let mask = mask.expand(scores.shape())?.to_f64()?;
        for (weight, mask) in weights.iter_mut().zip(&mask) {
            match keep {
                true if *mask == 0.0 => *weight = f64::NEG_INFINITY,
                true => {}
                false => *weight += mask,
            }
        }
    }
    for row in weights.chunks_exact_mut(columns.max(1)) {
        super::softmax::softmax_row(row);
    }
    let shares = Tensor::zeros(query.dtype(), scores.shape(), MemoryFormat::Contiguous)?;
    shares.write_f64(&weights)?;
    Ok(product(call, &shares, value, None)?.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Contract, apply};
    use planish_ir::Op;

    fn run(op: &str, inputs: &[Value]) -> Tensor {
        let out = apply(Op::of(op), inputs, Contract::Fbgemm)
            .unwrap()
            .remove(0);
        out.as_tensor().unwrap().clone()
    }

    fn counting(shape: &[i64]) -> Value {
        let count: i64 = shape.iter().product();
        let values: Vec<f32> = (0..count).map(|i| i as f32).collect();
        Tensor::from_values(shape, &values).unwrap().into()
    }

    #[test]
    fn products_broadcast_and_drop_vector_dimensions() {
        let out = run(
            "aten::matmul",
            &[counting(&[2, 1, 2, 3]), counting(&[4, 3, 2])],
        );
        assert_eq!(out.shape(), [2, 4, 2, 2]);
        let out = run("aten::matmul", &[counting(&[3]), counting(&[3, 2])]);
        assert_eq!(
            (out.shape(), out.to_f32().unwrap()),
            (&[2][..], vec![10., 13.])
        );
        let out = run("aten::matmul", &[counting(&[2, 3]), counting(&[3])]);
        assert_eq!(
            (out.shape(), out.to_f32().unwrap()),
            (&[2][..], vec![5., 14.])
        );
        let out = run("aten::matmul", &[counting(&[3]), counting(&[3])]);
        assert_eq!((out.shape(), out.to_f32().unwrap()), (&[][..], vec![5.]));
    }

    #[test]
    fn a_linear_map_adds_its_bias() {
        let inputs = [counting(&[1, 2]), counting(&[3, 2]), counting(&[3])];
        assert_eq!(run("aten::linear", &inputs).to_f32().unwrap(), [1., 4., 7.]);
    }
}
