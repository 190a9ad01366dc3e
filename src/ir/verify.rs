//! Checks the laws of graphs and modules, and reports every breach.
//!
//! Laws of a graph:
//! - *structure*: blocks and nodes are linked both ways, every live node stands in exactly one block, definitions know where they stand;
//! - *uses*: every use of a value stands in its use list exactly once, and every entry of a use list is a use;
//! - *dominance*: a definition dominates its uses;
//! - *types*: inputs and outputs are as many and of such types as the operator's schema says, or the rule of a structural operator.
//!
//! Laws of a module: a method's `self` is of the method's class, attributes that are read or written are fields of their class, and
//! methods that are called exist.
//!
//! Every check is linear in the size of the graph. [`Verified`] is the proof that a module was checked; who relies on the laws asks for it.

mod dominance;
mod methods;
mod structural;
mod structure;
mod types;
mod uses;

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use crate::{
    Attr, BlockId, Graph, GraphModule, Literal, MethodId, ModuleId, NodeId, Sym, Type, ValueId,
};

/// A module whose laws were checked and hold.
#[derive(Clone, Copy, Debug)]
pub struct Verified<'a>(&'a GraphModule);

/// A breach of a law.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VerifyError {
    /// Qualified name of the method; empty when a graph was checked alone.
    pub method: String,
    /// What breaks the law.
    pub entity: Entity,
    /// The node of the method's graph that carries the graph that `entity` is of; `None` when it is of the method's own.
    pub carrier: Option<NodeId>,
    /// The same as text.
    pub printed: String,
    /// How it breaks the law.
    pub message: String,
}

/// What an error is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Entity {
    /// A node.
    Node(NodeId),
    /// A value.
    Value(ValueId),
    /// A block.
    Block(BlockId),
    /// A method or function.
    Method(MethodId),
    /// A module.
    Module(ModuleId),
}

/// Checks every module and every method and function that a class or the list of functions names.
pub fn verify(module: &GraphModule) -> Result<Verified<'_>, Vec<VerifyError>> {
    let errors = methods::check(module);
    if errors.is_empty() {
        Ok(Verified(module))
    } else {
        Err(errors)
    }
}

/// Checks one graph.
pub fn verify_graph(graph: &Graph) -> Result<(), Vec<VerifyError>> {
    let errors = graph_errors(graph, "");
    if errors.is_empty() {
        Ok(())
    } else {
        Err(errors)
    }
}

/// Every error of a graph and of the graphs that its nodes carry.
fn graph_errors(graph: &Graph, method: &str) -> Vec<VerifyError> {
    let mut errors = Vec::new();
    let mut carried: Vec<(NodeId, Arc<Graph>)> = Vec::new();
    check(graph, method, &mut errors, |node, graph| {
        carried.push((node, graph));
    });
    while let Some((carrier, graph)) = carried.pop() {
        let known = errors.len();
        check(&graph, method, &mut errors, |_, graph| {
            carried.push((carrier, graph));
        });
        for error in &mut errors[known..] {
            error.carrier = Some(carrier);
        }
    }
    errors
}

fn check(
    graph: &Graph,
    method: &str,
    errors: &mut Vec<VerifyError>,
    mut carries: impl FnMut(NodeId, Arc<Graph>),
) {
    let mut report = Report {
        graph,
        method,
        errors,
    };
    // The other checks walk the graph; a walk over broken links need not end.
    let Some(nodes) = structure::check(&mut report) else {
        return;
    };
    uses::check(&mut report, &nodes);
    dominance::check(&mut report, &nodes);
    types::check(&mut report, &nodes);
    for node in nodes {
        for (_, attr) in graph.node(node).attrs() {
            if let Attr::Graph(graph) = attr {
                carries(node, graph.clone());
            }
        }
    }
}

/// Where the checks of one graph put what they find.
struct Report<'a> {
    graph: &'a Graph,
    method: &'a str,
    errors: &'a mut Vec<VerifyError>,
}

impl Report<'_> {
    fn node(&mut self, node: NodeId, message: impl Into<String>) {
        self.push(Entity::Node(node), print_node(self.graph, node), message);
    }

    fn value(&mut self, value: ValueId, message: impl Into<String>) {
        self.push(
            Entity::Value(value),
            print_value(self.graph, value),
            message,
        );
    }

    fn block(&mut self, block: BlockId, message: impl Into<String>) {
        self.push(Entity::Block(block), block.to_string(), message);
    }

    fn push(&mut self, entity: Entity, printed: String, message: impl Into<String>) {
        self.errors.push(VerifyError {
            method: self.method.to_owned(),
            entity,
            carrier: None,
            printed,
            message: message.into(),
        });
    }
}

/// `%3 : T, %y : T = ns::name[attr="…"](%x, %2)`: what can be said of a node in a graph whose laws need not hold.
fn print_node(graph: &Graph, node: NodeId) -> String {
    let node = graph.node(node);
    let outputs = node.outputs().iter().map(|value| {
        let ty = graph
            .get_value(*value)
            .map_or(&Type::Any, |value| value.ty());
        format!("{} : {ty}", print_value(graph, *value))
    });
    let inputs = node.inputs().iter().map(|value| print_value(graph, *value));
    let attrs: Vec<_> = node
        .attrs()
        .map(|(name, attr)| print_attr(name, attr))
        .collect();
    let attrs = if attrs.is_empty() {
        String::new()
    } else {
        format!("[{}]", attrs.join(", "))
    };
    let loc = node
        .loc()
        .map(|loc| format!(" # {loc}"))
        .unwrap_or_default();
    format!(
        "{} = {}{attrs}({}){loc}",
        outputs.collect::<Vec<_>>().join(", "),
        node.op(),
        inputs.collect::<Vec<_>>().join(", ")
    )
}

/// Scalars in full; a payload may be as large as a model.
fn print_attr(name: Sym, attr: &Attr) -> String {
    match attr {
        Attr::Literal(
            value @ (Literal::Bool(_) | Literal::Int(_) | Literal::Float(_) | Literal::Str(_)),
        ) => format!("{name}={value}"),
        Attr::Type(ty) => format!("{name}={ty}"),
        _ => format!("{name}=…"),
    }
}

fn print_value(graph: &Graph, value: ValueId) -> String {
    let known = graph.get_value(value);
    match known.and_then(crate::Value::name) {
        Some(name) => format!("%{name}"),
        None => value.to_string(),
    }
}

impl<'a> Verified<'a> {
    /// The module.
    pub fn module(self) -> &'a GraphModule {
        self.0
    }
}

impl Deref for Verified<'_> {
    type Target = GraphModule;

    fn deref(&self) -> &GraphModule {
        self.0
    }
}

impl fmt::Display for VerifyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.method.is_empty() {
            write!(f, "{}: ", self.method)?;
        }
        write!(f, "{}: {}", self.printed.trim(), self.message)
    }
}

impl std::error::Error for VerifyError {}

#[cfg(test)]
mod tests;
