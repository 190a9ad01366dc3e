//! Which values may share storage, and which storage is written to.
//!
//! The analysis does not follow the order of operations: values that may share storage at any time are in one class, and a class that
//! anything writes to is written. It is built in one walk, with union-find, and errs on the safe side: the elements of a container are in
//! the container's class, and what an unknown operator is given it may write to and share with anything.

use std::collections::HashMap;

use petgraph::unionfind::UnionFind;
use planish_ir::entity::EntityId;
use planish_ir::{Effects, Graph, ModuleId, Node, NodeId, Sym, Type, ValueId};

use super::objects::{Objects, attribute_read, attribute_write};

/// Which values of a graph may share storage, and which storage is written to.
pub struct Aliases {
    classes: Vec<usize>,
    written: Vec<bool>,
    written_attributes: Vec<(ModuleId, Sym)>,
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

    /// Whether the two values may share storage.
    pub fn may_alias(&self, a: ValueId, b: ValueId) -> bool {
        a == b || matches!((self.class(a), self.class(b)), (Some(a), Some(b)) if a == b)
    }

    /// Whether anything may write to the storage of a value.
    pub fn is_written(&self, value: ValueId) -> bool {
        self.class(value).is_some_and(|class| self.written[class])
    }

    /// The class of a value; a value that was added since (a constant) shares storage with nothing.
    fn class(&self, value: ValueId) -> Option<usize> {
        self.classes.get(value.index()).copied()
    }

    /// The attributes that are assigned, or whose storage may be written to; in program order, an attribute at most once.
    pub fn written_attributes(&self) -> &[(ModuleId, Sym)] {
        &self.written_attributes
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
    attributes: HashMap<(ModuleId, Sym), usize>,
    attribute_order: Vec<((ModuleId, Sym), usize)>,
    assigned: Vec<usize>,
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
            attributes: HashMap::new(),
            attribute_order: Vec::new(),
            assigned: Vec::new(),
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
            "prim::ListConstruct"
            | "prim::TupleConstruct"
            | "prim::DictConstruct"
            | "prim::ListUnpack"
            | "prim::TupleUnpack"
            | "prim::TupleIndex"
            | "prim::TupleSlice"
            | "prim::unchecked_cast"
            | "prim::NumToTensor" => {
                for value in node.inputs() {
                    for output in node.outputs() {
                        self.unite(*output, *value);
                    }
                }
            }
            _ => self.by_schema(node),
        }
    }

    fn loop_node(&mut self, node: &Node) {
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

    fn get_attr(&mut self, id: NodeId, node: &Node) {
        let output = node.outputs()[0];
        match attribute_read(self.graph, self.objects, id) {
            Some(key) => {
                let class = self.attribute(key);
                self.unite_with(output, class);
            }
            None => self.unite(output, node.inputs()[0]),
        }
    }

    fn set_attr(&mut self, id: NodeId, node: &Node) {
        let (object, value) = (node.inputs()[0], node.inputs()[1]);
        match attribute_write(self.graph, self.objects, id) {
            Some(key) => {
                let class = self.attribute(key);
                self.unite_with(value, class);
                self.assigned.push(
                    self.attribute_order
                        .iter()
                        .position(|(at, _)| *at == key)
                        .unwrap_or_default(),
                );
            }
            None => {
                self.unite(value, object);
                self.written.push(object.index());
            }
        }
    }

    fn attribute(&mut self, key: (ModuleId, Sym)) -> usize {
        if let Some(class) = self.attributes.get(&key) {
            return *class;
        }
        let class = self.sets.new_set();
        self.attributes.insert(key, class);
        self.attribute_order.push((key, class));
        class
    }

    fn by_schema(&mut self, node: &Node) {
        let (Some(schema), false) = (
            node.op().schema(),
            node.op().info().effects == Effects::Unknown,
        ) else {
            for value in node.inputs().iter().chain(node.outputs()) {
                self.unite_with(*value, self.world);
            }
            self.written.push(self.world);
            return;
        };
        for (at, value) in node.inputs().iter().enumerate() {
            let alias = schema.params.get(at).and_then(|param| param.alias.as_ref());
            let Some(alias) = alias else { continue };
            if alias.writes {
                self.written.push(value.index());
            }
            if alias.sets.iter().any(|set| *set == "*") {
                // What is stored in a container shares its class; the container is the first parameter.
                let container = node.inputs()[0];
                self.unite(*value, container);
            }
            for (output, returned) in node.outputs().iter().zip(&schema.returns) {
                let shared = |set: &Sym| {
                    returned
                        .alias
                        .as_ref()
                        .is_some_and(|alias| alias.sets.contains(set))
                };
                if alias.sets.iter().any(shared) {
                    self.unite(*output, *value);
                }
            }
        }
        for (output, returned) in node.outputs().iter().zip(&schema.returns) {
            if returned
                .alias
                .as_ref()
                .is_some_and(|alias| alias.sets.iter().any(|set| *set == "*"))
            {
                // What is taken out of a container may be any of its elements.
                for value in node.inputs() {
                    self.unite(*output, *value);
                }
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
        let assigned: std::collections::HashSet<usize> = self.assigned.into_iter().collect();
        let written_attributes = self
            .attribute_order
            .iter()
            .enumerate()
            .filter(|(at, (_, class))| assigned.contains(at) || written[classes[*class]])
            .map(|(_, (key, _))| *key)
            .collect();
        classes.truncate(values);
        Aliases {
            classes,
            written,
            written_attributes,
        }
    }
}
