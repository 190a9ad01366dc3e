//! Attributes and methods of modules, objects and packed weights.

use std::sync::Arc;

use planish_ir::{Graph, ModuleId, NodeId, Sym};

use super::{Interpreter, Slot, attribute};
use crate::ops::packed_method;
use crate::{Error, Result, Value};

impl Interpreter<'_> {
    pub(super) fn get_attr(
        &mut self,
        graph: &Graph,
        node: NodeId,
        inputs: &[Value],
    ) -> Result<Value> {
        let name = name_of(graph, node)?;
        match inputs.first() {
            Some(Value::Module(module)) => self.module_attr(*module, name),
            Some(Value::Object(object)) => object.get(name).ok_or_else(|| {
                Error::Missing(format!("an attribute {name} of class {}", object.class()))
            }),
            other => Err(no_member(name, other)),
        }
    }

    pub(super) fn set_attribute(
        &mut self,
        graph: &Graph,
        node: NodeId,
        inputs: &[Value],
    ) -> Result<Vec<Value>> {
        let name = name_of(graph, node)?;
        match inputs {
            [Value::Module(module), value] => self.set_attr(*module, name, value.clone()),
            [Value::Object(object), value] => {
                object.lock().insert(name, value.clone());
            }
            other => return Err(no_member(name, other.first())),
        }
        Ok(Vec::new())
    }

    /// What an interpreter has written, else a submodule, else an attribute, else a constant of the class.
    pub(super) fn module_attr(&mut self, module: ModuleId, name: Sym) -> Result<Value> {
        if let Some(slot) = self.attrs.get(&(module, name)) {
            return Ok(slot.value.clone());
        }
        let model = self.model()?;
        if let Some(child) = model.submodule(module, name) {
            return Ok(Value::Module(child));
        }
        let owner = model.module(module);
        let class = model.classes.get(&owner.class);
        let literal = owner
            .attrs
            .get(&name)
            .or_else(|| class?.constants.get(&name));
        let Some(literal) = literal else {
            let class = owner.class;
            return Err(Error::Missing(format!(
                "an attribute {name} of class {class}"
            )));
        };
        let value = Value::from(literal);
        let slot = Slot {
            value: value.clone(),
            written: false,
        };
        self.attrs.insert((module, name), slot);
        Ok(value)
    }

    pub(super) fn call_method_node(
        &mut self,
        graph: &Graph,
        node: NodeId,
        inputs: Vec<Value>,
    ) -> Result<Vec<Value>> {
        self.call_named(name_of(graph, node)?, inputs)
    }

    /// Calls a method of the first input.
    pub(super) fn call_named(&mut self, name: Sym, inputs: Vec<Value>) -> Result<Vec<Value>> {
        let class = match inputs.first() {
            Some(Value::Module(module)) => self.model()?.module(*module).class,
            Some(Value::Object(object)) => object.class(),
            Some(Value::Packed(packed)) => {
                return Ok(vec![packed_method(&Arc::clone(packed), name.as_str())?]);
            }
            other => return Err(no_member(name, other)),
        };
        let model = self.model()?;
        let methods = model.classes.get(&class).map(|class| &class.methods);
        let Some(method) = methods.and_then(|methods| methods.get(&name)) else {
            return Err(Error::Missing(format!("a method {name} of class {class}")));
        };
        let results = self.call_body(model.method(*method), inputs)?;
        Ok(vec![super::single(results)])
    }

    /// The submodule at a place of a list of modules, or under a name of a dict of them.
    pub(super) fn contained(&mut self, inputs: &[Value]) -> Result<Value> {
        let [Value::Module(container), index] = inputs else {
            return Err(Error::invalid("an index into what holds no modules"));
        };
        let held: Vec<_> = self.model()?.submodules(*container).collect();
        let found = match index {
            Value::Int(at) => {
                let at = if *at < 0 { at + held.len() as i64 } else { *at };
                usize::try_from(at).ok().and_then(|at| held.get(at))
            }
            Value::Str(key) => held.iter().find(|(name, _)| *name == **key),
            _ => None,
        };
        match found {
            Some((_, module)) => Ok(Value::Module(*module)),
            None => Err(Error::Raised {
                class: "builtins.IndexError".to_owned(),
                message: format!("{index:?} is none of {} modules", held.len()),
                loc: None,
            }),
        }
    }

    pub(super) fn call_function(&mut self, mut inputs: Vec<Value>) -> Result<Vec<Value>> {
        if inputs.is_empty() {
            return Err(Error::invalid("a call without a callee"));
        }
        let Value::Function(name) = inputs.remove(0) else {
            return Err(Error::invalid("the callee is not a function"));
        };
        let model = self.model()?;
        let Some(function) = model.functions.get(&name) else {
            return Err(Error::Missing(format!("a function {name}")));
        };
        let results = self.call_body(model.method(*function), inputs)?;
        Ok(vec![super::single(results)])
    }
}

fn name_of(graph: &Graph, node: NodeId) -> Result<Sym> {
    let name = attribute(graph, node, "name")?.as_str();
    name.map(Sym::new)
        .ok_or_else(|| Error::invalid("the attribute name is not a string"))
}

fn no_member(name: Sym, value: Option<&Value>) -> Error {
    let kind = value.map_or("nothing", Value::kind);
    Error::Invalid(format!("{kind} has no member {name}"))
}
