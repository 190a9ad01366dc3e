//! Concatenations.

use planish_eval::{MemoryFormat, Tensor, Value};
use planish_ir::DType;
use planish_kernels::{Affine, Codes, requantize_table};

use super::{KernelStep, NOT_CODES, Outcome, Scaling, output, with_bytes};
use crate::arena::Arena;
use crate::{Call, RunError};

/// Channels that are converted at a time in channels-last order; the others of a pixel are dequantized with two roundings.
const BLOCK: usize = 8;

/// How a source goes to the output.
struct Table {
    body: [u8; 256],
    /// For the channels behind the last whole block, when theirs is another.
    rest: Option<[u8; 256]>,
}

impl KernelStep {
    pub(super) fn cat(&self, inputs: &[Value], arena: &mut Arena) -> Result<Outcome, RunError> {
        let (Some(Value::List(list)), Some(Value::Int(dim))) = (inputs.first(), inputs.get(1))
        else {
            return Ok(Outcome::NotTaken(
                "its operands are not a list and a dimension",
            ));
        };
        let list = list.to_vec();
        let parts: Option<Vec<(&Tensor, Scaling)>> = list
            .iter()
            .map(|value| {
                let part = value.as_tensor()?;
                Some((part, Scaling::of(part)?))
            })
            .collect();
        let Some(parts) = parts else {
            return Ok(Outcome::NotTaken(NOT_CODES));
        };
        let Some((first, scaling)) = parts
            .first()
            .and_then(|(part, own)| Some((*part, out_scaling(*own, inputs)?)))
        else {
            return Ok(Outcome::NotTaken(
                "its scale and zero point are no numbers of codes",
            ));
        };
        let rank = first.rank();
        let Some(dim) = first.dim_index(*dim).ok().filter(|dim| *dim < rank) else {
            return Ok(Outcome::NotTaken("its dimension is out of range"));
        };
        let alike = |part: &Tensor| {
            part.rank() == rank
                && (0..rank).all(|at| at == dim || part.shape()[at] == first.shape()[at])
        };
        if !parts.iter().all(|(part, _)| alike(part)) {
            return Ok(Outcome::NotTaken("its operands do not fit each other"));
        }
        let last = rank == 4
            && parts
                .iter()
                .all(|(part, _)| part.is_dense(MemoryFormat::ChannelsLast));
        let format = if last {
            MemoryFormat::ChannelsLast
        } else {
            MemoryFormat::Contiguous
        };
        let mut shape = first.shape().to_vec();
        shape[dim] = parts.iter().map(|(part, _)| part.shape()[dim]).sum();
        let strides = format.strides(&shape);
        let out = output(
            arena,
            self.buffer,
            DType::QUInt8,
            &shape,
            &strides,
            Some(scaling),
        )?;
        // A part of the output is a run of memory for each index of the dimensions outside of the joined one.
        let behind = strides[dim];
        let step = (shape[dim] * behind) as usize;
        let mut offset = 0;
        for (part, own) in parts {
            let inner = (part.shape()[dim] * behind) as usize;
            if inner == 0 || part.numel() == 0 {
                continue;
            }
            let table = Table::new(own, scaling, last && dim == 1);
            with_bytes(&part.contiguous(format)?, &out, |x, out| {
                self.entry.call(Call::Part {
                    x,
                    table: &table.body,
                    inner,
                    step,
                    offset,
                    out,
                })?;
                table.convert_rest(x, inner, &mut out[offset..], step);
                Ok(())
            })?;
            offset += inner;
        }
        Ok(Outcome::Done(out, 0))
    }
}

/// The output's quantization: without numbers of its own, that of the first source.
fn out_scaling(first: Scaling, inputs: &[Value]) -> Option<Scaling> {
    let scale = match inputs.get(2) {
        None | Some(Value::None) => first.scale,
        Some(Value::Float(scale)) => *scale,
        Some(_) => return None,
    };
    let zero_point = match inputs.get(3) {
        None | Some(Value::None) => first.zero_point,
        Some(Value::Int(zero_point)) => *zero_point,
        Some(_) => return None,
    };
    Scaling { scale, zero_point }.valid(DType::QUInt8)
}

impl Table {
    /// From a source's codes to the output's. `in_blocks` says that whole blocks of channels are dequantized with one rounding.
    fn new(from: Scaling, to: Scaling, in_blocks: bool) -> Self {
        let plain = requantize_table(from.affine(), to.affine());
        if !in_blocks {
            return Self {
                body: plain,
                rest: None,
            };
        }
        if from == to {
            // Codes are copied.
            return Self {
                body: std::array::from_fn(|code| code as u8),
                rest: None,
            };
        }
        let fused = fused_table(from.affine(), to.affine());
        Self {
            body: fused,
            rest: (plain != fused).then_some(plain),
        }
    }

    /// Converts the channels behind the last whole block of each pixel again, by their own table.
    fn convert_rest(&self, x: &[u8], channels: usize, out: &mut [u8], step: usize) {
        let Some(rest) = &self.rest else { return };
        let whole = channels / BLOCK * BLOCK;
        for (pixel, out) in x.chunks_exact(channels).zip(out.chunks_mut(step)) {
            for (code, out) in pixel[whole..].iter().zip(&mut out[whole..]) {
                *out = rest[usize::from(*code)];
            }
        }
    }
}

/// The table when codes are dequantized with one rounding, `fma(s, q, s * (-z))`.
fn fused_table(from: Affine, to: Affine) -> [u8; 256] {
    let (inverse, shift) = (1.0 / to.scale, from.scale * -(from.zero as f32));
    std::array::from_fn(|code| {
        Codes::u8(to.zero).code(from.scale.mul_add(code as f32, shift) * inverse)
    })
}
