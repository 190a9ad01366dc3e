//! Does a rule match at a node? If it does not, the first condition that fails is the answer.
//!
//! The contract is PyTorch's with the differences that docs/rules.md lists. The shape is compared first, from the root through operands;
//! then that all stand in one block, that nobody else reads what would be gone, the guards, and last that nothing in between writes to
//! what the replacement reads where the root stands.

use std::fmt;

use planish_ir::{Def, Graph, Literal, NodeId, Op, ValueId};

use super::facts::Facts;
use super::guard::{Verdict, show};
use super::rule::{Rule, Step, Term};

/// Where the values and steps of a rule are found in a graph.
#[derive(Debug)]
pub(super) struct Match {
    /// For each step of the pattern, its node.
    pub(super) nodes: Vec<NodeId>,
    /// For each value of the rule, its value; `None` for those of the replacement.
    pub(super) values: Vec<Option<ValueId>>,
}

/// Why a rule does not match.
#[derive(Debug)]
pub(super) struct Miss {
    pub(super) why: Why,
    /// Nodes that did match.
    pub(super) matched: usize,
}

/// The first condition that fails.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Why {
    /// The root is another overload of the operator.
    Overload { expected: Op, found: Op },
    /// Something else computes an operand.
    Producer {
        of: Op,
        operand: usize,
        expected: Op,
        found: Option<Op>,
    },
    /// The operator has other numbers of operands or results than its schema says, or attributes or blocks.
    Form(Op),
    /// An operand is another constant, or none.
    Constant {
        of: Op,
        operand: usize,
        /// The pattern's constant, and what is found.
        constants: Box<(Literal, Option<Literal>)>,
    },
    /// Two operands must be one value.
    Differs { of: Op, operand: usize },
    /// An operation stands in another block than the root.
    Block(Op),
    /// A value has users outside the pattern.
    Shared {
        op: Op,
        expected: usize,
        found: usize,
    },
    /// A guard says no.
    Guard(String),
    /// A guard says that the rule does not speak about this.
    Irrelevant,
    /// An operation in between may write to what the replacement reads.
    Written(Op),
}

/// Matches a rule with a node as its root.
pub(super) fn find(
    rule: &Rule,
    graph: &Graph,
    root: NodeId,
    facts: &Facts<'_>,
) -> Result<Match, Miss> {
    let mut search = Search {
        rule,
        graph,
        facts,
        nodes: vec![None; rule.pattern.len()],
        values: vec![None; rule.vars.len()],
    };
    let outcome = search.root(root);
    let matched = search.nodes.iter().flatten().count();
    match outcome {
        Ok(()) => Ok(Match {
            nodes: search.nodes.into_iter().flatten().collect(),
            values: search.values,
        }),
        Err(why) => Err(Miss { why, matched }),
    }
}

struct Search<'a> {
    rule: &'a Rule,
    graph: &'a Graph,
    facts: &'a Facts<'a>,
    nodes: Vec<Option<NodeId>>,
    values: Vec<Option<ValueId>>,
}

impl Search<'_> {
    fn root(&mut self, root: NodeId) -> Result<(), Why> {
        let (expected, found) = (self.rule.root().op, self.graph.node(root).op());
        if !names(expected, found) {
            return Err(Why::Overload { expected, found });
        }
        self.step(self.rule.pattern.len() - 1, root)?;
        self.conditions(root)
    }

    fn step(&mut self, at: usize, id: NodeId) -> Result<(), Why> {
        let (step, node) = (&self.rule.pattern[at], self.graph.node(id));
        let plain = node.attrs().len() == 0 && node.blocks().is_empty();
        if !plain
            || node.inputs().len() != step.inputs.len()
            || node.outputs().len() != step.outputs.len()
        {
            return Err(Why::Form(node.op()));
        }
        self.nodes[at] = Some(id);
        for (var, value) in step.outputs.iter().zip(node.outputs()) {
            self.values[*var] = Some(*value);
        }
        for (operand, (term, value)) in step.inputs.iter().zip(node.inputs()).enumerate() {
            self.operand(step, operand, term, *value)?;
        }
        Ok(())
    }

    fn operand(
        &mut self,
        step: &Step,
        operand: usize,
        term: &Term,
        value: ValueId,
    ) -> Result<(), Why> {
        let of = step.op;
        let var = match term {
            Term::Literal(expected) => {
                let found = self.facts.literal(self.graph, value);
                if found != Some(expected) {
                    return Err(Why::Constant {
                        of,
                        operand,
                        constants: Box::new((expected.clone(), found.cloned())),
                    });
                }
                return Ok(());
            }
            Term::Var(var) => *var,
        };
        if let Some(bound) = self.values[var] {
            return if bound == value {
                Ok(())
            } else {
                Err(Why::Differs { of, operand })
            };
        }
        let Some((at, output)) = self.rule.vars[var].def else {
            self.values[var] = Some(value);
            return Ok(());
        };
        let expected = self.rule.pattern[at].op;
        let producer = match self.graph.value(value).def() {
            Def::Output(node, index)
                if index as usize == output && names(expected, self.graph.node(node).op()) =>
            {
                Some(node)
            }
            _ => None,
        };
        if let Some(node) = producer {
            return self.step(at, node);
        }
        let found = self.graph.producer(value);
        let found = found.map(|node| self.graph.node(node).op());
        Err(Why::Producer {
            of,
            operand,
            expected,
            found,
        })
    }

    fn conditions(&self, root: NodeId) -> Result<(), Why> {
        let block = self.graph.node(root).block();
        // From the root upwards: what stands nearest to it is the reason.
        for node in self.nodes.iter().rev().flatten() {
            if self.graph.node(*node).block() != block {
                return Err(Why::Block(self.graph.node(*node).op()));
            }
        }
        for (info, value) in self.rule.vars.iter().zip(&self.values) {
            let (Some((step, _)), Some(value)) = (info.def, value) else {
                continue;
            };
            let op = self.rule.pattern[step].op;
            let found = self.graph.value(*value).uses().len();
            if step + 1 < self.rule.pattern.len() && found != info.uses && !may_be_shared(op) {
                return Err(Why::Shared {
                    op,
                    expected: info.uses,
                    found,
                });
            }
        }
        for guard in &self.rule.guards {
            let args: Vec<ValueId> = guard
                .args
                .iter()
                .filter_map(|var| self.values[*var])
                .collect();
            match guard.check(self.facts, self.graph, &args) {
                Verdict::Holds => {}
                Verdict::Fails(reason) => {
                    let about = guard
                        .args
                        .first()
                        .map_or("", |var| &self.rule.vars[*var].name);
                    return Err(Why::Guard(format!("%{about} {reason}")));
                }
                Verdict::Irrelevant => return Err(Why::Irrelevant),
            }
        }
        self.nothing_written(root)
    }

    /// The replacement reads the pattern's inputs where the root stands instead of where its first operation stood.
    fn nothing_written(&self, root: NodeId) -> Result<(), Why> {
        let inputs = self
            .rule
            .vars
            .iter()
            .zip(&self.values)
            .filter(|(info, _)| info.def.is_none());
        let inputs: Vec<ValueId> = inputs.filter_map(|(_, value)| *value).collect();
        let mut left = self.nodes.len() - 1;
        let mut at = self.graph.node(root).prev();
        while let (Some(node), true) = (at, left > 0) {
            if self.nodes.contains(&Some(node)) {
                left -= 1;
            } else if self.facts.may_write(self.graph, node, &inputs) {
                return Err(Why::Written(self.graph.node(node).op()));
            }
            at = self.graph.node(node).prev();
        }
        Ok(())
    }
}

/// Whether a node with this operator is what a pattern names: the same overload, or an operator of that name that nobody declared.
fn names(pattern: Op, found: Op) -> bool {
    pattern == found
        || (pattern.name() == found.name() && found.schema().is_none() && !found.is_structural())
}

/// What only reads from a quantized tensor costs nothing: it may have other users, and then it stays.
fn may_be_shared(op: Op) -> bool {
    ["aten::q_scale", "aten::q_zero_point", "prim::dtype"]
        .iter()
        .any(|name| op.is(name))
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Overload { expected, found } => {
                write!(f, "the operator is {found}, not {expected}")
            }
            Self::Producer {
                of,
                operand,
                expected,
                found,
            } => {
                write!(f, "operand {operand} of {of} is ")?;
                match found {
                    Some(found) => write!(f, "computed by {found}, not by {expected}"),
                    None => write!(f, "a parameter, not computed by {expected}"),
                }
            }
            Self::Form(op) => write!(
                f,
                "{op} has attributes, blocks, or an unusual number of operands or results"
            ),
            Self::Constant {
                of,
                operand,
                constants,
            } => {
                let found = constants
                    .1
                    .as_ref()
                    .map_or_else(|| "not constant".to_owned(), show);
                write!(
                    f,
                    "operand {operand} of {of} is {found}, not {}",
                    show(&constants.0)
                )
            }
            Self::Differs { of, operand } => write!(
                f,
                "operand {operand} of {of} is not the value that the rest of the pattern reads"
            ),
            Self::Block(op) => write!(f, "{op} stands in another block"),
            Self::Shared {
                op,
                expected,
                found,
            } => write!(
                f,
                "what {op} computes is read {found} times, {expected} in the pattern"
            ),
            Self::Guard(reason) => f.write_str(reason),
            Self::Irrelevant => f.write_str("the rule does not apply"),
            Self::Written(op) => {
                write!(f, "{op}, which stands in between, may write to an operand")
            }
        }
    }
}
