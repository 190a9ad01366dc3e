//! Types of values.
//!
//! A [`Type`] is a small tree with shared children: cloning is cheap and nothing is interned. A class is named here; what it consists of
//! stands in [`crate::GraphModule`].

use std::sync::Arc;

use crate::{DType, Sym};

/// The type of a value, as TorchScript has it.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Type {
    /// A tensor; `None` when nothing is known of it.
    Tensor(Option<Arc<TensorType>>),
    /// `int`, 64 bits.
    Int,
    /// `float`, 64 bits.
    Float,
    /// `bool`.
    Bool,
    /// `complex`.
    Complex,
    /// `Scalar` (also `number`): int, float, bool or complex.
    Scalar,
    /// `str`.
    Str,
    /// `NoneType`.
    None,
    /// `Any`.
    Any,
    /// `Device`.
    Device,
    /// A type without structure that is known by its name only: `Stream`, `Generator`, `Storage`, `QScheme`, `Capsule`, `AnyList`, …
    Named(Sym),
    /// `T?`.
    Optional(Arc<Type>),
    /// `T[]`.
    List(Arc<Type>),
    /// `(A, B, …)`.
    Tuple(Arc<[Type]>),
    /// `NamedTuple`: its qualified name and its fields.
    NamedTuple(Arc<NamedTupleType>),
    /// `Dict(K, V)`.
    Dict(Arc<(Type, Type)>),
    /// `Union(A, B, …)`.
    Union(Arc<[Type]>),
    /// `Future(T)`.
    Future(Arc<Type>),
    /// `RRef(T)`.
    RRef(Arc<Type>),
    /// `Await(T)`.
    Await(Arc<Type>),
    /// A class, module, interface, enum or torchbind class, by its qualified name.
    Class(Sym),
    /// A function, by its qualified name; the type of a callee.
    Function(Sym),
    /// A type variable of a schema, such as `t` in `t[]`.
    Var(Sym),
}

/// What is known of a tensor.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct TensorType {
    /// Element type.
    pub dtype: Option<DType>,
    /// Sizes, slowest first; an unknown size is `None`.
    pub dims: Option<Vec<Option<i64>>>,
    /// Strides in elements.
    pub strides: Option<Vec<Option<i64>>>,
    /// Whether gradients are recorded.
    pub requires_grad: Option<bool>,
    /// Device, as text.
    pub device: Option<Sym>,
}

/// The name and fields of a `NamedTuple`.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct NamedTupleType {
    /// Qualified name; empty when the text does not give it.
    pub name: Sym,
    /// Fields, in order.
    pub fields: Vec<(Sym, Type)>,
}

impl Type {
    /// The tensor type of which nothing is known.
    pub const TENSOR: Self = Self::Tensor(None);

    /// `T?`; `T` when `inner` is already optional or `NoneType`.
    pub fn optional(inner: Self) -> Self {
        match inner {
            Self::Optional(_) | Self::None => inner,
            other => Self::Optional(Arc::new(other)),
        }
    }

    /// `T[]`.
    pub fn list(element: Self) -> Self {
        Self::List(Arc::new(element))
    }

    /// `(A, B, …)`.
    pub fn tuple(elements: impl IntoIterator<Item = Self>) -> Self {
        Self::Tuple(elements.into_iter().collect())
    }

    /// `Dict(K, V)`.
    pub fn dict(key: Self, value: Self) -> Self {
        Self::Dict(Arc::new((key, value)))
    }

    /// A class by its qualified name.
    pub fn class(name: &str) -> Self {
        Self::Class(Sym::new(name))
    }

    /// Whether this is a tensor, however much is known of it.
    pub fn is_tensor(&self) -> bool {
        matches!(self, Self::Tensor(_))
    }

    /// The element type of a list.
    pub fn element(&self) -> Option<&Self> {
        match self {
            Self::List(element) => Some(element),
            _ => None,
        }
    }

    /// The element types of a tuple or named tuple.
    pub fn elements(&self) -> Option<Vec<Self>> {
        match self {
            Self::Tuple(elements) => Some(elements.to_vec()),
            Self::NamedTuple(named) => {
                Some(named.fields.iter().map(|(_, ty)| ty.clone()).collect())
            }
            _ => None,
        }
    }

    /// `T` of `T?`, or the type itself.
    pub fn unwrap_optional(&self) -> &Self {
        match self {
            Self::Optional(inner) => inner,
            other => other,
        }
    }

    /// Whether a value of this type may stand where `other` is asked for, without a conversion.
    ///
    /// A tensor of which more is known is a subtype of one of which less is known; a value is a subtype of its optional; tuples and
    /// unions go element by element; lists and dicts are invariant except for what is known of tensors.
    pub fn is_subtype_of(&self, other: &Self) -> bool {
        if self == other {
            return true;
        }
        match (self, other) {
            (_, Self::Any) | (Self::Tensor(_), Self::Tensor(None)) => true,
            (Self::Tensor(Some(a)), Self::Tensor(Some(b))) => {
                (b.dtype.is_none() || a.dtype == b.dtype) && (b.dims.is_none() || a.dims == b.dims)
            }
            (Self::Int | Self::Float | Self::Bool | Self::Complex, Self::Scalar) => {
                !matches!(self, Self::Bool)
            }
            (Self::None, Self::Optional(_)) => true,
            (Self::Optional(a), Self::Optional(b)) => a.is_subtype_of(b),
            (_, Self::Optional(b)) => self.is_subtype_of(b),
            (Self::Union(a), _) => a.iter().all(|a| a.is_subtype_of(other)),
            (_, Self::Union(b)) => b.iter().any(|b| self.is_subtype_of(b)),
            (Self::List(_), Self::Named(name)) => *name == "AnyList",
            // The name of a class does not say whether it is an enum.
            (Self::Class(_), Self::Named(name)) => {
                *name == "AnyClassType" || *name == "AnyEnumType"
            }
            (Self::List(a), Self::List(b)) => a.is_tensor() && b.is_tensor() && a.is_subtype_of(b),
            (Self::Dict(a), Self::Dict(b)) => {
                a.0 == b.0 && a.1.is_tensor() && a.1.is_subtype_of(&b.1)
            }
            (Self::Tuple(_) | Self::NamedTuple(_), Self::Named(name)) => *name == "AnyTuple",
            (Self::Tuple(a), Self::Tuple(b)) => {
                a.len() == b.len() && a.iter().zip(b.iter()).all(|(a, b)| a.is_subtype_of(b))
            }
            (Self::NamedTuple(a), Self::Tuple(b)) => {
                a.fields.len() == b.len()
                    && a.fields
                        .iter()
                        .zip(b.iter())
                        .all(|((_, a), b)| a.is_subtype_of(b))
            }
            (Self::Future(a), Self::Future(b)) | (Self::Await(a), Self::Await(b)) => {
                a.is_subtype_of(b)
            }
            _ => false,
        }
    }

    /// The smallest type of this lattice that both `self` and `other` are subtypes of, if there is one.
    pub fn unify(&self, other: &Self) -> Option<Self> {
        if self.is_subtype_of(other) {
            return Some(other.clone());
        }
        if other.is_subtype_of(self) {
            return Some(self.clone());
        }
        match (self, other) {
            (Self::Tensor(_), Self::Tensor(_)) => Some(Self::TENSOR),
            (Self::None, ty) | (ty, Self::None) => Some(Self::optional(ty.clone())),
            (Self::Optional(a), b) | (b, Self::Optional(a)) => {
                a.unify(b.unwrap_optional()).map(Self::optional)
            }
            (Self::List(a), Self::List(b)) => a.unify(b).map(Self::list),
            (Self::Tuple(a), Self::Tuple(b)) if a.len() == b.len() => a
                .iter()
                .zip(b.iter())
                .map(|(a, b)| a.unify(b))
                .collect::<Option<Vec<_>>>()
                .map(Self::tuple),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subtyping_follows_what_is_known() {
        let shaped = Type::Tensor(Some(Arc::new(TensorType {
            dtype: Some(DType::Float),
            ..TensorType::default()
        })));
        assert!(shaped.is_subtype_of(&Type::TENSOR));
        assert!(!Type::TENSOR.is_subtype_of(&shaped));
        assert!(Type::None.is_subtype_of(&Type::optional(Type::TENSOR)));
        assert!(!Type::list(Type::Int).is_subtype_of(&Type::list(Type::Float)));
        assert_eq!(
            Type::None.unify(&Type::TENSOR),
            Some(Type::optional(Type::TENSOR))
        );
    }
}
