//! Pickled values that are no modules.

use std::sync::Arc;

use indexmap::IndexMap;
use planish_ir::{ClassKind, GraphModule, Literal, Object, Sym, Type};

use super::{Objects, object, push, shown};
use crate::error::{Error, Result};
use crate::torchscript::code::parse_type;
use crate::torchscript::pickle::{Global, Pickled, ValueId};
use crate::torchscript::{classes, packed, types};

impl Objects<'_, '_, '_> {
    /// The value behind an id. A declared type says what empty lists hold and turns nothing into
    /// anything else.
    pub(super) fn literal(
        &mut self,
        id: ValueId,
        ty: Option<&Type>,
        path: &mut String,
    ) -> Result<Literal> {
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
                let types = types.unwrap_or_else(|| {
                    Arc::new(match out.first() {
                        Some((key, value)) => (key.ty(), value.ty()),
                        None => (Type::Str, Type::TENSOR),
                    })
                });
                Literal::Dict(types, out.into())
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
                let tagged = self.tag(*tag)?;
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

    fn tag(&mut self, id: ValueId) -> Result<Type> {
        if let Some(known) = self.tags.get(&id) {
            return Ok(known.clone());
        }
        let spelled = parse_type("type tag", self.pickle.str(id).unwrap_or_default())?;
        let ty = types::read(self.library, "type tag", &spelled)?;
        self.tags.insert(id, ty.clone());
        Ok(ty)
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
            packed::rebuild(class, &state)
                .map_err(|what| Error::object(shown(path), format!("class `{class}`: {what}")))?
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
