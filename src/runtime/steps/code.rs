//! From real numbers to codes and back.

use planish_eval::Value;
use planish_ir::{DType, QParams, cast_elements};
use planish_kernels::{Code, Codes, KernelSpec};

use super::{KernelStep, Outcome, Scaling, dense, output, tensor, with_bytes};
use crate::arena::Arena;
use crate::{Call, RunError};

impl KernelStep {
    pub(super) fn quantize(
        &self,
        inputs: &[Value],
        arena: &mut Arena,
    ) -> Result<Outcome, RunError> {
        let Some(x) = tensor(inputs, 0).filter(|x| x.dtype() == DType::Float) else {
            return Ok(Outcome::NotTaken("its operand is not a float tensor"));
        };
        let dtype = self.code_type();
        let scaling = match (inputs.get(1), inputs.get(2)) {
            (Some(Value::Float(scale)), Some(Value::Int(zero_point))) => Scaling {
                scale: *scale,
                zero_point: *zero_point,
            }
            .valid(dtype),
            _ => None,
        };
        let Some(scaling) = scaling else {
            return Ok(Outcome::NotTaken(
                "its scale and zero point are no numbers of codes",
            ));
        };
        let zero = scaling.affine().zero;
        let codes = if dtype == DType::QInt8 {
            Codes::s8(zero)
        } else {
            Codes::u8(zero)
        };
        let (x, format) = dense(x)?;
        let strides = format.strides(x.shape());
        let out = output(
            arena,
            self.buffer,
            dtype,
            x.shape(),
            &strides,
            Some(scaling),
        )?;
        with_bytes(&x, &out, |x, out| {
            self.entry.call(Call::Quantize {
                x: &cast_elements(x),
                scale: scaling.affine().scale,
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
        let dtype = self.code_type();
        let Some(x) = tensor(inputs, 0).filter(|x| x.dtype() == dtype) else {
            return Ok(Outcome::NotTaken(
                "its operand is not a tensor of such codes",
            ));
        };
        let Some(QParams::PerTensor { scale, zero_point }) = x.qparams() else {
            return Ok(Outcome::NotTaken(
                "its operand has a scale for each channel",
            ));
        };
        let Some(scaling) = (Scaling { scale, zero_point }).valid(dtype) else {
            return Ok(Outcome::NotTaken(
                "its scale and zero point are no numbers of codes",
            ));
        };
        let (x, format) = dense(x)?;
        let strides = format.strides(x.shape());
        let out = output(arena, self.buffer, DType::Float, x.shape(), &strides, None)?;
        with_bytes(&x, &out, |x, out| match bytemuck::try_cast_slice_mut(out) {
            Ok(out) => self.entry.call(Call::Dequantize {
                x,
                quant: scaling.affine(),
                out,
            }),
            Err(error) => Err(crate::Error::Arguments {
                kernel: self.entry.kernel().to_string(),
                why: format!("its output: {error}"),
            }),
        })?;
        Ok(Outcome::Done(out, 0))
    }

    /// The type of codes that the kernel makes or reads.
    fn code_type(&self) -> DType {
        match self.entry.kernel().spec() {
            KernelSpec::Quantize(Code::S8) | KernelSpec::Dequantize(Code::S8) => DType::QInt8,
            _ => DType::QUInt8,
        }
    }
}
