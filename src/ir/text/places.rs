//! Where things stand in the text of a module, so that a breach of a law is shown in its line.

use std::collections::HashMap;
use std::ops::Range;

use crate::diag::{Diagnostic, Diagnostics};
use crate::entity::EntityId;
use crate::verify::{Entity, VerifyError};
use crate::{Def, Graph, GraphModule, MethodId, NodeId, ValueId};

/// Bytes of the text that each method and each of its nodes is written in.
#[derive(Default)]
pub(super) struct Places(HashMap<MethodId, GraphPlaces>);

/// Bytes of the text that a graph is written in.
#[derive(Default)]
pub(super) struct GraphPlaces {
    /// Its name, or the word `graph`.
    pub(super) head: Range<usize>,
    /// Its nodes, by their ids; those that a node carries a graph for are one with it.
    pub(super) nodes: Vec<Range<usize>>,
}

impl Places {
    pub(super) fn insert(&mut self, method: MethodId, places: GraphPlaces) {
        self.0.insert(method, places);
    }

    /// The breaches of a module that was read from `text`, at their places.
    pub(super) fn diagnose(
        &self,
        text: &str,
        module: &GraphModule,
        breaches: &[VerifyError],
    ) -> Diagnostics {
        let methods: HashMap<String, MethodId> = module
            .named_methods()
            .into_iter()
            .map(|id| (module.qualified_name(id), id))
            .collect();
        let list = breaches.iter().map(|breach| {
            let method = match breach.entity {
                Entity::Method(id) => Some(id),
                _ => methods.get(&breach.method).copied(),
            };
            let span = method.and_then(|method| {
                let places = self.0.get(&method)?;
                Some(places.of(&module.method(method).graph, breach))
            });
            let fault = Diagnostic::new(text, span.clone().unwrap_or_default(), &breach.message);
            match breach.entity {
                // The line does not name them, and of a graph that a node carries it is not the line.
                _ if span.is_none() || breach.carrier.is_some() => {
                    fault.note(breach.printed.trim())
                }
                Entity::Value(_) | Entity::Block(_) => fault.note(breach.printed.trim()),
                _ => fault,
            }
        });
        Diagnostics {
            file: "<text>".to_owned(),
            list: list.collect(),
        }
    }
}

impl GraphPlaces {
    /// Where the entity of a breach stands in the method that has it.
    fn of(&self, graph: &Graph, breach: &VerifyError) -> Range<usize> {
        let node = match (breach.carrier, breach.entity) {
            (Some(carrier), _) => Some(carrier),
            (None, Entity::Node(node)) => Some(node),
            (None, Entity::Value(value)) => defining(graph, value),
            (None, Entity::Block(block)) => graph.block(block).parent(),
            (None, Entity::Method(_) | Entity::Module(_)) => None,
        };
        let place = node.and_then(|node| self.nodes.get(node.index()));
        place.unwrap_or(&self.head).clone()
    }
}

/// The node that a value comes from, or that has the block whose parameter it is.
fn defining(graph: &Graph, value: ValueId) -> Option<NodeId> {
    match graph.value(value).def() {
        Def::Output(node, _) => Some(node),
        Def::Param(block, _) => graph.block(block).parent(),
    }
}
