//! Convolutions and linear layers.

use std::fmt::Write as _;

use planish::eval::{MemoryFormat, Value};

use crate::bench::Compiled;
use crate::chance::{Chance, beside};

/// A weight: its scales and bias as a module's text has them.
struct Weight {
    /// `[out, in / groups, …]`
    shape: Vec<i64>,
    per_channel: bool,
    bias: bool,
    /// Codes from `-bound` to `bound`; -128 too when that is 128.
    bound: i64,
}

impl Weight {
    /// The text of the packed weight. With scales beside powers of two and biases beside multiples of the sum's scale most results tie.
    fn text(&self, chance: &mut Chance, kind: &str, input_scale: f64) -> String {
        let outputs = self.shape[0];
        let scales: Vec<f64> = (0..if self.per_channel { outputs } else { 1 })
            .map(|_| chance.scale(-7, -4))
            .collect();
        let zeros = vec![0; scales.len()];
        let quantization = if self.per_channel {
            format!("scale={scales:?}, zero_point={zeros:?}, axis=0")
        } else {
            format!("scale={:?}, zero_point=0", scales[0])
        };
        let numel: i64 = self.shape.iter().product();
        let codes: Vec<i64> = (0..numel)
            .map(|_| chance.int(-self.bound, self.bound.min(127)))
            .collect();
        let bias = if self.bias {
            let biases = (0..outputs as usize).map(|output| {
                let sum = input_scale as f32 * scales[output.min(scales.len() - 1)] as f32;
                let steps = chance.int(-600, 600) as f32 / chance.one_of(&[1.0, 2.0, 3.0]);
                beside(sum * steps, chance.int(-1, 1))
            });
            format!("dense<Float({outputs})>{:?}", biases.collect::<Vec<f32>>())
        } else {
            "None".to_owned()
        };
        let shape: Vec<String> = self.shape.iter().map(ToString::to_string).collect();
        format!(
            "pack<{kind}>(dense<QInt8({}), {quantization}>{codes:?}, {bias})",
            shape.join(", ")
        )
    }
}

/// A module that quantizes its input and applies `op` and `op_relu` with every weight.
fn module(op: &str, class: &str, weights: &[String]) -> String {
    let mut attrs = String::new();
    let mut body = String::new();
    let mut results = Vec::new();
    for (at, weight) in weights.iter().enumerate() {
        writeln!(attrs, "  attr w{at} : {class} = {weight}").expect("strings grow");
        writeln!(
            body,
            "      %w{at} : {class} = prim::GetAttr[name=\"w{at}\"](%self)"
        )
        .expect("strings grow");
        for (relu, name) in [("", "y"), ("_relu", "r")] {
            writeln!(
                body,
                "      %{name}{at} : Tensor = quantized::{op}{relu}(%q, %w{at}, %ys, %yz)"
            )
            .expect("strings grow");
            results.push(format!("%{name}{at}"));
        }
    }
    let types = vec!["Tensor"; results.len()].join(", ");
    format!(
        "module __torch__.M phase=folded {{
{attrs}}}
class __torch__.M {{
  method forward(self, x, xs, xz, ys, yz) {{
    graph(%self : __torch__.M, %x : Tensor, %xs : float, %xz : int, %ys : float, %yz : int):
      %quint8 : int = prim::Constant[value=13]()
      %q : Tensor = aten::quantize_per_tensor(%x, %xs, %xz, %quint8)
{body}      %all : ({types}) = prim::TupleConstruct({})
      return (%all)
  }}
}}
",
        results.join(", ")
    )
}

/// The same geometry with one scale and with a scale for each channel, with bias and without, with small weights and with all.
fn weights(chance: &mut Chance, kind: &str, shape: &[i64], input_scale: f64) -> Vec<String> {
    let mut weights = Vec::new();
    for (per_channel, bias, bound) in [
        (false, true, 6),
        (true, true, 6),
        (false, false, 128),
        (true, true, 128),
    ] {
        let weight = Weight {
            shape: shape.to_vec(),
            per_channel,
            bias,
            bound,
        };
        weights.push(weight.text(chance, kind, input_scale));
    }
    weights
}

/// Output channels, input channels of a group, window, stride, padding, dilation, groups.
#[derive(Clone, Copy)]
struct Geometry(i64, i64, [i64; 2], [i64; 2], [i64; 2], [i64; 2], i64);

impl Geometry {
    fn kind(self) -> String {
        let Self(_, _, _, stride, padding, dilation, groups) = self;
        format!(
            "conv2d, stride={stride:?}, padding={padding:?}, dilation={dilation:?}, output_padding=[0, 0], groups={groups}"
        )
    }

    /// Height or width of the output.
    fn out(self, dim: usize, size: i64) -> i64 {
        let Self(_, _, kernel, stride, padding, dilation, _) = self;
        (size + 2 * padding[dim] - dilation[dim] * (kernel[dim] - 1) - 1) / stride[dim] + 1
    }
}

fn compare_conv2d(seed: u64, geometries: &[Geometry]) {
    let mut chance = Chance::new(seed);
    for geometry in geometries {
        let Geometry(outputs, inputs, kernel, _, _, _, groups) = *geometry;
        let shape = [outputs, inputs, kernel[0], kernel[1]];
        let input_scale = chance.scale(-6, -3);
        let texts = weights(&mut chance, &geometry.kind(), &shape, input_scale);
        let count = 2 * texts.len() as u64;
        let compiled = Compiled::whole(&module("conv2d", CONV, &texts));
        for round in 0..10 {
            let images = chance.int(1, 3);
            let [height, width] = [chance.int(5, 9), chance.int(5, 9)];
            let format = if round % 2 == 0 {
                MemoryFormat::Contiguous
            } else {
                MemoryFormat::ChannelsLast
            };
            let (xz, yz) = (chance.zero_point(), chance.zero_point());
            let ys = output_scale(&mut chance, input_scale);
            let size = [images, inputs * groups, height, width];
            let x = chance.reals(&size, format, input_scale, xz);
            let what = format!(
                "{} {shape:?} {size:?} {format:?} xz={xz} yz={yz} ys={ys:e}",
                geometry.kind()
            );
            let args = [
                x.into(),
                input_scale.into(),
                xz.into(),
                ys.into(),
                yz.into(),
            ];
            let stats = compiled.compare_all_taken(&what, &args);
            let pixels = images * geometry.out(0, height) * geometry.out(1, width);
            let products = pixels * outputs * inputs * kernel[0] * kernel[1];
            assert_eq!(stats.kernel_macs, count * products as u64, "{what}");
        }
    }
}

/// A scale for the output that makes most multiplied sums ties, or close to ties: the input's cancels, and the weights' are about powers
/// of two.
fn output_scale(chance: &mut Chance, input_scale: f64) -> f64 {
    let power = 2_f32.powi(chance.int(-3, 2) as i32);
    f64::from(beside(input_scale as f32 * power, chance.int(-2, 2)))
}

const CONV: &str = "__torch__.torch.classes.quantized.Conv2dPackedParamsBase";
const LINEAR: &str = "__torch__.torch.classes.quantized.LinearPackedParamsBase";

#[test]
fn dense_convolutions() {
    compare_conv2d(
        1,
        &[
            Geometry(24, 16, [1, 1], [1, 1], [0, 0], [1, 1], 1),
            Geometry(5, 3, [1, 1], [2, 2], [0, 0], [1, 1], 1),
            Geometry(16, 8, [3, 3], [1, 1], [1, 1], [1, 1], 1),
            Geometry(7, 5, [3, 3], [2, 2], [1, 1], [1, 1], 1),
            Geometry(10, 3, [7, 7], [2, 2], [3, 3], [1, 1], 1),
            Geometry(33, 17, [3, 3], [1, 1], [0, 0], [1, 1], 1),
            Geometry(1, 1, [2, 2], [1, 1], [0, 0], [1, 1], 1),
        ],
    );
}

#[test]
fn convolutions_of_all_sides() {
    compare_conv2d(
        2,
        &[
            Geometry(9, 6, [3, 3], [1, 1], [2, 2], [2, 2], 1),
            Geometry(8, 4, [1, 3], [1, 2], [0, 1], [1, 1], 1),
            Geometry(8, 4, [5, 1], [3, 1], [2, 0], [1, 1], 1),
            Geometry(6, 7, [2, 4], [1, 1], [1, 3], [2, 1], 1),
            Geometry(4, 64, [3, 3], [1, 2], [1, 1], [1, 1], 1),
        ],
    );
}

#[test]
fn grouped_convolutions() {
    compare_conv2d(
        3,
        &[
            Geometry(12, 4, [3, 3], [1, 1], [1, 1], [1, 1], 2),
            Geometry(4, 2, [1, 1], [1, 1], [0, 0], [1, 1], 4),
            Geometry(36, 5, [3, 3], [2, 2], [1, 1], [1, 1], 2),
            Geometry(6, 1, [3, 3], [1, 1], [1, 1], [1, 1], 3),
        ],
    );
}

/// With 8 channels, or a multiple, and one scale these take another formula for the bias.
#[test]
fn depthwise_convolutions() {
    compare_conv2d(
        4,
        &[
            Geometry(16, 1, [3, 3], [1, 1], [1, 1], [1, 1], 16),
            Geometry(24, 1, [3, 3], [2, 2], [1, 1], [1, 1], 24),
            Geometry(16, 1, [3, 3], [1, 1], [1, 1], [1, 1], 8),
            Geometry(8, 1, [5, 5], [1, 1], [2, 2], [1, 1], 8),
            Geometry(40, 1, [5, 5], [2, 1], [2, 2], [1, 1], 40),
            Geometry(8, 1, [3, 3], [1, 1], [0, 0], [1, 1], 8),
            Geometry(8, 1, [3, 3], [1, 1], [2, 2], [2, 2], 8),
            Geometry(5, 1, [3, 3], [1, 1], [1, 1], [1, 1], 5),
            Geometry(17, 1, [1, 1], [1, 1], [0, 0], [1, 1], 17),
        ],
    );
}

#[test]
fn convolutions_over_lines() {
    let mut chance = Chance::new(5);
    for (outputs, inputs, kernel, stride, padding, dilation, groups) in [
        (10, 6, 3, 2, 1, 1, 1),
        (8, 1, 3, 1, 1, 1, 8),
        (7, 5, 1, 1, 0, 1, 1),
        (6, 4, 4, 1, 3, 2, 2),
    ] {
        let kind = format!(
            "conv1d, stride=[{stride}], padding=[{padding}], dilation=[{dilation}], output_padding=[0], groups={groups}"
        );
        let scale = chance.scale(-6, -3);
        let texts = weights(&mut chance, &kind, &[outputs, inputs, kernel], scale);
        let compiled = Compiled::whole(&module("conv1d", CONV, &texts));
        for _ in 0..10 {
            let size = [chance.int(1, 3), inputs * groups, chance.int(8, 70)];
            let (xz, yz) = (chance.zero_point(), chance.zero_point());
            let ys = output_scale(&mut chance, scale);
            let x = chance.reals(&size, MemoryFormat::Contiguous, scale, xz);
            let what = format!("{kind} {size:?} xz={xz} yz={yz} ys={ys:e}");
            let args = [x.into(), scale.into(), xz.into(), ys.into(), yz.into()];
            compiled.compare_all_taken(&what, &args);
        }
    }
}

#[test]
fn linear_layers() {
    let mut chance = Chance::new(6);
    for (outputs, inputs) in [(1, 1), (3, 5), (16, 16), (17, 33), (40, 64), (10, 129)] {
        let scale = chance.scale(-6, -3);
        let texts = weights(&mut chance, "linear", &[outputs, inputs], scale);
        let compiled = Compiled::whole(&module("linear", LINEAR, &texts));
        for rows in [&[1][..], &[90], &[77], &[20, 3], &[2, 1, 5], &[]] {
            let mut size = rows.to_vec();
            size.push(inputs);
            let (xz, yz) = (chance.zero_point(), chance.zero_point());
            let ys = output_scale(&mut chance, scale);
            let x = chance.reals(&size, MemoryFormat::Contiguous, scale, xz);
            let what = format!("linear o{outputs} {size:?} xz={xz} yz={yz} ys={ys:e}");
            let args = [x.into(), scale.into(), xz.into(), ys.into(), yz.into()];
            let stats = compiled.compare_all_taken(&what, &args);
            let products = rows.iter().product::<i64>() * inputs * outputs;
            assert_eq!(stats.kernel_macs, 8 * products as u64, "{what}");
        }
        // Channels-last images as rows, and no rows at all.
        let (xz, yz, ys) = (3, 5, output_scale(&mut chance, scale));
        let last = chance.reals(&[2, 4, 3, inputs], MemoryFormat::ChannelsLast, scale, xz);
        let args = |x: planish::eval::Tensor| -> [Value; 5] {
            [x.into(), scale.into(), xz.into(), ys.into(), yz.into()]
        };
        compiled.compare_all_taken("linear, channels last", &args(last));
        let none = chance.reals(&[0, inputs], MemoryFormat::Contiguous, scale, xz);
        compiled.compare("linear, no rows", &args(none));
    }
}

/// Views of what a layer computed: slices with gaps, transposed sides, no images.
#[test]
fn layers_read_views() {
    let mut chance = Chance::new(7);
    let geometry = Geometry(6, 4, [3, 3], [1, 1], [1, 1], [1, 1], 1);
    let texts = weights(&mut chance, &geometry.kind(), &[6, 4, 3, 3], 0.05);
    for view in [
        "aten::slice(%all, %one, %one, %five, %one)",
        "aten::slice(%all, %zero, %one, %five, %two)",
        "aten::transpose(%all, %two, %three)",
        "aten::slice(%all, %zero, %one, %one, %one)",
    ] {
        let text = module("conv2d", CONV, &texts).replace(
            "%q : Tensor = aten::quantize_per_tensor(%x, %xs, %xz, %quint8)",
            &format!(
                "%all : Tensor = aten::quantize_per_tensor(%x, %xs, %xz, %quint8)
      %zero : int = prim::Constant[value=0]()
      %one : int = prim::Constant[value=1]()
      %two : int = prim::Constant[value=2]()
      %three : int = prim::Constant[value=3]()
      %five : int = prim::Constant[value=5]()
      %q : Tensor = {view}"
            ),
        );
        let text = text
            .replace("%all : (", "%tuple : (")
            .replace("return (%all)", "return (%tuple)");
        let compiled = Compiled::whole(&text);
        let channels = if view.contains("%all, %one") { 6 } else { 4 };
        for format in [MemoryFormat::Contiguous, MemoryFormat::ChannelsLast] {
            let x = chance.reals(&[3, channels, 7, 6], format, 0.05, 9);
            let args = [x.into(), 0.05.into(), 9.into(), 0.125.into(), 200.into()];
            compiled.compare(&format!("{view} {format:?}"), &args);
        }
    }
}
