//! Which values are modules, and which attributes of which module a graph reads.

use std::collections::HashMap;

use foldhash::fast::FixedState;
use planish_ir::{Graph, GraphModule, Literal, ModuleId, NodeId, SecondaryMap, Sym, Type, ValueId};

/// The module that each value of a graph is, for the values that are modules.
pub type Objects = SecondaryMap<ValueId, Option<ModuleId>>;

/// Notes on attributes, module by module: what a graph reads together stands together, however many modules there are.
#[derive(Clone, Debug)]
pub(crate) struct AttributeMap<V> {
    /// How many of a module's attributes stand among `near`, and where the last of them does.
    modules: SecondaryMap<ModuleId, (u32, u32)>,
    /// The first attributes of each module that were noted, each with the place of the one before.
    near: Vec<(Sym, V, u32)>,
    /// The further ones of modules that have many.
    far: HashMap<(ModuleId, Sym), V, FixedState>,
}

impl<V: Copy> AttributeMap<V> {
    /// Attributes that are found by looking at one after another.
    const NEAR: u32 = 16;

    /// What was noted of an attribute.
    pub(crate) fn get(&self, (owner, name): (ModuleId, Sym)) -> Option<V> {
        let (near, mut at) = self.modules[owner];
        for _ in 0..near {
            let (known, note, before) = self.near[at as usize];
            if known == name {
                return Some(note);
            }
            at = before;
        }
        let further = || self.far.get(&(owner, name)).copied();
        (near == Self::NEAR).then(further).flatten()
    }

    /// Notes something of an attribute of which nothing was noted.
    pub(crate) fn insert(&mut self, (owner, name): (ModuleId, Sym), note: V) {
        let (near, last) = &mut self.modules[owner];
        if *near < Self::NEAR {
            self.near.push((name, note, *last));
            (*near, *last) = (*near + 1, self.near.len() as u32 - 1);
        } else {
            self.far.insert((owner, name), note);
        }
    }
}

impl<V: Clone> Default for AttributeMap<V> {
    fn default() -> Self {
        Self {
            modules: SecondaryMap::new(),
            near: Vec::new(),
            far: HashMap::default(),
        }
    }
}

/// Follows the attribute reads from the first parameter of a method of `owner`.
pub fn objects(module: &GraphModule, owner: ModuleId, graph: &Graph) -> Objects {
    let mut objects = Objects::with_capacity(None, graph.value_capacity());
    // A graph on its own, without a module, has no such parameter.
    if let Some(this) = graph
        .params()
        .first()
        .filter(|this| is_module(graph, **this))
    {
        objects[*this] = Some(owner);
    }
    for node in graph.walk() {
        let Some((object, name)) = attribute_read(graph, &objects, node) else {
            continue;
        };
        objects[graph.output(node)] = module.submodule(object, name);
    }
    objects
}

/// Whether a parameter is of a type that a module may have.
pub fn is_module(graph: &Graph, param: ValueId) -> bool {
    matches!(graph.ty(param), Type::Class(_) | Type::Any)
}

/// The module and the name of the attribute that a `prim::GetAttr` reads.
pub fn attribute_read(graph: &Graph, objects: &Objects, node: NodeId) -> Option<(ModuleId, Sym)> {
    attribute(graph, objects, node, "prim::GetAttr")
}

/// The module and the name of the attribute that a `prim::SetAttr` writes.
pub fn attribute_write(graph: &Graph, objects: &Objects, node: NodeId) -> Option<(ModuleId, Sym)> {
    attribute(graph, objects, node, "prim::SetAttr")
}

/// The value of the attribute that `value` was read from, when it is an attribute that is not a module.
pub fn attribute_value<'a>(
    module: &'a GraphModule,
    graph: &Graph,
    objects: &Objects,
    value: ValueId,
) -> Option<&'a Literal> {
    let (object, name) = attribute_read(graph, objects, graph.producer(value)?)?;
    module.module(object).attrs.get(&name)
}

fn attribute(graph: &Graph, objects: &Objects, node: NodeId, op: &str) -> Option<(ModuleId, Sym)> {
    let node = graph.node(node);
    if !node.op().is(op) {
        return None;
    }
    let object = objects[*node.inputs().first()?]?;
    Some((object, node.name_attr()?))
}
