//! Every oracle case: the imported graphs equal those that PyTorch prints after loading the archive.
//!
mod compare;

use std::path::{Path, PathBuf};

use compare::same_graph;
use planish_import::open;
use planish_ir::text::parse_graph;
use planish_ir::{Graph, GraphModule, ModuleId, Sym};

/// Archives that PyTorch itself cannot load, with what the importer says of them.
const REFUSED: [(&str, &str); 2] = [
    (
        "fn_clamp_min",
        "it is a checkpoint of `torch.save`, which holds no code",
    ),
    (
        "fn_tuple_ret",
        "the returned value: expected (Tensor, Tensor), found Tensor[]",
    ),
];

#[test]
fn imported_graphs_equal_pytorchs() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/oracle");
    let (mut cases, mut graphs) = (0, 0);
    let mut faults = Vec::new();
    for case in cases_of(&folder) {
        cases += 1;
        match check(&case) {
            Ok(count) => graphs += count,
            Err(fault) => faults.push(fault),
        }
    }
    assert!(
        faults.is_empty(),
        "{} faults:\n{}",
        faults.len(),
        faults.join("\n")
    );
    assert!(
        cases > 200 && graphs > 900,
        "{cases} cases with {graphs} graphs"
    );
}

#[test]
fn the_digits_model_is_read() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/digits");
    let model = open(folder.join("digits_int8.pt")).expect("the example is in the repository");
    planish_ir::verify(&model).expect("the model keeps the laws of graphs");
    assert!(model.root_method("forward").is_some());
}

/// The case folders that hold an archive.
fn cases_of(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).expect("the oracle cases are in the repository");
    let mut cases: Vec<PathBuf> = entries
        .map(|entry| entry.expect("a folder can be listed").path())
        .filter(|case| case.join("before.pt").exists())
        .collect();
    cases.sort();
    cases
}

/// Compares all graphs of a case and returns their number.
fn check(case: &Path) -> Result<usize, String> {
    let name = case.file_name().unwrap_or_default().to_string_lossy();
    let model = match open(case.join("before.pt")) {
        Ok(model) => model,
        Err(error) => {
            let error = error.to_string();
            let known = REFUSED
                .iter()
                .any(|(case, part)| *case == name && error.contains(part));
            return if known {
                Ok(0)
            } else {
                Err(format!("{name}: failed to {error}"))
            };
        }
    };
    let text =
        std::fs::read_to_string(case.join("before.ir")).map_err(|e| format!("{name}: {e}"))?;
    let sections = sections(&text);
    for (path, method, text) in &sections {
        let place = format!("{name}: {path}.{method}");
        let wanted = parse_graph(text).map_err(|e| format!("{place}: PyTorch's text: {e}"))?;
        let found = find(&model, path, method).ok_or_else(|| format!("{place} is missing"))?;
        same_graph(found, &wanted).map_err(|difference| format!("{place}: {difference}"))?;
    }
    Ok(sections.len())
}

/// Module path, method name and text of every graph in a `before.ir`.
fn sections(text: &str) -> Vec<(String, String, String)> {
    let mut out: Vec<(String, String, String)> = Vec::new();
    for line in text.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        if let ["#", "module", path, "type", _, "method", method] = words[..] {
            out.push((path.to_owned(), method.to_owned(), String::new()));
        } else if let Some((_, _, body)) = out.last_mut() {
            body.push_str(line);
            body.push('\n');
        }
    }
    out
}

fn find<'m>(model: &'m GraphModule, path: &str, method: &str) -> Option<&'m Graph> {
    let mut module: ModuleId = model.root();
    if path != "<root>" {
        let names: Vec<Sym> = path.split('.').map(Sym::new).collect();
        module = model.resolve(module, &names)?;
    }
    Some(&model.method(model.find_method(module, method)?).graph)
}
