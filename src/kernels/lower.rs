//! From nodes of a graph to the kernels that can run them.
//!
//! [`Lowering::new`] looks at every node once and says how it will run: by kernels, without any (operations on scalars, lists and shapes,
//! and views of tensors), or, for want of a kernel, by the reference evaluator, with the reason. The answer is a pure function of the
//! module, so it can be asked after every pass: what a kernel needs (channels, window, groups) is found through attributes before they
//! are frozen, and through constants afterwards.

mod facts;
mod nodes;

use indexmap::IndexSet;
use planish_ir::{GraphModule, MethodId, NodeId, SecondaryMap};

use crate::KernelSpec;

pub use nodes::spec_of;

/// How the nodes of a method run.
pub struct Lowering {
    of: SecondaryMap<NodeId, Option<Lowered>>,
}

/// How a node runs.
#[derive(Clone, Debug, PartialEq)]
pub enum Lowered {
    /// By kernels: the first computes the outputs, the others may be needed to bring inputs into its layout.
    Kernels(Vec<KernelSpec>),
    /// By the reference evaluator, since no kernel does it; the reason in words.
    Fallback(String),
}

impl Lowering {
    /// Lowers the nodes of a method of the root.
    pub fn new(module: &GraphModule, method: MethodId) -> Self {
        let graph = &module.method(method).graph;
        let facts = facts::Facts::new(module, graph);
        let mut of = SecondaryMap::new();
        for node in graph.walk() {
            of[node] = nodes::lower(graph, &facts, node);
        }
        Self { of }
    }

    /// How a node runs; `None` for a node that moves no tensor elements.
    pub fn of(&self, node: NodeId) -> Option<&Lowered> {
        self.of[node].as_ref()
    }
}

/// The kernels that the given methods need, in program order.
pub fn needs(module: &GraphModule, methods: &[MethodId]) -> IndexSet<KernelSpec> {
    let mut needed = IndexSet::new();
    for method in methods {
        let lowering = Lowering::new(module, *method);
        for node in module.method(*method).graph.walk() {
            if let Some(Lowered::Kernels(specs)) = lowering.of(node) {
                needed.extend(specs.iter().copied());
            }
        }
    }
    needed
}
