//! One try to call a schema: argument by argument, from left to right.

use super::bind::Bindings;
use super::{Accepted, Argument, Mismatch, Operand, Source};
use crate::schema::{Param, Schema};
use crate::{Op, Sym, Type};

/// One try to call a schema.
pub(super) struct Call<'a> {
    schema: &'a Schema,
    positional: &'a [Argument],
    keywords: &'a [(Sym, Argument)],
    conversions: bool,
    bindings: Bindings,
}

impl<'a> Call<'a> {
    /// A call that may or may not convert arguments implicitly.
    pub(super) fn new(
        schema: &'a Schema,
        positional: &'a [Argument],
        keywords: &'a [(Sym, Argument)],
        conversions: bool,
    ) -> Self {
        Self {
            schema,
            positional,
            keywords,
            conversions,
            bindings: Bindings::default(),
        }
    }

    /// What each parameter gets.
    pub(super) fn accept(mut self) -> Result<Accepted, Mismatch> {
        let params = &self.schema.params;
        let mut operands = Vec::with_capacity(params.len());
        let mut used = 0;
        let mut used_keywords = vec![false; self.keywords.len()];
        for (index, param) in params.iter().enumerate() {
            if !param.kwarg_only && used < self.positional.len() {
                if let Some(element) = self.takes_the_rest(index, used) {
                    operands.push(self.list_of_rest(param, used, &element)?);
                    used = self.positional.len();
                } else {
                    operands.push(self.argument(param, Source::Positional(used))?);
                    used += 1;
                }
            } else if let Some(at) = self.keyword(param.name) {
                used_keywords[at] = true;
                operands.push(self.argument(param, Source::Keyword(at))?);
            } else if let Some(default) = &param.default {
                operands.push(Operand::Default(default.clone()));
            } else {
                return Err(Mismatch::Missing(param.name));
            }
        }
        if self.schema.vararg {
            operands.extend(
                (used..self.positional.len()).map(|at| Operand::Given(Source::Positional(at))),
            );
        } else if used < self.positional.len() {
            return Err(Mismatch::TooMany {
                expected: self.schema.positional(),
                found: self.positional.len(),
            });
        }
        if let Some(at) = used_keywords.iter().position(|used| !used) {
            let name = self.keywords[at].0;
            let known = self.schema.position(name).is_some();
            return Err(if known {
                Mismatch::Twice(name)
            } else {
                Mismatch::UnknownKeyword(name)
            });
        }
        let returns = self.schema.returns.iter();
        let outputs = returns.map(|ret| self.bindings.as_known(&ret.ty)).collect();
        Ok(Accepted { operands, outputs })
    }

    /// The keyword argument for a parameter. `torch.f(input=x)` means the parameter that schemas call `self`.
    fn keyword(&self, param: Sym) -> Option<usize> {
        let named = |name: &str| self.keywords.iter().position(|(given, _)| *given == *name);
        named(param.as_str()).or_else(|| {
            (param == *"self" && self.schema.position(Sym::new("input")).is_none())
                .then(|| named("input"))?
        })
    }

    /// The element type, when a parameter takes all remaining positional arguments as one list.
    fn takes_the_rest(&self, index: usize, used: usize) -> Option<Type> {
        let param = &self.schema.params[index];
        let next = self.schema.params.get(index + 1);
        let element = match &param.ty {
            Type::List(element) if !matches!(**element, Type::Var(_)) => element,
            _ => return None,
        };
        let first = &self.positional[used].ty;
        let takes = self.conversions
            && param.fixed_len.is_none()
            && next.is_none_or(|next| next.kwarg_only)
            && !matches!(first, Type::List(_))
            && !is_tuple_of(first, element);
        takes.then(|| (**element).clone())
    }

    fn list_of_rest(
        &mut self,
        param: &Param,
        used: usize,
        element: &Type,
    ) -> Result<Operand, Mismatch> {
        let one = Param {
            ty: element.clone(),
            ..param.clone()
        };
        let rest = (used..self.positional.len()).map(Source::Positional);
        let elements: Result<Vec<_>, _> = rest.map(|at| self.argument(&one, at)).collect();
        Ok(Operand::ListOf(elements?, element.clone()))
    }

    fn argument(&mut self, param: &Param, source: Source) -> Result<Operand, Mismatch> {
        let argument = match source {
            Source::Positional(at) => &self.positional[at],
            Source::Keyword(at) => &self.keywords[at].1,
        };
        let found = &argument.ty;
        if let (Some(len), Type::Int | Type::Float, Some(element)) =
            (param.fixed_len, found, param.ty.unwrap_optional().element())
            && element == found
        {
            return Ok(Operand::Broadcast(source, len));
        }
        if let (Some(element), true) = (
            param.ty.unwrap_optional().element(),
            argument.is_untyped_list(),
        ) {
            let element = self.bindings.as_known(element);
            return Ok(Operand::EmptyList(match element {
                // What `[]` is in TorchScript when nothing else is known.
                Type::Var(_) => Type::TENSOR,
                known => known,
            }));
        }
        let bound = self.bindings.bind(&param.ty, found);
        let Some(expected) = self.bindings.substitute(&param.ty) else {
            return Err(Mismatch::Unbound {
                param: param.name,
                expected: param.ty.clone(),
            });
        };
        if bound && found.is_subtype_of(&expected) {
            return Ok(Operand::Given(source));
        }
        let target = match (&*expected, found) {
            (Type::Optional(_), Type::Optional(_) | Type::None) => &expected,
            _ => expected.unwrap_optional(),
        };
        if bound
            && let Some(element) = target.element()
            && is_tuple_of(found, element)
        {
            return Ok(Operand::TupleToList(source, element.clone()));
        }
        if bound
            && self.conversions
            && let Some(op) = conversion(found, target)
        {
            return Ok(Operand::Implicit(source, op));
        }
        Err(Mismatch::Type {
            param: param.name,
            expected: expected.into_owned(),
            found: found.clone(),
        })
    }
}

/// The operator that makes a value of type `to` from one of type `from` without being asked to.
fn conversion(from: &Type, to: &Type) -> Option<Op> {
    let (name, overload) = match (from, to) {
        (Type::Tensor(_), Type::Int) => ("aten::IntImplicit", ""),
        (Type::Tensor(_), Type::Float) => ("aten::FloatImplicit", ""),
        (Type::Tensor(_), Type::Complex) => ("aten::ComplexImplicit", ""),
        (Type::Tensor(_), Type::Scalar) => ("aten::ScalarImplicit", ""),
        (Type::Scalar, Type::Int) => ("aten::Int", "Scalar"),
        (Type::Scalar, Type::Float) => ("aten::Float", "Scalar"),
        (Type::Scalar, Type::Complex) => ("aten::Complex", "Scalar"),
        (Type::Bool, Type::Int | Type::Scalar) => ("aten::Int", "bool"),
        (Type::Str, Type::Device) => ("aten::device", ""),
        _ => return None,
    };
    Op::find(name.into(), overload.into()).filter(|op| op.schema().is_some())
}

/// Whether the type is a tuple whose elements all fit a list of `element`.
fn is_tuple_of(ty: &Type, element: &Type) -> bool {
    ty.elements()
        .is_some_and(|elements| elements.iter().all(|ty| ty.is_subtype_of(element)))
}
