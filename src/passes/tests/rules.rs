//! The rules against PyTorch's table of patterns, as data.

use std::collections::HashMap;

use planish_passes::rewrite::{Rule, RuleSet};
use planish_passes::rules;
use serde_json::Value;

/// Where a replacement differs from PyTorch's on purpose: the row, and what planish puts instead.
///
/// PyTorch writes in place to the quantized tensor what the float graph wrote to a private copy of it.
const OUT_OF_PLACE: [(u32, &str); 7] = [
    (19, "quantized::add_scalar(in0, in1)"),
    (31, "quantized::mul_scalar(in0, in1)"),
    (71, "aten::hardtanh(in0, in1, in5)"),
    (73, "aten::leaky_relu(in0, in1)"),
    (75, "aten::hardsigmoid(in0)"),
    (77, "aten::sigmoid(in0)"),
    (79, "aten::tanh(in0)"),
];

/// Guards that PyTorch does not have, and the rows that have them.
const MORE_GUARDS: [(&str, &[std::ops::RangeInclusive<u32>]); 9] = [
    // The fused operator makes quint8.
    ("quint8", &[0..=17, 24..=29, 36..=48, 80..=80]),
    // The fused operator knows no training.
    ("is_false", &[27..=29]),
    // The fused operator drops running statistics.
    ("is_true", &[46..=46]),
    // The quantized operator cannot change its type.
    ("none_or_float", &[55..=56]),
    // The quantized operator keeps its input's scale and zero point.
    ("quantized_like", &[69..=71]),
    // Writing in place must have no witness.
    ("private", &[22..=23, 34..=35]),
    // Packing happens once.
    ("int8_weight", &[83..=83, 85..=89]),
    ("constant", &[83..=89]),
    ("zero_dim", &[]),
];

#[test]
fn every_pattern_of_pytorch_is_a_rule() {
    let table: Vec<Value> =
        serde_json::from_str(include_str!("../../../tests/fixtures/patterns_table.json"))
            .expect("the table is JSON");
    let rules: HashMap<u32, &Rule> = rules::sets()
        .iter()
        .flat_map(|(_, set)| set.rules())
        .map(|rule| (rule.number(), rule))
        .collect();
    assert_eq!(table.len(), 90);
    let mut faults = Vec::new();
    for row in &table {
        let number = row["order"].as_u64().expect("numbered") as u32;
        let Some(rule) = rules.get(&number) else {
            faults.push(format!("row {number} has no rule"));
            continue;
        };
        let ours = Body::of_rule(rule);
        let theirs = Body::of_row(row);
        let (pattern, replacement) = ours.canonical();
        let (their_pattern, mut their_replacement) = theirs.canonical();
        if let Some((_, text)) = OUT_OF_PLACE.iter().find(|(row, _)| *row == number) {
            assert_ne!(
                their_replacement, *text,
                "row {number} is listed as different"
            );
            their_replacement = (*text).to_owned();
        }
        if pattern != their_pattern || replacement != their_replacement {
            faults.push(format!("{rule}\nours:   {pattern} => {replacement}\ntheirs: {their_pattern} => {their_replacement}"));
        }
        let filters = row["filters"].as_str().unwrap_or_default();
        for (guard, filter) in [("one", "alpha==1"), ("number", "b is scalar")] {
            assert_eq!(
                ours.guards.iter().any(|found| found == guard),
                filters.contains(filter),
                "{guard} of row {number}"
            );
        }
        for (guard, rows) in MORE_GUARDS {
            let listed = rows.iter().any(|rows| rows.contains(&number));
            assert_eq!(
                ours.guards.iter().any(|found| found == guard),
                listed,
                "{guard} of row {number}"
            );
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn the_sets_have_the_rows_that_pytorch_gives_them() {
    let numbers = |set: &RuleSet| set.rules().iter().map(Rule::number).collect::<Vec<_>>();
    assert_eq!(
        numbers(rules::quant_fusion()),
        (0..80).chain(90..98).chain(150..166).collect::<Vec<_>>()
    );
    assert_eq!(numbers(rules::dynamic()), [80, 81, 82]);
    assert_eq!(numbers(rules::prepack()), (83..90).collect::<Vec<_>>());
    assert_eq!(
        numbers(rules::undo_prepack()),
        (100..107).collect::<Vec<_>>()
    );
}

#[test]
fn names_and_numbers_are_unique_over_all_sets() {
    let mut seen = HashMap::new();
    for rule in rules::sets().iter().flat_map(|(_, set)| set.rules()) {
        assert_eq!(
            seen.insert(rule.name().to_owned(), rule.number()),
            None,
            "{}",
            rule.name()
        );
    }
    assert_eq!(
        seen.values()
            .collect::<std::collections::HashSet<_>>()
            .len(),
        seen.len()
    );
}

#[test]
fn rules_of_a_set_overlap_only_where_priority_decides_on_purpose() {
    // Of each pair the second takes any operand where the first asks for one that is quantized, dequantized or made of a number.
    let expected = [
        "quant-fusion: 24 sum add | 90 sum_zero_dim add",
        "quant-fusion: 25 sum add_ | 91 sum_zero_dim add_",
        "quant-fusion: 40 product mul | 92 product_zero_dim mul",
        "quant-fusion: 41 product mul_ | 93 product_zero_dim mul_",
        "quant-fusion: 46 instance_norm | 97 instance_norm_running",
        "quant-fusion: 69 clamped clamp | 94 clamped_tensor clamp",
        "quant-fusion: 70 clamped hardtanh | 95 clamped_tensor hardtanh",
        "quant-fusion: 71 clamped hardtanh_ | 96 clamped_tensor hardtanh_",
        "dynamic: 80 linear_dynamic | 82 linear_dynamic_float",
    ];
    assert_eq!(rules::overlaps().lines().collect::<Vec<_>>(), expected);
}

#[test]
fn a_wrong_rule_is_refused_with_its_line() {
    let faulty = [
        (
            "rule a\n  match return aten::relu(%x)\n",
            "1: `a` has no match or no become",
        ),
        (
            "rule a\n  match return aten::relu(%x, %y)\n  become return aten::relu(%x)\n",
            "2: `aten::relu` takes 1 and returns 1, not 2 and 1",
        ),
        (
            "rule a\n  match return aten::nothing(%x)\n  become return aten::relu(%x)\n",
            "2: `aten::nothing` is not declared",
        ),
        (
            "rule a\n  match return aten::relu(%x)\n  become return aten::relu(%y)\n",
            "3: %y is unknown",
        ),
        (
            "rule a\n  match %y = aten::relu(%x)\n  return aten::sigmoid(%y)\n  become return aten::tanh(%y)\n",
            "4: %y is computed inside the pattern",
        ),
        (
            "rule a\n  match %y = aten::relu(%x)\n  return aten::sigmoid(%x)\n  become return aten::tanh(%x)\n",
            "1: `aten::relu` does not contribute",
        ),
        (
            "rule a\n  match return aten::relu(%x)\n  become return aten::tanh(%x)\n  where never(%x)\n",
            "4: there is no guard `never`",
        ),
        (
            "rule a\n  match return aten::relu(%x)\n  become return aten::tanh(%x)\n  where one(%y)\n",
            "4: %y is not an input",
        ),
        (
            "family f(op)\n  match return aten::{op}(%x)\n  become return aten::{po}(%x)\ntable f\n  | op\n  | relu\n",
            "3: there is no hole `po`",
        ),
        (
            "family f(op)\n  match return aten::{op}(%x)\n  become return aten::tanh(%x)\ntable f\n  | po\n  | relu\n",
            "5: the table's head is not `op`",
        ),
        ("table f\n", "1: there is no family `f` above"),
        (
            "rule a\n  match return aten::relu(aten::tanh(%x))\n  become return %y\n",
            "3: %y is unknown",
        ),
        (
            "rule a\n  match %y = aten::tanh(%x)\n  return aten::relu(%y)\n  become return %y\n",
            "4: %y is computed inside the pattern",
        ),
        (
            "rule a\n  match return aten::relu(%x\n  become return aten::relu(%x)\n",
            "2: `,` or `)` is expected before ``",
        ),
    ];
    for (text, expected) in faulty {
        let error = RuleSet::parse("test", text).expect_err(text).to_string();
        assert!(
            error.starts_with(&format!("read rules test:{expected}")),
            "{error}"
        );
    }
}

/// A rule as names, so that it can be compared whatever its values are called.
struct Body {
    pattern: Vec<Step>,
    replacement: Vec<Step>,
    guards: Vec<String>,
}

struct Step {
    outputs: Vec<String>,
    op: String,
    inputs: Vec<String>,
}

impl Body {
    /// Reads the text of a rule.
    fn of_rule(rule: &Rule) -> Self {
        let mut body = Self {
            pattern: Vec::new(),
            replacement: Vec::new(),
            guards: Vec::new(),
        };
        let mut part = "match";
        for line in rule.to_string().lines().skip(1) {
            let word = line.get(2..8).unwrap_or_default().trim();
            if !word.is_empty() {
                part = match word {
                    "match" => "match",
                    "become" => "become",
                    _ => "where",
                };
            }
            let text = line.get(8..).unwrap_or_default().trim();
            match part {
                "where" => body
                    .guards
                    .push(text.split('(').next().unwrap_or_default().to_owned()),
                "match" => body.pattern.push(Step::read(text)),
                _ => body.replacement.push(Step::read(text)),
            }
        }
        body
    }

    fn of_row(row: &Value) -> Self {
        let mut constants = HashMap::new();
        let mut steps = |key: &str| -> Vec<Step> {
            let mut steps = Vec::new();
            for step in row[key].as_array().expect("a list") {
                let names = |key: &str| {
                    step[key]
                        .as_array()
                        .expect("a list")
                        .iter()
                        .map(|name| name.as_str().expect("a name").to_owned())
                        .collect::<Vec<_>>()
                };
                let outputs = names("out");
                if step["op"] == "prim::Constant" {
                    let value = step["attr"].as_str().map_or("none", |attr| {
                        attr.trim_start_matches("[value=").trim_end_matches(']')
                    });
                    constants.insert(outputs[0].clone(), value.to_owned());
                    continue;
                }
                let inputs = names("args")
                    .into_iter()
                    .map(|name| constants.get(&name).cloned().unwrap_or(name))
                    .collect();
                steps.push(Step {
                    outputs,
                    op: step["op"].as_str().expect("an operator").to_owned(),
                    inputs,
                });
            }
            steps
        };
        Self {
            pattern: steps("chain"),
            replacement: steps("replacement"),
            guards: Vec::new(),
        }
    }

    /// Pattern and replacement as nested calls; inputs are numbered in the order in which the pattern reads them.
    fn canonical(&self) -> (String, String) {
        let mut inputs = Vec::new();
        let pattern = nested(&self.pattern, &mut inputs);
        let read = inputs.len();
        let replacement = nested(&self.replacement, &mut inputs);
        assert_eq!(
            inputs.len(),
            read,
            "the replacement reads what the pattern does not: {inputs:?}"
        );
        (pattern, replacement)
    }
}

impl Step {
    fn read(text: &str) -> Self {
        let (outputs, call) = if let Some(call) = text.strip_prefix("return ") {
            (vec!["result".to_owned()], call)
        } else {
            let (outputs, call) = text.split_once(" = ").expect("an assignment");
            (outputs.split(", ").map(str::to_owned).collect(), call)
        };
        let (op, inputs) = call
            .strip_suffix(')')
            .and_then(|call| call.split_once('('))
            .expect("a call");
        let name = op.rsplit_once("::").expect("a qualified name");
        let op = format!(
            "{}::{}",
            name.0,
            name.1.split('.').next().unwrap_or_default()
        );
        // PyTorch's constant is 1, of type bool.
        let inputs = inputs
            .split(", ")
            .map(|input| if input == "true" { "1" } else { input }.to_owned())
            .collect();
        Self {
            outputs,
            op,
            inputs,
        }
    }
}

fn nested(steps: &[Step], inputs: &mut Vec<String>) -> String {
    fn value(steps: &[Step], name: &str, inputs: &mut Vec<String>) -> String {
        let made = steps
            .iter()
            .find_map(|step| Some((step, step.outputs.iter().position(|output| output == name)?)));
        match made {
            Some((step, 0)) => call(steps, step, inputs),
            Some((step, at)) => format!("{}.{at}", call(steps, step, inputs)),
            None if name.starts_with('%') => {
                let at = inputs
                    .iter()
                    .position(|input| input == name)
                    .unwrap_or_else(|| {
                        inputs.push(name.to_owned());
                        inputs.len() - 1
                    });
                format!("in{at}")
            }
            None => name.to_owned(),
        }
    }
    fn call(steps: &[Step], step: &Step, inputs: &mut Vec<String>) -> String {
        let operands: Vec<String> = step
            .inputs
            .iter()
            .map(|input| value(steps, input, inputs))
            .collect();
        format!("{}({})", step.op, operands.join(", "))
    }
    call(steps, steps.last().expect("not empty"), inputs)
}
