//! Pickled objects to modules and literals.
//!
//! A module's state is a dictionary of all its attributes. A state of any other shape is what the
//! class's `__getstate__` returned: it waits as a [`Restore`] until `__setstate__` can be run.

use std::collections::HashMap;
use std::sync::Arc;

use indexmap::IndexMap;
use planish_ir::{ClassKind, GraphModule, Literal, ModuleId, Object, Sym, Type};

use super::code::ast::Base;
use super::code::parse_type;
use super::library::Library;
use super::pickle::{Global, Pickle, Pickled, ValueId};
use super::tensors::Storages;
use super::zip::Archive;
use super::{classes, packed, types};
use crate::error::{Error, Result};

/// A module whose attributes `__setstate__` is to set.
#[derive(Debug)]
pub(super) struct Restore {
    /// The module, still without attributes.
    pub(super) module: ModuleId,
    /// Its class.
    pub(super) class: Sym,
    /// The argument of `__setstate__`.
    pub(super) state: Literal,
    /// The module's path, for messages.
    pub(super) path: String,
}

/// Reads `data.pkl`: the tree of modules with their attributes.
pub(super) fn modules(
    archive: &Archive,
    library: &mut Library<'_>,
    origin: &str,
) -> Result<(GraphModule, Vec<Restore>)> {
    let pickle = Pickle::read("data.pkl", &archive.read("data.pkl")?)?;
    let mut path = String::new();
    let (class, _) = object(&pickle, pickle.root())
        .ok_or_else(|| Error::object("<root>", "the pickle holds no object"))?;
    match library.class(class)? {
        Some((_, code)) if code.base == Base::Module => {}
        _ => {
            let what = format!("class `{class}` is no module");
            return Err(Error::object("<root>", what));
        }
    }
    let mut model = GraphModule::new(Sym::new(class), origin);
    let mut objects = Objects {
        storages: Storages::new(archive, "data"),
        library,
        pickle: &pickle,
        model: Some(&mut model),
        modules: HashMap::new(),
        shared: HashMap::new(),
        restores: Vec::new(),
    };
    objects.module(pickle.root(), &mut path)?;
    let restores = objects.restores;
    Ok((model, restores))
}

/// Reads `constants.pkl`: what `CONSTANTS.cN` stands for.
pub(super) fn constants(archive: &Archive, library: &mut Library<'_>) -> Result<Vec<Literal>> {
    if !archive.contains("constants.pkl") {
        return Ok(Vec::new());
    }
    let pickle = Pickle::read("constants.pkl", &archive.read("constants.pkl")?)?;
    let mut objects = Objects {
        storages: Storages::new(archive, "constants"),
        library,
        pickle: &pickle,
        model: None,
        modules: HashMap::new(),
        shared: HashMap::new(),
        restores: Vec::new(),
    };
    let items = pickle
        .items(pickle.root())
        .ok_or_else(|| Error::object("CONSTANTS", "the pickle holds no tuple"))?;
    let mut out = Vec::with_capacity(items.len());
    for (at, item) in items.iter().enumerate() {
        out.push(objects.literal(*item, None, &mut format!("CONSTANTS.c{at}"))?);
    }
    Ok(out)
}

/// The class and state of an object.
fn object(pickle: &Pickle, id: ValueId) -> Option<(&str, Option<ValueId>)> {
    let Pickled::Object { class, state } = pickle.get(id) else {
        return None;
    };
    match pickle.get(*class) {
        Pickled::Global(Global::Class(name)) => Some((name, *state)),
        _ => None,
    }
}

struct Objects<'a, 'l, 'z> {
    storages: Storages<'a>,
    library: &'l mut Library<'z>,
    pickle: &'a Pickle,
    /// Where modules go; constants have none.
    model: Option<&'l mut GraphModule>,
    modules: HashMap<ValueId, ModuleId>,
    /// Objects that are no modules: shared ones stay shared.
    shared: HashMap<ValueId, Literal>,
    restores: Vec<Restore>,
}

impl Objects<'_, '_, '_> {
    /// The module behind an object; the first one asked for is the root.
    fn module(&mut self, id: ValueId, path: &mut String) -> Result<ModuleId> {
        if let Some(known) = self.modules.get(&id) {
            return Ok(*known);
        }
        let fail = |path: &str, what: String| Error::object(shown(path), what);
        let Some((class, state)) = object(self.pickle, id) else {
            return Err(fail(path, "expected a module".into()));
        };
        let Some(model) = self.model.as_deref_mut() else {
            return Err(fail(path, "a constant holds a module".into()));
        };
        let sym = Sym::new(class);
        classes::declare(self.library, model, class)?;
        let module = if self.modules.is_empty() {
            model.root()
        } else {
            model.add_module(sym)
        };
        self.modules.insert(id, module);
        let fields = model.classes[&sym].fields.clone();
        let Some(state) = state else {
            return Err(fail(
                path,
                format!("module of class `{class}` has no state"),
            ));
        };
        let Pickled::Dict(pairs) = self.pickle.get(state) else {
            let state = self.literal(state, None, path)?;
            self.restores.push(Restore {
                module,
                class: sym,
                state,
                path: shown(path).to_owned(),
            });
            return Ok(module);
        };
        for (name, value) in pairs {
            let Some(name) = self.pickle.str(*name) else {
                return Err(fail(path, "an attribute's name is no string".into()));
            };
            let Some(ty) = fields.get(&Sym::new(name)) else {
                let what = format!("class `{class}` declares no attribute `{name}`");
                return Err(fail(path, what));
            };
            let parent = path.len();
            push(path, name);
            self.attribute(module, Sym::new(name), *value, ty, path)?;
            path.truncate(parent);
        }
        self.check_complete(module, &fields, path)?;
        Ok(module)
    }

    fn attribute(
        &mut self,
        module: ModuleId,
        name: Sym,
        value: ValueId,
        ty: &Type,
        path: &mut String,
    ) -> Result<()> {
        if self.is_module(value)? {
            let child = self.module(value, path)?;
            if let Some(model) = self.model.as_deref_mut() {
                model.set_submodule(module, name, child);
            }
            return Ok(());
        }
        let literal = self.literal(value, Some(ty), path)?;
        if let Some(model) = self.model.as_deref_mut() {
            model.module_mut(module).attrs.insert(name, literal);
        }
        Ok(())
    }

    fn check_complete(
        &self,
        module: ModuleId,
        fields: &IndexMap<Sym, Type>,
        path: &str,
    ) -> Result<()> {
        let Some(model) = self.model.as_deref() else {
            return Ok(());
        };
        let attrs = &model.module(module).attrs;
        let missing = fields
            .keys()
            .find(|name| !attrs.contains_key(*name) && model.submodule(module, **name).is_none());
        match missing {
            Some(name) => {
                let what = format!("attribute `{name}` has no value");
                Err(Error::object(shown(path), what))
            }
            None => Ok(()),
        }
    }

    fn is_module(&mut self, id: ValueId) -> Result<bool> {
        let Some((class, _)) = object(self.pickle, id) else {
            return Ok(false);
        };
        let code = self.library.class(class)?;
        Ok(code.is_some_and(|(_, code)| code.base == Base::Module))
    }

    /// The value behind an id. A declared type says what empty lists hold and turns nothing into
    /// anything else.
    fn literal(&mut self, id: ValueId, ty: Option<&Type>, path: &mut String) -> Result<Literal> {
        let ty = ty.map(Type::unwrap_optional);
        Ok(match self.pickle.get(id) {
            Pickled::None => Literal::None,
            Pickled::Bool(value) => Literal::Bool(*value),
            Pickled::Int(value) => Literal::Int(*value),
            Pickled::Float(value) => Literal::Float(*value),
            Pickled::Str(text) => Literal::str(text),
            Pickled::Tuple(items) => {
                let parts = ty.and_then(Type::elements).unwrap_or_default();
                let mut out = Vec::with_capacity(items.len());
                for (at, item) in items.iter().enumerate() {
                    out.push(self.element(*item, parts.get(at), at, path)?);
                }
                Literal::Tuple(out.into())
            }
            Pickled::List(items) => self.list(items, ty.and_then(Type::element), path)?,
            Pickled::Dict(pairs) => {
                let types = match ty {
                    Some(Type::Dict(types)) => Some(Arc::clone(types)),
                    _ => None,
                };
                let mut out = Vec::with_capacity(pairs.len());
                for (at, (key, value)) in pairs.iter().enumerate() {
                    let key = self.element(*key, types.as_ref().map(|t| &t.0), at, path)?;
                    let value = self.element(*value, types.as_ref().map(|t| &t.1), at, path)?;
                    out.push((key, value));
                }
                let (key, value) = match (types, out.first()) {
                    (Some(types), _) => (types.0.clone(), types.1.clone()),
                    (None, Some((key, value))) => (key.ty(), value.ty()),
                    (None, None) => (Type::Str, Type::TENSOR),
                };
                Literal::Dict(key, value, out.into())
            }
            Pickled::Call { callee, arg } => {
                let Pickled::Global(callee) = self.pickle.get(*callee) else {
                    return Err(Error::object(shown(path), "a call of what is no global"));
                };
                self.call(callee, *arg, ty, path)?
            }
            Pickled::Object { .. } => self.plain_object(id, path)?,
            Pickled::Global(_) | Pickled::Persistent(_) => {
                return Err(Error::object(
                    shown(path),
                    "a bare global or storage is no value",
                ));
            }
        })
    }

    fn element(
        &mut self,
        id: ValueId,
        ty: Option<&Type>,
        at: usize,
        path: &mut String,
    ) -> Result<Literal> {
        let parent = path.len();
        path.push('[');
        path.push_str(&at.to_string());
        path.push(']');
        let literal = self.literal(id, ty, path)?;
        path.truncate(parent);
        Ok(literal)
    }

    fn list(
        &mut self,
        items: &[ValueId],
        element: Option<&Type>,
        path: &mut String,
    ) -> Result<Literal> {
        let mut out = Vec::with_capacity(items.len());
        for (at, item) in items.iter().enumerate() {
            out.push(self.element(*item, element, at, path)?);
        }
        let element = match (element, out.first()) {
            (Some(element), _) => element.clone(),
            (None, Some(first)) => first.ty(),
            (None, None) => Type::TENSOR,
        };
        Ok(Literal::List(element, out.into()))
    }

    /// A value that a known global makes of its argument.
    fn call(
        &mut self,
        callee: &Global,
        arg: ValueId,
        ty: Option<&Type>,
        path: &mut String,
    ) -> Result<Literal> {
        if let Some(tensor) = self
            .storages
            .tensor(self.pickle, callee, arg, shown(path))?
        {
            return Ok(Literal::Tensor(tensor));
        }
        let fail = |what: String| Error::object(shown(path), what);
        let name = match callee {
            Global::Torch(name) => *name,
            Global::Class(name) => return self.enum_value(name, arg, path),
            Global::Storage(name) => return Err(fail(format!("storage `{name}` is called"))),
        };
        let args = self.pickle.items(arg).unwrap_or_default();
        let element = match name {
            "torch.jit._pickle.build_intlist" => Type::Int,
            "torch.jit._pickle.build_doublelist" => Type::Float,
            "torch.jit._pickle.build_boollist" => Type::Bool,
            "torch.jit._pickle.build_tensorlist" => Type::TENSOR,
            "torch.jit._pickle.restore_type_tag" => {
                let [value, tag] = args else {
                    return Err(fail("a type tag has a wrong layout".into()));
                };
                let tag = self.pickle.str(*tag).unwrap_or_default();
                let spelled = parse_type("type tag", tag)?;
                let tagged = types::read(self.library, "type tag", &spelled)?;
                return self.literal(*value, Some(ty.unwrap_or(&tagged)), path);
            }
            "torch.device" => {
                return match args.first().and_then(|id| self.pickle.str(*id)) {
                    Some(device) => Ok(Literal::Device(Sym::new(device))),
                    None => Err(fail("a device without a name".into())),
                };
            }
            other => return Err(fail(format!("`{other}` makes no attribute"))),
        };
        match args {
            [list] => {
                let items = self.pickle.items(*list).unwrap_or_default();
                self.list(items, Some(&element), path)
            }
            _ => Err(fail(format!("`{name}` takes one list"))),
        }
    }

    /// A member of an enum, pickled as its class and bare value.
    fn enum_value(&mut self, class: &str, value: ValueId, path: &mut String) -> Result<Literal> {
        let value = self.literal(value, None, path)?;
        let fail = |what: String| Error::object(shown(path), what);
        let mut scratch = GraphModule::new(Sym::new(class), "");
        let model = match self.model.as_deref_mut() {
            Some(model) => model,
            None => &mut scratch,
        };
        classes::declare(self.library, model, class)?;
        let found = model.classes.get(&Sym::new(class));
        let Some(found) = found.filter(|found| found.kind == ClassKind::Enum) else {
            return Err(fail(format!("class `{class}` is no enum")));
        };
        let member = found.constants.values().find(|member| match member {
            Literal::Object(member) => member.fields.get(&Sym::new("value")) == Some(&value),
            _ => false,
        });
        let member = member.cloned();
        member.ok_or_else(|| fail(format!("enum `{class}` has no member {value:?}")))
    }

    /// An object that is no module: of a native class, or of a script class.
    fn plain_object(&mut self, id: ValueId, path: &mut String) -> Result<Literal> {
        if let Some(known) = self.shared.get(&id) {
            return Ok(known.clone());
        }
        let Some((class, state)) = object(self.pickle, id) else {
            return Err(Error::object(shown(path), "an object without a class"));
        };
        let Some(state) = state else {
            let what = format!("object of class `{class}` has no state");
            return Err(Error::object(shown(path), what));
        };
        let literal = if class.starts_with(packed::NAMESPACE) {
            let state = self.literal(state, None, path)?;
            let packed = packed::rebuild(class, &state)
                .map_err(|what| Error::object(shown(path), format!("class `{class}`: {what}")))?;
            Literal::Packed(Arc::new(packed))
        } else {
            self.script_object(class, state, path)?
        };
        self.shared.insert(id, literal.clone());
        Ok(literal)
    }

    fn script_object(&mut self, class: &str, state: ValueId, path: &mut String) -> Result<Literal> {
        let mut scratch = GraphModule::new(Sym::new(class), "");
        let model = match self.model.as_deref_mut() {
            Some(model) => model,
            None => &mut scratch,
        };
        let sym = Sym::new(class);
        let fields = if classes::declare(self.library, model, class)? {
            model.classes[&sym].fields.clone()
        } else {
            let what = format!("class `{class}` has no code");
            return Err(Error::object(shown(path), what));
        };
        let Pickled::Dict(pairs) = self.pickle.get(state) else {
            let what = format!("`__setstate__` of class `{class}`, which is no module, is not run");
            return Err(Error::object(shown(path), what));
        };
        let mut values = IndexMap::new();
        for (name, value) in pairs {
            let name = self.pickle.str(*name).unwrap_or_default();
            let parent = path.len();
            push(path, name);
            let sym = Sym::new(name);
            values.insert(sym, self.literal(*value, fields.get(&sym), path)?);
            path.truncate(parent);
        }
        Ok(Literal::Object(Arc::new(Object {
            class: sym,
            fields: values,
        })))
    }
}

fn push(path: &mut String, name: &str) {
    if !path.is_empty() {
        path.push('.');
    }
    path.push_str(name);
}

fn shown(path: &str) -> &str {
    if path.is_empty() { "<root>" } else { path }
}
