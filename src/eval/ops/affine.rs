//! One scale and zero point: from real numbers to codes and back.

use planish_ir::DType;

use super::quant::per_tensor;
use crate::{Error, Result, Tensor};

/// Codes of one scale and zero point.
#[derive(Clone, Copy, Debug)]
pub(super) struct Affine {
    pub(super) scale: f32,
    pub(super) zero: i32,
    inverse: f32,
    low: i64,
    high: i64,
}

impl Affine {
    pub(super) fn new(scale: f64, zero_point: i64, dtype: DType) -> Result<Self> {
        let Some((low, high)) = dtype.quantized_range() else {
            return Err(Error::Unsupported(format!("codes of type {dtype}")));
        };
        let zero = i32::try_from(zero_point)
            .map_err(|_| Error::Invalid(format!("a zero point of {zero_point}")))?;
        let scale = scale as f32;
        Ok(Self {
            scale,
            zero,
            inverse: 1.0 / scale,
            low,
            high,
        })
    }

    /// The parameters of a tensor that is quantized with one scale.
    pub(super) fn of(tensor: &Tensor) -> Result<Self> {
        let (scale, zero_point) = per_tensor(tensor)?;
        Self::new(scale, zero_point, tensor.dtype())
    }

    /// The nearest code. The zero point is added after rounding; NaN becomes the largest code.
    pub(super) fn quantize(&self, value: f32) -> i32 {
        self.code(value * self.inverse)
    }

    /// The code of a value in units of the scale.
    pub(super) fn code(&self, steps: f32) -> i32 {
        if steps.is_nan() {
            return self.high as i32;
        }
        let code = (steps.round_ties_even() as i64).saturating_add(i64::from(self.zero));
        code.clamp(self.low, self.high) as i32
    }

    /// The codes of many values as they are stored.
    pub(super) fn quantize_all(&self, values: &[f32], codes: &mut [u8]) {
        if self.high - self.low <= 255 {
            return self.quantize_bytes(values, codes);
        }
        for (code, value) in codes.chunks_exact_mut(4).zip(values) {
            code.copy_from_slice(&self.quantize(*value).to_le_bytes());
        }
    }

    /// The codes of many values, for a type whose codes have a byte each.
    ///
    /// The same codes as [`Self::quantize`], in a form that vectorizes: steps are bounded before they are rounded, which between integers
    /// is the same. Adding 1.5 · 2^23 then rounds to an integer, ties to even, and leaves it in the low bits of the sum.
    pub(super) fn quantize_bytes(&self, values: &[f32], codes: &mut [u8]) {
        const ROUND: f32 = 12_582_912.0;
        if !(self.low..=self.high).contains(&i64::from(self.zero)) {
            for (code, value) in codes.iter_mut().zip(values) {
                *code = self.quantize(*value) as u8;
            }
            return;
        }
        let zero = self.zero as f32;
        let (low, high) = (self.low as f32 - zero, self.high as f32 - zero);
        for (code, value) in codes.iter_mut().zip(values) {
            let steps = value * self.inverse;
            // In this form NaN becomes the upper bound.
            let steps = if steps < high { steps } else { high };
            let steps = if steps > low { steps } else { low };
            *code = ((steps + ROUND).to_bits() as u8).wrapping_add(self.zero as u8);
        }
    }

    /// The code that a value which includes the zero point rounds to.
    pub(super) fn rounded(&self, value: f32) -> i32 {
        (value.round_ties_even() as i64).clamp(self.low, self.high) as i32
    }

    /// The value of a code, in two rounded steps.
    pub(super) fn plain(&self, code: i32) -> f32 {
        (code.wrapping_sub(self.zero)) as f32 * self.scale
    }

    /// The value of a code as PyTorch's vector units compute it: one rounding of the sum, another rounding of `scale * -zero`.
    pub(super) fn fused(&self, code: i32) -> f32 {
        self.scale
            .mul_add(code as f32, self.scale * -(self.zero as f32))
    }

    /// Smallest and largest code.
    pub(super) fn range(&self) -> (i32, i32) {
        (self.low as i32, self.high as i32)
    }

    /// `1 / scale`, rounded once.
    pub(super) fn inverse(&self) -> f32 {
        self.inverse
    }
}
