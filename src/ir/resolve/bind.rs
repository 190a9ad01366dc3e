//! Type variables of a schema: what each stands for in one call.

use std::borrow::Cow;

use crate::{Sym, Type};

/// What the type variables of a schema stand for.
#[derive(Clone, Default, Debug)]
pub(super) struct Bindings(Vec<(Sym, Type)>);

impl Bindings {
    /// Binds the variables of `formal` by what stands in their place in `actual`.
    ///
    /// False when `actual` has no such place, or when a variable already stands for something that cannot be brought together with it.
    pub(super) fn bind(&mut self, formal: &Type, actual: &Type) -> bool {
        match (formal, actual) {
            // Most parameters have none, and are asked for by every node that is verified.
            _ if !has_variable(formal) => true,
            (Type::Var(name), _) => match self.get(*name) {
                None => {
                    self.0.push((*name, actual.clone()));
                    true
                }
                Some(bound) => bound.unify(actual).is_some(),
            },
            (Type::List(formal), Type::List(actual)) => self.bind(formal, actual),
            (Type::List(formal), Type::Tuple(_) | Type::NamedTuple(_)) => {
                let elements = actual.elements().unwrap_or_default();
                let unified = elements
                    .iter()
                    .skip(1)
                    .try_fold(elements.first().cloned(), |all, ty| {
                        Some(Some(all?.unify(ty)?))
                    });
                match unified.flatten() {
                    Some(element) => self.bind(formal, &element),
                    None => false,
                }
            }
            (Type::Optional(formal), Type::Optional(actual)) => self.bind(formal, actual),
            (Type::Optional(_), Type::None) => true,
            (Type::Optional(formal), _) => self.bind(formal, actual),
            (Type::Dict(formal), Type::Dict(actual)) => {
                self.bind(&formal.0, &actual.0) && self.bind(&formal.1, &actual.1)
            }
            (Type::Tuple(formal), Type::Tuple(actual)) if formal.len() == actual.len() => formal
                .iter()
                .zip(actual.iter())
                .all(|(formal, actual)| self.bind(formal, actual)),
            (Type::Future(formal), Type::Future(actual))
            | (Type::RRef(formal), Type::RRef(actual))
            | (Type::Await(formal), Type::Await(actual)) => self.bind(formal, actual),
            _ => false,
        }
    }

    /// The type with every variable replaced; `None` when one of them stands for nothing.
    pub(super) fn substitute<'t>(&self, ty: &'t Type) -> Option<Cow<'t, Type>> {
        if !has_variable(ty) {
            return Some(Cow::Borrowed(ty));
        }
        let known = self.as_known(ty);
        (!has_variable(&known)).then_some(Cow::Owned(known))
    }

    /// The type with every variable replaced that stands for something.
    pub(super) fn as_known(&self, ty: &Type) -> Type {
        match ty {
            Type::Var(name) => self.get(*name).cloned().unwrap_or_else(|| ty.clone()),
            Type::List(inner) => Type::list(self.as_known(inner)),
            Type::Optional(inner) => Type::optional(self.as_known(inner)),
            Type::Dict(entry) => Type::dict(self.as_known(&entry.0), self.as_known(&entry.1)),
            Type::Tuple(elements) => Type::tuple(elements.iter().map(|ty| self.as_known(ty))),
            Type::Future(inner) => Type::Future(self.as_known(inner).into()),
            Type::RRef(inner) => Type::RRef(self.as_known(inner).into()),
            Type::Await(inner) => Type::Await(self.as_known(inner).into()),
            other => other.clone(),
        }
    }

    fn get(&self, name: Sym) -> Option<&Type> {
        let bound = self.0.iter().find(|(var, _)| *var == name);
        bound.map(|(_, ty)| ty)
    }
}

/// Whether a type variable stands in a type.
pub(super) fn has_variable(ty: &Type) -> bool {
    match ty {
        Type::Var(_) => true,
        Type::List(inner)
        | Type::Optional(inner)
        | Type::Future(inner)
        | Type::RRef(inner)
        | Type::Await(inner) => has_variable(inner),
        Type::Dict(entry) => has_variable(&entry.0) || has_variable(&entry.1),
        Type::Tuple(elements) | Type::Union(elements) => elements.iter().any(has_variable),
        _ => false,
    }
}
