//! Every rule on a graph made of its own pattern, and the driver on small graphs.

use std::collections::HashMap;

use planish_ir::text::parse_graph;
use planish_ir::{
    At, DType, Graph, GraphModule, Literal, NodeId, Op, QParams, Tensor, Type, ValueId,
};

use super::driver::{Outcome, rewrite};
use super::facts::{Facts, Written};
use super::rule::{Rule, RuleSet, Term};
use crate::pass::Fuel;
use crate::rules;

#[test]
fn every_rule_fires_on_its_own_pattern_and_leaves_nothing_of_it() {
    for rule in rules::sets().iter().flat_map(|(_, set)| set.rules()) {
        let set = rules::sets()
            .into_iter()
            .map(|(_, set)| set)
            .find(|set| set.rules().iter().any(|found| std::ptr::eq(found, rule)));
        let mut graph = graph_of(rule);
        let outcome = run(
            &mut graph,
            set.expect("the rule is of a set"),
            &mut Fuel::limited(1),
        );
        assert_eq!(applied(&outcome), [rule.name()], "{rule}");
        let made: Vec<Op> = graph.walk().map(|node| graph.node(node).op()).collect();
        for step in &rule.replacement {
            assert!(
                made.contains(&step.op),
                "{} is missing after\n{rule}",
                step.op
            );
        }
        let gone = |op: Op| {
            !rule.replacement.iter().any(|step| step.op == op)
                && !op.name().as_str().contains("q_")
                && !op.is("prim::dtype")
        };
        for step in rule.pattern.iter().filter(|step| gone(step.op)) {
            assert!(
                !made.contains(&step.op),
                "{} is left after\n{rule}",
                step.op
            );
        }
        if !rule.becomes_a_value() {
            let last = graph.producer(graph.results()[0]);
            let last = last.map(|node| graph.node(node).op().to_string());
            let becomes = rule.becomes();
            assert_eq!(last.as_deref(), becomes.split(", ").last(), "{rule}");
        }
    }
}

#[test]
fn a_rewrite_feeds_the_next_one() {
    let mut graph = parse_graph(
        "graph(%a : Tensor):
          %k : int = prim::Constant[value=2]()
          %f : Tensor = aten::dequantize(%a)
          %m : Tensor = aten::mul(%f, %k)
          %s : float = aten::q_scale(%a)
          %z : int = aten::q_zero_point(%a)
          %t : int = prim::dtype(%a)
          %q : Tensor = aten::quantize_per_tensor(%m, %s, %z, %t)
          %r : Tensor = aten::relu(%q)
          return (%r)\n",
    )
    .expect("valid text");
    let outcome = run(&mut graph, rules::quant_fusion(), &mut Fuel::unlimited());
    assert_eq!(
        applied(&outcome),
        ["product_scalar mul", "scalar_relu mul_scalar relu"]
    );
    assert_eq!(
        ops(&graph),
        ["prim::Constant", "quantized::mul_scalar_relu"]
    );
}

#[test]
fn fuel_bounds_the_number_of_rewrites() {
    let text = "graph(%a : Tensor, %b : Tensor):
          %x : Tensor = aten::neg(%a)
          %y : Tensor = aten::neg(%b)
          return (%x, %y)\n";
    let set = RuleSet::parse(
        "test",
        "rule a\n  match return aten::neg(%x)\n  become return aten::abs(%x)\n",
    )
    .expect("a rule");
    for (fuel, expected) in [
        (0, ["aten::neg", "aten::neg"]),
        (1, ["aten::abs", "aten::neg"]),
        (9, ["aten::abs", "aten::abs"]),
    ] {
        let mut graph = parse_graph(text).expect("valid text");
        let outcome = run(&mut graph, &set, &mut Fuel::limited(fuel));
        assert_eq!(outcome.applied.len() as u64, fuel.min(2));
        assert_eq!(ops(&graph), expected);
    }
}

#[test]
fn the_first_rule_of_a_set_wins() {
    let set = RuleSet::parse(
        "test",
        "rule pair\n  match return aten::neg(aten::abs(%x))\n  become return aten::sin(%x)\nrule one\n  match return aten::neg(%x)\n  become return aten::cos(%x)\n",
    )
    .expect("rules");
    let mut graph = parse_graph("graph(%a : Tensor):\n  %x : Tensor = aten::abs(%a)\n  %y : Tensor = aten::neg(%x)\n  return (%y)\n").expect("valid text");
    assert_eq!(
        applied(&run(&mut graph, &set, &mut Fuel::unlimited())),
        ["pair"]
    );
    // A shared operand keeps the first rule off.
    let mut graph = parse_graph("graph(%a : Tensor):\n  %x : Tensor = aten::abs(%a)\n  %y : Tensor = aten::neg(%x)\n  return (%y, %x)\n").expect("valid text");
    assert_eq!(
        applied(&run(&mut graph, &set, &mut Fuel::unlimited())),
        ["one"]
    );
}

#[test]
fn a_repeated_value_must_be_one_value() {
    let set = RuleSet::parse(
        "test",
        "rule square\n  match return aten::mul.Tensor(%x, %x)\n  become return aten::square(%x)\n",
    )
    .expect("a rule");
    let text = "graph(%a : Tensor, %b : Tensor):
          %x : Tensor = aten::mul(%a, %a)
          %y : Tensor = aten::mul(%a, %b)
          return (%x, %y)\n";
    let mut graph = parse_graph(text).expect("valid text");
    run(&mut graph, &set, &mut Fuel::unlimited());
    assert_eq!(ops(&graph), ["aten::square", "aten::mul.Tensor"]);
}

#[test]
fn a_value_takes_the_place_of_what_is_equal_to_it() {
    let set = RuleSet::parse(
        "test",
        "rule twice\n  match return aten::neg(aten::neg(%x))\n  become return %x\n",
    )
    .expect("a rule");
    assert_eq!(set.rules()[0].becomes().as_ref(), "%x");
    assert!(
        set.rules()[0]
            .to_string()
            .ends_with("  become  return %x\n")
    );
    let text = |more: &str, result: &str| {
        format!(
            "graph(%a : Tensor):
              %x : Tensor = aten::abs(%a)
              %y : Tensor = aten::neg(%x)
              {more}
              %z : Tensor = aten::neg(%y)
              %u : Tensor = aten::sin(%z)
              return ({result})\n"
        )
    };
    for (more, result, left) in [
        ("", "%u", &["aten::abs", "aten::sin"][..]),
        // Others may read what is in between.
        ("", "%u, %y", &["aten::abs", "aten::neg", "aten::sin"]),
        // What is written to anywhere is a tensor of its own.
        (
            "%w : Tensor = aten::relu_(%y)",
            "%u",
            &[
                "aten::abs",
                "aten::neg",
                "aten::relu_",
                "aten::neg",
                "aten::sin",
            ],
        ),
    ] {
        let mut graph = parse_graph(&text(more, result)).expect("valid text");
        run(&mut graph, &set, &mut Fuel::unlimited());
        assert_eq!(ops(&graph), left, "{more} {result}");
    }
    // The caller would get its own tensor back.
    let mut graph = parse_graph("graph(%a : Tensor):\n  %y : Tensor = aten::neg(%a)\n  %z : Tensor = aten::neg(%y)\n  return (%z)\n").expect("valid text");
    assert!(
        run(&mut graph, &set, &mut Fuel::unlimited())
            .applied
            .is_empty()
    );
}

#[test]
fn an_unknown_operator_in_between_may_write_to_anything() {
    for (op, count) in [("mine::unknown", 0), ("aten::abs", 1)] {
        let text = format!(
            "graph(%a : Tensor, %b : Tensor):
              %x : Tensor = aten::abs(%a)
              %u : Tensor = {op}(%b)
              %y : Tensor = aten::neg(%x)
              return (%y, %u)\n"
        );
        let set = RuleSet::parse(
            "test",
            "rule pair\n  match return aten::neg(aten::abs(%x))\n  become return aten::sin(%x)\n",
        )
        .expect("a rule");
        let mut graph = parse_graph(&text).expect("valid text");
        let outcome = run(&mut graph, &set, &mut Fuel::unlimited());
        assert_eq!(outcome.applied.len(), count, "{op}");
    }
}

#[test]
fn writing_in_place_needs_a_tensor_that_nobody_else_sees() {
    let text = |a: &str, more: &str| {
        format!(
            "graph(%x : Tensor, %k : int):
              %f : Tensor = aten::neg(%x)
              %s : Tensor = quantized::add_scalar_out({a}, %k, {a})
              %r : Tensor = aten::relu(%s)
              return (%r{more})\n"
        )
    };
    for (text, count) in [
        (text("%f", ""), 1),
        (text("%f", ", %f"), 0),
        (text("%x", ""), 0),
    ] {
        let mut graph = parse_graph(&text).expect("valid text");
        let outcome = run(&mut graph, rules::quant_fusion(), &mut Fuel::unlimited());
        assert_eq!(outcome.applied.len(), count, "{text}");
    }
}

fn run<'r>(graph: &mut Graph, rules: &'r RuleSet, fuel: &mut Fuel) -> Outcome<'r> {
    let (model, written) = (
        GraphModule::new("__torch__.M".into(), "test"),
        Written::new(),
    );
    let mut facts = Facts::new(&model, graph, &written);
    rewrite(graph, rules, &mut facts, fuel, None)
}

fn applied<'r>(outcome: &Outcome<'r>) -> Vec<&'r str> {
    outcome
        .applied
        .iter()
        .map(|applied| applied.rule.name())
        .collect()
}

fn ops(graph: &Graph) -> Vec<String> {
    graph
        .walk()
        .map(|node| graph.node(node).op().to_string())
        .collect()
}

/// A graph that consists of the pattern of a rule, with operands that satisfy its guards.
fn graph_of(rule: &Rule) -> Graph {
    let mut graph = Graph::new();
    let mut values: HashMap<usize, ValueId> = HashMap::new();
    for guard in rule
        .guards
        .iter()
        .filter(|guard| guard.name == "quantized_like")
    {
        let entry = graph.entry();
        values
            .entry(guard.args[0])
            .or_insert_with(|| graph.add_param(entry, Type::TENSOR));
    }
    let mut root = None;
    for step in &rule.pattern {
        let schema = step
            .op
            .schema()
            .expect("the compiler refuses undeclared operators");
        let mut inputs = Vec::new();
        for (term, param) in step.inputs.iter().zip(&schema.params) {
            let value = match term {
                Term::Literal(literal) => constant(&mut graph, literal.clone()),
                Term::Var(var) => match values.get(var) {
                    Some(value) => *value,
                    None => operand(&mut graph, rule, *var, &param.ty, &values),
                },
            };
            if let Term::Var(var) = term {
                values.insert(*var, value);
            }
            inputs.push(value);
        }
        let end = At::End(graph.entry());
        let node = graph.insert(
            end,
            step.op,
            &inputs,
            schema.returns.iter().map(|ret| ret.ty.clone()),
        );
        values.extend(
            step.outputs
                .iter()
                .copied()
                .zip(graph.node(node).outputs().to_vec()),
        );
        root = Some(node);
    }
    let result = graph.output(root.expect("a pattern is not empty"));
    graph.set_results(graph.entry(), &[result]);
    graph
}

fn operand(
    graph: &mut Graph,
    rule: &Rule,
    var: usize,
    ty: &Type,
    values: &HashMap<usize, ValueId>,
) -> ValueId {
    let mut guards = rule
        .guards
        .iter()
        .filter_map(|guard| Some((guard, guard.args.iter().position(|arg| *arg == var)?)));
    if let Some((guard, place)) = guards.next() {
        let made = |graph: &mut Graph, op: &str, input: ValueId| -> NodeId {
            let end = At::End(graph.entry());
            graph.insert(end, Op::of(op), &[input], [ty.clone()])
        };
        match guard.name {
            "one" => return constant(graph, Literal::Int(1)),
            "number" => return constant(graph, Literal::Float(2.5)),
            "zero_dim" => return constant(graph, Literal::Tensor(Tensor::scalar(2.5_f32))),
            "quint8" => return constant(graph, Literal::Int(DType::QUInt8.code())),
            "is_true" => return constant(graph, Literal::Bool(true)),
            "is_false" => return constant(graph, Literal::Bool(false)),
            "none_or_float" => return constant(graph, Literal::None),
            "constant" => {
                let literal = match ty {
                    Type::Int => Literal::Int(1),
                    Type::List(_) => Literal::ints(&[1]),
                    _ => Literal::Tensor(Tensor::scalar(0.5_f32)),
                };
                return constant(graph, literal);
            }
            "attribute" => {
                let owner = constant(graph, Literal::None);
                let read = made(graph, "prim::GetAttr", owner);
                graph.set_attr(read, "name", Literal::str("weight"));
                return graph.output(read);
            }
            "matrix" => {
                let matrix = Tensor::from_values(&[1, 1], &[2_f32]);
                return constant(graph, Literal::Tensor(matrix.expect("one element")));
            }
            "bias_of" => {
                let shape = &[1, 1][1 - place..];
                let vector = Tensor::from_values(shape, &[2_f32]);
                return constant(graph, Literal::Tensor(vector.expect("one element")));
            }
            "int8_weight" => {
                let (scale, zero_point) = (0.5, 0);
                let qparams = QParams::PerTensor { scale, zero_point };
                return constant(graph, codes(DType::QInt8, qparams));
            }
            "quantized_like" => {
                let op = ["aten::q_scale", "aten::q_zero_point", "prim::dtype"][place - 1];
                let node = made(graph, op, values[&guard.args[0]]);
                return graph.output(node);
            }
            "gives_codes_back" => {
                let (scale, zero_point) = (0.5, 3);
                let qparams = QParams::PerTensor { scale, zero_point };
                return constant(
                    graph,
                    match place {
                        0 => codes(DType::QUInt8, qparams),
                        1 => Literal::Float(scale),
                        2 => Literal::Int(zero_point),
                        _ => Literal::Int(DType::QUInt8.code()),
                    },
                );
            }
            "gives_channels_back" => {
                let qparams = QParams::PerChannel {
                    scales: [0.5].into(),
                    zero_points: [3].into(),
                    axis: 0,
                };
                return constant(
                    graph,
                    match place {
                        0 => codes(DType::QInt8, qparams),
                        1 => Literal::Tensor(Tensor::from_values(&[1], &[0.5_f32]).expect("one")),
                        2 => Literal::Tensor(Tensor::from_values(&[1], &[3_i64]).expect("one")),
                        3 => Literal::Int(0),
                        _ => Literal::Int(DType::QInt8.code()),
                    },
                );
            }
            "private" => {
                let entry = graph.entry();
                let x = graph.add_param(entry, Type::TENSOR);
                let node = made(graph, "aten::neg", x);
                return graph.output(node);
            }
            // What is not known may be what they ask for.
            "quint8_codes" | "byte_codes" | "few_steps" => {}
            other => panic!("the test does not know the guard `{other}`"),
        }
    }
    let entry = graph.entry();
    graph.add_param(entry, ty.clone())
}

fn codes(dtype: DType, qparams: QParams) -> Literal {
    let codes = Tensor::new(dtype, &[1], vec![3_u8]);
    let codes = codes.and_then(|codes| codes.with_qparams(qparams));
    Literal::Tensor(codes.expect("one code"))
}

fn constant(graph: &mut Graph, literal: Literal) -> ValueId {
    graph.insert_constant(At::End(graph.entry()), literal)
}
