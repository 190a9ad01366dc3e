//! The number of threads shows in no result: the same input gives the same text, byte for byte.

use std::fmt::Write as _;
use std::path::Path;

use planish::ir::text::{Printer, Style};
use planish::prelude::*;

#[test]
fn one_thread_and_four_finalize_alike() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/oracle");
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .expect("the cases are in the repository")
        .map(|entry| entry.expect("readable").path().join("before.pt"))
        .filter(|file| file.exists())
        .collect();
    files.sort();
    let finalized = |threads: usize| -> Vec<String> {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
        let pool = pool.build().expect("threads can be started");
        pool.install(|| files.iter().map(|file| finalize(file)).collect())
    };
    let (one, four) = (finalized(1), finalized(4));
    for ((file, one), four) in files.iter().zip(&one).zip(&four) {
        assert!(one == four, "{} differs", file.display());
    }
}

/// The finalized module and what was said of it, or the refusal.
fn finalize(file: &Path) -> String {
    let mut module = match planish::import::open(file) {
        Ok(module) => module,
        Err(error) => return error.to_string(),
    };
    match Finalize::for_target(Target::host()).graph_only(&mut module) {
        Ok(remarks) => {
            let mut text = Printer::new(Style::Canonical).module(&module);
            for remark in remarks.entries() {
                let _ = writeln!(text, "# {remark}");
            }
            text
        }
        Err(error) => error.to_string(),
    }
}
