//! The closing table.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Mutex, PoisonError};

use crate::case::{Equality, Found, Kind};
use crate::defects::Defect;

/// Which cases came out how.
#[derive(Default)]
pub(crate) struct Ledger(Mutex<BTreeMap<Line, BTreeSet<String>>>);

/// The lines of the table, in their order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Line {
    Exact,
    Better,
    Near,
    Beside(Defect),
    Deviating,
    Refused,
    BothRefuse,
    NotYet,
    Absent,
}

impl Ledger {
    /// Notes a case.
    pub(crate) fn note(&self, case: &str, found: &Found) {
        let line = match found {
            Found::Absent => Line::Absent,
            Found::Equal(Equality::Exact) => Line::Exact,
            Found::Equal(Equality::Better) => Line::Better,
            Found::Equal(Equality::Near) => Line::Near,
            Found::BothRefuse => Line::BothRefuse,
            Found::Beside(defect) => Line::Beside(*defect),
            Found::Different(what) => {
                let has = |kind| what.iter().any(|(found, _)| *found == kind);
                if has(Kind::Refused) {
                    Line::Refused
                } else if has(Kind::NotYet) {
                    Line::NotYet
                } else {
                    Line::Deviating
                }
            }
        };
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lines.entry(line).or_default().insert(case.to_owned());
    }
}

impl Line {
    fn all() -> impl Iterator<Item = Self> {
        let equal = [Self::Exact, Self::Better, Self::Near].into_iter();
        let beside = Defect::ALL.into_iter().map(Self::Beside);
        let others = [
            Self::Deviating,
            Self::Refused,
            Self::BothRefuse,
            Self::NotYet,
            Self::Absent,
        ];
        equal.chain(beside).chain(others)
    }

    fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::Exact => ("exact", "outputs equal PyTorch's to the bit"),
            Self::Better => (
                "better",
                "PyTorch's finalized module fails; outputs equal the module's before Finalize",
            ),
            Self::Near => (
                "tolerance",
                "operators on floats remain that are not reproduced to the bit: within 1e-5",
            ),
            Self::Beside(defect) => ("defect", defect.words()),
            Self::Deviating => ("deviating", "listed with reasons"),
            Self::Refused => ("refused", "listed with reasons"),
            Self::BothRefuse => ("both refuse", "PyTorch fails, planish says why"),
            Self::NotYet => ("not yet", "listed"),
            Self::Absent => ("absent", "PyTorch could not make the module"),
        }
    }
}

impl fmt::Display for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let all: usize = lines.values().map(BTreeSet::len).sum();
        writeln!(f, "{:<12}{all:>5}", "cases")?;
        let none = BTreeSet::new();
        for line in Line::all() {
            let (word, meaning) = line.words();
            let cases = lines.get(&line).unwrap_or(&none);
            writeln!(f, "{word:<12}{:>5}   {meaning}", cases.len())?;
            if line != Line::Exact && !cases.is_empty() {
                let names: Vec<&str> = cases.iter().map(String::as_str).collect();
                writeln!(f, "{:20}{}", "", names.join(", "))?;
            }
        }
        Ok(())
    }
}
