//! What a call gives each parameter: the resolved operands become nodes.

use std::borrow::Cow;

use planish_ir::resolve::{Argument, Operand, Resolved, Source, resolve};
use planish_ir::schema::{Param, Return, Schema};
use planish_ir::{Op, Sym, Type, ValueId};

use super::Emitter;
use crate::torchscript::code::ast::Span;

/// Arguments of a call, already evaluated.
#[derive(Debug, Default)]
pub(super) struct Args {
    pub(super) positional: Vec<ValueId>,
    pub(super) named: Vec<(String, ValueId)>,
}

impl Args {
    /// One argument, by position.
    pub(super) fn one(value: ValueId) -> Self {
        Self {
            positional: vec![value],
            named: Vec::new(),
        }
    }

    /// Two arguments, by position.
    pub(super) fn two(first: ValueId, second: ValueId) -> Self {
        Self {
            positional: vec![first, second],
            named: Vec::new(),
        }
    }
}

impl Emitter<'_, '_> {
    /// The overload of an operator that takes these arguments, its inputs and the types it returns.
    pub(super) fn resolve(
        &mut self,
        name: &str,
        args: &Args,
        span: Span,
    ) -> Result<(Op, Vec<ValueId>, Vec<Type>), String> {
        let (positional, named) = self.types_of(args);
        let Resolved {
            op,
            operands,
            outputs,
        } = resolve(Sym::new(name), &positional, &named).map_err(|e| e.to_string())?;
        let inputs = operands.iter().map(|o| self.realize(o, args, span));
        let inputs = inputs.collect();
        Ok((op, inputs, outputs))
    }

    /// The inputs of a call of a function with one signature.
    pub(super) fn accept(
        &mut self,
        signature: &Schema,
        args: &Args,
        span: Span,
    ) -> Result<Vec<ValueId>, String> {
        let (positional, named) = self.types_of(args);
        let accepted = signature.accept(&positional, &named, true);
        let operands = accepted.map_err(|e| e.to_string())?.operands;
        Ok(operands
            .iter()
            .map(|o| self.realize(o, args, span))
            .collect())
    }

    /// Converts a value to a type, as an argument would be.
    pub(super) fn convert(
        &mut self,
        value: ValueId,
        to: &Type,
        span: Span,
    ) -> Result<ValueId, String> {
        if self.ty(value).is_subtype_of(to) {
            return Ok(value);
        }
        let signature = Schema {
            params: vec![Param {
                name: Sym::new("value"),
                ty: to.clone(),
                fixed_len: None,
                default: None,
                kwarg_only: false,
                alias: None,
            }],
            returns: Vec::<Return>::new(),
            vararg: false,
            varret: false,
        };
        match self.accept(&signature, &Args::one(value), span) {
            Ok(inputs) => Ok(inputs[0]),
            Err(_) => Err(format!("expected {to}, found {}", self.ty(value))),
        }
    }

    pub(super) fn types_of(&self, args: &Args) -> (Vec<Argument>, Vec<(Sym, Argument)>) {
        let of = |value: &ValueId| Argument::of(self.ty(*value).clone());
        let named = args.named.iter();
        (
            args.positional.iter().map(of).collect(),
            named
                .map(|(name, value)| (Sym::new(name), of(value)))
                .collect(),
        )
    }

    pub(super) fn realize(&mut self, operand: &Operand, args: &Args, span: Span) -> ValueId {
        let given = |source: &Source| match source {
            Source::Positional(at) => args.positional[*at],
            Source::Keyword(at) => args.named[*at].1,
        };
        match operand {
            Operand::Given(source) => given(source),
            Operand::Default(literal) => self.constant(literal.clone()),
            Operand::Broadcast(source, count) => {
                let value = given(source);
                let ty = Type::list(self.ty(value).clone());
                let items = vec![value; *count as usize];
                self.insert_one("prim::ListConstruct", &items, ty, span)
            }
            Operand::TupleToList(source, element) => {
                let tuple = given(source);
                let parts = self.ty(tuple).elements().unwrap_or_default();
                let node = self.insert(Op::of("prim::TupleUnpack"), &[tuple], parts, span);
                let items = self.graph.node(node).outputs().to_vec();
                let ty = Type::list(element.clone());
                self.insert_one("prim::ListConstruct", &items, ty, span)
            }
            Operand::EmptyList(element) => {
                let ty = Type::list(element.clone());
                self.insert_one("prim::ListConstruct", &[], ty, span)
            }
            Operand::Implicit(source, op) => {
                let value = given(source);
                let ty = self.ty(value).clone();
                let schema = op.schema().into_iter();
                let outputs = schema.flat_map(|schema| schema.outputs([&ty]).map(Cow::into_owned));
                let node = self.insert(*op, &[value], outputs, span);
                self.graph.output(node)
            }
            Operand::ListOf(items, element) => {
                let items: Vec<ValueId> = items
                    .iter()
                    .map(|item| self.realize(item, args, span))
                    .collect();
                let ty = Type::list(element.clone());
                self.insert_one("prim::ListConstruct", &items, ty, span)
            }
        }
    }
}
