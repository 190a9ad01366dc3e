//! Statements.

use std::collections::BTreeSet;
use std::rc::Rc;

use planish_ir::{Literal, Op, Type, ValueId};

use super::Emitter;
use super::matching::Args;
use super::scope::{Frame, Sugar};
use crate::error::Result;
use crate::torchscript::code::ast::{Assign, Expr, ExprKind, Span, Stmt, StmtKind};

impl Emitter<'_, '_> {
    /// A function's statements; returns what its last one returns, and where it does so.
    pub(super) fn body(&mut self, body: &[Stmt]) -> Result<Option<(ValueId, Span)>> {
        let Some((last, before)) = body.split_last() else {
            return Ok(None);
        };
        self.stmts(before)?;
        match &last.kind {
            StmtKind::Return(Some(value)) => Ok(Some((self.value(value, None)?, value.span))),
            StmtKind::Return(None) => Ok(None),
            _ => {
                self.stmt(last)?;
                Ok(None)
            }
        }
    }

    /// The value that a function returns, as the type it declares; `span` is the function's.
    pub(super) fn returned(
        &mut self,
        value: Option<(ValueId, Span)>,
        wanted: &Type,
        span: Span,
    ) -> Result<ValueId> {
        let (value, span) = match value {
            Some(found) => found,
            None => (self.constant(Literal::None), span),
        };
        self.convert(value, wanted, span)
            .map_err(|what| self.fail(span, format!("the returned value: {what}")))
    }

    fn stmts(&mut self, stmts: &[Stmt]) -> Result<()> {
        stmts.iter().try_for_each(|stmt| self.stmt(stmt))
    }

    fn stmt(&mut self, stmt: &Stmt) -> Result<()> {
        match &stmt.kind {
            StmtKind::Assign(assign) => self.assign(assign, stmt.span),
            StmtKind::Expr(expr) => self.expr(expr, None).map(drop),
            StmtKind::Pass => Ok(()),
            StmtKind::If { cond, then, other } => self.if_stmt(cond, then, other, stmt.span),
            StmtKind::For { target, iter, body } => self.for_stmt(target, iter, body, stmt.span),
            StmtKind::While { cond, body } => self.while_stmt(cond, body, stmt.span),
            StmtKind::With {
                context,
                target,
                body,
            } => self.with_stmt(context, target.as_deref(), body, stmt.span),
            StmtKind::Function(function) => {
                self.bind(&function.name, Sugar::Closure(Rc::clone(function)));
                Ok(())
            }
            StmtKind::Return(_) => {
                let what = "a return before the end of its function: PyTorch prints none";
                Err(self.fail(stmt.span, what))
            }
        }
    }

    fn assign(&mut self, assign: &Assign, span: Span) -> Result<()> {
        let ty = match &assign.ty {
            Some(ty) => Some(self.read_type(ty)?),
            None => None,
        };
        if assign.values.len() > 1 {
            // All values first: `a, b = b, a` exchanges.
            let mut values = Vec::with_capacity(assign.values.len());
            for value in &assign.values {
                values.push(self.expr(value, None)?);
            }
            for (target, value) in assign.targets.iter().zip(values) {
                self.store(target, value)?;
            }
            return Ok(());
        }
        let mut sugar = self.expr(&assign.values[0], ty.as_ref())?;
        if let Some(ty) = &ty {
            let value = self.desugar(sugar, span)?;
            let value = self.convert(value, ty, span);
            sugar = Sugar::Value(value.map_err(|what| self.fail(span, what))?);
        }
        if let ([target], false) = (&assign.targets[..], assign.unpack) {
            return self.store(target, sugar);
        }
        let parts = self.unpack(sugar, assign.targets.len(), span)?;
        for (target, part) in assign.targets.iter().zip(parts) {
            self.store(target, Sugar::Value(part))?;
        }
        Ok(())
    }

    fn store(&mut self, target: &Expr, sugar: Sugar) -> Result<()> {
        match &target.kind {
            ExprKind::Name(name) => {
                let sugar = match sugar {
                    Sugar::Several(_) => Sugar::Value(self.desugar(sugar, target.span)?),
                    other => other,
                };
                self.bind(name, sugar);
                Ok(())
            }
            ExprKind::Attr(base, name) => {
                let object = self.value(base, None)?;
                let value = self.desugar(sugar, target.span)?;
                let node = self.insert(Op::of("prim::SetAttr"), &[object, value], [], target.span);
                self.graph.set_attr(node, "name", Literal::str(name));
                Ok(())
            }
            _ => Err(self.fail(target.span, "assignment to what is no name")),
        }
    }

    /// The parts of a tuple or list.
    fn unpack(&mut self, sugar: Sugar, count: usize, span: Span) -> Result<Vec<ValueId>> {
        let value = match sugar {
            Sugar::Several(values) if values.len() == count => return Ok(values),
            other => self.desugar(other, span)?,
        };
        let (op, parts) = match (self.ty(value), self.ty(value).elements()) {
            (_, Some(parts)) if parts.len() == count => ("prim::TupleUnpack", parts),
            (Type::List(element), _) => ("prim::ListUnpack", vec![Type::clone(element); count]),
            (ty, _) => {
                let what = format!("a value of type {ty} does not have {count} parts");
                return Err(self.fail(span, what));
            }
        };
        let node = self.insert(Op::of(op), &[value], parts, span);
        Ok(self.graph.node(node).outputs().to_vec())
    }

    /// Both branches hand on the variables that at least one of them assigns and both know.
    fn if_stmt(&mut self, cond: &Expr, then: &[Stmt], other: &[Stmt], span: Span) -> Result<()> {
        let cond = self.condition(cond)?;
        let node = self.insert(Op::of("prim::If"), &[cond], [], span);
        let around = self.block;
        let mut blocks = Vec::with_capacity(2);
        let mut frames = Vec::with_capacity(2);
        for branch in [then, other] {
            self.block = self.graph.add_block(node);
            blocks.push(self.block);
            self.scope.open();
            let done = self.stmts(branch);
            frames.push(self.scope.close());
            self.block = around;
            done?;
        }
        let names: BTreeSet<String> = frames.iter().flat_map(Frame::keys).cloned().collect();
        for name in names {
            let seen = |frame: &Frame| frame.get(&name).or_else(|| self.scope.get(&name)).cloned();
            let (Some(a), Some(b)) = (seen(&frames[0]), seen(&frames[1])) else {
                continue;
            };
            if a == b {
                self.scope.set(&name, a);
                continue;
            }
            let (Sugar::Value(a), Sugar::Value(b)) = (a, b) else {
                continue;
            };
            // Without a common type the variable is unknown from here on, as in PyTorch.
            let Some(ty) = self.ty(a).unify(self.ty(b)) else {
                continue;
            };
            self.graph.push_result(blocks[0], a);
            self.graph.push_result(blocks[1], b);
            let merged = self.graph.add_output(node, ty);
            self.bind(&name, Sugar::Value(merged));
        }
        Ok(())
    }

    fn for_stmt(&mut self, target: &Expr, iter: &Expr, body: &[Stmt], span: Span) -> Result<()> {
        let range = match &iter.kind {
            ExprKind::Call(call) if call.callee.dotted().as_deref() == Some("range") => &call.args,
            _ => return Err(self.fail(iter.span, "a loop over what is no range is not supported")),
        };
        let ExprKind::Name(target) = &target.kind else {
            return Err(self.fail(target.span, "a loop variable that is no name"));
        };
        let [count] = &range[..] else {
            return Err(self.fail(iter.span, "a range with a start is not supported"));
        };
        let mut count = self.value(count, None)?;
        if *self.ty(count) != Type::Int {
            let sugar = self.operator("aten::Int", &Args::one(count), iter.span)?;
            count = self.desugar(sugar, iter.span)?;
        }
        let enter = self.constant(Literal::Bool(true));
        self.emit_loop(count, enter, Some(target), None, body, span)
    }

    /// What is entered is left again behind the body; a body that raises is not left, as in PyTorch.
    fn with_stmt(
        &mut self,
        context: &Expr,
        target: Option<&str>,
        body: &[Stmt],
        span: Span,
    ) -> Result<()> {
        let object = self.value(context, None)?;
        let entered = self.method_result(object, "__enter__", span)?;
        self.method_result(object, "__exit__", span)?;
        let entered = self.insert_one("prim::Enter", &[object], entered, span);
        if let Some(target) = target {
            self.bind(target, Sugar::Value(entered));
        }
        self.stmts(body)?;
        self.insert_one("prim::Exit", &[object], Type::TENSOR, span);
        Ok(())
    }

    fn while_stmt(&mut self, cond: &Expr, body: &[Stmt], span: Span) -> Result<()> {
        let count = self.constant(Literal::Int(i64::MAX));
        let enter = self.condition(cond)?;
        self.emit_loop(count, enter, None, Some(cond), body, span)
    }

    /// A loop carries the variables that are known before it and assigned in it.
    fn emit_loop(
        &mut self,
        count: ValueId,
        enter: ValueId,
        target: Option<&str>,
        cond: Option<&Expr>,
        body: &[Stmt],
        span: Span,
    ) -> Result<()> {
        let mut assigned = BTreeSet::new();
        assigned.extend(target.map(str::to_owned));
        assigned_names(body, &mut assigned);
        let mut carried = Vec::new();
        for name in assigned {
            if let Some(Sugar::Value(value)) = self.scope.get(&name) {
                carried.push((name, *value));
            }
        }
        let mut inputs = vec![count, enter];
        inputs.extend(carried.iter().map(|(_, value)| *value));
        let node = self.insert(Op::of("prim::Loop"), &inputs, [], span);
        let around = self.block;
        let block = self.graph.add_block(node);
        self.block = block;
        self.scope.open();
        let index = self.graph.add_param(block, Type::Int);
        for (name, value) in &carried {
            let ty = self.ty(*value).clone();
            let param = self.graph.add_param(block, ty);
            self.bind(name, Sugar::Value(param));
        }
        if let Some(target) = target {
            self.bind(target, Sugar::Value(index));
        }
        let done = self.stmts(body).and_then(|()| match cond {
            Some(cond) => self.condition(cond),
            None => Ok(self.constant(Literal::Bool(true))),
        });
        let frame = self.scope.close();
        self.block = around;
        self.graph.push_result(block, done?);
        for (at, (name, value)) in carried.iter().enumerate() {
            let Some(Sugar::Value(last)) = frame.get(name) else {
                let what = format!("variable `{name}` is no value at the end of a loop");
                return Err(self.fail(span, what));
            };
            let last = *last;
            let Some(ty) = self.ty(*value).unify(self.ty(last)) else {
                let what = format!("variable `{name}` changes its type in a loop");
                return Err(self.fail(span, what));
            };
            let param = self.graph.block(block).params()[at + 1];
            self.graph.set_ty(param, ty.clone());
            self.graph.push_result(block, last);
            let output = self.graph.add_output(node, ty);
            self.bind(name, Sugar::Value(output));
        }
        Ok(())
    }
}

/// The variables that statements assign, nested ones included.
fn assigned_names(body: &[Stmt], names: &mut BTreeSet<String>) {
    for stmt in body {
        match &stmt.kind {
            StmtKind::Assign(assign) => names.extend(assign.targets.iter().filter_map(plain_name)),
            StmtKind::If { then, other, .. } => {
                assigned_names(then, names);
                assigned_names(other, names);
            }
            StmtKind::For { target, body, .. } => {
                names.extend(plain_name(target));
                assigned_names(body, names);
            }
            StmtKind::While { body, .. } => assigned_names(body, names),
            StmtKind::With { target, body, .. } => {
                names.extend(target.clone());
                assigned_names(body, names);
            }
            StmtKind::Expr(_) | StmtKind::Return(_) | StmtKind::Pass | StmtKind::Function(_) => {}
        }
    }
}

fn plain_name(target: &Expr) -> Option<String> {
    match &target.kind {
        ExprKind::Name(name) => Some(name.clone()),
        _ => None,
    }
}
