//! Normalizations of floats, outside of training.
//!
//! Statistics are taken in `f64`; PyTorch's own order of summation depends on the CPU.

use planish_ir::Dims;

use super::elementwise::like;
use super::{Kernel, Table};
use crate::call::Call;
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
    if call.bool_or(5, false)? {
        return Err(call.unsupported("in training"));
    }
    let Some(channels) = input.shape().get(1).copied() else {
        return Err(call.wrong(0, "a tensor with channels"));
    };
    running_norm(call, input, channels, call.float_or(7, 1e-5)?)
}

/// Normalizes each channel with known statistics, arguments 3 and 4.
fn running_norm(call: &Call<'_>, input: &Tensor, channels: i64, eps: f64) -> Result<Value> {
    let channel = |index, default| per_channel(call, index, channels, default);
    let (weight, bias) = (channel(1, Some(1.0))?, channel(2, Some(0.0))?);
    let (mean, var) = (channel(3, None)?, channel(4, None)?);
    let inner: i64 = input.shape()[2..].iter().product();
    let values = input.to_f64()?;
    let normal = values.iter().enumerate().map(|(at, x)| {
        let c = at / inner.max(1) as usize % channels as usize;
        (x - mean[c]) / (var[c] + eps).sqrt() * weight[c] + bias[c]
    });
    let out = like(input, input.dtype())?;
    out.write_f64(&normal.collect::<Vec<_>>())?;
    Ok(out.into())
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
    grouped(call, input, channels, [1, 2], eps)
}

/// `group_norm(input, groups, weight, bias, eps, cudnn)`
fn group_norm(call: &Call<'_>) -> Result<Value> {
    let (input, groups) = (call.tensor(0)?, call.int(1)?);
    grouped(call, input, groups, [2, 3], call.float_or(4, 1e-5)?)
}

/// Normalizes groups of channels with their own statistics; weight and bias, at the given arguments, belong to channels.
fn grouped(
    call: &Call<'_>,
    input: &Tensor,
    groups: i64,
    [weight, bias]: [usize; 2],
    eps: f64,
) -> Result<Value> {
    let channels = match input.shape() {
        [_, channels, ..] if groups > 0 && channels % groups == 0 => *channels,
        _ => return Err(call.wrong(0, "channels that the groups divide")),
    };
    let weight = per_channel(call, weight, channels, Some(1.0))?;
    let bias = per_channel(call, bias, channels, Some(0.0))?;
    let inner: i64 = input.shape()[2..].iter().product();
    let (inner, channels) = (inner as usize, channels as usize);
    let mut values = input.to_f64()?;
    let each = channels / groups as usize * inner;
    for (group, row) in values.chunks_exact_mut(each.max(1)).enumerate() {
        normalize(row, eps);
        for (at, value) in row.iter_mut().enumerate() {
            let c = (group * each + at) / inner.max(1) % channels;
            *value = *value * weight[c] + bias[c];
        }
    }
    let out = like(input, input.dtype())?;
    out.write_f64(&values)?;
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
    let eps = call.float_or(4, 1e-5)?;
    last_dims(call, [2, 3], |row| normalize(row, eps))
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
