//! Counter-examples as files: a folder that shows what a rewrite changed, and can be replayed.
//!
//! ```text
//! about.json            the pass, the rule or step, the bound, how the answers differ
//! before.ir, after.ir   what was rewritten, and what it became
//! inputs.ir             the arguments, as the results of a graph: quantized tensors keep their scales
//! tensors.safetensors   the elements of larger tensors of all three
//! ```

use std::path::Path;
use std::{fs, io};

use planish_ir::text::{Blobs, Printer, Style, parse_graph_with, parse_verified};
use planish_ir::{At, Graph, GraphModule, Literal};
use planish_passes::Counterexample;
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use serde::{Deserialize, Serialize};

use crate::file;

/// Why a counter-example could not be written or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CounterexampleError {
    /// A file could not be read or written.
    #[error("{verb} {path}")]
    Io {
        /// What was tried.
        verb: &'static str,
        /// The file.
        path: String,
        /// What went wrong.
        source: io::Error,
    },
    /// A file is not what it should be.
    #[error("read the counter-example {path}: {reason}")]
    Malformed {
        /// The file.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
}

/// What stands in `about.json`.
#[derive(Serialize, Deserialize)]
struct About {
    planish: String,
    pass: String,
    step: String,
    number: Option<u64>,
    method: String,
    within: String,
    contract: String,
    calls: usize,
    difference: String,
}

const ABOUT: &str = "about.json";
const BEFORE: &str = "before.ir";
const AFTER: &str = "after.ir";
const INPUTS: &str = "inputs.ir";
const TENSORS: &str = "tensors.safetensors";

/// Writes a counter-example into a folder, which is made.
pub fn save(found: &Counterexample, folder: &Path) -> Result<(), CounterexampleError> {
    /// Tensors of more elements stand outside the texts.
    const SMALL: usize = 64;
    let mut blobs = Blobs::new();
    let mut text = |graph: Result<&GraphModule, &Graph>| {
        let mut printer = Printer::new(Style::Faithful).blobs(&mut blobs, SMALL);
        match graph {
            Ok(module) => match alone(module) {
                Some(graph) => printer.graph(graph),
                None => printer.module(module),
            },
            Err(graph) => printer.graph(graph),
        }
    };
    let texts = [
        (BEFORE, text(Ok(&found.before))),
        (AFTER, text(Ok(&found.after))),
        (INPUTS, text(Err(&constants(&found.inputs)))),
    ];
    let about = About {
        planish: env!("CARGO_PKG_VERSION").to_owned(),
        pass: found.pass.clone(),
        step: found.step.clone(),
        number: found.number,
        method: found.method.clone(),
        within: found.bound.to_string(),
        contract: found.contract.to_string(),
        calls: found.calls,
        difference: found.difference.clone(),
    };
    let about = serde_json::to_vec_pretty(&about).map_err(|error| malformed(ABOUT, &error))?;
    let views = blobs.iter().map(|(name, payload)| {
        let view = TensorView::new(Dtype::U8, vec![payload.len()], payload);
        Ok((
            name.to_owned(),
            view.map_err(|error| malformed(TENSORS, &error))?,
        ))
    });
    let views = views.collect::<Result<Vec<_>, CounterexampleError>>()?;
    let tensors =
        safetensors::serialize(views, None).map_err(|error| malformed(TENSORS, &error))?;

    fs::create_dir_all(folder).map_err(|source| io_error("make the folder", folder, source))?;
    let files = texts.iter().map(|(name, text)| (*name, text.as_bytes()));
    for (name, bytes) in files.chain([(ABOUT, &about[..]), (TENSORS, &tensors[..])]) {
        let path = folder.join(name);
        file::write_whole(&path, bytes).map_err(|source| io_error("write", &path, source))?;
    }
    Ok(())
}

/// Reads a counter-example from its folder.
pub fn open(folder: &Path) -> Result<Counterexample, CounterexampleError> {
    let read = |name: &str| {
        let path = folder.join(name);
        fs::read(&path).map_err(|source| io_error("read", &path, source))
    };
    let read_text =
        |name: &str| String::from_utf8(read(name)?).map_err(|error| malformed(name, &error));
    let about: About =
        serde_json::from_slice(&read(ABOUT)?).map_err(|error| malformed(ABOUT, &error))?;
    let tensors = read(TENSORS)?;
    let tensors = SafeTensors::deserialize(&tensors).map_err(|error| malformed(TENSORS, &error))?;
    let mut blobs = Blobs::new();
    for (name, view) in tensors.iter() {
        blobs.insert(name, view.data().to_vec().into());
    }
    let module = |name: &str| {
        let module = parse_verified(&read_text(name)?, &blobs);
        module.map_err(|faults| malformed(name, &faults))
    };
    let inputs = parse_graph_with(&read_text(INPUTS)?, &blobs);
    let inputs = inputs.map_err(|faults| malformed(INPUTS, &faults))?;
    let input = |value: &_| {
        let constant = inputs.constant(*value).cloned();
        constant.ok_or_else(|| malformed(INPUTS, &"a result is not a constant"))
    };
    Ok(Counterexample {
        bound: about
            .within
            .parse()
            .map_err(|error: String| malformed(ABOUT, &error))?,
        contract: about
            .contract
            .parse()
            .map_err(|error: String| malformed(ABOUT, &error))?,
        before: module(BEFORE)?,
        after: module(AFTER)?,
        inputs: inputs
            .results()
            .iter()
            .map(input)
            .collect::<Result<_, _>>()?,
        pass: about.pass,
        step: about.step,
        number: about.number,
        method: about.method,
        calls: about.calls.clamp(1, 2),
        difference: about.difference,
    })
}

/// The graph of a module that is nothing but a graph.
fn alone(module: &GraphModule) -> Option<&Graph> {
    let root = module.module(module.root());
    let only = module.classes.len() == 1 && module.functions.is_empty() && root.attrs.is_empty();
    match &module.root_methods()[..] {
        [(name, method)] if only && *name == "forward" => Some(&module.method(*method).graph),
        _ => None,
    }
}

/// A graph that gives these values.
fn constants(values: &[Literal]) -> Graph {
    let mut graph = Graph::new();
    let end = At::End(graph.entry());
    let results: Vec<_> = values
        .iter()
        .map(|value| graph.insert_constant(end, value.clone()))
        .collect();
    graph.set_results(graph.entry(), &results);
    graph
}

fn malformed(name: &str, reason: &impl std::fmt::Display) -> CounterexampleError {
    CounterexampleError::Malformed {
        path: name.to_owned(),
        reason: reason.to_string(),
    }
}

fn io_error(verb: &'static str, path: &Path, source: io::Error) -> CounterexampleError {
    CounterexampleError::Io {
        verb,
        path: path.display().to_string(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use planish_eval::Contract;
    use planish_ir::text::parse_module;
    use planish_ir::{DType, QParams, Tensor};
    use planish_passes::rewrite::Bound;

    #[test]
    fn a_counter_example_is_read_as_it_was_written() {
        let graph =
            |body: &str| parse_module(&format!("graph(%x : Tensor):\n{body}")).expect("a graph");
        let codes: Vec<u8> = (0..100).collect();
        let qparams = QParams::PerTensor {
            scale: 0.1,
            zero_point: 50,
        };
        let tensor =
            Tensor::new(DType::QUInt8, &[100], codes).and_then(|t| t.with_qparams(qparams));
        let found = Counterexample {
            pass: "trial".to_owned(),
            step: "drops relu".to_owned(),
            number: Some(3),
            method: "forward".to_owned(),
            bound: Bound::Codes(2),
            contract: Contract::Fbgemm,
            calls: 1,
            before: graph("  %y : Tensor = aten::relu(%x)\n  return (%y)\n"),
            after: graph("  return (%x)\n"),
            inputs: vec![Literal::Tensor(tensor.expect("100 codes"))],
            difference: "told".to_owned(),
        };
        let folder = tempfile::tempdir().expect("a folder");
        save(&found, folder.path()).expect("it is written");
        let read = open(folder.path()).expect("it is read");
        assert_eq!(read.inputs, found.inputs);
        assert_eq!((read.bound, read.number), (found.bound, found.number));
        let told = read.replay().expect("both run");
        assert!(
            told.expect("relu raises 50 codes")
                .contains("48 of 100 elements differ")
        );
        fs::write(folder.path().join(AFTER), "graph(").expect("a file");
        let error = open(folder.path()).expect_err("half a text");
        assert!(
            error
                .to_string()
                .starts_with("read the counter-example after.ir: ")
        );
    }
}
