//! Law of types: what an operator gets and gives is what its schema says.

use crate::schema::Schema;
use crate::{Graph, Node, NodeId, Op, Type};

use super::{Report, structural};

pub(super) fn check(report: &mut Report<'_>, nodes: &[NodeId]) {
    let graph = report.graph;
    for id in nodes {
        let node = graph.node(*id);
        let op = node.op();
        if op.is_structural() {
            structural::check(report, *id);
            continue;
        }
        if !node.blocks().is_empty() && op.schema().is_some() {
            report.node(*id, "an operator with a schema has no blocks");
        }
        match op.schema() {
            Some(schema) => {
                if let Err(reason) = schema.check(input_types(graph, node)) {
                    report.node(*id, reason.to_string());
                }
                check_outputs(report, *id, schema);
            }
            None if !Op::overloads(op.name()).is_empty() => {
                report.node(
                    *id,
                    "no overload of the operator is meant: its inputs fit none",
                );
            }
            // Nobody declared it: it may be anything.
            None => {}
        }
    }
}

fn check_outputs(report: &mut Report<'_>, id: NodeId, schema: &Schema) {
    if schema.varret {
        return;
    }
    let graph = report.graph;
    let node = graph.node(id);
    let outputs = node.outputs();
    if outputs.len() != schema.returns.len() {
        let message = format!(
            "it must have {} outputs, not {}",
            schema.returns.len(),
            outputs.len()
        );
        report.node(id, message);
        return;
    }
    let expected = schema.outputs(input_types(graph, node));
    for (index, (output, expected)) in outputs.iter().zip(expected).enumerate() {
        let found = graph.ty(*output);
        if !may_be(found, &expected) {
            report.node(
                id,
                format!("output {index} must be {expected}, not {found}"),
            );
        }
    }
}

fn input_types<'g>(graph: &'g Graph, node: Node<'g>) -> impl ExactSizeIterator<Item = &'g Type> {
    node.inputs().iter().map(|value| graph.ty(*value))
}

/// Whether an output may be typed `found` where `declared` is declared: as that or as something more exact.
pub(super) fn may_be(found: &Type, declared: &Type) -> bool {
    matches!(declared, Type::Any | Type::Var(_)) || found.is_subtype_of(declared)
}
