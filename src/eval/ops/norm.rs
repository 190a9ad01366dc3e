//! Normalizations of floats; in training by the statistics of the batch, which move those that are kept.
//!
//! Floats are computed in PyTorch's order; doubles as they come.

use planish_ir::{DType, Dims};

use super::elementwise::like;
use super::{Kernel, Table};
use crate::call::Call;
use crate::float::moments::moments;
use crate::{Error, Result, Tensor, Value};
use Kernel::One;

pub(super) const OPS: Table = &[
    ("aten::batch_norm", One(batch_norm)),
    ("aten::instance_norm", One(instance_norm)),
    ("aten::layer_norm", One(layer_norm)),
    ("aten::group_norm", One(group_norm)),
    ("aten::rms_norm", One(rms_norm)),
];

/// `batch_norm(input, weight, bias, mean, var, training, momentum, eps, cudnn)`
fn batch_norm(call: &Call<'_>) -> Result<Value> {
    let input = call.tensor(0)?;
    let Some(channels) = input.shape().get(1).copied() else {
        return Err(call.wrong(0, "a tensor with channels"));
    };
    let eps = call.float_or(7, 1e-5)?;
    if !call.bool_or(5, false)? {
        return running_norm(call, input, channels, eps);
    }
    // One group for each channel of the whole batch.
    let rows = input.transpose(0, 1)?;
    let mut shape = Dims::from_slice(&[1, channels]);
    shape.push(rows.numel() as i64 / channels.max(1));
    let rows = rows.reshape(&shape)?;
    keep_statistics(call, &rows, channels)?;
    let normed = grouped(call, &rows, channels, [1, 2], eps, statistics)?;
    let normed = normed
        .as_tensor()
        .ok_or_else(|| call.wrong(0, "a tensor"))?;
    let mut shape = Dims::from(input.shape());
    shape.swap(0, 1);
    let out = like(input, input.dtype())?;
    super::join::convert_into(&normed.reshape(&shape)?.transpose(0, 1)?, &out)?;
    Ok(out.into())
}

/// Brings what is known of earlier batches, the running mean and variance, nearer to this one, by the share in argument 6.
fn keep_statistics(call: &Call<'_>, rows: &Tensor, channels: i64) -> Result<()> {
    if call.is_none(3) && call.is_none(4) {
        return Ok(());
    }
    let share = call.float_or(6, 0.1)?;
    let values = rows.to_f64()?;
    let len = values.len() / channels.max(1) as usize;
    if len < 2 {
        return Err(call.wrong(0, "more than one value for each channel"));
    }
    let count = len as f64;
    let (mut means, mut vars) = (
        per_channel(call, 3, channels, Some(0.0))?,
        per_channel(call, 4, channels, Some(0.0))?,
    );
    for (at, row) in values.chunks_exact(len).enumerate() {
        let mean = row.iter().sum::<f64>() / count;
        let single = f64::from(mean as f32);
        let squares: f64 = row.iter().map(|x| (x - single) * (x - single)).sum();
        means[at] = share * mean + (1.0 - share) * means[at];
        vars[at] = share * (squares / (count - 1.0)) + (1.0 - share) * vars[at];
    }
    for (index, values) in [(3, means), (4, vars)] {
        if let Some(kept) = call.tensor_opt(index)? {
            kept.write_f64(&values)?;
        }
    }
    Ok(())
}

/// Mean and variance, summed in double precision, of differences that are rounded.
fn statistics(row: &[f32]) -> (f32, f32) {
    let count = row.len() as f32;
    let sum: f64 = row.iter().map(|x| f64::from(*x)).sum();
    let mean = (sum / row.len() as f64) as f32;
    let squares = row.iter().map(|x| f64::from((x - mean) * (x - mean)));
    (mean, squares.sum::<f64>() as f32 / count)
}

/// Normalizes each channel with known statistics, arguments 3 and 4.
fn running_norm(call: &Call<'_>, input: &Tensor, channels: i64, eps: f64) -> Result<Value> {
    let channel = |index, default| per_channel(call, index, channels, default);
    let (weight, bias) = (channel(1, Some(1.0))?, channel(2, Some(0.0))?);
    let (mean, var) = (channel(3, None)?, channel(4, None)?);
    let inner = input.shape()[2..].iter().product::<i64>().max(1) as usize;
    let channel_of = |at: usize| at / inner % channels as usize;
    let out = like(input, input.dtype())?;
    if input.dtype() == DType::Double {
        let values = input.to_f64()?.into_iter().enumerate().map(|(at, x)| {
            let c = channel_of(at);
            (x - mean[c]) / (var[c] + eps).sqrt() * weight[c] + bias[c]
        });
        out.write_f64(&values.collect::<Vec<_>>())?;
        return Ok(out.into());
    }
    let lines: Vec<Line> = (0..channels as usize)
        .map(|c| {
            let scale = 1.0 / (var[c] as f32 + eps as f32).sqrt();
            Line::new(mean[c] as f32, scale, weight[c] as f32, bias[c] as f32)
        })
        .collect();
    let values = input.to_f32()?.into_iter().enumerate();
    let values: Vec<f32> = values.map(|(at, x)| lines[channel_of(at)].at(x)).collect();
    out.write_f32(&values)?;
    Ok(out.into())
}

/// A channel's normalization as one multiplication and addition.
struct Line {
    slope: f32,
    offset: f32,
}

impl Line {
    /// Takes `mean` off, scales, and applies weight and bias.
    fn new(mean: f32, scale: f32, weight: f32, bias: f32) -> Self {
        let slope = scale * weight;
        Self {
            slope,
            offset: (-mean).mul_add(slope, bias),
        }
    }

    fn at(&self, x: f32) -> f32 {
        x.mul_add(self.slope, self.offset)
    }
}

/// One value for each channel; `default` stands for an absent tensor.
pub(super) fn per_channel(
    call: &Call<'_>,
    index: usize,
    channels: i64,
    default: Option<f64>,
) -> Result<Vec<f64>> {
    match (call.tensor_opt(index)?, default) {
        (Some(tensor), _) if tensor.numel() as i64 == channels => tensor.to_f64(),
        (None, Some(default)) => Ok(vec![default; channels.max(0) as usize]),
        _ => Err(call.wrong(index, "one value for each channel")),
    }
}

/// `instance_norm(input, weight, bias, mean, var, use_input_stats, momentum, eps, cudnn)`
fn instance_norm(call: &Call<'_>) -> Result<Value> {
    let input = call.tensor(0)?;
    let Some(channels) = input.shape().get(1).copied() else {
        return Err(call.wrong(0, "a tensor with channels"));
    };
    let eps = call.float_or(7, 1e-5)?;
    if !call.bool_or(5, true)? {
        return running_norm(call, input, channels, eps);
    }
    grouped(call, input, channels, [1, 2], eps, statistics)
}

/// `group_norm(input, groups, weight, bias, eps, cudnn)`
fn group_norm(call: &Call<'_>) -> Result<Value> {
    let (input, groups) = (call.tensor(0)?, call.int(1)?);
    let eps = call.float_or(4, 1e-5)?;
    grouped(call, input, groups, [2, 3], eps, moments)
}

/// Normalizes groups of channels with their own statistics, which `moments` takes of a row of floats; weight and bias, at the given arguments, belong to channels.
fn grouped(
    call: &Call<'_>,
    input: &Tensor,
    groups: i64,
    [weight, bias]: [usize; 2],
    eps: f64,
    moments: impl Fn(&[f32]) -> (f32, f32),
) -> Result<Value> {
    let channels = match input.shape() {
        [_, channels, ..] if groups > 0 && channels % groups == 0 => *channels,
        _ => return Err(call.wrong(0, "channels that the groups divide")),
    };
    let weight = per_channel(call, weight, channels, Some(1.0))?;
    let bias = per_channel(call, bias, channels, Some(0.0))?;
    let inner: i64 = input.shape()[2..].iter().product();
    let (inner, channels) = (inner as usize, channels as usize);
    let each = (channels / groups as usize * inner).max(1);
    let channel_of = |group: usize, at: usize| (group * each + at) / inner.max(1) % channels;
    let out = like(input, input.dtype())?;
    if input.dtype() == DType::Double {
        let mut values = input.to_f64()?;
        for (group, row) in values.chunks_exact_mut(each).enumerate() {
            normalize(row, eps);
            for (at, value) in row.iter_mut().enumerate() {
                let c = channel_of(group, at);
                *value = *value * weight[c] + bias[c];
            }
        }
        out.write_f64(&values)?;
        return Ok(out.into());
    }
    let mut values = input.to_f32()?;
    for (group, row) in values.chunks_exact_mut(each).enumerate() {
        let (mean, var) = moments(row);
        let scale = (1.0 / (f64::from(var.max(0.0)) + eps).sqrt()) as f32;
        for (at, value) in row.iter_mut().enumerate() {
            let c = channel_of(group, at);
            *value = Line::new(mean, scale, weight[c] as f32, bias[c] as f32).at(*value);
        }
    }
    out.write_f32(&values)?;
    Ok(out.into())
}

/// Shifts and scales a row to mean 0 and variance 1.
fn normalize(row: &mut [f64], eps: f64) {
    let count = row.len() as f64;
    let mean = row.iter().sum::<f64>() / count;
    let var = row.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / count;
    let scale = 1.0 / (var + eps).sqrt();
    for value in row {
        *value = (*value - mean) * scale;
    }
}

/// `layer_norm(input, shape, weight, bias, eps, cudnn)`
fn layer_norm(call: &Call<'_>) -> Result<Value> {
    let input = call.tensor(0)?;
    let eps = call.float_or(4, 1e-5)?;
    if input.dtype() == DType::Double {
        return last_dims(call, [2, 3], |row| normalize(row, eps));
    }
    let len = normalized_size(input, &call.ints(1)?)?;
    let weight = per_channel(call, 2, len, Some(1.0))?;
    let bias = per_channel(call, 3, len, Some(0.0))?;
    let mut values = input.to_f32()?;
    for row in values.chunks_exact_mut(len.max(1) as usize) {
        let (mean, var) = moments(row);
        let scale = 1.0 / (var.max(0.0) + eps as f32).sqrt();
        for ((x, weight), bias) in row.iter_mut().zip(&weight).zip(&bias) {
            *x = ((*x - mean) * scale).mul_add(*weight as f32, *bias as f32);
        }
    }
    let shape: Dims = input.shape().into();
    let out = Tensor::zeros(input.dtype(), &shape, crate::MemoryFormat::Contiguous)?;
    out.write_f32(&values)?;
    Ok(out.into())
}

/// `rms_norm(input, shape, weight, eps)`
fn rms_norm(call: &Call<'_>) -> Result<Value> {
    // Without eps: the smallest number that changes a 1 of the input's type.
    let eps = call.float_opt(3)?.unwrap_or(f64::from(f32::EPSILON));
    last_dims(call, [2, 9], |row| {
        let mean = row.iter().map(|x| x * x).sum::<f64>() / row.len() as f64;
        let scale = 1.0 / (mean + eps).sqrt();
        for x in row {
            *x *= scale;
        }
    })
}

fn last_dims(call: &Call<'_>, [weight, bias]: [usize; 2], f: impl Fn(&mut [f64])) -> Result<Value> {
    let input = call.tensor(0)?;
    let row = normalized_size(input, &call.ints(1)?)?;
    let weight = per_channel(call, weight, row, Some(1.0))?;
    let bias = per_channel(call, bias, row, Some(0.0))?;
    let mut values = input.to_f64()?;
    for row in values.chunks_exact_mut(row.max(1) as usize) {
        f(row);
        for ((value, weight), bias) in row.iter_mut().zip(&weight).zip(&bias) {
            *value = *value * weight + bias;
        }
    }
    let shape: Dims = input.shape().into();
    let out = Tensor::zeros(input.dtype(), &shape, crate::MemoryFormat::Contiguous)?;
    out.write_f64(&values)?;
    Ok(out.into())
}

/// The number of elements that a layer norm takes together: those of the last dimensions, whose sizes must be the given ones.
pub(super) fn normalized_size(input: &Tensor, sizes: &[i64]) -> Result<i64> {
    if sizes.is_empty() || !input.shape().ends_with(sizes) {
        return Err(Error::Invalid(format!(
            "the last dimensions of {input:?} do not have the sizes {sizes:?}"
        )));
    }
    Ok(sizes.iter().product())
}
