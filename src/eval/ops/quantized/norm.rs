//! Normalizations of quantized tensors.

use crate::call::Call;
use crate::ops::norm::{normalized_size, per_channel};
use crate::ops::quant::{self, Affine, from_codes};
use crate::ops::{Kernel, Table};
use crate::{MemoryFormat, Result, Value};
use Kernel::One;

pub(in crate::ops) const OPS: Table = &[
    ("quantized::batch_norm", One(batch_norm)),
    ("quantized::batch_norm_relu", One(batch_norm)),
    ("quantized::batch_norm1d", One(batch_norm)),
    ("quantized::batch_norm1d_relu", One(batch_norm)),
    ("quantized::batch_norm2d", One(batch_norm)),
    ("quantized::batch_norm2d_relu", One(batch_norm)),
    ("quantized::batch_norm3d", One(batch_norm)),
    ("quantized::batch_norm3d_relu", One(batch_norm)),
    ("quantized::layer_norm", One(layer_norm)),
    ("quantized::group_norm", One(group_norm)),
    ("quantized::instance_norm", One(instance_norm)),
];

/// `batch_norm(input, weight, bias, mean, var, eps, scale, zero_point)`
fn batch_norm(call: &Call<'_>) -> Result<Value> {
    let input = call.tensor(0)?;
    let from = Affine::of(input)?;
    let (scale, zero_point) = quant::qparams(call, 6)?;
    let to = Affine::new(scale, zero_point, input.dtype())?;
    let Some(channels) = input.shape().get(1).copied() else {
        return Err(call.wrong(0, "a tensor with channels"));
    };
    let column = |index, default| -> Result<Vec<f32>> {
        let values = per_channel(call, index, channels, default)?;
        Ok(values.into_iter().map(|x| x as f32).collect())
    };
    let (weight, bias) = (column(1, Some(1.0))?, column(2, Some(0.0))?);
    let (mean, var) = (column(3, None)?, column(4, None)?);
    let eps = call.float(5)? as f32;
    let (input_scale, _) = quant::per_tensor(input)?;
    let lines: Vec<(f32, f32)> = (0..channels as usize)
        .map(|c| {
            let inverse = 1.0 / (var[c] + eps).sqrt();
            let alpha = f64::from(inverse * weight[c]) * (input_scale / scale);
            let beta = f64::from(bias[c] - mean[c] * inverse * weight[c]) / scale;
            (alpha as f32, beta as f32)
        })
        .collect();
    let relu = call.short_name().ends_with("relu");
    let inner: i64 = input.shape()[2..].iter().product();
    let codes = input.codes()?.into_iter().enumerate().map(|(at, q)| {
        let (alpha, beta) = lines[at / inner.max(1) as usize % channels as usize];
        let code = to.code(alpha.mul_add((q - from.zero) as f32, beta));
        if relu { code.max(to.zero) } else { code }
    });
    let codes: Vec<i32> = codes.collect();
    // Four and five dimensions come out channels last; fewer have one order only.
    let strides = MemoryFormat::ChannelsLast.strides(input.shape());
    Ok(from_codes(
        input.dtype(),
        input.shape(),
        &strides,
        &codes,
        scale,
        zero_point,
    )?
    .into())
}

/// Statistics of a group of codes, in units of the input's scale.
struct Statistics {
    /// Mean, less the zero point.
    mean: f32,
    /// `scale / sqrt(variance · scale² + eps)`
    inverse: f32,
}

impl Statistics {
    fn of(
        codes: impl Iterator<Item = i32>,
        count: usize,
        input: &Affine,
        scale: f64,
        eps: f64,
    ) -> Self {
        let (mut sum, mut squares) = (0i64, 0i128);
        for code in codes {
            sum += i64::from(code);
            squares += i128::from(code) * i128::from(code);
        }
        Self::of_sums(sum as f32, squares as f32, count, input, scale, eps)
    }

    /// Of channels whose sums are single floats, pixel by pixel: sums of squares beyond 2^24 are rounded.
    fn of_channels(codes: &[i32], pixels: usize, input: &Affine, scale: f64, eps: f64) -> Self {
        let (mut sum, mut squares) = (0f32, 0f32);
        for channel in codes.chunks_exact(pixels) {
            let codes = || channel.iter().copied();
            sum += codes().fold(0f32, |sum, code| sum + code as f32);
            let square = |code: i32| (i64::from(code) * i64::from(code)) as f32;
            squares += codes().fold(0f32, |sum, code| sum + square(code));
        }
        Self::of_sums(sum, squares, codes.len(), input, scale, eps)
    }

    fn of_sums(sum: f32, squares: f32, count: usize, input: &Affine, scale: f64, eps: f64) -> Self {
        let mean = sum / count as f32;
        let var = (-mean).mul_add(mean, squares / count as f32).max(0.0);
        let real = f64::from(var * input.scale * input.scale);
        Self {
            mean: mean - input.zero as f32,
            inverse: (f64::from(scale as f32) / (real + eps).sqrt()) as f32,
        }
    }
}

/// `layer_norm(input, shape, weight, bias, eps, scale, zero_point)`
fn layer_norm(call: &Call<'_>) -> Result<Value> {
    let input = call.tensor(0)?;
    let from = Affine::of(input)?;
    let (scale, zero_point) = quant::qparams(call, 5)?;
    let to = Affine::new(scale, zero_point, input.dtype())?;
    let row = normalized_size(input, &call.ints(1)?)?;
    let (gamma, beta) = (singles(call, 2, row, 1.0)?, singles(call, 3, row, 0.0)?);
    let eps = call.float(4)?;
    let (input_scale, _) = quant::per_tensor(input)?;
    let row = row.max(1) as usize;
    let mut codes = input.codes()?;
    for run in codes.chunks_exact_mut(row) {
        let statistics = Statistics::of(run.iter().copied(), row, &from, input_scale, eps);
        for ((code, gamma), beta) in run.iter_mut().zip(&gamma).zip(&beta) {
            let distance = (*code - from.zero) as f32 - statistics.mean;
            *code = to.quantize((distance * statistics.inverse).mul_add(*gamma, *beta));
        }
    }
    let strides = MemoryFormat::Contiguous.strides(input.shape());
    Ok(from_codes(
        input.dtype(),
        input.shape(),
        &strides,
        &codes,
        scale,
        zero_point,
    )?
    .into())
}

/// `group_norm(input, groups, weight, bias, eps, scale, zero_point)`
fn group_norm(call: &Call<'_>) -> Result<Value> {
    grouped(call, call.int(1)?, 2)
}

/// `instance_norm(input, weight, bias, eps, scale, zero_point)`: each channel is a group of its own.
fn instance_norm(call: &Call<'_>) -> Result<Value> {
    let channels = call.tensor(0)?.shape().get(1).copied().unwrap_or(0);
    grouped(call, channels, 1)
}

/// From so many pixels on, channels-last tensors are summed pixel by pixel, all channels at once (`quantized_groupnorm_nhwc_kernel`).
const MANY_PIXELS: usize = 512;

/// Normalizes groups of channels; arguments from `first`: weight, bias, eps, scale and zero point.
fn grouped(call: &Call<'_>, groups: i64, first: usize) -> Result<Value> {
    let input = call.tensor(0)?;
    let channels = match input.shape() {
        [_, channels, ..] if groups > 0 && channels % groups == 0 => *channels,
        _ => return Err(call.wrong(0, "channels that the groups divide")),
    };
    let from = Affine::of(input)?;
    let (scale, zero_point) = quant::qparams(call, first + 3)?;
    let to = Affine::new(scale, zero_point, input.dtype())?;
    let gamma = singles(call, first, channels, 1.0)?;
    let beta = singles(call, first + 1, channels, 0.0)?;
    let eps = call.float(first + 2)?;
    let (input_scale, _) = quant::per_tensor(input)?;
    let last = input.rank() == 4 && input.is_dense(MemoryFormat::ChannelsLast);
    let inner: i64 = input.shape()[2..].iter().product();
    let (inner, channels) = (inner.max(1) as usize, channels.max(1) as usize);
    let each = (channels / groups as usize * inner).max(1);
    let mut codes = input.codes()?;
    for (group, run) in codes.chunks_exact_mut(each).enumerate() {
        let statistics = if last && inner >= MANY_PIXELS {
            Statistics::of_channels(run, inner, &from, input_scale, eps)
        } else {
            Statistics::of(run.iter().copied(), each, &from, input_scale, eps)
        };
        for (at, code) in run.iter_mut().enumerate() {
            let c = (group * each + at) / inner % channels;
            let value = (*code - from.zero) as f32;
            let slope = statistics.inverse * gamma[c];
            *code = to.quantize(if last {
                value.mul_add(slope, (-statistics.mean).mul_add(slope, beta[c]))
            } else {
                (value - statistics.mean).mul_add(slope, beta[c])
            });
        }
    }
    // Five dimensions come out contiguous, whatever their layout was.
    let strides = match input.rank() {
        5 => MemoryFormat::Contiguous.strides(input.shape()),
        _ => quant::suggested_strides(input),
    };
    Ok(from_codes(
        input.dtype(),
        input.shape(),
        &strides,
        &codes,
        scale,
        zero_point,
    )?
    .into())
}

fn singles(call: &Call<'_>, index: usize, count: i64, default: f64) -> Result<Vec<f32>> {
    let values = per_channel(call, index, count, Some(default))?;
    Ok(values.into_iter().map(|x| x as f32).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Tensor;
    use crate::ops::trial::run;
    use planish_ir::DType;

    /// Codes that PyTorch 2.15 gives: beyond 2^24 sums of squares are rounded where the channels lie last, and the layouts differ.
    #[test]
    fn many_pixels_are_summed_as_floats_where_channels_lie_last() {
        let shape = [1, 2, 32, 32];
        let code = |at: usize| 255 - 2 * (at as i32 % 23);
        let channel = |c: usize| (0..32 * 32).map(move |pixel| code(2 * pixel + c));
        let codes: Vec<i32> = channel(0).chain(channel(1)).collect();
        let normalized = |format: MemoryFormat| -> Vec<i32> {
            let strides = format.strides(&shape);
            let x = from_codes(DType::QUInt8, &shape, &strides, &codes, 0.1, 67).unwrap();
            let floats =
                |values: [f32; 2]| Value::from(Tensor::from_values(&[2], &values).unwrap());
            let args = [
                x.into(),
                Value::Int(1),
                floats([1.0, 2.0]),
                floats([0.0, 0.5]),
                Value::Float(1e-5),
                Value::Float(0.02),
                Value::Int(128),
            ];
            run("quantized::group_norm", &args).codes().unwrap()
        };
        let (last, first) = (
            normalized(MemoryFormat::ChannelsLast),
            normalized(MemoryFormat::Contiguous),
        );
        assert_eq!(last[..8], [211, 196, 181, 166, 151, 136, 120, 105]);
        assert_eq!(first[..8], [211, 196, 181, 166, 151, 135, 120, 105]);
        let second = 32 * 32;
        assert_eq!(
            last[second..][..10],
            [255, 255, 244, 213, 183, 153, 123, 93, 62, 32]
        );
        assert_eq!(
            first[second..][..10],
            [255, 255, 243, 213, 183, 153, 123, 93, 63, 32]
        );
    }
}
