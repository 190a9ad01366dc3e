//! Products of several matrices and tensors with a part replaced, put together from other operators as PyTorch does it.

use planish_ir::DType;

use super::composed::made;
use super::shape::tensor_list;
use super::{Kernel, Table};
use crate::call::Call;
use crate::{Error, MemoryFormat, Result, Tensor, Value};
use Kernel::One;

pub(super) const OPS: Table = &[
    ("aten::addbmm", One(sum_of_products)),
    ("aten::diagonal_scatter", One(with_diagonal)),
    ("aten::fill_diagonal_", One(fill_diagonal)),
    ("aten::float_power", One(power)),
    ("aten::ldexp.Tensor", One(times_power_of_two)),
    ("aten::linalg_matrix_power", One(matrix_power)),
    ("aten::narrow_copy", One(narrowed)),
    ("aten::put", One(put)),
    ("aten::vander", One(powers)),
    ("aten::_weight_norm", One(weight_norm)),
];

/// `addbmm(self, batch1, batch2, beta, alpha)`: `self` takes the product of one pair of matrices after the other.
fn sum_of_products(call: &Call<'_>) -> Result<Value> {
    let (left, right) = (call.tensor(1)?, call.tensor(2)?);
    let (3, 3, Some(count)) = (left.rank(), right.rank(), left.shape().first()) else {
        return Err(call.wrong(1, "matrices in a batch"));
    };
    let mut sum = call.get(0).clone();
    let mut beta = call.get(3).clone();
    for at in 0..*count {
        let pair = [left.select(0, at)?.into(), right.select(0, at)?.into()];
        let [a, b] = pair;
        sum = call.other("aten::addmm", &[sum, a, b, beta, call.get(4).clone()])?;
        beta = Value::Int(1);
    }
    if *count == 0 {
        return Err(call.wrong(1, "a batch that holds matrices"));
    }
    Ok(sum)
}

/// `diagonal_scatter(self, src, offset, dim1, dim2)`: a copy with another diagonal.
fn with_diagonal(call: &Call<'_>) -> Result<Value> {
    let copy = call.tensor(0)?.copied(None)?;
    let args: Vec<Value> = [Value::from(copy.clone())]
        .into_iter()
        .chain((2..5).map(|at| call.get(at).clone()))
        .collect();
    let diagonal = made(call, "aten::diagonal", &args)?;
    if diagonal.shape() != call.tensor(1)?.shape() {
        return Err(call.wrong(1, "a tensor of the diagonal's sizes"));
    }
    let copied = [diagonal.into(), call.get(1).clone(), Value::Bool(false)];
    call.other("aten::copy_", &copied)?;
    Ok(copy.into())
}

/// `fill_diagonal_(self, fill_value, wrap)`: of a tensor with more than two dimensions all sizes are one.
fn fill_diagonal(call: &Call<'_>) -> Result<Value> {
    let tensor = call.tensor(0)?;
    let shape = tensor.shape();
    let (Some(&rows), true) = (shape.first(), tensor.rank() > 1) else {
        return Err(call.wrong(0, "a tensor of two dimensions or more"));
    };
    if call.bool_or(2, false)? && tensor.rank() == 2 && rows > shape[1] {
        return Err(call.unsupported("that begins anew below the square"));
    }
    if tensor.rank() > 2 && shape.iter().any(|size| *size != rows) {
        return Err(call.wrong(0, "a tensor whose sizes are all one"));
    }
    let count = shape.iter().copied().min().unwrap_or_default();
    let stride: i64 = tensor.strides().iter().sum();
    let diagonal = tensor.as_strided(&[count], &[stride], tensor.offset())?;
    call.other("aten::fill_", &[diagonal.into(), call.get(1).clone()])?;
    Ok(tensor.clone().into())
}

/// `float_power(self, exponent)`: in double precision.
fn power(call: &Call<'_>) -> Result<Value> {
    let double = |index: usize| -> Result<Value> {
        match call.get(index) {
            Value::Tensor(tensor) => {
                let no = Value::Bool(false);
                let to = Value::Int(DType::Double.code());
                let args = [tensor.clone().into(), to, no.clone(), no, Value::None];
                call.other("aten::to.dtype", &args)
            }
            _ => call.float(index).map(Value::Float),
        }
    };
    let (base, exponent) = (double(0)?, double(1)?);
    let overload = match (&base, &exponent) {
        (Value::Tensor(_), Value::Tensor(_)) => "aten::pow.Tensor_Tensor",
        (Value::Tensor(_), _) => "aten::pow.Tensor_Scalar",
        _ => "aten::pow.Scalar",
    };
    call.other(overload, &[base, exponent])
}

/// `ldexp(self, other)`: times two to a power.
fn times_power_of_two(call: &Call<'_>) -> Result<Value> {
    let power = call.other(
        "aten::pow.Scalar",
        &[Value::Float(2.0), call.get(1).clone()],
    )?;
    call.other("aten::mul.Tensor", &[call.get(0).clone(), power])
}

/// `linalg_matrix_power(self, n)`: by squaring, from the lowest binary digit of `n` on; PyTorch multiplies a third power out.
fn matrix_power(call: &Call<'_>) -> Result<Value> {
    let base = call.get(0).clone();
    let product = |a: &Value, b: &Value| call.other("aten::matmul", &[a.clone(), b.clone()]);
    match call.int(1)? {
        n if n < 1 => Err(call.unsupported(format_args!("to the power {n}"))),
        1 => Ok(call.tensor(0)?.copied(None)?.into()),
        3 => product(&product(&base, &base)?, &base),
        mut n => {
            let (mut square, mut result) = (base, None);
            loop {
                if n % 2 == 1 {
                    result = Some(match result {
                        None => square.clone(),
                        Some(so_far) => product(&so_far, &square)?,
                    });
                }
                n /= 2;
                if n == 0 {
                    return result.ok_or_else(|| Error::Invalid("a power of nothing".into()));
                }
                square = product(&square, &square)?;
            }
        }
    }
}

/// `narrow_copy(self, dim, start, length)`
fn narrowed(call: &Call<'_>) -> Result<Value> {
    let args: Vec<Value> = (0..4).map(|at| call.get(at).clone()).collect();
    let part = made(call, "aten::narrow", &args)?;
    Ok(part.copied(Some(MemoryFormat::Contiguous))?.into())
}

/// `put(self, index, source, accumulate)`: a copy with other elements at places that count through all of it.
fn put(call: &Call<'_>) -> Result<Value> {
    let copy = call
        .tensor(0)?
        .contiguous(MemoryFormat::Contiguous)?
        .copied(None)?;
    let index = call.tensor(1)?.reshape(&[-1])?;
    let source = call.tensor(2)?.reshape(&[-1])?;
    if index.numel() != source.numel() {
        return Err(call.wrong(2, "one element for each place"));
    }
    let flat = copy.reshape(&[-1])?;
    let places = tensor_list(vec![index.into()]);
    let accumulate = Value::Bool(call.bool_or(3, false)?);
    call.other(
        "aten::index_put_",
        &[flat.into(), places, source.into(), accumulate],
    )?;
    Ok(copy.into())
}

/// `vander(x, N, increasing)`: the powers of each element, from the highest to the zeroth.
fn powers(call: &Call<'_>) -> Result<Value> {
    let x = call.tensor(0)?;
    let count = call.int_or(1, x.numel() as i64)?;
    if x.rank() != 1 || count < 1 || x.dtype() != DType::Float {
        return Err(call.unsupported("but of a row of floats, with one power or more"));
    }
    let shape = [x.numel() as i64, count];
    let out = Tensor::zeros(DType::Float, &shape, MemoryFormat::Contiguous)?;
    let rising = call.bool_or(2, false)?;
    let mut powers = Vec::with_capacity(out.numel());
    for value in x.to_f32()? {
        // Running products are kept in double precision.
        let row = powers.len();
        let mut power = 1.0_f64;
        for _ in 0..count {
            powers.push(power as f32);
            power *= f64::from(value);
        }
        if !rising {
            powers[row..].reverse();
        }
    }
    out.write_elements(&powers)?;
    Ok(out.into())
}

/// `_weight_norm(v, g, dim)`: `v` times the quotient of `g` and the norm of what is not along `dim`.
fn weight_norm(call: &Call<'_>) -> Result<Value> {
    let v = call.tensor(0)?;
    let kept = match call.int_or(2, 0)? {
        -1 => None,
        dim => Some(v.dim_index(dim)?),
    };
    let dims: Vec<i64> = (0..v.rank())
        .filter(|dim| Some(*dim) != kept)
        .map(|dim| dim as i64)
        .collect();
    let args = [
        v.clone().into(),
        Value::Int(2),
        Value::ints(&dims),
        Value::Bool(true),
    ];
    let norm = call.other("aten::norm.ScalarOpt_dim", &args)?;
    let scale = call.other("aten::div.Tensor", &[call.get(1).clone(), norm])?;
    call.other("aten::mul.Tensor", &[v.clone().into(), scale])
}

#[cfg(test)]
mod tests {
    use super::super::trial::{counting, row, run};
    use super::*;

    #[test]
    fn powers_of_matrices_are_products() {
        let one = Tensor::from_values(&[2, 2], &[1f32, 1.0, 0.0, 1.0]).unwrap();
        for n in 1..9 {
            let args = [one.clone().into(), Value::Int(n)];
            let power = run("aten::linalg_matrix_power", &args);
            assert_eq!(power.to_f32().unwrap(), [1.0, n as f32, 0.0, 1.0]);
        }
    }

    #[test]
    fn a_part_is_replaced_in_a_copy() {
        let x = counting(&[2, 2]);
        let args = [x.clone().into(), row(&[7.0, 8.0])];
        let out = run("aten::diagonal_scatter", &args);
        assert_eq!(out.to_f32().unwrap(), [7.0, 1.0, 2.0, 8.0]);
        let places = Tensor::from_values(&[2], &[3i64, -4]).unwrap();
        let args = [x.clone().into(), places.into(), row(&[7.0, 8.0])];
        assert_eq!(
            run("aten::put", &args).to_f32().unwrap(),
            [8.0, 1.0, 2.0, 7.0]
        );
        assert_eq!(x.to_f32().unwrap(), [0.0, 1.0, 2.0, 3.0]);
        run("aten::fill_diagonal_", &[x.clone().into(), Value::Int(5)]);
        assert_eq!(x.to_f32().unwrap(), [5.0, 1.0, 2.0, 5.0]);
    }

    #[test]
    fn powers_fall_or_rise() {
        let x = row(&[2.0, -1.0]);
        let fall = run("aten::vander", &[x.clone(), Value::Int(3)]);
        assert_eq!(fall.to_f32().unwrap(), [4.0, 2.0, 1.0, 1.0, -1.0, 1.0]);
        let rise = run("aten::vander", &[x, Value::Int(2), Value::Bool(true)]);
        assert_eq!(rise.to_f32().unwrap(), [1.0, 2.0, 1.0, -1.0]);
    }
}
