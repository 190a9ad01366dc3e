//! Every graph that PyTorch printed for the vendored cases is read, its operators are found, and it is valid.

use std::path::PathBuf;

use planish_ir::resolve::{Argument, Operand, resolve};
use planish_ir::{Graph, NodeId, Op, Sym, text, verify_graph};

fn files() -> Vec<PathBuf> {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures/oracle");
    let cases = std::fs::read_dir(root).unwrap_or_else(|error| panic!("read {root}: {error}"));
    let mut files: Vec<_> = cases
        .flat_map(|case| {
            let case = case.expect("the folder is listed").path();
            ["before.ir", "after.ir"].map(|name| case.join(name))
        })
        .filter(|file| file.exists())
        .collect();
    files.sort();
    files
}

/// The graphs of a file: it holds one for each method.
fn graphs(text: &str) -> Vec<String> {
    let mut graphs: Vec<String> = Vec::new();
    for line in text.lines() {
        if line.starts_with("graph(") {
            graphs.push(String::new());
        }
        if let Some(graph) = graphs.last_mut()
            && !line.starts_with('#')
        {
            graph.push_str(line);
            graph.push('\n');
        }
    }
    graphs
}

#[test]
fn every_node_has_its_operator_and_the_graph_is_valid() {
    let mut wrong = Vec::new();
    let (mut count, mut declared) = (0, 0);
    for file in files() {
        let text = std::fs::read_to_string(&file).expect("the file is text");
        for graph in graphs(&text) {
            match text::parse_graph(&graph) {
                Ok(graph) => {
                    count += graph.len();
                    let nodes = graph.walk();
                    declared += nodes
                        .filter(|node| graph.node(*node).op().schema().is_some())
                        .count();
                    check(&graph, &mut wrong);
                }
                Err(error) => wrong.push(format!("{}: {error}", file.display())),
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    // Else the files were not read as they are meant to be.
    assert!(count > 19_000 && declared > 6_600, "{count}, {declared}");
}

fn check(graph: &Graph, wrong: &mut Vec<String>) {
    for node in graph.walk() {
        let op = graph.node(node).op();
        if op.schema().is_none() && !op.is_structural() && !Op::overloads(op.name()).is_empty() {
            let types: Vec<_> = graph
                .node(node)
                .inputs()
                .iter()
                .map(|input| graph.ty(*input).to_string())
                .collect();
            wrong.push(format!("{op} ({})", types.join(", ")));
        }
    }
    if let Err(errors) = verify_graph(graph) {
        wrong.extend(errors.iter().map(ToString::to_string));
    }
}

#[test]
fn calls_as_an_archive_writes_them_resolve_to_the_same_operator() {
    let mut count = 0;
    for file in files() {
        let text = std::fs::read_to_string(&file).expect("the file is text");
        for graph in graphs(&text) {
            let graph = text::parse_graph(&graph).unwrap_or_else(|error| panic!("{error}"));
            for node in graph.walk() {
                count += usize::from(resolves_as_written(&graph, node));
            }
        }
    }
    assert!(count > 6_600, "{count}");
}

/// Resolves a node's call without the arguments that an archive leaves out: trailing ones, and keyword ones, that equal their default.
fn resolves_as_written(graph: &Graph, node: NodeId) -> bool {
    let op = graph.node(node).op();
    let Some(schema) = op.schema() else {
        return false;
    };
    let inputs = graph.node(node).inputs();
    let is_default = |index: usize| {
        let default = schema
            .params
            .get(index)
            .and_then(|param| param.default.as_ref());
        default.is_some() && graph.constant(inputs[index]) == default
    };
    let mut given = schema.positional();
    if schema.vararg {
        given = inputs.len();
    }
    while given > 0 && is_default(given - 1) {
        given -= 1;
    }
    let argument = |index: usize| Argument::of(graph.ty(inputs[index]).clone());
    let positional: Vec<_> = (0..given).map(argument).collect();
    let keywords: Vec<(Sym, Argument)> = (schema.positional()..schema.params.len())
        .filter(|index| !is_default(*index))
        .map(|index| (schema.params[index].name, argument(index)))
        .collect();
    let resolved =
        resolve(op.name(), &positional, &keywords).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(resolved.op, op, "{positional:?} {keywords:?}");
    for (index, operand) in resolved.operands.iter().enumerate() {
        if let Operand::Default(default) = operand {
            assert_eq!(graph.constant(inputs[index]), Some(default), "{op}");
        }
    }
    let outputs = graph.node(node).outputs();
    for (output, ty) in outputs.iter().zip(&resolved.outputs) {
        assert!(graph.ty(*output).is_subtype_of(ty), "{op}: {ty}");
    }
    true
}
