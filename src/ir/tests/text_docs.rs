//! The examples of `docs/text-ir.md` hold.

use std::path::Path;

use planish_ir::text::{canonical, parse_graph, parse_module};

#[test]
fn examples_are_read_and_canonical_ones_print_unchanged() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/text-ir.md");
    let text = std::fs::read_to_string(file).unwrap();
    let mut checked = 0;
    let mut rest = text.as_str();
    while let Some(start) = rest.find("```ir") {
        let (tag, block) = rest[start + 3..].split_once('\n').unwrap();
        let end = block.find("```").unwrap();
        let example = &block[..end];
        let model = parse_module(example).unwrap_or_else(|error| panic!("{error}\n{example}"));
        if tag == "ir canonical" && example.starts_with("graph") {
            assert_eq!(canonical(&parse_graph(example).unwrap()), example);
        } else if tag == "ir canonical" {
            assert_eq!(model.to_string(), example);
        }
        checked += 1;
        rest = &block[end + 3..];
    }
    assert!(checked >= 6, "only {checked} examples were found");
}
