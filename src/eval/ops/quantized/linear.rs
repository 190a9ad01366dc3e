//! Quantized linear maps.

use planish_ir::{DType, Dims, PackedKind, PackedParams};

use super::conv::centred;
use super::stage::{BiasStep, Stage, WeightParams, onednn_weight, twice_inverted};
use crate::call::Call;
use crate::float::product;
use crate::ops::conv::Sum;
use crate::ops::quant::{self, Affine, chosen, from_codes, half_rounded, per_tensor};
use crate::ops::{Kernel, Table};
use crate::{Contract, Result, Tensor, Value};
use Kernel::One;

pub(in crate::ops) const OPS: Table = &[
    ("quantized::linear", One(linear)),
    ("quantized::linear_relu", One(linear)),
    ("quantized::linear_leaky_relu", One(linear)),
    ("quantized::linear_tanh", One(linear)),
    (
        "quantized::linear_with_input_q_dq_qweight_dq_output_fp32",
        One(linear_to_floats),
    ),
    (
        "quantized::linear_with_input_q_dq_qweight_dq_relu_output_fp32",
        One(linear_to_floats),
    ),
    ("quantized::linear_dynamic", One(linear_dynamic)),
    ("quantized::linear_relu_dynamic", One(linear_dynamic)),
    ("quantized::linear_dynamic_fp16", One(linear_half)),
    ("quantized::linear_relu_dynamic_fp16", One(linear_half)),
    (
        "quantized::linear_dynamic_fp16_unpacked_weight",
        One(linear_half_unpacked),
    ),
];

/// `linear(input, packed, scale, zero_point)`, with an activation before the result is quantized.
fn linear(call: &Call<'_>) -> Result<Value> {
    let (input, packed) = (call.tensor(0)?, weight_of(call)?);
    let (scale, zero_point) = quant::qparams(call, 2)?;
    let sums = Sums::new(call, input, packed)?;
    let stage = Stage::new(
        call,
        input,
        packed,
        &sums.params,
        sums.outputs,
        (scale, zero_point),
        BiasStep::Fused,
    )?;
    let mut codes = Vec::new();
    let leaky = call.short_name() == "linear_leaky_relu";
    if leaky || call.short_name() == "linear_tanh" {
        if call.contract != Contract::Onednn {
            return Err(call.unsupported("under another contract than onednn"));
        }
        let slope = if leaky { call.float(4)? as f32 } else { 0.0 };
        sums.run(|channel, sum| {
            let value = match stage.value(channel, sum) {
                value if !leaky => f64::from(value).tanh() as f32,
                value if value > 0.0 => value,
                value => value * slope,
            };
            codes.push(stage.quantized(channel, value));
        });
    } else {
        sums.run(|channel, sum| codes.push(stage.code(channel, sum)));
    }
    let strides = planish_ir::contiguous_strides(&sums.shape);
    Ok(from_codes(
        input.dtype(),
        &sums.shape,
        &strides,
        &codes,
        scale,
        zero_point,
    )?
    .into())
}

/// `linear_dynamic(input, packed, reduce_range)`: floats in and out, codes in between.
fn linear_dynamic(call: &Call<'_>) -> Result<Value> {
    let (input, packed) = (call.tensor(0)?, weight_of(call)?);
    let contract = call.contract;
    let reduced = call.bool_or(2, false)? && contract != Contract::Qnnpack;
    let (scale, zero_point) = chosen(&input.to_f32()?, reduced);
    let codes = if contract == Contract::Onednn {
        quantized_with_zero(input, scale, zero_point)?
    } else {
        quant::quantized(input, scale, zero_point, DType::QUInt8)?
    };
    let sums = Sums::new(call, &codes, packed)?;
    let bias = match &packed.bias {
        Some(bias) => Tensor::from(bias).to_f32()?,
        None => vec![0.0; sums.outputs],
    };
    let least = if call.short_name().contains("relu") {
        0.0
    } else {
        f32::NEG_INFINITY
    };
    let mut values = Vec::new();
    sums.run(|channel, sum| {
        let (sum, bias) = (sum as f32, bias[channel]);
        let factor = || scale as f32 * sums.params.scale(channel);
        let value = match contract {
            Contract::Fbgemm => sum.mul_add(factor(), bias),
            Contract::Qnnpack => sum * factor() + bias,
            Contract::Onednn => {
                let weight = onednn_weight("linear", &sums.params, channel);
                sum * twice_inverted(scale) * weight + bias
            }
        };
        values.push(value.max(least));
    });
    Ok(Tensor::from_values(&sums.shape, &values)?.into())
}

/// `linear_with_input_q_dq_qweight_dq_output_fp32(input, scale, zero_point, packed)`: as the dynamic form, with parameters that are given.
fn linear_to_floats(call: &Call<'_>) -> Result<Value> {
    let (scale, zero_point) = quant::qparams(call, 1)?;
    let packed = call.packed(3)?;
    if packed.kind != PackedKind::Linear {
        return Err(call.wrong(3, "the packed weight of a linear map"));
    }
    let codes = quant::quantized(call.tensor(0)?, scale, zero_point, DType::QUInt8)?;
    let sums = Sums::new(call, &codes, packed)?;
    let bias = match &packed.bias {
        Some(bias) => Tensor::from(bias).to_f32()?,
        None => vec![0.0; sums.outputs],
    };
    let relu = call.short_name().contains("relu");
    let least = if relu { 0.0 } else { f32::NEG_INFINITY };
    let mut values = Vec::new();
    sums.run(|channel, sum| {
        let factor = scale as f32 * sums.params.scale(channel);
        values.push((sum as f32).mul_add(factor, bias[channel]).max(least));
    });
    Ok(Tensor::from_values(&sums.shape, &values)?.into())
}

/// Codes as oneDNN makes them: the zero point is added before rounding.
fn quantized_with_zero(input: &Tensor, scale: f64, zero_point: i64) -> Result<Tensor> {
    let affine = Affine::new(scale, zero_point, DType::QUInt8)?;
    let inverse = (1.0 / scale) as f32;
    let values = input.to_f32()?;
    let codes = values
        .iter()
        .map(|x| affine.rounded(x * inverse + affine.zero as f32));
    let codes: Vec<i32> = codes.collect();
    let strides = planish_ir::contiguous_strides(input.shape());
    from_codes(
        DType::QUInt8,
        input.shape(),
        &strides,
        &codes,
        scale,
        zero_point,
    )
}

/// Weights rounded to half precision, sums in floats.
fn linear_half(call: &Call<'_>) -> Result<Value> {
    let packed = call.packed(1)?;
    if packed.kind != PackedKind::LinearFp16 {
        return Err(call.wrong(1, "a packed weight of half precision"));
    }
    let bias = packed.bias.as_ref().map(Tensor::from);
    half(call, &Tensor::from(&packed.weight), bias.as_ref())
}

fn linear_half_unpacked(call: &Call<'_>) -> Result<Value> {
    half(call, &half_rounded(call.tensor(1)?)?, call.tensor_opt(2)?)
}

fn half(call: &Call<'_>, weight: &Tensor, bias: Option<&Tensor>) -> Result<Value> {
    let outputs = weight.shape().first().copied().unwrap_or(0) as usize;
    let dot = |output| product::half(output, outputs);
    let out = crate::ops::matmul::linear_map(call, call.tensor(0)?, weight, bias, dot)?;
    if !call.short_name().contains("relu") {
        return Ok(out.into());
    }
    let positive: Vec<f32> = out.to_f32()?.iter().map(|x| x.max(0.0)).collect();
    Ok(Tensor::from_values(out.shape(), &positive)?.into())
}

fn weight_of<'a>(call: &Call<'a>) -> Result<&'a PackedParams> {
    let packed = call.packed(1)?;
    match packed.kind {
        PackedKind::Linear => Ok(packed),
        _ => Err(call.wrong(1, "the packed weight of a linear map")),
    }
}

/// The sums of products of codes less their zero points; leading dimensions of the input are rows.
struct Sums {
    input: Vec<i16>,
    weight: Vec<i16>,
    params: WeightParams,
    depth: usize,
    outputs: usize,
    shape: Dims,
}

impl Sums {
    fn new(call: &Call<'_>, input: &Tensor, packed: &PackedParams) -> Result<Self> {
        let weight = Tensor::from(&packed.weight);
        let [outputs, depth] = weight.shape() else {
            return Err(call.wrong(1, "a matrix"));
        };
        let (outputs, depth) = (*outputs as usize, *depth as usize);
        let Some((last, rows)) = input.shape().split_last() else {
            return Err(call.wrong(0, "rows"));
        };
        if *last as usize != depth {
            return Err(call.wrong(0, "rows as long as those of the weight"));
        }
        let mut shape = Dims::from(rows);
        shape.push(outputs as i64);
        call.work((input.numel() as u64).saturating_mul(outputs as u64))?;
        let (_, zero) = per_tensor(input)?;
        let params = WeightParams::of(packed, outputs)?;
        let codes = weight.codes()?;
        let weight = codes.iter().enumerate();
        let weight = weight.map(|(at, q)| (q - params.zero(at / depth.max(1))) as i16);
        Ok(Self {
            weight: weight.collect(),
            input: centred(input, zero)?,
            params,
            depth,
            outputs,
            shape,
        })
    }

    fn run(&self, mut emit: impl FnMut(usize, i32)) {
        let rows: i64 = self.shape[..self.shape.len() - 1].iter().product();
        for row in 0..rows as usize {
            let x = &self.input[row * self.depth..(row + 1) * self.depth];
            for channel in 0..self.outputs {
                let w = &self.weight[channel * self.depth..(channel + 1) * self.depth];
                emit(channel, i16::dot(x, w));
            }
        }
    }
}
