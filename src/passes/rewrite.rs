//! The rewrite engine: rules as data, and one walk that applies them.
//!
//! A rule file ([`RuleSet::parse`]) holds families of rules and tables that fill them in. They are expanded to concrete rules, compiled
//! into patterns, and indexed by root and by what the root's first operand is computed by, so that a node costs one look-up and not a scan
//! of all rules. docs/rules.md has the dialect and the laws of rules.
//!
//! Absent by design: rewrites that need more than operands and guards. They are passes.

mod bound;
mod compile;
mod driver;
mod expand;
mod expr;
mod facts;
mod guard;
mod matcher;
mod near;
mod overlap;
mod parse;
mod rule;
#[cfg(test)]
mod tests;
mod watch;

pub use bound::Bound;
pub use near::NearMiss;
pub use overlap::overlaps;
pub use rule::{Rule, RuleSet};

pub(crate) use driver::{Applied, Outcome, forget, rewrite};
pub(crate) use facts::{Facts, Written, root_objects};
pub(crate) use near::{Misses, misses, nearest};
pub(crate) use watch::Watch;

/// What is wrong with a rule file.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("read rules {file}:{line}: {message}")]
pub struct RuleError {
    /// The file's name.
    pub file: &'static str,
    /// The line, from 1.
    pub line: usize,
    /// What is wrong.
    pub message: String,
}
