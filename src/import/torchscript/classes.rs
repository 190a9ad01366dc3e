//! Class declarations: fields, constants and the literals they are spelled with.

use indexmap::IndexMap;
use planish_ir::{Class, ClassKind, GraphModule, Literal, Object, Sym, Type};
use std::sync::Arc;

use super::code::ast::{self, Base, Expr, ExprKind};
use super::library::Library;
use super::types;
use crate::error::{Error, Result};

/// Declares the class in the model, unless it is there already. Returns false if the archive has no
/// code for it.
pub(super) fn declare(
    library: &mut Library<'_>,
    model: &mut GraphModule,
    name: &str,
) -> Result<bool> {
    let Some((file, code)) = library.class(name)? else {
        return Ok(false);
    };
    let sym = Sym::new(name);
    if model
        .classes
        .get(&sym)
        .is_some_and(|class| !is_blank(class))
    {
        return Ok(true);
    }
    let mut class = Class::new(kind(code.base));
    for field in &code.fields {
        declare_field(library, &file, name, field, &mut class)?;
    }
    model.classes.insert(sym, class);
    Ok(true)
}

/// Whether this is the empty entry that a model makes for its root before anything is declared.
fn is_blank(class: &Class) -> bool {
    class.fields.is_empty() && class.constants.is_empty() && class.methods.is_empty()
}

fn kind(base: Base) -> ClassKind {
    match base {
        Base::None => ClassKind::Script,
        Base::Module => ClassKind::Module,
        Base::NamedTuple => ClassKind::NamedTuple,
        Base::Enum => ClassKind::Enum,
        Base::Interface => ClassKind::Interface,
    }
}

fn declare_field(
    library: &mut Library<'_>,
    file: &str,
    class_name: &str,
    field: &ast::Field,
    class: &mut Class,
) -> Result<()> {
    let name = Sym::new(&field.name);
    let ty = match &field.ty {
        Some(ty) => Some(types::read(library, file, ty)?),
        None => None,
    };
    match (&field.value, ty) {
        (Some(value), ty) if class.kind == ClassKind::Enum => {
            let value = literal(library, file, value, ty.as_ref())?;
            let member = enum_member(Sym::new(class_name), &field.name, value);
            class.constants.insert(name, member);
        }
        (Some(value), Some(ty)) => {
            let value = literal(library, file, value, Some(&ty))?;
            class.constants.insert(name, value);
        }
        (None, Some(ty)) => {
            class.fields.insert(name, ty);
        }
        (_, None) => {
            let what = format!("attribute `{}` has no type", field.name);
            return Err(Error::code(file, field.span, what));
        }
    }
    Ok(())
}

/// The object that stands for a member of an enum.
fn enum_member(class: Sym, name: &str, value: Literal) -> Literal {
    let fields = IndexMap::from([
        (Sym::new("name"), Literal::str(name)),
        (Sym::new("value"), value),
    ]);
    Literal::Object(Arc::new(Object { class, fields }))
}

/// Reads a literal expression: the value of a constant or the default of a parameter.
pub(super) fn literal(
    library: &mut Library<'_>,
    file: &str,
    expr: &Expr,
    ty: Option<&Type>,
) -> Result<Literal> {
    let ty = ty.map(Type::unwrap_optional);
    Ok(match &expr.kind {
        ExprKind::None => Literal::None,
        ExprKind::Bool(value) => Literal::Bool(*value),
        ExprKind::Int(value) if ty == Some(&Type::Float) => Literal::Float(*value as f64),
        ExprKind::Int(value) => Literal::Int(*value),
        ExprKind::Float(value) => Literal::Float(*value),
        ExprKind::Complex(real, imaginary) => Literal::Complex(*real, *imaginary),
        ExprKind::Str(text) => Literal::str(text),
        ExprKind::Tuple(items) => {
            let parts = ty.and_then(Type::elements).unwrap_or_default();
            let mut out = Vec::with_capacity(items.len());
            for (at, item) in items.iter().enumerate() {
                out.push(literal(library, file, item, parts.get(at))?);
            }
            Literal::Tuple(out.into())
        }
        ExprKind::List(items) => {
            let element = ty.and_then(Type::element).cloned();
            let mut out = Vec::with_capacity(items.len());
            for item in items {
                out.push(literal(library, file, item, element.as_ref())?);
            }
            let element = element
                .or_else(|| out.first().map(Literal::ty))
                .unwrap_or(Type::TENSOR);
            Literal::List(element, out.into())
        }
        ExprKind::Call(call) => return special(library, file, expr, call),
        _ => {
            // Text that is not plain stands beside the tensors.
            let name = expr.dotted();
            let name = name
                .as_deref()
                .and_then(|name| name.strip_prefix("CONSTANTS."));
            let found = name.and_then(|name| library.constant(name));
            let expected = || Error::code(file, expr.span, "expected a literal");
            found.cloned().ok_or_else(expected)?
        }
    })
}

/// `annotate(T, literal)` and `torch.device("…")`.
fn special(
    library: &mut Library<'_>,
    file: &str,
    expr: &Expr,
    call: &ast::Call,
) -> Result<Literal> {
    match (call.callee.dotted().as_deref(), &call.args[..]) {
        (Some("annotate"), [ty, value]) => {
            let ty = types::read(library, file, ty)?;
            literal(library, file, value, Some(&ty))
        }
        (
            Some("torch.device"),
            [
                Expr {
                    kind: ExprKind::Str(device),
                    ..
                },
            ],
        ) => Ok(Literal::Device(Sym::new(device))),
        _ => Err(Error::code(file, expr.span, "expected a literal")),
    }
}
