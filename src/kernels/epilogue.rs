//! The output stage: what turns an integer sum into a code.
//!
//! All contracts are brought into one form, `clamp(rint(fma(bias, inv, float(acc)) * mult) + z_y, lo, hi)`, by the choice of the three
//! numbers of each output channel. The order of the `f32` operations below is part of the contract: do not simplify it.

use crate::{Contract, Error, KernelSpec};

/// Scale and zero point of a tensor's codes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Affine {
    /// Scale.
    pub scale: f32,
    /// Zero point.
    pub zero: i32,
}

/// Zero point and bounds of an output's codes. The bounds hold the type's range and any clamp that is fused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Codes {
    /// Zero point.
    pub zero: i32,
    /// Smallest code.
    pub lo: i32,
    /// Largest code.
    pub hi: i32,
}

/// The scales of a weight.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum WeightScales<'a> {
    /// One scale for all channels.
    PerTensor(f32),
    /// One scale for each output channel.
    PerChannel(&'a [f32]),
}

/// The three numbers of each output channel, in the slot order of the packed weights.
#[derive(Clone, Debug, PartialEq)]
pub struct Epilogue {
    values: Vec<f32>,
}

impl Codes {
    /// All codes of type `u8`.
    pub fn u8(zero: i32) -> Self {
        Self {
            zero,
            lo: 0,
            hi: 255,
        }
    }

    /// All codes of type `s8`.
    pub fn s8(zero: i32) -> Self {
        Self {
            zero,
            lo: -128,
            hi: 127,
        }
    }

    /// The same without negative real numbers.
    #[must_use]
    pub fn relu(self) -> Self {
        Self {
            lo: self.lo.max(self.zero),
            ..self
        }
    }

    /// The code of a real number that is already divided by the scale; in two's complement when it is negative.
    ///
    /// It is bounded before it is rounded: between integers that is the same, and no conversion overflows. Not a number becomes the
    /// largest code, as in PyTorch's vector units.
    pub fn code(self, real: f32) -> u8 {
        let bounded = real
            .min((self.hi - self.zero) as f32)
            .max((self.lo - self.zero) as f32);
        (bounded.round_ties_even() as i32 + self.zero) as u8
    }
}

impl Epilogue {
    /// The numbers for one layer: `x` and `y` are the scales of its input and output.
    pub fn new(
        spec: &KernelSpec,
        contract: Contract,
        x: f32,
        weight: WeightScales<'_>,
        bias: Option<&[f32]>,
        y: f32,
    ) -> Result<Self, Error> {
        let Contract::Fbgemm = contract;
        let packing = spec.packing().ok_or_else(|| Error::NoWeights {
            spec: spec.to_string(),
        })?;
        let channels = packing.groups * packing.outputs;
        let length = |what, found| {
            let error = Error::Length {
                spec: spec.to_string(),
                what,
                found,
                expected: channels,
            };
            if found == channels {
                Ok(())
            } else {
                Err(error)
            }
        };
        let positive = |what, value: f32| {
            let error = Error::Scale {
                spec: spec.to_string(),
                what,
                value: value.to_string(),
            };
            if value.is_finite() && value > 0.0 {
                Ok(())
            } else {
                Err(error)
            }
        };
        positive("the input's scale", x)?;
        positive("the output's scale", y)?;
        match weight {
            WeightScales::PerTensor(scale) => positive("the weight's scale", scale)?,
            WeightScales::PerChannel(scales) => {
                length("the weight's scale", scales.len())?;
                scales
                    .iter()
                    .try_for_each(|scale| positive("a weight's scale", *scale))?;
            }
        }
        if let Some(bias) = bias {
            length("the bias", bias.len())?;
        }

        let rounds_product = matches!(spec, KernelSpec::Conv2d(conv) if conv.is_fbgemm_depthwise());
        let slots = packing.slots();
        let mut values = vec![0.0; slots * 3];
        for channel in 0..channels {
            let (scale, per_channel) = match weight {
                WeightScales::PerTensor(scale) => (x * scale, false),
                WeightScales::PerChannel(scales) => (x * scales[channel], true),
            };
            // Per channel fbgemm divides the bias; per tensor it multiplies it with a reciprocal, and fuses that with the sum except in
            // its fast depthwise kernels.
            let (bias, inv) = match bias {
                None => (0.0, 1.0),
                Some(bias) if per_channel => (bias[channel] / scale, 1.0),
                Some(bias) if rounds_product => (bias[channel] * (1.0 / scale), 1.0),
                Some(bias) => (bias[channel], 1.0 / scale),
            };
            let slot = packing.slot(channel);
            values[slot] = bias;
            values[slots + slot] = inv;
            values[2 * slots + slot] = scale / y;
        }
        Ok(Self { values })
    }

    /// An epilogue read back from an artefact: biases, inverse scales, multipliers, each in slot order.
    pub fn from_values(spec: &KernelSpec, values: Vec<f32>) -> Result<Self, Error> {
        let packing = spec.packing().ok_or_else(|| Error::NoWeights {
            spec: spec.to_string(),
        })?;
        if values.len() != packing.slots() * 3 {
            return Err(Error::Length {
                spec: spec.to_string(),
                what: "the output stage",
                found: values.len(),
                expected: packing.slots() * 3,
            });
        }
        Ok(Self { values })
    }

    /// Biases, inverse scales, multipliers, each in slot order: what the kernel reads.
    pub fn values(&self) -> &[f32] {
        &self.values
    }
}

/// The multiplier of a quantized product: `(q_x - z_x) * (q_y - z_y)` times this is the code before the zero point.
pub fn mul_multiplier(x: f32, y: f32, out: f32) -> f32 {
    x * y * (1.0 / out)
}

/// The table that brings codes from one quantization to another: dequantized, then quantized again.
pub fn requantize_table(from: Affine, to: Affine) -> [u8; 256] {
    let inverse = 1.0 / to.scale;
    std::array::from_fn(|code| {
        let real = (code as i32 - from.zero) as f32 * from.scale;
        Codes::u8(to.zero).code(real * inverse)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Conv2d, Linear};

    const SPEC: KernelSpec = KernelSpec::Linear(Linear {
        inputs: 4,
        outputs: 2,
    });

    #[test]
    fn per_channel_divides_and_per_tensor_does_not() {
        let bias = [0.3, -0.7];
        let per_channel = Epilogue::new(
            &SPEC,
            Contract::Fbgemm,
            0.1,
            WeightScales::PerChannel(&[0.03, 0.07]),
            Some(&bias),
            0.2,
        )
        .unwrap();
        let values = per_channel.values();
        assert_eq!(
            (values[1], values[17], values[33]),
            (-0.7 / (0.1 * 0.07), 1.0, 0.1 * 0.07 / 0.2)
        );
        assert_eq!(values[2..16], [0.0; 14]);

        let per_tensor = Epilogue::new(
            &SPEC,
            Contract::Fbgemm,
            0.1,
            WeightScales::PerTensor(0.03),
            Some(&bias),
            0.2,
        )
        .unwrap();
        let values = per_tensor.values();
        assert_eq!((values[1], values[17]), (-0.7, 1.0 / (0.1 * 0.03)));
    }

    #[test]
    fn fast_depthwise_kernels_round_the_product() {
        let depthwise = Conv2d {
            groups: 8,
            ..Conv2d::new(8, 8, [3, 3]).padded([1, 1])
        };
        let first = |conv: Conv2d| {
            let weight = WeightScales::PerTensor(0.03);
            let spec = KernelSpec::Conv2d(conv);
            let bias = vec![0.7; conv.outputs];
            let epilogue = Epilogue::new(&spec, Contract::Fbgemm, 0.1, weight, Some(&bias), 1.0);
            let (values, slots) = (epilogue.unwrap().values, spec.packing().unwrap().slots());
            (values[0], values[slots])
        };
        let (rounded, fused) = ((0.7 * (1.0 / (0.1 * 0.03)), 1.0), (0.7, 1.0 / (0.1 * 0.03)));
        assert_eq!(first(depthwise), rounded);
        let twice = Conv2d {
            outputs: 16,
            stride: [2, 1],
            ..depthwise
        };
        assert_eq!(first(twice), rounded);
        for conv in [
            Conv2d {
                padding: [1, 0],
                ..depthwise
            },
            Conv2d {
                stride: [3, 1],
                ..depthwise
            },
            Conv2d {
                dilation: [1, 2],
                ..depthwise
            },
            Conv2d {
                kernel: [9, 9],
                padding: [4, 4],
                ..depthwise
            },
            Conv2d {
                outputs: 24,
                ..depthwise
            },
            Conv2d {
                inputs: 4,
                outputs: 4,
                groups: 4,
                ..depthwise
            },
            Conv2d {
                groups: 4,
                ..depthwise
            },
        ] {
            assert_eq!(first(conv), fused, "{conv:?}");
        }
    }

    #[test]
    fn bad_numbers_are_refused() {
        let new = |x, weight, bias| Epilogue::new(&SPEC, Contract::Fbgemm, x, weight, bias, 1.0);
        assert!(new(0.0, WeightScales::PerTensor(1.0), None).is_err());
        assert!(new(1.0, WeightScales::PerTensor(f32::NAN), None).is_err());
        assert!(new(1.0, WeightScales::PerChannel(&[1.0]), None).is_err());
        assert!(new(1.0, WeightScales::PerTensor(1.0), Some(&[1.0; 3])).is_err());
        assert!(
            Epilogue::new(
                &KernelSpec::Add,
                Contract::Fbgemm,
                1.0,
                WeightScales::PerTensor(1.0),
                None,
                1.0
            )
            .is_err()
        );
    }

    #[test]
    fn the_same_quantization_is_the_identity() {
        let same = Affine {
            scale: 0.037,
            zero: 13,
        };
        assert!(
            requantize_table(same, same)
                .iter()
                .enumerate()
                .all(|(code, out)| code == usize::from(*out))
        );
    }
}
