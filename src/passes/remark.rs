//! What passes did, and what they declined to do and why, as data.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use planish_ir::{Graph, Label, Loc, NodeId};

/// Remarks in the order in which they were made.
#[derive(Clone, Debug, Default)]
pub struct Remarks {
    entries: Vec<Remark>,
    /// The first remark on something declined at a node, by method and node.
    missed: HashMap<(&'static str, NodeId), usize>,
}

/// One thing that a pass did or declined to do. There is one for every rewrite: what it says is shared with others or held as it is.
#[derive(Clone, Debug, PartialEq)]
pub struct Remark {
    /// What happened.
    pub kind: RemarkKind,
    /// The pass.
    pub pass: &'static str,
    /// The rule or the step of the pass.
    pub rule: &'static str,
    /// The rule's number.
    pub number: Option<u32>,
    /// The method it happened in.
    pub method: &'static str,
    /// The node it happened at; it may be gone by now.
    pub node: NodeId,
    /// The node's operator.
    pub op: &'static str,
    /// The first value that the node computes.
    pub value: Option<Label>,
    /// Where the node came from.
    pub loc: Option<Loc>,
    /// For a rewrite what came out; else the first condition that failed.
    pub reason: Arc<str>,
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
    /// Makes room for so many more.
    pub(crate) fn reserve(&mut self, more: usize) {
        self.entries.reserve(more);
    }

    /// Adds a remark.
    pub fn push(&mut self, remark: Remark) {
        if remark.kind == RemarkKind::Missed {
            let key = (remark.method, remark.node);
            self.missed.entry(key).or_insert(self.entries.len());
        }
        self.entries.push(remark);
    }

    /// Why nothing was made of a node: the first remark on something declined there.
    pub fn missed_at(&self, method: &str, node: NodeId) -> Option<&Remark> {
        let missed: &HashMap<(&str, NodeId), usize> = &self.missed;
        let at = missed.get(&(method, node))?;
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
        rule: &'static str,
        (method, graph, node): (&'static str, &Graph, NodeId),
        reason: impl Into<Arc<str>>,
    ) -> Self {
        let (id, node) = (node, graph.node(node));
        let value = node.outputs().first().map(|value| graph.label(*value));
        Self {
            kind,
            pass,
            rule,
            number: None,
            method,
            node: id,
            op: node.op().name().as_str(),
            value,
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
    pub fn numbered_rule(&self) -> Option<(u32, &'static str)> {
        Some((self.number?, self.rule))
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
        if let Some(value) = &self.value {
            write!(f, " {value}")?;
        }
        write!(f, " in {}", self.method)?;
        if let Some(loc) = self.loc {
            write!(f, " ({loc})")?;
        }
        write!(f, ": {}", self.reason)
    }
}
