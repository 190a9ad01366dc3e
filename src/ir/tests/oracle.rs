//! Every graph that PyTorch printed for the vendored cases is read, its operators are found, and it is valid.

use std::path::PathBuf;

use planish_ir::{Graph, Op, text, verify_graph};

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
                    let nodes = graph.walk().into_iter();
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
