//! What each kernel computes, written as plainly as possible.
//!
//! These functions know no layout but NHWC, no packing and no instruction set. The kernels of this crate are compared with them bit for
//! bit. They check nothing: slices must have the lengths that the geometry implies.

use crate::{AvgPool2d, Codes, Conv2d, Divisor, MaxPool2d};

/// The three numbers that turn the sums of one output channel into codes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stage {
    /// Bias.
    pub bias: f32,
    /// Inverse of the sum's scale, or 1.
    pub inv: f32,
    /// Multiplier.
    pub mult: f32,
}

impl Stage {
    /// The code of a sum.
    pub fn code(self, sum: i32, codes: Codes) -> u8 {
        codes.code(self.bias.mul_add(self.inv, sum as f32) * self.mult)
    }
}

/// A convolution of `images` images of height × width; weights are `[out, in / groups, height, width]`.
pub fn conv2d(
    conv: &Conv2d,
    x: &[u8],
    [images, height, width]: [usize; 3],
    x_zero: i32,
    weights: &[i8],
    stages: &[Stage],
    codes: Codes,
) -> Vec<u8> {
    let [out_height, out_width] = conv.output_size([height, width]).unwrap_or([0, 0]);
    let (inputs, outputs) = (conv.inputs / conv.groups, conv.outputs / conv.groups);
    let [kernel_height, kernel_width] = conv.kernel;
    let mut y = Vec::new();
    for image in 0..images {
        for pixel in 0..out_height * out_width {
            let (out_y, out_x) = (pixel / out_width, pixel % out_width);
            for (output, stage) in stages.iter().enumerate() {
                let mut sum = 0_i32;
                for ky in 0..kernel_height {
                    for kx in 0..kernel_width {
                        let row = (out_y * conv.stride[0] + ky * conv.dilation[0])
                            .checked_sub(conv.padding[0]);
                        let column = (out_x * conv.stride[1] + kx * conv.dilation[1])
                            .checked_sub(conv.padding[1]);
                        // Outside of the image is code z_x, whose real value is 0.
                        let (Some(row), Some(column)) = (row, column) else {
                            continue;
                        };
                        if row >= height || column >= width {
                            continue;
                        }
                        for input in 0..inputs {
                            let at = ((image * height + row) * width + column) * conv.inputs
                                + output / outputs * inputs
                                + input;
                            let weight = ((output * inputs + input) * kernel_height + ky)
                                * kernel_width
                                + kx;
                            let product = (i32::from(x[at]) - x_zero) * i32::from(weights[weight]);
                            sum = sum.wrapping_add(product);
                        }
                    }
                }
                y.push(stage.code(sum, codes));
            }
        }
    }
    y
}

/// `x` and `y` are (codes, scale, zero point).
pub fn add(x: (&[u8], f32, i32), y: (&[u8], f32, i32), out_scale: f32, codes: Codes) -> Vec<u8> {
    let count = x.0.len();
    let fused = |q: u8, scale: f32, zero: i32| scale.mul_add(f32::from(q), scale * -(zero as f32));
    let plain = |q: u8, scale: f32, zero: i32| (i32::from(q) - zero) as f32 * scale;
    (0..count)
        .map(|at| {
            let real = if at < count - count % 64 {
                fused
            } else {
                plain
            };
            codes.code((real(x.0[at], x.1, x.2) + real(y.0[at], y.1, y.2)) * (1.0 / out_scale))
        })
        .collect()
}

/// `x` and `y` are (codes, zero point).
pub fn mul(x: (&[u8], i32), y: (&[u8], i32), multiplier: f32, codes: Codes) -> Vec<u8> {
    let product = |(a, b): (&u8, &u8)| ((i32::from(*a) - x.1) * (i32::from(*b) - y.1)) as f32;
    x.0.iter()
        .zip(y.0)
        .map(|pair| codes.code(product(pair) * multiplier))
        .collect()
}

/// A max pool to an output of `out` height × width.
pub fn max_pool2d(
    pool: &MaxPool2d,
    x: &[u8],
    [images, height, width, channels]: [usize; 4],
    out: [usize; 2],
) -> Vec<u8> {
    let mut y = Vec::new();
    for at in 0..images * out[0] * out[1] * channels {
        let (channel, pixel) = (at % channels, at / channels);
        let (out_x, out_y, image) = (
            pixel % out[1],
            pixel / out[1] % out[0],
            pixel / out[1] / out[0],
        );
        let mut most = 0;
        for ky in 0..pool.kernel[0] {
            for kx in 0..pool.kernel[1] {
                let row =
                    (out_y * pool.stride[0] + ky * pool.dilation[0]).wrapping_sub(pool.padding[0]);
                let column =
                    (out_x * pool.stride[1] + kx * pool.dilation[1]).wrapping_sub(pool.padding[1]);
                if row < height && column < width {
                    most =
                        most.max(x[((image * height + row) * width + column) * channels + channel]);
                }
            }
        }
        y.push(most);
    }
    y
}

/// An average pool, as of images in channels-last order, to an output of `out` height × width.
pub fn avg_pool2d(
    pool: &AvgPool2d,
    x: &[u8],
    [images, height, width, channels]: [usize; 4],
    out: [usize; 2],
    zero: i32,
) -> Vec<u8> {
    let range = |dim: usize, at: usize, size: usize| {
        let begin = (at * pool.stride[dim]) as i64 - pool.padding[dim] as i64;
        let end = (begin + pool.kernel[dim] as i64).min((size + pool.padding[dim]) as i64);
        (begin, end)
    };
    means(
        [images, height, width, channels],
        x,
        out,
        zero,
        |out_y, out_x| {
            let ((top, bottom), (left, right)) = (range(0, out_y, height), range(1, out_x, width));
            let rows = top.max(0) as usize..bottom.min(height as i64) as usize;
            let columns = left.max(0) as usize..right.min(width as i64) as usize;
            let divisor = match pool.divisor {
                Divisor::Padded => ((bottom - top) * (right - left)) as usize,
                Divisor::Valid => rows.len() * columns.len(),
                Divisor::Fixed(by) => by,
            };
            (rows, columns, divisor)
        },
    )
}

/// An adaptive average pool, as of images in channels-last order, to an output of `out` height × width.
pub fn adaptive_avg_pool2d(
    x: &[u8],
    [images, height, width, channels]: [usize; 4],
    out: [usize; 2],
    zero: i32,
) -> Vec<u8> {
    means(
        [images, height, width, channels],
        x,
        out,
        zero,
        |out_y, out_x| {
            let rows = out_y * height / out[0]..((out_y + 1) * height).div_ceil(out[0]);
            let columns = out_x * width / out[1]..((out_x + 1) * width).div_ceil(out[1]);
            let divisor = rows.len() * columns.len();
            (rows, columns, divisor)
        },
    )
}

type Window = (std::ops::Range<usize>, std::ops::Range<usize>, usize);

fn means(
    [images, height, width, channels]: [usize; 4],
    x: &[u8],
    out: [usize; 2],
    zero: i32,
    window: impl Fn(usize, usize) -> Window,
) -> Vec<u8> {
    let mut y = Vec::new();
    for at in 0..images * out[0] * out[1] * channels {
        let (channel, pixel) = (at % channels, at / channels);
        let (out_x, out_y, image) = (
            pixel % out[1],
            pixel / out[1] % out[0],
            pixel / out[1] / out[0],
        );
        let (rows, columns, divisor) = window(out_y, out_x);
        let mut sum = 0;
        for row in rows {
            for column in columns.clone() {
                sum += i32::from(x[((image * height + row) * width + column) * channels + channel])
                    - zero;
            }
        }
        y.push(Codes::u8(zero).code(sum as f32 * (1.0 / divisor as f32)));
    }
    y
}

/// Codes of real numbers; of type `s8` when the bounds say so, as their two's complement.
pub fn quantize(x: &[f32], scale: f32, codes: Codes) -> Vec<u8> {
    let inverse = 1.0 / scale;
    x.iter().map(|real| codes.code(real * inverse)).collect()
}

/// Images from NCHW to NHWC, where `pixels` is height times width; the other way round with `channels` and `pixels` exchanged.
pub fn transpose(x: &[u8], images: usize, channels: usize, pixels: usize) -> Vec<u8> {
    (0..images * channels * pixels)
        .map(|at| {
            let (channel, pixel, image) = (
                at % channels,
                at / channels % pixels,
                at / channels / pixels,
            );
            x[(image * channels + channel) * pixels + pixel]
        })
        .collect()
}
