//! Softmaxes, of floats in PyTorch's order.

use planish_ir::DType;

use super::reduce::{as_dtype, log_sum};
use super::running::along;
use super::{Kernel, Table};
use crate::call::Call;
use crate::float::softmax::{log_softmax, log_softmax_column, softmax, softmax_column};
use crate::{Result, Tensor, Value};
use Kernel::One;

pub(super) const OPS: Table = &[
    ("aten::softmax", One(softmax_of)),
    ("aten::log_softmax", One(log_softmax_of)),
];

/// `softmax(tensor, dim, dtype)`
fn softmax_of(call: &Call<'_>) -> Result<Value> {
    let tensor = call.tensor(0)?;
    let out = softmax_along(&as_dtype(tensor, call.dtype_opt(2)?)?, call.dim(1, tensor)?)?;
    Ok(out.into())
}

/// The softmax along a dimension.
pub(super) fn softmax_along(tensor: &Tensor, dim: usize) -> Result<Tensor> {
    if tensor.dtype() == DType::Double {
        return along(tensor, dim, softmax_row);
    }
    along_columns(tensor, dim, softmax, softmax_column)
}

/// Turns a row into its softmax.
pub(super) fn softmax_row(row: &mut [f64]) {
    let most = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let mut sum = 0.0;
    for value in row.iter_mut() {
        *value = (*value - most).exp();
        sum += *value;
    }
    for value in row {
        *value /= sum;
    }
}

fn log_softmax_of(call: &Call<'_>) -> Result<Value> {
    let tensor = call.tensor(0)?;
    let input = as_dtype(tensor, call.dtype_opt(2)?)?;
    let dim = call.dim(1, tensor)?;
    if input.dtype() != DType::Double {
        return Ok(along_columns(&input, dim, log_softmax, log_softmax_column)?.into());
    }
    let out = along(&input, dim, |row| {
        let shift = log_sum(row);
        for x in row {
            *x -= shift;
        }
    })?;
    Ok(out.into())
}

/// Rewrites the rows of floats along a dimension: those that are runs of memory by `row`; else by `column`, which is told its place among
/// how many columns.
fn along_columns(
    tensor: &Tensor,
    dim: usize,
    row: fn(&mut [f32]),
    column: fn(&mut [f32], usize, usize),
) -> Result<Tensor> {
    let out = super::elementwise::like(tensor, tensor.dtype())?;
    let len = tensor.shape().get(dim).copied().unwrap_or(1) as usize;
    let width = tensor.shape().iter().skip(dim + 1).product::<i64>() as usize;
    let mut values = tensor.to_f32()?;
    for block in values.chunks_exact_mut((len * width).max(1)) {
        if width == 1 {
            row(block);
            continue;
        }
        for at in 0..width {
            let mut values: Vec<f32> = block.iter().skip(at).step_by(width).copied().collect();
            column(&mut values, at, width);
            for (to, value) in block.iter_mut().skip(at).step_by(width).zip(values) {
                *to = value;
            }
        }
    }
    out.write_f32(&values)?;
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Contract, apply};
    use planish_ir::Op;

    #[test]
    fn softmax_sums_to_one_along_its_dimension() {
        let out = {
            let matrix = Tensor::from_values(&[2, 3], &[3f32, 1., 2., -1., 5., 5.]).unwrap();
            let inputs = [matrix.into(), Value::Int(0), Value::None];
            apply(Op::of("aten::softmax.int"), &inputs, Contract::Fbgemm).unwrap()
        };
        let values = out[0].as_tensor().unwrap().to_f32().unwrap();
        for column in 0..3 {
            assert!((values[column] + values[column + 3] - 1.0).abs() < 1e-6);
        }
    }
}
