//! Operators that meant something else when the archive was written: what they meant then, in the operators of today.
//!
//! An archive says which version of the operators it was written with. Where the meaning of an overload changed since, PyTorch runs a
//! small program in its place, and so do we: the same nodes. Changes that only added arguments with defaults need nothing.

use planish_ir::resolve::choose;
use planish_ir::schema::Schema;
use planish_ir::{Attr, Literal, Op, Sym, Type, ValueId};

use super::Emitter;
use super::matching::Args;
use crate::error::Result;
use crate::torchscript::code::ast::Span;

/// An overload whose meaning changed.
struct Change {
    op: &'static str,
    /// The first version with the present meaning.
    since: u32,
    /// Its declaration before, where that was another one.
    declaration: Option<&'static str>,
    upgrade: Upgrade,
}

/// What an overload meant.
#[derive(Clone, Copy)]
enum Upgrade {
    /// A quotient of integers was rounded towards zero; the overload that rounds.
    Rounded(&'static str),
    /// The same, as rounding was asked for.
    Same,
    /// A tensor filled with an int had floats in it.
    Filled,
    /// The number of steps, at this position, could be left out and was 100.
    Steps(usize),
    /// There was one formula only, which has a name now.
    OneFormula,
}

/// The overloads whose meaning changed, out variants left out: no archive can name them.
const CHANGES: [Change; 12] = [
    Change::of(
        "aten::div.Tensor",
        4,
        Upgrade::Rounded("aten::div.Tensor_mode"),
    ),
    Change::of(
        "aten::div.Scalar",
        4,
        Upgrade::Rounded("aten::div.Scalar_mode"),
    ),
    Change::of("aten::div.Tensor_mode", 4, Upgrade::Same),
    Change::of("aten::div.Scalar_mode", 4, Upgrade::Same),
    Change::of(
        "aten::div_.Tensor",
        4,
        Upgrade::Rounded("aten::div_.Tensor_mode"),
    ),
    Change::of(
        "aten::div_.Scalar",
        4,
        Upgrade::Rounded("aten::div_.Scalar_mode"),
    ),
    Change::of("aten::div_.Tensor_mode", 4, Upgrade::Same),
    Change::of("aten::div_.Scalar_mode", 4, Upgrade::Same),
    Change::of("aten::full", 5, Upgrade::Filled),
    Change {
        declaration: Some(
            "aten::linspace(Scalar start, Scalar end, int? steps=None, *, ScalarType? dtype=None, Layout? layout=None, \
             Device? device=None, bool? pin_memory=None) -> Tensor",
        ),
        ..Change::of("aten::linspace", 8, Upgrade::Steps(2))
    },
    Change {
        declaration: Some(
            "aten::logspace(Scalar start, Scalar end, int? steps=None, float base=10.0, *, ScalarType? dtype=None, \
             Layout? layout=None, Device? device=None, bool? pin_memory=None) -> Tensor",
        ),
        ..Change::of("aten::logspace", 9, Upgrade::Steps(2))
    },
    Change {
        declaration: Some("aten::gelu(Tensor self) -> Tensor"),
        ..Change::of("aten::gelu", 10, Upgrade::OneFormula)
    },
];

impl Change {
    const fn of(op: &'static str, since: u32, upgrade: Upgrade) -> Self {
        Self {
            op,
            since,
            declaration: None,
            upgrade,
        }
    }

    fn is_of(&self, name: &str) -> bool {
        let rest = self.op.strip_prefix(name);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    }
}

impl Emitter<'_, '_> {
    /// What a call means that was written before its operator changed; `None` if it did not change since.
    pub(super) fn upgraded(
        &mut self,
        name: &str,
        args: &Args,
        span: Span,
    ) -> Result<Option<ValueId>> {
        let version = self.program.version;
        let changes = CHANGES.iter();
        let changes: Vec<(Op, &Change)> = changes
            .filter(|change| change.is_of(name) && version < change.since)
            .map(|change| (Op::of(change.op), change))
            .collect();
        if changes.is_empty() {
            return Ok(None);
        }
        let mut before = Vec::new();
        for (op, change) in &changes {
            let declared = match change.declaration {
                Some(declaration) => Schema::parse(declaration),
                None => Ok(op
                    .schema()
                    .expect("the table has every operator that changed")
                    .clone()),
            };
            before.push((*op, declared.map_err(|e| self.fail(span, e.to_string()))?));
        }
        // What did not change is tried first, as PyTorch does.
        let today = Op::overloads(Sym::new(name)).into_iter();
        let today = today.filter(|op| changes.iter().all(|(changed, _)| changed != op));
        let today = today.filter_map(|op| Some((op, op.schema()?)));
        let before = before.iter().map(|(op, schema)| (*op, schema));
        let candidates: Vec<(Op, &Schema)> = today.chain(before).collect();
        let (positional, named) = self.types_of(args);
        let Ok((op, accepted)) = choose(&candidates, &positional, &named) else {
            return Ok(None);
        };
        let Some((_, change)) = changes.iter().find(|(changed, _)| *changed == op) else {
            return Ok(None);
        };
        let inputs = accepted.operands.iter();
        let inputs = inputs.map(|operand| self.realize(operand, args, span));
        let inputs: Vec<ValueId> = inputs.collect();
        Ok(Some(self.upgrade(op, change.upgrade, inputs, span)))
    }

    fn upgrade(
        &mut self,
        op: Op,
        upgrade: Upgrade,
        mut inputs: Vec<ValueId>,
        span: Span,
    ) -> ValueId {
        match upgrade {
            Upgrade::Same => {}
            Upgrade::Rounded(rounding) => return self.quotient(op, rounding, &inputs, span),
            Upgrade::Filled => {
                if *self.ty(inputs[2]) == Type::None {
                    inputs[1] = self.as_float(inputs[1], span);
                }
            }
            Upgrade::Steps(at) => {
                if *self.ty(inputs[at]) == Type::None {
                    inputs[at] = self.constant(Literal::Int(100));
                }
            }
            Upgrade::OneFormula => inputs.push(self.constant(Literal::str("none"))),
        }
        self.insert_one_of(op, &inputs, span)
    }

    /// A quotient that is rounded when both operands are integers.
    fn quotient(&mut self, op: Op, rounding: &str, inputs: &[ValueId], span: Span) -> ValueId {
        let floats = "aten::is_floating_point";
        let first = self.insert_one(floats, &inputs[..1], Type::Bool, span);
        let either = self.branch(
            first,
            span,
            |this| this.constant(Literal::Bool(true)),
            |this| match this.ty(inputs[1]) {
                Type::Tensor(_) => this.insert_one(floats, &inputs[1..], Type::Bool, span),
                Type::Float => this.constant(Literal::Bool(true)),
                Type::Int | Type::Bool => this.constant(Literal::Bool(false)),
                _ => {
                    let test = Op::of("prim::isinstance");
                    let node = this.insert(test, &inputs[1..], [Type::Bool], span);
                    let types = Attr::Types([Type::Float].into());
                    this.graph.set_attr(node, "types", types);
                    this.graph.output(node)
                }
            },
        );
        self.branch(
            either,
            span,
            |this| this.insert_one_of(op, inputs, span),
            |this| {
                let mode = this.constant(Literal::str("trunc"));
                let inputs = [inputs, &[mode]].concat();
                this.insert_one_of(Op::of(rounding), &inputs, span)
            },
        )
    }

    /// A number as a float.
    fn as_float(&mut self, number: ValueId, span: Span) -> ValueId {
        match (self.graph.constant(number), self.ty(number)) {
            (Some(Literal::Int(value)), _) => {
                let value = *value as f64;
                self.constant(Literal::Float(value))
            }
            (_, Type::Float) => number,
            (_, Type::Int) => self.insert_one("aten::Float.int", &[number], Type::Float, span),
            _ => self.insert_one("aten::Float.Scalar", &[number], Type::Float, span),
        }
    }

    /// A `prim::If` with one output.
    fn branch(
        &mut self,
        cond: ValueId,
        span: Span,
        then: impl FnOnce(&mut Self) -> ValueId,
        other: impl FnOnce(&mut Self) -> ValueId,
    ) -> ValueId {
        let node = self.insert(Op::of("prim::If"), &[cond], [], span);
        let around = self.block;
        self.block = self.graph.add_block(node);
        let value = then(self);
        self.graph.push_result(self.block, value);
        self.block = self.graph.add_block(node);
        let value = other(self);
        self.graph.push_result(self.block, value);
        self.block = around;
        let ty = self.ty(value).clone();
        self.graph.add_output(node, ty)
    }

    fn insert_one_of(&mut self, op: Op, inputs: &[ValueId], span: Span) -> ValueId {
        let node = self.insert(op, inputs, [Type::TENSOR], span);
        self.graph.output(node)
    }
}
