//! What is told of every single rewrite while passes run, so that each can be proven on its own.

use planish_ir::{Graph, GraphModule, ValueId};

use crate::rewrite::Rule;

/// Watches rewrites one by one. Without one nothing is lifted out and nothing is spent.
pub trait Observer {
    /// A pass is about to run.
    fn before_pass(&mut self, pass: &'static str, module: &GraphModule);

    /// A rule was applied.
    fn rewrite(&mut self, rewrite: Rewrite<'_>);

    /// A step of a pass, which no rule stands for, has changed the module.
    fn step(&mut self, step: &'static str, module: &GraphModule);

    /// A pass has run.
    ///
    /// # Errors
    /// Why what it did must not stand, in words.
    fn after_pass(&mut self, pass: &'static str, module: &GraphModule) -> Result<(), String>;
}

/// One application of a rule.
///
/// What the pattern matched and what took its place are graphs of their own here, with the same parameters. Constants stand in both.
pub struct Rewrite<'a> {
    /// The rule.
    pub rule: &'a Rule,
    /// Which rewrite of the pipeline it is, from 1: the fuel that ends right after it.
    pub number: u64,
    /// The method.
    pub method: &'a str,
    /// The method's graph afterwards.
    pub graph: &'a Graph,
    /// What was matched; its result is the root's output.
    pub before: Graph,
    /// What took its place; its results are what its operations compute, the last one in the place of the root's output.
    pub after: Graph,
    /// The values of the method that are the parameters of both.
    pub inputs: Vec<Input>,
    /// The root's output, which has no users any more.
    pub old: ValueId,
    /// The values of the method that are the results of `after`.
    pub made: Vec<ValueId>,
}

/// A value that a rewrite reads and does not compute.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Input {
    /// The value.
    pub value: ValueId,
    /// Whether it is the same on every run, as a weight is.
    pub constant: bool,
    /// Whether it is a list that something writes to.
    pub grows: bool,
}
