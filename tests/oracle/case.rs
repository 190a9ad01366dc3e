//! One case: a module, what PyTorch made of it, and what planish makes of it.

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

use planish::FinalizeError;
use planish::eval::{Contract, Interpreter, Value, to_literal};
use planish::ir::text::parse_graphs;
use planish::ir::{DType, Graph, GraphModule, Tensor};
use planish::passes::{
    FINALIZE, Fuel, NoKernels, Options, PassCx, Proof, Prover, QuantType, Remarks,
};
use planish::prelude::*;
use safetensors::{Dtype, SafeTensors};

use crate::defects::Defect;
use crate::float;

/// A case of the oracle.
#[derive(Clone)]
pub(crate) struct Case {
    pub(crate) name: String,
    folder: PathBuf,
}

/// What came of a case.
pub(crate) enum Found {
    /// PyTorch could not make the module: there is nothing to compare with, and no file.
    Absent,
    /// Nothing of what PyTorch does differs.
    Equal(Equality),
    /// Something differs: in what, and how.
    Different(Vec<(Kind, String)>),
    /// PyTorch fails, and planish refuses the module too.
    BothRefuse,
    /// PyTorch's finalized module is wrong in a known way, and planish's is shown to differ in nothing else.
    Beside(Defect),
}

/// How equal outputs are.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Equality {
    /// To the bit.
    Exact,
    /// To the bit with the module before Finalize: PyTorch's finalized module fails.
    Better,
    /// Nearly, as only cases from elsewhere may be: operators remain whose results are not pinned to the bit.
    Near,
}

/// Ways to differ from PyTorch.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Kind {
    /// Outputs differ.
    Outputs,
    /// The finalized module raises an error.
    Raised,
    /// More is left in float, or quantized on each run.
    Leftover,
    /// planish refuses a module that PyTorch finalizes.
    Refused,
    /// planish does not know an operator or a construct yet.
    NotYet,
    /// The finalized module cannot be made a program, or the program answers something else than the evaluator.
    Program,
}

/// What outputs are compared with.
struct Expected {
    outputs: Outputs,
    contract: Contract,
    /// The finalized module fails in PyTorch, so these are the outputs of the module before.
    simulated: bool,
}

/// Tensors of an answer, by the names that the cases' files give them.
pub(crate) type Outputs = Vec<(String, Tensor)>;

/// No tolerance.
pub(crate) const EXACT: f64 = 0.0;

impl Found {
    /// What differs from PyTorch's.
    pub(crate) fn differences(&self) -> &[(Kind, String)] {
        match self {
            Self::Different(found) => found,
            _ => &[],
        }
    }
}

impl Case {
    /// The cases in a folder, by name.
    pub(crate) fn all(folder: &Path) -> Vec<Self> {
        let entries = fs::read_dir(folder)
            .unwrap_or_else(|error| panic!("failed to read {}: {error}", folder.display()));
        let folders = entries.filter_map(|entry| Some(entry.ok()?.path()));
        let mut cases: Vec<Self> = folders
            .filter(|path| path.join("meta.json").exists() || path.join("before.pt").exists())
            .map(|folder| Self {
                name: folder
                    .file_name()
                    .unwrap_or_default()
                    .to_string_lossy()
                    .into_owned(),
                folder,
            })
            .collect();
        assert!(
            !cases.is_empty(),
            "{} has no folders with a meta.json",
            folder.display()
        );
        cases.sort_by(|a, b| a.name.cmp(&b.name));
        cases
    }

    /// Imports the module; `None` when PyTorch could not make it.
    pub(crate) fn import(&self) -> Option<Result<GraphModule, planish::import::Error>> {
        let file = self.folder.join("before.pt");
        file.exists().then(|| planish::import::open(file))
    }

    /// How the case is finalized.
    pub(crate) fn finalize<'p>(&self, target: Target) -> Finalize<'p> {
        let options = self.options();
        Finalize::for_target(target)
            .quant_type(options.quant_type)
            .preserve(options.preserved)
    }

    fn options(&self) -> Options {
        let meta = self.meta();
        let preserved = meta["preserved"].as_array().into_iter().flatten();
        Options {
            quant_type: match meta["qt"].as_str() {
                Some("dynamic") => QuantType::Dynamic,
                Some("static") => QuantType::Static,
                _ => panic!(
                    "meta.json of {}: `qt` is {} instead of \"static\" or \"dynamic\"",
                    self.name, meta["qt"]
                ),
            },
            preserved: preserved
                .filter_map(|name| Some(name.as_str()?.to_owned()))
                .collect(),
            ..Options::default()
        }
    }

    /// Proves every rewrite that finalizing the case takes; `None` when there is no module, or it is refused.
    pub(crate) fn prove(&self) -> Result<Option<Proof>, String> {
        let Some(Ok(mut module)) = self.import() else {
            return Ok(None);
        };
        let options = self.options();
        let inputs = self.inputs();
        let inputs: Result<_, _> = inputs.iter().map(to_literal).collect();
        let mut prover = Prover::new(&options, inputs.map_err(|error| error.to_string())?);
        let mut cx = PassCx {
            remarks: &mut Remarks::default(),
            kernels: &mut NoKernels,
            fuel: &mut Fuel::unlimited(),
            options: &options,
            observer: Some(&mut prover),
        };
        let refused = self
            .finalize(Target::host())
            .graph_only(&mut module.clone())
            .is_err();
        match Pipeline::new(FINALIZE)
            .verify_each()
            .run(&mut module, &mut cx, &mut ())
        {
            Ok(_) => Ok(Some(prover.proof().clone())),
            // What is refused is compared with what PyTorch refuses elsewhere.
            Err(_) if refused => Ok(None),
            Err(error) => Err(error.to_string()),
        }
    }

    /// The module before Finalize, in one graph.
    pub(crate) fn inlined(&self) -> Option<GraphModule> {
        let mut module = self.import()?.ok()?;
        let options = self.options();
        let mut cx = PassCx {
            remarks: &mut Remarks::default(),
            kernels: &mut NoKernels,
            fuel: &mut Fuel::unlimited(),
            options: &options,
            observer: None,
        };
        let inline = Pipeline::parse("inline").ok()?;
        inline.run(&mut module, &mut cx, &mut ()).ok()?;
        Some(module)
    }

    /// The tensors that `forward` is called with.
    pub(crate) fn inputs(&self) -> Vec<Value> {
        let tensors = self.tensors();
        (0..)
            .map_while(|at| tensors.get(&format!("input.{at}")))
            .map(|tensor| Value::Tensor(tensor.into()))
            .collect()
    }

    /// Finalizes, counts and compares.
    pub(crate) fn examine(&self) -> Found {
        let Some(imported) = self.import() else {
            return Found::Absent;
        };
        let mut module = match imported {
            Ok(module) => module,
            Err(error) => return self.refused(&error),
        };
        match self.finalize(Target::host()).graph_only(&mut module) {
            Ok(_) => {}
            Err(error @ FinalizeError::NoMeaning { .. }) => {
                return Found::Different(vec![(Kind::NotYet, chain(&error))]);
            }
            Err(error) => return self.refused(&error),
        }
        let mut different: Vec<(Kind, String)> = self
            .leftovers(&module)
            .into_iter()
            .map(|left| (Kind::Leftover, left))
            .collect();
        match self.outputs(&module) {
            Ok(equality) if different.is_empty() => return Found::Equal(equality),
            Ok(_) => {}
            Err((Kind::Raised, _)) if different.is_empty() && self.pytorch_fails() => {
                return Found::BothRefuse;
            }
            Err(difference) => different.push(difference),
        }
        match Defect::explaining(self, &module, &different) {
            Some(defect) => Found::Beside(defect),
            None => Found::Different(different),
        }
    }

    /// What the finalized module answers under a contract.
    pub(crate) fn answer(
        &self,
        module: &GraphModule,
        contract: Contract,
    ) -> Result<Outputs, (Kind, String)> {
        let answer = Interpreter::new(module, contract)
            .call_method("forward", &self.inputs())
            .map_err(|error| {
                let kind = if error.to_string().contains("find a meaning for") {
                    Kind::NotYet
                } else {
                    Kind::Raised
                };
                (kind, error.to_string())
            })?;
        named(&answer).map_err(|error| (Kind::Outputs, error))
    }

    /// The outputs that PyTorch computed: `before`, or `after_` and an engine.
    pub(crate) fn recorded(&self, prefix: &str) -> Outputs {
        let tensors = self.tensors().into_iter();
        let outputs = tensors.filter_map(|(name, tensor)| {
            let rest = name.strip_prefix(prefix)?;
            let is_one = rest.is_empty() || rest.starts_with('.') || rest.parse::<u32>().is_ok();
            is_one.then(|| (rest.to_owned(), tensor))
        });
        outputs.collect()
    }

    /// The graphs of the module that PyTorch finalized after loading it.
    pub(crate) fn finalized_graphs(&self) -> Vec<Graph> {
        self.graphs("after.ir").unwrap_or_default()
    }

    fn graphs(&self, file: &str) -> Option<Vec<Graph>> {
        let text = fs::read_to_string(self.folder.join(file)).ok()?;
        let graphs = parse_graphs(&text)
            .unwrap_or_else(|error| panic!("failed to read {file} of {}: {error}", self.name));
        Some(graphs.into_iter().map(|(_, graph)| graph).collect())
    }

    /// Runs the finalized module and compares.
    fn outputs(&self, module: &GraphModule) -> Result<Equality, (Kind, String)> {
        let Some(expected) = self.expected(module) else {
            if self.pytorch_fails() {
                return Ok(Equality::Better);
            }
            let missing =
                "tensors.safetensors has no outputs to compare with, and meta.json no error";
            return Err((Kind::Outputs, missing.to_owned()));
        };
        let found = self.answer(module, expected.contract)?;
        let graphs = module.root_method("forward").into_iter();
        let graphs = graphs.map(|id| &module.method(id).graph);
        let tolerance = float::tolerance(graphs, expected.simulated);
        let near = compare(&found, &expected.outputs, tolerance);
        let near = near.map_err(|difference| (Kind::Outputs, difference))?;
        Ok(match (near, expected.simulated) {
            (true, _) => Equality::Near,
            (false, true) => Equality::Better,
            (false, false) => Equality::Exact,
        })
    }

    /// What is left in float, or quantized and dequantized, beyond what PyTorch leaves.
    fn leftovers(&self, module: &GraphModule) -> Vec<String> {
        let theirs = ["after.ir", "after_mem.ir"]
            .iter()
            .filter_map(|file| self.graphs(file))
            .map(|graphs| float::counts(graphs.iter()));
        let Some(least) = theirs.reduce(|a, b| float::least(&a, &b)) else {
            return Vec::new();
        };
        let methods = module.named_methods();
        let graphs = methods.iter().map(|id| &module.method(*id).graph);
        float::excess(&float::counts(graphs), &least)
    }

    /// What PyTorch's module answers.
    fn expected(&self, module: &GraphModule) -> Option<Expected> {
        let forward = module.root_method("forward")?;
        // Defect B7 of PyTorch's Finalize: only qnnpack's transposed convolutions are right.
        let contract = if transposes(&module.method(forward).graph) {
            Contract::Qnnpack
        } else {
            Contract::Fbgemm
        };
        for (prefix, simulated) in [
            (format!("after_{contract}"), false),
            ("before".into(), true),
        ] {
            let outputs = self.recorded(&prefix);
            if !outputs.is_empty() {
                return Some(Expected {
                    outputs,
                    contract,
                    simulated,
                });
            }
        }
        None
    }

    /// A refusal, which is right where PyTorch fails too.
    fn refused(&self, error: &dyn Error) -> Found {
        if self.pytorch_fails() {
            Found::BothRefuse
        } else {
            Found::Different(vec![(Kind::Refused, chain(error))])
        }
    }

    /// Why PyTorch's finalized module fails under an engine, if it does.
    pub(crate) fn error_of(&self, engine: &str) -> Option<String> {
        let error = &self.meta()["engine_errors"][engine];
        Some(error.as_str()?.to_owned())
    }

    /// Whether PyTorch cannot make the module, finalize it, or run the finalized one.
    fn pytorch_fails(&self) -> bool {
        let meta = self.meta();
        ["finalize_error", "reload_error", "build_error"]
            .iter()
            .any(|key| meta[*key].is_string())
            || meta["engine_errors"]["fbgemm"].is_string()
    }

    fn meta(&self) -> serde_json::Value {
        let file = self.folder.join("meta.json");
        let text = fs::read_to_string(&file)
            .unwrap_or_else(|error| panic!("failed to read {}: {error}", file.display()));
        // Python writes numbers that JSON does not have; nobody here reads them.
        let text = text
            .replace("-Infinity", "null")
            .replace("Infinity", "null");
        serde_json::from_str(&text.replace("NaN", "null"))
            .unwrap_or_else(|error| panic!("{} is not JSON: {error}", file.display()))
    }

    fn tensors(&self) -> BTreeMap<String, Tensor> {
        let Ok(bytes) = fs::read(self.folder.join("tensors.safetensors")) else {
            return BTreeMap::new();
        };
        let file = SafeTensors::deserialize(&bytes).unwrap_or_else(|error| {
            panic!(
                "failed to read tensors.safetensors of {}: {error}",
                self.name
            )
        });
        let tensors = file
            .tensors()
            .into_iter()
            .map(|(name, view)| (name, tensor(&view)));
        tensors.collect()
    }
}

/// An error with what caused it.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    text
}

fn tensor(view: &safetensors::tensor::TensorView<'_>) -> Tensor {
    let dtype = match view.dtype() {
        Dtype::BOOL => DType::Bool,
        Dtype::U8 => DType::Byte,
        Dtype::I8 => DType::Char,
        Dtype::I32 => DType::Int,
        Dtype::I64 => DType::Long,
        Dtype::F16 => DType::Half,
        Dtype::F32 => DType::Float,
        Dtype::F64 => DType::Double,
        other => panic!("no case has tensors of type {other:?}"),
    };
    let shape: Vec<i64> = view.shape().iter().map(|size| *size as i64).collect();
    Tensor::new(dtype, &shape, view.data().to_vec()).expect("the file's sizes fit its data")
}

fn transposes(graph: &Graph) -> bool {
    graph.walk().any(|node| {
        let name = graph.node(node).op().name();
        name.as_str().contains("quantized::conv_transpose")
    })
}

/// The tensors of an answer by the names that the cases' files give them: nothing for the only one, a number, `.key` in a dict.
pub(crate) fn named(answer: &Value) -> Result<Vec<(String, Tensor)>, String> {
    let read = |value: &Value| {
        let tensor = value.as_tensor().ok_or("an output is not a tensor")?;
        tensor.to_ir().map_err(|error| error.to_string())
    };
    match answer {
        Value::Dict(dict) => dict
            .lock()
            .values()
            .map(|(key, value)| {
                let key = match key {
                    Value::Str(text) => text.to_string(),
                    other => other.to_string(),
                };
                Ok((format!(".{key}"), read(value)?))
            })
            .collect(),
        Value::Tensor(_) => Ok(vec![(String::new(), read(answer)?)]),
        _ => {
            let tensors = planish::check::tensors(answer).map_err(|error| error.to_string())?;
            let named = tensors.into_iter().enumerate();
            Ok(named.map(|(at, t)| (at.to_string(), t)).collect())
        }
    }
}

/// Compares outputs by name; whether some are only nearly equal. `tolerance` is a share of the largest value.
pub(crate) fn compare(
    found: &[(String, Tensor)],
    expected: &[(String, Tensor)],
    tolerance: f64,
) -> Result<bool, String> {
    if found.len() != expected.len() {
        return Err(format!(
            "{} outputs instead of {}",
            found.len(),
            expected.len()
        ));
    }
    let mut off = false;
    for (name, expected) in expected {
        let Some((_, found)) = found.iter().find(|(other, _)| other == name) else {
            return Err(format!("no output {name}"));
        };
        if found.shape() != expected.shape() || found.dtype() != expected.dtype() {
            return Err(format!(
                "output {name} is {}{:?} instead of {}{:?}",
                found.dtype(),
                found.shape(),
                expected.dtype(),
                expected.shape()
            ));
        }
        if found.bytes() == expected.bytes() {
            continue;
        }
        let (Some(a), Some(b)) = (found.values::<f32>(), expected.values::<f32>()) else {
            return Err(format!("output {name} differs"));
        };
        // Which bits say that something is not a number depends on the processor.
        let same = |a: f32, b: f32| a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan());
        let pairs = || a.iter().zip(&b).filter(|(a, b)| !same(**a, **b));
        if pairs().next().is_none() {
            continue;
        }
        let diff = |(a, b): (&f32, &f32)| f64::from((a - b).abs());
        let worst = pairs()
            .map(diff)
            .fold(0.0, |a: f64, b| if b.is_nan() { b } else { a.max(b) });
        let largest = b.iter().fold(0.0, |a: f64, b| a.max(f64::from(b.abs())));
        if !matches!(worst.partial_cmp(&(tolerance * largest)), Some(order) if order.is_le()) {
            return Err(format!(
                "{} of {} values of output {name:?} differ, by at most {worst} (largest {largest})",
                pairs().count(),
                a.len()
            ));
        }
        off = true;
    }
    Ok(off)
}
