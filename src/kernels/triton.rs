//! Kernels for a device, in Triton's language.
//!
//! A [`TritonKernel`] is what a compiler of Triton sources needs: a text, the function in it, its
//! signature, its grid. Everything but geometry and tiles is an argument of the launch, as it is of the
//! kernels in C, and the arithmetic is that of [`crate::reference`] to the bit.
//!
//! ```
//! use planish_kernels::TritonKernel;
//!
//! let kernel: TritonKernel = "linear_u8s8u8 i512 o256".parse()?;
//! assert_eq!(kernel.function(), "linear");
//! assert_eq!(kernel.grid(), "cdiv(rows, 64) * cdiv(256, 128)");
//! # Ok::<(), planish_kernels::Error>(())
//! ```

use std::fmt;
use std::str::FromStr;

use crate::{Code, Error, Linear};

const ROUNDING: &str = include_str!("emit/triton/rounding.py");
const LINEAR: &str = include_str!("emit/triton/linear.py");
const ADD_RELU: &str = include_str!("emit/triton/add_relu.py");

/// Most features of an input whose products cannot leave 32 bits in any order of summation:
/// 2³¹ / (255 · 128). Tensor cores of some devices saturate where others wrap.
const MOST_INPUTS: usize = 65_793;
/// Elements of one program of a kernel that goes element by element.
const BLOCK: usize = 1024;

/// A kernel for a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TritonKernel {
    /// A quantized fully connected layer of codes of this type, with its output stage. Input and output
    /// have the same type. A fused relu is nothing but `lo = zero`.
    Linear(Linear, Code),
    /// Sum of two tensors of type `u8` and of different quantization. With `lo = zero` it is one with a
    /// relu, with `lo = 0` one without.
    AddRelu,
}

/// How a layer is cut into programs.
struct Tile {
    rows: usize,
    outputs: usize,
    inputs: usize,
}

impl TritonKernel {
    /// A quantized fully connected layer.
    pub fn linear(linear: Linear, code: Code) -> Result<Self, Error> {
        let kernel = Self::Linear(linear, code);
        let refuse = |why: String| {
            Err(Error::Geometry {
                spec: kernel.to_string(),
                why,
            })
        };
        if linear.inputs == 0 || linear.outputs == 0 {
            return refuse("an extent is 0".to_owned());
        }
        if linear.inputs > MOST_INPUTS {
            return refuse(format!(
                "it has more than {MOST_INPUTS} inputs, whose sums may not fit into 32 bits"
            ));
        }
        if linear.outputs > 1 << 20 {
            return refuse("it has more than 1048576 outputs".to_owned());
        }
        Ok(kernel)
    }

    /// The Python text.
    pub fn text(&self) -> String {
        let kernel = match self {
            Self::Linear(..) => LINEAR,
            Self::AddRelu => ADD_RELU,
        };
        format!("{ROUNDING}{kernel}")
    }

    /// The function in it.
    pub fn function(&self) -> &'static str {
        match self {
            Self::Linear(..) => "linear",
            Self::AddRelu => "add_relu",
        }
    }

    /// The function's parameters: arguments of the launch by their types, and constants by their values.
    pub fn signature(&self) -> String {
        match self {
            Self::Linear(linear, code) => {
                let (name, unsigned) = match code {
                    Code::U8 => ("u8", true),
                    Code::S8 => ("i8", false),
                };
                let Linear { inputs, outputs } = linear;
                let (slots, tile) = (linear.packing().slots(), Tile::of(linear));
                format!(
                    "x: *{name}@16, w: *i8@16, correction: *i32@16, stage: *fp32@16, y: *{name}@16, \
                     rows: i32, zero: i32, lo: i32, hi: i32, \
                     INPUTS: {inputs}, OUTPUTS: {outputs}, SLOTS: {slots}, UNSIGNED: {unsigned}, \
                     BLOCK_M: {}, BLOCK_N: {}, BLOCK_K: {}",
                    tile.rows, tile.outputs, tile.inputs
                )
            }
            Self::AddRelu => format!(
                "x: *u8@16, y: *u8@16, out: *u8@16, count: i64, \
                 scale_x: fp32, zero_x: i32, scale_y: fp32, zero_y: i32, multiplier: fp32, \
                 zero: i32, lo: i32, hi: i32, BLOCK: {BLOCK}"
            ),
        }
    }

    /// The programs of a launch, as a formula over its arguments.
    pub fn grid(&self) -> String {
        match self {
            Self::Linear(linear, _) => {
                let tile = Tile::of(linear);
                let Linear { outputs, .. } = linear;
                format!(
                    "cdiv(rows, {}) * cdiv({outputs}, {})",
                    tile.rows, tile.outputs
                )
            }
            Self::AddRelu => format!("cdiv(count, {BLOCK})"),
        }
    }

    /// What the argument `correction` of a layer holds: for each output the sum of its weights times
    /// what the tensor cores' codes are off by. `weights` are `[out, in]`.
    ///
    /// `Σ (q − z)·w = Σ (q − 128)·w + (128 − z)·Σ w`; signed codes are not off by 128.
    pub fn correction(linear: &Linear, code: Code, zero: i32, weights: &[i8]) -> Vec<i32> {
        let off = match code {
            Code::U8 => 128 - zero,
            Code::S8 => -zero,
        };
        let sum = |row: &[i8]| row.iter().map(|weight| i32::from(*weight)).sum::<i32>();
        weights
            .chunks(linear.inputs.max(1))
            .map(|row| sum(row).wrapping_mul(off))
            .collect()
    }
}

impl Tile {
    /// 64 rows are what a group of four warps multiplies at once from `sm_90` on; the others are the
    /// largest powers of two that do not exceed the layer by much, with the cores' least of 32 inputs.
    fn of(linear: &Linear) -> Self {
        let fitting = |extent: usize, least: usize, most: usize| {
            extent.next_power_of_two().clamp(least, most)
        };
        Self {
            rows: 64,
            outputs: fitting(linear.outputs, 16, 128),
            inputs: fitting(linear.inputs, 32, 128),
        }
    }
}

impl fmt::Display for TritonKernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Linear(Linear { inputs, outputs }, code) => {
                let name = match code {
                    Code::U8 => "linear_u8s8u8",
                    Code::S8 => "linear_s8s8s8",
                };
                write!(f, "{name} i{inputs} o{outputs}")
            }
            Self::AddRelu => f.write_str("add_relu_u8"),
        }
    }
}

impl FromStr for TritonKernel {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let unknown = || Error::Text {
            text: text.to_owned(),
            why: "expected linear_u8s8u8 i512 o256, linear_s8s8s8 i512 o256, or add_relu_u8"
                .to_owned(),
        };
        let mut words = text.split_whitespace();
        let operator = words.next();
        let mut extent = |key: char| {
            let word = words.next()?.strip_prefix(key)?;
            word.parse::<usize>().ok()
        };
        let kernel = match operator {
            Some("add_relu_u8") => Self::AddRelu,
            Some(name @ ("linear_u8s8u8" | "linear_s8s8s8")) => {
                let code = if name == "linear_u8s8u8" {
                    Code::U8
                } else {
                    Code::S8
                };
                let (Some(inputs), Some(outputs)) = (extent('i'), extent('o')) else {
                    return Err(unknown());
                };
                Self::linear(Linear { inputs, outputs }, code)?
            }
            _ => return Err(unknown()),
        };
        if words.next().is_some() {
            return Err(unknown());
        }
        Ok(kernel)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernel_reads_back_and_nothing_else_reads() {
        for text in [
            "linear_u8s8u8 i512 o10",
            "linear_s8s8s8 i7 o1",
            "add_relu_u8",
        ] {
            let kernel: TritonKernel = text.parse().expect(text);
            assert_eq!(kernel.to_string(), text);
            assert!(
                kernel
                    .text()
                    .contains(&format!("\ndef {}(", kernel.function()))
            );
        }
        for text in [
            "",
            "linear_u8s8u8",
            "linear_u8s8u8 i512",
            "linear_u8s8u8 o1 i1",
            "linear_u8s8u8 i1 o1 k1",
            "linear_u8s8u8 i0 o1",
            "linear_u8s8u8 i65794 o1",
            "add_relu_u8 i1",
            "conv2d",
        ] {
            assert!(text.parse::<TritonKernel>().is_err(), "{text}");
        }
    }

    #[test]
    fn tiles_fit_the_layer() {
        let signature = |text: &str| text.parse::<TritonKernel>().expect(text).signature();
        let small = signature("linear_u8s8u8 i20 o10");
        assert!(
            small.ends_with("SLOTS: 16, UNSIGNED: true, BLOCK_M: 64, BLOCK_N: 16, BLOCK_K: 32")
        );
        let large = signature("linear_s8s8s8 i2048 o1000");
        assert!(large.contains("x: *i8@16") && large.ends_with("BLOCK_N: 128, BLOCK_K: 128"));
    }

    #[test]
    fn the_correction_puts_the_offset_back() {
        let linear = Linear {
            inputs: 3,
            outputs: 2,
        };
        let (x, w) = ([255_u8, 0, 131], [127_i8, -128, 5, -1, 0, 1]);
        for zero in [0, 7, 128, 255] {
            let correction = TritonKernel::correction(&linear, Code::U8, zero, &w);
            for (output, row) in w.chunks(3).enumerate() {
                let sum = |off: i32| -> i32 {
                    let products = x.iter().zip(row);
                    products
                        .map(|(x, w)| (i32::from(*x) - off) * i32::from(*w))
                        .sum()
                };
                assert_eq!(sum(128) + correction[output], sum(zero));
            }
        }
        assert_eq!(TritonKernel::correction(&linear, Code::S8, 2, &w), [-8, 0]);
    }
}
