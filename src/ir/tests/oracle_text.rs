//! Every graph that PyTorch printed for the oracle cases is read and round-trips.

use std::path::{Path, PathBuf};

use planish_ir::isomorphic;
use planish_ir::text::{canonical, faithful, parse_graph, parse_graphs};

fn cases() -> PathBuf {
    let vendored = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/oracle");
    std::env::var_os("PLANISH_ORACLE_DIR").map_or(vendored, PathBuf::from)
}

#[test]
fn printed_graphs_of_the_oracle_round_trip() {
    let mut read = 0;
    let mut cases: Vec<_> = std::fs::read_dir(cases())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|case| case.is_dir())
        .collect();
    cases.sort();
    for case in cases {
        for file in std::fs::read_dir(&case).unwrap() {
            let file = file.unwrap().path();
            if file.extension().is_none_or(|extension| extension != "ir") {
                continue;
            }
            let text = std::fs::read_to_string(&file).unwrap();
            let graphs = parse_graphs(&text)
                .unwrap_or_else(|error| panic!("{}", error.in_file(&file.display().to_string())));
            assert!(!graphs.is_empty(), "{}", file.display());
            for (comment, graph) in graphs {
                assert!(comment.is_empty() || comment.starts_with("module "));
                for printed in [canonical(&graph), faithful(&graph)] {
                    let again = parse_graph(&printed).unwrap_or_else(|error| {
                        panic!("{}: {error}\n{printed}", file.display());
                    });
                    if let Err(difference) = isomorphic(&graph, &again) {
                        panic!("{}: {difference}\n{printed}", file.display());
                    }
                    assert_eq!(canonical(&again), canonical(&graph));
                }
                read += 1;
            }
        }
    }
    assert!(read > 100, "only {read} graphs were found");
}

#[test]
fn pytorch_text_comes_out_as_it_went_in() {
    let mut compared = 0;
    for case in std::fs::read_dir(cases()).unwrap() {
        let file = case.unwrap().path().join("before.ir");
        let Ok(text) = std::fs::read_to_string(&file) else {
            continue;
        };
        for (comment, graph) in parse_graphs(&text).unwrap() {
            let printed = faithful(&graph);
            let from = text.find(&format!("# {comment}\n")).unwrap();
            let original = &text[from + comment.len() + 3..];
            let end = original.find("\n\n").map_or(original.len(), |end| end + 1);
            similar_lines(&original[..end], &printed, &file);
            compared += 1;
        }
    }
    assert!(compared > 100, "only {compared} graphs were compared");
}

/// Line by line, so that a failure shows the line.
fn similar_lines(original: &str, printed: &str, file: &Path) {
    for (original, printed) in original.lines().zip(printed.lines()) {
        assert_eq!(original, printed, "{}", file.display());
    }
    assert_eq!(original.trim_end().lines().count(), printed.lines().count());
}
