//! Law of structure: what is linked is linked both ways, and every live node stands in exactly one block.

use crate::entity::EntityId;
use crate::{BlockId, Def, NodeId, ValueId};

use super::Report;

/// All nodes in program order; `None` when the links are broken, so that nothing else can be checked.
pub(super) fn check(report: &mut Report<'_>) -> Option<Vec<NodeId>> {
    let graph = report.graph;
    let before = report.errors.len();
    let mut met_nodes = vec![false; graph.node_capacity()];
    let mut met_blocks = vec![false; graph.block_capacity()];
    let mut order = Vec::with_capacity(graph.len());
    met_blocks[graph.entry().index()] = true;
    check_block(report, graph.entry(), None);
    let mut stack = vec![(graph.entry(), None, graph.block(graph.entry()).first())];
    while let Some((block, prev, next)) = stack.pop() {
        let Some(node) = next else {
            if graph.block(block).last() != prev {
                report.block(block, "the last node is not the end of the chain of nodes");
            }
            continue;
        };
        if std::mem::replace(&mut met_nodes[node.index()], true) {
            report.node(node, "the node stands in two places");
            continue;
        }
        order.push(node);
        check_node(report, node, block, prev);
        stack.push((block, Some(node), graph.next(node)));
        for nested in graph.node(node).blocks().iter().rev() {
            if std::mem::replace(&mut met_blocks[nested.index()], true) {
                report.block(*nested, "the block is nested twice");
                continue;
            }
            check_block(report, *nested, Some(node));
            stack.push((*nested, None, graph.block(*nested).first()));
        }
    }
    for (index, met) in met_nodes.into_iter().enumerate() {
        let node = NodeId::from_index(index);
        if !met && graph.is_live(node) {
            report.node(node, "the node stands in no block of the graph");
        }
    }
    if order.len() != graph.len() && report.errors.len() == before {
        let message = format!(
            "the graph counts {} nodes and has {}",
            graph.len(),
            order.len()
        );
        report.block(graph.entry(), message);
    }
    (report.errors.len() == before).then_some(order)
}

fn check_node(report: &mut Report<'_>, id: NodeId, block: BlockId, prev: Option<NodeId>) {
    let node = report.graph.node(id);
    if !report.graph.is_live(id) {
        report.node(id, "the node is erased but still stands in a block");
    }
    if report.graph.block_of(id) != block {
        let message = format!(
            "the node stands in {block} and takes itself to stand in {}",
            report.graph.block_of(id)
        );
        report.node(id, message);
    }
    if report.graph.prev(id) != prev {
        report.node(id, "the node before it does not link to it");
    }
    if node.slots().len() != node.inputs().len() {
        report.node(id, "there is not one slot for each input");
    }
    for (index, output) in node.outputs().iter().enumerate() {
        check_definition(report, *output, Def::Output(id, index as u32));
    }
    for (index, input) in node.inputs().iter().enumerate() {
        if report.graph.get_value(*input).is_none() {
            report.node(id, format!("input {index} is a value of another graph"));
        }
    }
}

fn check_block(report: &mut Report<'_>, id: BlockId, parent: Option<NodeId>) {
    let block = report.graph.block(id);
    if block.parent() != parent {
        report.block(
            id,
            "the block is nested in another node than it takes itself to be",
        );
    }
    if block.result_slots.len() != block.results().len() {
        report.block(id, "there is not one slot for each result");
    }
    for (index, param) in block.params().iter().enumerate() {
        check_definition(report, *param, Def::Param(id, index as u32));
    }
    for (index, result) in block.results().iter().enumerate() {
        if report.graph.get_value(*result).is_none() {
            report.block(id, format!("result {index} is a value of another graph"));
        }
    }
}

fn check_definition(report: &mut Report<'_>, value: ValueId, def: Def) {
    match report.graph.get_value(value) {
        Some(found) if found.def() == def => {}
        Some(found) => {
            let message = format!(
                "the value is {} and takes itself to be {}",
                place(def),
                place(found.def())
            );
            report.value(value, message);
        }
        None => report.value(value, "the value belongs to another graph"),
    }
}

fn place(def: Def) -> String {
    match def {
        Def::Output(node, index) => format!("output {index} of {node}"),
        Def::Param(block, index) => format!("parameter {index} of {block}"),
    }
}
