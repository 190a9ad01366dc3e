//! Convolutions and linear layers.

use planish_kernels::reference::{self, Stage};
use planish_kernels::{
    Codes, Contract, Conv2d, Epilogue, Isa, KernelSpec, Linear, WeightScales, pack,
};
use planish_runtime::{Call, Entry};

use crate::compile::{entry, isas};
use crate::guarded::Guarded;
use crate::random::Random;

/// How one layer's numbers are chosen.
#[derive(Clone, Copy, Debug)]
struct Numbers {
    per_channel: bool,
    bias: bool,
}

const NUMBERS: [Numbers; 4] = [
    Numbers {
        per_channel: false,
        bias: true,
    },
    Numbers {
        per_channel: false,
        bias: false,
    },
    Numbers {
        per_channel: true,
        bias: true,
    },
    Numbers {
        per_channel: true,
        bias: false,
    },
];

/// Compiles the kernel once, then compares some layers of random weights on images of the given sizes.
fn check(spec: KernelSpec, sizes: &[[usize; 3]]) {
    for isa in isas() {
        let entry = entry(spec, isa);
        let mut random = Random::new(7);
        for (round, size) in sizes.iter().enumerate() {
            for (turn, numbers) in NUMBERS.into_iter().enumerate() {
                let zero = [0, 255, 128, random.below(256) as u8][(round + turn) % 4];
                compare(&entry, isa, *size, zero, numbers, &mut random);
            }
        }
    }
}

fn compare(
    entry: &Entry,
    isa: Isa,
    size: [usize; 3],
    zero: u8,
    numbers: Numbers,
    random: &mut Random,
) {
    let spec = *entry.kernel().spec();
    let conv = match spec {
        KernelSpec::Conv2d(conv) => conv,
        KernelSpec::Linear(linear) => Conv2d::new(linear.inputs, linear.outputs, [1, 1]),
        other => panic!("{other}"),
    };
    let [images, height, width] = size;
    let packing = spec.packing().unwrap();
    let weights = random.weights(packing.weights());
    let x = Guarded::new(&random.codes(images * height * width * conv.inputs));

    // The sum's spread is about 2^14 times the root of its length; multipliers near a power of two make most of the rounding ties.
    let spread = (packing.taps * packing.inputs).ilog2() as u64 / 2;
    let x_scale = random.near_power(0..4);
    let y_scale = 1.0;
    let channel_scales: Vec<f32> = (0..conv.outputs)
        .map(|_| random.near_power(3 + spread..8 + spread))
        .collect();
    let mut bias: Vec<f32> = (0..conv.outputs).map(|_| random.real() * 200.0).collect();
    bias[0] = random.pick(&[
        0.0,
        -0.0,
        1e-40,
        f32::MAX,
        f32::MIN,
        f32::INFINITY,
        f32::NEG_INFINITY,
        f32::NAN,
    ]);
    let weight = if numbers.per_channel {
        WeightScales::PerChannel(&channel_scales)
    } else {
        WeightScales::PerTensor(channel_scales[0])
    };
    let bias = numbers.bias.then_some(&bias[..]);
    let epilogue = Epilogue::new(&spec, Contract::Fbgemm, x_scale, weight, bias, y_scale).unwrap();
    let slots = packing.slots();
    let stages: Vec<Stage> = (0..conv.outputs)
        .map(|channel| {
            let value = |row: usize| epilogue.values()[row * slots + packing.slot(channel)];
            Stage {
                bias: value(0),
                inv: value(1),
                mult: value(2),
            }
        })
        .collect();
    let codes = Codes::u8(random.pick(&[0, 1, 117, 128, 255]));
    let codes = if random.below(2) == 0 {
        codes
    } else {
        codes.relu()
    };

    let expected = reference::conv2d(&conv, &x, size, i32::from(zero), &weights, &stages, codes);
    let mut out = Guarded::filled(0xaa, expected.len());
    // Kernels must write every byte of the working memory that they read.
    let mut scratch = Guarded::filled(0x55, entry.kernel().scratch_len([height, width]));
    entry
        .call(Call::Weighted {
            x: &x,
            size,
            zero,
            weights: &Guarded::new(&pack(&spec, isa, &weights).unwrap()),
            epilogue: &epilogue,
            codes,
            scratch: &mut scratch,
            out: &mut out,
        })
        .unwrap();
    if let Some(at) = (0..out.len()).find(|at| out[*at] != expected[*at]) {
        let wrong = (0..out.len())
            .filter(|at| out[*at] != expected[*at])
            .count();
        panic!(
            "{}: {size:?}, zero {zero}, {numbers:?}, {codes:?}: {wrong} of {} differ, first at {at}: {} is not {}",
            entry.kernel(),
            out.len(),
            out[at],
            expected[at]
        );
    }
}

fn conv(conv: Conv2d, sizes: &[[usize; 3]]) {
    check(KernelSpec::Conv2d(conv), sizes);
}

fn linear(inputs: usize, outputs: usize, rows: &[usize]) {
    let sizes: Vec<[usize; 3]> = rows.iter().map(|rows| [1, 1, *rows]).collect();
    check(KernelSpec::Linear(Linear { inputs, outputs }), &sizes);
}

#[test]
fn linear_layers_of_all_tails() {
    linear(1, 1, &[0, 1, 2]);
    linear(3, 10, &[1, 7, 12]);
    linear(64, 64, &[1, 6, 13]);
    linear(65, 79, &[5, 8]);
    linear(130, 129, &[3, 11]);
    linear(16, 257, &[2]);
}

#[test]
fn pointwise_convolutions() {
    conv(Conv2d::new(8, 24, [1, 1]), &[[1, 1, 1], [2, 3, 5]]);
    conv(Conv2d::new(33, 100, [1, 1]), &[[1, 7, 7]]);
    conv(
        Conv2d {
            stride: [2, 2],
            ..Conv2d::new(16, 48, [1, 1])
        },
        &[[2, 7, 8], [1, 1, 1]],
    );
    conv(
        Conv2d {
            stride: [1, 3],
            padding: [1, 2],
            ..Conv2d::new(5, 3, [1, 1])
        },
        &[[2, 3, 4]],
    );
}

#[test]
fn square_windows() {
    conv(Conv2d::new(1, 8, [3, 3]), &[[1, 3, 3], [2, 8, 8]]);
    conv(
        Conv2d::new(16, 32, [3, 3]).padded([1, 1]),
        &[[1, 1, 1], [2, 6, 5]],
    );
    conv(Conv2d::new(20, 70, [3, 3]).padded([1, 1]), &[[1, 5, 9]]);
    conv(
        Conv2d {
            stride: [2, 2],
            ..Conv2d::new(3, 64, [7, 7]).padded([3, 3])
        },
        &[[1, 15, 16], [1, 4, 4]],
    );
    conv(
        Conv2d {
            stride: [2, 2],
            ..Conv2d::new(3, 32, [3, 3]).padded([1, 1])
        },
        &[[2, 9, 10]],
    );
}

#[test]
fn odd_windows() {
    conv(Conv2d::new(6, 17, [1, 5]).padded([0, 2]), &[[2, 1, 9]]);
    conv(Conv2d::new(6, 17, [5, 1]).padded([2, 0]), &[[1, 9, 2]]);
    conv(
        Conv2d {
            dilation: [2, 3],
            stride: [1, 2],
            ..Conv2d::new(7, 5, [3, 2]).padded([2, 3])
        },
        &[[2, 6, 7]],
    );
    conv(
        Conv2d {
            dilation: [3, 1],
            ..Conv2d::new(2, 33, [2, 3]).padded([1, 0])
        },
        &[[1, 7, 6]],
    );
    conv(
        Conv2d {
            stride: [4, 5],
            ..Conv2d::new(3, 16, [2, 2])
        },
        &[[1, 9, 11]],
    );
    conv(Conv2d::new(4, 4, [3, 3]).padded([5, 4]), &[[1, 1, 2]]);
}

#[test]
fn groups() {
    conv(
        Conv2d {
            groups: 2,
            ..Conv2d::new(8, 40, [3, 3]).padded([1, 1])
        },
        &[[1, 5, 5]],
    );
    conv(
        Conv2d {
            groups: 3,
            ..Conv2d::new(9, 6, [3, 3])
        },
        &[[2, 5, 4]],
    );
    conv(
        Conv2d {
            groups: 4,
            dilation: [2, 2],
            ..Conv2d::new(16, 16, [3, 3]).padded([2, 2])
        },
        &[[1, 6, 6]],
    );
    // One input in a group, but more outputs than groups.
    conv(
        Conv2d {
            groups: 5,
            ..Conv2d::new(5, 15, [3, 3]).padded([1, 1])
        },
        &[[1, 4, 5]],
    );
    conv(
        Conv2d {
            groups: 2,
            stride: [2, 1],
            ..Conv2d::new(12, 200, [1, 1])
        },
        &[[1, 4, 3]],
    );
}

#[test]
fn depthwise() {
    let depthwise = |channels, kernel| Conv2d {
        groups: channels,
        ..Conv2d::new(channels, channels, kernel)
    };
    conv(depthwise(2, [3, 3]).padded([1, 1]), &[[1, 4, 4], [2, 1, 1]]);
    conv(depthwise(16, [3, 3]).padded([1, 1]), &[[2, 5, 6]]);
    conv(depthwise(33, [3, 3]), &[[1, 5, 4]]);
    conv(
        Conv2d {
            stride: [2, 2],
            ..depthwise(72, [5, 5]).padded([2, 2])
        },
        &[[1, 7, 8]],
    );
    conv(
        Conv2d {
            dilation: [2, 2],
            ..depthwise(130, [3, 3]).padded([2, 2])
        },
        &[[1, 5, 5]],
    );
    conv(depthwise(19, [1, 1]), &[[1, 3, 3]]);
}

/// Sums of products of the largest codes and weights do not saturate: fbgemm's own kernels for older processors get this wrong.
#[test]
fn sums_of_extremes_are_exact() {
    for isa in isas() {
        for weight in [127_i8, -128] {
            let conv = Conv2d::new(128, 16, [3, 3]);
            let spec = KernelSpec::Conv2d(conv);
            let entry = entry(spec, isa);
            let sum = 255 * i32::from(weight) * 1152;
            // A multiplier that brings the sum to 200.5, a tie, and back to a code by the zero point.
            let mult = 1.0 / sum as f32 * 200.0;
            let epilogue =
                Epilogue::from_values(&spec, [[0.0; 16], [1.0; 16], [mult; 16]].concat()).unwrap();
            let mut out = [0; 16];
            entry
                .call(Call::Weighted {
                    x: &[255; 1152],
                    size: [1, 3, 3],
                    zero: 0,
                    weights: &pack(&spec, isa, &vec![weight; 1152 * 16]).unwrap(),
                    epilogue: &epilogue,
                    codes: Codes::u8(0),
                    scratch: &mut [],
                    out: &mut out,
                })
                .unwrap();
            assert_eq!(out, [200; 16], "{isa} {weight}");
        }
    }
}

/// The C that packs weights and the Rust that says how they lie agree byte for byte.
#[test]
fn packing_kernels_equal_the_reference() {
    let conv = |groups, inputs, outputs, kernel| {
        KernelSpec::Conv2d(Conv2d {
            groups,
            ..Conv2d::new(inputs, outputs, kernel)
        })
    };
    let specs = [
        conv(1, 3, 5, [3, 3]),
        conv(1, 16, 64, [1, 1]),
        conv(2, 6, 36, [2, 3]),
        conv(21, 21, 21, [3, 3]),
        KernelSpec::Conv2d(Conv2d {
            dilation: [1, 2],
            ..Conv2d::new(5, 17, [3, 3])
        }),
        KernelSpec::Linear(Linear {
            inputs: 37,
            outputs: 18,
        }),
    ];
    let mut random = Random::new(3);
    for isa in isas() {
        let (convolution, linear) = (
            entry(KernelSpec::PackConv, isa),
            entry(KernelSpec::PackLinear, isa),
        );
        for spec in specs {
            let packing = spec.packing().unwrap();
            let weights = random.weights(packing.weights());
            let mut out = Guarded::filled(0xaa, packing.packed_len(isa));
            let entry = if matches!(spec, KernelSpec::Linear(_)) {
                &linear
            } else {
                &convolution
            };
            entry
                .call(Call::Pack {
                    packing,
                    weights: &weights,
                    out: &mut out,
                })
                .unwrap();
            assert_eq!(*out, *pack(&spec, isa, &weights).unwrap(), "{spec} {isa}");
        }
    }
}

/// The sum that becomes a code is rounded once, behind the product of bias and inverse scale and its addition to the integer sum.
#[test]
fn the_output_stage_rounds_once() {
    const CHANNELS: usize = 512;
    let spec = KernelSpec::Linear(Linear {
        inputs: 2048,
        outputs: CHANNELS,
    });
    let sum_of = |channel: usize| {
        if channel.is_multiple_of(2) {
            1 << 24
        } else {
            -(1 << 24)
        }
    };
    let weights: Vec<i8> = (0..CHANNELS * 2048)
        .map(|at| if sum_of(at / 2048) > 0 { 64 } else { -64 })
        .collect();
    let mut random = Random::new(31);
    let stages: Vec<Stage> = (0..CHANNELS)
        .map(|channel| {
            let sum = sum_of(channel) as f32;
            if channel < 16 {
                // The product is 1 + 2^-36, and the tie that the exact sum just misses is where a second rounding goes wrong.
                let (x, sign) = (1.0 / 4096.0, sum.signum());
                return Stage {
                    bias: (1.0 + x) * sign,
                    inv: 1.0 - x + x * x,
                    mult: 0.5 / (1 << 24) as f32 * sign,
                };
            }
            // The product all but cancels the sum; what is left is near half a code.
            let inv = random.real() + 2.0;
            let left = random.below(200) as f32 + 0.5;
            Stage {
                bias: (left - sum) / inv,
                inv,
                mult: 1.0,
            }
        })
        .collect();
    let codes = Codes::u8(10);
    let expected: Vec<u8> = stages
        .iter()
        .enumerate()
        .map(|(channel, stage)| stage.code(sum_of(channel), codes))
        .collect();
    assert_eq!(expected[..2], [11, 11]);
    let twice = |(channel, stage): (usize, &Stage)| {
        codes.code((stage.bias * stage.inv + sum_of(channel) as f32) * stage.mult)
    };
    let by_two_roundings: Vec<u8> = stages.iter().enumerate().map(twice).collect();
    assert_ne!(by_two_roundings, expected);
    assert_eq!(by_two_roundings[0], 10);

    let column = |value: fn(&Stage) -> f32| stages.iter().map(value).collect::<Vec<_>>();
    let values = [column(|s| s.bias), column(|s| s.inv), column(|s| s.mult)].concat();
    let epilogue = Epilogue::from_values(&spec, values).unwrap();
    for isa in isas() {
        let mut out = vec![0; CHANNELS];
        entry(spec, isa)
            .call(Call::Weighted {
                x: &[128; 2048],
                size: [1, 1, 1],
                zero: 0,
                weights: &pack(&spec, isa, &weights).unwrap(),
                epilogue: &epilogue,
                codes,
                scratch: &mut [],
                out: &mut out,
            })
            .unwrap();
        assert_eq!(out, expected, "{isa}");
    }
}
