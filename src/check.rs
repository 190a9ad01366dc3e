//! Comparing a program's outputs with those that were expected, bit for bit.

use std::path::Path;

use planish_eval::Value;
use planish_ir::{DType, Tensor};
use planish_runtime::{Program, RunError, Stats};
use safetensors::{Dtype, SafeTensors};

/// Inputs of a program, and what it should answer.
#[derive(Clone, Debug)]
pub struct Samples {
    /// `input.0`, `input.1`, …: the arguments of one call.
    pub inputs: Vec<Tensor>,
    /// `expected.0`, `expected.1`, …: the tensors that the call should return, in order.
    pub expected: Vec<Tensor>,
    /// `labels`: the class of each row.
    pub labels: Option<Vec<i64>>,
}

/// What a comparison found.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Check {
    /// Rows of the first input.
    pub inputs: usize,
    /// Values that were compared.
    pub values: usize,
    /// Values whose bits differ.
    pub mismatches: usize,
    /// The largest difference between two values.
    pub max_abs_diff: f64,
    /// Share of rows whose largest value stands at their label, when there are labels.
    pub accuracy: Option<f64>,
}

/// Why samples could not be read or compared.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CheckError {
    /// The file could not be read.
    #[error("read {path}")]
    Io {
        /// The file.
        path: String,
        /// What went wrong.
        source: std::io::Error,
    },
    /// The file is not one of samples.
    #[error("read the samples {path}: {reason}")]
    Samples {
        /// The file.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The program failed.
    #[error(transparent)]
    Run(#[from] RunError),
    /// The program answered with another number of tensors than was expected.
    #[error("compare the outputs: there are {found}, and {expected} were expected")]
    Count {
        /// How many there are.
        found: usize,
        /// How many there should be.
        expected: usize,
    },
    /// There is not one label for each row.
    #[error("count what is right: there are {labels} labels for output 0, which is {scores}")]
    Labels {
        /// Number of labels.
        labels: usize,
        /// Type and shape of the output.
        scores: String,
    },
    /// The program answered something else than what was expected.
    #[error("compare output {output}: it is {found}, and {expected} was expected")]
    Shape {
        /// The output's number.
        output: usize,
        /// What it is.
        found: String,
        /// What it should be.
        expected: String,
    },
}

impl Samples {
    /// Reads a `.safetensors` file.
    pub fn open(path: &Path) -> Result<Self, CheckError> {
        let shown = path.display().to_string();
        let bytes = std::fs::read(path).map_err(|source| CheckError::Io {
            path: shown.clone(),
            source,
        })?;
        Self::read(&bytes, &shown)
    }

    /// Reads the bytes of a `.safetensors` file called `path`.
    pub fn read(bytes: &[u8], path: &str) -> Result<Self, CheckError> {
        let bad = |reason: String| CheckError::Samples {
            path: path.to_owned(),
            reason,
        };
        let file = SafeTensors::deserialize(bytes).map_err(|error| bad(error.to_string()))?;
        let series = |prefix: &str| {
            let named = |name: &&str| {
                name.strip_prefix(prefix)
                    .is_some_and(|at| at.starts_with('.'))
            };
            let count = file.names().into_iter().filter(named).count();
            let tensors = (0..count).map(|at| {
                let name = format!("{prefix}.{at}");
                let view = file.tensor(&name).map_err(|_| bad(lacks(&file, &name)))?;
                tensor(&view).map_err(|reason| bad(format!("{name}: {reason}")))
            });
            tensors.collect::<Result<Vec<_>, _>>()
        };
        let (inputs, expected) = (series("input")?, series("expected")?);
        if inputs.is_empty() {
            return Err(bad(lacks(&file, "input.0")));
        }
        let labels = match file.tensor("labels") {
            Ok(view) => {
                let labels = tensor(&view).map_err(|reason| bad(format!("labels: {reason}")))?;
                Some(
                    labels
                        .values::<i64>()
                        .ok_or_else(|| bad(format!("labels are of type {}", labels.dtype())))?,
                )
            }
            Err(_) => None,
        };
        Ok(Self {
            inputs,
            expected,
            labels,
        })
    }

    /// The inputs as a program takes them.
    pub fn values(&self) -> Vec<Value> {
        self.inputs
            .iter()
            .map(|tensor| Value::Tensor(tensor.into()))
            .collect()
    }
}

/// Runs a program on samples and compares.
pub fn check(program: &Program, samples: &Samples, stats: &mut Stats) -> Result<Check, CheckError> {
    let outputs = tensors(&program.call_with(&samples.values(), stats)?)?;
    compare(&outputs, samples)
}

/// The tensors in a program's answer, in order.
pub fn tensors(answer: &Value) -> Result<Vec<Tensor>, RunError> {
    let mut tensors = Vec::new();
    let mut open = vec![answer.clone()];
    while let Some(value) = open.pop() {
        match value {
            Value::Tensor(tensor) => tensors.push(tensor.to_ir()?),
            Value::Tuple(items) => open.extend(items.iter().rev().cloned()),
            Value::List(list) => open.extend(list.to_vec().into_iter().rev()),
            Value::Dict(dict) => {
                open.extend(dict.lock().values().rev().map(|(_, value)| value.clone()));
            }
            _ => {}
        }
    }
    Ok(tensors)
}

/// Compares outputs with what was expected.
pub fn compare(outputs: &[Tensor], samples: &Samples) -> Result<Check, CheckError> {
    if outputs.len() != samples.expected.len() {
        let (found, expected) = (outputs.len(), samples.expected.len());
        return Err(CheckError::Count { found, expected });
    }
    let rows = samples.inputs[0]
        .shape()
        .first()
        .map_or(1, |rows| *rows as usize);
    let mut check = Check {
        inputs: rows,
        values: 0,
        mismatches: 0,
        max_abs_diff: 0.0,
        accuracy: None,
    };
    for (at, (found, expected)) in outputs.iter().zip(&samples.expected).enumerate() {
        if plain(found) != plain(expected) {
            return Err(CheckError::Shape {
                output: at,
                found: plain(found),
                expected: plain(expected),
            });
        }
        let (a, b) = (found.bytes(), expected.bytes());
        let size = found.dtype().size();
        for (a, b) in a.chunks_exact(size).zip(b.chunks_exact(size)) {
            check.values += 1;
            if a != b {
                check.mismatches += 1;
                let diff = (number(found.dtype(), a) - number(found.dtype(), b)).abs();
                check.max_abs_diff = if diff.is_nan() {
                    f64::INFINITY
                } else {
                    check.max_abs_diff.max(diff)
                };
            }
        }
    }
    if let (Some(labels), Some(scores)) = (&samples.labels, outputs.first()) {
        let wrong = || CheckError::Labels {
            labels: labels.len(),
            scores: plain(scores),
        };
        check.accuracy = Some(accuracy(scores, labels).ok_or_else(wrong)?);
    }
    Ok(check)
}

/// Share of rows whose first largest value stands at their label, if there is one label for each row.
fn accuracy(scores: &Tensor, labels: &[i64]) -> Option<f64> {
    let classes = usize::try_from(*scores.shape().last()?)
        .ok()
        .filter(|classes| *classes > 0)?;
    let bytes = scores.bytes();
    let size = scores.dtype().size();
    let values: Vec<f64> = bytes
        .chunks_exact(size)
        .map(|bytes| number(scores.dtype(), bytes))
        .collect();
    if values.len() != labels.len() * classes || labels.is_empty() {
        return None;
    }
    let right = values
        .chunks_exact(classes)
        .zip(labels)
        .filter(|(row, label)| {
            let best = row.iter().enumerate().fold(
                0,
                |best, (at, value)| if *value > row[best] { at } else { best },
            );
            best as i64 == **label
        });
    Some(right.count() as f64 / labels.len() as f64)
}

fn tensor(view: &safetensors::tensor::TensorView<'_>) -> Result<Tensor, String> {
    let dtype = match view.dtype() {
        Dtype::BOOL => DType::Bool,
        Dtype::U8 => DType::Byte,
        Dtype::I8 => DType::Char,
        Dtype::I16 => DType::Short,
        Dtype::I32 => DType::Int,
        Dtype::I64 => DType::Long,
        Dtype::F16 => DType::Half,
        Dtype::BF16 => DType::BFloat16,
        Dtype::F32 => DType::Float,
        Dtype::F64 => DType::Double,
        other => {
            return Err(format!(
                "its type {other:?} is not one of a tensor that a program takes"
            ));
        }
    };
    let shape: Vec<i64> = view.shape().iter().map(|size| *size as i64).collect();
    Tensor::new(dtype, &shape, view.data().to_vec()).map_err(|error| error.to_string())
}

/// That a tensor is missing, with the names of those that are there.
fn lacks(file: &SafeTensors<'_>, name: &str) -> String {
    let mut names = file.names();
    names.sort_unstable();
    let names = match names.as_slice() {
        [] => "none".to_owned(),
        names => names.join(", "),
    };
    format!("there is no tensor {name} in it; it has {names}")
}

/// Type and shape, as they are compared.
fn plain(tensor: &Tensor) -> String {
    format!("{}{:?}", plain_dtype(tensor.dtype()), tensor.shape())
}

/// Codes are compared as the integers that they are stored as.
fn plain_dtype(dtype: DType) -> DType {
    match dtype {
        DType::QUInt8 => DType::Byte,
        DType::QInt8 => DType::Char,
        DType::QInt32 => DType::Int,
        other => other,
    }
}

fn number(dtype: DType, bytes: &[u8]) -> f64 {
    let le = |n: usize| -> [u8; 8] {
        let mut le = [0; 8];
        le[..n].copy_from_slice(&bytes[..n]);
        le
    };
    match plain_dtype(dtype) {
        DType::Float => f64::from(f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])),
        DType::Double => f64::from_le_bytes(le(8)),
        DType::Half => half::f16::from_le_bytes([bytes[0], bytes[1]]).to_f64(),
        DType::BFloat16 => half::bf16::from_le_bytes([bytes[0], bytes[1]]).to_f64(),
        DType::Byte | DType::Bool => f64::from(bytes[0]),
        DType::Char => f64::from(bytes[0].cast_signed()),
        DType::Short => f64::from(i16::from_le_bytes([bytes[0], bytes[1]])),
        DType::Int => f64::from(i32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])),
        _ => i64::from_le_bytes(le(8)) as f64,
    }
}
