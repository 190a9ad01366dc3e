//! What an operator takes and returns, as PyTorch declares it.

mod default;
mod parse;

pub use parse::SchemaError;
pub(crate) use parse::parse;

use crate::{Literal, Sym, Type};

/// The declaration of one overload of an operator.
#[derive(Clone, Debug, PartialEq)]
pub struct Schema {
    /// Parameters, positional ones first.
    pub params: Vec<Param>,
    /// Returns.
    pub returns: Vec<Return>,
    /// Whether further inputs of any type may follow.
    pub vararg: bool,
    /// Whether the number and types of outputs are the node's own affair.
    pub varret: bool,
}

/// A parameter of a schema.
#[derive(Clone, Debug, PartialEq)]
pub struct Param {
    /// Name.
    pub name: Sym,
    /// Type.
    pub ty: Type,
    /// `2` in `int[2]`: a single value may stand for that many.
    pub fixed_len: Option<u32>,
    /// What stands for an argument that is not given.
    pub default: Option<Literal>,
    /// Whether the argument can only be given by name.
    pub kwarg_only: bool,
    /// What the operator does to the storage of the argument.
    pub alias: Option<Alias>,
}

/// One return of a schema.
#[derive(Clone, Debug, PartialEq)]
pub struct Return {
    /// Name, where the schema gives one.
    pub name: Option<Sym>,
    /// Type.
    pub ty: Type,
    /// Which parameters the return may share storage with.
    pub alias: Option<Alias>,
}

/// An alias annotation: `(a)`, `(a!)`, `(*)`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alias {
    /// Names of the alias sets; `*` is "anything".
    pub sets: Vec<Sym>,
    /// Whether the operator writes to it.
    pub writes: bool,
    /// Whether the operator stores it where others may find it (`a -> *`).
    pub escapes: bool,
}

impl Schema {
    /// Reads a declaration in PyTorch's spelling, such as `ns::name.overload(Tensor self, *, int n=1) -> Tensor`, for what it says besides the
    /// name. Nothing is registered: that is [`Op::register`](crate::Op::register).
    pub fn parse(declaration: &str) -> Result<Self, SchemaError> {
        parse(declaration).map(|(_, _, schema)| schema)
    }

    /// Whether nothing that it returns may share storage with what it takes or contain it, and it writes to nothing.
    pub(crate) fn shares_nothing(&self) -> bool {
        !self.varret
            && self.params.iter().all(|param| param.alias.is_none())
            && self.returns.iter().all(|ret| ret.alias.is_none())
    }

    /// The position of the parameter with this name.
    pub fn position(&self, name: Sym) -> Option<usize> {
        self.params.iter().position(|param| param.name == name)
    }

    /// How many parameters can be given by position.
    pub fn positional(&self) -> usize {
        self.params.iter().filter(|param| !param.kwarg_only).count()
    }
}

impl Alias {
    /// Whether both may name the same storage.
    pub fn meets(&self, other: &Self) -> bool {
        let any = |alias: &Self| alias.escapes || alias.sets.iter().any(|set| *set == *"*");
        any(self) || any(other) || self.sets.iter().any(|set| other.sets.contains(set))
    }
}

#[cfg(test)]
mod tests;
