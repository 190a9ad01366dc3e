//! The cases that `tools/import_fixtures.py` makes: graphs and outputs equal PyTorch's, before and after Finalize.

mod compare;

use std::path::{Path, PathBuf};

use compare::same_graph;
use planish_eval::{Contract, Interpreter, Tensor, Value};
use planish_import::open;
use planish_ir::text::parse_graph;
use planish_ir::{DType, Graph, GraphModule, ModuleId, Op, Sym};
use planish_passes::{FINALIZE, Fuel, NoKernels, Options, PassCx, Pipeline, QuantType, Remarks};
use safetensors::{Dtype, SafeTensors};

/// What the last bits of float sums may make of values of the size of these, relative to the largest.
const LAST_BITS: f64 = 1e-6;

/// Cases that PyTorch's Finalize leaves in float, so that its outputs are others.
const BETTER: [(&str, &str); 1] = [(
    "iface_attr_dynamic",
    "PyTorch fuses nothing behind an interface (defect B9 of its Finalize)",
)];

#[test]
fn graphs_and_outputs_equal_pytorchs() {
    let folder = match std::env::var_os("PLANISH_IMPORT_DIR") {
        Some(folder) => PathBuf::from(folder),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures"),
    };
    let (mut cases, mut faults) = (0, Vec::new());
    for case in cases_of(&folder) {
        cases += 1;
        if let Err(fault) = check(&case) {
            let name = case.file_name().unwrap_or_default().to_string_lossy();
            faults.push(format!("{name}: {fault}"));
        }
    }
    let count = faults.len();
    assert!(
        faults.is_empty(),
        "{count} of {cases}:\n{}",
        faults.join("\n")
    );
    assert!(cases > 0);
}

fn cases_of(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).expect("the cases are in the repository");
    let cases = entries.map(|entry| entry.expect("a folder can be listed").path());
    let mut cases: Vec<PathBuf> = cases.filter(|case| case.is_dir()).collect();
    cases.sort();
    cases
}

fn check(case: &Path) -> Result<(), String> {
    let read = |name: &str| std::fs::read(case.join(name)).map_err(|e| format!("{name}: {e}"));
    let meta: serde_json::Value =
        serde_json::from_slice(&read("meta.json")?).map_err(|e| e.to_string())?;
    let mut model = open(case.join("before.pt")).map_err(|e| format!("failed to {e}"))?;
    planish_ir::verify(&model).map_err(|e| format!("{e:?}"))?;
    check_graphs(&model, &String::from_utf8_lossy(&read("before.ir")?))?;

    let tensors = read("tensors.safetensors")?;
    let file = SafeTensors::deserialize(&tensors).map_err(|e| e.to_string())?;
    if !file.names().iter().any(|name| name.starts_with("before")) {
        return Ok(());
    }
    check_outputs(&model, &file, "before")?;
    finalize(&mut model, &meta)?;
    // PyTorch changes numbers only where it quantizes; where its Finalize fails there is nothing to compare with but the module before.
    let is_finalized = file.names().iter().any(|name| name.starts_with("after"));
    let after = if is_finalized {
        "after_fbgemm"
    } else {
        "before"
    };
    let found = check_outputs(&model, &file, after);
    let name = case.file_name().unwrap_or_default().to_string_lossy();
    match BETTER.iter().find(|(better, _)| *better == name) {
        None => found.map_err(|fault| format!("finalized: {fault}")),
        Some(_) if found.is_err() => Ok(()),
        Some((_, why)) => Err(format!("the same as PyTorch's, though {why}")),
    }
}

/// Compares every graph of a `before.ir`.
fn check_graphs(model: &GraphModule, text: &str) -> Result<(), String> {
    for section in text.split("# module ").skip(1) {
        let (head, text) = section.split_once('\n').unwrap_or((section, ""));
        let words: Vec<&str> = head.split_whitespace().collect();
        let [path, "type", _, "method", method] = words[..] else {
            return Err(format!("a section is headed {head}"));
        };
        let place = format!("{path}.{method}");
        let wanted = parse_graph(text).map_err(|e| format!("{place}: PyTorch's text: {e}"))?;
        let found = find(model, path, method).ok_or_else(|| format!("{place} is missing"))?;
        same_graph(found, &wanted).map_err(|difference| format!("{place}: {difference}"))?;
        // These texts say which overload each operator is.
        let pairs = overloads(found).into_iter().zip(overloads(&wanted));
        if let Some((ours, theirs)) = pairs.into_iter().find(|(ours, theirs)| ours != theirs) {
            return Err(format!("{place}: {ours} instead of {theirs}"));
        }
    }
    Ok(())
}

/// The declared operators in program order. PyTorch names the first overload of `EnumValue`, whatever the value.
fn overloads(graph: &Graph) -> Vec<Op> {
    let ops = graph.walk().map(|node| graph.node(node).op());
    ops.filter(|op| op.schema().is_some() && !op.is("prim::EnumValue"))
        .collect()
}

fn find<'m>(model: &'m GraphModule, path: &str, method: &str) -> Option<&'m Graph> {
    let mut module: ModuleId = model.root();
    if path != "<root>" {
        let names: Vec<Sym> = path.split('.').map(Sym::new).collect();
        module = model.resolve(module, &names)?;
    }
    Some(&model.method(model.find_method(module, method)?).graph)
}

fn finalize(model: &mut GraphModule, meta: &serde_json::Value) -> Result<(), String> {
    let preserved = meta["preserved"].as_array().into_iter().flatten();
    let options = Options {
        quant_type: if meta["qt"] == "dynamic" {
            QuantType::Dynamic
        } else {
            QuantType::Static
        },
        preserved: preserved
            .filter_map(|name| name.as_str().map(str::to_owned))
            .collect(),
        ..Options::default()
    };
    let mut cx = PassCx {
        remarks: &mut Remarks::default(),
        kernels: &mut NoKernels,
        fuel: &mut Fuel::unlimited(),
        options: &options,
        observer: None,
    };
    let ran = Pipeline::new(FINALIZE)
        .verify_each()
        .run(model, &mut cx, &mut ());
    ran.map(drop).map_err(|e| format!("failed to {e}"))
}

fn check_outputs(model: &GraphModule, file: &SafeTensors<'_>, wanted: &str) -> Result<(), String> {
    let inputs = (0..).map_while(|at| tensor(file, &format!("input.{at}")));
    let inputs: Vec<Value> = inputs.map(Value::from).collect();
    let expected: Vec<Tensor> = match tensor(file, wanted) {
        Some(only) => vec![only],
        None => (0..)
            .map_while(|at| tensor(file, &format!("{wanted}{at}")))
            .collect(),
    };
    let output = Interpreter::new(model, Contract::Fbgemm)
        .call_method("forward", &inputs)
        .map_err(|e| format!("{wanted}: {e}"))?;
    let outputs = flat(&output);
    if outputs.len() != expected.len() {
        return Err(format!("{wanted}: {} outputs", outputs.len()));
    }
    for (found, expected) in outputs.iter().zip(&expected) {
        if found.shape() != expected.shape() {
            return Err(format!("{wanted}: {found:?} instead of {expected:?}"));
        }
        let (found, expected) = (numbers(found), numbers(expected));
        let largest = expected
            .iter()
            .fold(1.0, |most: f64, at| most.max(at.abs()));
        let pairs = found.iter().zip(&expected).enumerate();
        for (at, (found, expected)) in pairs {
            if (found - expected).abs() > LAST_BITS * largest {
                return Err(format!(
                    "{wanted}: element {at} is {found} and not {expected}"
                ));
            }
        }
    }
    Ok(())
}

fn numbers(tensor: &Tensor) -> Vec<f64> {
    let floats = tensor.to_f32().expect("numbers");
    floats.into_iter().map(f64::from).collect()
}

fn tensor(file: &SafeTensors<'_>, name: &str) -> Option<Tensor> {
    let view = file.tensor(name).ok()?;
    let dtype = match view.dtype() {
        Dtype::F32 => DType::Float,
        Dtype::F64 => DType::Double,
        Dtype::I64 => DType::Long,
        Dtype::I32 => DType::Int,
        Dtype::BOOL => DType::Bool,
        other => panic!("{name} has elements of type {other:?}"),
    };
    let shape: Vec<i64> = view.shape().iter().map(|size| *size as i64).collect();
    let tensor = planish_ir::Tensor::new(dtype, &shape, view.data().to_vec());
    Some(Tensor::from(&tensor.expect("a whole tensor")))
}

fn flat(value: &Value) -> Vec<Tensor> {
    match value {
        Value::Tensor(tensor) => vec![tensor.clone()],
        Value::Tuple(items) => items.iter().flat_map(flat).collect(),
        Value::List(list) => list.to_vec().iter().flat_map(flat).collect(),
        other => panic!("an output is {}", other.kind()),
    }
}
