//! Between the values of a program and the literals of a module.

use std::sync::Arc;

use planish_ir::Literal;

use super::{Dict, List, MAX_NESTING, Object, Value};
use crate::{Error, Result, Tensor};

impl From<&Literal> for Value {
    /// A new value; tensors share the literal's bytes until they are written to.
    fn from(literal: &Literal) -> Self {
        match literal {
            Literal::None => Self::None,
            Literal::Bool(value) => Self::Bool(*value),
            Literal::Int(value) => Self::Int(*value),
            Literal::Float(value) => Self::Float(*value),
            Literal::Complex(re, im) => Self::Complex(*re, *im),
            Literal::Str(text) => Self::Str(Arc::clone(text)),
            Literal::Device(device) => Self::Device(*device),
            Literal::Tensor(tensor) => Self::Tensor(Tensor::from(tensor)),
            Literal::List(element, items) => {
                Self::list(element.clone(), items.iter().map(Self::from))
            }
            Literal::Tuple(items) => Self::tuple(items.iter().map(Self::from)),
            Literal::Dict(types, entries) => {
                let dict = Dict::new(types.0.clone(), types.1.clone());
                for (key, value) in entries.iter().map(|(k, v)| (Self::from(k), Self::from(v))) {
                    if let Some(by) = key.key() {
                        dict.lock().insert(by, (key, value));
                    }
                }
                Self::Dict(dict)
            }
            Literal::Packed(packed) => Self::Packed(Arc::clone(packed)),
            Literal::Object(object) => {
                let fields = object.fields.iter();
                let fields = fields.map(|(name, value)| (*name, Self::from(value)));
                Self::Object(Object::new(object.class, fields.collect()))
            }
            Literal::Function(name) => Self::Function(*name),
            // A payload that is not known may be carried about, but nothing may read it.
            Literal::Opaque => Self::Uninitialized,
        }
    }
}

/// A value as data.
///
/// # Errors
/// When the value is or holds a module, an uninitialized value, or itself.
pub fn to_literal(value: &Value) -> Result<Literal> {
    literal(value, MAX_NESTING)
}

fn literal(value: &Value, depth: u32) -> Result<Literal> {
    let Some(depth) = depth.checked_sub(1) else {
        return Err(Error::Limit {
            what: "nested values",
            limit: u64::from(MAX_NESTING),
        });
    };
    Ok(match value {
        Value::None => Literal::None,
        Value::Bool(value) => Literal::Bool(*value),
        Value::Int(value) => Literal::Int(*value),
        Value::Float(value) => Literal::Float(*value),
        Value::Complex(re, im) => Literal::Complex(*re, *im),
        Value::Str(text) => Literal::Str(Arc::clone(text)),
        Value::Device(device) => Literal::Device(*device),
        Value::Tensor(tensor) => Literal::Tensor(tensor.to_ir()?),
        Value::List(list) => list_literal(list, depth)?,
        Value::Tuple(items) => {
            let items = items.iter().map(|item| literal(item, depth));
            Literal::Tuple(items.collect::<Result<_>>()?)
        }
        Value::Dict(dict) => {
            let (key, value) = dict.types();
            let entries: Vec<_> = dict.lock().values().cloned().collect();
            let entries = entries
                .iter()
                .map(|(k, v)| Ok((literal(k, depth)?, literal(v, depth)?)));
            let entries: Vec<_> = entries.collect::<Result<_>>()?;
            Literal::dict(key.clone(), value.clone(), entries)
        }
        Value::Object(object) => {
            let fields: Vec<_> = object.lock().iter().map(|(n, v)| (*n, v.clone())).collect();
            let fields = fields
                .into_iter()
                .map(|(name, value)| Ok((name, literal(&value, depth)?)));
            Literal::Object(Arc::new(planish_ir::Object {
                class: object.class(),
                fields: fields.collect::<Result<_>>()?,
            }))
        }
        Value::Packed(packed) => Literal::Packed(Arc::clone(packed)),
        Value::Function(name) => Literal::Function(*name),
        Value::Module(_) | Value::Uninitialized => {
            return Err(Error::Unsupported(format!("{} as data", value.kind())));
        }
    })
}

fn list_literal(list: &List, depth: u32) -> Result<Literal> {
    let items = list.to_vec();
    let items = items.iter().map(|item| literal(item, depth));
    Ok(Literal::List(
        list.element().clone(),
        items.collect::<Result<_>>()?,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use planish_ir::Type;

    #[test]
    fn data_survives_and_a_list_in_itself_is_refused() {
        let literal = Literal::Tuple([Literal::ints(&[1, 2]), Literal::str("a")].into());
        assert_eq!(to_literal(&Value::from(&literal)).unwrap(), literal);
        let list = List::new(Type::Any, Vec::new());
        list.lock().push(Value::List(list.clone()));
        assert!(to_literal(&Value::List(list.clone())).is_err());
        list.lock().clear();
    }
}
