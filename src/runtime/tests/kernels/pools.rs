//! Pools.

use planish_kernels::reference;
use planish_kernels::{AvgPool2d, Divisor, KernelSpec, MaxPool2d};
use planish_runtime::Call;

use crate::compile::{entry, isas};
use crate::guarded::Guarded;
use crate::random::Random;

/// Output extents without and with ceil mode; with it the last window must begin in the image or its left padding.
fn out_sizes(size: usize, kernel: usize, stride: usize, padding: usize) -> [usize; 2] {
    let floor = (size + 2 * padding - kernel) / stride + 1;
    let ceil = (size + 2 * padding - kernel).div_ceil(stride) + 1;
    [
        floor,
        if (ceil - 1) * stride >= size + padding {
            ceil - 1
        } else {
            ceil
        },
    ]
}

#[test]
fn max_pools() {
    for pool in [
        MaxPool2d {
            kernel: [2, 2],
            stride: [2, 2],
            padding: [0, 0],
            dilation: [1, 1],
        },
        MaxPool2d {
            kernel: [3, 3],
            stride: [2, 2],
            padding: [1, 1],
            dilation: [1, 1],
        },
        MaxPool2d {
            kernel: [3, 2],
            stride: [1, 2],
            padding: [1, 1],
            dilation: [2, 3],
        },
    ] {
        for isa in isas() {
            let entry = entry(KernelSpec::MaxPool2d(pool), isa);
            let mut random = Random::new(19);
            for channels in [1, 16, 67] {
                let size = [2, 8, 9, channels];
                let x = Guarded::new(&random.codes(size.iter().product()));
                let reach = |dim: usize| pool.dilation[dim] * (pool.kernel[dim] - 1) + 1;
                for mode in 0..2 {
                    let out_size = [0, 1].map(|dim| {
                        out_sizes(
                            size[dim + 1],
                            reach(dim),
                            pool.stride[dim],
                            pool.padding[dim],
                        )[mode]
                    });
                    let expected = reference::max_pool2d(&pool, &x, size, out_size);
                    let mut out = Guarded::filled(0xaa, expected.len());
                    entry
                        .call(Call::Pool {
                            x: &x,
                            size,
                            zero: 0,
                            out_size,
                            out: &mut out,
                        })
                        .unwrap();
                    assert_eq!(*out, expected, "{}", entry.kernel());
                }
            }
        }
    }
}

#[test]
fn average_pools() {
    for divisor in [Divisor::Padded, Divisor::Valid, Divisor::Fixed(7)] {
        for (kernel, stride, padding) in [
            ([2, 2], [2, 2], [0, 0]),
            ([3, 3], [2, 2], [1, 1]),
            ([4, 3], [1, 3], [2, 0]),
        ] {
            let pool = AvgPool2d {
                kernel,
                stride,
                padding,
                divisor,
            };
            for isa in isas() {
                let entry = entry(KernelSpec::AvgPool2d(pool), isa);
                let mut random = Random::new(23);
                for (channels, zero) in [(1, 0), (16, 255), (67, 128), (130, 3)] {
                    let size = [2, 8, 9, channels];
                    let x = Guarded::new(&random.codes(size.iter().product()));
                    for mode in 0..2 {
                        let out_size = [0, 1].map(|dim| {
                            out_sizes(size[dim + 1], kernel[dim], stride[dim], padding[dim])[mode]
                        });
                        let expected =
                            reference::avg_pool2d(&pool, &x, size, out_size, i32::from(zero));
                        let mut out = Guarded::filled(0xaa, expected.len());
                        entry
                            .call(Call::Pool {
                                x: &x,
                                size,
                                zero,
                                out_size,
                                out: &mut out,
                            })
                            .unwrap();
                        assert_eq!(*out, expected, "{}", entry.kernel());
                    }
                }
            }
        }
    }
}

#[test]
fn adaptive_pools_and_means() {
    for isa in isas() {
        let entry = entry(KernelSpec::AdaptiveAvgPool2d, isa);
        let mut random = Random::new(29);
        for (size, out_size, zero) in [
            ([2, 7, 7, 512], [1, 1], 0),
            ([1, 6, 6, 20], [1, 1], 131),
            ([1, 8, 5, 65], [3, 2], 255),
            ([2, 2, 3, 4], [4, 5], 7),
        ] {
            let x = Guarded::new(&random.codes(size.iter().product()));
            let expected = reference::adaptive_avg_pool2d(&x, size, out_size, i32::from(zero));
            let mut out = Guarded::filled(0xaa, expected.len());
            entry
                .call(Call::Pool {
                    x: &x,
                    size,
                    zero,
                    out_size,
                    out: &mut out,
                })
                .unwrap();
            assert_eq!(*out, expected, "{isa} {size:?}");
        }
    }
}

/// A mean is a product with the reciprocal of the number of taps, which is not always the quotient.
#[test]
fn means_multiply_with_a_reciprocal() {
    let mut images = Vec::new();
    for taps in (2..200).step_by(2) {
        for code in 0..255_u8 {
            let sum = (taps * usize::from(code) + taps / 2) as f32;
            if (sum * (1.0 / taps as f32)).round_ties_even()
                != (sum / taps as f32).round_ties_even()
            {
                let mut image = vec![code; taps / 2];
                image.resize(taps, code + 1);
                images.push(image);
            }
        }
    }
    assert!(!images.is_empty());
    for isa in isas() {
        let entry = entry(KernelSpec::AdaptiveAvgPool2d, isa);
        for x in &images {
            let (size, mut out) = ([1, 1, x.len(), 1], [0]);
            entry
                .call(Call::Pool {
                    x,
                    size,
                    zero: 0,
                    out_size: [1, 1],
                    out: &mut out,
                })
                .unwrap();
            assert_eq!(
                out,
                *reference::adaptive_avg_pool2d(x, size, [1, 1], 0),
                "{isa} {size:?}"
            );
        }
    }
}
