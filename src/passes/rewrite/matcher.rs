//! Does a rule match at a node? If it does not, the first condition that fails is the answer.
//!
//! The contract is PyTorch's with the differences that docs/rules.md lists. The shape is compared first, from the root through operands;
//! then that all stand in one block, that nobody else reads what would be gone, the guards, and last that nothing in between writes to
//! what the replacement reads where the root stands.

use smallvec::{SmallVec, smallvec};

use planish_ir::{Def, Graph, Literal, NodeId, Op, Use, ValueId};

use super::facts::Facts;
use super::guard::{Verdict, show};
use super::rule::{Rule, Step, Term};
use crate::analysis::codes::plain_among;

/// Where the values and steps of a rule are found in a graph.
#[derive(Debug)]
pub(super) struct Match {
    /// For each step of the pattern, its node.
    pub(super) nodes: SmallVec<[NodeId; 8]>,
    /// For each value of the rule, its value; `None` for those of the replacement.
    pub(super) values: SmallVec<[Option<ValueId>; 24]>,
}

/// Why a rule does not match.
#[derive(Debug)]
pub(super) struct Miss<'r> {
    pub(super) why: Why<'r>,
    /// Nodes that did match.
    pub(super) matched: usize,
}

/// The first condition that fails.
#[derive(Debug)]
pub(super) enum Why<'r> {
    /// The root is another overload of the operator.
    Overload { expected: Op, found: Op },
    /// Something else computes an operand.
    Producer {
        of: Op,
        operand: usize,
        value: ValueId,
        expected: Op,
    },
    /// Something else reads what an operator of the pattern computes.
    Reader {
        of: Op,
        value: ValueId,
        expected: Op,
    },
    /// The operator has other numbers of operands or results than its schema says, or attributes or blocks.
    Form(Op),
    /// An operand is another constant, or none.
    Constant {
        of: Op,
        operand: usize,
        value: ValueId,
        expected: &'r Literal,
    },
    /// Two operands must be one value.
    Differs {
        of: Op,
        operand: usize,
        value: ValueId,
        expected: ValueId,
    },
    /// An operation stands in another block than the root.
    Block { op: Op, value: Option<ValueId> },
    /// A value has users outside the pattern.
    Shared {
        op: Op,
        value: ValueId,
        expected: usize,
    },
    /// A guard says no.
    Guard {
        /// The guard's first argument: its name in the rule, and what it stands for.
        name: &'r str,
        value: Option<ValueId>,
        reason: String,
    },
    /// A guard says that the rule does not speak about this.
    Irrelevant,
    /// An operation in between may write to what the replacement reads.
    Written(NodeId),
    /// The result and what would stand for it must stay two tensors.
    Two { value: ValueId, reason: String },
}

/// Matches a rule with a node as its root.
pub(super) fn find<'r>(
    rule: &'r Rule,
    graph: &Graph,
    root: NodeId,
    facts: &Facts<'_>,
) -> Result<Match, Miss<'r>> {
    let mut search = Search {
        rule,
        graph,
        facts,
        nodes: smallvec![None; rule.pattern.len()],
        values: smallvec![None; rule.vars.len()],
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

struct Search<'a, 'r> {
    rule: &'r Rule,
    graph: &'a Graph,
    facts: &'a Facts<'a>,
    nodes: SmallVec<[Option<NodeId>; 8]>,
    values: SmallVec<[Option<ValueId>; 24]>,
}

impl<'r> Search<'_, 'r> {
    fn root(&mut self, root: NodeId) -> Result<(), Why<'r>> {
        let (expected, found) = (self.rule.root().op, self.graph.node(root).op());
        if !names(expected, found) {
            return Err(Why::Overload { expected, found });
        }
        self.step(self.rule.pattern.len() - 1, root)?;
        self.conditions(root)
    }

    fn step(&mut self, at: usize, id: NodeId) -> Result<(), Why<'r>> {
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
        step: &'r Step,
        operand: usize,
        term: &'r Term,
        value: ValueId,
    ) -> Result<(), Why<'r>> {
        let of = step.op;
        let var = match term {
            Term::Literal(expected) => {
                if self.facts.literal(self.graph, value) != Some(expected) {
                    return Err(Why::Constant {
                        of,
                        operand,
                        value,
                        expected,
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
                Err(Why::Differs {
                    of,
                    operand,
                    value,
                    expected: bound,
                })
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
        Err(Why::Producer {
            of,
            operand,
            value,
            expected,
        })
    }

    fn conditions(&self, root: NodeId) -> Result<(), Why<'r>> {
        if self.rule.becomes_a_value() {
            self.dequantizes_codes()?;
            self.guards()?;
            return self.is_one_tensor(root);
        }
        let block = self.graph.block_of(root);
        // From the root upwards: what stands nearest to it is the reason.
        for node in self.nodes.iter().rev().flatten() {
            if self.graph.block_of(*node) != block {
                let node = self.graph.node(*node);
                return Err(Why::Block {
                    op: node.op(),
                    value: node.outputs().first().copied(),
                });
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
                    value: *value,
                    expected: info.uses,
                });
            }
        }
        self.dequantizes_codes()?;
        self.guards()?;
        self.nothing_written(root)
    }

    fn guards(&self) -> Result<(), Why<'r>> {
        for guard in &self.rule.guards {
            let args: SmallVec<[ValueId; 4]> = guard
                .args
                .iter()
                .filter_map(|var| self.values[*var])
                .collect();
            match guard.check(self.facts, self.graph, &args) {
                Verdict::Holds => {}
                Verdict::Fails(reason) => {
                    let about = guard.args.first();
                    return Err(Why::Guard {
                        name: about.map_or("", |var| &self.rule.vars[*var].name),
                        value: args.first().copied(),
                        reason,
                    });
                }
                Verdict::Irrelevant => return Err(Why::Irrelevant),
            }
        }
        Ok(())
    }

    /// What takes the place of the root's output is then one tensor with it, wherever both stand. Nothing is computed anew, so that others
    /// may go on reading what the pattern computes.
    fn is_one_tensor(&self, root: NodeId) -> Result<(), Why<'r>> {
        let computed = self.nodes.iter().flatten();
        let computed = computed.flat_map(|node| self.graph.node(*node).outputs());
        let result = self.values[self.rule.result];
        let written = |value: &&ValueId| self.facts.is_written(**value);
        if let Some(value) = computed.chain(&result).copied().find(|v| written(&v)) {
            let reason = "something writes to it".to_owned();
            return Err(Why::Two { value, reason });
        }
        match result {
            Some(value) if self.facts.is_handed_through(self.graph, value, root) => {
                let reason = "the caller knows it, and expects another one as the result";
                let reason = reason.to_owned();
                Err(Why::Two { value, reason })
            }
            _ => Ok(()),
        }
    }

    /// Dequantizing plain numbers leaves them as they are; an operator on codes would not take them.
    fn dequantizes_codes(&self) -> Result<(), Why<'r>> {
        let steps = self.rule.pattern.iter();
        for step in steps.filter(|step| step.op.is("aten::dequantize")) {
            let [Term::Var(var)] = step.inputs[..] else {
                continue;
            };
            let info = &self.rule.vars[var];
            let (None, Some(value)) = (info.def, self.values[var]) else {
                continue;
            };
            if let Some(plain) = plain_among(self.graph, value) {
                let reason = if plain == value {
                    "is not quantized".to_owned()
                } else {
                    let plain = self.graph.label(plain);
                    format!("holds {plain}, which is not quantized")
                };
                return Err(Why::Guard {
                    name: &info.name,
                    value: Some(value),
                    reason,
                });
            }
        }
        Ok(())
    }

    /// The replacement reads the pattern's inputs where the root stands instead of where its first operation stood.
    fn nothing_written(&self, root: NodeId) -> Result<(), Why<'r>> {
        let inputs = self
            .rule
            .vars
            .iter()
            .zip(&self.values)
            .filter(|(info, _)| info.def.is_none());
        let inputs: SmallVec<[ValueId; 16]> = inputs.filter_map(|(_, value)| *value).collect();
        let mut left = self.nodes.len() - 1;
        let mut at = self.graph.prev(root);
        while let (Some(node), true) = (at, left > 0) {
            if self.nodes.contains(&Some(node)) {
                left -= 1;
            } else if self.facts.may_write(self.graph, node, &inputs) {
                return Err(Why::Written(node));
            }
            at = self.graph.prev(node);
        }
        Ok(())
    }
}

/// Whether a node with this operator is what a pattern names: the same overload, or an operator of that name that nobody declared.
pub(super) fn names(pattern: Op, found: Op) -> bool {
    pattern == found
        || (pattern.name() == found.name() && found.schema().is_none() && !found.is_structural())
}

/// What only reads from a quantized tensor costs nothing: it may have other users, and then it stays.
fn may_be_shared(op: Op) -> bool {
    [
        "aten::q_scale",
        "aten::q_zero_point",
        "prim::dtype",
        "aten::t",
    ]
    .iter()
    .any(|name| op.is(name))
}

impl Why<'_> {
    /// The condition in words, with the names of the values.
    pub(super) fn tell(&self, graph: &Graph, facts: &Facts<'_>) -> String {
        let label = |value: &ValueId| graph.label(*value).to_string();
        match self {
            Self::Overload { expected, found } => {
                format!("the operator is {found}, not {expected}")
            }
            Self::Producer {
                of,
                operand,
                value,
                expected,
            } => {
                let found = match graph.producer(*value) {
                    Some(node) => format!("computed by {}, not", graph.node(node).op()),
                    None => "a parameter, not computed".to_owned(),
                };
                let value = label(value);
                format!("operand {operand} of {of}, {value}, is {found} by {expected}")
            }
            Self::Reader {
                of,
                value,
                expected,
            } => {
                let found = readers(graph, *value);
                let value = label(value);
                format!("what {of} computes, {value}, {found} {expected}")
            }
            Self::Form(op) => {
                format!("{op} has attributes, blocks, or an unusual number of operands or results")
            }
            Self::Constant {
                of,
                operand,
                value,
                expected,
            } => {
                let found = facts.literal(graph, *value);
                let found = found.map_or_else(|| "not constant".to_owned(), show);
                let (value, expected) = (label(value), show(expected));
                format!("operand {operand} of {of}, {value}, is {found}, not {expected}")
            }
            Self::Differs {
                of,
                operand,
                value,
                expected,
            } => format!(
                "operand {operand} of {of} is {}, not {}, which the rest of the pattern reads",
                label(value),
                label(expected)
            ),
            Self::Block { op, value } => {
                let value = value
                    .as_ref()
                    .map(|value| format!(", which computes {},", label(value)));
                format!("{op}{} stands in another block", value.unwrap_or_default())
            }
            Self::Shared {
                op,
                value,
                expected,
            } => {
                let found = graph.value(*value).uses().len();
                let value = label(value);
                format!(
                    "what {op} computes, {value}, is read {found} times, {expected} in the pattern"
                )
            }
            Self::Guard {
                name,
                value,
                reason,
            } => {
                let value = value.as_ref().map(label).unwrap_or_default();
                if value.strip_prefix('%') == Some(name) {
                    format!("{value} {reason}")
                } else {
                    format!("{value} (%{name} of the rule) {reason}")
                }
            }
            Self::Irrelevant => "the rule does not apply".to_owned(),
            Self::Written(node) => {
                let node = graph.node(*node);
                let place = node
                    .loc()
                    .map(|loc| format!(" ({loc})"))
                    .unwrap_or_default();
                format!(
                    "{}{place}, which stands in between, may write to an operand",
                    node.op()
                )
            }
            Self::Two { value, reason } => format!("{} stays: {reason}", label(value)),
        }
    }
}

/// What is done with a value, as a clause that ends before what should be done.
fn readers(graph: &Graph, value: ValueId) -> String {
    let mut ops: Vec<String> = Vec::new();
    let mut result = false;
    for at in graph.value(value).uses() {
        match at {
            Use::Input(node, _) => {
                let op = graph.node(*node).op().to_string();
                if !ops.contains(&op) {
                    ops.push(op);
                }
            }
            Use::Result(..) => result = true,
        }
    }
    let ops = ops.join(", ");
    match (ops.is_empty(), result) {
        (true, true) => "is a result, not read by".to_owned(),
        (true, false) => "is read by nobody, not by".to_owned(),
        (false, true) => format!("is a result and read by {ops}, not by"),
        (false, false) => format!("is read by {ops}, not by"),
    }
}
