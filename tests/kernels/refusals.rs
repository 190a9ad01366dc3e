//! Inputs that do not fit are refused, with the operator's name and without a panic.

use planish::eval::{MemoryFormat, Tensor, Value};
use planish::ir::DType;

use crate::bench::Compiled;
use crate::chance::Chance;

const CONV: &str = "__torch__.torch.classes.quantized.Conv2dPackedParamsBase";
const LINEAR: &str = "__torch__.torch.classes.quantized.LinearPackedParamsBase";

fn layers() -> Compiled {
    Compiled::whole(&format!(
        "module __torch__.M phase=folded {{
  attr c : {CONV} = pack<conv2d, stride=[1, 1], padding=[0, 0], dilation=[1, 1], output_padding=[0, 0], groups=1>(random<QInt8(4, 3, 3, 3), seed=1, scale=0.01, zero_point=0>, None)
  attr l : {LINEAR} = pack<linear>(random<QInt8(4, 6), seed=2, scale=0.01, zero_point=0>, None)
}}
class __torch__.M {{
  method forward(self, x, y, s, z) {{
    graph(%self : __torch__.M, %x : Tensor, %y : Tensor, %s : float, %z : int):
      %quint8 : int = prim::Constant[value=13]()
      %one : int = prim::Constant[value=1]()
      %c : {CONV} = prim::GetAttr[name=\"c\"](%self)
      %l : {LINEAR} = prim::GetAttr[name=\"l\"](%self)
      %a : Tensor = aten::quantize_per_tensor(%x, %s, %z, %quint8)
      %b : Tensor = aten::quantize_per_tensor(%y, %s, %z, %quint8)
      %conv : Tensor = quantized::conv2d(%a, %c, %s, %z)
      %linear : Tensor = quantized::linear(%b, %l, %s, %z)
      %list : Tensor[] = prim::ListConstruct(%a, %a)
      %cat : Tensor = quantized::cat(%list, %one, %s, %z)
      %all : (Tensor, Tensor, Tensor) = prim::TupleConstruct(%conv, %linear, %cat)
      return (%all)
  }}
}}
"
    ))
}

fn floats(shape: &[i64]) -> Value {
    Chance::new(51)
        .reals(shape, MemoryFormat::Contiguous, 0.25, 8)
        .into()
}

#[test]
fn shapes_that_do_not_fit_are_named() {
    let layers = layers();
    let refused = |x: &[i64], y: &[i64], words: &[&str]| {
        for message in layers.refusals(&[floats(x), floats(y), 0.25.into(), 8.into()]) {
            for word in words {
                assert!(message.contains(word), "{word:?} in {message:?}");
            }
        }
    };
    refused(
        &[1, 4, 5, 5],
        &[2, 6],
        &["quantized::conv2d", "[1, 4, 5, 5]"],
    );
    refused(
        &[1, 3, 2, 5],
        &[2, 6],
        &["quantized::conv2d", "[1, 3, 2, 5]"],
    );
    refused(&[5, 5], &[2, 6], &["quantized::conv2d", "[5, 5]"]);
    refused(&[1, 3, 5, 5, 1], &[2, 6], &["quantized::conv2d"]);
    refused(&[], &[2, 6], &["quantized::conv2d"]);
    refused(&[1, 3, 5, 5], &[2, 7], &["quantized::linear", "[2, 7]"]);
    refused(&[1, 3, 5, 5], &[], &["quantized::linear"]);
}

#[test]
fn arguments_that_do_not_fit_are_named() {
    let layers = layers();
    let (x, y) = (floats(&[1, 3, 5, 5]), floats(&[2, 6]));
    for message in layers.refusals(&[x.clone(), y.clone(), 0.25.into()]) {
        assert!(
            message.contains("4 inputs") && message.contains('3'),
            "{message}"
        );
    }
    for message in layers.refusals(&[x.clone(), 1.into(), 0.25.into(), 8.into()]) {
        assert!(
            message.contains("input 1") && message.contains("int"),
            "{message}"
        );
    }
    layers.compare_all_taken("what fits", &[x, y, 0.25.into(), 8.into()]);
}

/// The evaluator decides what numbers mean that no kernel computes with; nothing panics.
#[test]
fn strange_scales_and_types_are_left_to_the_evaluator() {
    let layers = layers();
    let (x, y) = (floats(&[1, 3, 5, 5]), floats(&[2, 6]));
    for (scale, zero_point) in [
        (0.0, 3),
        (-1.0, 3),
        (f64::NAN, 3),
        (f64::INFINITY, 3),
        (1e-60, 0),
        (0.5, 300),
        (0.5, -1),
        (0.5, i64::MAX),
    ] {
        let args = [x.clone(), y.clone(), scale.into(), zero_point.into()];
        for (_, program) in &layers.programs {
            let _ = program.call(&args);
        }
    }
    let whole =
        Tensor::zeros(DType::Long, &[1, 3, 5, 5], MemoryFormat::Contiguous).expect("a tensor");
    for (_, program) in &layers.programs {
        let _ = program.call(&[whole.clone().into(), y.clone(), 0.5.into(), 3.into()]);
    }
}

#[test]
fn no_images_give_no_images() {
    let layers = layers();
    for layout in [MemoryFormat::Contiguous, MemoryFormat::ChannelsLast] {
        let none = Tensor::zeros(DType::Float, &[0, 3, 5, 5], layout).expect("a tensor");
        let args = [none.into(), floats(&[0, 6]), 0.25.into(), 8.into()];
        layers.compare(&format!("{layout:?}"), &args);
    }
}
