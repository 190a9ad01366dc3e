//! From exact sums of products back to codes: the output stage of linear and convolution.

use planish_ir::{PackedParams, QParams};

use super::conv::check_zero;
use crate::call::Call;
use crate::ops::quant::{Affine, per_tensor};
use crate::{Contract, Error, Result, Tensor};

/// Scales and zero points of a weight, one or one for each output channel.
#[derive(Debug)]
pub(crate) struct WeightParams {
    scales: Vec<f64>,
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
    /// Whether the zero point is added before rounding.
    before: bool,
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
    /// `sum * .0 * .1 + .2`: the sum becomes a real number before the bias is added.
    Real(f32, f32, f32),
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
                scales: vec![*scale],
                zeros: narrow(&[*zero_point])?,
            }),
            Some(QParams::PerChannel {
                scales,
                zero_points,
                ..
            }) if scales.len() == outputs => Ok(Self {
                scales: scales.to_vec(),
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
        self.exact_scale(channel) as f32
    }

    fn exact_scale(&self, channel: usize) -> f64 {
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
        (out_scale, out_zero): (f64, i64),
        step: BiasStep,
    ) -> Result<Self> {
        let (scale, zero) = per_tensor(input)?;
        let out = Affine::new(out_scale, out_zero, input.dtype())?;
        let input = Affine::new(scale, zero, input.dtype())?;
        let name = call.short_name();
        let bias = match &packed.bias {
            Some(bias) => Some(Tensor::from(bias).to_f32()?),
            None => None,
        };
        let channel = |at: usize| -> Channel {
            let bias = bias.as_ref().map(|bias| bias[at]);
            match call.contract {
                Contract::Fbgemm => fbgemm(&input, weight, at, bias, &out, step),
                Contract::Qnnpack => qnnpack(&input, weight, at, bias, &out),
                Contract::Onednn => {
                    let factor = onednn_weight(name, weight, at);
                    Channel {
                        factor: 1.0 / twice_inverted(out_scale),
                        bias: Bias::Real(twice_inverted(scale), factor, bias.unwrap_or(0.0)),
                    }
                }
            }
        };
        let low = if name.contains("relu") && !name.contains("leaky") {
            out.zero.max(out.range().0)
        } else {
            out.range().0
        };
        Ok(Self {
            channels: (0..outputs).map(channel).collect(),
            out,
            low,
            before: call.contract == Contract::Onednn,
        })
    }

    /// The code of a sum of an output channel.
    pub(crate) fn code(&self, channel: usize, sum: i32) -> i32 {
        self.quantized(channel, self.value(channel, sum))
    }

    /// The sum with its bias: in units of the accumulator's scale, and a real number under the contract `onednn`.
    pub(crate) fn value(&self, channel: usize, sum: i32) -> f32 {
        match self.channels[channel].bias {
            Bias::None => sum as f32,
            Bias::Fused(bias, inverse) => bias.mul_add(inverse, sum as f32),
            Bias::Added(bias) => sum as f32 + bias,
            Bias::Whole(bias) => sum.wrapping_add(bias) as f32,
            Bias::Real(input, weight, bias) => sum as f32 * input * weight + bias,
        }
    }

    /// The code of such a value.
    pub(crate) fn quantized(&self, channel: usize, value: f32) -> i32 {
        let steps = value * self.channels[channel].factor;
        let code = if self.before {
            self.out.rounded(steps + self.out.zero as f32)
        } else {
            self.out.code(steps)
        };
        code.max(self.low)
    }
}

/// What oneDNN makes of a scale: PyTorch hands over its inverse, and it inverts that again.
pub(crate) fn twice_inverted(scale: f64) -> f32 {
    1.0 / (1.0 / scale) as f32
}

/// The weight's factor under the contract `onednn`: linear maps hand over the inverse of its scale, convolutions the scale.
pub(crate) fn onednn_weight(name: &str, weight: &WeightParams, channel: usize) -> f32 {
    if name.starts_with("linear") {
        twice_inverted(weight.exact_scale(channel))
    } else {
        weight.scale(channel)
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
