//! Reads declarations as PyTorch writes them: `aten::add.Tensor(Tensor self, Tensor other, *, Scalar alpha=1) -> Tensor`.
//!
//! What PyTorch's type system does not tell apart is not told apart here: `ScalarType`, `Layout` and `MemoryFormat` are `int`, `SymInt` is
//! `int`. Alias annotations inside a type (`Tensor(a)[]`) are kept for the parameter or return as a whole.

use std::sync::Arc;

use super::{Alias, Param, Return, Schema};
use crate::{Sym, Type};

/// A declaration that is not understood.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("declare operator `{text}`: {message} at column {column}")]
#[non_exhaustive]
pub struct SchemaError {
    /// The declaration.
    pub text: String,
    /// Where in it, counted in bytes from 0.
    pub column: usize,
    /// What is wrong.
    pub message: String,
}

/// Reads one declaration: qualified name, overload (empty for the default one), schema.
pub(crate) fn parse(text: &str) -> Result<(Sym, Sym, Schema), SchemaError> {
    let mut cursor = Cursor { text, at: 0 };
    cursor.declaration().map_err(|message| SchemaError {
        text: text.to_owned(),
        column: cursor.at,
        message,
    })
}

pub(super) struct Cursor<'a> {
    text: &'a str,
    pub(super) at: usize,
}

/// A type with the length of `T[n]` and the alias annotations that stood in it.
struct Annotated {
    ty: Type,
    fixed_len: Option<u32>,
    alias: Option<Alias>,
}

/// What was read, or what is wrong with it.
pub(super) type Parsed<T> = Result<T, String>;

impl<'a> Cursor<'a> {
    fn declaration(&mut self) -> Parsed<(Sym, Sym, Schema)> {
        let namespace = self.name()?;
        self.expect("::")?;
        let name = self.name()?;
        let overload = if self.eat(".") { self.name()? } else { "" };
        let name = Sym::new(&format!("{namespace}::{name}"));
        let (params, vararg) = self.params()?;
        self.expect("->")?;
        let (returns, varret) = self.returns()?;
        self.space();
        if self.at < self.text.len() {
            return Err("expected the end".to_owned());
        }
        Ok((
            name,
            Sym::new(overload),
            Schema {
                params,
                returns,
                vararg,
                varret,
            },
        ))
    }

    fn params(&mut self) -> Parsed<(Vec<Param>, bool)> {
        let (mut params, mut kwarg_only, mut vararg) = (Vec::new(), false, false);
        self.expect("(")?;
        if self.eat(")") {
            return Ok((params, vararg));
        }
        loop {
            if vararg {
                return Err("expected nothing after `...`".to_owned());
            } else if self.eat("...") {
                vararg = true;
            } else if self.eat("*") {
                kwarg_only = true;
            } else {
                let Annotated {
                    ty,
                    fixed_len,
                    alias,
                } = self.annotated()?;
                let name = Sym::new(self.name()?);
                let default = if self.eat("=") {
                    Some(self.default(&ty, fixed_len)?)
                } else {
                    None
                };
                params.push(Param {
                    name,
                    ty,
                    fixed_len,
                    default,
                    kwarg_only,
                    alias,
                });
            }
            if self.eat(")") {
                return Ok((params, vararg));
            }
            self.expect(",")?;
        }
    }

    fn returns(&mut self) -> Parsed<(Vec<Return>, bool)> {
        if self.eat("...") {
            return Ok((Vec::new(), true));
        }
        if !self.eat("(") {
            return Ok((vec![self.one_return(false)?], false));
        }
        let mut returns = Vec::new();
        if self.eat(")") {
            return Ok((returns, false));
        }
        loop {
            returns.push(self.one_return(true)?);
            if self.eat(")") {
                return Ok((returns, false));
            }
            self.expect(",")?;
        }
    }

    fn one_return(&mut self, in_list: bool) -> Parsed<Return> {
        let Annotated { ty, alias, .. } = self.annotated()?;
        self.space();
        let named = if in_list {
            !self.rest().starts_with([',', ')'])
        } else {
            !self.rest().is_empty()
        };
        let name = if named {
            Some(Sym::new(self.name()?))
        } else {
            None
        };
        Ok(Return { name, ty, alias })
    }

    fn annotated(&mut self) -> Parsed<Annotated> {
        let mut ty = self.base_type()?;
        let mut fixed_len = None;
        let mut alias = self.alias()?;
        loop {
            // A space would end the type: what follows it is the parameter's name.
            if self.rest().starts_with('[') {
                self.expect("[")?;
                fixed_len = if self.eat("]") {
                    None
                } else {
                    let len = self.digits()?;
                    self.expect("]")?;
                    Some(len)
                };
                ty = Type::list(ty);
            } else if self.rest().starts_with('?') {
                self.expect("?")?;
                ty = Type::optional(ty);
            } else {
                break;
            }
            alias = merge(alias, self.alias()?);
        }
        Ok(Annotated {
            ty,
            fixed_len,
            alias,
        })
    }

    fn base_type(&mut self) -> Parsed<Type> {
        if self.eat("(") {
            return Ok(Type::tuple(self.types()?));
        }
        let start = self.at;
        let name = self.path()?;
        Ok(match name {
            "Tensor" => Type::TENSOR,
            "int" | "SymInt" | "ScalarType" | "Layout" | "MemoryFormat" => Type::Int,
            "float" => Type::Float,
            "bool" => Type::Bool,
            "complex" => Type::Complex,
            "Scalar" | "number" => Type::Scalar,
            "str" => Type::Str,
            "NoneType" => Type::None,
            "Any" => Type::Any,
            "Device" => Type::Device,
            "Dict" => {
                let [key, value] = self.arguments()?;
                Type::dict(key, value)
            }
            "Future" | "RRef" | "Await" => {
                let [inner] = self.arguments()?;
                let inner = Arc::new(inner);
                match name {
                    "Future" => Type::Future(inner),
                    "RRef" => Type::RRef(inner),
                    _ => Type::Await(inner),
                }
            }
            "Union" => {
                self.expect("(")?;
                Type::Union(self.types()?.into())
            }
            _ if name.contains('.') => Type::class(name),
            _ if name.starts_with(|c: char| c.is_ascii_lowercase()) => Type::Var(Sym::new(name)),
            _ if KNOWN_BY_NAME.contains(&name) => Type::Named(Sym::new(name)),
            _ => {
                self.at = start;
                return Err(format!("`{name}` is no type"));
            }
        })
    }

    /// Exactly `N` types in parentheses.
    fn arguments<const N: usize>(&mut self) -> Parsed<[Type; N]> {
        self.expect("(")?;
        let types = self.types()?;
        let found = types.len();
        types
            .try_into()
            .map_err(|_| format!("expected {N} types, found {found}"))
    }

    /// Types up to the closing parenthesis.
    fn types(&mut self) -> Parsed<Vec<Type>> {
        let mut types = Vec::new();
        if self.eat(")") {
            return Ok(types);
        }
        loop {
            types.push(self.annotated()?.ty);
            if self.eat(")") {
                return Ok(types);
            }
            self.expect(",")?;
        }
    }

    /// An alias annotation right here: `(a)`, `(a!)`, `(a|b)`, `(*)`, `(a -> *)`.
    fn alias(&mut self) -> Parsed<Option<Alias>> {
        if !self.rest().starts_with('(') {
            return Ok(None);
        }
        self.expect("(")?;
        let mut alias = Alias {
            sets: Vec::new(),
            writes: false,
            escapes: false,
        };
        loop {
            let set = if self.eat("*") { "*" } else { self.name()? };
            alias.sets.push(Sym::new(set));
            if !self.eat("|") {
                break;
            }
        }
        alias.writes = self.eat("!");
        if self.eat("->") {
            alias.escapes = true;
            while !self.rest().starts_with(')') {
                if !self.eat("*") && !self.eat("|") {
                    self.name()?;
                }
            }
        }
        self.expect(")")?;
        Ok(Some(alias))
    }

    fn digits(&mut self) -> Parsed<u32> {
        let rest = self.rest();
        let len = rest
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(rest.len());
        let value = rest[..len].parse().map_err(|_| "expected a length")?;
        self.at += len;
        Ok(value)
    }

    /// An identifier.
    fn name(&mut self) -> Parsed<&'a str> {
        self.word(is_name)
    }

    /// Identifiers joined by dots.
    fn path(&mut self) -> Parsed<&'a str> {
        self.word(|c| is_name(c) || c == '.')
    }

    fn word(&mut self, holds: impl Fn(char) -> bool) -> Parsed<&'a str> {
        self.space();
        let rest = self.rest();
        let len = rest.find(|c| !holds(c)).unwrap_or(rest.len());
        if len == 0 {
            return Err("expected a name".to_owned());
        }
        self.at += len;
        Ok(&rest[..len])
    }

    pub(super) fn expect(&mut self, token: &str) -> Parsed<()> {
        if self.eat(token) {
            Ok(())
        } else {
            Err(format!("expected `{token}`"))
        }
    }

    pub(super) fn eat(&mut self, token: &str) -> bool {
        self.space();
        let found = self.rest().starts_with(token);
        if found {
            self.at += token.len();
        }
        found
    }

    pub(super) fn space(&mut self) {
        self.at += self.rest().len() - self.rest().trim_start().len();
    }

    pub(super) fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }
}

/// Types without structure that declarations may name.
const KNOWN_BY_NAME: [&str; 9] = [
    "Generator",
    "QScheme",
    "Storage",
    "Stream",
    "Capsule",
    "AnyList",
    "AnyTuple",
    "AnyClassType",
    "AnyEnumType",
];

pub(super) fn is_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

fn merge(a: Option<Alias>, b: Option<Alias>) -> Option<Alias> {
    match (a, b) {
        (Some(mut a), Some(b)) => {
            a.sets.extend(b.sets);
            a.writes |= b.writes;
            a.escapes |= b.escapes;
            Some(a)
        }
        (a, b) => a.or(b),
    }
}
