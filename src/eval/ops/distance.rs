//! How far vectors are from each other, and vectors cut to a length.

use planish_ir::DType;

use super::composed::made;
use super::{Kernel, Table};
use crate::call::Call;
use crate::{MemoryFormat, Result, Tensor, Value};
use Kernel::One;

pub(super) const OPS: Table = &[
    ("aten::cosine_similarity", One(cosine_similarity)),
    ("aten::pairwise_distance", One(pairwise_distance)),
    ("aten::cdist", One(every_pair)),
    ("aten::dist", One(distance)),
    ("aten::renorm", One(renorm)),
];

/// `cosine_similarity(a, b, dim, eps)`: both are divided by their lengths first.
fn cosine_similarity(call: &Call<'_>) -> Result<Value> {
    let (dim, eps) = (call.int_or(2, 1)?, call.float_or(3, 1e-8)?);
    let (_, _, pair) = super::elementwise::broadcast(&[call.tensor(0)?, call.tensor(1)?])?;
    let dims = Value::ints(&[dim]);
    let unit = |tensor: &Tensor| {
        let args = [
            tensor.clone().into(),
            Value::Int(2),
            dims.clone(),
            true.into(),
            Value::None,
        ];
        let length = call.other("aten::linalg_vector_norm", &args)?;
        let length = call.other("aten::clamp_min", &[length, Value::Float(eps)])?;
        call.other("aten::div.Tensor", &[tensor.clone().into(), length])
    };
    let units: Vec<Value> = pair.iter().map(unit).collect::<Result<_>>()?;
    let products = call.other("aten::mul.Tensor", &units)?;
    call.other(
        "aten::sum.dim_IntList",
        &[products, dims, false.into(), Value::None],
    )
}

/// `pairwise_distance(a, b, p, eps, keepdim)`
fn pairwise_distance(call: &Call<'_>) -> Result<Value> {
    let (p, eps) = (call.float_or(2, 2.0)?, call.float_or(3, 1e-6)?);
    let one = Value::Int(1);
    let apart = call.other(
        "aten::sub.Tensor",
        &[call.get(0).clone(), call.get(1).clone(), one.clone()],
    )?;
    let apart = call.other("aten::add.Scalar", &[apart, Value::Float(eps), one])?;
    let (last, keep) = (Value::ints(&[-1]), call.bool_or(4, false)?);
    call.other(
        "aten::norm.ScalarOpt_dim",
        &[apart, Value::Float(p), last, keep.into()],
    )
}

/// `dist(a, b, p)`: the length of the difference.
fn distance(call: &Call<'_>) -> Result<Value> {
    let args = [call.get(0).clone(), call.get(1).clone(), Value::Int(1)];
    let apart = call.other("aten::sub.Tensor", &args)?;
    let p = Value::Float(call.float_or(2, 2.0)?);
    call.other(
        "aten::linalg_vector_norm",
        &[apart, p, Value::None, false.into(), Value::None],
    )
}

/// Rows of either tensor from which on Euclidean distances are taken from one product of matrices.
const MANY: i64 = 25;

/// `cdist(a, b, p, compute_mode)`: the distance of every row of one tensor from every row of the other. A mode of 1 asks for the product of
/// matrices, one of 2 for none.
fn every_pair(call: &Call<'_>) -> Result<Value> {
    let (a, b, p) = (call.tensor(0)?, call.tensor(1)?, call.float_or(2, 2.0)?);
    let (&[.., m, width], &[.., n, other]) = (a.shape(), b.shape()) else {
        return Err(call.wrong(0, "rows of numbers"));
    };
    if width != other || p < 0.0 || !a.dtype().is_floating_point() {
        return Err(call.wrong(
            1,
            "rows of as many numbers, for an exponent of at least zero",
        ));
    }
    call.work(m.saturating_mul(n).saturating_mul(width.max(1)))?;
    let product = match call.int_or(3, 0)? {
        0 => m > MANY || n > MANY,
        mode => mode == 1,
    };
    let lead = |tensor: &Tensor| -> Result<Tensor> {
        Tensor::zeros(
            DType::Bool,
            &tensor.shape()[..tensor.rank() - 2],
            MemoryFormat::Contiguous,
        )
    };
    let (batch, ..) = super::elementwise::broadcast(&[&lead(a)?, &lead(b)?])?;
    let of = |tensor: &Tensor, rows: i64| tensor.expand(&[&batch[..], &[rows, width]].concat());
    let (a, b) = (of(a, m)?, of(b, n)?);
    if p == 2.0 && product && m > 0 && n > 0 && width > 0 {
        return by_product(call, &a, &b);
    }
    let out = Tensor::zeros(
        a.dtype(),
        &[&batch[..], &[m, n]].concat(),
        MemoryFormat::Contiguous,
    )?;
    let (x, y, width) = (a.to_f32()?, b.to_f32()?, width as usize);
    let pairs = (0..out.numel()).map(|at| {
        let (m, n) = (m as usize, n as usize);
        let (row, column) = (at / n, at / (m * n) * n + at % n);
        length(&x[row * width..][..width], &y[column * width..][..width], p)
    });
    out.write_f32(&pairs.collect::<Vec<_>>())?;
    Ok(out.into())
}

/// The length of the difference of two rows, summed in single precision.
fn length(x: &[f32], y: &[f32], p: f64) -> f32 {
    let apart = x.iter().zip(y).map(|(x, y)| (x - y).abs());
    match p {
        0.0 => apart.filter(|d| *d != 0.0).count() as f32,
        1.0 => apart.sum(),
        2.0 => apart.fold(0f32, |sum, d| sum + d * d).sqrt(),
        f64::INFINITY => apart.fold(0.0, f32::max),
        _ => apart
            .fold(0f32, |sum, d| sum + d.powf(p as f32))
            .powf(1.0 / p as f32),
    }
}

/// Squared lengths less twice the products, all in one product of matrices.
fn by_product(call: &Call<'_>, a: &Tensor, b: &Tensor) -> Result<Value> {
    let squares = |tensor: &Tensor| {
        let squares = call.other("aten::square", &[tensor.clone().into()])?;
        made(
            call,
            "aten::sum.dim_IntList",
            &[squares, Value::ints(&[-1]), true.into(), Value::None],
        )
    };
    let joined = |parts: Vec<Tensor>| {
        call.other(
            "aten::cat",
            &[
                super::shape::tensor_list(parts.into_iter().map(Value::Tensor).collect()),
                Value::Int(-1),
            ],
        )
    };
    let (of_a, of_b) = (squares(a)?, squares(b)?);
    let ones = |like: &Tensor| made(call, "aten::ones_like", &[like.clone().into()]);
    let minus = made(
        call,
        "aten::mul.Scalar",
        &[a.clone().into(), Value::Int(-2)],
    )?;
    let left = joined(vec![minus, of_a.clone(), ones(&of_a)?])?;
    let right = joined(vec![b.clone(), ones(&of_b)?, of_b])?;
    let right = call.other(
        "aten::transpose.int",
        &[right, Value::Int(-2), Value::Int(-1)],
    )?;
    let squared = call.other("aten::matmul", &[left, right])?;
    let squared = call.other("aten::clamp_min", &[squared, Value::Int(0)])?;
    call.other("aten::sqrt", &[squared])
}

/// `renorm(tensor, p, dim, maxnorm)`: slices that are longer than the norm are brought to it.
fn renorm(call: &Call<'_>) -> Result<Value> {
    /// Keeps the divisor from being zero.
    const EPS: f32 = 1e-7;
    let (tensor, p, most) = (call.tensor(0)?, call.float(1)?, call.float(3)? as f32);
    let dim = call.sized_dim(2, tensor)?.0;
    let others: Vec<i64> = (0..tensor.rank())
        .filter(|at| *at != dim)
        .map(|at| at as i64)
        .collect();
    if others.is_empty() || tensor.dtype() != DType::Float {
        return Err(call.wrong(0, "single-precision numbers with two dimensions or more"));
    }
    let args = [
        tensor.clone().into(),
        Value::Float(p),
        Value::ints(&others),
        true.into(),
        Value::None,
    ];
    let norms = made(call, "aten::linalg_vector_norm", &args)?;
    let factors = norms.to_f32()?.into_iter().map(|norm| {
        if norm > most {
            most / (norm + EPS)
        } else {
            1.0
        }
    });
    let factors = Tensor::from_values(norms.shape(), &factors.collect::<Vec<f32>>())?;
    call.other("aten::mul.Tensor", &[tensor.clone().into(), factors.into()])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::trial::{counting, run};

    #[test]
    fn distances_of_few_rows_and_of_many() {
        let (a, b) = (counting(&[2, 2]), counting(&[1, 2]));
        let apart = run(
            "aten::cdist",
            &[
                a.clone().into(),
                b.clone().into(),
                Value::Float(2.0),
                Value::None,
            ],
        );
        assert_eq!(
            (apart.shape(), apart.to_f32().unwrap()),
            (&[2, 1][..], vec![0.0, 8f32.sqrt()])
        );
        let product = run(
            "aten::cdist",
            &[
                a.clone().into(),
                b.clone().into(),
                Value::Float(2.0),
                Value::Int(1),
            ],
        );
        assert_eq!(product.to_f32().unwrap(), [0.0, 8f32.sqrt()]);
        let most = run(
            "aten::cdist",
            &[a.into(), b.into(), Value::Float(f64::INFINITY), Value::None],
        );
        assert_eq!(most.to_f32().unwrap(), [0.0, 2.0]);
    }

    #[test]
    fn only_long_slices_are_cut() {
        let x = Tensor::from_values(&[2, 2], &[3f32, 4.0, 0.3, 0.4]).unwrap();
        let cut = run(
            "aten::renorm",
            &[x.into(), Value::Int(2), Value::Int(0), Value::Int(1)],
        );
        let cut = cut.to_f32().unwrap();
        assert!(
            (cut[1] - 0.8).abs() < 1e-6 && cut[2..] == [0.3, 0.4],
            "{cut:?}"
        );
    }
}
