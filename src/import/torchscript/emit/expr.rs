//! Expressions.

use planish_ir::{ClassKind, Literal, Op, Sym, Type, ValueId};

use super::Emitter;
use super::matching::Args;
use super::scope::Sugar;
use crate::error::Result;
use crate::torchscript::code::ast::{Expr, ExprKind, Span};
use crate::torchscript::{classes, types};

/// Names that mean something without being assigned.
const ROOTS: [&str; 4] = ["torch", "ops", "__torch__", "CONSTANTS"];

impl Emitter<'_, '_> {
    /// The value of an expression; a declared type says what empty brackets hold.
    pub(super) fn value(&mut self, expr: &Expr, hint: Option<&Type>) -> Result<ValueId> {
        let sugar = self.expr(expr, hint)?;
        self.desugar(sugar, expr.span)
    }

    /// The meaning of an expression.
    pub(super) fn expr(&mut self, expr: &Expr, hint: Option<&Type>) -> Result<Sugar> {
        let span = expr.span;
        let value = match &expr.kind {
            ExprKind::None => self.constant(Literal::None),
            ExprKind::Bool(value) => self.constant(Literal::Bool(*value)),
            ExprKind::Int(value) => self.constant(Literal::Int(*value)),
            ExprKind::Float(value) => self.constant(Literal::Float(*value)),
            ExprKind::Complex(real, imaginary) => {
                self.constant(Literal::Complex(*real, *imaginary))
            }
            ExprKind::Str(text) => self.constant(Literal::str(text)),
            ExprKind::Name(name) => return self.name(name, span),
            ExprKind::Attr(base, name) => {
                return match self.expr(base, None)? {
                    Sugar::Path(path) if path == "CONSTANTS" => self.archived(name, span),
                    Sugar::Path(path) => self.member(&path, name),
                    other => {
                        let object = self.desugar(other, span)?;
                        self.attribute(object, name, span)
                    }
                };
            }
            ExprKind::Call(call) => return self.call(call, hint, span),
            ExprKind::Index(base, index) => self.index(base, index, hint, span)?,
            ExprKind::Slice(base, low, high) => {
                self.slice(base, low.as_deref(), high.as_deref(), span)?
            }
            ExprKind::Tuple(items) => {
                let hints = hint.and_then(Type::elements).unwrap_or_default();
                let mut values = Vec::with_capacity(items.len());
                for (at, item) in items.iter().enumerate() {
                    values.push(self.value(item, hints.get(at))?);
                }
                self.tuple(&values, span)?
            }
            ExprKind::List(items) => self.list(items, hint, span)?,
            ExprKind::Dict(pairs) => self.dict(pairs, hint, span)?,
        };
        Ok(Sugar::Value(value))
    }

    /// One value for whatever an expression means.
    pub(super) fn desugar(&mut self, sugar: Sugar, span: Span) -> Result<ValueId> {
        match sugar {
            Sugar::Value(value) => Ok(value),
            Sugar::Several(values) if values.is_empty() => Ok(self.constant(Literal::None)),
            Sugar::Several(values) => self.tuple(&values, span),
            Sugar::Path(path) => self.path_value(&path, span),
            Sugar::Method(_, name) => {
                Err(self.fail(span, format!("method `{name}` is not called")))
            }
            Sugar::Closure(function) => {
                let what = format!("function `{}` is neither forked nor called", function.name);
                Err(self.fail(span, what))
            }
        }
    }

    /// The attribute, constant or method of an object.
    pub(super) fn attribute(&mut self, object: ValueId, name: &str, span: Span) -> Result<Sugar> {
        let class = match self.ty(object) {
            Type::Class(class) => *class,
            Type::NamedTuple(named) => {
                let at = named.fields.iter().position(|(field, _)| *field == *name);
                let Some(at) = at else {
                    let what = format!("named tuple `{}` has no field `{name}`", named.name);
                    return Err(self.fail(span, what));
                };
                return Ok(Sugar::Value(self.tuple_item(object, at, span)));
            }
            // The one method of tensors that is no operator.
            Type::Tensor(_) if name == "tolist" => {
                return Ok(Sugar::Method(object, name.to_owned()));
            }
            ty => {
                let what = format!("attribute `{name}` of a value of type {ty}");
                return Err(self.fail(span, what));
            }
        };
        let program = &mut *self.program;
        classes::declare(&mut program.library, &mut program.model, class.as_str())?;
        let sym = Sym::new(name);
        let Some(found) = program.model.classes.get(&class) else {
            // A native class: it has methods only.
            return Ok(Sugar::Method(object, name.to_owned()));
        };
        if found.kind == ClassKind::Enum {
            return self.enum_part(object, class, name, span);
        }
        if let Some(ty) = found.fields.get(&sym).cloned() {
            let node = self.insert(Op::of("prim::GetAttr"), &[object], [ty], span);
            self.graph.set_attr(node, "name", Literal::str(name));
            return Ok(Sugar::Value(self.graph.output(node)));
        }
        if let Some(constant) = found.constants.get(&sym).cloned() {
            return Ok(Sugar::Value(self.constant(constant)));
        }
        if self.program.method(class.as_str(), name)?.is_some() {
            return Ok(Sugar::Method(object, name.to_owned()));
        }
        let what = format!("class `{class}` has no attribute or method `{name}`");
        Err(self.fail(span, what))
    }

    /// A tuple of values.
    pub(super) fn tuple(&mut self, values: &[ValueId], span: Span) -> Result<ValueId> {
        let parts = values.iter().map(|value| self.ty(*value).clone());
        let ty = Type::tuple(parts.collect::<Vec<_>>());
        self.collection("prim::TupleConstruct", values, ty, span)
    }

    /// Makes a tuple, list or dict, if its type is of a size that can be worked with.
    fn collection(
        &mut self,
        op: &str,
        values: &[ValueId],
        ty: Type,
        span: Span,
    ) -> Result<ValueId> {
        if types::is_excessive(&ty) {
            return Err(self.fail(span, "the type of a tuple has too many parts"));
        }
        Ok(self.insert_one(op, values, ty, span))
    }

    /// One element of a tuple, by its place.
    pub(super) fn tuple_item(&mut self, tuple: ValueId, at: usize, span: Span) -> ValueId {
        let parts = self.ty(tuple).elements().unwrap_or_default();
        let ty = parts.get(at).cloned().unwrap_or(Type::Any);
        let index = self.constant(Literal::Int(at as i64));
        self.insert_one("prim::TupleIndex", &[tuple, index], ty, span)
    }

    fn name(&mut self, name: &str, span: Span) -> Result<Sugar> {
        if let Some(sugar) = self.scope.get(name) {
            return Ok(sugar.clone());
        }
        if ROOTS.contains(&name) {
            return Ok(Sugar::Path(name.to_owned()));
        }
        Err(self.fail(span, format!("name `{name}` is not defined")))
    }

    /// A longer path, or a member of an enum.
    fn member(&mut self, path: &str, name: &str) -> Result<Sugar> {
        let program = &mut *self.program;
        if path.starts_with("__torch__")
            && classes::declare(&mut program.library, &mut program.model, path)?
        {
            let found = &program.model.classes[&Sym::new(path)];
            if found.kind == ClassKind::Enum
                && let Some(member) = found.constants.get(&Sym::new(name)).cloned()
            {
                return Ok(Sugar::Value(self.constant(member)));
            }
        }
        Ok(Sugar::Path(format!("{path}.{name}")))
    }

    /// `CONSTANTS.cN`.
    fn archived(&mut self, name: &str, span: Span) -> Result<Sugar> {
        let Some(literal) = self.program.library.constant(name).cloned() else {
            let what = format!("the archive has no constant `CONSTANTS.{name}`");
            return Err(self.fail(span, what));
        };
        if matches!(
            literal,
            Literal::Tensor(_) | Literal::Packed(_) | Literal::Object(_)
        ) {
            // Not pooled by content; the text names them, so they are pooled by name.
            if let Some(known) = self.pool.get(name) {
                return Ok(Sugar::Value(*known));
            }
            let value = self.constant(literal);
            self.pool.insert(name.to_owned(), value);
            return Ok(Sugar::Value(value));
        }
        Ok(Sugar::Value(self.constant(literal)))
    }

    /// A dotted name as a value: a function.
    fn path_value(&mut self, path: &str, span: Span) -> Result<ValueId> {
        if self.program.library.function(path)?.is_some() {
            return Ok(self.constant(Literal::Function(Sym::new(path))));
        }
        Err(self.fail(span, format!("`{path}` is not a value")))
    }

    fn enum_part(&mut self, object: ValueId, class: Sym, name: &str, span: Span) -> Result<Sugar> {
        let members = &self.program.model.classes[&class].constants;
        let first = members.values().find_map(|member| match member {
            Literal::Object(member) => member.fields.get(&Sym::new("value")).map(Literal::ty),
            _ => None,
        });
        let (op, ty) = match (name, first) {
            ("name", _) => ("prim::EnumName", Type::Str),
            ("value", Some(Type::Int)) => ("prim::EnumValue.int", Type::Int),
            ("value", Some(Type::Float)) => ("prim::EnumValue.float", Type::Float),
            ("value", Some(Type::Str)) => ("prim::EnumValue.str", Type::Str),
            _ => return Err(self.fail(span, format!("an enum has no attribute `{name}`"))),
        };
        Ok(Sugar::Value(self.insert_one(op, &[object], ty, span)))
    }

    /// `(base)[index]`: of a tuple by a constant, of anything else through an operator; `hint` says what a container of modules holds.
    fn index(
        &mut self,
        base: &Expr,
        index: &Expr,
        hint: Option<&Type>,
        span: Span,
    ) -> Result<ValueId> {
        let base = self.value(base, None)?;
        let Some(parts) = self.ty(base).elements() else {
            let index = self.value(index, None)?;
            if let (Type::Class(_), Some(hint)) = (self.ty(base), hint) {
                // A list or dict of modules, which share the interface that is declared.
                let op = "prim::ModuleContainerIndex";
                let args = Args::two(base, index);
                let (op, inputs, _) = self
                    .resolve(op, &args, span)
                    .map_err(|what| self.fail(span, what))?;
                let node = self.insert(op, &inputs, [hint.clone()], span);
                return Ok(self.graph.output(node));
            }
            let (op, positional) = if self.ty(base).is_tensor() {
                let dim = self.constant(Literal::Int(0));
                ("aten::select", vec![base, dim, index])
            } else {
                ("aten::__getitem__", vec![base, index])
            };
            let named = Vec::new();
            let item = self.operator(op, &Args { positional, named }, span)?;
            return self.desugar(item, span);
        };
        let at = match index.kind {
            ExprKind::Int(at) => position(at, parts.len()),
            _ => None,
        };
        let Some(at) = at.filter(|at| *at < parts.len()) else {
            let what = format!("index into a tuple of {} elements", parts.len());
            return Err(self.fail(index.span, what));
        };
        Ok(self.tuple_item(base, at, span))
    }

    /// `(base)[low:high]`: of a tuple by constants, of a list or string through an operator.
    fn slice(
        &mut self,
        base: &Expr,
        low: Option<&Expr>,
        high: Option<&Expr>,
        span: Span,
    ) -> Result<ValueId> {
        let base = self.value(base, None)?;
        let Some(parts) = self.ty(base).elements() else {
            let mut positional = vec![base];
            for end in [low, high] {
                positional.push(match end {
                    Some(end) => self.value(end, None)?,
                    None => self.constant(Literal::None),
                });
            }
            let named = Vec::new();
            let items = self.operator("aten::slice", &Args { positional, named }, span)?;
            return self.desugar(items, span);
        };
        let end = |expr: Option<&Expr>, open: usize| match expr.map(|e| &e.kind) {
            None => Some(open),
            Some(ExprKind::Int(at)) => position(*at, parts.len()),
            Some(_) => None,
        };
        let (Some(low), Some(high)) = (end(low, 0), end(high, parts.len())) else {
            return Err(self.fail(span, "slice of a tuple by what is no constant"));
        };
        let high = high.min(parts.len());
        let items = (low..high).map(|at| self.tuple_item(base, at, span));
        let items: Vec<ValueId> = items.collect();
        self.tuple(&items, span)
    }

    fn list(&mut self, items: &[Expr], hint: Option<&Type>, span: Span) -> Result<ValueId> {
        let hint = hint.map(Type::unwrap_optional).and_then(Type::element);
        let mut values = Vec::with_capacity(items.len());
        for item in items {
            values.push(self.value(item, hint)?);
        }
        let element = self.common_type(&values, hint, span)?;
        self.collection("prim::ListConstruct", &values, Type::list(element), span)
    }

    fn dict(&mut self, pairs: &[(Expr, Expr)], hint: Option<&Type>, span: Span) -> Result<ValueId> {
        let hint = match hint.map(Type::unwrap_optional) {
            Some(Type::Dict(types)) => Some(types.clone()),
            _ => None,
        };
        let (mut keys, mut values, mut inputs) = (Vec::new(), Vec::new(), Vec::new());
        for (key, value) in pairs {
            let key = self.value(key, hint.as_ref().map(|types| &types.0))?;
            let value = self.value(value, hint.as_ref().map(|types| &types.1))?;
            keys.push(key);
            values.push(value);
            inputs.extend([key, value]);
        }
        let key = match (&hint, keys.is_empty()) {
            (None, true) => Type::Str,
            (hint, _) => self.common_type(&keys, hint.as_ref().map(|types| &types.0), span)?,
        };
        let value = self.common_type(&values, hint.as_ref().map(|types| &types.1), span)?;
        self.collection("prim::DictConstruct", &inputs, Type::dict(key, value), span)
    }

    /// The type of a collection's elements: the declared one, or what they have in common.
    fn common_type(&self, values: &[ValueId], hint: Option<&Type>, span: Span) -> Result<Type> {
        let mut types = values.iter().map(|value| self.ty(*value));
        if let Some(hint) = hint {
            return match types.find(|ty| !ty.is_subtype_of(hint)) {
                None => Ok(hint.clone()),
                Some(ty) => {
                    let what = format!("expected elements of type {hint}, found {ty}");
                    Err(self.fail(span, what))
                }
            };
        }
        let Some(first) = types.next() else {
            return Ok(Type::TENSOR);
        };
        let common = types.try_fold(first.clone(), |all, ty| all.unify(ty));
        common.ok_or_else(|| self.fail(span, "the elements have no common type"))
    }
}

/// A Python index, which may count from the end.
fn position(at: i64, len: usize) -> Option<usize> {
    let at = if at < 0 { at + len as i64 } else { at };
    usize::try_from(at).ok()
}
