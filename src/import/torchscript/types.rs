//! Type expressions to types.

use planish_ir::{NamedTupleType, Sym, Type};
use std::sync::Arc;

use super::code::ast::{Base, Expr, ExprKind};
use super::library::Library;
use crate::error::Result;

/// Reads the type that `expr` spells.
///
/// Named tuples are looked up, since their structure is part of the type; other classes are names.
pub(super) fn read(library: &mut Library<'_>, file: &str, expr: &Expr) -> Result<Type> {
    let fail = |what: String| Err(crate::Error::code(file, expr.span, what));
    match &expr.kind {
        ExprKind::None => Ok(Type::None),
        ExprKind::Name(name) => match plain(name) {
            Some(ty) => Ok(ty),
            None => fail(format!("type `{name}` is unknown")),
        },
        ExprKind::Attr(..) => match expr.dotted() {
            Some(name) if name.starts_with("__torch__.") => class(library, &name),
            Some(name) => fail(format!("type `{name}` is unknown")),
            None => fail("expected a type".into()),
        },
        ExprKind::Index(base, index) => {
            let Some(base) = base.dotted() else {
                return fail("expected a type".into());
            };
            let items = match &index.kind {
                ExprKind::Tuple(items) => items.as_slice(),
                _ => std::slice::from_ref(&**index),
            };
            let mut parts = Vec::with_capacity(items.len());
            for item in items {
                parts.push(read(library, file, item)?);
            }
            match generic(&base, parts) {
                Some(ty) => Ok(ty),
                None => fail(format!("type `{base}[…]` is unknown")),
            }
        }
        _ => fail("expected a type".into()),
    }
}

/// Most parts of one type. Types share their parts, so a few lines of nested tuples could otherwise
/// spell a type that takes forever to walk.
const MAX_PARTS: u32 = 4096;

/// Whether a type has more parts than anyone should have to walk.
pub(super) fn is_excessive(ty: &Type) -> bool {
    fn walk(ty: &Type, left: &mut u32) {
        let Some(less) = left.checked_sub(1) else {
            return;
        };
        *left = less;
        match ty {
            Type::List(inner)
            | Type::Optional(inner)
            | Type::Future(inner)
            | Type::RRef(inner)
            | Type::Await(inner) => walk(inner, left),
            Type::Dict(parts) => {
                walk(&parts.0, left);
                walk(&parts.1, left);
            }
            Type::Tuple(parts) | Type::Union(parts) => {
                for part in parts.iter() {
                    if *left == 0 {
                        return;
                    }
                    walk(part, left);
                }
            }
            Type::NamedTuple(named) => {
                for (_, part) in &named.fields {
                    if *left == 0 {
                        return;
                    }
                    walk(part, left);
                }
            }
            _ => {}
        }
    }
    let mut left = MAX_PARTS;
    walk(ty, &mut left);
    left == 0
}

/// The type of a class of the archive, by its qualified name.
pub(super) fn class(library: &mut Library<'_>, name: &str) -> Result<Type> {
    let Some((file, found)) = library.class(name)? else {
        // A class without code is a native one; whoever uses it says whether it is known.
        return Ok(Type::class(name));
    };
    if found.base != Base::NamedTuple {
        return Ok(Type::class(name));
    }
    if let Some(known) = library.named_tuples.get(name) {
        return Ok(known.clone());
    }
    if library.open.iter().any(|open| open == name) {
        let what = format!("named tuple `{name}` contains itself");
        return Err(crate::Error::code(&file, found.span, what));
    }
    library.open.push(name.to_owned());
    let mut fields = Vec::with_capacity(found.fields.len());
    for field in &found.fields {
        let ty = match &field.ty {
            Some(ty) => read(library, &file, ty)?,
            None => Type::TENSOR,
        };
        fields.push((Sym::new(&field.name), ty));
    }
    library.open.pop();
    let ty = Type::NamedTuple(Arc::new(NamedTupleType {
        name: Sym::new(name),
        fields,
    }));
    if is_excessive(&ty) {
        let what = format!("named tuple `{name}` has too many parts");
        return Err(crate::Error::code(&file, found.span, what));
    }
    library.named_tuples.insert(name.to_owned(), ty.clone());
    Ok(ty)
}

fn plain(name: &str) -> Option<Type> {
    Some(match name {
        "Tensor" => Type::TENSOR,
        "int" => Type::Int,
        "float" => Type::Float,
        "bool" => Type::Bool,
        "complex" => Type::Complex,
        "str" => Type::Str,
        "number" | "Scalar" => Type::Scalar,
        "NoneType" => Type::None,
        "Device" => Type::Device,
        "Any" => Type::Any,
        "Stream" | "Generator" | "Storage" | "QScheme" | "Capsule" | "AnyList" | "AnyTuple"
        | "AnyClassType" | "AnyEnumType" => Type::Named(Sym::new(name)),
        _ => return None,
    })
}

fn generic(base: &str, mut parts: Vec<Type>) -> Option<Type> {
    if base == "Tuple" {
        return Some(Type::tuple(parts));
    }
    if base == "Union" {
        return Some(Type::Union(parts.into()));
    }
    let last = parts.pop()?;
    match (base, parts.pop()) {
        ("Dict", Some(key)) => Some(Type::dict(key, last)),
        (_, Some(_)) => None,
        ("Optional", None) => Some(Type::optional(last)),
        ("List", None) => Some(Type::list(last)),
        ("Future", None) => Some(Type::Future(Arc::new(last))),
        ("RRef", None) => Some(Type::RRef(Arc::new(last))),
        ("Await", None) => Some(Type::Await(Arc::new(last))),
        _ => None,
    }
}
