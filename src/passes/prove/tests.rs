//! The prover can fail: rules and passes that are wrong on purpose.

use planish_ir::text::parse_module;
use planish_ir::{At, Graph, GraphModule, Literal, Op, Tensor};

use super::*;
use crate::rewrite::RuleSet;
use crate::{
    Changed, Fuel, NoKernels, Pass, PassCx, PassError, Pipeline, PipelineError, Remarks, scope,
};

/// A pass that applies rules, and then does something else.
struct Trial {
    rules: &'static str,
    then: fn(&mut Graph),
}

impl Pass for Trial {
    fn name(&self) -> &'static str {
        "trial"
    }

    fn doc(&self) -> &'static str {
        "does what a test wants"
    }

    fn run(&self, module: &mut GraphModule, cx: &mut PassCx<'_>) -> Result<Changed, PassError> {
        let rules = RuleSet::parse("trial.rules", self.rules).expect("a rule");
        scope::each_kept_method(module, cx, |mut scope, graph, cx| {
            let made = scope.rewrite(graph, &rules, cx).applied.len();
            (self.then)(graph);
            made
        })
    }
}

/// What the prover says of a pass, and the counter-example.
fn prove(
    pass: Trial,
    text: &str,
    inputs: Vec<Literal>,
) -> Result<Proof, (String, Box<Counterexample>)> {
    let mut module = parse_module(text).expect("the text is a module");
    let options = Options::default();
    let mut prover = Prover::new(&options, inputs);
    let mut cx = PassCx {
        remarks: &mut Remarks::default(),
        kernels: &mut NoKernels,
        fuel: &mut Fuel::unlimited(),
        options: &options,
        observer: Some(&mut prover),
    };
    let pass: &'static Trial = Box::leak(Box::new(pass));
    match Pipeline::new(&[pass]).run(&mut module, &mut cx, &mut ()) {
        Ok(_) => Ok(prover.proof().clone()),
        Err(error @ PipelineError::Disproved { .. }) => {
            let shown = prover.counterexample().expect("what is disproved is shown");
            Err((error.to_string(), Box::new(shown.clone())))
        }
        Err(error) => panic!("the pass fails: {error}"),
    }
}

fn floats(values: &[f32]) -> Literal {
    Literal::Tensor(Tensor::from_values(&[values.len() as i64], values).unwrap())
}

const ABS_NEG: &str = "graph(%x : Tensor):
  %a : Tensor = aten::abs(%x)
  %y : Tensor = aten::neg(%a)
  return (%y)";

const QUANTIZED: &str = "graph(%x : Tensor):
  %scale : float = prim::Constant[value=0.1]()
  %zero : int = prim::Constant[value=10]()
  %dtype : int = prim::Constant[value=13]()
  %q : Tensor = aten::quantize_per_tensor(%x, %scale, %zero, %dtype)
  %s : Tensor = quantized::add(%q, %q, %scale, %zero)
  %r : Tensor = aten::relu(%s)
  return (%r)";

const SQUARE: &str = "rule square
  match   return aten::square(%x)
  become  return aten::mul.Tensor(%x, %x)
  within  0.0001 of the largest
";

fn nothing(_: &mut Graph) {}

#[test]
fn a_wrong_rule_is_shown_where_it_is_wrong_and_can_be_replayed() {
    let rules = "rule forgets_abs
  match   return aten::neg(aten::abs(%x))
  become  return aten::neg(%x)
";
    // The given input does not show it, a variation does.
    let pass = Trial {
        rules,
        then: nothing,
    };
    let (told, shown) = prove(pass, ABS_NEG, vec![floats(&[1., 2.])]).expect_err("it is wrong");
    assert!(
        told.starts_with(
            "prove trial: rewrite 1, by the rule \"forgets_abs\", changes an answer: "
        ),
        "{told}"
    );
    assert_eq!(shown.number, Some(1));
    let again = shown.replay().expect("both can be run");
    assert_eq!(again.as_ref(), Some(&shown.difference));
    let mended = Counterexample {
        after: shown.before.clone(),
        ..*shown
    };
    assert_eq!(mended.replay().expect("both can be run"), None);
}

#[test]
fn a_rule_that_exceeds_its_bound_is_found_and_one_that_keeps_it_is_not() {
    let rule = |bound: &str| {
        let rule = format!(
            "rule forgets_relu
  match   return aten::relu(quantized::add(%a, %b, %scale, %zero))
  become  return quantized::add(%a, %b, %scale, %zero)
  within  {bound}
"
        );
        Trial {
            rules: rule.leak(),
            then: nothing,
        }
    };
    let inputs = || vec![floats(&[0.05, -3.])];
    let (told, shown) = prove(rule("9 codes"), QUANTIZED, inputs()).expect_err("10 codes");
    assert!(
        told.contains("changes an answer by more than 9 codes"),
        "{told}"
    );
    assert!(told.contains("was 10 and became 0"), "{told}");
    assert_eq!(shown.bound, Bound::Codes(9));
    let proof = prove(rule("10 codes"), QUANTIZED, inputs()).expect("that is the zero point");
    assert_eq!((proof.rewrites, proof.steps), (1, 0));
    assert!(proof.trials > 10 && proof.unreached.is_empty(), "{proof}");
}

#[test]
fn an_operator_that_moves_over_a_write_is_found() {
    let text = "graph(%x : Tensor):
      %one : int = prim::Constant[value=1]()
      %y : Tensor = aten::square(%x)
      %w : Tensor = aten::add_(%x, %one, %one)
      return (%y, %w)";
    let inputs = || vec![floats(&[1., 2.])];
    let stays = Trial {
        rules: SQUARE,
        then: nothing,
    };
    prove(stays, text, inputs()).expect("the rule is right");
    let moves = Trial {
        rules: SQUARE,
        then: |graph| {
            let find = |op| {
                let mut nodes = graph.walk();
                nodes.find(|node| graph.node(*node).op().is(op))
            };
            let (square, write) = (find("aten::mul"), find("aten::add_"));
            graph.move_node(square.expect("made"), At::After(write.expect("there")));
        },
    };
    let (told, _) = prove(moves, text, inputs()).expect_err("it reads what was written");
    assert!(
        told.contains("in its place it computes something else than on its own"),
        "{told}"
    );
}

#[test]
fn other_steps_are_compared_on_the_whole_method_and_on_a_second_call() {
    let wrong = Trial {
        rules: SQUARE,
        then: |graph| {
            let first = graph.nodes(graph.entry()).next();
            graph.set_op(first.expect("there"), Op::of("aten::neg"));
        },
    };
    let (told, _) = prove(wrong, ABS_NEG, vec![floats(&[1.])]).expect_err("abs is no neg");
    assert!(
        told.starts_with("prove trial: its step trial, changes an answer: "),
        "{told}"
    );
    let text = "
        module __torch__.Count {
          attr n : int = 0
          method forward(self) {
            graph(%self : __torch__.Count):
              %one : int = prim::Constant[value=1]()
              %n : int = prim::GetAttr[name=\"n\"](%self)
              %m : int = aten::add(%n, %one)
               = prim::SetAttr[name=\"n\"](%self, %m)
              return (%n)
          }
        }";
    let forgets = Trial {
        rules: SQUARE,
        then: |graph| {
            let last = graph.walk().last();
            let set = last.expect("there");
            assert!(graph.node(set).op().is("prim::SetAttr"));
            graph.erase(set);
        },
    };
    let (told, shown) = prove(forgets, text, Vec::new()).expect_err("the second call differs");
    assert!(told.ends_with("on the second call, 1 became 0"), "{told}");
    assert_eq!(shown.step, "trial");
}
