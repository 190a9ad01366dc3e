//! Values that hold values.
//!
//! A program may nest them as deep as it likes, so they are taken apart with an explicit stack when they are dropped.

use std::fmt;
use std::ops::Deref;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use indexmap::IndexMap;
use planish_ir::{Sym, Type};

use super::{Key, Value};

/// A list.
#[derive(Clone)]
pub struct List(Arc<ListParts>);

struct ListParts {
    element: Type,
    items: Mutex<Vec<Value>>,
}

/// A tuple: a slice of values that never changes.
#[derive(Clone)]
pub struct Tuple(Arc<TupleParts>);

struct TupleParts(Vec<Value>);

/// A dict, in insertion order.
#[derive(Clone)]
pub struct Dict(Arc<DictParts>);

struct DictParts {
    key: Type,
    value: Type,
    entries: Mutex<Entries>,
}

/// Entries of a dict: keys and values by what keys are compared by.
pub type Entries = IndexMap<Key, (Value, Value)>;

/// An object of a script class.
#[derive(Clone)]
pub struct Object(Arc<ObjectParts>);

struct ObjectParts {
    class: Sym,
    fields: Mutex<IndexMap<Sym, Value>>,
}

impl List {
    /// A list whose elements have type `element`.
    pub fn new(element: Type, items: Vec<Value>) -> Self {
        let items = Mutex::new(items);
        Self(Arc::new(ListParts { element, items }))
    }

    /// Type of the elements.
    pub fn element(&self) -> &Type {
        &self.0.element
    }

    /// The elements, locked for reading or writing; do not touch the same list while holding this.
    pub fn lock(&self) -> MutexGuard<'_, Vec<Value>> {
        self.0.items.lock().unwrap_or_else(PoisonError::into_inner)
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

impl Tuple {
    /// Whether both names mean the same tuple.
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Dict {
    /// An empty dict.
    pub fn new(key: Type, value: Type) -> Self {
        let entries = Mutex::default();
        Self(Arc::new(DictParts {
            key,
            value,
            entries,
        }))
    }

    /// Types of the keys and of the values.
    pub fn types(&self) -> (&Type, &Type) {
        (&self.0.key, &self.0.value)
    }

    /// The entries, locked for reading or writing; do not touch the same dict while holding this.
    pub fn lock(&self) -> MutexGuard<'_, Entries> {
        self.0
            .entries
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether both names mean the same dict.
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Object {
    /// An object with the given fields.
    pub fn new(class: Sym, fields: IndexMap<Sym, Value>) -> Self {
        let fields = Mutex::new(fields);
        Self(Arc::new(ObjectParts { class, fields }))
    }

    /// Qualified name of its class.
    pub fn class(&self) -> Sym {
        self.0.class
    }

    /// The fields, locked for reading or writing; do not touch the same object while holding this.
    pub fn lock(&self) -> MutexGuard<'_, IndexMap<Sym, Value>> {
        self.0.fields.lock().unwrap_or_else(PoisonError::into_inner)
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
    pub(super) fn is_same_member(&self, other: &Self) -> bool {
        let member = |object: &Self| match object.get("name".into()) {
            Some(Value::Str(name)) => Some(name),
            _ => None,
        };
        self.class() == other.class() && member(self).is_some() && member(self) == member(other)
    }
}

impl Deref for Tuple {
    type Target = [Value];

    fn deref(&self) -> &[Value] {
        &self.0.0
    }
}

impl FromIterator<Value> for Tuple {
    fn from_iter<I: IntoIterator<Item = Value>>(items: I) -> Self {
        Self(Arc::new(TupleParts(items.into_iter().collect())))
    }
}

impl fmt::Debug for List {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&Value::List(self.clone()), f)
    }
}

impl fmt::Debug for Tuple {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&Value::Tuple(self.clone()), f)
    }
}

impl fmt::Debug for Dict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&Value::Dict(self.clone()), f)
    }
}

impl fmt::Debug for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<{}>", self.class())
    }
}

/// Parts that give away the values they hold.
trait Hold {
    fn give(&mut self, to: &mut Vec<Value>);
}

impl Hold for ListParts {
    fn give(&mut self, to: &mut Vec<Value>) {
        to.append(self.items.get_mut().unwrap_or_else(PoisonError::into_inner));
    }
}

impl Hold for TupleParts {
    fn give(&mut self, to: &mut Vec<Value>) {
        to.append(&mut self.0);
    }
}

impl Hold for DictParts {
    fn give(&mut self, to: &mut Vec<Value>) {
        let entries = self
            .entries
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner);
        to.extend(entries.drain(..).flat_map(|(_, (key, value))| [key, value]));
    }
}

impl Hold for ObjectParts {
    fn give(&mut self, to: &mut Vec<Value>) {
        let fields = self
            .fields
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner);
        to.extend(fields.drain(..).map(|(_, value)| value));
    }
}

/// Drops what `parts` hold, however deep it is nested, without recursion.
fn take_apart(parts: &mut impl Hold) {
    let mut open = Vec::new();
    parts.give(&mut open);
    while let Some(value) = open.pop() {
        // Only who holds the last reference takes the contents.
        match value {
            Value::List(List(mut parts)) => give_last(&mut parts, &mut open),
            Value::Tuple(Tuple(mut parts)) => give_last(&mut parts, &mut open),
            Value::Dict(Dict(mut parts)) => give_last(&mut parts, &mut open),
            Value::Object(Object(mut parts)) => give_last(&mut parts, &mut open),
            _ => {}
        }
    }
}

fn give_last(parts: &mut Arc<impl Hold>, open: &mut Vec<Value>) {
    if let Some(parts) = Arc::get_mut(parts) {
        parts.give(open);
    }
}

impl Drop for ListParts {
    fn drop(&mut self) {
        take_apart(self);
    }
}

impl Drop for TupleParts {
    fn drop(&mut self) {
        take_apart(self);
    }
}

impl Drop for DictParts {
    fn drop(&mut self) {
        take_apart(self);
    }
}

impl Drop for ObjectParts {
    fn drop(&mut self) {
        take_apart(self);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deep_values_are_dropped_compared_and_printed_without_recursion() {
        let nest = || {
            (0..200_000).fold(Value::Int(1), |inner, at| match at % 3 {
                0 => Value::tuple([inner]),
                1 => Value::list(Type::Any, [inner]),
                _ => {
                    let fields = [("x".into(), inner)];
                    Value::Object(Object::new("C".into(), fields.into_iter().collect()))
                }
            })
        };
        let (a, b) = (nest(), nest());
        assert!(!a.equals(&b));
        assert!(format!("{a:?}").len() < 1000);
        assert!(a.ty() != Type::None);
    }
}
