//! Calls: operators, functions, methods, constructors, and forms that only look like calls.

use std::sync::Arc;

use planish_ir::{Attr, Literal, Op, Sym, Type, ValueId};

use super::Emitter;
use super::matching::Args;
use super::scope::Sugar;
use crate::error::Result;
use crate::torchscript::code::ast::{Base, Call, Expr, ExprKind, Span};
use crate::torchscript::{classes, packed, types};

impl Emitter<'_, '_> {
    /// The meaning of a call.
    pub(super) fn call(&mut self, call: &Call, hint: Option<&Type>, span: Span) -> Result<Sugar> {
        if let ExprKind::Name(name) = &call.callee.kind
            && self.scope.get(name).is_none()
        {
            return self.form(name, call, span);
        }
        match self.expr(&call.callee, None)? {
            Sugar::Path(path) => self.call_path(&path, call, span),
            Sugar::Method(object, _) if self.ty(object).is_tensor() => {
                self.nested_list(object, hint, span)
            }
            Sugar::Method(object, name) => {
                let args = self.args(call)?;
                self.call_method(object, &name, args, span)
            }
            Sugar::Value(value) => {
                let what = format!("a value of type {:?} is called", self.ty(value));
                Err(self.fail(span, what))
            }
            Sugar::Several(_) => Err(self.fail(span, "a tuple is called")),
            Sugar::Closure(function) => {
                let what = format!("function `{}` is called and not forked", function.name);
                Err(self.fail(span, what))
            }
        }
    }

    /// What a method of an object returns. Whatever calls the method in the end, it must be there.
    pub(super) fn method_result(
        &mut self,
        object: ValueId,
        name: &str,
        span: Span,
    ) -> Result<Type> {
        let class = match self.ty(object) {
            Type::Class(class) => *class,
            ty => {
                let what = format!("`with` of a value of type {ty}, which has no `{name}`");
                return Err(self.fail(span, what));
            }
        };
        let Some((file, method)) = self.program.method(class.as_str(), name)? else {
            return Err(self.fail(span, format!("class `{class}` has no method `{name}`")));
        };
        let full = format!("{class}.{name}");
        let class = Some(class.as_str());
        let signature = self.program.signature(&file, &full, &method, class)?;
        self.calls.push(full);
        Ok(signature.returns[0].ty.clone())
    }

    /// Applies an operator to values.
    pub(super) fn operator(&mut self, name: &str, args: &Args, span: Span) -> Result<Sugar> {
        if let Some(upgraded) = self.upgraded(name, args, span)? {
            return Ok(Sugar::Value(upgraded));
        }
        let (op, inputs, outputs) = self
            .resolve(name, args, span)
            .map_err(|what| self.fail(span, what))?;
        let node = self.insert(op, &inputs, outputs, span);
        Ok(match self.graph.node(node).outputs() {
            [output] => Sugar::Value(*output),
            outputs => Sugar::Several(outputs.to_vec()),
        })
    }

    /// The boolean that a condition tests.
    pub(super) fn condition(&mut self, expr: &Expr) -> Result<ValueId> {
        let value = self.value(expr, None)?;
        if *self.ty(value) == Type::Bool {
            return Ok(value);
        }
        let sugar = self.operator("aten::Bool", &Args::one(value), expr.span)?;
        self.desugar(sugar, expr.span)
    }

    fn args(&mut self, call: &Call) -> Result<Args> {
        let mut args = Args::default();
        for arg in &call.args {
            args.positional.push(self.value(arg, None)?);
        }
        for (name, arg) in &call.keywords {
            args.named.push((name.clone(), self.value(arg, None)?));
        }
        Ok(args)
    }

    /// A call of a name that nobody assigned.
    fn form(&mut self, name: &str, call: &Call, span: Span) -> Result<Sugar> {
        let value = match (name, &call.args[..]) {
            ("annotate", [ty, value]) => self.annotate(ty, value, span)?,
            ("unchecked_cast", [ty, value]) => {
                let ty = self.read_type(ty)?;
                let value = self.value(value, None)?;
                self.insert_one("prim::unchecked_cast", &[value], ty, span)
            }
            ("uninitialized", [ty]) => {
                let ty = self.read_type(ty)?;
                self.insert_one("prim::Uninitialized", &[], ty, span)
            }
            ("isinstance", [value, wanted]) => self.is_instance(value, wanted, span)?,
            ("fork", [body]) => self.fork(body, span)?,
            ("getattr", [object, name]) => {
                let ExprKind::Str(name) = &name.kind else {
                    return Err(self.fail(name.span, "`getattr` takes a literal name"));
                };
                let object = self.value(object, None)?;
                return self.attribute(object, name, span);
            }
            ("int" | "float" | "bool" | "complex" | "str", [value]) => {
                self.cast(name, value, span)?
            }
            ("print", _) => {
                let args = self.args(call)?;
                self.insert(Op::of("prim::Print"), &args.positional, [], span);
                return Ok(Sugar::Several(Vec::new()));
            }
            ("list" | "sorted", _) => {
                let args = self.args(call)?;
                return self.operator(&format!("aten::{name}"), &args, span);
            }
            _ => {
                let what = format!("a call of `{name}` with {} arguments", call.args.len());
                return Err(self.fail(span, format!("{what} is not supported")));
            }
        };
        Ok(Sugar::Value(value))
    }

    fn call_path(&mut self, path: &str, call: &Call, span: Span) -> Result<Sugar> {
        if let Some(name) = path.strip_prefix("torch.") {
            if let ("device", [device]) = (name, &call.args[..])
                && let ExprKind::Str(device) = &device.kind
            {
                let device = Literal::Device(Sym::new(device));
                return Ok(Sugar::Value(self.constant(device)));
            }
            let args = self.args(call)?;
            return self.operator(&format!("aten::{name}"), &args, span);
        }
        if let Some((space, name)) = path.strip_prefix("ops.").and_then(|p| p.split_once('.')) {
            let args = self.args(call)?;
            return self.operator(&format!("{space}::{name}"), &args, span);
        }
        if let Some((file, function)) = self.program.library.function(path)? {
            let args = self.args(call)?;
            let signature = self.program.signature(&file, path, &function, None)?;
            let mut inputs = self
                .accept(&signature, &args, span)
                .map_err(|what| self.fail(span, format!("call of `{path}`: {what}")))?;
            inputs.insert(0, self.constant(Literal::Function(Sym::new(path))));
            let output = signature.returns[0].ty.clone();
            let node = self.insert(Op::of("prim::CallFunction"), &inputs, [output], span);
            self.program.wanted.insert(path.to_owned());
            self.calls.push(path.to_owned());
            return Ok(Sugar::Value(self.graph.output(node)));
        }
        self.construct(path, call, span)
    }

    fn call_method(
        &mut self,
        object: ValueId,
        name: &str,
        args: Args,
        span: Span,
    ) -> Result<Sugar> {
        let class = match self.ty(object) {
            Type::Class(class) => *class,
            ty => {
                let what = format!("method `{name}` of a value of type {ty}");
                return Err(self.fail(span, what));
            }
        };
        let Some((file, method)) = self.program.method(class.as_str(), name)? else {
            return self.call_native(object, class, name, &args, span);
        };
        let full = format!("{class}.{name}");
        let class = Some(class.as_str());
        let signature = self.program.signature(&file, &full, &method, class)?;
        let mut all = args;
        all.positional.insert(0, object);
        let inputs = self
            .accept(&signature, &all, span)
            .map_err(|what| self.fail(span, format!("call of method `{name}`: {what}")))?;
        let output = signature.returns[0].ty.clone();
        let node = self.insert(Op::of("prim::CallMethod"), &inputs, [output], span);
        self.graph.set_attr(node, "name", Literal::str(name));
        self.calls.push(full);
        Ok(Sugar::Value(self.graph.output(node)))
    }

    /// A method of a class that PyTorch has no code for.
    fn call_native(
        &mut self,
        object: ValueId,
        class: Sym,
        name: &str,
        args: &Args,
        span: Span,
    ) -> Result<Sugar> {
        let returned = packed::returns(class.as_str(), name);
        let no_args = args.positional.is_empty() && args.named.is_empty();
        let Some(returned) = returned.filter(|_| no_args) else {
            let what = format!("method `{name}` of native class `{class}` is not supported");
            return Err(self.fail(span, what));
        };
        let node = self.insert(Op::of("prim::CallMethod"), &[object], [returned], span);
        self.graph.set_attr(node, "name", Literal::str(name));
        Ok(Sugar::Value(self.graph.output(node)))
    }

    /// A new named tuple or object of a script class; `C.__new__(C)` leaves `__init__` to the code.
    fn construct(&mut self, path: &str, call: &Call, span: Span) -> Result<Sugar> {
        let (path, blank) = match path.strip_suffix(".__new__") {
            Some(class) => (class, true),
            None => (path, false),
        };
        let program = &mut *self.program;
        classes::declare(&mut program.library, &mut program.model, path)?;
        let Some((_, class)) = self.program.library.class(path)? else {
            return Err(self.fail(span, format!("`{path}` is not defined")));
        };
        let ty = types::class(&mut self.program.library, path)?;
        match class.base {
            Base::NamedTuple => {
                let args = self.args(call)?;
                let parts = ty.elements().unwrap_or_default();
                if !args.named.is_empty() || parts.len() != args.positional.len() {
                    let what = format!("named tuple `{path}` takes {} values", parts.len());
                    return Err(self.fail(span, what));
                }
                let mut items = Vec::with_capacity(parts.len());
                for (value, part) in args.positional.iter().zip(&parts) {
                    let item = self.convert(*value, part, span);
                    items.push(item.map_err(|what| self.fail(span, what))?);
                }
                let tuple = self.insert_one("prim::TupleConstruct", &items, ty, span);
                Ok(Sugar::Value(tuple))
            }
            Base::None => {
                let object = self.insert_one("prim::CreateObject", &[], ty, span);
                if blank {
                    return Ok(Sugar::Value(object));
                }
                let args = self.args(call)?;
                if self.program.method(path, "__init__")?.is_some() {
                    self.call_method(object, "__init__", args, span)?;
                }
                Ok(Sugar::Value(object))
            }
            _ => Err(self.fail(span, format!("class `{path}` cannot be called"))),
        }
    }

    fn annotate(&mut self, ty: &Expr, value: &Expr, span: Span) -> Result<ValueId> {
        let ty = self.read_type(ty)?;
        let value = self.value(value, Some(&ty))?;
        let value = self
            .convert(value, &ty, span)
            .map_err(|what| self.fail(span, what))?;
        if matches!(ty, Type::Optional(_)) && *self.ty(value) == Type::None {
            // What the missing value would be must not be forgotten.
            return Ok(self.typed_constant(Literal::None, ty));
        }
        Ok(value)
    }

    /// `(x).tolist()`: the declared type says how deep the lists nest and what they hold.
    fn nested_list(&mut self, tensor: ValueId, hint: Option<&Type>, span: Span) -> Result<Sugar> {
        let Some(ty) = hint else {
            return Err(self.fail(span, "`tolist` without a declared type"));
        };
        let (mut depth, mut element) = (0, ty);
        while let Type::List(inner) = element {
            (depth, element) = (depth + 1, inner);
        }
        let element = match element {
            Type::Int => 0,
            Type::Float => 1,
            Type::Bool => 2,
            Type::Complex => 3,
            other => {
                let what = format!("`tolist` into a list of {other}");
                return Err(self.fail(span, what));
            }
        };
        let depth = self.constant(Literal::Int(depth));
        let element = self.constant(Literal::Int(element));
        let inputs = [tensor, depth, element];
        let list = self.insert_one("prim::tolist", &inputs, ty.clone(), span);
        Ok(Sugar::Value(list))
    }

    fn is_instance(&mut self, value: &Expr, wanted: &Expr, span: Span) -> Result<ValueId> {
        let value = self.value(value, None)?;
        let wanted = match &wanted.kind {
            ExprKind::Tuple(items) => items.as_slice(),
            _ => std::slice::from_ref(wanted),
        };
        let mut types = Vec::with_capacity(wanted.len());
        for item in wanted {
            types.push(self.read_type(item)?);
        }
        let node = self.insert(Op::of("prim::isinstance"), &[value], [Type::Bool], span);
        let types = Attr::Types(Arc::from(types));
        self.graph.set_attr(node, "types", types);
        Ok(self.graph.output(node))
    }

    /// `int(x)` and its kin: nothing to do if `x` is one already.
    fn cast(&mut self, to: &str, value: &Expr, span: Span) -> Result<ValueId> {
        let value = self.value(value, None)?;
        let (ty, op) = match to {
            "int" => (Type::Int, "aten::Int"),
            "float" => (Type::Float, "aten::Float"),
            "bool" => (Type::Bool, "aten::Bool"),
            "complex" => (Type::Complex, "aten::Complex"),
            _ => (Type::Str, "aten::str"),
        };
        if self.ty(value).is_subtype_of(&ty) {
            return Ok(value);
        }
        let sugar = self.operator(op, &Args::one(value), span)?;
        self.desugar(sugar, span)
    }

    pub(super) fn read_type(&mut self, expr: &Expr) -> Result<Type> {
        types::read(&mut self.program.library, &self.file, expr)
    }
}
