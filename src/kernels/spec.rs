//! What a kernel computes: operator and geometry, with one canonical text.

use std::fmt;
use std::str::FromStr;

use crate::{Error, Packing};

/// Operator and geometry of a kernel.
///
/// The text is canonical: it is printed in reports, hashed in keys, and read back from an artefact.
///
/// ```
/// use planish_kernels::{Conv2d, KernelSpec};
///
/// let spec = KernelSpec::Conv2d(Conv2d::new(16, 32, [3, 3]).padded([1, 1]));
/// assert_eq!(spec.to_string(), "conv2d_u8s8u8 i16 o32 k3x3 s1x1 p1x1 d1x1 g1");
/// assert_eq!(spec.to_string().parse(), Ok(spec));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum KernelSpec {
    /// Quantized convolution; one spatial dimension is two with height 1.
    Conv2d(Conv2d),
    /// Quantized fully connected layer.
    Linear(Linear),
    /// Sum of two tensors of different quantization, element by element.
    Add,
    /// Product of two tensors of different quantization, element by element.
    Mul,
    /// One part of a concatenation: copied into its place through a table that changes the quantization.
    Cat,
    /// Any function of one code, as a table of 256.
    Lut,
    /// Largest code in a window.
    MaxPool2d(MaxPool2d),
    /// Mean of a window, with the arithmetic that PyTorch has for images in channels-last order.
    AvgPool2d(AvgPool2d),
    /// Mean of windows that divide the image evenly, with the same arithmetic.
    AdaptiveAvgPool2d,
    /// Real numbers to codes.
    Quantize(Code),
    /// Codes to real numbers.
    Dequantize(Code),
    /// Weights of a convolution, from `[out, in / groups, height, width]` to the order of the convolution kernels.
    PackConv,
    /// Weights of a linear layer, from `[out, in]` to the order of the linear kernels.
    PackLinear,
    /// Codes from one layout of images to the other.
    Relayout(Layout),
}

/// Geometry of a convolution. Pairs are height, width.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Conv2d {
    /// Channels of the input.
    pub inputs: usize,
    /// Channels of the output.
    pub outputs: usize,
    /// Size of the window.
    pub kernel: [usize; 2],
    /// Distance between windows.
    pub stride: [usize; 2],
    /// Rows and columns added on both sides.
    pub padding: [usize; 2],
    /// Distance between taps.
    pub dilation: [usize; 2],
    /// Groups of channels that do not mix.
    pub groups: usize,
}

/// Geometry of a fully connected layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Linear {
    /// Features of the input.
    pub inputs: usize,
    /// Features of the output.
    pub outputs: usize,
}

/// Geometry of a max pool. Pairs are height, width; the output size, and with it ceil mode, is an argument of the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MaxPool2d {
    /// Size of the window.
    pub kernel: [usize; 2],
    /// Distance between windows.
    pub stride: [usize; 2],
    /// Rows and columns added on both sides.
    pub padding: [usize; 2],
    /// Distance between taps.
    pub dilation: [usize; 2],
}

/// Geometry of an average pool. Pairs are height, width; the output size, and with it ceil mode, is an argument of the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AvgPool2d {
    /// Size of the window.
    pub kernel: [usize; 2],
    /// Distance between windows.
    pub stride: [usize; 2],
    /// Rows and columns added on both sides.
    pub padding: [usize; 2],
    /// By what the sum is divided.
    pub divisor: Divisor,
}

/// By what an average pool divides a window's sum.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Divisor {
    /// The taps in the padded image (`count_include_pad=True`).
    Padded,
    /// The taps in the image itself (`count_include_pad=False`).
    Valid,
    /// Always this number (`divisor_override`).
    Fixed(usize),
}

/// Type of a code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Code {
    /// 0 to 255.
    U8,
    /// −128 to 127.
    S8,
}

/// To which layout images are brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Layout {
    /// Channels become the fastest dimension.
    NchwToNhwc,
    /// Channels become the slowest dimension of an image.
    NhwcToNchw,
}

/// No single extent of a geometry may exceed this; with it no product below leaves 64 bits.
const EXTENT: usize = 1 << 20;

/// Weights of one kernel may not exceed this many.
const WEIGHTS: usize = 1 << 30;

/// Quads of weights of one output may not exceed this many: a tile of four blocks of 16 outputs finds its weights by distances of 31 bits.
const QUADS: usize = (1 << 31) / (4 * 64);

/// Runs of a window may not exceed this many: a kernel has a number for each of them on its stack.
const RUNS: usize = 1 << 14;

impl KernelSpec {
    /// Refuses a geometry that makes no sense: an extent of zero, groups that do not divide the channels, weights beyond a gibibyte.
    pub fn check(&self) -> Result<(), Error> {
        let refuse = |why: String| {
            Err(Error::Geometry {
                spec: self.to_string(),
                why,
            })
        };
        let (positive, any): (Vec<usize>, Vec<usize>) = match self {
            Self::Conv2d(c) => {
                let extents = [
                    &[c.inputs, c.outputs, c.groups][..],
                    &c.kernel,
                    &c.stride,
                    &c.dilation,
                ]
                .concat();
                (extents, c.padding.to_vec())
            }
            Self::Linear(l) => (vec![l.inputs, l.outputs], vec![]),
            Self::MaxPool2d(p) => (
                [p.kernel, p.stride, p.dilation].concat(),
                p.padding.to_vec(),
            ),
            Self::AvgPool2d(p) => {
                let fixed = if let Divisor::Fixed(by) = p.divisor {
                    by
                } else {
                    1
                };
                (
                    [&p.kernel[..], &p.stride, &[fixed]].concat(),
                    p.padding.to_vec(),
                )
            }
            _ => (vec![], vec![]),
        };
        if positive.contains(&0) {
            return refuse("an extent is 0".to_owned());
        }
        if let Some(extent) = positive.iter().chain(&any).find(|extent| **extent > EXTENT) {
            return refuse(format!("an extent is {extent}, the largest is {EXTENT}"));
        }
        if let Self::Conv2d(c) = self
            && (c.inputs % c.groups != 0 || c.outputs % c.groups != 0)
        {
            return refuse(format!("{} groups do not divide the channels", c.groups));
        }
        let pool = match self {
            Self::MaxPool2d(p) => Some((p.kernel, p.dilation, p.padding)),
            Self::AvgPool2d(p) => Some((p.kernel, [1, 1], p.padding)),
            _ => None,
        };
        if let Some((kernel, dilation, padding)) = pool
            && (0..2).any(|dim| padding[dim] * 2 > dilation[dim] * (kernel[dim] - 1) + 1)
        {
            return refuse("padding is more than half of the window".to_owned());
        }
        let weights = match self {
            Self::Conv2d(c) => [c.outputs, c.inputs / c.groups, c.kernel[0], c.kernel[1]].to_vec(),
            Self::Linear(l) => vec![l.outputs, l.inputs],
            _ => vec![],
        };
        let count = weights
            .iter()
            .try_fold(1_usize, |count, extent| count.checked_mul(*extent));
        if count.is_none_or(|count| count > WEIGHTS) {
            return refuse(format!("it has more than {WEIGHTS} weights"));
        }
        if let Some(packing) = self.packing() {
            if packing.runs > RUNS {
                return refuse(format!("a window has more than {RUNS} runs"));
            }
            if packing.runs * packing.run().div_ceil(4) > QUADS {
                return refuse(format!("an output has more than {QUADS} quads of weights"));
            }
        }
        Ok(())
    }

    /// How the weights of this operator are laid out, if it has any.
    pub fn packing(&self) -> Option<Packing> {
        match self {
            Self::Conv2d(conv) => Some(conv.packing()),
            Self::Linear(linear) => Some(linear.packing()),
            _ => None,
        }
    }

    /// Whether it brings weights into their order, once, before anything runs.
    pub fn is_packer(&self) -> bool {
        matches!(self, Self::PackConv | Self::PackLinear)
    }

    /// The operator's name alone.
    pub fn operator(&self) -> &'static str {
        match self {
            Self::Conv2d(_) => "conv2d_u8s8u8",
            Self::Linear(_) => "linear_u8s8u8",
            Self::Add => "add_u8",
            Self::Mul => "mul_u8",
            Self::Cat => "cat_u8",
            Self::Lut => "lut_u8",
            Self::MaxPool2d(_) => "max_pool2d_u8",
            Self::AvgPool2d(_) => "avg_pool2d_u8",
            Self::AdaptiveAvgPool2d => "adaptive_avg_pool2d_u8",
            Self::Quantize(Code::U8) => "quantize_f32u8",
            Self::Quantize(Code::S8) => "quantize_f32s8",
            Self::Dequantize(Code::U8) => "dequantize_u8f32",
            Self::Dequantize(Code::S8) => "dequantize_s8f32",
            Self::PackConv => "pack_conv_s8",
            Self::PackLinear => "pack_linear_s8",
            Self::Relayout(Layout::NchwToNhwc) => "nchw_to_nhwc_u8",
            Self::Relayout(Layout::NhwcToNchw) => "nhwc_to_nchw_u8",
        }
    }
}

impl Conv2d {
    /// A dense convolution with stride and dilation 1 and without padding.
    pub fn new(inputs: usize, outputs: usize, kernel: [usize; 2]) -> Self {
        Self {
            inputs,
            outputs,
            kernel,
            stride: [1, 1],
            padding: [0, 0],
            dilation: [1, 1],
            groups: 1,
        }
    }

    /// The same with `padding` on both sides.
    #[must_use]
    pub fn padded(self, padding: [usize; 2]) -> Self {
        Self { padding, ..self }
    }

    /// Whether every channel is filtered alone, with one output for each.
    pub fn is_depthwise(&self) -> bool {
        self.groups > 1 && self.groups == self.inputs && self.groups == self.outputs
    }

    /// Whether fbgemm has a fast depthwise kernel for this geometry, whose output stage rounds once more than the others.
    pub(crate) fn is_fbgemm_depthwise(&self) -> bool {
        let side = self.kernel[0];
        self.groups == self.inputs
            && self.groups.is_multiple_of(8)
            && (self.outputs == self.groups || self.outputs == 2 * self.groups)
            && matches!(side, 3 | 5 | 7)
            && self.kernel == [side; 2]
            && self.padding == [(side - 1) / 2; 2]
            && self.stride.iter().all(|stride| *stride <= 2)
            && self.dilation == [1, 1]
    }

    /// Height and width of the output for an input of that size, or nothing when the window does not fit.
    pub fn output_size(&self, input: [usize; 2]) -> Option<[usize; 2]> {
        let along = |dim: usize| {
            let padded = input[dim].checked_add(2 * self.padding[dim])?;
            let reach = self.dilation[dim] * (self.kernel[dim] - 1) + 1;
            Some(padded.checked_sub(reach)? / self.stride[dim] + 1)
        };
        Some([along(0)?, along(1)?])
    }

    /// How the weights are laid out.
    ///
    /// In NHWC the taps of one kernel row lie side by side when nothing lies between them, so that a whole row is one run.
    pub fn packing(&self) -> Packing {
        let taps = self.kernel[0] * self.kernel[1];
        if self.is_depthwise() {
            return Packing {
                groups: 1,
                outputs: self.outputs,
                inputs: 1,
                taps,
                runs: taps,
                depthwise: true,
            };
        }
        let row_is_run = self.groups == 1 && (self.dilation[1] == 1 || self.kernel[1] == 1);
        Packing {
            groups: self.groups,
            outputs: self.outputs / self.groups,
            inputs: self.inputs / self.groups,
            taps,
            runs: if row_is_run { self.kernel[0] } else { taps },
            depthwise: false,
        }
    }
}

impl Linear {
    /// How the weights are laid out.
    pub fn packing(&self) -> Packing {
        Packing {
            groups: 1,
            outputs: self.outputs,
            inputs: self.inputs,
            taps: 1,
            runs: 1,
            depthwise: false,
        }
    }
}

impl fmt::Display for KernelSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.operator())?;
        let pair =
            |f: &mut fmt::Formatter<'_>, key: char, [h, w]: [usize; 2]| write!(f, " {key}{h}x{w}");
        match self {
            Self::Conv2d(conv) => {
                write!(f, " i{} o{}", conv.inputs, conv.outputs)?;
                pair(f, 'k', conv.kernel)?;
                pair(f, 's', conv.stride)?;
                pair(f, 'p', conv.padding)?;
                pair(f, 'd', conv.dilation)?;
                write!(f, " g{}", conv.groups)
            }
            Self::Linear(linear) => write!(f, " i{} o{}", linear.inputs, linear.outputs),
            Self::MaxPool2d(pool) => {
                pair(f, 'k', pool.kernel)?;
                pair(f, 's', pool.stride)?;
                pair(f, 'p', pool.padding)?;
                pair(f, 'd', pool.dilation)
            }
            Self::AvgPool2d(pool) => {
                pair(f, 'k', pool.kernel)?;
                pair(f, 's', pool.stride)?;
                pair(f, 'p', pool.padding)?;
                match pool.divisor {
                    Divisor::Padded => f.write_str(" by_padded"),
                    Divisor::Valid => f.write_str(" by_valid"),
                    Divisor::Fixed(by) => write!(f, " by{by}"),
                }
            }
            _ => Ok(()),
        }
    }
}

impl FromStr for KernelSpec {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let mut fields = Fields {
            text,
            words: text.split(' '),
        };
        let operator = fields.words.next().unwrap_or_default();
        let spec = match operator {
            "conv2d_u8s8u8" => Self::Conv2d(Conv2d {
                inputs: fields.number("i")?,
                outputs: fields.number("o")?,
                kernel: fields.pair("k")?,
                stride: fields.pair("s")?,
                padding: fields.pair("p")?,
                dilation: fields.pair("d")?,
                groups: fields.number("g")?,
            }),
            "linear_u8s8u8" => Self::Linear(Linear {
                inputs: fields.number("i")?,
                outputs: fields.number("o")?,
            }),
            "max_pool2d_u8" => Self::MaxPool2d(MaxPool2d {
                kernel: fields.pair("k")?,
                stride: fields.pair("s")?,
                padding: fields.pair("p")?,
                dilation: fields.pair("d")?,
            }),
            "avg_pool2d_u8" => Self::AvgPool2d(AvgPool2d {
                kernel: fields.pair("k")?,
                stride: fields.pair("s")?,
                padding: fields.pair("p")?,
                divisor: match fields.field("by")? {
                    "_padded" => Divisor::Padded,
                    "_valid" => Divisor::Valid,
                    number => Divisor::Fixed(fields.read(number)?),
                },
            }),
            _ => Self::PLAIN
                .into_iter()
                .find(|spec| spec.operator() == operator)
                .ok_or_else(|| fields.error(format!("unknown operator `{operator}`")))?,
        };
        if let Some(word) = fields.words.next() {
            return Err(fields.error(format!("unexpected `{word}`")));
        }
        spec.check()?;
        // `k03x3` or `+3` would be a second text for the same kernel.
        if spec.to_string() == text {
            Ok(spec)
        } else {
            Err(fields.error(format!("its canonical text is `{spec}`")))
        }
    }
}

impl KernelSpec {
    /// The operators without geometry.
    const PLAIN: [Self; 13] = [
        Self::Add,
        Self::Mul,
        Self::Cat,
        Self::Lut,
        Self::AdaptiveAvgPool2d,
        Self::Quantize(Code::U8),
        Self::Quantize(Code::S8),
        Self::Dequantize(Code::U8),
        Self::Dequantize(Code::S8),
        Self::PackConv,
        Self::PackLinear,
        Self::Relayout(Layout::NchwToNhwc),
        Self::Relayout(Layout::NhwcToNchw),
    ];
}

/// The words of a specification's text.
struct Fields<'a> {
    text: &'a str,
    words: std::str::Split<'a, char>,
}

impl<'a> Fields<'a> {
    fn field(&mut self, key: &str) -> Result<&'a str, Error> {
        self.words
            .next()
            .and_then(|word| word.strip_prefix(key))
            .ok_or_else(|| self.error(format!("expected a field `{key}…`")))
    }

    fn number(&mut self, key: &str) -> Result<usize, Error> {
        let number = self.field(key)?;
        self.read(number)
    }

    fn pair(&mut self, key: &str) -> Result<[usize; 2], Error> {
        let pair = self.field(key)?;
        let (h, w) = pair
            .split_once('x')
            .ok_or_else(|| self.error(format!("expected two numbers in `{key}{pair}`")))?;
        Ok([self.read(h)?, self.read(w)?])
    }

    fn read(&self, number: &str) -> Result<usize, Error> {
        number
            .parse()
            .map_err(|_| self.error(format!("`{number}` is no number")))
    }

    fn error(&self, why: String) -> Error {
        Error::Text {
            text: self.text.to_owned(),
            why,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn specs() -> Vec<KernelSpec> {
        let conv = Conv2d {
            inputs: 12,
            outputs: 8,
            kernel: [3, 5],
            stride: [2, 1],
            padding: [1, 2],
            dilation: [1, 2],
            groups: 4,
        };
        let max = MaxPool2d {
            kernel: [3, 3],
            stride: [2, 2],
            padding: [1, 1],
            dilation: [1, 1],
        };
        let avg = |divisor| AvgPool2d {
            kernel: [3, 2],
            stride: [2, 2],
            padding: [1, 0],
            divisor,
        };
        let mut specs = vec![
            KernelSpec::Conv2d(conv),
            KernelSpec::Linear(Linear {
                inputs: 7,
                outputs: 3,
            }),
            KernelSpec::MaxPool2d(max),
            KernelSpec::AvgPool2d(avg(Divisor::Padded)),
            KernelSpec::AvgPool2d(avg(Divisor::Valid)),
            KernelSpec::AvgPool2d(avg(Divisor::Fixed(5))),
        ];
        specs.extend(KernelSpec::PLAIN);
        specs
    }

    #[test]
    fn text_round_trips_and_is_unique() {
        let mut seen = std::collections::BTreeSet::new();
        for spec in specs() {
            let text = spec.to_string();
            assert_eq!(text.parse(), Ok(spec), "{text}");
            assert!(seen.insert(text));
        }
    }

    #[test]
    fn bad_texts_are_refused() {
        for text in [
            "",
            "conv2d",
            "conv2d_u8s8u8 i3 o4",
            "conv2d_u8s8u8 i3 o4 k3x3 s1x1 p0x0 d1x1 g2",
            "conv2d_u8s8u8 i3 o4 k3x3 s0x1 p0x0 d1x1 g1",
            "conv2d_u8s8u8 i03 o4 k3x3 s1x1 p0x0 d1x1 g1",
            "conv2d_u8s8u8 i3 o4 k3x3 s1x1 p0x0 d1x1 g1 ",
            "conv2d_u8s8u8 i1048577 o4 k3x3 s1x1 p0x0 d1x1 g1",
            "linear_u8s8u8 i1048576 o1048576",
            "linear_u8s8u8 i-1 o2",
            "add_u8 k1",
            "max_pool2d_u8 k3x3 s1x1 p2x2 d1x1",
            "avg_pool2d_u8 k3x3 s1x1 p1x1 by0",
            "avg_pool2d_u8 k3x3 s1x1 p1x1",
        ] {
            assert!(text.parse::<KernelSpec>().is_err(), "{text}");
        }
    }

    #[test]
    fn output_sizes() {
        let conv = Conv2d {
            stride: [2, 2],
            dilation: [2, 1],
            ..Conv2d::new(1, 1, [3, 3]).padded([1, 1])
        };
        assert_eq!(conv.output_size([8, 8]), Some([3, 4]));
        assert_eq!(conv.output_size([2, 8]), None);
    }
}
