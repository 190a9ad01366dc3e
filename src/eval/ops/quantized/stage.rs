//! From exact sums of products back to codes: the output stage of linear and convolution.

use planish_ir::{PackedParams, QParams};

use super::conv::check_zero;
use crate::call::Call;
use crate::ops::quant::{Affine, per_tensor};
use crate::{Contract, Error, Result, Tensor};

/// Scales and zero points of a weight, one or one for each output channel.
#[derive(Debug)]
pub(crate) struct WeightParams {
    scales: Vec<f32>,
    zeros: Vec<i32>,
}

/// How the bias of a weight with one scale is added.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum BiasStep {
    /// `fma(bias, 1 / (sx * sw), acc)`
    Fused,
    /// `acc + bias * (1 / (sx * sw))`, as FBGEMM's depthwise kernels do.
    Rounded,
}

/// The output stage: one entry for each output channel.
#[derive(Debug)]
pub(crate) struct Stage {
    channels: Vec<Channel>,
    out: Affine,
    low: i32,
}

#[derive(Clone, Copy, Debug)]
struct Channel {
    /// Factor from sums to steps of the output's scale.
    factor: f32,
    bias: Bias,
}

#[derive(Clone, Copy, Debug)]
enum Bias {
    None,
    /// `fma(.0, .1, sum)`
    Fused(f32, f32),
    /// `sum + .0`
    Added(f32),
    /// An integer that joins the sum before it becomes a float.
    Whole(i32),
}

impl WeightParams {
    /// The parameters of a packed weight with `outputs` output channels.
    pub(crate) fn of(packed: &PackedParams, outputs: usize) -> Result<Self> {
        let narrow = |zeros: &[i64]| -> Result<Vec<i32>> {
            let zeros = zeros.iter().map(|zero| {
                check_zero(*zero)?;
                Ok(*zero as i32)
            });
            zeros.collect()
        };
        match packed.weight.qparams() {
            Some(QParams::PerTensor { scale, zero_point }) => Ok(Self {
                scales: vec![*scale as f32],
                zeros: narrow(&[*zero_point])?,
            }),
            Some(QParams::PerChannel {
                scales,
                zero_points,
                ..
            }) if scales.len() == outputs => Ok(Self {
                scales: scales.iter().map(|s| *s as f32).collect(),
                zeros: narrow(zero_points)?,
            }),
            _ => Err(Error::Invalid(format!(
                "the weight {:?} is not quantized for {outputs} channels",
                packed.weight
            ))),
        }
    }

    /// The scale of an output channel.
    pub(crate) fn scale(&self, channel: usize) -> f32 {
        self.scales[channel.min(self.scales.len() - 1)]
    }

    /// The zero point of an output channel.
    pub(crate) fn zero(&self, channel: usize) -> i32 {
        self.zeros[channel.min(self.zeros.len() - 1)]
    }

    fn is_per_tensor(&self) -> bool {
        self.scales.len() == 1
    }
}

impl Stage {
    /// The output stage of `call` for `outputs` channels.
    pub(crate) fn new(
        call: &Call<'_>,
        input: &Tensor,
        packed: &PackedParams,
        weight: &WeightParams,
        outputs: usize,
        out: Affine,
        step: BiasStep,
    ) -> Result<Self> {
        let (scale, zero) = per_tensor(input)?;
        let input = Affine::new(scale, zero, input.dtype())?;
        let bias = match &packed.bias {
            Some(bias) => Some(Tensor::from(bias).to_f32()?),
            None => None,
        };
        let channel = |at: usize| -> Result<Channel> {
            let bias = bias.as_ref().map(|bias| bias[at]);
            match call.contract {
                Contract::Fbgemm => Ok(fbgemm(&input, weight, at, bias, &out, step)),
                Contract::Qnnpack => Ok(qnnpack(&input, weight, at, bias, &out)),
                Contract::Onednn => Err(call.no_contract()),
            }
        };
        let relu = call.short_name().contains("relu");
        let low = if relu {
            out.zero.max(out.range().0)
        } else {
            out.range().0
        };
        Ok(Self {
            channels: (0..outputs).map(channel).collect::<Result<_>>()?,
            out,
            low,
        })
    }

    /// The code of a sum of an output channel.
    pub(crate) fn code(&self, channel: usize, sum: i32) -> i32 {
        let channel = self.channels[channel];
        let value = match channel.bias {
            Bias::None => sum as f32,
            Bias::Fused(bias, inverse) => bias.mul_add(inverse, sum as f32),
            Bias::Added(bias) => sum as f32 + bias,
            Bias::Whole(bias) => sum.wrapping_add(bias) as f32,
        };
        self.out.code(value * channel.factor).max(self.low)
    }
}

fn fbgemm(
    input: &Affine,
    weight: &WeightParams,
    channel: usize,
    bias: Option<f32>,
    out: &Affine,
    step: BiasStep,
) -> Channel {
    let scale = input.scale * weight.scale(channel);
    let bias = match bias {
        None => Bias::None,
        Some(bias) if !weight.is_per_tensor() => Bias::Added(bias / scale),
        Some(bias) if step == BiasStep::Rounded => Bias::Added(bias * (1.0 / scale)),
        Some(bias) => Bias::Fused(bias, 1.0 / scale),
    };
    Channel {
        factor: scale / out.scale,
        bias,
    }
}

fn qnnpack(
    input: &Affine,
    weight: &WeightParams,
    channel: usize,
    bias: Option<f32>,
    out: &Affine,
) -> Channel {
    let scale = input.scale * weight.scale(channel);
    let whole = |bias: f32| (bias * (1.0 / scale)).round_ties_even() as i32;
    Channel {
        factor: weight.scale(channel) * input.scale * out.inverse(),
        bias: bias.map_or(Bias::None, |bias| Bias::Whole(whole(bias))),
    }
}
