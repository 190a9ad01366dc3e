//! Classes that nothing speaks of any more: a script class, named tuple, enum or interface that no value of what is kept has to do with.

use std::collections::HashSet;

use foldhash::fast::FixedState;
use planish_ir::{Attr, Class, ClassKind, Graph, GraphModule, Literal, Sym, Type, ValueId};

/// Removes them. Classes of modules are for others to remove.
pub(super) fn remove_unspoken(module: &mut GraphModule) {
    if !module.classes.values().any(may_go) {
        return;
    }
    let mut spoken = Spoken::default();
    for class in module.classes.values().filter(|class| !may_go(class)) {
        spoken.of_class(module, class);
    }
    for id in module.functions.values() {
        spoken.of_graph(&module.method(*id).graph);
    }
    for inner in module.modules() {
        let attrs = module.module(inner).attrs.values();
        attrs.for_each(|literal| spoken.of_literal(literal));
    }
    // What a named tuple holds, and what methods of objects do, too.
    while let Some(name) = spoken.new.pop() {
        if let Some(class) = module.classes.get(&name) {
            spoken.of_class(module, class);
        }
    }
    let spoken = spoken.all;
    let classes = &mut module.classes;
    classes.retain(|name, class| !may_go(class) || spoken.contains(name));
}

fn may_go(class: &Class) -> bool {
    match class.kind {
        ClassKind::Script | ClassKind::NamedTuple | ClassKind::Enum | ClassKind::Interface => true,
        ClassKind::Module => false,
    }
}

/// The names of classes that were met.
#[derive(Default)]
struct Spoken {
    all: HashSet<Sym, FixedState>,
    /// Those whose fields have not been looked at.
    new: Vec<Sym>,
}

impl Spoken {
    fn of_class(&mut self, module: &GraphModule, class: &Class) {
        class.fields.values().for_each(|ty| self.of_type(ty));
        let constants = class.constants.values();
        constants.for_each(|literal| self.of_literal(literal));
        for id in class.methods.values() {
            self.of_graph(&module.method(*id).graph);
        }
    }

    fn of_graph(&mut self, graph: &Graph) {
        self.of_values(graph, graph.params());
        for id in graph.walk() {
            let node = graph.node(id);
            self.of_values(graph, node.outputs());
            for block in node.blocks() {
                self.of_values(graph, graph.block(*block).params());
            }
            for (_, attr) in node.attrs() {
                match attr {
                    Attr::Literal(literal) => self.of_literal(literal),
                    Attr::Type(ty) => self.of_type(ty),
                    Attr::Types(types) => types.iter().for_each(|ty| self.of_type(ty)),
                    Attr::Graph(graph) => self.of_graph(graph),
                }
            }
        }
    }

    fn of_values(&mut self, graph: &Graph, values: &[ValueId]) {
        for value in values {
            self.of_type(graph.ty(*value));
        }
    }

    fn of_literal(&mut self, literal: &Literal) {
        match literal {
            Literal::Object(object) => {
                self.name(object.class);
                object
                    .fields
                    .values()
                    .for_each(|field| self.of_literal(field));
            }
            Literal::List(element, elements) => {
                self.of_type(element);
                if !is_scalar(element) {
                    elements.iter().for_each(|element| self.of_literal(element));
                }
            }
            Literal::Tuple(elements) => {
                elements.iter().for_each(|element| self.of_literal(element));
            }
            Literal::Dict(types, entries) => {
                self.of_type(&types.0);
                self.of_type(&types.1);
                for (key, value) in entries.iter() {
                    self.of_literal(key);
                    self.of_literal(value);
                }
            }
            _ => {}
        }
    }

    fn of_type(&mut self, ty: &Type) {
        match ty {
            Type::Class(name) => self.name(*name),
            Type::NamedTuple(named) => {
                self.name(named.name);
                named.fields.iter().for_each(|(_, ty)| self.of_type(ty));
            }
            Type::Optional(inner)
            | Type::List(inner)
            | Type::Future(inner)
            | Type::RRef(inner)
            | Type::Await(inner) => self.of_type(inner),
            Type::Tuple(elements) | Type::Union(elements) => {
                elements.iter().for_each(|ty| self.of_type(ty));
            }
            Type::Dict(entry) => {
                self.of_type(&entry.0);
                self.of_type(&entry.1);
            }
            _ => {}
        }
    }

    fn name(&mut self, name: Sym) {
        if self.all.insert(name) {
            self.new.push(name);
        }
    }
}

/// Whether values of this type speak of nothing; of these there may be many.
fn is_scalar(ty: &Type) -> bool {
    matches!(ty, Type::Int | Type::Float | Type::Bool | Type::Str)
}
