//! Pickled objects to modules and literals.
//!
//! A module's state is a dictionary of all its attributes. A state of any other shape is what the
//! class's `__getstate__` returned: it waits as a [`Restore`] until `__setstate__` can be run.

mod values;

use std::collections::HashMap;

use planish_ir::{GraphModule, Literal, ModuleId, Sym, SymMap, Type};

use super::classes;
use super::code::ast::Base;
use super::library::Library;
use super::pickle::{Global, Pickle, Pickled, ValueId};
use super::tensors::Storages;
use super::zip::Archive;
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
        tags: HashMap::new(),
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
        tags: HashMap::new(),
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
    /// Types that tags spell: thousands of lists may share one tag.
    tags: HashMap<ValueId, Type>,
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
            if self.has(module, Sym::new(name)) {
                return Err(fail(path, format!("attribute `{name}` has two values")));
            }
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

    fn has(&self, module: ModuleId, name: Sym) -> bool {
        self.model.as_deref().is_some_and(|model| {
            model.module(module).attrs.contains_key(&name)
                || model.submodule(module, name).is_some()
        })
    }

    fn check_complete(&self, module: ModuleId, fields: &SymMap<Type>, path: &str) -> Result<()> {
        match fields.keys().find(|name| !self.has(module, **name)) {
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
