//! Fusion against PyTorch's, over the oracle cases: at least as many fused operators, no more quantize and dequantize operators.
//!
//! PyTorch's counts are those after Finalize, of the module that was never saved where that one fused more. planish's are taken right after
//! fusion and removal of dead code; a weight that freezing will quantize once does not count as quantized on each run.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use planish::ir::GraphModule;
use planish::ir::text::parse_module;
use planish::passes::rewrite::Rule;
use planish::passes::{
    Fuel, NoKernels, Options, PassCx, Pipeline, PipelineError, QuantType, RemarkKind, Remarks,
    kept_methods, rules,
};
use serde_json::Value;

/// Cases that differ, and why.
const DIFFERENT: [(&str, &str); 2] = [
    (
        "instance_norm_running_stats",
        "PyTorch drops the running statistics, defect B8 of its Finalize: planish makes batch norms",
    ),
    (
        "static_transformer",
        "the dequantized weights of two layer norms are equal, and freezing merges them",
    ),
];

/// The case that is refused instead: PyTorch's finalized module fails on its first run.
const REFUSED: &str = "conv_transpose2d_perchannel";

#[test]
fn every_case_is_fused_at_least_as_far_as_by_pytorch() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/oracle");
    let mut cases: Vec<_> = std::fs::read_dir(folder)
        .expect("the cases are in the repository")
        .map(|entry| entry.expect("readable").path())
        .collect();
    cases.sort();
    let (mut compared, mut different, mut fired, mut faults) =
        (0, BTreeSet::new(), BTreeSet::new(), Vec::new());
    for case in cases {
        let name = case
            .file_name()
            .expect("a folder has a name")
            .to_string_lossy()
            .into_owned();
        let Ok(meta) = std::fs::read_to_string(case.join("meta.json")) else {
            continue;
        };
        let meta: Value = serde_json::from_str(&meta).expect("the record of a case is JSON");
        let theirs = ["ops_after_mem", "ops_after"]
            .iter()
            .find_map(|key| meta[key].as_object());
        let (Some(theirs), Ok(module)) = (theirs, planish::import::open(case.join("before.pt")))
        else {
            continue;
        };
        let (ours, remarks) = match fuse(module, &meta) {
            Ok(fused) => fused,
            Err(error) => {
                assert_eq!(name, REFUSED, "{error}");
                continue;
            }
        };
        fired.extend(remarks.of(RemarkKind::Passed).map(|remark| remark.rule));
        let mut wanted: BTreeMap<String, i64> = BTreeMap::new();
        for (op, count) in theirs {
            // planish does not write in place to quantized tensors.
            *wanted.entry(op.replace("_out", "")).or_default() +=
                count.as_i64().unwrap_or_default();
        }
        compared += 1;
        let found = |op: &str| ours.get(op).copied().unwrap_or_default();
        let want = |op: &str| wanted.get(op).copied().unwrap_or_default();
        let mut wrong = Vec::new();
        for op in wanted.keys().filter(|op| op.starts_with("quantized::")) {
            // Where PyTorch leaves a relu behind an operator, planish makes one of both.
            let both = format!("{op}_relu");
            if found(op) < want(op) && found(op) + found(&both) < want(op) + want(&both) {
                wrong.push(format!("{op}: {} instead of {}", found(op), want(op)));
            }
        }
        for op in ["aten::dequantize", "aten::quantize_per_tensor"] {
            if found(op) > want(op) {
                wrong.push(format!("{op}: {} instead of {}", found(op), want(op)));
            }
        }
        if wrong.is_empty() {
            continue;
        }
        if DIFFERENT.iter().any(|(listed, _)| *listed == name) {
            different.insert(name);
        } else {
            let missed: Vec<String> = remarks
                .of(RemarkKind::Missed)
                .map(|remark| format!("\n    {remark}"))
                .collect();
            faults.push(format!("{name}: {}{}", wrong.join(", "), missed.concat()));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    assert!(compared > 200, "{compared} cases");
    for (name, reason) in DIFFERENT {
        assert!(
            different.contains(name),
            "{name} is no longer different: {reason}"
        );
    }
    // PyTorch's rules 22, 23, 34, 35, 57, 60, 62, 63, 66 and 82 fire on no module that its quantizer makes and saves: texts show them.
    for pass in ["quant_fusion", "insert_prepack_unpack", "quant_motion"] {
        fired.extend(fired_in_texts(pass));
    }
    let all = [
        rules::quant_fusion(),
        rules::dynamic(),
        rules::prepack(),
        rules::undo_prepack(),
        rules::pairs(),
    ];
    let names = all.iter().flat_map(|set| set.rules()).map(Rule::name);
    let silent: Vec<&str> = names.filter(|name| !fired.contains(*name)).collect();
    assert!(silent.is_empty(), "no case shows {}", silent.join(", "));
}

/// The rules that fire in the text cases of a pass.
fn fired_in_texts(pass: &str) -> BTreeSet<&'static str> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/cases")
        .join(pass);
    let mut fired = BTreeSet::new();
    for case in std::fs::read_dir(folder).expect("every pass has cases") {
        let text = std::fs::read_to_string(case.expect("readable").path()).expect("text");
        let mut module = parse_module(&text).expect("the cases are modules");
        let dynamic = text.contains("# quant-type: dynamic");
        let options = Options {
            quant_type: if dynamic {
                QuantType::Dynamic
            } else {
                QuantType::Static
            },
            ..Options::default()
        };
        let mut remarks = Remarks::default();
        let mut cx = PassCx {
            remarks: &mut remarks,
            kernels: &mut NoKernels,
            fuel: &mut Fuel::unlimited(),
            options: &options,
            observer: None,
        };
        let pipeline = Pipeline::parse(&pass.replace('_', "-")).expect("a pass");
        if pipeline.run(&mut module, &mut cx, &mut ()).is_ok() {
            let passed = remarks.of(RemarkKind::Passed);
            fired.extend(passed.map(|remark| remark.rule));
        }
    }
    fired
}

/// Runs everything up to fusion; returns the operators of `forward` by name, and what was said.
fn fuse(
    mut module: GraphModule,
    meta: &Value,
) -> Result<(BTreeMap<String, i64>, Remarks), PipelineError> {
    let names = meta["preserved"].as_array().into_iter().flatten();
    let options = Options {
        quant_type: if meta["qt"] == "static" {
            QuantType::Static
        } else {
            QuantType::Dynamic
        },
        preserved: names
            .filter_map(|name| Some(name.as_str()?.to_owned()))
            .collect(),
        ..Options::default()
    };
    let mut remarks = Remarks::default();
    let pipeline = Pipeline::parse(
        "inline,clear-profiling,insert-prepack-unpack,quant-motion,quant-fusion,dce",
    )
    .expect("passes by their names");
    let mut cx = PassCx {
        remarks: &mut remarks,
        kernels: &mut NoKernels,
        fuel: &mut Fuel::unlimited(),
        options: &options,
        observer: None,
    };
    pipeline.run(&mut module, &mut cx, &mut ())?;
    let mut ops = BTreeMap::new();
    for id in kept_methods(&module, &[]).expect("nothing is preserved") {
        let graph = &module.method(id).graph;
        for node in graph.walk() {
            let op = graph.node(node).op();
            let read = |value| {
                graph
                    .producer(value)
                    .is_some_and(|node| graph.node(node).op().is("prim::GetAttr"))
            };
            if !(op.is("aten::quantize_per_tensor") && read(graph.node(node).inputs()[0])) {
                *ops.entry(op.name().to_string()).or_default() += 1;
            }
        }
    }
    Ok((ops, remarks))
}
