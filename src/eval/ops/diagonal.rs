//! Diagonals of matrices.

use planish_ir::{DType, Dims};

use super::{Kernel, Table};
use crate::call::Call;
use crate::{Error, MemoryFormat, Result, Tensor, Value};
use Kernel::One;

pub(super) const OPS: Table = &[
    ("aten::diagonal", One(diagonal)),
    ("aten::diag_embed", One(diag_embed)),
    ("aten::diag", One(diag)),
    ("aten::trace", One(trace)),
    ("aten::eye", One(eye)),
    ("aten::block_diag", One(block_diag)),
];

/// `diagonal(tensor, offset, dim1, dim2)`: a view whose last dimension runs along it.
fn diagonal(call: &Call<'_>) -> Result<Value> {
    let tensor = call.tensor(0)?;
    let (a, b) = (call.int_or(2, 0)?, call.int_or(3, 1)?);
    let dims = [tensor.dim_index(a)?, tensor.dim_index(b)?];
    Ok(along(tensor, call.int_or(1, 0)?, dims)?.into())
}

fn along(tensor: &Tensor, offset: i64, [rows, columns]: [usize; 2]) -> Result<Tensor> {
    let wrong = || {
        Error::Invalid(format!(
            "{tensor:?} has no diagonal {offset} of dimensions {rows} and {columns}"
        ))
    };
    if rows == columns || rows.max(columns) >= tensor.rank() {
        return Err(wrong());
    }
    let (down, right) = (
        offset.checked_neg().ok_or_else(wrong)?.max(0),
        offset.max(0),
    );
    let (high, wide) = (tensor.shape()[rows] - down, tensor.shape()[columns] - right);
    let count = high.min(wide).max(0);
    let strides = tensor.strides();
    let start = match count {
        0 => tensor.offset(),
        _ => tensor.offset() + down * strides[rows] + right * strides[columns],
    };
    let rest = |all: &[i64], last: i64| -> Dims {
        let rest = (0..all.len()).filter(|dim| *dim != rows && *dim != columns);
        rest.map(|dim| all[dim]).chain([last]).collect()
    };
    let step = strides[rows].saturating_add(strides[columns]);
    tensor.as_strided(&rest(tensor.shape(), count), &rest(strides, step), start)
}

/// `diag_embed(tensor, offset, dim1, dim2)`: zeros, and the last dimension on a diagonal.
fn diag_embed(call: &Call<'_>) -> Result<Value> {
    let tensor = call.tensor(0)?;
    let (a, b) = (call.int_or(2, -2)?, call.int_or(3, -1)?);
    Ok(embedded(tensor, call.int_or(1, 0)?, a, b)?.into())
}

fn embedded(tensor: &Tensor, offset: i64, a: i64, b: i64) -> Result<Tensor> {
    let rank = tensor.rank() + 1;
    let place = |dim: i64| crate::tensor::dim_index(dim, rank);
    let (a, b) = (place(a)?, place(b)?);
    let wrong = || Error::Invalid(format!("{tensor:?} does not fit on diagonal {offset}"));
    let Some((last, rest)) = tensor.shape().split_last().filter(|_| a != b) else {
        return Err(wrong());
    };
    let size = offset
        .checked_abs()
        .and_then(|offset| offset.checked_add(*last));
    let size = size.ok_or_else(wrong)?;
    let mut shape = Dims::from(rest);
    shape.insert(a.min(b), size);
    shape.insert(a.max(b), size);
    let out = Tensor::zeros(tensor.dtype(), &shape, MemoryFormat::Contiguous)?;
    super::join::convert_into(tensor, &along(&out, offset, [a, b])?)?;
    Ok(out)
}

/// `diag(tensor, diagonal)`: a matrix of a vector, or a copy of a matrix's diagonal.
fn diag(call: &Call<'_>) -> Result<Value> {
    let (tensor, offset) = (call.tensor(0)?, call.int_or(1, 0)?);
    match tensor.rank() {
        1 => Ok(embedded(tensor, offset, 0, 1)?.into()),
        2 => Ok(along(tensor, offset, [0, 1])?.copied(None)?.into()),
        _ => Err(call.wrong(0, "a vector or a matrix")),
    }
}

/// The sum of a matrix's diagonal.
fn trace(call: &Call<'_>) -> Result<Value> {
    let tensor = call.tensor(0)?;
    if tensor.rank() != 2 {
        return Err(call.wrong(0, "a matrix"));
    }
    let diagonal = along(tensor, 0, [0, 1])?;
    call.other("aten::sum", &[diagonal.into(), Value::None])
}

/// `eye(n, dtype, …)` or `eye(n, m, dtype, …)`
fn eye(call: &Call<'_>) -> Result<Value> {
    let two = call.op.info().overload == *"m";
    let (rows, columns) = (call.int(0)?, call.int(usize::from(two))?);
    let dtype = call
        .dtype_opt(1 + usize::from(two))?
        .unwrap_or(DType::Float);
    let out = Tensor::zeros(dtype, &[rows, columns], MemoryFormat::Contiguous)?;
    super::create::fill(&along(&out, 0, [0, 1])?, 1.0)?;
    Ok(out.into())
}

/// Matrices corner to corner, zeros elsewhere.
fn block_diag(call: &Call<'_>) -> Result<Value> {
    let blocks = call
        .tensors(0)?
        .into_iter()
        .map(|tensor| match tensor.rank() {
            0 | 1 => tensor.reshape(&[1, tensor.numel() as i64]),
            2 => Ok(tensor),
            _ => Err(call.wrong(0, "matrices")),
        });
    let blocks: Vec<Tensor> = blocks.collect::<Result<_>>()?;
    let total = |dim: usize| blocks.iter().map(|block| block.shape()[dim]).sum::<i64>();
    let dtype = blocks
        .iter()
        .map(Tensor::dtype)
        .reduce(crate::promote::promote);
    let shape = [total(0), total(1)];
    let out = Tensor::zeros(
        dtype.unwrap_or(DType::Float),
        &shape,
        MemoryFormat::Contiguous,
    )?;
    let (mut row, mut column) = (0, 0);
    for block in &blocks {
        let (high, wide) = (block.shape()[0], block.shape()[1]);
        let place = out.slice(0, row, high, 1)?.slice(1, column, wide, 1)?;
        super::join::convert_into(block, &place)?;
        (row, column) = (row + high, column + wide);
    }
    Ok(out.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::trial::{counting, run};

    #[test]
    fn a_diagonal_is_a_view_and_goes_back_onto_one() {
        let x = counting(&[2, 3, 4]);
        let args = [
            x.clone().into(),
            Value::Int(1),
            Value::Int(1),
            Value::Int(-1),
        ];
        let diagonal = run("aten::diagonal", &args);
        assert!(diagonal.shares_storage(&x));
        assert_eq!(
            (diagonal.shape(), diagonal.to_f32().unwrap()),
            (&[2, 3][..], vec![1., 6., 11., 13., 18., 23.])
        );
        let back = run("aten::diag_embed", &[counting(&[2]).into(), Value::Int(-1)]);
        assert_eq!(back.to_f32().unwrap(), [0., 0., 0., 0., 0., 0., 0., 1., 0.]);
        let trace = run("aten::trace", &[counting(&[2, 3]).into()]);
        assert_eq!(trace.to_f32().unwrap(), [4.]);
        let blocks = Value::list(
            planish_ir::Type::TENSOR,
            vec![counting(&[1, 2]).into(), counting(&[2]).into()],
        );
        let blocks = run("aten::block_diag", &[blocks]);
        assert_eq!(blocks.to_f32().unwrap(), [0., 1., 0., 0., 0., 0., 0., 1.]);
    }
}
