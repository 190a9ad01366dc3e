//! Values of a running program.
//!
//! Lists, dicts, objects and tensors are references, as in Python: a clone is another name of the same thing.

mod container;
mod literal;
mod text;

use std::fmt;
use std::sync::Arc;

use planish_ir::{ModuleId, PackedParams, Sym, Type};

pub use container::{Dict, Entries, List, Object, Tuple};
pub use literal::to_literal;

use crate::Tensor;

/// A value of a running program.
#[derive(Clone)]
pub enum Value {
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
    /// A list.
    List(List),
    /// A tuple.
    Tuple(Tuple),
    /// A dict.
    Dict(Dict),
    /// An object of a class that is not a module; also a member of an enum, with the fields `name` and `value`.
    Object(Object),
    /// Packed weights.
    Packed(Arc<PackedParams>),
    /// A module of the model that runs.
    Module(ModuleId),
    /// A function, by its qualified name.
    Function(Sym),
    /// A value that no one may read.
    Uninitialized,
}

/// Values nested deeper than this are not looked into: a list may hold itself.
const MAX_NESTING: u32 = 64;

/// What keys of a dict are compared by. Tensors compare by identity, floats by bits.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Key {
    /// A bool, int, enum value or identity of a tensor.
    Int(i64),
    /// The bits of a float or complex number.
    Bits(u64, u64),
    /// A string.
    Str(Arc<str>),
}

impl Value {
    /// A string.
    pub fn str(text: &str) -> Self {
        Self::Str(text.into())
    }

    /// A list.
    pub fn list(element: Type, items: impl IntoIterator<Item = Self>) -> Self {
        Self::List(List::new(element, items.into_iter().collect()))
    }

    /// A list of ints.
    pub fn ints(values: &[i64]) -> Self {
        Self::list(Type::Int, values.iter().map(|value| Self::Int(*value)))
    }

    /// A tuple.
    pub fn tuple(items: impl IntoIterator<Item = Self>) -> Self {
        Self::Tuple(items.into_iter().collect())
    }

    /// The tensor, if this is one.
    pub fn as_tensor(&self) -> Option<&Tensor> {
        match self {
            Self::Tensor(tensor) => Some(tensor),
            _ => None,
        }
    }

    /// The int, if this is one.
    pub fn as_int(&self) -> Option<i64> {
        match self {
            Self::Int(value) => Some(*value),
            _ => None,
        }
    }

    /// Whether this is `None`.
    pub fn is_none(&self) -> bool {
        matches!(self, Self::None)
    }

    /// What kind of value this is, in words.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::None => "None",
            Self::Bool(_) => "a bool",
            Self::Int(_) => "an int",
            Self::Float(_) => "a float",
            Self::Complex(..) => "a complex number",
            Self::Str(_) => "a string",
            Self::Device(_) => "a device",
            Self::Tensor(_) => "a tensor",
            Self::List(_) => "a list",
            Self::Tuple(_) => "a tuple",
            Self::Dict(_) => "a dict",
            Self::Object(_) => "an object",
            Self::Packed(_) => "packed weights",
            Self::Module(_) => "a module",
            Self::Function(_) => "a function",
            Self::Uninitialized => "an uninitialized value",
        }
    }

    /// The most exact type of this value.
    pub fn ty(&self) -> Type {
        self.ty_to(MAX_NESTING)
    }

    fn ty_to(&self, depth: u32) -> Type {
        match self {
            Self::None => Type::None,
            Self::Bool(_) => Type::Bool,
            Self::Int(_) => Type::Int,
            Self::Float(_) => Type::Float,
            Self::Complex(..) => Type::Complex,
            Self::Str(_) => Type::Str,
            Self::Device(_) => Type::Device,
            Self::Tensor(_) => Type::TENSOR,
            Self::List(list) => Type::list(list.element().clone()),
            Self::Tuple(_) if depth == 0 => Type::Any,
            Self::Tuple(items) => Type::tuple(items.iter().map(|item| item.ty_to(depth - 1))),
            Self::Dict(dict) => {
                let (key, value) = dict.types();
                Type::dict(key.clone(), value.clone())
            }
            Self::Object(object) => Type::Class(object.class()),
            Self::Packed(packed) => Type::Class(packed.class()),
            Self::Function(name) => Type::Function(*name),
            Self::Module(_) | Self::Uninitialized => Type::Any,
        }
    }

    /// What this value is compared by as the key of a dict; `None` when it cannot be a key.
    pub fn key(&self) -> Option<Key> {
        Some(match self {
            Self::Bool(value) => Key::Int(i64::from(*value)),
            Self::Int(value) => Key::Int(*value),
            // Zero and minus zero are one key.
            Self::Float(value) => Key::Bits((value + 0.0).to_bits(), 0),
            Self::Complex(re, im) => Key::Bits((re + 0.0).to_bits(), (im + 0.0).to_bits()),
            Self::Str(text) => Key::Str(Arc::clone(text)),
            Self::Tensor(tensor) => Key::Int(tensor.identity() as i64),
            _ => return None,
        })
    }

    /// Whether both values are equal: tensors, dicts and objects when they are the same one, everything else by its content.
    pub fn equals(&self, other: &Self) -> bool {
        self.equals_to(other, MAX_NESTING)
    }

    fn equals_to(&self, other: &Self, depth: u32) -> bool {
        let Some(depth) = depth.checked_sub(1) else {
            return false;
        };
        match (self, other) {
            (Self::None, Self::None) => true,
            (Self::Bool(a), Self::Bool(b)) => a == b,
            (Self::Str(a), Self::Str(b)) => a == b,
            (Self::Device(a), Self::Device(b)) | (Self::Function(a), Self::Function(b)) => a == b,
            (Self::Tensor(a), Self::Tensor(b)) => a.is_same(b),
            (Self::List(a), Self::List(b)) => {
                a.is_same(b) || all_equal(&a.to_vec(), &b.to_vec(), depth)
            }
            (Self::Tuple(a), Self::Tuple(b)) => all_equal(a, b, depth),
            (Self::Dict(a), Self::Dict(b)) => a.is_same(b),
            (Self::Object(a), Self::Object(b)) => a.is_same(b) || a.is_same_member(b),
            (Self::Packed(a), Self::Packed(b)) => Arc::ptr_eq(a, b),
            (Self::Module(a), Self::Module(b)) => a == b,
            (Self::Int(a), Self::Int(b)) => a == b,
            (Self::Int(_) | Self::Float(_) | Self::Complex(..), _) => {
                match (self.as_complex(), other.as_complex()) {
                    (Some(a), Some(b)) => a == b,
                    _ => false,
                }
            }
            _ => false,
        }
    }

    fn as_complex(&self) -> Option<(f64, f64)> {
        match self {
            Self::Bool(value) => Some((f64::from(u8::from(*value)), 0.0)),
            Self::Int(value) => Some((*value as f64, 0.0)),
            Self::Float(value) => Some((*value, 0.0)),
            Self::Complex(re, im) => Some((*re, *im)),
            _ => None,
        }
    }
}

fn all_equal(a: &[Value], b: &[Value], depth: u32) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.equals_to(b, depth))
}

/// As [`fmt::Display`], with strings in quotes.
impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Str(text) => fmt::Debug::fmt(text, f),
            value => fmt::Display::fmt(value, f),
        }
    }
}

impl From<Tensor> for Value {
    fn from(tensor: Tensor) -> Self {
        Self::Tensor(tensor)
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}

impl From<f64> for Value {
    fn from(value: f64) -> Self {
        Self::Float(value)
    }
}
