//! The reviewed list of differences from PyTorch.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use crate::case::{Case, Kind};

/// Differences that are meant to be, by case.
pub(crate) struct Deviations(BTreeMap<String, BTreeSet<Kind>>);

impl Deviations {
    /// Reads the list: lines `case kind: reason`, comments from `#`.
    pub(crate) fn read(path: &Path) -> Self {
        let text = fs::read_to_string(path)
            .unwrap_or_else(|error| panic!("failed to read {}: {error}", path.display()));
        let mut listed: BTreeMap<String, BTreeSet<Kind>> = BTreeMap::new();
        for line in text.lines().map(str::trim) {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let Some((case, kind)) = entry(line) else {
                panic!("{} is not `case kind: reason`: {line}", path.display());
            };
            listed.entry(case.to_owned()).or_default().insert(kind);
        }
        Self(listed)
    }

    /// Whether the differences that were found are those that are listed, as far as they are of the kinds that were looked for.
    pub(crate) fn check(
        &self,
        case: &str,
        sought: &[Kind],
        found: &[(Kind, String)],
    ) -> Result<(), String> {
        let mut listed = self.0.get(case).cloned().unwrap_or_default();
        listed.retain(|kind| sought.contains(kind));
        let kinds: BTreeSet<Kind> = found.iter().map(|(kind, _)| *kind).collect();
        let mut faults: Vec<String> = found
            .iter()
            .filter(|(kind, _)| !listed.contains(kind))
            .map(|(kind, what)| format!("{}: {what}", kind.word()))
            .collect();
        faults.extend(
            listed
                .difference(&kinds)
                .map(|kind| format!("it is listed as `{}` and is not", kind.word())),
        );
        if faults.is_empty() {
            Ok(())
        } else {
            Err(faults.join("\n"))
        }
    }

    /// Listed cases that there are none of.
    pub(crate) fn unknown(&self, cases: &[Case]) -> Vec<String> {
        let unknown = self
            .0
            .keys()
            .filter(|name| !cases.iter().any(|case| case.name == **name));
        unknown.cloned().collect()
    }
}

impl Kind {
    /// What can differ between planish's module and PyTorch's.
    pub(crate) const OF_GRAPHS: [Self; 5] = [
        Self::Outputs,
        Self::Raised,
        Self::Leftover,
        Self::Refused,
        Self::NotYet,
    ];

    /// What can differ between a program and its module.
    pub(crate) const OF_PROGRAMS: [Self; 1] = [Self::Program];

    /// The word for it in the list.
    fn word(self) -> &'static str {
        match self {
            Self::Outputs => "outputs",
            Self::Raised => "raised",
            Self::Leftover => "leftover",
            Self::Refused => "refused",
            Self::NotYet => "not-yet",
            Self::Program => "program",
        }
    }
}

fn entry(line: &str) -> Option<(&str, Kind)> {
    let (head, reason) = line.split_once(':')?;
    let (case, word) = head.split_once(' ')?;
    let kind = Kind::OF_GRAPHS
        .into_iter()
        .chain(Kind::OF_PROGRAMS)
        .find(|kind| kind.word() == word.trim())?;
    (!reason.trim().is_empty()).then_some((case, kind))
}
