//! Elementwise functions of one code.
//!
//! The table is what the reference evaluator answers for each of the 256 codes, so there is one definition of each function. Elements in
//! whole blocks of 64 are dequantized with one rounding and the rest with two (`docs/numerics.md`, section 2): there are two tables, which
//! hardly ever differ.

use std::sync::{Arc, Mutex, PoisonError};

use planish_eval::{Tensor, Value};
use planish_ir::{DType, QParams};

use super::{KernelStep, Outcome, Reference, affine, output, tensor};
use crate::arena::Arena;
use crate::{Call, RunError};

/// Elements in a block of the vector body.
const BLOCK: usize = 64;

/// The tables for the quantization of the last call.
#[derive(Debug, Default)]
pub(crate) struct Tables(Mutex<Option<(Key, Arc<Pair>)>>);

/// Scale, zero point and the operands that follow the tensor.
type Key = (u64, i64, Vec<[u64; 2]>);

#[derive(Debug)]
struct Pair {
    body: [u8; 256],
    rest: [u8; 256],
    qparams: (f64, i64),
}

impl KernelStep {
    pub(super) fn table(
        &self,
        inputs: &[Value],
        arena: &mut Arena,
        reference: Reference<'_>,
    ) -> Result<Outcome, RunError> {
        let Some(x) =
            tensor(inputs, 0).filter(|x| affine(x).is_some() && x.is_dense_in_any_order())
        else {
            return Ok(Outcome::NotTaken(
                "its operand is not a dense quint8 tensor with one scale",
            ));
        };
        let Some(pair) = self.tables.get(x, inputs, reference)? else {
            return Ok(Outcome::NotTaken("its operands are not numbers"));
        };
        let out = output(
            arena,
            self.buffer,
            DType::QUInt8,
            x.shape(),
            x.strides(),
            Some(pair.qparams),
        )?;
        super::with_bytes(x, &out, |x, out| {
            let whole = if pair.body == pair.rest {
                x.len()
            } else {
                x.len() / BLOCK * BLOCK
            };
            let ((x_body, x_rest), (body, rest)) = (x.split_at(whole), out.split_at_mut(whole));
            self.entry.call(Call::Table {
                x: x_body,
                table: &pair.body,
                out: body,
            })?;
            self.entry.call(Call::Table {
                x: x_rest,
                table: &pair.rest,
                out: rest,
            })
        })?;
        Ok(Outcome::Done(out, 0))
    }
}

impl Tables {
    fn get(
        &self,
        x: &Tensor,
        inputs: &[Value],
        reference: Reference<'_>,
    ) -> Result<Option<Arc<Pair>>, RunError> {
        let Some(QParams::PerTensor { scale, zero_point }) = x.qparams() else {
            return Ok(None);
        };
        let operands: Option<Vec<_>> = inputs[1..].iter().map(operand_key).collect();
        let Some(operands) = operands else {
            return Ok(None);
        };
        let key = (scale.to_bits(), zero_point, operands);
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, pair)) = last.as_ref().filter(|(of, _)| *of == key) {
            return Ok(Some(Arc::clone(pair)));
        }
        let codes: Vec<u8> = (0..=u8::MAX).collect();
        let whole = answer(&codes, (scale, zero_point), inputs, reference)?;
        let mut rest = Vec::with_capacity(codes.len());
        for piece in codes.chunks(BLOCK - 1) {
            rest.extend(answer(piece, (scale, zero_point), inputs, reference)?.0);
        }
        let tables = (whole.0.try_into().ok(), rest.try_into().ok());
        let (Some(body), Some(rest)) = tables else {
            return Ok(None);
        };
        let pair = Arc::new(Pair {
            body,
            rest,
            qparams: whole.1,
        });
        *last = Some((key, Arc::clone(&pair)));
        Ok(Some(pair))
    }
}

/// What the reference evaluator makes of these codes.
fn answer(
    codes: &[u8],
    (scale, zero_point): (f64, i64),
    inputs: &[Value],
    reference: Reference<'_>,
) -> Result<(Vec<u8>, (f64, i64)), RunError> {
    let shape = [codes.len() as i64];
    let tensor = planish_ir::Tensor::new(DType::QUInt8, &shape, codes.to_vec())
        .and_then(|tensor| tensor.with_qparams(QParams::PerTensor { scale, zero_point }))
        .map_err(|error| RunError::Shape(error.to_string()))?;
    let mut inputs = inputs.to_vec();
    inputs[0] = Value::Tensor(Tensor::from(&tensor));
    let outputs = reference(&inputs)?;
    let out = outputs.first().and_then(Value::as_tensor).cloned();
    let missing = || {
        RunError::Shape("make a table: the reference evaluator gave no quint8 tensor".to_owned())
    };
    let out = out
        .filter(|out| out.dtype() == DType::QUInt8)
        .ok_or_else(missing)?;
    let Some(QParams::PerTensor { scale, zero_point }) = out.qparams() else {
        return Err(missing());
    };
    Ok((out.values::<u8>()?, (scale, zero_point)))
}

/// What an operand is compared by; `None` for one that is no number.
fn operand_key(value: &Value) -> Option<[u64; 2]> {
    match value {
        Value::None => Some([0, 0]),
        Value::Bool(value) => Some([1, u64::from(*value)]),
        Value::Int(value) => Some([2, value.cast_unsigned()]),
        Value::Float(value) => Some([3, value.to_bits()]),
        _ => None,
    }
}
