//! What passes did, and what they declined to do and why, as data.

use std::collections::HashMap;
use std::fmt;

use planish_ir::{Graph, Loc, NodeId};

/// Remarks in the order in which they were made.
#[derive(Clone, Debug, Default)]
pub struct Remarks {
    entries: Vec<Remark>,
    /// The first remark on something declined at a node, by method and node.
    missed: HashMap<(String, NodeId), usize>,
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
    /// The rule's number.
    pub number: Option<u32>,
    /// The method it happened in.
    pub method: String,
    /// The node it happened at; it may be gone by now.
    pub node: NodeId,
    /// The node's operator.
    pub op: String,
    /// The first value that the node computes, by its name; empty when it computes none.
    pub value: String,
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
        if remark.kind == RemarkKind::Missed {
            let key = (remark.method.clone(), remark.node);
            self.missed.entry(key).or_insert(self.entries.len());
        }
        self.entries.push(remark);
    }

    /// Why nothing was made of a node: the first remark on something declined there.
    pub fn missed_at(&self, method: &str, node: NodeId) -> Option<&Remark> {
        let at = self.missed.get(&(method.to_owned(), node))?;
        Some(&self.entries[*at])
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
        let (id, node) = (node, graph.node(node));
        let value = node.outputs().first().map(|value| graph.label(*value));
        Self {
            kind,
            pass,
            rule: rule.into(),
            number: None,
            method: method.to_owned(),
            node: id,
            op: node.op().name().to_string(),
            value: value.unwrap_or_default(),
            loc: node.loc(),
            reason: reason.into(),
        }
    }

    /// This remark, with the number of its rule.
    #[must_use]
    pub fn numbered(mut self, number: u32) -> Self {
        self.number = Some(number);
        self
    }
}

impl Remark {
    /// The number and the name of its rule; `None` when it is not about a rule.
    pub fn numbered_rule(&self) -> Option<(u32, String)> {
        Some((self.number?, self.rule.clone()))
    }
}

impl fmt::Display for Remark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            RemarkKind::Passed => "passed",
            RemarkKind::Missed => "missed",
            RemarkKind::Analysis => "note",
        };
        write!(f, "{kind} {} ", self.pass)?;
        if let Some(number) = self.number {
            write!(f, "{number} ")?;
        }
        write!(f, "{}: {}", self.rule, self.op)?;
        if !self.value.is_empty() {
            write!(f, " {}", self.value)?;
        }
        write!(f, " in {}", self.method)?;
        if let Some(loc) = self.loc {
            write!(f, " ({loc})")?;
        }
        write!(f, ": {}", self.reason)
    }
}
