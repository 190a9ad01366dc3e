//! Types: reading.
//!
//! The spelling is that of PyTorch's graph printer (`int[]`, `Tensor?`, `Dict(str, Tensor)`); Python's (`List[int]`, `Optional[Tensor]`)
//! is read too.

use std::str::FromStr;
use std::sync::Arc;

use crate::diag::Diagnostics;
use crate::text::Blobs;
use crate::text::cursor::{MAX_DEPTH, Parse, Parser};
use crate::text::lex::Kind;
use crate::{DType, NamedTupleType, Sym, TensorType, Type};

/// Types without structure that are known by name.
const NAMED: [&str; 10] = [
    "AnyClassType",
    "AnyEnumType",
    "AnyList",
    "AnyTuple",
    "Capsule",
    "Dimname",
    "Generator",
    "QScheme",
    "Storage",
    "Stream",
];

/// Element types that PyTorch prints and this IR does not have: the tensor is read as one of unknown element type.
const FOREIGN_DTYPES: [&str; 12] = [
    "Float8_e5m2",
    "Float8_e4m3fn",
    "Float8_e5m2fnuz",
    "Float8_e4m3fnuz",
    "Float8_e8m0fnu",
    "QUInt2x4",
    "Bits1x8",
    "Bits8",
    "Bits16",
    "UInt16",
    "UInt32",
    "UInt64",
];

impl Parser<'_> {
    /// A type.
    pub(super) fn ty(&mut self) -> Parse<Type> {
        self.measured_type().map(|(ty, _)| ty)
    }

    /// A type and the height of its tree: suffixes nest without recursion, so that counting calls is not enough.
    fn measured_type(&mut self) -> Parse<(Type, u32)> {
        let (mut ty, mut height) = self.nested("types", Self::base_type)?;
        loop {
            let next = self.peek();
            if self.at(b'?') {
                self.bump();
                ty = Type::optional(ty);
            } else if self.at(b'[') && next.kind == Kind::Mark(b']') {
                self.bump();
                self.bump();
                ty = Type::list(ty);
            } else if self.at(b'[') && next.kind == Kind::Number {
                // `int[2]` of a schema: a list for which one value may stand.
                self.bump();
                self.bump();
                self.expect(b']')?;
                ty = Type::list(ty);
            } else {
                return Ok((ty, height));
            }
            height += 1;
            if height > MAX_DEPTH {
                return Err(self.too_deep("types"));
            }
        }
    }

    fn base_type(&mut self) -> Parse<(Type, u32)> {
        if self.eat(b'(') {
            let (elements, height) = self.types(b')')?;
            return Ok((Type::Tuple(elements.into()), height + 1));
        }
        let span = self.token.span();
        let name = self.expect_name("a type")?;
        let simple = match name {
            "int" | "SymInt" | "ScalarType" | "Layout" | "MemoryFormat" => Type::Int,
            "float" | "SymFloat" => Type::Float,
            "bool" | "SymBool" => Type::Bool,
            "complex" => Type::Complex,
            "Scalar" | "number" => Type::Scalar,
            "str" | "string" => Type::Str,
            "NoneType" | "None" => Type::None,
            "Any" => Type::Any,
            "Device" => Type::Device,
            "capsule" => Type::Named("Capsule".into()),
            "Function" => return self.function_type(),
            "NamedTuple" => return self.named_tuple(),
            "Class" | "InterfaceType" | "Enum" if self.at(b'<') => return self.bracketed_class(),
            "List" | "Optional" | "Future" | "RRef" | "Await" | "Dict" | "Union" | "Tuple" => {
                return self.generic(name, span);
            }
            _ if NAMED.contains(&name) => Type::Named(name.into()),
            _ if name.contains('.') => Type::class(name),
            _ => match tensor_name(name) {
                Some((dtype, ranked)) => return Ok((self.tensor_type(dtype, ranked)?, 1)),
                None if name.starts_with(|c: char| c.is_ascii_lowercase()) => {
                    Type::Var(name.into())
                }
                None => return Err(self.fault(span, format!("`{name}` is no type"))),
            },
        };
        Ok((simple, 1))
    }

    /// `Dict(K, V)`, `Future(T)`, `List[T]`, …
    fn generic(&mut self, name: &str, span: std::ops::Range<usize>) -> Parse<(Type, u32)> {
        let close = if self.eat(b'[') {
            b']'
        } else {
            self.expect(b'(')?;
            b')'
        };
        // `Tuple[()]` is Python's empty tuple.
        if name == "Tuple" && self.at(b'(') && self.peek().kind == Kind::Mark(b')') {
            self.bump();
            self.bump();
            self.expect(close)?;
            return Ok((Type::tuple([]), 1));
        }
        let (mut types, height) = self.types(close)?;
        let ty = match (name, types.len()) {
            ("Union", _) => Type::Union(types.into()),
            ("Tuple", _) => Type::Tuple(types.into()),
            ("Dict", 2) => {
                let value = types.pop();
                let key = types.pop();
                Type::Dict(Arc::new((
                    key.unwrap_or(Type::Any),
                    value.unwrap_or(Type::Any),
                )))
            }
            (_, 1) if name != "Dict" => {
                let inner = types.pop().unwrap_or(Type::Any);
                match name {
                    "List" => Type::list(inner),
                    "Optional" => Type::optional(inner),
                    "Future" => Type::Future(inner.into()),
                    "RRef" => Type::RRef(inner.into()),
                    _ => Type::Await(inner.into()),
                }
            }
            (_, count) => {
                let wanted = if name == "Dict" { 2 } else { 1 };
                return Err(self.fault(
                    span,
                    format!("`{name}` takes {wanted} types and is given {count}"),
                ));
            }
        };
        Ok((ty, height + 1))
    }

    fn types(&mut self, close: u8) -> Parse<(Vec<Type>, u32)> {
        let measured = self.list(close, Self::measured_type)?;
        let height = measured
            .iter()
            .map(|(_, height)| *height)
            .max()
            .unwrap_or(0);
        if height >= MAX_DEPTH {
            return Err(self.too_deep("types"));
        }
        Ok((measured.into_iter().map(|(ty, _)| ty).collect(), height))
    }

    /// `Function` or `Function<qualified.name>`.
    fn function_type(&mut self) -> Parse<(Type, u32)> {
        if !self.eat(b'<') {
            return Ok((Type::Function("".into()), 1));
        }
        let name = self.name_or_string("a function's name")?;
        self.expect(b'>')?;
        Ok((Type::Function(Sym::new(&name)), 1))
    }

    /// `Class<Name>` for a class whose name alone would not be read as one.
    fn bracketed_class(&mut self) -> Parse<(Type, u32)> {
        self.expect(b'<')?;
        let name = self.name_or_string("a class name")?;
        self.expect(b'>')?;
        Ok((Type::Class(Sym::new(&name)), 1))
    }

    /// `NamedTuple<qualified.Name>(a : int, b : Tensor)`; the name may be missing.
    fn named_tuple(&mut self) -> Parse<(Type, u32)> {
        let mut name = Sym::new("");
        if self.eat(b'<') {
            name = Sym::new(&self.name_or_string("the name of a named tuple")?);
            self.expect(b'>')?;
        }
        self.expect(b'(')?;
        let fields = self.list(b')', |p| {
            let field = Sym::new(&p.name_or_string("a field's name")?);
            p.expect(b':')?;
            Ok((field, p.measured_type()?))
        })?;
        let height = fields
            .iter()
            .map(|(_, (_, height))| *height)
            .max()
            .unwrap_or(0);
        if height >= MAX_DEPTH {
            return Err(self.too_deep("types"));
        }
        let fields = fields
            .into_iter()
            .map(|(field, (ty, _))| (field, ty))
            .collect();
        let named = Type::NamedTuple(Arc::new(NamedTupleType { name, fields }));
        Ok((named, height + 1))
    }

    /// What stands in parentheses after `Float` or `Tensor`. `ranked`: the parentheses list the sizes even when there are none.
    fn tensor_type(&mut self, dtype: Option<DType>, ranked: bool) -> Parse<Type> {
        let mut known = TensorType {
            dtype,
            ..TensorType::default()
        };
        if self.eat(b'(') {
            let mut dims = Vec::new();
            let empty = self.at(b')');
            let mut aliased = false;
            let mut sized = false;
            self.list(b')', |p| {
                match p.token.kind {
                    Kind::Number | Kind::Mark(b'*') => dims.push(p.dim()?),
                    _ => match p.current() {
                        "dims" => {
                            p.bump();
                            p.expect(b'=')?;
                            p.expect(b'[')?;
                            dims = p.list(b']', Self::dim)?;
                            sized = true;
                        }
                        "strides" => {
                            p.bump();
                            p.expect(b'=')?;
                            p.expect(b'[')?;
                            known.strides = Some(p.list(b']', Self::dim)?);
                        }
                        "requires_grad" => {
                            p.bump();
                            p.expect(b'=')?;
                            known.requires_grad = Some(match p.current() {
                                "0" => false,
                                "1" => true,
                                _ => return Err(p.unexpected("0 or 1")),
                            });
                            p.bump();
                        }
                        "device" => {
                            p.bump();
                            p.expect(b'=')?;
                            known.device = Some(p.device()?);
                        }
                        _ => {
                            aliased = true;
                            p.alias()?;
                        }
                    },
                }
                Ok(())
            })?;
            let ranked = ranked || (empty && !aliased);
            if sized || !dims.is_empty() || (ranked && !aliased) {
                known.dims = Some(dims);
            }
        }
        if known == TensorType::default() {
            return Ok(Type::TENSOR);
        }
        Ok(Type::Tensor(Some(Arc::new(known))))
    }

    /// A size or stride; `*` is an unknown one.
    fn dim(&mut self) -> Parse<Option<i64>> {
        if self.eat(b'*') {
            return Ok(None);
        }
        let span = self.token.span();
        let text = self.expect_kind(Kind::Number, "a size or `*`")?;
        match text.parse() {
            Ok(size) => Ok(Some(size)),
            Err(_) => Err(self.fault(span, format!("`{text}` is no size"))),
        }
    }

    /// `cpu`, `cuda:0`.
    fn device(&mut self) -> Parse<Sym> {
        let start = self.token.start;
        self.expect_name("a device")?;
        let mut end = start + self.text[start..self.token.start].trim_end().len();
        if self.at(b':') {
            self.bump();
            end = self.token.end;
            self.expect_kind(Kind::Number, "a device index")?;
        }
        Ok(Sym::new(&self.text[start..end]))
    }

    /// `a`, `a!`, `a|b`, `a -> *` of a schema: read and dropped, since what aliases what is the operator's affair.
    fn alias(&mut self) -> Parse<()> {
        self.expect_name("a size, `strides`, `requires_grad` or `device`")?;
        while matches!(
            self.token.kind,
            Kind::Mark(b'!' | b'|' | b'*') | Kind::Arrow | Kind::Name
        ) {
            self.bump();
        }
        Ok(())
    }
}

/// Element type of a tensor type's name, and whether a list of sizes belongs to it.
fn tensor_name(name: &str) -> Option<(Option<DType>, bool)> {
    if name == "Tensor" {
        return Some((None, false));
    }
    let (base, ranked) = match name.strip_suffix("Tensor") {
        Some(base) => (base, false),
        None => (name, true),
    };
    match DType::from_name(base) {
        Some(dtype) => Some((Some(dtype), ranked)),
        None => FOREIGN_DTYPES.contains(&base).then_some((None, ranked)),
    }
}

impl FromStr for Type {
    type Err = Diagnostics;

    fn from_str(text: &str) -> Result<Self, Diagnostics> {
        Parser::new(text, &Blobs::default()).whole(Parser::ty)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_the_printer_read_back() {
        for text in [
            "Tensor?",
            "int[]",
            "Tensor?[]",
            "Dict(str, Tensor)",
            "(int, float)",
            "(int)",
            "()",
            "(int, (float, str)[])?",
            "Float(1, 3, strides=[3, 1], requires_grad=0, device=cpu)",
            "Float(*, 3, requires_grad=0, device=cpu)",
            "Float(requires_grad=0, device=cpu)",
            "FloatTensor(requires_grad=0, device=cpu)",
            "Float()",
            "QUInt8(1, 3)",
            "Tensor(*, 4)",
            "Tensor(dims=[], requires_grad=1)",
            "Float(2, strides=[*], device=cuda:0)",
            "__torch__.torch.nn.modules.conv.___torch_mangle_8.Conv2d",
            "NamedTuple<__torch__.P>(a : int, b : Tensor)",
            "NamedTuple(a : int)",
            "Future(Tensor)",
            "RRef(int[])",
            "Await(int)",
            "Union(int, str, NoneType)",
            "Generator",
            "Function",
            "Function<__torch__.f>",
            "Class<Main>",
            "t[]",
        ] {
            let ty: Type = text
                .parse()
                .unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(ty.to_string(), text);
        }
    }

    #[test]
    fn other_spellings_are_read() {
        for (text, printed) in [
            ("List[int]", "int[]"),
            ("Optional[List[Tensor]]", "Tensor[]?"),
            ("Dict[str, Tuple[int, float]]", "Dict(str, (int, float))"),
            ("Tuple[()]", "()"),
            ("Tensor(a!)", "Tensor"),
            ("Tensor(a -> *)[]", "Tensor[]"),
            ("Tensor(a|b)?", "Tensor?"),
            ("int[2]", "int[]"),
            ("number", "Scalar"),
            ("InterfaceType<Net>", "Class<Net>"),
            ("Float8_e4m3fn(2, 3)", "Tensor(2, 3)"),
        ] {
            let ty: Type = text
                .parse()
                .unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(ty.to_string(), printed);
        }
    }

    #[test]
    fn wrong_types_are_refused() {
        for text in [
            "Tensr",
            "Dict(int)",
            "List[int, int]",
            "Float(1, x=3)",
            "(int",
            "int[",
            "Float(99999999999999999999)",
            "",
        ] {
            assert!(text.parse::<Type>().is_err(), "{text}");
        }
        for (open, count) in [("List[", 100_000), ("(", 100_000)] {
            assert!(open.repeat(count).parse::<Type>().is_err());
        }
        assert!(
            format!("int{}", "[]".repeat(100_000))
                .parse::<Type>()
                .is_err()
        );
    }
}
