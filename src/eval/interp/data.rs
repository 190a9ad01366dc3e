//! Operators whose meaning stands in their attributes and output types: constants, containers, type tests.

use indexmap::IndexMap;
use planish_ir::{Attr, Graph, Literal, NodeId, Type};

use super::attribute;
use crate::value::{Dict, Object};
use crate::{Error, Result, Value};

/// The outputs of such a node; `None` when the operator is not one of them.
pub(super) fn outputs(graph: &Graph, node: NodeId, inputs: &[Value]) -> Option<Result<Vec<Value>>> {
    let one = |value: Result<Value>| Some(value.map(|value| vec![value]));
    match graph.node(node).op().name().as_str() {
        "prim::Constant" => one(constant(graph, node)),
        "prim::Uninitialized" => one(Ok(Value::Uninitialized)),
        "prim::ListConstruct" => one(list(graph, node, inputs)),
        "prim::DictConstruct" => one(dict(graph, node, inputs)),
        "prim::TupleConstruct" => one(Ok(Value::tuple(inputs.iter().cloned()))),
        "prim::TupleUnpack" | "prim::ListUnpack" => Some(unpack(graph, node, inputs)),
        "prim::TupleSlice" => one(tuple_slice(graph, node, inputs)),
        "prim::CreateObject" => one(object(graph, node)),
        "prim::RaiseException" => Some(Err(raised(inputs))),
        "prim::isinstance" => one(is_instance(graph, node, inputs)),
        "prim::ConstantChunk" => Some(chunk(graph, node, inputs)),
        // Claims about a value's type change nothing of it.
        "prim::unchecked_cast"
        | "prim::unchecked_unwrap_optional"
        | "prim::profile"
        | "aten::wait"
        | "prim::awaitable_wait"
        | "prim::TypeCast" => one(inputs.first().cloned().ok_or_else(nothing_given)),
        _ => None,
    }
}

fn constant(graph: &Graph, node: NodeId) -> Result<Value> {
    let node = graph.node(node);
    match (node.attr("value"), node.str_attr("name")) {
        (Some(Attr::Literal(Literal::Opaque)), _) => Err(Error::Missing(
            "the payload of a constant: the text it was read from does not carry it".to_owned(),
        )),
        (Some(Attr::Literal(literal)), _) => Ok(Value::from(literal)),
        (Some(_), _) => Err(Error::invalid("the attribute value is not a value")),
        (None, Some(name)) => Ok(Value::Function(name.into())),
        (None, None) => Ok(Value::None),
    }
}

fn list(graph: &Graph, node: NodeId, inputs: &[Value]) -> Result<Value> {
    let element = match output_type(graph, node)? {
        Type::List(element) => (**element).clone(),
        _ => inputs.first().map_or(Type::Any, Value::ty),
    };
    Ok(Value::list(element, inputs.iter().cloned()))
}

fn dict(graph: &Graph, node: NodeId, inputs: &[Value]) -> Result<Value> {
    let dict = match output_type(graph, node)? {
        Type::Dict(types) => Dict::new(types.0.clone(), types.1.clone()),
        _ => Dict::new(Type::Any, Type::Any),
    };
    if !inputs.len().is_multiple_of(2) {
        return Err(Error::invalid("a key has no value"));
    }
    for pair in inputs.chunks_exact(2) {
        let Some(key) = pair[0].key() else {
            return Err(Error::Invalid(format!("{} is not a key", pair[0].kind())));
        };
        dict.lock().insert(key, (pair[0].clone(), pair[1].clone()));
    }
    Ok(Value::Dict(dict))
}

fn unpack(graph: &Graph, node: NodeId, inputs: &[Value]) -> Result<Vec<Value>> {
    let items = match inputs.first() {
        Some(Value::Tuple(items)) => items.to_vec(),
        Some(Value::List(list)) => list.to_vec(),
        _ => return Err(Error::invalid("there is nothing to unpack")),
    };
    let wanted = graph.node(node).outputs().len();
    if items.len() != wanted {
        let given = items.len();
        return Err(Error::Invalid(format!(
            "{given} values are unpacked into {wanted}"
        )));
    }
    Ok(items)
}

fn tuple_slice(graph: &Graph, node: NodeId, inputs: &[Value]) -> Result<Value> {
    let bound = |name| -> Result<usize> {
        let bound = attribute(graph, node, name)?.as_int();
        let bound = bound.and_then(|bound| usize::try_from(bound).ok());
        bound.ok_or_else(|| Error::Invalid(format!("the attribute {name} is not a position")))
    };
    let Some(Value::Tuple(items)) = inputs.first() else {
        return Err(Error::invalid("a slice of what is no tuple"));
    };
    let (begin, end) = (bound("beg")?, bound("end")?);
    match items.get(begin..end) {
        Some(items) => Ok(Value::tuple(items.iter().cloned())),
        None => Err(Error::Invalid(format!(
            "{begin}..{end} lies outside a tuple of {}",
            items.len()
        ))),
    }
}

fn object(graph: &Graph, node: NodeId) -> Result<Value> {
    match output_type(graph, node)? {
        Type::Class(class) => Ok(Value::Object(Object::new(*class, IndexMap::new()))),
        other => Err(Error::Invalid(format!(
            "an object of type {other:?}, which is not a class"
        ))),
    }
}

fn raised(inputs: &[Value]) -> Error {
    let text = |index: usize, default: &str| match inputs.get(index) {
        None | Some(Value::None) => default.to_owned(),
        Some(value) => value.to_string(),
    };
    Error::Raised {
        class: text(1, "builtins.Exception"),
        message: text(0, ""),
        loc: None,
    }
}

fn is_instance(graph: &Graph, node: NodeId, inputs: &[Value]) -> Result<Value> {
    let value = inputs.first().ok_or_else(nothing_given)?;
    match graph.node(node).attr("types") {
        Some(Attr::Types(types)) => Ok(types.iter().any(|ty| belongs(value, ty)).into()),
        Some(Attr::Type(ty)) => Ok(belongs(value, ty).into()),
        _ => Err(Error::Missing("the attribute types".to_owned())),
    }
}

/// Whether the value belongs to the type. Elements are asked, since a list of `Any` may hold anything.
fn belongs(value: &Value, ty: &Type) -> bool {
    match (value, ty) {
        (_, Type::Any) => true,
        (_, Type::Optional(inner)) => value.is_none() || belongs(value, inner),
        (_, Type::Union(types)) => types.iter().any(|ty| belongs(value, ty)),
        (Value::Int(_) | Value::Float(_) | Value::Complex(..), Type::Scalar) => true,
        (Value::List(_), Type::Named(name)) => *name == "AnyList",
        (Value::Tuple(_), Type::Named(name)) => *name == "AnyTuple",
        (Value::List(list), Type::List(element)) => {
            list.element() == &**element || list.element().is_subtype_of(element)
        }
        (Value::Tuple(items), _) => ty.elements().is_some_and(|types| {
            types.len() == items.len() && items.iter().zip(&types).all(|(v, t)| belongs(v, t))
        }),
        (Value::Module(_), Type::Class(_)) => true,
        _ => value.ty().is_subtype_of(ty),
    }
}

/// `prim::ConstantChunk[chunks=n, dim=d]` is `aten::chunk` followed by an unpacking.
fn chunk(graph: &Graph, node: NodeId, inputs: &[Value]) -> Result<Vec<Value>> {
    let number = |name| {
        let found = attribute(graph, node, name)?.as_int();
        found.ok_or_else(|| Error::Invalid(format!("the attribute {name} is not an int")))
    };
    let Some(Value::Tensor(tensor)) = inputs.first() else {
        return Err(Error::invalid("only a tensor has chunks"));
    };
    crate::ops::chunks(tensor, number("chunks")?, number("dim")?)
}

fn output_type(graph: &Graph, node: NodeId) -> Result<&Type> {
    match graph.node(node).outputs() {
        [output] => Ok(graph.ty(*output)),
        outputs => Err(Error::Invalid(format!(
            "{} outputs instead of one",
            outputs.len()
        ))),
    }
}

fn nothing_given() -> Error {
    Error::invalid("no input is given")
}
