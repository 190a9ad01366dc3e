//! From real numbers to codes and back.

use planish_eval::Value;
use planish_ir::{DType, QParams, cast_elements};
use planish_kernels::{Affine, Code, Codes, KernelSpec};

use super::{KernelStep, Outcome, output, scale_and_zero, tensor, with_bytes};
use crate::arena::Arena;
use crate::{Call, RunError};

impl KernelStep {
    pub(super) fn quantize(
        &self,
        inputs: &[Value],
        arena: &mut Arena,
    ) -> Result<Outcome, RunError> {
        let (Some(x), Some((scale, zero))) = (tensor(inputs, 0), scale_and_zero(inputs, 1)) else {
            return Ok(Outcome::NotTaken(
                "its operands are not a tensor, a scale and a zero point",
            ));
        };
        if x.dtype() != DType::Float || !x.is_dense_in_any_order() {
            return Ok(Outcome::NotTaken("its operand is not a dense float tensor"));
        }
        let (dtype, (lo, hi)) = self.code_type();
        if !(lo..=hi).contains(&zero) {
            return Ok(Outcome::NotTaken("its zero point is not a code"));
        }
        let codes = if dtype == DType::QInt8 {
            Codes::s8(zero as i32)
        } else {
            Codes::u8(zero as i32)
        };
        let out = output(
            arena,
            self.buffer,
            dtype,
            x.shape(),
            x.strides(),
            Some((scale, zero)),
        )?;
        let scale = scale as f32;
        with_bytes(x, &out, |x, out| {
            self.entry.call(Call::Quantize {
                x: &cast_elements(x),
                scale,
                codes,
                out,
            })
        })?;
        Ok(Outcome::Done(out, 0))
    }

    pub(super) fn dequantize(
        &self,
        inputs: &[Value],
        arena: &mut Arena,
    ) -> Result<Outcome, RunError> {
        let (dtype, (lo, hi)) = self.code_type();
        let Some(x) = tensor(inputs, 0).filter(|x| x.dtype() == dtype && x.is_dense_in_any_order())
        else {
            return Ok(Outcome::NotTaken(
                "its operand is not a dense tensor of codes",
            ));
        };
        let Some(QParams::PerTensor { scale, zero_point }) = x.qparams() else {
            return Ok(Outcome::NotTaken(
                "its operand has a scale for each channel",
            ));
        };
        if !(lo..=hi).contains(&zero_point) {
            return Ok(Outcome::NotTaken("its zero point is not a code"));
        }
        let quant = Affine {
            scale: scale as f32,
            zero: zero_point as i32,
        };
        let out = output(
            arena,
            self.buffer,
            DType::Float,
            x.shape(),
            x.strides(),
            None,
        )?;
        with_bytes(x, &out, |x, out| match bytemuck::try_cast_slice_mut(out) {
            Ok(out) => self.entry.call(Call::Dequantize { x, quant, out }),
            Err(error) => Err(crate::Error::Arguments {
                kernel: self.entry.kernel().to_string(),
                why: format!("its output: {error}"),
            }),
        })?;
        Ok(Outcome::Done(out, 0))
    }

    /// The type of codes that the kernel makes or reads, and its range.
    fn code_type(&self) -> (DType, (i64, i64)) {
        match self.entry.kernel().spec() {
            KernelSpec::Quantize(Code::S8) | KernelSpec::Dequantize(Code::S8) => {
                (DType::QInt8, (-128, 127))
            }
            _ => (DType::QUInt8, (0, 255)),
        }
    }
}
