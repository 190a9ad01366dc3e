//! Values that stand in a module or graph as data: constants, attributes of nodes, attributes of modules.

use std::sync::Arc;

use indexmap::IndexMap;

use crate::{PackedParams, Sym, Tensor, Type};

/// An immutable value.
///
/// Two literals are equal when they are the same to the bit: floats compare by their bits (so NaN equals itself and the two zeros differ).
#[derive(Clone, Debug)]
pub enum Literal {
    /// `None`.
    None,
    /// A bool.
    Bool(bool),
    /// An int.
    Int(i64),
    /// A float.
    Float(f64),
    /// A complex number: real and imaginary part.
    Complex(f64, f64),
    /// A string.
    Str(Arc<str>),
    /// A device, by its text.
    Device(Sym),
    /// A tensor.
    Tensor(Tensor),
    /// A list: element type and elements.
    List(Type, Arc<[Literal]>),
    /// A tuple.
    Tuple(Arc<[Literal]>),
    /// A dict in insertion order: types of keys and of values, entries.
    Dict(Arc<(Type, Type)>, Arc<[(Literal, Literal)]>),
    /// Weights packed for a quantized operator.
    Packed(Arc<PackedParams>),
    /// An object of a class that is not a module.
    Object(Arc<Object>),
    /// A function, by its qualified name.
    Function(Sym),
    /// A constant whose payload the text did not carry (`<Tensor>`, `object(0x…)`): nothing may read it.
    Opaque,
}

/// An object of a script class, enum or torchbind class.
#[derive(Clone, Debug, PartialEq)]
pub struct Object {
    /// Qualified name of its class.
    pub class: Sym,
    /// Attributes in declaration order.
    pub fields: IndexMap<Sym, Literal>,
}

impl Literal {
    /// A string.
    pub fn str(text: &str) -> Self {
        Self::Str(text.into())
    }

    /// A list of ints.
    pub fn ints(values: &[i64]) -> Self {
        Self::List(
            Type::Int,
            values.iter().map(|value| Self::Int(*value)).collect(),
        )
    }

    /// A dict.
    pub fn dict(key: Type, value: Type, entries: impl IntoIterator<Item = (Self, Self)>) -> Self {
        Self::Dict(Arc::new((key, value)), entries.into_iter().collect())
    }

    /// A list of floats.
    pub fn floats(values: &[f64]) -> Self {
        Self::List(
            Type::Float,
            values.iter().map(|value| Self::Float(*value)).collect(),
        )
    }

    /// The most exact type of this value.
    pub fn ty(&self) -> Type {
        match self {
            Self::None => Type::None,
            Self::Bool(_) => Type::Bool,
            Self::Int(_) => Type::Int,
            Self::Float(_) => Type::Float,
            Self::Complex(..) => Type::Complex,
            Self::Str(_) => Type::Str,
            Self::Device(_) => Type::Device,
            Self::Tensor(_) => Type::TENSOR,
            Self::List(element, _) => Type::list(element.clone()),
            Self::Tuple(elements) => Type::tuple(elements.iter().map(Self::ty)),
            Self::Dict(types, _) => Type::Dict(Arc::clone(types)),
            Self::Packed(packed) => Type::Class(packed.class()),
            Self::Object(object) => Type::Class(object.class),
            Self::Function(name) => Type::Function(*name),
            Self::Opaque => Type::Any,
        }
    }

    /// The int, if this is one.
    pub fn as_int(&self) -> Option<i64> {
        match self {
            Self::Int(value) => Some(*value),
            _ => None,
        }
    }

    /// The float, if this is one.
    pub fn as_float(&self) -> Option<f64> {
        match self {
            Self::Float(value) => Some(*value),
            _ => None,
        }
    }

    /// The bool, if this is one.
    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Self::Bool(value) => Some(*value),
            _ => None,
        }
    }

    /// The string, if this is one.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::Str(value) => Some(value),
            _ => None,
        }
    }

    /// The tensor, if this is one.
    pub fn as_tensor(&self) -> Option<&Tensor> {
        match self {
            Self::Tensor(value) => Some(value),
            _ => None,
        }
    }

    /// The ints, if this is a list of ints.
    pub fn as_ints(&self) -> Option<Vec<i64>> {
        match self {
            Self::List(_, elements) => elements.iter().map(Self::as_int).collect(),
            _ => None,
        }
    }

    /// Whether a payload is missing, here or in an element.
    pub fn is_opaque(&self) -> bool {
        match self {
            Self::Opaque => true,
            Self::List(_, elements) | Self::Tuple(elements) => elements.iter().any(Self::is_opaque),
            _ => false,
        }
    }
}

impl PartialEq for Literal {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::None, Self::None) => true,
            (Self::Bool(a), Self::Bool(b)) => a == b,
            (Self::Int(a), Self::Int(b)) => a == b,
            (Self::Float(a), Self::Float(b)) => a.to_bits() == b.to_bits(),
            (Self::Complex(a, b), Self::Complex(c, d)) => {
                a.to_bits() == c.to_bits() && b.to_bits() == d.to_bits()
            }
            (Self::Str(a), Self::Str(b)) => a == b,
            (Self::Device(a), Self::Device(b)) | (Self::Function(a), Self::Function(b)) => a == b,
            (Self::Tensor(a), Self::Tensor(b)) => a == b,
            (Self::List(s, a), Self::List(t, b)) => s == t && a == b,
            (Self::Tuple(a), Self::Tuple(b)) => a == b,
            (Self::Dict(s, a), Self::Dict(t, b)) => s == t && a == b,
            (Self::Packed(a), Self::Packed(b)) => Arc::ptr_eq(a, b) || a == b,
            (Self::Object(a), Self::Object(b)) => Arc::ptr_eq(a, b) || a == b,
            // Two payloads that nobody knows are never known to be equal.
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_compare_by_bits() {
        assert_eq!(Literal::Float(f64::NAN), Literal::Float(f64::NAN));
        assert_ne!(Literal::Float(0.0), Literal::Float(-0.0));
        assert_ne!(Literal::Opaque, Literal::Opaque);
    }
}
