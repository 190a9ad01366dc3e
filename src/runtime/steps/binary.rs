//! Sums and products of two tensors.

use planish_eval::Value;
use planish_ir::DType;

use super::weighted::output_codes;
use super::{KernelStep, Outcome, affine, output, scale_and_zero, tensor};
use crate::arena::Arena;
use crate::{Call, RunError};

impl KernelStep {
    pub(super) fn binary(&self, inputs: &[Value], arena: &mut Arena) -> Result<Outcome, RunError> {
        let (Some(x), Some(y), Some((scale, zero))) = (
            tensor(inputs, 0),
            tensor(inputs, 1),
            scale_and_zero(inputs, 2),
        ) else {
            return Ok(Outcome::NotTaken(
                "its operands are not two tensors, a scale and a zero point",
            ));
        };
        let (Some(x_quant), Some(y_quant)) = (affine(x), affine(y)) else {
            return Ok(Outcome::NotTaken(
                "its operands are not quint8 tensors with one scale",
            ));
        };
        // Elements are paired as they lie in memory, and which formula an element gets depends on its place there.
        if x.shape() != y.shape() || x.strides() != y.strides() || !x.is_dense_in_any_order() {
            return Ok(Outcome::NotTaken(
                "its operands have different shapes or layouts",
            ));
        }
        let codes = output_codes(zero, self.relu)?;
        let out = output(
            arena,
            self.buffer,
            DType::QUInt8,
            x.shape(),
            x.strides(),
            Some((scale, zero)),
        )?;
        let scale = scale as f32;
        let gaps = || RunError::Shape("read a tensor with gaps as one run of memory".to_owned());
        x.with_bytes(|x| {
            y.with_bytes(|y| {
                out.with_bytes_mut(|out| {
                    self.entry.call(Call::Binary {
                        x,
                        x_quant,
                        y,
                        y_quant,
                        scale,
                        codes,
                        out,
                    })
                })
            })
        })
        .flatten()
        .ok_or_else(gaps)??
        .ok_or_else(gaps)??;
        Ok(Outcome::Done(out, 0))
    }
}
