//! Defaults of parameters: what `=` is followed by in a declaration.

use super::parse::{Cursor, Parsed, is_name};
use crate::{Literal, Sym, Type};

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

impl Cursor<'_> {
    /// A default of a parameter of this type.
    pub(super) fn default(&mut self, ty: &Type, fixed_len: Option<u32>) -> Parsed<Literal> {
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
}
