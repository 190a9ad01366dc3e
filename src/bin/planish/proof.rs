//! Proofs of rewrites: the inputs that they are tried on, and what becomes of one that is wrong.

use std::io::Write;
use std::path::Path;

use planish::check::Samples;
use planish::counterexample;
use planish::ir::Literal;
use planish::passes::{Counterexample, Proof};

use crate::diagnose::{Failure, failed};

/// The tensors `input.0`, `input.1`, … of a file.
pub fn inputs(path: &Path) -> Result<Vec<Literal>, Failure> {
    let samples = Samples::open(path).map_err(|error| failed(&error))?;
    Ok(samples.inputs.into_iter().map(Literal::Tensor).collect())
}

/// Refuses a proof that had nothing to go by.
pub fn answered(proof: &Proof) -> Result<(), Failure> {
    let Some(reason) = &proof.unanswered else {
        return Ok(());
    };
    let failure = format!("failed to prove: forward does not answer the inputs: {reason}");
    Err(Failure::input(failure))
}

/// Keeps a counter-example in a folder and says so. planish is at fault, not its input.
pub fn disproved(found: &Counterexample, folder: &Path) -> Failure {
    let failure = Failure::internal(format!("failed to prove {}: {found}", found.pass));
    match counterexample::save(found, folder) {
        Ok(()) => {
            let folder = folder.display();
            failure.hint(format!(
                "the counter-example is kept; `planish opt --replay {folder}` runs it again"
            ))
        }
        Err(error) => failure.hint(format!(
            "the counter-example is lost: {}",
            failed(&error).message
        )),
    }
}

/// Runs a counter-example again.
pub fn replay(folder: &Path, out: &mut impl Write) -> Result<(), Failure> {
    let found = counterexample::open(folder).map_err(|error| failed(&error))?;
    let told = found.replay().map_err(|error| failed(&error))?;
    let place = match found.number {
        Some(number) => format!(
            "rewrite {number} of {}, by the rule {:?}",
            found.pass, found.step
        ),
        None => format!("the step {} of {}", found.step, found.pass),
    };
    match told {
        Some(difference) => Err(Failure::internal(format!("{place}: {difference}"))),
        None => Ok(writeln!(
            out,
            "{place}: the answers are the same, within {}",
            found.bound
        )?),
    }
}
