//! Between real numbers and codes.

use std::sync::Arc;

use planish_ir::{DType, QParams, Type, cast_elements};

pub(super) use super::affine::Affine;
use super::{Kernel, Table};
use crate::call::Call;
use crate::{Contract, Error, MemoryFormat, Result, Tensor, Value};
use Kernel::{Many, One};

pub(super) const OPS: Table = &[
    ("aten::quantize_per_tensor", One(quantize_per_tensor)),
    ("aten::quantize_per_channel", One(quantize_per_channel)),
    ("aten::dequantize", One(dequantize)),
    ("aten::int_repr", One(int_repr)),
    ("aten::q_scale", One(q_scale)),
    ("aten::q_zero_point", One(q_zero_point)),
    ("aten::q_per_channel_scales", One(channel_scales)),
    ("aten::q_per_channel_zero_points", One(channel_zero_points)),
    ("aten::q_per_channel_axis", One(channel_axis)),
    ("aten::_choose_qparams_per_tensor", Many(choose_qparams)),
    ("aten::_saturate_weight_to_fp16", One(saturate_to_half)),
    ("aten::quantize_per_tensor_dynamic", One(quantize_dynamic)),
];

/// The largest scale that [`chosen`] takes for too small to compute with.
const SMALL_SCALE: f32 = 6.1e-5;

/// Scale and zero point of a tensor that is quantized with one scale.
pub(super) fn per_tensor(tensor: &Tensor) -> Result<(f64, i64)> {
    match tensor.qparams() {
        Some(QParams::PerTensor { scale, zero_point }) => Ok((scale, zero_point)),
        Some(QParams::PerChannel { .. } | QParams::PerChannelFloat { .. }) => {
            Err(Error::Unsupported(format!(
                "one scale of {tensor:?}, which has one for each channel"
            )))
        }
        None => Err(Error::Invalid(format!("{tensor:?} is not quantized"))),
    }
}

/// A tensor of codes, in logical order, quantized with one scale.
pub(super) fn from_codes(
    dtype: DType,
    shape: &[i64],
    strides: &[i64],
    codes: &[i32],
    scale: f64,
    zero_point: i64,
) -> Result<Tensor> {
    let out = empty(dtype, shape, strides, scale, zero_point)?;
    out.write_codes(codes)?;
    Ok(out)
}

/// Codes yet to be written.
pub(super) fn empty(
    dtype: DType,
    shape: &[i64],
    strides: &[i64],
    scale: f64,
    zero_point: i64,
) -> Result<Tensor> {
    if dtype.quantized_range().is_none() {
        return Err(Error::Unsupported(format!("codes of type {dtype}")));
    }
    let out = Tensor::zeros_strided(dtype, shape, strides)?;
    out.with_qparams(QParams::PerTensor { scale, zero_point })
}

/// `quantize_per_tensor(tensor, scale, zero_point, dtype)`; scale and zero point may be tensors.
fn quantize_per_tensor(call: &Call<'_>) -> Result<Value> {
    let dtype = call.dtype(3)?;
    if let Value::List(_) = call.get(0) {
        let (scales, zeros) = (call.tensor(1)?.to_f64()?, call.tensor(2)?.to_i64()?);
        let tensors = call.tensors(0)?;
        if tensors.len() != scales.len() || tensors.len() != zeros.len() {
            return Err(call.wrong(1, "one scale and one zero point for each tensor"));
        }
        let all = tensors.iter().zip(scales.iter().zip(&zeros));
        let all = all.map(|(t, (s, z))| Ok(quantized(floats(call, t)?, *s, *z, dtype)?.into()));
        return Ok(Value::list(
            Type::TENSOR,
            all.collect::<Result<Vec<Value>>>()?,
        ));
    }
    let (scale, zero_point) = qparams(call, 1)?;
    let tensor = floats(call, call.tensor(0)?)?;
    Ok(quantized(tensor, scale, zero_point, dtype)?.into())
}

/// Only `Float` tensors are quantized; others are refused, not converted.
pub(super) fn floats<'t>(call: &Call<'_>, tensor: &'t Tensor) -> Result<&'t Tensor> {
    if tensor.dtype() == DType::Float {
        Ok(tensor)
    } else {
        Err(call.wrong(0, "a tensor of type Float"))
    }
}

/// Scale and zero point in two arguments, numbers or tensors of one element.
pub(super) fn qparams(call: &Call<'_>, first: usize) -> Result<(f64, i64)> {
    let scale = match call.get(first) {
        Value::Tensor(scale) => scale.to_f64()?.first().copied(),
        _ => Some(call.float(first)?),
    };
    let zero_point = match call.get(first + 1) {
        Value::Tensor(zero) => zero.to_i64()?.first().copied(),
        _ => Some(call.int(first + 1)?),
    };
    match (scale, zero_point) {
        (Some(scale), Some(zero_point)) => Ok((scale, zero_point)),
        _ => Err(call.wrong(first, "a scale and a zero point")),
    }
}

/// A float tensor as codes of one scale.
pub(super) fn quantized(
    tensor: &Tensor,
    scale: f64,
    zero_point: i64,
    dtype: DType,
) -> Result<Tensor> {
    let affine = Affine::new(scale, zero_point, dtype)?;
    let out = quantized_codes(tensor, dtype, &[affine], 0)?;
    out.with_qparams(QParams::PerTensor { scale, zero_point })
}

/// `quantize_per_channel(tensor, scales, zero_points, axis, dtype)`
fn quantize_per_channel(call: &Call<'_>) -> Result<Value> {
    let tensor = floats(call, call.tensor(0)?)?;
    if call.tensor(2)?.dtype().is_floating_point() {
        return quantize_between_codes(call, tensor);
    }
    let (scales, zeros) = (call.tensor(1)?.to_f64()?, call.tensor(2)?.to_i64()?);
    let (axis, channels) = call.sized_dim(3, tensor)?;
    let channels = channels as usize;
    let dtype = call.dtype(4)?;
    if scales.len() != channels || zeros.len() != channels {
        return Err(call.wrong(1, "one scale for each channel"));
    }
    let affines = scales
        .iter()
        .zip(&zeros)
        .map(|(s, z)| Affine::new(*s, *z, dtype));
    let affines: Vec<Affine> = affines.collect::<Result<_>>()?;
    let out = quantized_codes(tensor, dtype, &affines, axis)?;
    let qparams = QParams::PerChannel {
        scales: scales.into(),
        zero_points: zeros.into(),
        axis,
    };
    Ok(out.with_qparams(qparams)?.into())
}

/// `quantize_per_channel` with zero points that are floats: they are added before rounding.
fn quantize_between_codes(call: &Call<'_>, tensor: &Tensor) -> Result<Value> {
    let (scales, zero_points) = (call.tensor(1)?.to_f32()?, call.tensor(2)?.to_f32()?);
    let (axis, channels) = call.sized_dim(3, tensor)?;
    let dtype = call.dtype(4)?;
    let Some((low, high)) = dtype.quantized_range().filter(|_| dtype.size() == 1) else {
        return Err(call.wrong(4, "a type of codes of a byte at most"));
    };
    if scales.len() != channels as usize || zero_points.len() != channels as usize {
        return Err(call.wrong(1, "one scale for each channel"));
    }
    let inner: i64 = tensor.shape()[axis + 1..].iter().product();
    let values = tensor.to_f32()?;
    let codes = values.iter().enumerate().map(|(at, value)| {
        let channel = at / inner.max(1) as usize % scales.len().max(1);
        let code = value * (1.0 / scales[channel]) + zero_points[channel];
        (code.round_ties_even() as i64).clamp(low, high) as i32
    });
    let codes: Vec<i32> = codes.collect();
    let strides = tensor.memory_format().strides(tensor.shape());
    let out = Tensor::zeros_strided(dtype, tensor.shape(), &strides)?;
    out.write_codes(&codes)?;
    let qparams = QParams::PerChannelFloat {
        scales: scales.into(),
        zero_points: zero_points.into(),
        axis,
    };
    Ok(out.with_qparams(qparams)?.into())
}

/// The codes of a tensor, of each index of `axis` with its own parameters, or of all with the same.
///
/// One pass in memory order: a weight is read once, at the speed of memory.
fn quantized_codes(
    tensor: &Tensor,
    dtype: DType,
    affines: &[Affine],
    axis: usize,
) -> Result<Tensor> {
    /// Elements at a time where all have the same parameters.
    const BLOCK: usize = 1 << 14;
    let format = tensor.memory_format();
    let mut source = tensor.contiguous(format)?;
    if source.dtype() != DType::Float {
        source = super::elementwise::like(&source, DType::Float)?;
        source.write_f32(&tensor.to_f32()?)?;
    }
    let strides = format.strides(tensor.shape());
    let out = Tensor::zeros_strided(dtype, tensor.shape(), &strides)?;
    // Elements that lie closer than the axis steps have its index in common; after the last index the first one comes again.
    let run = match affines {
        [_] => BLOCK,
        _ => strides[axis].max(1) as usize,
    };
    let write = |values: &[u8], codes: &mut [u8]| {
        let runs = codes.chunks_mut(run * dtype.size());
        let runs = values.chunks(run * size_of::<f32>()).zip(runs);
        for ((values, codes), affine) in runs.zip(affines.iter().cycle()) {
            // A file may hold its tensors at odd places: then a run is copied, not the tensor.
            affine.quantize_all(&cast_elements(values), codes);
        }
    };
    if tensor.numel() > 0 {
        let written = source.with_bytes(|values| out.with_bytes_mut(|codes| write(values, codes)));
        let written = written.transpose()?.flatten();
        written.ok_or_else(|| Error::Invalid(format!("{tensor:?} has gaps")))?;
    }
    Ok(out)
}

fn dequantize(call: &Call<'_>) -> Result<Value> {
    dequantized_value(call.get(0), 16).unwrap_or_else(|| Err(call.wrong(0, "tensors")))
}

/// Tensors in lists and tuples are dequantized one by one; deep nesting is not followed.
fn dequantized_value(value: &Value, depth: u32) -> Option<Result<Value>> {
    let depth = depth.checked_sub(1)?;
    let all = |items: &[Value]| -> Option<Result<Vec<Value>>> {
        items
            .iter()
            .map(|item| dequantized_value(item, depth))
            .collect()
    };
    match value {
        Value::Tensor(tensor) => Some(dequantized(tensor).map(Value::from)),
        Value::List(list) => {
            let items = all(&list.to_vec())?;
            Some(items.map(|items| Value::list(list.element().clone(), items)))
        }
        Value::Tuple(items) => Some(all(items)?.map(Value::tuple)),
        _ => None,
    }
}

/// The real numbers that codes stand for; other tensors as `Float`.
pub(super) fn dequantized(tensor: &Tensor) -> Result<Tensor> {
    let Some(qparams) = tensor.qparams() else {
        if tensor.dtype() == DType::Float {
            return Ok(tensor.clone());
        }
        let out = super::elementwise::like(tensor, DType::Float)?;
        out.write_f32(&tensor.to_f32()?)?;
        return Ok(out);
    };
    let codes = tensor.codes()?;
    let values: Vec<f32> = match &qparams {
        QParams::PerTensor { scale, zero_point } => {
            let affine = Affine::new(*scale, *zero_point, tensor.dtype())?;
            codes.iter().map(|q| affine.plain(*q)).collect()
        }
        QParams::PerChannel {
            scales,
            zero_points,
            axis,
        } => {
            let affines = scales.iter().zip(&zero_points[..]);
            let affines = affines.map(|(s, z)| Affine::new(*s, *z, tensor.dtype()));
            let affines: Vec<Affine> = affines.collect::<Result<_>>()?;
            let inner = tensor.shape().get(axis + 1..).unwrap_or_default();
            let inner: usize = inner.iter().map(|size| *size as usize).product();
            let channel = |at: usize| at / inner.max(1) % affines.len().max(1);
            let codes = codes.iter().enumerate();
            codes
                .map(|(at, q)| affines[channel(at)].plain(*q))
                .collect()
        }
        QParams::PerChannelFloat {
            scales,
            zero_points,
            axis,
        } => {
            let inner = tensor.shape().get(axis + 1..).unwrap_or_default();
            let inner: usize = inner.iter().map(|size| *size as usize).product();
            let channel = |at: usize| at / inner.max(1) % scales.len().max(1);
            let codes = codes.iter().enumerate();
            codes
                .map(|(at, q)| (*q as f32 - zero_points[channel(at)]) * scales[channel(at)])
                .collect()
        }
    };
    let strides = tensor.memory_format().strides(tensor.shape());
    Tensor::from_slice(DType::Float, tensor.shape(), &strides, &values)
}

fn int_repr(call: &Call<'_>) -> Result<Value> {
    let tensor = call.tensor(0)?;
    let dtype = match tensor.dtype() {
        DType::QUInt8 => DType::Byte,
        DType::QInt8 => DType::Char,
        DType::QInt32 => DType::Int,
        _ => return Err(call.wrong(0, "a quantized tensor")),
    };
    let strides = tensor.memory_format().strides(tensor.shape());
    Ok(tensor
        .copy_strided(&strides)?
        .cast_bits(dtype, None)?
        .into())
}

fn q_scale(call: &Call<'_>) -> Result<Value> {
    Ok(Value::Float(per_tensor(call.tensor(0)?)?.0))
}

fn q_zero_point(call: &Call<'_>) -> Result<Value> {
    Ok(Value::Int(per_tensor(call.tensor(0)?)?.1))
}

/// Scales, zero points and axis.
type PerChannel = (Arc<[f64]>, Arc<[i64]>, usize);

fn per_channel(call: &Call<'_>) -> Result<PerChannel> {
    match call.tensor(0)?.qparams() {
        Some(QParams::PerChannel {
            scales,
            zero_points,
            axis,
        }) => Ok((scales, zero_points, axis)),
        _ => Err(call.wrong(0, "a tensor with one scale for each channel")),
    }
}

fn channel_scales(call: &Call<'_>) -> Result<Value> {
    if let Some(QParams::PerChannelFloat { scales, .. }) = call.tensor(0)?.qparams() {
        return Ok(Tensor::from_values(&[scales.len() as i64], &scales)?.into());
    }
    let scales = per_channel(call)?.0;
    Ok(Tensor::from_values(&[scales.len() as i64], &scales)?.into())
}

fn channel_zero_points(call: &Call<'_>) -> Result<Value> {
    if let Some(QParams::PerChannelFloat { zero_points, .. }) = call.tensor(0)?.qparams() {
        return Ok(Tensor::from_values(&[zero_points.len() as i64], &zero_points)?.into());
    }
    let zeros = per_channel(call)?.1;
    Ok(Tensor::from_values(&[zeros.len() as i64], &zeros)?.into())
}

fn channel_axis(call: &Call<'_>) -> Result<Value> {
    if let Some(QParams::PerChannelFloat { axis, .. }) = call.tensor(0)?.qparams() {
        return Ok(Value::Int(axis as i64));
    }
    Ok(Value::Int(per_channel(call)?.2 as i64))
}

fn choose_qparams(call: &Call<'_>) -> Result<Vec<Value>> {
    let reduced = call.bool_or(1, false)? && call.contract != Contract::Qnnpack;
    let (scale, zero_point) = chosen(&call.tensor(0)?.to_f32()?, reduced);
    Ok(vec![Value::Float(scale), Value::Int(zero_point)])
}

/// `quantize_per_tensor_dynamic(self, dtype, reduce_range)`
fn quantize_dynamic(call: &Call<'_>) -> Result<Value> {
    let tensor = floats(call, call.tensor(0)?)?;
    let reduced = call.bool(2)? && call.contract != Contract::Qnnpack;
    let (scale, zero_point) = chosen(&tensor.to_f32()?, reduced);
    let (dtype, zero_point) = match (call.dtype(1)?, reduced) {
        (DType::QInt8, true) => (DType::QInt8, zero_point - 64),
        (DType::QInt8, false) => (DType::QInt8, zero_point - 128),
        (DType::QUInt8, _) => (DType::QUInt8, zero_point),
        _ => return Err(call.wrong(1, "a type of codes of one byte")),
    };
    Ok(quantized(tensor, scale, zero_point, dtype)?.into())
}

/// Scale and zero point with which codes from 0 on cover the values and zero exactly; `reduced` leaves one of eight bits unused.
pub(super) fn chosen(values: &[f32], reduced: bool) -> (f64, i64) {
    let top = if reduced { 127.0 } else { 255.0 };
    let mut low = values.iter().copied().fold(0f32, f32::min);
    let mut high = values.iter().copied().fold(0f32, f32::max);
    let mut scale = (f64::from(high) - f64::from(low)) / top;
    if scale as f32 == 0.0 || (1.0 / scale as f32).is_infinite() {
        scale = 0.1;
    }
    if scale < f64::from(SMALL_SCALE) {
        let grow = SMALL_SCALE / scale as f32;
        scale = f64::from(SMALL_SCALE);
        if low == 0.0 {
            high = SMALL_SCALE * top as f32;
        } else if high == 0.0 {
            low = -SMALL_SCALE * top as f32;
        } else {
            low *= grow;
            high *= grow;
        }
    }
    let (below, above) = (f64::from(low) / scale, f64::from(high) / scale);
    // The zero point is taken from the end where it is known better.
    let zero = if -below.abs() < top.abs() - above.abs() {
        -below
    } else {
        top - above
    };
    (scale, zero.clamp(0.0, top).round_ties_even() as i64)
}

/// What is too large for half precision becomes the largest half number; nothing is rounded yet.
fn saturate_to_half(call: &Call<'_>) -> Result<Value> {
    let most = f64::from(half::f16::MAX.to_f32());
    let weight = call.tensor(0)?;
    Ok(super::elementwise::map_float(weight, |x| x.clamp(-most, most))?.into())
}

/// A float tensor rounded to half precision and back, in its own layout; what is too large becomes the largest half number.
pub(super) fn half_rounded(weight: &Tensor) -> Result<Tensor> {
    let most = half::f16::MAX.to_f32();
    let round = |x: &f32| half::f16::from_f32(x.clamp(-most, most)).to_f32();
    let values: Vec<f32> = weight.to_f32()?.iter().map(round).collect();
    let out = super::elementwise::like(weight, DType::Float)?;
    out.write_elements(&values)?;
    Ok(out)
}

/// The code of a value under the parameters of a quantized tensor.
pub(super) fn quantize_one(like: &Tensor, value: f32) -> Result<i32> {
    Ok(Affine::of(like)?.quantize(value))
}

/// The layout in which results of quantized operators keep their operand's order.
pub(super) fn suggested_strides(tensor: &Tensor) -> planish_ir::Dims {
    let format: MemoryFormat = tensor.memory_format();
    format.strides(tensor.shape())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ties_go_to_even_before_the_zero_point_is_added() {
        let affine = Affine::new(0.5, 3, DType::QUInt8).unwrap();
        let codes = [0.25f32, 0.75, 1.25, -0.25, -9.0, 1000.0].map(|x| affine.quantize(x));
        assert_eq!(codes, [3, 5, 5, 3, 0, 255]);
        assert_eq!(affine.plain(5), 1.0);
    }

    #[test]
    fn many_codes_at_once_are_the_same_codes() {
        let mut values = vec![
            0.0,
            -0.0,
            f32::NAN,
            f32::INFINITY,
            f32::NEG_INFINITY,
            f32::MAX,
            f32::MIN_POSITIVE,
        ];
        values.extend((-2000..2000).map(|at| at as f32 * 0.125));
        values.extend((-2000..2000).map(|at| (at as f32 * 0.125).next_up()));
        for (dtype, zeros) in [
            (DType::QUInt8, [0, 1, 128, 255, -300]),
            (DType::QInt8, [-128, -1, 0, 127, 1000]),
        ] {
            for (zero, scale) in zeros.into_iter().zip([0.25, 0.5, 0.1, 1.0, 1.0]) {
                let affine = Affine::new(scale, zero, dtype).unwrap();
                let mut codes = vec![0; values.len()];
                affine.quantize_bytes(&values, &mut codes);
                let one_by_one: Vec<u8> =
                    values.iter().map(|x| affine.quantize(*x) as u8).collect();
                assert_eq!(codes, one_by_one);
            }
        }
    }

    #[test]
    fn channels_are_found_in_every_layout() {
        let values: Vec<f32> = (0..120).map(|at| at as f32).collect();
        let logical = Tensor::from_values(&[2, 3, 4, 5], &values).unwrap();
        let gaps = Tensor::zeros_strided(DType::Float, &[2, 3, 4, 5], &[200, 60, 13, 2]).unwrap();
        gaps.write_elements(&values).unwrap();
        for axis in 0..4 {
            let channels = logical.shape()[axis];
            let scales: Vec<f64> = (1..=channels).map(|at| at as f64 * 0.5).collect();
            for dtype in [DType::QInt8, DType::QUInt8, DType::QInt32] {
                let affines = scales.iter().map(|scale| Affine::new(*scale, 7, dtype));
                let affines: Vec<Affine> = affines.collect::<Result<_>>().unwrap();
                let inner: i64 = logical.shape()[axis + 1..].iter().product();
                let channel = |at: usize| at as i64 / inner % channels;
                let wanted: Vec<i32> = (0..120)
                    .map(|at| affines[channel(at) as usize].quantize(values[at]))
                    .collect();
                let last = logical.copied(Some(MemoryFormat::ChannelsLast)).unwrap();
                let turned = logical.permute(&[3, 1, 0, 2]).unwrap();
                let turned = turned.contiguous(MemoryFormat::Contiguous).unwrap();
                let turned = turned.permute(&[2, 1, 3, 0]).unwrap();
                for tensor in [&logical, &last, &gaps, &turned] {
                    let out = quantized_codes(tensor, dtype, &affines, axis).unwrap();
                    let qparams = QParams::PerTensor {
                        scale: 1.0,
                        zero_point: 0,
                    };
                    let out = out.with_qparams(qparams).unwrap();
                    assert_eq!(
                        out.codes().unwrap(),
                        wanted,
                        "{axis} {:?}",
                        tensor.strides()
                    );
                    assert_eq!(
                        out.strides(),
                        &*tensor.memory_format().strides(tensor.shape())
                    );
                }
            }
        }
    }

    #[test]
    fn the_two_dequantizations_differ_in_the_last_bit() {
        let affine = Affine::new(f64::from(0.1f32), 3, DType::QUInt8).unwrap();
        let differ = (0..256).any(|q| affine.plain(q).to_bits() != affine.fused(q).to_bits());
        assert!(differ);
        let close = |q| (affine.plain(q) - affine.fused(q)).abs() < 1e-5;
        assert!((0..256).all(close));
    }

    #[test]
    fn chosen_parameters_hold_zero_exactly() {
        let (scale, zero) = chosen(&[-1.0, 3.0], false);
        assert_eq!((scale, zero), (4.0 / 255.0, 64));
        assert_eq!(chosen(&[0.0], true), (0.1, 0));
        assert_eq!(chosen(&[2.0], true), (2.0 / 127.0, 0));
    }
}
