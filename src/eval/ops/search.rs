//! Where numbers stand among others that are in order, and whether they stand there at all.

use planish_ir::DType;

use super::arith::operands;
use super::elementwise::like;
use super::{Kernel, Table};
use crate::call::Call;
use crate::{MemoryFormat, Result, Tensor, Value};
use Kernel::One;

pub(super) const OPS: Table = &[
    ("aten::searchsorted", One(search)),
    ("aten::bucketize", One(bucketize)),
    ("aten::isin", One(is_in)),
];

/// `searchsorted(sequence, values, out_int32, right, side, sorter)`: the place at which each value would go, in the row of its own.
fn search(call: &Call<'_>) -> Result<Value> {
    let (sequence, int) = (call.tensor(0)?, call.bool_or(2, false)?);
    let right = match call.get(4) {
        Value::None => call.bool_or(3, false)?,
        _ => call.str(4)? == "right",
    };
    let sequence = match call.get(5) {
        Value::None => sequence.clone(),
        sorter => super::composed::made(
            call,
            "aten::gather",
            &[sequence.clone().into(), Value::Int(-1), sorter.clone()],
        )?,
    };
    let values = values(call, 1)?;
    places(call, &sequence, &values, int, right)
}

/// `bucketize(values, boundaries, out_int32, right)`
fn bucketize(call: &Call<'_>) -> Result<Value> {
    let boundaries = call.tensor(1)?;
    if boundaries.rank() != 1 {
        return Err(call.wrong(1, "one row of boundaries"));
    }
    let values = values(call, 0)?;
    places(
        call,
        boundaries,
        &values,
        call.bool_or(2, false)?,
        call.bool_or(3, false)?,
    )
}

/// Values that are a tensor, or one number.
fn values(call: &Call<'_>, index: usize) -> Result<Tensor> {
    match call.get(index) {
        Value::Tensor(tensor) => Ok(tensor.clone()),
        _ => Tensor::scalar(call.float(index)?),
    }
}

fn places(
    call: &Call<'_>,
    sequence: &Tensor,
    values: &Tensor,
    int: bool,
    right: bool,
) -> Result<Value> {
    let (Some((len, lead)), rank) = (sequence.shape().split_last(), values.rank()) else {
        return Err(call.wrong(0, "numbers in order"));
    };
    if !lead.is_empty() && (rank != sequence.rank() || values.shape()[..rank - 1] != *lead) {
        return Err(call.wrong(1, "values for each row of the numbers in order"));
    }
    let dtype = if int { DType::Int } else { DType::Long };
    let out = Tensor::zeros(dtype, values.shape(), MemoryFormat::Contiguous)?;
    let (numbers, wanted) = (sequence.to_f64()?, values.to_f64()?);
    let of_row = if lead.is_empty() {
        wanted.len()
    } else {
        values.shape()[rank - 1] as usize
    };
    let len = *len as usize;
    let found = wanted.iter().enumerate().map(|(at, value)| {
        let row = if lead.is_empty() {
            0
        } else {
            at / of_row.max(1)
        };
        let row = &numbers[row * len..][..len];
        // What is not a number comes after all that are.
        let place = row.partition_point(|x| {
            x.partial_cmp(value)
                .is_none_or(|order| order.is_lt() || (right && order.is_eq()))
        });
        place as i64
    });
    out.write_i64(&found.collect::<Vec<_>>())?;
    Ok(out.into())
}

/// `isin(elements, test_elements, assume_unique, invert)`
fn is_in(call: &Call<'_>) -> Result<Value> {
    let (elements, tests) = (values(call, 0)?, values(call, 1)?);
    // In the type of both.
    let pair = [
        Value::from(elements.reshape(&[-1, 1])?),
        Value::from(tests.reshape(&[1, -1])?),
    ];
    let (invert, rows) = (call.bool_or(3, false)?, elements.numel());
    call.work(rows.saturating_mul(tests.numel()))?;
    let pair = operands(&Call {
        args: &pair,
        ..*call
    })?;
    let equal = pair.compare(|a, b| a == b, |a, b| a == b)?.to_i64()?;
    let width = tests.numel();
    let found = (0..rows).map(|row| {
        let found = equal[row * width..][..width].contains(&1);
        i64::from(found != invert)
    });
    let out = like(&elements, DType::Bool)?;
    out.write_i64(&found.collect::<Vec<_>>())?;
    Ok(out.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::trial::run;

    #[test]
    fn equal_numbers_go_before_or_after_and_what_is_none_goes_last() {
        let row = Tensor::from_values(&[2], &[0f32, 0.5]).unwrap();
        let values = Tensor::from_values(&[4], &[0f32, 0.5, f32::NAN, 1.0]).unwrap();
        let places = |right: bool| {
            let args = [
                values.clone().into(),
                row.clone().into(),
                false.into(),
                right.into(),
            ];
            run("aten::bucketize.Tensor", &args).to_i64().unwrap()
        };
        assert_eq!(places(false), [0, 1, 2, 2]);
        assert_eq!(places(true), [1, 2, 2, 2]);
        let rows = Tensor::from_values(&[2, 2], &[0i64, 5, 1, 2]).unwrap();
        let wanted = Tensor::from_values(&[2, 1], &[3i64, 3]).unwrap();
        let found = run("aten::searchsorted.Tensor", &[rows.into(), wanted.into()]);
        assert_eq!(found.to_i64().unwrap(), [1, 2]);
    }

    #[test]
    fn elements_of_a_set() {
        let x = Tensor::from_values(&[3], &[1i64, 2, 3]).unwrap();
        let set = Tensor::from_values(&[2], &[3i64, 1]).unwrap();
        let found = run(
            "aten::isin.Tensor_Tensor",
            &[x.into(), set.into(), false.into(), true.into()],
        );
        assert_eq!(found.to_i64().unwrap(), [0, 1, 0]);
    }
}
