//! Calls of one program: what they allocate, and many at once.

use std::thread;

use planish::eval::{Contract, Interpreter, MemoryFormat, Value};
use planish::runtime::Stats;

use crate::bench::{Compiled, same};
use crate::chance::Chance;

const CONV: &str = "__torch__.torch.classes.quantized.Conv2dPackedParamsBase";
const LINEAR: &str = "__torch__.torch.classes.quantized.LinearPackedParamsBase";

/// A network for digits of 8 by 8: two convolutions, a residual sum, pools, a linear layer.
fn digits() -> Compiled {
    let conv = |name: &str, outputs: i64, inputs: i64, seed: i64| {
        format!(
            "  attr {name} : {CONV} = pack<conv2d, stride=[1, 1], padding=[1, 1], dilation=[1, 1], output_padding=[0, 0], groups=1>(random<QInt8({outputs}, {inputs}, 3, 3), seed={seed}, scale=0.01, zero_point=0>, random<Float({outputs}), seed={seed}>)\n"
        )
    };
    Compiled::whole(&format!(
        "module __torch__.Digits phase=folded {{
{}{}{}  attr l : {LINEAR} = pack<linear>(random<QInt8(10, 16), seed=4, scale=0.02, zero_point=0>, random<Float(10), seed=4>)
}}
class __torch__.Digits {{
  method forward(self, x) {{
    graph(%self : __torch__.Digits, %x : Tensor):
      %quint8 : int = prim::Constant[value=13]()
      %s : float = prim::Constant[value=0.0625]()
      %z : int = prim::Constant[value=30]()
      %one : int = prim::Constant[value=1]()
      %end : int = prim::Constant[value=-1]()
      %two : int[] = prim::Constant[value=[2, 2]]()
      %none : int[] = prim::Constant[value=[0, 0]]()
      %ones : int[] = prim::Constant[value=[1, 1]]()
      %no : bool = prim::Constant[value=0]()
      %a : {CONV} = prim::GetAttr[name=\"a\"](%self)
      %b : {CONV} = prim::GetAttr[name=\"b\"](%self)
      %c : {CONV} = prim::GetAttr[name=\"c\"](%self)
      %l : {LINEAR} = prim::GetAttr[name=\"l\"](%self)
      %q : Tensor = aten::quantize_per_tensor(%x, %s, %z, %quint8)
      %1 : Tensor = quantized::conv2d_relu(%q, %a, %s, %z)
      %2 : Tensor = aten::max_pool2d(%1, %two, %two, %none, %ones, %no)
      %3 : Tensor = quantized::conv2d_relu(%2, %b, %s, %z)
      %4 : Tensor = quantized::conv2d(%3, %c, %s, %z)
      %5 : Tensor = quantized::add_relu(%4, %2, %s, %z)
      %6 : Tensor = quantized::hardswish(%5, %s, %z)
      %7 : Tensor = aten::adaptive_avg_pool2d(%6, %ones)
      %8 : Tensor = aten::flatten(%7, %one, %end)
      %9 : Tensor = quantized::linear(%8, %l, %s, %z)
      %y : Tensor = aten::dequantize(%9)
      return (%y)
  }}
}}
",
        conv("a", 16, 1, 1),
        conv("b", 16, 16, 2),
        conv("c", 16, 16, 3),
    ))
}

fn images(chance: &mut Chance, count: i64, layout: MemoryFormat) -> [Value; 1] {
    [chance.reals(&[count, 1, 8, 8], layout, 0.0625, 30).into()]
}

#[test]
fn nothing_is_allocated_from_the_second_call_on() {
    let digits = digits();
    let mut chance = Chance::new(61);
    for (isa, program) in &digits.programs {
        for layout in [MemoryFormat::Contiguous, MemoryFormat::ChannelsLast] {
            // The largest batch last: smaller ones before it must not keep it from its buffers.
            for count in [1, 3] {
                let mut allocations = Vec::new();
                for _ in 0..4 {
                    let mut stats = Stats::default();
                    let answer = program.call_with(&images(&mut chance, count, layout), &mut stats);
                    drop(answer.expect("it answers"));
                    allocations.push(stats.allocations);
                }
                assert_eq!(
                    allocations[1..],
                    [0, 0, 0],
                    "{isa} {layout:?} {allocations:?}"
                );
            }
            let mut stats = Stats::default();
            program
                .call_with(&images(&mut chance, 2, layout), &mut stats)
                .expect("it answers");
            assert_eq!(
                stats.allocations, 0,
                "{isa}: fewer images fit where more did"
            );
        }
    }
}

#[test]
fn an_answer_that_is_kept_stays_what_it_was() {
    let digits = digits();
    let mut chance = Chance::new(62);
    let inputs: Vec<[Value; 1]> = (0..5)
        .map(|_| images(&mut chance, 2, MemoryFormat::Contiguous))
        .collect();
    let mut evaluator = Interpreter::new(&digits.module, Contract::Fbgemm);
    for (isa, program) in &digits.programs {
        let answers: Vec<Value> = inputs
            .iter()
            .map(|x| program.call(x).expect("it answers"))
            .collect();
        for (x, answer) in inputs.iter().zip(&answers) {
            let expected = evaluator.call_method("forward", x).expect("it answers");
            same(&isa.to_string(), answer, &expected);
        }
    }
}

#[test]
fn calls_from_many_threads_answer_as_one() {
    let digits = digits();
    let mut chance = Chance::new(63);
    let mut evaluator = Interpreter::new(&digits.module, Contract::Fbgemm);
    let cases: Vec<([Value; 1], Value)> = (0..12)
        .map(|at| {
            let layout = if at % 2 == 0 {
                MemoryFormat::Contiguous
            } else {
                MemoryFormat::ChannelsLast
            };
            let x = images(&mut chance, 1 + at % 4, layout);
            let expected = evaluator.call_method("forward", &x).expect("it answers");
            (x, expected)
        })
        .collect();
    for (isa, program) in &digits.programs {
        let cases = &cases;
        thread::scope(|scope| {
            for thread in 0..6 {
                scope.spawn(move || {
                    for round in 0..30 {
                        let (x, expected) = &cases[(thread * 5 + round) % cases.len()];
                        let answer = program.call(x).expect("it answers");
                        same(
                            &format!("{isa}, thread {thread}, round {round}"),
                            &answer,
                            expected,
                        );
                    }
                });
            }
        });
    }
}
