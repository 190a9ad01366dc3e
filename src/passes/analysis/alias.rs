//! Which values may share storage, and which storage is written to.
//!
//! The analysis does not follow the order of operations: values that may share storage at any time are in one class, and a class that
//! anything writes to is written. It is built in one walk, with union-find, and errs on the safe side: the elements of a container are in
//! the container's class, and what an unknown operator is given it may write to and share with anything.

use std::collections::HashSet;

use indexmap::IndexSet;
use petgraph::unionfind::UnionFind;
use planish_ir::entity::EntityId;
use planish_ir::{Effects, Graph, ModuleId, Node, NodeId, Sym, Type, ValueId};

use super::objects::{AttributeMap, Objects, attribute_read, attribute_write};

/// Which values of a graph may share storage, and which storage is written to.
pub struct Aliases {
    classes: Vec<usize>,
    written: Vec<bool>,
    outside: Vec<bool>,
    written_attributes: IndexSet<(ModuleId, Sym)>,
}

impl Aliases {
    /// Analyses a graph. `objects` tells which values are modules; it may be empty for a graph without modules.
    pub fn new(graph: &Graph, objects: &Objects) -> Self {
        let mut builder = Builder::new(graph, objects);
        for node in graph.walk() {
            builder.node(node);
        }
        builder.finish()
    }

    /// The same for who asks what is written to, and not what shares storage with what: nothing where nothing writes.
    pub(crate) fn of_writes(graph: &Graph, objects: &Objects) -> Self {
        let writes = |id: NodeId| {
            let declared = graph.node(id).op().info().effects;
            !declared.changes_nothing() && graph.effects(id) != Effects::Pure
        };
        if graph.walk().any(writes) {
            return Self::new(graph, objects);
        }
        Self {
            classes: Vec::new(),
            written: Vec::new(),
            outside: Vec::new(),
            written_attributes: IndexSet::new(),
        }
    }

    /// Whether the two values may share storage.
    pub fn may_alias(&self, a: ValueId, b: ValueId) -> bool {
        a == b || matches!((self.class(a), self.class(b)), (Some(a), Some(b)) if a == b)
    }

    /// Whether anything may write to the storage of a value.
    pub fn is_written(&self, value: ValueId) -> bool {
        self.class(value).is_some_and(|class| self.written[class])
    }

    /// Whether the storage of a value may be seen from outside the graph: it belongs to a parameter, an attribute or what unknown code
    /// was given.
    pub fn is_outside(&self, value: ValueId) -> bool {
        self.class(value).is_some_and(|class| self.outside[class])
    }

    /// The class of a value; a value that was added since (a constant) shares storage with nothing.
    pub(crate) fn class(&self, value: ValueId) -> Option<usize> {
        self.classes.get(value.index()).copied()
    }

    /// The attributes that are assigned, or whose storage may be written to; in program order, an attribute at most once.
    pub fn written_attributes(&self) -> &IndexSet<(ModuleId, Sym)> {
        &self.written_attributes
    }

    /// Whether nothing in the graph writes to anything.
    pub(crate) fn nothing_is_written(&self) -> bool {
        self.written_attributes.is_empty() && !self.written.contains(&true)
    }

    /// Whether nothing writes to what a node reads, makes or shares: equal inputs then give equal outputs, wherever the node stands.
    pub fn is_stable(&self, graph: &Graph, objects: &Objects, id: NodeId) -> bool {
        let node = graph.node(id);
        let values = || node.inputs().iter().chain(node.outputs());
        values().all(|value| !self.is_written(*value))
            && attribute_read(graph, objects, id)
                .is_none_or(|key| !self.written_attributes.contains(&key))
    }
}

/// Whether values of this type are references to something that can be written to.
pub fn is_mutable(ty: &Type) -> bool {
    match ty {
        Type::Int
        | Type::Float
        | Type::Bool
        | Type::Complex
        | Type::Scalar
        | Type::Str
        | Type::None
        | Type::Device
        | Type::Function(_)
        | Type::Named(_) => false,
        Type::Optional(inner) => is_mutable(inner),
        Type::Tuple(elements) | Type::Union(elements) => elements.iter().any(is_mutable),
        Type::NamedTuple(named) => named.fields.iter().any(|(_, ty)| is_mutable(ty)),
        Type::Tensor(_)
        | Type::Any
        | Type::List(_)
        | Type::Dict(_)
        | Type::Future(_)
        | Type::RRef(_)
        | Type::Await(_)
        | Type::Class(_)
        | Type::Var(_) => true,
    }
}

struct Builder<'a> {
    graph: &'a Graph,
    objects: &'a Objects,
    sets: UnionFind<usize>,
    written: Vec<usize>,
    /// An element for everything that no value of this graph names.
    world: usize,
    /// The attributes that are assigned, or read and may share storage, in program order, each with the element that stands for it.
    attributes: Vec<((ModuleId, Sym), usize)>,
    elements: AttributeMap<usize>,
    assigned: HashSet<(ModuleId, Sym)>,
}

impl<'a> Builder<'a> {
    fn new(graph: &'a Graph, objects: &'a Objects) -> Self {
        let world = graph.value_capacity();
        let mut builder = Self {
            graph,
            objects,
            sets: UnionFind::new(world + 1),
            written: Vec::new(),
            world,
            attributes: Vec::new(),
            elements: AttributeMap::default(),
            assigned: HashSet::new(),
        };
        // Two inputs may be one tensor.
        for param in graph.params() {
            if objects[*param].is_none() {
                builder.unite_with(*param, world);
            }
        }
        builder
    }

    fn node(&mut self, id: NodeId) {
        let node = self.graph.node(id);
        match node.op().name().as_str() {
            "prim::Constant" => {}
            "prim::If" => {
                for block in node.blocks() {
                    let results = self.graph.block(*block).results();
                    for (output, result) in node.outputs().iter().zip(results) {
                        self.unite(*output, *result);
                    }
                }
            }
            "prim::Loop" => self.loop_node(node),
            "prim::GetAttr" => self.get_attr(id, node),
            "prim::SetAttr" => self.set_attr(id, node),
            _ => self.by_declaration(id, node),
        }
    }

    fn loop_node(&mut self, node: Node<'_>) {
        let Some(body) = node.blocks().first().map(|body| self.graph.block(*body)) else {
            return;
        };
        // Inputs: trip count, condition, carried values. Parameters: index, carried. Results: condition, carried.
        for (at, output) in node.outputs().iter().enumerate() {
            for value in [
                node.inputs().get(at + 2),
                body.params().get(at + 1),
                body.results().get(at + 1),
            ]
            .into_iter()
            .flatten()
            {
                self.unite(*output, *value);
            }
        }
    }

    fn get_attr(&mut self, id: NodeId, node: Node<'_>) {
        let output = node.outputs()[0];
        // Most attributes are numbers, which share nothing; one that is assigned is noted there.
        if !is_mutable(self.graph.ty(output)) {
            return;
        }
        match attribute_read(self.graph, self.objects, id) {
            Some(key) => {
                let class = self.attribute(key);
                self.unite_with(output, class);
            }
            None => self.unite(output, node.inputs()[0]),
        }
    }

    fn set_attr(&mut self, id: NodeId, node: Node<'_>) {
        let (object, value) = (node.inputs()[0], node.inputs()[1]);
        if let Some(key) = attribute_write(self.graph, self.objects, id) {
            let class = self.attribute(key);
            self.unite_with(value, class);
            self.assigned.insert(key);
        } else {
            self.unite(value, object);
            self.written.push(object.index());
        }
    }

    fn attribute(&mut self, key: (ModuleId, Sym)) -> usize {
        self.elements.get(key).unwrap_or_else(|| {
            let element = self.sets.new_set();
            self.elements.insert(key, element);
            self.attributes.push((key, element));
            element
        })
    }

    fn by_declaration(&mut self, id: NodeId, node: Node<'_>) {
        let op = node.op();
        if op.info().shares_nothing {
            return;
        }
        // Calls, forks and context managers run code that is not seen here.
        if op.info().effects == Effects::Unknown
            || (op.schema().is_none() && op.info().effects == Effects::SideEffects)
        {
            for value in node.inputs().iter().chain(node.outputs()) {
                self.unite_with(*value, self.world);
            }
            self.written.push(self.world);
            return;
        }
        for (at, value) in node.inputs().iter().enumerate() {
            if self.graph.writes(id, at) {
                self.written.push(value.index());
            }
            for (index, output) in node.outputs().iter().enumerate() {
                if op.may_alias(index, at) {
                    self.unite(*output, *value);
                }
            }
            let param = op.schema().and_then(|schema| schema.params.get(at));
            let alias = param.and_then(|param| param.alias.as_ref());
            if alias.is_some_and(|alias| alias.escapes) {
                // What is stored in a container shares its class; the container is the first parameter.
                self.unite(*value, node.inputs()[0]);
            }
        }
    }

    fn unite(&mut self, a: ValueId, b: ValueId) {
        if is_mutable(self.graph.ty(a)) && is_mutable(self.graph.ty(b)) {
            self.sets.union(a.index(), b.index());
        }
    }

    fn unite_with(&mut self, value: ValueId, class: usize) {
        if is_mutable(self.graph.ty(value)) {
            self.sets.union(value.index(), class);
        }
    }

    fn finish(self) -> Aliases {
        let values = self.world;
        let mut classes = self.sets.into_labeling();
        let mut written = vec![false; classes.len()];
        for element in &self.written {
            written[classes[*element]] = true;
        }
        let mut outside = vec![false; classes.len()];
        let attributes = self.attributes.iter().map(|(_, element)| element);
        for element in attributes.chain([&self.world]) {
            outside[classes[*element]] = true;
        }
        let assigned = self.assigned;
        let written_attributes = self
            .attributes
            .into_iter()
            .filter(|(key, class)| assigned.contains(key) || written[classes[*class]])
            .map(|(key, _)| key)
            .collect();
        classes.truncate(values);
        Aliases {
            classes,
            written,
            outside,
            written_attributes,
        }
    }
}
