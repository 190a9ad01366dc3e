//! What was proven of the rewrites that finalizing the cases takes.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Mutex, PoisonError};

use planish::passes::Proof;

/// The proofs of all cases, added up.
#[derive(Default)]
pub(crate) struct Proofs(Mutex<Totals>);

#[derive(Default)]
struct Totals {
    cases: usize,
    rewrites: usize,
    trials: usize,
    steps: usize,
    unreached: BTreeSet<String>,
}

impl Proofs {
    /// Notes the proof of a case.
    pub(crate) fn note(&self, case: &str, proof: &Proof) {
        let mut totals = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        totals.cases += 1;
        totals.rewrites += proof.rewrites;
        totals.trials += proof.trials;
        totals.steps += proof.steps;
        let unreached = proof.unreached.iter();
        totals
            .unreached
            .extend(unreached.map(|(rule, method)| format!("{case}: {rule} in {method}")));
    }
}

impl fmt::Display for Proofs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let totals = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        writeln!(
            f,
            "{:<12}{:>5}   {} single rewrites, by {} trials, and {} other steps",
            "proofs", totals.cases, totals.rewrites, totals.trials, totals.steps
        )?;
        for unreached in &totals.unreached {
            writeln!(f, "{:20}no input reaches {unreached}", "")?;
        }
        Ok(())
    }
}
