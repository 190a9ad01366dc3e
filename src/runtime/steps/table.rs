//! Elementwise functions of one code.
//!
//! The table is what the reference evaluator answers for each of the 256 codes, so there is one definition of each function. Elements in
//! whole blocks of 64 are dequantized with one rounding and the rest with two (`docs/numerics.md`, section 2): there are two tables, which
//! hardly ever differ.

use std::sync::{Arc, Mutex, PoisonError};

use planish_eval::{MemoryFormat, Tensor, Value};
use planish_ir::{DType, QParams};

use super::{KernelStep, NOT_CODES, Outcome, Reference, Scaling, codes, output, with_bytes};
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
    scaling: Scaling,
}

impl KernelStep {
    pub(super) fn table(
        &self,
        inputs: &[Value],
        arena: &mut Arena,
        reference: Reference<'_>,
    ) -> Result<Outcome, RunError> {
        let Some((x, scaling)) = codes(inputs, 0) else {
            return Ok(Outcome::NotTaken(NOT_CODES));
        };
        let Some(pair) = self.tables.get(scaling, inputs, reference)? else {
            return Ok(Outcome::NotTaken("its operands are not numbers"));
        };
        let format = if self.variant.keeps_layout {
            x.memory_format()
        } else {
            MemoryFormat::Contiguous
        };
        // With one table for all elements their order does not matter.
        let whole = if pair.body == pair.rest {
            x.numel()
        } else if x.is_dense(format) {
            x.numel() / BLOCK * BLOCK
        } else {
            return Ok(Outcome::NotTaken("its operand has gaps or another layout"));
        };
        let strides = format.strides(x.shape());
        let out = output(
            arena,
            self.buffer,
            DType::QUInt8,
            x.shape(),
            &strides,
            Some(pair.scaling),
        )?;
        with_bytes(&x.contiguous(format)?, &out, |x, out| {
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
        scaling: Scaling,
        inputs: &[Value],
        reference: Reference<'_>,
    ) -> Result<Option<Arc<Pair>>, RunError> {
        let operands: Option<Vec<_>> = inputs.iter().skip(1).map(operand_key).collect();
        let Some(operands) = operands else {
            return Ok(None);
        };
        let key = (scaling.scale.to_bits(), scaling.zero_point, operands);
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, pair)) = last.as_ref().filter(|(of, _)| *of == key) {
            return Ok(Some(Arc::clone(pair)));
        }
        let codes: Vec<u8> = (0..=u8::MAX).collect();
        let whole = answer(&codes, scaling, inputs, reference)?;
        let mut rest = Vec::with_capacity(codes.len());
        for piece in codes.chunks(BLOCK - 1) {
            rest.extend(answer(piece, scaling, inputs, reference)?.0);
        }
        let tables = (whole.0.try_into().ok(), rest.try_into().ok());
        let (Some(body), Some(rest)) = tables else {
            return Ok(None);
        };
        let pair = Arc::new(Pair {
            body,
            rest,
            scaling: whole.1,
        });
        *last = Some((key, Arc::clone(&pair)));
        Ok(Some(pair))
    }
}

/// What the reference evaluator makes of these codes.
fn answer(
    codes: &[u8],
    Scaling { scale, zero_point }: Scaling,
    inputs: &[Value],
    reference: Reference<'_>,
) -> Result<(Vec<u8>, Scaling), RunError> {
    let shape = [codes.len() as i64];
    let tensor = planish_ir::Tensor::new(DType::QUInt8, &shape, codes.to_vec())
        .and_then(|tensor| tensor.with_qparams(QParams::PerTensor { scale, zero_point }))
        .map_err(|error| RunError::Shape(error.to_string()))?;
    let tensor = Value::Tensor(Tensor::from(&tensor));
    let operands = inputs.iter().skip(1).cloned();
    let inputs: Vec<Value> = std::iter::once(tensor).chain(operands).collect();
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
    Ok((out.values::<u8>()?, Scaling { scale, zero_point }))
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
