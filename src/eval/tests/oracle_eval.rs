//! PyTorch's cases, run before Finalize and after planish's own, against what PyTorch itself computed.
//!
//! Operators on floats are computed in the order of the libraries that PyTorch calls, so outputs are equal to the bit, but those of
//! dynamic linear maps by oneDNN.

use std::path::{Path, PathBuf};

use planish_eval::{Contract, Interpreter, Tensor, Value};
use planish_import as import;
use planish_ir::{DType, GraphModule};
use planish_passes::{FINALIZE, Fuel, NoKernels, Options, PassCx, Pipeline, QuantType, Remarks};
use safetensors::{Dtype, SafeTensors};

/// What the last bits of oneDNN's dynamic linear maps, which differ from processor to processor, may make of values of this size.
const LAST_BITS: f32 = 5e-7;

/// The engines that PyTorch's finalized modules ran on.
const ENGINES: [&str; 4] = ["after_fbgemm", "after_qnnpack", "after_onednn", "after_x86"];

/// Outputs of PyTorch that are wrong: what its Finalize changes in a module, or what some of its engines get wrong.
const PYTORCH_DEFECTS: [(&str, &[&str], &str); 9] = [
    (
        "instance_norm_running_stats",
        &ENGINES,
        "B8: running statistics are dropped",
    ),
    (
        "scalar_add_",
        &ENGINES,
        "B4: the quantized operand is written to",
    ),
    (
        "scalar_add__relu",
        &ENGINES,
        "B4: the quantized operand is written to",
    ),
    (
        "scalar_add__relu_",
        &ENGINES,
        "B4: the quantized operand is written to",
    ),
    (
        "op_avg_pool2d_div",
        &["after_qnnpack"],
        "the divisor is ignored",
    ),
    ("conv_transpose1d", ONEDNN, TRANSPOSED),
    ("conv_transpose2d", ONEDNN, TRANSPOSED),
    ("conv_transpose2d_relu", ONEDNN, TRANSPOSED),
    ("conv_transpose2d_relu_", ONEDNN, TRANSPOSED),
];

/// The engines that convolve by oneDNN.
const ONEDNN: &[&str] = &["after_onednn", "after_x86"];
const TRANSPOSED: &str =
    "B7: oneDNN's transposed convolutions are right for as many inputs as outputs only";

#[test]
fn modules_compute_what_pytorch_computes() {
    let (mut compared, mut faults) = (0, Vec::new());
    for folder in cases() {
        let Some(case) = Case::open(&folder) else {
            continue;
        };
        let finalized = case.finalized();
        let x86 = finalized.as_ref().map_or(Contract::Fbgemm, contract_of_x86);
        let runs = [
            (Some(&case.module), "before", Contract::Fbgemm),
            (finalized.as_ref(), "after_fbgemm", Contract::Fbgemm),
            (finalized.as_ref(), "after_qnnpack", Contract::Qnnpack),
            (finalized.as_ref(), "after_onednn", Contract::Onednn),
            (finalized.as_ref(), "after_x86", x86),
        ];
        for (module, expected, contract) in runs {
            let Some(module) = module else { continue };
            let defect = PYTORCH_DEFECTS
                .iter()
                .any(|(name, outputs, _)| *name == case.name && outputs.contains(&expected));
            match case.run(module, expected, contract) {
                Outcome::Equal if !defect => compared += 1,
                Outcome::Fault(_) if defect => {}
                Outcome::Fault(fault) => faults.push(format!("{}: {fault}", case.name)),
                Outcome::Equal => {
                    faults.push(format!("{}: PyTorch's defect is gone", case.name));
                }
                Outcome::NothingToCompare => {}
            }
        }
    }
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
    assert!(compared > 950, "{compared} are equal");
}

/// PyTorch's engine `x86` convolves by oneDNN and takes linear maps from FBGEMM; no case has both.
fn contract_of_x86(module: &GraphModule) -> Contract {
    let convolves = module.named_methods().into_iter().any(|method| {
        let graph = &module.method(method).graph;
        let mut names = graph.walk().map(|node| graph.node(node).op().name());
        names.any(|name| name.as_str().starts_with("quantized::conv"))
    });
    if convolves {
        Contract::Onednn
    } else {
        Contract::Fbgemm
    }
}

/// How the outputs of a module compare with PyTorch's.
enum Outcome {
    Equal,
    Fault(String),
    NothingToCompare,
}

/// A case: a module, its inputs and PyTorch's outputs.
struct Case {
    name: String,
    module: GraphModule,
    tensors: Vec<u8>,
    dynamic: bool,
}

impl Case {
    fn open(folder: &Path) -> Option<Self> {
        let name = folder.file_name()?.to_string_lossy().into_owned();
        let meta = std::fs::read_to_string(folder.join("meta.json")).ok()?;
        let meta: serde_json::Value = serde_json::from_str(&meta).ok()?;
        Some(Self {
            tensors: std::fs::read(folder.join("tensors.safetensors")).ok()?,
            module: import::open(folder.join("before.pt")).ok()?,
            dynamic: meta["qt"] == "dynamic",
            name,
        })
    }

    /// The module after planish's Finalize; `None` when that refuses it.
    fn finalized(&self) -> Option<GraphModule> {
        let mut module = self.module.clone();
        let quant_type = if self.dynamic {
            QuantType::Dynamic
        } else {
            QuantType::Static
        };
        let (mut remarks, mut fuel) = (Remarks::default(), Fuel::unlimited());
        let mut cx = PassCx {
            remarks: &mut remarks,
            kernels: &mut NoKernels,
            fuel: &mut fuel,
            options: &Options {
                quant_type,
                ..Options::default()
            },
            observer: None,
        };
        Pipeline::new(FINALIZE)
            .verify_each()
            .run(&mut module, &mut cx, &mut ())
            .ok()?;
        Some(module)
    }

    fn run(&self, module: &GraphModule, expected: &str, contract: Contract) -> Outcome {
        let file = SafeTensors::deserialize(&self.tensors).expect("a file of tensors");
        let inputs = (0..).map_while(|at| tensor(&file, &format!("input.{at}")));
        let inputs: Vec<Value> = inputs.map(Value::from).collect();
        // A module with several outputs has one tensor for each, numbered.
        let wanted: Vec<Tensor> = match tensor(&file, expected) {
            Some(only) => vec![only],
            None => (0..)
                .map_while(|at| tensor(&file, &format!("{expected}{at}")))
                .collect(),
        };
        if wanted.is_empty() {
            return Outcome::NothingToCompare;
        }
        let mut interpreter = Interpreter::new(module, contract);
        let outputs = match interpreter.call_method("forward", &inputs) {
            Ok(value) => flat(&value),
            Err(error) => return Outcome::Fault(format!("{expected}: {error}")),
        };
        let pairs: Vec<_> = outputs.iter().zip(&wanted).collect();
        if let Some((got, want)) = pairs.iter().find(|(got, want)| got.shape() != want.shape()) {
            return Outcome::Fault(format!("{expected}: {got:?} instead of {want:?}"));
        }
        let values = |tensor: &Tensor| tensor.to_f32().expect("floats");
        let pairs = pairs
            .into_iter()
            .map(|(got, want)| (values(got), values(want)));
        let pairs: Vec<(f32, f32)> = pairs
            .flat_map(|(got, want)| got.into_iter().zip(want))
            .collect();
        let wrong = pairs.iter().filter(|(got, want)| got != want).count();
        let close = expected == "after_onednn"
            && pairs
                .iter()
                .all(|(got, want)| (got - want).abs() <= LAST_BITS);
        if wrong == 0 || close {
            Outcome::Equal
        } else {
            let most = pairs
                .iter()
                .map(|(got, want)| (got - want).abs())
                .fold(0.0, f32::max);
            Outcome::Fault(format!(
                "{expected}: {wrong} of {} differ, by up to {most}",
                pairs.len()
            ))
        }
    }
}

fn cases() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/oracle");
    let entries = std::fs::read_dir(folder).expect("the cases are in the repository");
    let mut cases: Vec<PathBuf> = entries
        .map(|entry| entry.expect("readable").path())
        .collect();
    cases.sort();
    cases
}

fn tensor(file: &SafeTensors<'_>, name: &str) -> Option<Tensor> {
    let view = file.tensor(name).ok()?;
    let dtype = match view.dtype() {
        Dtype::F32 => DType::Float,
        Dtype::I64 => DType::Long,
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
