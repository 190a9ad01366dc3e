//! Sequences of several lengths, packed: all first steps, then all second ones, and so on; the longest sequence stands first.

use planish_ir::{Dims, Type};

use super::join::convert_into;
use super::{Kernel, Table};
use crate::call::Call;
use crate::{MemoryFormat, Result, Tensor, Value};
use Kernel::Many;

pub(super) const OPS: Table = &[
    ("aten::_pack_padded_sequence", Many(pack)),
    ("aten::_pad_packed_sequence", Many(pad)),
];

/// `_pack_padded_sequence(input, lengths, batch_first)`: the data and the sizes of the batches.
fn pack(call: &Call<'_>) -> Result<Vec<Value>> {
    let (input, lengths) = (call.tensor(0)?, call.tensor(1)?.to_i64()?);
    if input.rank() < 2 {
        return Err(call.wrong(0, "a batch of sequences"));
    }
    let input = if call.bool(2)? {
        input.transpose(0, 1)?
    } else {
        input.clone()
    };
    let (steps, batch) = (input.shape()[0], input.shape()[1]);
    let falls = lengths.windows(2).all(|pair| pair[0] >= pair[1]);
    let inside = lengths.iter().all(|length| (1..=steps).contains(length));
    if lengths.len() as i64 != batch || !falls || !inside {
        return Err(call.wrong(1, "falling lengths of the sequences"));
    }
    let longest = lengths.first().copied().unwrap_or(0);
    let running = |step: i64| lengths.iter().filter(|length| **length > step).count() as i64;
    let sizes: Vec<i64> = (0..longest).map(running).collect();
    let parts = sizes.iter().zip(0..);
    let parts = parts.map(|(size, step)| Ok(input.select(0, step)?.slice(0, 0, *size, 1)?.into()));
    let parts: Vec<Value> = parts.collect::<Result<_>>()?;
    let data = call.other(
        "aten::cat",
        &[Value::list(Type::TENSOR, parts), Value::Int(0)],
    )?;
    let sizes = Tensor::from_values(&[sizes.len() as i64], &sizes)?;
    Ok(vec![data, sizes.into()])
}

/// `_pad_packed_sequence(data, batch_sizes, batch_first, padding_value, total_length)`: the sequences and their lengths.
fn pad(call: &Call<'_>) -> Result<Vec<Value>> {
    let (data, sizes) = (call.tensor(0)?, call.tensor(1)?.to_i64()?);
    let falls = sizes.windows(2).all(|pair| pair[0] >= pair[1]);
    let sum = sizes
        .iter()
        .try_fold(0i64, |sum, size| sum.checked_add(*size));
    let whole = sum.is_some() && data.shape().first().copied() == sum;
    let Some(batch) = sizes.first().copied().filter(|_| falls && whole) else {
        return Err(call.wrong(1, "falling sizes of batches that make up the data"));
    };
    if sizes.iter().any(|size| *size < 1) {
        return Err(call.wrong(1, "sizes of batches"));
    }
    let total = call.int(4)?;
    let steps = if total > 0 { total } else { sizes.len() as i64 };
    if steps < sizes.len() as i64 {
        return Err(call.wrong(4, "at least the longest length"));
    }
    let mut shape = Dims::from_slice(&[steps, batch]);
    shape.extend_from_slice(&data.shape()[1..]);
    let out = Tensor::zeros(data.dtype(), &shape, MemoryFormat::Contiguous)?;
    out.write_f64(&vec![call.float(3)?; out.numel()])?;
    let mut from = 0;
    for (size, step) in sizes.iter().zip(0..) {
        let part = data.slice(0, from, *size, 1)?;
        convert_into(&part, &out.select(0, step)?.slice(0, 0, *size, 1)?)?;
        from += size;
    }
    let length = |item: i64| sizes.iter().filter(|size| **size > item).count() as i64;
    let lengths: Vec<i64> = (0..batch).map(length).collect();
    let out = if call.bool(2)? {
        out.transpose(0, 1)?
    } else {
        out
    };
    Ok(vec![
        out.into(),
        Tensor::from_values(&[batch], &lengths)?.into(),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::trial::counting;
    use crate::{Contract, apply};
    use planish_ir::Op;

    #[test]
    fn packed_sequences_come_back() {
        let lengths = Tensor::from_values(&[2], &[3i64, 1]).unwrap();
        let args = [counting(&[2, 3, 1]).into(), lengths.into(), true.into()];
        let packed = apply(
            Op::of("aten::_pack_padded_sequence"),
            &args,
            Contract::Fbgemm,
        )
        .unwrap();
        let data = packed[0].as_tensor().unwrap();
        assert_eq!(data.to_f32().unwrap(), [0., 3., 1., 2.]);
        let args = [
            packed[0].clone(),
            packed[1].clone(),
            true.into(),
            Value::Float(-1.0),
            Value::Int(0),
        ];
        let padded = apply(
            Op::of("aten::_pad_packed_sequence"),
            &args,
            Contract::Fbgemm,
        )
        .unwrap();
        let all = padded[0].as_tensor().unwrap();
        assert_eq!(all.to_f32().unwrap(), [0., 1., 2., 3., -1., -1.]);
        assert_eq!(padded[1].as_tensor().unwrap().to_i64().unwrap(), [3, 1]);
    }
}
