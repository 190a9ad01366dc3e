//! Concatenations.

use planish_eval::{MemoryFormat, Tensor, Value};
use planish_ir::{DType, QParams};
use planish_kernels::{Affine, Codes, requantize_table};

use super::{KernelStep, Outcome, affine, output};
use crate::arena::Arena;
use crate::{Call, RunError};

impl KernelStep {
    pub(super) fn cat(&self, inputs: &[Value], arena: &mut Arena) -> Result<Outcome, RunError> {
        let (Some(Value::List(list)), Some(Value::Int(dim))) = (inputs.first(), inputs.get(1))
        else {
            return Ok(Outcome::NotTaken(
                "its operands are not a list and a dimension",
            ));
        };
        let parts: Vec<Tensor> = list
            .to_vec()
            .iter()
            .filter_map(|value| value.as_tensor().cloned())
            .collect();
        let quants: Option<Vec<Affine>> = parts.iter().map(affine).collect();
        let (Some(first), Some(quants)) = (parts.first(), quants) else {
            return Ok(Outcome::NotTaken(
                "its operands are not quint8 tensors with one scale",
            ));
        };
        // Without a scale of its own the output takes that of the first operand.
        let Some(QParams::PerTensor {
            scale: first_scale,
            zero_point: first_zero,
        }) = first.qparams()
        else {
            return Ok(Outcome::NotTaken(
                "its operands are not quint8 tensors with one scale",
            ));
        };
        let scale = if let Some(Value::Float(scale)) = inputs.get(2) {
            *scale
        } else {
            first_scale
        };
        let zero = if let Some(Value::Int(zero)) = inputs.get(3) {
            *zero
        } else {
            first_zero
        };
        let rank = first.shape().len();
        let Ok(dim) = usize::try_from(if *dim < 0 { *dim + rank as i64 } else { *dim }) else {
            return Ok(Outcome::NotTaken("its dimension is out of range"));
        };
        let alike = |part: &Tensor| {
            part.shape().len() == rank
                && (0..rank).all(|at| at == dim || part.shape()[at] == first.shape()[at])
        };
        if dim >= rank || !parts.iter().all(alike) {
            return Ok(Outcome::NotTaken("its operands do not fit each other"));
        }
        let format = first.memory_format();
        if !parts
            .iter()
            .all(|part| part.memory_format() == format && part.is_dense(format))
        {
            return Ok(Outcome::NotTaken("its operands have different layouts"));
        }
        // Elements behind the dimension lie together: all later ones in rows, none in channels-last order along the channels.
        let mut shape = first.shape().to_vec();
        shape[dim] = parts.iter().map(|part| part.shape()[dim]).sum();
        let behind: i64 = match format {
            MemoryFormat::Contiguous => shape[dim + 1..].iter().product(),
            _ if dim == 1 => 1,
            _ => return Ok(Outcome::NotTaken("it does not join channels")),
        };
        let to = Affine {
            scale: scale as f32,
            zero: zero as i32,
        };
        let mut tables = Vec::with_capacity(parts.len());
        for quant in quants {
            let table = requantize_table(quant, to);
            if format != MemoryFormat::Contiguous && table != fused_table(quant, to) {
                return Ok(Outcome::NotTaken(
                    "its scales tell apart the two ways in which elements are dequantized",
                ));
            }
            tables.push(table);
        }
        let out = output(
            arena,
            self.buffer,
            DType::QUInt8,
            &shape,
            &format.strides(&shape),
            Some((scale, zero)),
        )?;
        let step = (shape[dim] * behind) as usize;
        let mut offset = 0;
        for (part, table) in parts.iter().zip(&tables) {
            let inner = (part.shape()[dim] * behind) as usize;
            super::with_bytes(part, &out, |x, out| {
                self.entry.call(Call::Part {
                    x,
                    table,
                    inner,
                    step,
                    offset,
                    out,
                })
            })?;
            offset += inner;
        }
        Ok(Outcome::Done(out, 0))
    }
}

/// The table when codes are dequantized with one rounding, `fma(s, q, s * (-z))`.
fn fused_table(from: Affine, to: Affine) -> [u8; 256] {
    let (inverse, shift) = (1.0 / to.scale, from.scale * -(from.zero as f32));
    std::array::from_fn(|code| {
        Codes::u8(to.zero).code(from.scale.mul_add(code as f32, shift) * inverse)
    })
}
