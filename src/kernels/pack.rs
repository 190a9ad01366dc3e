//! How weights lie in memory, and the reference that packs them.
//!
//! A packed blob starts with one little-endian `i32` for each **slot**: the sum of that output channel's weights, which the kernel
//! multiplies with the input's zero point. Each group's outputs fill whole blocks of 16 slots; the slots behind the last output are
//! zero. Then follow the weights, in an order that depends on the instruction set. Per output, weights are walked in the order of the
//! activations: tap by tap, and in a tap channel by channel. That walk is cut into equal **runs** of bytes that lie side by side in
//! the image.
//!
//! | instruction set | dense | depthwise |
//! | --- | --- | --- |
//! | portable | `[group][output][tap][input]` | `[tap][channel]` |
//! | avx512vnni | `[group][block][run][quad][16 outputs][4 weights]` | `[block][tap][16 channels][4]`, weight in byte 0 |
//!
//! In a quad are four weights that follow each other in a run, the unit of VNNI's dot product; a run's last quad is filled with zeros.

use crate::{Error, Isa, KernelSpec};

/// Slots of a block: the 32-bit lanes of a 512-bit register.
pub(crate) const BLOCK: usize = 16;

/// The weights of an operator, as seen by the packing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Packing {
    /// Groups that do not mix.
    pub groups: usize,
    /// Outputs of each group.
    pub outputs: usize,
    /// Inputs of each group.
    pub inputs: usize,
    /// Taps of the window.
    pub taps: usize,
    /// Runs into which an output's weights fall.
    pub runs: usize,
    /// Whether this is a depthwise convolution, seen as one group with one input.
    pub depthwise: bool,
}

impl Packing {
    /// Logical weights: `[groups * outputs, inputs, taps]`.
    pub fn weights(&self) -> usize {
        self.groups * self.outputs * self.inputs * self.taps
    }

    /// Slots of all groups.
    pub fn slots(&self) -> usize {
        self.groups * self.group_slots()
    }

    /// The slot of an output channel, counted over all groups.
    pub fn slot(&self, channel: usize) -> usize {
        channel / self.outputs * self.group_slots() + channel % self.outputs
    }

    /// Weights of a run.
    pub fn run(&self) -> usize {
        self.taps * self.inputs / self.runs
    }

    /// Bytes of the packed blob.
    pub fn packed_len(&self, isa: Isa) -> usize {
        let weights = match isa {
            Isa::Portable => self.weights(),
            Isa::Avx512Vnni => self.slots() * self.runs * self.run().div_ceil(4) * 4,
        };
        self.slots() * 4 + weights
    }

    fn group_slots(&self) -> usize {
        self.outputs.next_multiple_of(BLOCK)
    }

    /// Where the weight number `at` in the walk of an output lies behind the sums.
    fn position(&self, isa: Isa, group: usize, output: usize, at: usize) -> usize {
        match isa {
            Isa::Portable if self.depthwise => at * self.outputs + output,
            Isa::Portable => (group * self.outputs + output) * self.taps * self.inputs + at,
            Isa::Avx512Vnni => {
                let (run, within) = (at / self.run(), at % self.run());
                let quads = self.run().div_ceil(4);
                let block = (group * self.group_slots() + output) / BLOCK;
                let quad = (block * self.runs + run) * quads + within / 4;
                (quad * BLOCK + output % BLOCK) * 4 + within % 4
            }
        }
    }
}

/// Packs logical weights (`[out, in / groups, height, width]`, or `[out, in]`) for the kernels of `spec`: what the packing kernels
/// compute, byte for byte.
pub fn pack(spec: &KernelSpec, isa: Isa, weights: &[i8]) -> Result<Vec<u8>, Error> {
    let packing = spec.packing().ok_or_else(|| Error::NoWeights {
        spec: spec.to_string(),
    })?;
    if weights.len() != packing.weights() {
        return Err(Error::Length {
            spec: spec.to_string(),
            what: "the weight",
            found: weights.len(),
            expected: packing.weights(),
        });
    }
    let per_output = packing.taps * packing.inputs;
    let rows = weights.chunks_exact(per_output).enumerate();
    Ok(packing.pack(isa, rows))
}

impl Packing {
    /// Packs the weights of some output channels, each `[inputs, taps]`; those of the others are zero.
    pub fn pack<'w>(&self, isa: Isa, rows: impl Iterator<Item = (usize, &'w [i8])>) -> Vec<u8> {
        let packing = self;
        let mut blob = vec![0; packing.packed_len(isa)];
        let (sums, body) = blob.split_at_mut(packing.slots() * 4);
        for (channel, weights) in rows {
            let mut sum = 0_i32;
            for tap in 0..packing.taps {
                for input in 0..packing.inputs {
                    let weight = weights[input * packing.taps + tap];
                    sum = sum.wrapping_add(i32::from(weight));
                    let (group, output) = (channel / packing.outputs, channel % packing.outputs);
                    body[packing.position(isa, group, output, tap * packing.inputs + input)] =
                        weight.cast_unsigned();
                }
            }
            sums[packing.slot(channel) * 4..][..4].copy_from_slice(&sum.to_le_bytes());
        }
        blob
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Conv2d, Linear};

    #[test]
    fn a_linear_layer_is_packed_in_quads() {
        let spec = KernelSpec::Linear(Linear {
            inputs: 5,
            outputs: 2,
        });
        let blob = pack(&spec, Isa::Avx512Vnni, &[1, 2, 3, 4, 5, -1, -2, -3, -4, -5]).unwrap();
        let (sums, body) = blob.split_at(64);
        assert_eq!(&sums[..8], &[15, 0, 0, 0, 241, 255, 255, 255]);
        assert_eq!(&body[..8], &[1, 2, 3, 4, 255, 254, 253, 252]);
        assert_eq!(&body[64..72], &[5, 0, 0, 0, 251, 0, 0, 0]);
        assert_eq!(blob.len(), 64 + 128);
        assert_eq!(
            &pack(&spec, Isa::Portable, &[1, 2, 3, 4, 5, -1, -2, -3, -4, -5]).unwrap()[64..69],
            &[1, 2, 3, 4, 5]
        );
    }

    #[test]
    fn every_weight_has_its_own_place() {
        for conv in [
            Conv2d::new(5, 18, [3, 2]),
            Conv2d {
                groups: 3,
                ..Conv2d::new(9, 6, [3, 3])
            },
            Conv2d {
                groups: 20,
                ..Conv2d::new(20, 20, [3, 3])
            },
            Conv2d {
                dilation: [2, 2],
                ..Conv2d::new(3, 4, [3, 3])
            },
        ] {
            for isa in Isa::ALL {
                let packing = conv.packing();
                let ones = vec![1; packing.weights()];
                let blob = pack(&KernelSpec::Conv2d(conv), isa, &ones).unwrap();
                let body = &blob[packing.slots() * 4..];
                let count: usize = body.iter().map(|byte| usize::from(*byte)).sum();
                assert_eq!(count, packing.weights(), "{conv:?} {isa}");
            }
        }
    }

    #[test]
    fn a_wrong_number_of_weights_is_refused() {
        let spec = KernelSpec::Linear(Linear {
            inputs: 5,
            outputs: 2,
        });
        assert!(pack(&spec, Isa::Portable, &[0; 9]).is_err());
        assert!(pack(&KernelSpec::Add, Isa::Portable, &[]).is_err());
    }
}
