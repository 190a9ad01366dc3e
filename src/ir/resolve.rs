//! Overload resolution: which overload of an operator a call means, and what each parameter gets.
//!
//! A TorchScript archive names an operator without its overload and leaves arguments out that equal their default. The rules are
//! PyTorch's: an operator with one overload is matched with implicit conversions at once. Of several, each is tried without conversions,
//! in the order of registration; if none fits, each is tried again with conversions. The first that fits is meant.
//!
//! - In both rounds an int or float may stand for a list of fixed length (`int[2]`), a tuple of fitting elements for a list, and `[]`
//!   without a type for any list.
//! - In the second round a tensor may stand for a number, a `Scalar` for an int, float or complex, a bool for an int, a string for a
//!   device, and several trailing arguments for a list.
//! - Type variables (`t[]`) are bound from left to right and put into the types of the returns.

mod bind;
mod call;

use std::borrow::Cow;
use std::fmt;

use bind::{Bindings, has_variable};
use call::Call;

use crate::schema::Schema;
use crate::{Literal, Op, Sym, Type};

/// What a call gives: a type and, for literals, the value.
#[derive(Clone, Debug, PartialEq)]
pub struct Argument {
    /// Type.
    pub ty: Type,
    /// Value, when it is written in the call.
    pub literal: Option<Literal>,
}

/// Which argument of a call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Source {
    /// The argument at this position.
    Positional(usize),
    /// The keyword argument at this position of the list of keyword arguments.
    Keyword(usize),
}

/// What a parameter gets.
#[derive(Clone, PartialEq, Debug)]
pub enum Operand {
    /// An argument as it is.
    Given(Source),
    /// The parameter's default.
    Default(Literal),
    /// A list that holds an argument this many times.
    Broadcast(Source, u32),
    /// A list with this element type of the elements of a tuple.
    TupleToList(Source, Type),
    /// An empty list with this element type, for `[]` without a type.
    EmptyList(Type),
    /// What an operator of one operand makes of an argument, such as `aten::IntImplicit`.
    Implicit(Source, Op),
    /// A list with this element type of several arguments.
    ListOf(Vec<Operand>, Type),
}

/// What a call means.
#[derive(Clone, PartialEq, Debug)]
pub struct Resolved {
    /// Overload.
    pub op: Op,
    /// What each parameter gets; further operands follow where the schema takes them.
    pub operands: Vec<Operand>,
    /// Types of the outputs; empty when they are the node's own affair.
    pub outputs: Vec<Type>,
}

/// What a call of one schema means.
#[derive(Clone, PartialEq, Debug)]
pub struct Accepted {
    /// What each parameter gets; further operands follow where the schema takes them.
    pub operands: Vec<Operand>,
    /// Types of the outputs; empty when they are the node's own affair.
    pub outputs: Vec<Type>,
}

/// Why a call does not fit a schema: the first reason.
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub enum Mismatch {
    /// A parameter without a default gets nothing.
    Missing(Sym),
    /// More positional arguments than parameters.
    TooMany {
        /// Parameters that can be given by position.
        expected: usize,
        /// Positional arguments.
        found: usize,
    },
    /// No parameter has this name.
    UnknownKeyword(Sym),
    /// A parameter is given twice.
    Twice(Sym),
    /// An argument has another type.
    Type {
        /// Parameter.
        param: Sym,
        /// Its type.
        expected: Type,
        /// The argument's type.
        found: Type,
    },
    /// Nothing says what a type variable of a parameter stands for.
    Unbound {
        /// Parameter.
        param: Sym,
        /// Its type.
        expected: Type,
    },
    /// PyTorch never takes this overload: it could not be told from another.
    Ambiguous,
}

/// A call that no overload takes.
#[derive(Clone, PartialEq, Debug)]
pub struct ResolveError {
    /// Qualified name of the operator.
    pub name: Sym,
    /// Every overload with the first reason why it does not fit; empty for an operator that nobody declared.
    pub candidates: Vec<(Op, Mismatch)>,
}

/// Finds the overload that a call means.
pub fn resolve(
    name: Sym,
    positional: &[Argument],
    keywords: &[(Sym, Argument)],
) -> Result<Resolved, ResolveError> {
    let overloads = Op::overloads(name);
    let schemas = overloads.iter().filter_map(|op| Some((*op, op.schema()?)));
    let schemas: Vec<(Op, &Schema)> = schemas.collect();
    match choose(&schemas, positional, keywords) {
        Ok((op, Accepted { operands, outputs })) => Ok(Resolved {
            op,
            operands,
            outputs,
        }),
        Err(candidates) => Err(ResolveError { name, candidates }),
    }
}

/// Finds the overload that a call means among any, or says of each why it does not fit.
pub fn choose(
    overloads: &[(Op, &Schema)],
    positional: &[Argument],
    keywords: &[(Sym, Argument)],
) -> Result<(Op, Accepted), Vec<(Op, Mismatch)>> {
    let rounds: &[bool] = if overloads.len() == 1 {
        &[true]
    } else {
        &[false, true]
    };
    let mut candidates = Vec::new();
    for conversions in rounds {
        candidates.clear();
        for (op, schema) in overloads {
            let accepted = if is_never_meant(*op) && overloads.len() > 1 {
                Err(Mismatch::Ambiguous)
            } else {
                schema.accept(positional, keywords, *conversions)
            };
            match accepted {
                Ok(accepted) => return Ok((*op, accepted)),
                Err(reason) => candidates.push((*op, reason)),
            }
        }
    }
    Err(candidates)
}

/// `x.view(1)` and `x.view(torch.int8)` look alike, since a `ScalarType` is an int; the first is meant.
fn is_never_meant(op: Op) -> bool {
    op.is("aten::view") && op.info().overload == *"dtype"
}

impl Op {
    /// The overload of `name` whose parameters are exactly inputs of these types, as in a printed graph, where defaults are filled in:
    /// the first that fits, in the order of registration.
    pub fn resolve_by_types(name: Sym, inputs: &[Type]) -> Option<Self> {
        let mut overloads = Self::overloads(name).into_iter();
        overloads.find(|op| op.schema().is_some_and(|schema| schema.takes(inputs)))
    }
}

impl Schema {
    /// What each parameter gets when the schema is called like this, `conversions` saying whether implicit ones are allowed.
    pub fn accept(
        &self,
        positional: &[Argument],
        keywords: &[(Sym, Argument)],
        conversions: bool,
    ) -> Result<Accepted, Mismatch> {
        Call::new(self, positional, keywords, conversions).accept()
    }

    /// Whether inputs of these types, one for each parameter, are what the schema asks for.
    pub fn takes<'t, I>(&self, inputs: I) -> bool
    where
        I: IntoIterator<Item = &'t Type, IntoIter: ExactSizeIterator>,
    {
        self.check(inputs).is_ok()
    }

    /// The types of the outputs for inputs of these types; a variable that nothing binds stays a variable.
    pub fn outputs<'t>(
        &self,
        inputs: impl IntoIterator<Item = &'t Type>,
    ) -> impl ExactSizeIterator<Item = Cow<'_, Type>> {
        let mut bindings = Bindings::default();
        if self.returns.iter().any(|ret| has_variable(&ret.ty)) {
            for (param, ty) in self.params.iter().zip(inputs) {
                // What does not fit binds nothing.
                let _ = bindings.bind(&param.ty, ty);
            }
        }
        let returns = self.returns.iter();
        returns.map(move |ret| {
            let known = bindings.substitute(&ret.ty);
            known.unwrap_or(Cow::Borrowed(&ret.ty))
        })
    }

    /// The first reason why inputs of these types, one for each parameter, are not what the schema asks for.
    pub fn check<'t, I>(&self, inputs: I) -> Result<(), Mismatch>
    where
        I: IntoIterator<Item = &'t Type, IntoIter: ExactSizeIterator>,
    {
        let inputs = inputs.into_iter();
        if inputs.len() > self.params.len() && !self.vararg {
            return Err(Mismatch::TooMany {
                expected: self.params.len(),
                found: inputs.len(),
            });
        }
        if let Some(param) = self.params.get(inputs.len()) {
            return Err(Mismatch::Missing(param.name));
        }
        let mut bindings = Bindings::default();
        for (param, ty) in self.params.iter().zip(inputs) {
            let fits = bindings.bind(&param.ty, ty)
                && match bindings.substitute(&param.ty) {
                    Some(expected) => ty.is_subtype_of(&expected),
                    // None for an optional variable that nothing binds.
                    None => *ty == Type::None,
                };
            if !fits {
                return Err(Mismatch::Type {
                    param: param.name,
                    expected: bindings.as_known(&param.ty),
                    found: ty.clone(),
                });
            }
        }
        Ok(())
    }
}

impl Argument {
    /// A computed value of type `ty`.
    pub fn of(ty: Type) -> Self {
        Self { ty, literal: None }
    }

    /// A value that is written in the call.
    pub fn literal(literal: Literal) -> Self {
        Self {
            ty: literal.ty(),
            literal: Some(literal),
        }
    }

    /// `[]` without a type.
    pub fn untyped_list() -> Self {
        Self::literal(Literal::List(Type::Any, [].into()))
    }

    /// Whether this is `[]` without a type.
    fn is_untyped_list(&self) -> bool {
        matches!(&self.literal, Some(Literal::List(Type::Any, elements)) if elements.is_empty())
    }
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing(param) => write!(f, "nothing is given for `{param}`"),
            Self::TooMany { expected, found } => write!(
                f,
                "it takes at most {expected} arguments by position, not {found}"
            ),
            Self::UnknownKeyword(name) => write!(f, "it has no parameter `{name}`"),
            Self::Twice(param) => write!(f, "`{param}` is given twice"),
            Self::Type {
                param,
                expected,
                found,
            } => write!(f, "`{param}` must be {expected}, not {found}"),
            Self::Unbound { param, expected } => {
                write!(f, "nothing says what `{param}: {expected}` is")
            }
            Self::Ambiguous => f.write_str("it cannot be told from another overload"),
        }
    }
}

impl fmt::Display for ResolveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.candidates.is_empty() {
            let name = self.name;
            return write!(
                f,
                "call `{name}`: nobody declared it; `Op::register` takes declarations of operators that PyTorch does not have"
            );
        }
        write!(f, "call `{}`: no overload fits", self.name)?;
        for (op, reason) in &self.candidates {
            write!(f, "\n  {op}: {reason}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Mismatch {}

impl std::error::Error for ResolveError {}

#[cfg(test)]
mod tests;
