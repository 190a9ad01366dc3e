//! The oracle: small quantized modules, each with what PyTorch's own Finalize makes of it and the outputs of its finalized module.
//!
//! Every case is one trial of three families. `graph::<case>` imports the module, finalizes it, counts what is left in float, runs it by the
//! reference evaluator and compares outputs with PyTorch's to the bit. `proof::<case>` proves every single rewrite on the way: what it made
//! is compared with what it matched on random and on boundary inputs. `kernels::<case>` compiles it for this processor and for any
//! processor, and compares the programs' outputs with the evaluator's to the bit.
//!
//! Outputs are equal to the bit; cases from elsewhere may be off by the last bits where operators on floats remain that
//! `docs/numerics.md` does not pin.
//!
//! Where a case differs from PyTorch's because PyTorch is wrong in a known way, `oracle/defects.rs` recognises and proves it; other
//! differences stand in `oracle_deviations.txt`, with how and why. A difference that is neither fails, and so does a listed one that is not
//! there. The cases are those of `tests/fixtures/oracle` and of `oracle_more` beside it, which `tools/oracle.py` made, or those of the
//! folder that `PLANISH_ORACLE_DIR` names.

#[path = "oracle/case.rs"]
mod case;
#[path = "oracle/compiled.rs"]
mod compiled;
#[path = "oracle/defects.rs"]
mod defects;
#[path = "oracle/deviations.rs"]
mod deviations;
#[path = "oracle/float.rs"]
mod float;
#[path = "oracle/ledger.rs"]
mod ledger;
#[path = "oracle/proofs.rs"]
mod proofs;
#[path = "oracle/unfused.rs"]
mod unfused;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use libtest_mimic::{Arguments, Failed, Trial};

use crate::case::{Case, Equality, Found, Kind};
use crate::compiled::Compiler;
use crate::deviations::Deviations;
use crate::ledger::Ledger;
use crate::proofs::Proofs;

fn main() -> ExitCode {
    // The pool's workers are this program, started again.
    if let Some(code) = planish::pool::enter_if_asked(&planish::selftest::handlers()) {
        return code;
    }
    let args = Arguments::from_args();
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let elsewhere = std::env::var_os("PLANISH_ORACLE_DIR").map(PathBuf::from);
    let folders = match &elsewhere {
        Some(folder) => vec![folder.clone()],
        None => vec![
            tests.join("fixtures/oracle"),
            tests.join("fixtures/oracle_more"),
        ],
    };
    let deviations = Arc::new(Deviations::read(&tests.join("oracle_deviations.txt")));
    let cases: Vec<Case> = folders
        .iter()
        .flat_map(|folder| Case::all(folder))
        .collect();
    let ledger = Arc::new(Ledger::default());
    let proofs = Arc::new(Proofs::default());
    let compiler = Arc::new(Compiler::new());

    let own = elsewhere.is_none();
    let mut trials = Vec::new();
    for case in &cases {
        let (case, deviations, ledger) =
            (case.clone(), Arc::clone(&deviations), Arc::clone(&ledger));
        trials.push(Trial::test(format!("graph::{}", case.name), move || {
            let found = case.examine();
            ledger.note(&case.name, &found);
            if own && matches!(found, Found::Equal(Equality::Near)) {
                return Err("outputs are only nearly equal to PyTorch's".into());
            }
            let checked = deviations.check(&case.name, &Kind::OF_GRAPHS, found.differences());
            checked.map_err(Failed::from)
        }));
    }
    for case in &cases {
        let (case, proofs) = (case.clone(), Arc::clone(&proofs));
        trials.push(Trial::test(format!("proof::{}", case.name), move || {
            if let Some(proof) = case.prove()? {
                proofs.note(&case.name, &proof);
            }
            Ok(())
        }));
    }
    for case in &cases {
        let (case, deviations, compiler) =
            (case.clone(), Arc::clone(&deviations), Arc::clone(&compiler));
        trials.push(Trial::test(format!("kernels::{}", case.name), move || {
            let found = compiler.compare(&case);
            let checked = deviations.check(&case.name, &Kind::OF_PROGRAMS, &found);
            checked.map_err(Failed::from)
        }));
    }
    if own {
        let unknown: Vec<String> = deviations.unknown(&cases);
        trials.push(Trial::test("deviations::every_case_exists", move || {
            if unknown.is_empty() {
                return Ok(());
            }
            Err(format!("there is no case {}", unknown.join(", ")).into())
        }));
    }

    let conclusion = libtest_mimic::run(&args, trials);
    if !args.list {
        let _ = writeln!(std::io::stdout(), "{ledger}{proofs}{compiler}");
    }
    // Ends the workers, and removes the cache.
    drop(compiler);
    conclusion.exit_code()
}
