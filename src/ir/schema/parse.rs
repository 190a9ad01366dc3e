//! Reads declarations as PyTorch writes them: `aten::add.Tensor(Tensor self, Tensor other, *, Scalar alpha=1) -> Tensor`.
//!
//! What PyTorch's type system does not tell apart is not told apart here: `ScalarType`, `Layout` and `MemoryFormat` are `int`, `SymInt` is
//! `int`. Alias annotations inside a type (`Tensor(a)[]`) are kept for the parameter or return as a whole.

use std::sync::Arc;

use super::{Alias, Param, Return, Schema};
use crate::{Literal, Sym, Type};

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

/// Constants that PyTorch writes by name in defaults, with their numbers.
const NAMED_INTS: [(&str, i64); 10] = [
    ("contiguous_format", 0),
    ("preserve_format", 1),
    ("channels_last", 2),
    ("channels_last_3d", 3),
    ("strided", 0),
    ("Mean", 1),
    ("int", 3),
    ("long", 4),
    ("float", 6),
    ("double", 7),
];

/// Reads one declaration: qualified name, overload (empty for the default one), schema.
pub(crate) fn parse(text: &str) -> Result<(Sym, Sym, Schema), SchemaError> {
    let mut cursor = Cursor { text, at: 0 };
    cursor.declaration().map_err(|message| SchemaError {
        text: text.to_owned(),
        column: cursor.at,
        message,
    })
}

struct Cursor<'a> {
    text: &'a str,
    at: usize,
}

/// A type with the length of `T[n]` and the alias annotations that stood in it.
struct Annotated {
    ty: Type,
    fixed_len: Option<u32>,
    alias: Option<Alias>,
}

type Parsed<T> = Result<T, String>;

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

    fn default(&mut self, ty: &Type, fixed_len: Option<u32>) -> Parsed<Literal> {
        if self.eat("None") {
            return match ty {
                Type::Optional(_) | Type::None | Type::Any => Ok(Literal::None),
                // PyTorch stands an undefined tensor for it, which reads as None.
                Type::Tensor(_) => Ok(Literal::None),
                _ => Err("`None` is the default of a parameter that is not optional".to_owned()),
            };
        }
        match ty.unwrap_optional() {
            Type::List(element) if self.eat("[") => {
                let mut values = Vec::new();
                while !self.eat("]") {
                    if !values.is_empty() {
                        self.expect(",")?;
                    }
                    values.push(self.default(element, None)?);
                }
                Ok(Literal::List((**element).clone(), values.into()))
            }
            Type::List(element) => {
                let len = fixed_len.ok_or("expected a list")?;
                let value = self.default(element, None)?;
                Ok(Literal::List(
                    (**element).clone(),
                    vec![value; len as usize].into(),
                ))
            }
            Type::Bool => {
                if self.eat("True") {
                    Ok(Literal::Bool(true))
                } else if self.eat("False") {
                    Ok(Literal::Bool(false))
                } else {
                    Err("expected `True` or `False`".to_owned())
                }
            }
            Type::Str => self.string().map(|text| Literal::str(&text)),
            Type::Device => self.string().map(|text| Literal::Device(Sym::new(&text))),
            Type::Int => match self.number()? {
                Literal::Int(value) => Ok(Literal::Int(value)),
                _ => Err("expected an int".to_owned()),
            },
            Type::Float => match self.number()? {
                Literal::Int(value) => Ok(Literal::Float(value as f64)),
                other => Ok(other),
            },
            Type::Scalar => {
                if self.eat("True") {
                    Ok(Literal::Bool(true))
                } else if self.eat("False") {
                    Ok(Literal::Bool(false))
                } else {
                    self.number()
                }
            }
            _ => Err("a parameter of this type can have no default but `None`".to_owned()),
        }
    }

    fn number(&mut self) -> Parsed<Literal> {
        self.space();
        let rest = self.rest();
        for (name, value) in NAMED_INTS {
            if let Some(after) = rest.strip_prefix(name)
                && !after.starts_with(is_name)
            {
                self.at += name.len();
                return Ok(Literal::Int(value));
            }
        }
        let bytes = rest.as_bytes();
        let mut len = 0;
        while let Some(byte) = bytes.get(len) {
            let sign =
                matches!(byte, b'+' | b'-') && (len == 0 || matches!(bytes[len - 1], b'e' | b'E'));
            if !(sign || byte.is_ascii_digit() || matches!(byte, b'.' | b'e' | b'E')) {
                break;
            }
            len += 1;
        }
        let text = &rest[..len];
        let value = if text.contains(['.', 'e', 'E']) {
            text.parse().ok().map(Literal::Float)
        } else {
            text.parse().ok().map(Literal::Int)
        };
        let value = value.ok_or("expected a number")?;
        self.at += len;
        Ok(value)
    }

    fn string(&mut self) -> Parsed<String> {
        self.space();
        let mut chars = self.rest().char_indices();
        let Some((_, quote @ ('"' | '\''))) = chars.next() else {
            return Err("expected a string".to_owned());
        };
        let mut text = String::new();
        while let Some((at, c)) = chars.next() {
            match c {
                c if c == quote => {
                    self.at += at + 1;
                    return Ok(text);
                }
                '\\' => text.push(match chars.next() {
                    Some((_, 'n')) => '\n',
                    Some((_, 't')) => '\t',
                    Some((_, 'r')) => '\r',
                    Some((_, 'f')) => '\u{c}',
                    Some((_, 'v')) => '\u{b}',
                    Some((_, c @ ('\\' | '"' | '\''))) => c,
                    _ => return Err("expected an escape that PyTorch writes".to_owned()),
                }),
                c => text.push(c),
            }
        }
        Err("the string has no end".to_owned())
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

    fn expect(&mut self, token: &str) -> Parsed<()> {
        if self.eat(token) {
            Ok(())
        } else {
            Err(format!("expected `{token}`"))
        }
    }

    fn eat(&mut self, token: &str) -> bool {
        self.space();
        let found = self.rest().starts_with(token);
        if found {
            self.at += token.len();
        }
        found
    }

    fn space(&mut self) {
        self.at += self.rest().len() - self.rest().trim_start().len();
    }

    fn rest(&self) -> &'a str {
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

fn is_name(c: char) -> bool {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn schema(text: &str) -> Schema {
        parse(text).unwrap_or_else(|error| panic!("{error}")).2
    }

    #[test]
    fn defaults_of_every_kind() {
        let schema = schema(
            "a::b(Tensor? x=None, int[2] pad=0, int[2] stride=[1, 2], int[1]? dim=None, float eps=1e-05, float one=1, Scalar s=1, \
             Scalar f=0.5, bool b=True, str m=\"mean\\n\", *, MemoryFormat m=contiguous_format, float[] none=[], int i=-1) -> ()",
        );
        let defaults: Vec<_> = schema
            .params
            .into_iter()
            .map(|param| param.default.expect("every parameter has one"))
            .collect();
        assert_eq!(
            defaults,
            [
                Literal::None,
                Literal::ints(&[0, 0]),
                Literal::ints(&[1, 2]),
                Literal::None,
                Literal::Float(1e-5),
                Literal::Float(1.0),
                Literal::Int(1),
                Literal::Float(0.5),
                Literal::Bool(true),
                Literal::str("mean\n"),
                Literal::Int(0),
                Literal::floats(&[]),
                Literal::Int(-1),
            ]
        );
    }

    #[test]
    fn types_lengths_and_alias_sets() {
        let schema = schema(
            "a::b(t[](a!) l, Tensor?[] i, Dict(str, t)(b) d, t(c -> *) e, __torch__.torch.classes.q.P p, *, int[3]? n, ...) \
             -> (Tensor(a)[] first, t(*)?)",
        );
        let var = Type::Var("t".into());
        assert!(schema.vararg && !schema.varret);
        let types: Vec<_> = schema.params.iter().map(|param| param.ty.clone()).collect();
        assert_eq!(
            types,
            [
                Type::list(var.clone()),
                Type::list(Type::optional(Type::TENSOR)),
                Type::dict(Type::Str, var.clone()),
                var.clone(),
                Type::class("__torch__.torch.classes.q.P"),
                Type::optional(Type::list(Type::Int)),
            ]
        );
        let written: Vec<_> = schema
            .params
            .iter()
            .map(|param| {
                param
                    .alias
                    .as_ref()
                    .map(|alias| (alias.writes, alias.escapes))
            })
            .collect();
        assert_eq!(
            written,
            [
                Some((true, false)),
                None,
                Some((false, false)),
                Some((false, true)),
                None,
                None
            ]
        );
        assert_eq!(
            (schema.params[5].fixed_len, schema.params[5].kwarg_only),
            (Some(3), true)
        );
        assert_eq!(schema.returns[0].name, Some("first".into()));
        assert_eq!(schema.returns[1].ty, Type::optional(var));
        assert_eq!(
            schema.returns[1].alias.as_ref().map(|alias| &*alias.sets),
            Some(&["*".into()][..])
        );
    }

    #[test]
    fn errors_say_what_and_where() {
        for (text, column, message) in [
            ("aten::f(Tensor x) - Tensor", 18, "expected `->`"),
            ("aten::f(Tenser x) -> Tensor", 8, "`Tenser` is no type"),
            ("aten::f(bool x=1) -> ()", 15, "expected `True` or `False`"),
            ("aten::f(int x=None) -> ()", 18, "`None` is the default"),
            ("aten::f(str x=\"a) -> ()", 14, "the string has no end"),
            ("aten::f(int x", 13, "expected `,`"),
            ("aten::f() -> () int", 16, "expected the end"),
            ("f() -> ()", 1, "expected `::`"),
            (
                "aten::f(Dict(int) x) -> ()",
                17,
                "expected 2 types, found 1",
            ),
        ] {
            let error = parse(text).expect_err(text);
            assert_eq!(error.column, column, "{error}");
            assert!(error.message.starts_with(message), "{error}");
        }
    }
}
