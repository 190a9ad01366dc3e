//! Floats rounded to what codes could hold: what training with quantization in mind computes.

use planish_ir::DType;

use super::elementwise::like;
use super::quant::qparams;
use super::{Kernel, Table};
use crate::call::Call;
use crate::{Result, Tensor, Value};
use Kernel::{Many, One};

pub(super) const OPS: Table = &[
    ("aten::fake_quantize_per_tensor_affine", One(per_tensor)),
    (
        "aten::fake_quantize_per_tensor_affine_cachemask",
        Many(per_tensor_masked),
    ),
    ("aten::fake_quantize_per_channel_affine", One(per_channel)),
    (
        "aten::fake_quantize_per_channel_affine_cachemask",
        Many(per_channel_masked),
    ),
];

/// One scale and zero point.
struct Grid {
    scale: f32,
    zero: f32,
    /// Whether the zero point lies between the codes: then it is added before rounding, else after.
    between: bool,
    low: f32,
    high: f32,
}

impl Grid {
    /// What a value is rounded to, and whether its code is one of the type's.
    fn round(&self, value: f32) -> (f32, bool) {
        let steps = value * (1.0 / self.scale);
        let code = if self.between {
            (steps + self.zero).round_ties_even()
        } else {
            steps.round_ties_even() + self.zero
        };
        let held = code.max(self.low).min(self.high);
        (
            (held - self.zero) * self.scale,
            held.to_bits() == code.to_bits(),
        )
    }
}

fn per_tensor(call: &Call<'_>) -> Result<Value> {
    Ok(rounded(call, &[one(call)?], usize::MAX)?.0.into())
}

fn per_tensor_masked(call: &Call<'_>) -> Result<Vec<Value>> {
    let (values, mask) = rounded(call, &[one(call)?], usize::MAX)?;
    Ok(vec![values.into(), mask.into()])
}

fn per_channel(call: &Call<'_>) -> Result<Value> {
    let (grids, inner) = channels(call)?;
    Ok(rounded(call, &grids, inner)?.0.into())
}

fn per_channel_masked(call: &Call<'_>) -> Result<Vec<Value>> {
    let (grids, inner) = channels(call)?;
    let (values, mask) = rounded(call, &grids, inner)?;
    Ok(vec![values.into(), mask.into()])
}

/// `(self, scale, zero_point, quant_min, quant_max)`
fn one(call: &Call<'_>) -> Result<Grid> {
    let (scale, zero_point) = qparams(call, 1)?;
    let (low, high) = (call.int(3)?, call.int(4)?);
    Ok(Grid {
        scale: scale as f32,
        zero: zero_point as f32,
        between: false,
        low: low as f32,
        high: high as f32,
    })
}

/// `(self, scale, zero_point, axis, quant_min, quant_max)`: the channels, and how many elements take the same in a row.
fn channels(call: &Call<'_>) -> Result<(Vec<Grid>, usize)> {
    let tensor = call.tensor(0)?;
    let (axis, size) = call.sized_dim(3, tensor)?;
    let (scales, zeros) = (call.tensor(1)?.to_f32()?, call.tensor(2)?);
    let between = zeros.dtype().is_floating_point();
    let zeros = zeros.to_f32()?;
    if scales.len() as i64 != size || zeros.len() as i64 != size {
        return Err(call.wrong(1, "one scale for each channel"));
    }
    let (low, high) = (call.int(4)? as f32, call.int(5)? as f32);
    let grids = scales.iter().zip(zeros).map(|(scale, zero)| Grid {
        scale: *scale,
        zero,
        between,
        low,
        high,
    });
    let inner: i64 = tensor.shape()[axis + 1..].iter().product();
    Ok((grids.collect(), inner as usize))
}

fn rounded(call: &Call<'_>, grids: &[Grid], inner: usize) -> Result<(Tensor, Tensor)> {
    let tensor = call.tensor(0)?;
    if tensor.dtype() != DType::Float {
        return Err(call.wrong(0, "a tensor of type Float"));
    }
    let (out, mask) = (like(tensor, DType::Float)?, like(tensor, DType::Bool)?);
    let values = tensor.to_f32()?;
    let runs = values.chunks(inner.max(1)).zip(grids.iter().cycle());
    let pairs = runs.flat_map(|(run, grid)| run.iter().map(|value| grid.round(*value)));
    let (values, held): (Vec<f32>, Vec<u8>) =
        pairs.map(|(value, held)| (value, u8::from(held))).unzip();
    out.write_elements(&values)?;
    mask.write_elements(&held)?;
    Ok((out, mask))
}
