//! Law of dominance: a definition stands before its uses, in the same block or in a block around them.

use crate::{NodeId, ProgramOrder, ValueId};

use super::{Report, print_value};

pub(super) fn check(report: &mut Report<'_>, nodes: &[NodeId]) {
    let graph = report.graph;
    let order = ProgramOrder::new(graph);
    let mut blocks = vec![graph.entry()];
    for id in nodes {
        let node = graph.node(*id);
        blocks.extend(node.blocks());
        for value in node.inputs() {
            if !order.reaches(graph, *value, *id) {
                report.node(*id, undefined(report, *value));
            }
        }
    }
    for id in blocks {
        for value in graph.block(id).results() {
            if !order.reaches_end(graph, *value, id) {
                let message = format!("as a result, {}", undefined(report, *value));
                report.block(id, message);
            }
        }
    }
}

fn undefined(report: &Report<'_>, value: ValueId) -> String {
    format!(
        "{} is not defined on every way to here",
        print_value(report.graph, value)
    )
}
