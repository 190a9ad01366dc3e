//! Who calls whom.

use std::fmt;
use std::sync::Arc;

use petgraph::Direction;
use petgraph::algo::{kosaraju_scc, toposort};
use petgraph::graph::{DiGraph, NodeIndex};

use crate::{Attr, Graph, GraphModule, Literal, MethodId, NodeId, SecondaryMap, Type};

/// The methods and functions of a model; an edge leads from a caller to what it calls.
///
/// A call of a method of an interface is no edge: what it calls is known only where the module is known.
#[derive(Clone, Debug)]
pub struct CallGraph {
    graph: DiGraph<MethodId, ()>,
    nodes: SecondaryMap<MethodId, Option<NodeIndex>>,
}

/// Methods that call each other in a circle, by qualified name: each calls the next, the last calls the first.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Recursion {
    /// The methods.
    pub cycle: Vec<String>,
}

impl CallGraph {
    /// The calls of every method and function that a class or the list of functions names, and of what these call.
    pub fn new(module: &GraphModule) -> Self {
        let mut calls = Self {
            graph: DiGraph::new(),
            nodes: SecondaryMap::new(),
        };
        let mut next = module.named_methods();
        for method in &next {
            calls.node(*method);
        }
        // From the end, so that the first one is met first.
        next.reverse();
        while let Some(caller) = next.pop() {
            let from = calls.node(caller);
            for callee in callees(module, &module.method(caller).graph) {
                let is_new = calls.nodes[callee].is_none();
                let to = calls.node(callee);
                calls.graph.update_edge(from, to, ());
                if is_new {
                    next.push(callee);
                }
            }
        }
        calls
    }

    /// What a method calls, each once.
    pub fn callees(&self, method: MethodId) -> Vec<MethodId> {
        self.neighbors(method, Direction::Outgoing)
    }

    /// What calls a method, each once.
    pub fn callers(&self, method: MethodId) -> Vec<MethodId> {
        self.neighbors(method, Direction::Incoming)
    }

    /// All methods, each after those that it calls. Fails when methods call each other in a circle.
    pub fn bottom_up(&self, module: &GraphModule) -> Result<Vec<MethodId>, Recursion> {
        match toposort(&self.graph, None) {
            Ok(order) => Ok(order.into_iter().rev().map(|at| self.graph[at]).collect()),
            Err(_) => Err(self.recursion(module)),
        }
    }

    /// A circle of calls, given that there is one.
    fn recursion(&self, module: &GraphModule) -> Recursion {
        // Kosaraju's algorithm and not Tarjan's: petgraph's takes one stack frame for each call on the way.
        let circle = kosaraju_scc(&self.graph)
            .into_iter()
            .find(|part| part.len() > 1 || self.graph.contains_edge(part[0], part[0]));
        let circle = circle.unwrap_or_default();
        // From any method of the component a walk inside it comes back to where it was.
        let mut path: Vec<NodeIndex> = circle.first().copied().into_iter().collect();
        while let Some(last) = path.last() {
            let Some(next) = self
                .graph
                .neighbors(*last)
                .find(|next| circle.contains(next))
            else {
                break;
            };
            if let Some(start) = path.iter().position(|at| *at == next) {
                path.drain(..start);
                break;
            }
            path.push(next);
        }
        let names = path.into_iter();
        Recursion {
            cycle: names
                .map(|at| module.qualified_name(self.graph[at]))
                .collect(),
        }
    }

    fn neighbors(&self, method: MethodId, direction: Direction) -> Vec<MethodId> {
        let Some(node) = self.nodes[method] else {
            return Vec::new();
        };
        let mut found: Vec<_> = self
            .graph
            .neighbors_directed(node, direction)
            .map(|at| self.graph[at])
            .collect();
        // petgraph lists the newest first.
        found.reverse();
        found
    }

    fn node(&mut self, method: MethodId) -> NodeIndex {
        *self.nodes[method].get_or_insert_with(|| self.graph.add_node(method))
    }
}

impl GraphModule {
    /// The method or function that a `prim::CallMethod` or `prim::CallFunction` calls.
    ///
    /// `None` for other nodes, for methods of interfaces, and for what the model does not have.
    pub fn callee(&self, graph: &Graph, call: NodeId) -> Option<MethodId> {
        let node = graph.node(call);
        let first = *node.inputs().first()?;
        if node.op().is("prim::CallMethod") {
            let Type::Class(class) = graph.ty(first) else {
                return None;
            };
            let name = node.name_attr()?;
            return self.classes.get(class)?.methods.get(&name).copied();
        }
        if !node.op().is("prim::CallFunction") {
            return None;
        }
        let name = match (graph.constant(first), graph.ty(first)) {
            (Some(Literal::Function(name)), _) | (_, Type::Function(name)) => Some(name),
            _ => None,
        };
        self.functions.get(name?).copied()
    }
}

/// What a graph, and the graphs that its nodes carry, call, in program order.
fn callees(module: &GraphModule, graph: &Graph) -> Vec<MethodId> {
    let mut found = Vec::new();
    let mut carried: Vec<Arc<Graph>> = Vec::new();
    let mut visit = |graph: &Graph, carried: &mut Vec<Arc<Graph>>| {
        for node in graph.walk() {
            found.extend(module.callee(graph, node));
            carried.extend(graph.node(node).attrs().filter_map(|(_, attr)| match attr {
                Attr::Graph(graph) => Some(graph.clone()),
                _ => None,
            }));
        }
    };
    visit(graph, &mut carried);
    while let Some(graph) = carried.pop() {
        visit(&graph, &mut carried);
    }
    found
}

impl fmt::Display for Recursion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(first) = self.cycle.first() else {
            return f.write_str("order methods that call each other in a circle");
        };
        write!(f, "order methods that call each other in a circle: ")?;
        for name in &self.cycle {
            write!(f, "`{name}` calls ")?;
        }
        write!(f, "`{first}`")
    }
}

impl std::error::Error for Recursion {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::At;
    use crate::Op;
    use crate::Sym;

    /// A model with methods of these names, each calling the methods after it.
    fn model(methods: &[(&str, &[&str])]) -> GraphModule {
        let class = Sym::new("__torch__.CallNet");
        let mut model = GraphModule::new(class, "test");
        for (name, callees) in methods {
            let mut graph = Graph::new();
            let entry = graph.entry();
            let this = graph.add_param(entry, Type::Class(class));
            for callee in *callees {
                let (op, input) = if callee.contains('.') {
                    let function = Literal::Function(Sym::new(callee));
                    let function = graph.insert_constant(At::End(entry), function);
                    ("prim::CallFunction", function)
                } else {
                    ("prim::CallMethod", this)
                };
                let call = graph.insert(At::End(entry), Op::of(op), &[input], [Type::TENSOR]);
                graph.set_attr(call, "name", Literal::str(callee));
            }
            let params = vec![(Sym::new("self"), None)];
            if name.contains('.') {
                model.add_function(Sym::new(name), params, graph);
            } else {
                model.add_method(class, Sym::new(name), params, graph);
            }
        }
        model
    }

    fn names(model: &GraphModule, methods: &[MethodId]) -> Vec<String> {
        let name = |id: &MethodId| model.method(*id).name.to_string();
        methods.iter().map(name).collect()
    }

    #[test]
    fn callees_come_before_their_callers() {
        let model = model(&[
            ("forward", &["b", "a", "b", "lib.f"]),
            ("a", &["b"]),
            ("b", &[]),
            ("lib.f", &[]),
        ]);
        let calls = CallGraph::new(&model);
        let order = calls.bottom_up(&model).expect("no circle");
        let order = names(&model, &order);
        let at = |name: &str| order.iter().position(|found| found == name);
        assert_eq!(order.len(), 4);
        assert!(at("b") < at("a") && at("a") < at("forward") && at("lib.f") < at("forward"));
        let forward = model.root_method("forward").expect("declared");
        let b = model.root_method("b").expect("declared");
        assert_eq!(names(&model, &calls.callees(forward)), ["b", "a", "lib.f"]);
        assert_eq!(names(&model, &calls.callers(b)), ["forward", "a"]);
    }

    #[test]
    fn a_circle_is_named() {
        let circle = model(&[("forward", &["a"]), ("a", &["b"]), ("b", &["a"])]);
        let error = CallGraph::new(&circle)
            .bottom_up(&circle)
            .expect_err("a circle");
        let mut cycle = error.cycle.clone();
        cycle.sort();
        assert_eq!(cycle, ["__torch__.CallNet.a", "__torch__.CallNet.b"]);
        let own = model(&[("forward", &["forward"])]);
        let error = CallGraph::new(&own).bottom_up(&own).expect_err("a circle");
        assert!(
            error
                .to_string()
                .ends_with("`__torch__.CallNet.forward` calls `__torch__.CallNet.forward`"),
            "{error}"
        );
    }
}
