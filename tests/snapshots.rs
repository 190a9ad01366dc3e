//! Snapshots besides those of single passes: the rules as they are expanded, a model on its way through Finalize, and what a user reads
//! about a text that is wrong.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use planish::ir::text::{Blobs, Printer, Style};
use planish::ir::{GraphModule, ValueName};
use planish::passes::{
    FINALIZE, Fuel, Instrument, NoKernels, Options, Pass, PassCx, PassReport, Pipeline, Remarks,
    rules,
};
use similar::TextDiff;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Where the snapshots of this folder are, without the names of the test and its crate in theirs.
fn settings(folder: &str) -> insta::Settings {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path(root().join("tests/snapshots").join(folder));
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings
}

#[test]
fn rules_are_what_their_tables_expand_to() {
    for (name, set) in rules::sets() {
        let mut text = String::new();
        for rule in set.rules() {
            let _ = writeln!(text, "{rule}");
        }
        let prefix = format!("{name}: ");
        let overlaps = rules::overlaps();
        for pair in overlaps
            .lines()
            .filter_map(|line| line.strip_prefix(&prefix))
        {
            let _ = writeln!(text, "overlap: {pair}");
        }
        let mut settings = settings("rules");
        settings.set_description(format!("{} rules, expanded", set.rules().len()));
        settings.bind(|| insta::assert_snapshot!(name.replace('-', "_"), text));
    }
}

#[test]
fn digits_through_finalize() {
    let mut module = planish::import::open(root().join("examples/digits/digits_int8.pt"))
        .expect("the example is a model");
    name_every_value(&mut module);
    let mut story = Story::default();
    story.tell(&module);
    let mut cx = PassCx {
        remarks: &mut Remarks::default(),
        kernels: &mut NoKernels,
        fuel: &mut Fuel::unlimited(),
        options: &Options::default(),
        observer: None,
    };
    Pipeline::new(FINALIZE)
        .verify_each()
        .run(&mut module, &mut cx, &mut story)
        .expect("the example is quantized");
    for (pass, diff) in story.chapters {
        let mut settings = settings("pipeline");
        settings.set_description(format!("What {pass} does to the digits model."));
        settings.set_input_file("examples/digits/digits_int8.pt");
        settings.bind(|| insta::assert_snapshot!(format!("digits@{pass}"), diff));
    }
}

/// Names the values that have none after their operators, so that they are called the same after each pass; and forgets the places in
/// Python sources, which would stand on every line.
fn name_every_value(module: &mut GraphModule) {
    for id in module.named_methods() {
        let graph = &mut module.method_mut(id).graph;
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        for node in graph.walk().collect::<Vec<_>>() {
            graph.set_loc(node, None);
            let op = graph.node(node).op().name().to_string();
            let op = op.rsplit(':').next().unwrap_or_default().to_lowercase();
            for output in graph.node(node).outputs().to_vec() {
                if graph.value(output).name().is_none() {
                    let count = counts.entry(op.clone()).or_default();
                    *count += 1;
                    graph.set_name(output, ValueName::new(&format!("{op}_{count}")));
                }
            }
        }
    }
}

/// What each pass changed in the text of a module.
#[derive(Default)]
struct Story {
    text: String,
    blobs: Blobs,
    chapters: Vec<(&'static str, String)>,
}

impl Story {
    /// Takes the module as it is now; gives what changed.
    fn tell(&mut self, module: &GraphModule) -> String {
        /// Wide enough to show everything; the library multiplies it.
        const CONTEXT: usize = 100_000;
        let mut printer = Printer::new(Style::Faithful).blobs(&mut self.blobs, 1);
        let text = outline(&printer.module(module));
        let diff = if text == self.text {
            format!("unchanged\n\n{text}")
        } else {
            TextDiff::from_lines(&self.text, &text)
                .unified_diff()
                .context_radius(CONTEXT)
                .header("before", "after")
                .to_string()
        };
        self.text = text;
        diff
    }
}

impl Instrument for Story {
    fn after_pass(&mut self, pass: &dyn Pass, module: &GraphModule, _: &PassReport) {
        let diff = self.tell(module);
        self.chapters.push((pass.name(), diff));
    }
}

/// The text of a module without what is inside submodules, without other classes than the root's, and with one scale for all channels.
fn outline(text: &str) -> String {
    let mut sections = text.split("\n\n");
    let objects = sections.next().unwrap_or_default();
    let root = sections.next().unwrap_or_default();
    let objects = objects
        .lines()
        .filter(|line| !line.starts_with("    ") && *line != "  }");
    let lines = objects.chain([""]).chain(root.lines());
    lines
        .filter(|line| !line.starts_with("  fields ("))
        .map(|line| short(&short(line, "scale=["), "zero_point=[") + "\n")
        .collect()
}

/// A line with the rest of the list that begins in this way left out.
fn short(line: &str, list: &str) -> String {
    let parts = line.split_once(list).and_then(|(before, rest)| {
        let (elements, after) = rest.split_once(']')?;
        let (first, _) = elements.split_once(',')?;
        Some(format!("{before}{list}{first}, …]{after}"))
    });
    parts.unwrap_or_else(|| line.to_owned())
}

#[test]
fn wrong_texts_are_reported_with_their_lines() {
    let mut cases: Vec<PathBuf> = std::fs::read_dir(root().join("tests/cases/errors"))
        .expect("the cases are in the repository")
        .map(|entry| entry.expect("readable").path())
        .collect();
    cases.sort();
    for case in cases {
        let text = std::fs::read_to_string(&case).expect("readable");
        let about = text.lines().next().and_then(|line| line.strip_prefix("# "));
        let case = case.strip_prefix(root()).expect("below the root");
        let ran = Command::new(env!("CARGO_BIN_EXE_planish"))
            .current_dir(root())
            .arg("opt")
            .arg(case)
            .output()
            .expect("the program was built for this test");
        assert_eq!(ran.status.code(), Some(1), "{}", case.display());
        assert_eq!(String::from_utf8_lossy(&ran.stdout), "");
        let mut settings = settings("errors");
        settings.set_description(about.expect("a case begins with what it shows"));
        settings.set_input_file(case);
        let name = case.file_stem().unwrap_or_default().to_string_lossy();
        let said = String::from_utf8_lossy(&ran.stderr);
        settings.bind(|| insta::assert_snapshot!(name.as_ref(), said));
    }
}
