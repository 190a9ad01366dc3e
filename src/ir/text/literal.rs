//! Reading literals.
//!
//! What a literal means depends on the type that is declared where it stands: PyTorch prints `value=1` for an int and for a bool, a
//! string for a device, and numbers for a whole tensor. `annotate(T, x)` declares a type where none stands.

use std::sync::Arc;

use indexmap::IndexMap;

use crate::text::cursor::{Parse, Parser};
use crate::text::lex::Kind;
use crate::{Literal, Object, Sym, Tensor, Type};

/// Words that begin a literal, where a type might stand too.
const LITERAL_WORDS: [&str; 11] = [
    "True", "False", "None", "inf", "nan", "annotate", "object", "dense", "random", "pack",
    "function",
];

impl Parser<'_> {
    /// A literal where `declared` is the declared type, if there is one.
    pub(super) fn literal(&mut self, declared: Option<&Type>) -> Parse<Literal> {
        self.nested("literals", |p| p.literal_of(wanted(declared)))
    }

    /// Whether a type stands here, and no literal.
    pub(super) fn type_ahead(&self) -> bool {
        let mut token = self.token.clone();
        while matches!(token.kind, Kind::Mark(b'(' | b'[')) {
            token = crate::text::lex::token_at(self.text, token.end);
        }
        token.kind == Kind::Name && !LITERAL_WORDS.contains(&&self.text[token.span()])
    }

    fn literal_of(&mut self, declared: Option<&Type>) -> Parse<Literal> {
        let tensor = declared.is_some_and(Type::is_tensor);
        let span = self.token.span();
        match self.token.kind {
            Kind::Name => self.word(declared),
            Kind::Mark(b'<') => self.left_out(),
            Kind::Mark(b'{') if tensor => self.boxed(declared),
            Kind::Mark(b'{') => self.dict_or_boxed(declared),
            _ if tensor => self.printed_tensor(),
            Kind::Number => self.number(declared),
            Kind::Str => {
                let text = self.string()?;
                match declared {
                    None | Some(Type::Str | Type::Union(_)) => Ok(Literal::str(&text)),
                    Some(Type::Device) => Ok(Literal::Device(Sym::new(&text))),
                    Some(other) => Err(self.mismatch(span, "a string", other)),
                }
            }
            Kind::Mark(b'[') => self.list_literal(declared),
            Kind::Mark(b'(') => {
                self.bump();
                self.tuple(declared)
            }
            _ => Err(self.unexpected("a literal")),
        }
    }

    fn word(&mut self, declared: Option<&Type>) -> Parse<Literal> {
        let word = self.current();
        match word {
            "inf" | "nan" => return self.number(declared),
            "True" => self.bump(),
            "False" => self.bump(),
            "None" => self.bump(),
            "annotate" => {
                self.bump();
                self.expect(b'(')?;
                let ty = self.ty()?;
                self.expect(b',')?;
                let literal = self.literal(Some(&ty))?;
                self.expect(b')')?;
                return Ok(literal);
            }
            "object" => return self.object(),
            "function" => {
                self.bump();
                self.expect(b'<')?;
                let name = self.name_or_string("a function's name")?;
                self.expect(b'>')?;
                return Ok(Literal::Function(Sym::new(&name)));
            }
            "dense" => return self.dense().map(Literal::Tensor),
            "random" => return self.random().map(Literal::Tensor),
            "pack" => return self.packed().map(|packed| Literal::Packed(packed.into())),
            // PyTorch prints a wide matrix in groups of columns.
            "Columns" if declared.is_some_and(Type::is_tensor) => return self.printed_tensor(),
            // PyTorch prints a member of an enum by its name, which does not say its value.
            _ if word.starts_with("__torch__.") => {
                self.bump();
                return Ok(Literal::Opaque);
            }
            _ => return Err(self.unexpected("a literal")),
        }
        Ok(match word {
            "True" => Literal::Bool(true),
            "False" => Literal::Bool(false),
            _ => Literal::None,
        })
    }

    fn number(&mut self, declared: Option<&Type>) -> Parse<Literal> {
        let span = self.token.span();
        let text = self.current();
        self.bump();
        // The imaginary part follows without a blank, with its sign: `0.-2.j`.
        let next = self.current();
        let adjacent = self.token.kind == Kind::Number && self.token.start == span.end;
        if adjacent && next.ends_with('j') && next.starts_with(['+', '-']) {
            self.bump();
            let parts = float(text).zip(float(&next[..next.len() - 1]));
            return self.complex(parts, span, declared);
        }
        if let Some(imaginary) = text.strip_suffix('j') {
            let parts = float(imaginary).map(|imaginary| (0.0, imaginary));
            return self.complex(parts, span, declared);
        }
        let integral = !text.contains(['.', 'e', 'E', 'n']);
        let bits = text.starts_with("0x");
        match declared {
            Some(Type::Float) => match float(text) {
                Some(value) => Ok(Literal::Float(value)),
                None => Err(self.fault(span, format!("`{text}` is no float"))),
            },
            Some(Type::Bool) => match text {
                "0" => Ok(Literal::Bool(false)),
                "1" => Ok(Literal::Bool(true)),
                _ => Err(self.fault(span, format!("a bool is 0 or 1, not `{text}`"))),
            },
            Some(Type::Complex) => {
                self.complex(float(text).map(|real| (real, 0.0)), span, declared)
            }
            Some(ty) if !takes_numbers(ty) => Err(self.mismatch(span, "a number", ty)),
            Some(Type::Int) if !integral || bits => {
                Err(self.fault(span, format!("`{text}` is declared int")))
            }
            _ if integral && !bits => match text.trim_start_matches('+').parse() {
                Ok(value) => Ok(Literal::Int(value)),
                Err(_) => Err(self.fault(span, format!("`{text}` does not fit in 64 bits"))),
            },
            _ => match float(text) {
                Some(value) if !bits => Ok(Literal::Float(value)),
                _ => Err(self.fault(span, format!("`{text}` is no number"))),
            },
        }
    }

    fn complex(
        &mut self,
        parts: Option<(f64, f64)>,
        span: std::ops::Range<usize>,
        declared: Option<&Type>,
    ) -> Parse<Literal> {
        let Some((real, imaginary)) = parts else {
            return Err(self.fault(span, "this is no complex number"));
        };
        match declared {
            None | Some(Type::Complex | Type::Scalar | Type::Union(_)) => {
                Ok(Literal::Complex(real, imaginary))
            }
            Some(other) => Err(self.mismatch(span, "a complex number", other)),
        }
    }

    fn list_literal(&mut self, declared: Option<&Type>) -> Parse<Literal> {
        let span = self.token.span();
        self.bump();
        if self.at(b'<') && self.text[self.token.end..].starts_with("Tensors>") {
            let literal = self.left_out()?;
            self.expect(b']')?;
            return Ok(literal);
        }
        let element = match declared {
            Some(Type::List(element)) => Some(element.as_ref()),
            None | Some(Type::Union(_) | Type::Named(_)) => None,
            Some(other) => return Err(self.mismatch(span, "a list", other)),
        };
        let mut items = self.list(b']', |p| p.literal(element))?;
        let element = element.cloned().unwrap_or_else(|| common_type(&mut items));
        Ok(Literal::List(element, items.into()))
    }

    /// The rest of a tuple, whose parenthesis is read.
    fn tuple(&mut self, declared: Option<&Type>) -> Parse<Literal> {
        let elements = declared.and_then(Type::elements).unwrap_or_default();
        let mut index = 0;
        let items = self.list(b')', |p| {
            index += 1;
            p.literal(elements.get(index - 1))
        })?;
        Ok(Literal::Tuple(items.into()))
    }

    /// `{k: v, …}`, or a tensor with one element printed as `{6}` where no type tells.
    fn dict_or_boxed(&mut self, declared: Option<&Type>) -> Parse<Literal> {
        let open = self.token.clone();
        self.bump();
        let (key_type, value_type) = match declared {
            Some(Type::Dict(pair)) => (Some(&pair.0), Some(&pair.1)),
            _ => (None, None),
        };
        let mut keys = Vec::new();
        let mut values = Vec::new();
        while !self.eat(b'}') {
            if !keys.is_empty() {
                self.expect(b',')?;
            }
            let key = self.literal(key_type)?;
            if keys.is_empty() && self.at(b'}') && declared.is_none() {
                self.seek(open.start);
                return self.boxed(None);
            }
            self.expect(b':')?;
            keys.push(key);
            values.push(self.literal(value_type)?);
        }
        let key = key_type.cloned().unwrap_or_else(|| common_type(&mut keys));
        let value = value_type
            .cloned()
            .unwrap_or_else(|| common_type(&mut values));
        Ok(Literal::dict(key, value, keys.into_iter().zip(values)))
    }

    /// `{6}`: the only element of a tensor, rounded to six digits.
    ///
    /// An integral one is taken as it stands. Any other may have lost digits, so that only the type of a tensor that represents the
    /// printed number exactly makes it a payload.
    fn boxed(&mut self, declared: Option<&Type>) -> Parse<Literal> {
        self.bump();
        let span = self.token.span();
        let negative = self.token.kind == Kind::Mark(b'-');
        let text = self.current();
        if negative || !matches!(self.token.kind, Kind::Number | Kind::Name) {
            return Err(self.unexpected("a number"));
        }
        self.bump();
        self.expect(b'}')?;
        let Some(value) = float(text) else {
            return Err(self.fault(span, format!("`{text}` is no number")));
        };
        Ok(one_element(value, declared).map_or(Literal::Opaque, Literal::Tensor))
    }

    /// `<Tensor>`, `<Tensors>`, `<Opaque>`: a payload that the printer left out.
    fn left_out(&mut self) -> Parse<Literal> {
        self.expect(b'<')?;
        self.expect_name("`Tensor`")?;
        self.expect(b'>')?;
        Ok(Literal::Opaque)
    }

    /// A tensor as PyTorch prints its numbers: up to its type, which stands in brackets. The numbers are rounded, hence no payload.
    fn printed_tensor(&mut self) -> Parse<Literal> {
        let start = self.token.start;
        let mut open = Vec::new();
        for (at, byte) in self.text.bytes().enumerate().skip(start) {
            match byte {
                b'[' => open.push(at),
                b']' => {
                    let Some(bracket) = open.pop() else { break };
                    if open.is_empty() && self.text[bracket..at].contains("Type{") {
                        self.seek(at + 1);
                        return Ok(Literal::Opaque);
                    }
                }
                _ => {}
            }
        }
        Err(self.fault(
            start..start + 1,
            "expected a tensor: `dense<…>[…]`, `<Tensor>`, `{…}`, or numbers that end in their type as PyTorch prints them",
        ))
    }

    /// `object(0x55…)` of PyTorch, which carries nothing, or `object<Class>{field = …}`.
    fn object(&mut self) -> Parse<Literal> {
        self.bump();
        if self.eat(b'(') {
            self.expect_kind(Kind::Number, "an address")?;
            self.expect(b')')?;
            return Ok(Literal::Opaque);
        }
        self.expect(b'<')?;
        let class = Sym::new(&self.name_or_string("a class name")?);
        self.expect(b'>')?;
        self.expect(b'{')?;
        let fields = self.list(b'}', |p| {
            let field = Sym::new(&p.name_or_string("a field's name")?);
            let ty = if p.eat(b':') { Some(p.ty()?) } else { None };
            p.expect(b'=')?;
            Ok((field, p.literal(ty.as_ref())?))
        })?;
        let fields: IndexMap<Sym, Literal> = fields.into_iter().collect();
        Ok(Literal::Object(Arc::new(Object { class, fields })))
    }

    fn mismatch(
        &mut self,
        span: std::ops::Range<usize>,
        what: &str,
        declared: &Type,
    ) -> crate::text::cursor::Reported {
        self.fault(
            span,
            format!("{what} stands where `{declared}` is declared"),
        )
    }
}

/// The declared type as far as it says what a literal means.
pub(super) fn wanted(declared: Option<&Type>) -> Option<&Type> {
    match declared.map(Type::unwrap_optional) {
        Some(Type::Any | Type::Var(_) | Type::Class(_)) => None,
        other => other,
    }
}

/// The element type of literals without a declared one. Ints among floats are floats.
pub(super) fn common_type(items: &mut [Literal]) -> Type {
    let number = |item: &Literal| matches!(item, Literal::Int(_) | Literal::Float(_));
    let floats = items.iter().any(|item| matches!(item, Literal::Float(_)));
    if floats && items.iter().all(number) {
        for item in items.iter_mut() {
            if let Literal::Int(value) = item {
                *item = Literal::Float(*value as f64);
            }
        }
    }
    same_type(items)
}

/// The type of all items, or `Any` when they have several or there is none.
pub(super) fn same_type(items: &[Literal]) -> Type {
    let mut types = items.iter().map(Literal::ty);
    match types.next() {
        Some(first) if types.all(|ty| ty == first) => first,
        _ => Type::Any,
    }
}

/// Whether ints, and mostly floats, may stand where this type is declared.
pub(super) fn takes_numbers(ty: &Type) -> bool {
    matches!(
        ty,
        Type::Int | Type::Scalar | Type::Named(_) | Type::Union(_)
    )
}

/// A float's text; `0x…` gives its bits.
fn float(text: &str) -> Option<f64> {
    let text = text.strip_prefix('+').unwrap_or(text);
    match text.strip_prefix("0x") {
        Some(bits) => u64::from_str_radix(bits, 16).ok().map(f64::from_bits),
        None => text.parse().ok(),
    }
}

/// The tensor whose only element is `value`, when text and type determine it.
fn one_element(value: f64, declared: Option<&Type>) -> Option<Tensor> {
    let known = match declared {
        Some(Type::Tensor(Some(known))) => Some(known),
        _ => None,
    };
    let integral = value.fract() == 0.0 && value.abs() < 1e6;
    let shape: Vec<i64> = match known.and_then(|known| known.dims.as_ref()) {
        Some(dims) => dims.iter().copied().collect::<Option<_>>()?,
        None => Vec::new(),
    };
    if shape.iter().any(|size| *size != 1) {
        return None;
    }
    use crate::DType::{BFloat16, Bool, Byte, Char, Double, Float, Half, Int, Long, Short};
    let data = match known.and_then(|known| known.dtype) {
        None | Some(Long) if integral => (Long, (value as i64).to_le_bytes().to_vec()),
        Some(Float) if f64::from(value as f32).to_bits() == value.to_bits() => {
            (Float, (value as f32).to_le_bytes().to_vec())
        }
        Some(Double) if f64::from(value as f32).to_bits() == value.to_bits() => {
            (Double, value.to_le_bytes().to_vec())
        }
        Some(Half) if half::f16::from_f64(value).to_f64().to_bits() == value.to_bits() => {
            (Half, half::f16::from_f64(value).to_le_bytes().to_vec())
        }
        Some(BFloat16) if half::bf16::from_f64(value).to_f64().to_bits() == value.to_bits() => {
            (BFloat16, half::bf16::from_f64(value).to_le_bytes().to_vec())
        }
        Some(Int) if integral => (Int, (value as i32).to_le_bytes().to_vec()),
        Some(Short) if integral && f64::from(value as i16) == value => {
            (Short, (value as i16).to_le_bytes().to_vec())
        }
        Some(Char) if integral && f64::from(value as i8) == value => {
            (Char, (value as i8).to_le_bytes().to_vec())
        }
        Some(Byte) if integral && f64::from(value as u8) == value => (Byte, vec![value as u8]),
        Some(Bool) if value == 0.0 || value == 1.0 => (Bool, vec![value as u8]),
        _ => return None,
    };
    Tensor::new(data.0, &shape, data.1).ok()
}
