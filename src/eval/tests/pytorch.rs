//! Single quantized operators against PyTorch, bit for bit: codes, parameters and layout.
//!
//! `tools/eval_fixtures.py`, `tools/breadth_fixtures.py` and `tools/contract_fixtures.py` make the cases; their data are made to tie.
//! `tools/float_fixtures.py` makes those of operators on floats; `PLANISH_FLOAT_CASES` names another file of its making.

use std::collections::HashMap;

use planish_eval::{Contract, MemoryFormat, Tensor, Value, apply};
use planish_ir::{DType, Op, QParams, Type};
use safetensors::SafeTensors;
use serde_json::Value as Json;

const OPERATORS: &[u8] = include_bytes!("fixtures/pytorch.safetensors");
const CONTRACTS: &[u8] = include_bytes!("fixtures/contracts.safetensors");
const BREADTH: &[u8] = include_bytes!("fixtures/breadth.safetensors");
const FLOATS: &[u8] = include_bytes!("fixtures/float.safetensors");

struct Cases<'a> {
    data: SafeTensors<'a>,
    cases: Vec<Json>,
}

impl Cases<'static> {
    fn open(file: &'static [u8]) -> Self {
        let (_, header) = SafeTensors::read_metadata(file).unwrap();
        let metadata: HashMap<String, String> = header.metadata().clone().unwrap();
        Self {
            data: SafeTensors::deserialize(file).unwrap(),
            cases: serde_json::from_str(&metadata["cases"]).unwrap(),
        }
    }

    fn tensor(&self, record: &Json) -> Tensor {
        let view = self.data.tensor(record["t"].as_str().unwrap()).unwrap();
        let shape: Vec<i64> = match record["shape"].as_array() {
            Some(sizes) => sizes.iter().filter_map(Json::as_i64).collect(),
            None => view.shape().iter().map(|size| *size as i64).collect(),
        };
        let dtype = record["dtype"].as_str().unwrap_or("Float");
        let dtype = DType::from_name(dtype).unwrap();
        let mut tensor = planish_ir::Tensor::new(dtype, &shape, view.data().to_vec()).unwrap();
        if let Some(scale) = record["scale"].as_f64() {
            let zero_point = record["zero"].as_i64().unwrap();
            tensor = tensor
                .with_qparams(QParams::PerTensor { scale, zero_point })
                .unwrap();
        } else if let Some(scales) = record["scales"].as_array() {
            let zeros = record["zeros"].as_array().unwrap();
            let qparams = QParams::PerChannel {
                scales: scales.iter().map(|s| s.as_f64().unwrap()).collect(),
                zero_points: zeros.iter().map(|z| z.as_i64().unwrap()).collect(),
                axis: 0,
            };
            tensor = tensor.with_qparams(qparams).unwrap();
        }
        let tensor = Tensor::from(&tensor);
        match record["last"].as_bool() {
            Some(true) => tensor.contiguous(MemoryFormat::ChannelsLast).unwrap(),
            _ => tensor,
        }
    }

    fn value(&self, json: &Json, results: &[Vec<Value>]) -> Value {
        match json {
            Json::Null => Value::None,
            Json::Bool(value) => (*value).into(),
            Json::Number(number) => match number.as_i64() {
                Some(value) => value.into(),
                None => number.as_f64().unwrap().into(),
            },
            Json::String(text) => Value::str(text),
            Json::Array(items) => {
                let items: Vec<Value> =
                    items.iter().map(|item| self.value(item, results)).collect();
                let element = items.first().map_or(Type::Int, Value::ty);
                Value::list(element, items)
            }
            Json::Object(record) => match record.get("r") {
                Some(call) => {
                    let output = record.get("o").and_then(Json::as_u64).unwrap_or(0);
                    results[call.as_u64().unwrap() as usize][output as usize].clone()
                }
                None => self.tensor(json).into(),
            },
        }
    }

    /// What is wrong with the result of a case, or nothing.
    fn check(&self, case: &Json) -> Option<String> {
        let contract = case["contract"].as_str().unwrap_or("fbgemm");
        let contract: Contract = contract.parse().unwrap();
        let mut results: Vec<Vec<Value>> = Vec::new();
        for call in case["calls"].as_array().unwrap() {
            let args = call["args"].as_array().unwrap();
            let args: Vec<Value> = args.iter().map(|arg| self.value(arg, &results)).collect();
            match apply(Op::of(call["op"].as_str().unwrap()), &args, contract) {
                Ok(outputs) => results.push(outputs),
                Err(error) => return Some(error.to_string()),
            }
        }
        let output = case["output"].as_u64().unwrap_or(0) as usize;
        let got = results.last()?[output].as_tensor()?.clone();
        let want = self.tensor(&case["expect"]);
        let strides: Vec<i64> = case["expect"]["strides"]
            .as_array()?
            .iter()
            .filter_map(Json::as_i64)
            .collect();
        if (got.dtype(), got.shape()) != (want.dtype(), want.shape()) {
            return Some(format!("{got:?} instead of {want:?}"));
        }
        let fits = |dim: usize| got.shape()[dim] == 1 || got.strides()[dim] == strides[dim];
        if !(0..strides.len()).all(fits) {
            return Some(format!(
                "strides {:?} instead of {strides:?}",
                got.strides()
            ));
        }
        if got.qparams() != want.qparams() {
            return Some(format!(
                "{:?} instead of {:?}",
                got.qparams(),
                want.qparams()
            ));
        }
        let values = |tensor: &Tensor| -> Vec<f64> {
            match tensor.codes() {
                Ok(codes) => codes.into_iter().map(f64::from).collect(),
                Err(_) => tensor.to_f64().unwrap(),
            }
        };
        let near = case["near"].as_bool() == Some(true);
        let (got, want) = (values(&got), values(&want));
        let wrong: Vec<usize> = (0..got.len())
            .filter(|at| got[*at].to_bits() != want[*at].to_bits())
            .filter(|at| !near || (got[*at] - want[*at]).abs() > 1e-5 * want[*at].abs().max(1.0))
            .collect();
        let first = *wrong.first()?;
        Some(format!(
            "{} of {} differ, the first at {first}: {} instead of {}",
            wrong.len(),
            got.len(),
            got[first],
            want[first]
        ))
    }
}

#[test]
fn every_operator_gives_pytorchs_codes_and_layout() {
    agree(OPERATORS, 100);
}

#[test]
fn every_contract_gives_its_engines_codes() {
    agree(CONTRACTS, 100);
}

#[test]
fn rarer_operators_give_pytorchs_codes_and_layout() {
    agree(BREADTH, 20);
}

#[test]
fn operators_on_floats_give_pytorchs_bits() {
    match std::env::var_os("PLANISH_FLOAT_CASES") {
        Some(path) => agree(std::fs::read(path).unwrap().leak(), 0),
        None => agree(FLOATS, 300),
    }
}

/// Every case of a file, of which there are more than `least`, gives what PyTorch gives.
fn agree(file: &'static [u8], least: usize) {
    let cases = Cases::open(file);
    let faults: Vec<String> = cases
        .cases
        .iter()
        .filter_map(|case| Some(format!("{}: {}", case["name"], cases.check(case)?)))
        .collect();
    assert!(
        cases.cases.len() > least && faults.is_empty(),
        "\n{}",
        faults.join("\n")
    );
}
