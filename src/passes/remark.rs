//! What passes did, and what they declined to do and why, as data.

use std::fmt;

use planish_ir::{Graph, Loc, NodeId};

/// Remarks in the order in which they were made.
#[derive(Clone, Debug, Default)]
pub struct Remarks {
    entries: Vec<Remark>,
}

/// One thing that a pass did or declined to do.
#[derive(Clone, Debug, PartialEq)]
pub struct Remark {
    /// What happened.
    pub kind: RemarkKind,
    /// The pass.
    pub pass: &'static str,
    /// The rule or the step of the pass.
    pub rule: String,
    /// The method it happened in.
    pub method: String,
    /// The operator of the node it happened at.
    pub op: String,
    /// Where the node came from.
    pub loc: Option<Loc>,
    /// For a rewrite what came out; else the first condition that failed.
    pub reason: String,
}

/// Kinds of remarks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RemarkKind {
    /// A rewrite was made.
    Passed,
    /// A rewrite was declined.
    Missed,
    /// Something worth knowing.
    Analysis,
}

impl Remarks {
    /// Adds a remark.
    pub fn push(&mut self, remark: Remark) {
        self.entries.push(remark);
    }

    /// All remarks.
    pub fn entries(&self) -> &[Remark] {
        &self.entries
    }

    /// The remarks of one kind.
    pub fn of(&self, kind: RemarkKind) -> impl Iterator<Item = &Remark> {
        self.entries
            .iter()
            .filter(move |remark| remark.kind == kind)
    }
}

impl Remark {
    /// A remark at a node.
    pub fn at(
        kind: RemarkKind,
        pass: &'static str,
        rule: impl Into<String>,
        (method, graph, node): (&str, &Graph, NodeId),
        reason: impl Into<String>,
    ) -> Self {
        let node = graph.node(node);
        Self {
            kind,
            pass,
            rule: rule.into(),
            method: method.to_owned(),
            op: node.op().name().to_string(),
            loc: node.loc,
            reason: reason.into(),
        }
    }
}

impl fmt::Display for Remark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            RemarkKind::Passed => "passed",
            RemarkKind::Missed => "missed",
            RemarkKind::Analysis => "note",
        };
        write!(
            f,
            "{kind} {} {}: {} in {}",
            self.pass, self.rule, self.op, self.method
        )?;
        if let Some(loc) = self.loc {
            write!(f, " ({loc})")?;
        }
        write!(f, ": {}", self.reason)
    }
}
