//! Values of a running program.
//!
//! Lists, dicts, objects and tensors are references, as in Python: a clone is another name of the same thing.

mod literal;
mod text;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use indexmap::IndexMap;
use planish_ir::{ModuleId, PackedParams, Sym, Type};

pub use literal::to_literal;

use crate::Tensor;

/// A value of a running program.
#[derive(Clone, Debug)]
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
    Tuple(Arc<[Value]>),
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

/// A list.
#[derive(Clone, Debug)]
pub struct List(Arc<(Type, Mutex<Vec<Value>>)>);

/// A dict, in insertion order.
#[derive(Clone, Debug)]
pub struct Dict(Arc<(Type, Type, Mutex<Entries>)>);

/// Entries of a dict.
pub type Entries = IndexMap<Key, (Value, Value)>;

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

/// An object of a script class.
#[derive(Clone, Debug)]
pub struct Object(Arc<(Sym, Mutex<IndexMap<Sym, Value>>)>);

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
            Self::Tuple(items) => Type::tuple(items.iter().map(Self::ty)),
            Self::Dict(dict) => Type::dict(dict.0.0.clone(), dict.0.1.clone()),
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
        match (self, other) {
            (Self::None, Self::None) => true,
            (Self::Bool(a), Self::Bool(b)) => a == b,
            (Self::Str(a), Self::Str(b)) => a == b,
            (Self::Device(a), Self::Device(b)) | (Self::Function(a), Self::Function(b)) => a == b,
            (Self::Tensor(a), Self::Tensor(b)) => a.is_same(b),
            (Self::List(a), Self::List(b)) => a.is_same(b) || all_equal(&a.to_vec(), &b.to_vec()),
            (Self::Tuple(a), Self::Tuple(b)) => all_equal(a, b),
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

fn all_equal(a: &[Value], b: &[Value]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.equals(b))
}

impl List {
    /// A list whose elements have type `element`.
    pub fn new(element: Type, items: Vec<Value>) -> Self {
        Self(Arc::new((element, Mutex::new(items))))
    }

    /// Type of the elements.
    pub fn element(&self) -> &Type {
        &self.0.0
    }

    /// The elements, locked for reading or writing; do not touch the same list while holding this.
    pub fn lock(&self) -> MutexGuard<'_, Vec<Value>> {
        self.0.1.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The elements as they are now.
    pub fn to_vec(&self) -> Vec<Value> {
        self.lock().clone()
    }

    /// Whether both names mean the same list.
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Dict {
    /// An empty dict.
    pub fn new(key: Type, value: Type) -> Self {
        Self(Arc::new((key, value, Mutex::default())))
    }

    /// Types of the keys and of the values.
    pub fn types(&self) -> (&Type, &Type) {
        (&self.0.0, &self.0.1)
    }

    /// The entries, locked for reading or writing; do not touch the same dict while holding this.
    pub fn lock(&self) -> MutexGuard<'_, Entries> {
        self.0.2.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether both names mean the same dict.
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Object {
    /// An object with the given fields.
    pub fn new(class: Sym, fields: IndexMap<Sym, Value>) -> Self {
        Self(Arc::new((class, Mutex::new(fields))))
    }

    /// Qualified name of its class.
    pub fn class(&self) -> Sym {
        self.0.0
    }

    /// The fields, locked for reading or writing; do not touch the same object while holding this.
    pub fn lock(&self) -> MutexGuard<'_, IndexMap<Sym, Value>> {
        self.0.1.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The value of a field.
    pub fn get(&self, name: Sym) -> Option<Value> {
        self.lock().get(&name).cloned()
    }

    /// Whether both names mean the same object.
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Whether both are the same member of an enum.
    fn is_same_member(&self, other: &Self) -> bool {
        let member = |object: &Self| match object.get("name".into()) {
            Some(Value::Str(name)) => Some(name),
            _ => None,
        };
        self.class() == other.class() && member(self).is_some() && member(self) == member(other)
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
