//! Law of uses: use lists and operands mirror each other.

use crate::entity::EntityId;
use crate::{NodeId, Use, ValueId};

use super::Report;

pub(super) fn check(report: &mut Report<'_>, nodes: &[NodeId]) {
    let graph = report.graph;
    // How many entries of each use list an operand accounts for.
    let mut found = vec![0_usize; graph.value_capacity()];
    let mut blocks = vec![graph.entry()];
    for id in nodes {
        let node = graph.node(*id);
        blocks.extend(node.blocks());
        for (index, (value, slot)) in node.inputs().iter().zip(node.slots()).enumerate() {
            let at = Use::Input(*id, index as u32);
            if is_listed(report, *value, *slot, at) {
                found[value.index()] += 1;
            } else {
                let message = format!("input {index} does not stand in the value's use list");
                report.node(*id, message);
            }
        }
    }
    for id in blocks {
        let block = graph.block(id);
        for (index, (value, slot)) in block.results().iter().zip(&block.result_slots).enumerate() {
            let at = Use::Result(id, index as u32);
            if is_listed(report, *value, *slot, at) {
                found[value.index()] += 1;
            } else {
                let message = format!("result {index} does not stand in the value's use list");
                report.block(id, message);
            }
        }
    }
    // Every operand has a slot of its own, so a use list that is longer holds entries that are no uses.
    for (index, found) in found.into_iter().enumerate() {
        let value = ValueId::from_index(index);
        let listed = graph.value(value).uses();
        if listed.len() != found {
            let message = format!(
                "the use list has {} entries for {found} uses: {}",
                listed.len(),
                entries(listed)
            );
            report.value(value, message);
        }
    }
}

fn is_listed(report: &Report<'_>, value: ValueId, slot: u32, at: Use) -> bool {
    report.graph.value(value).uses().get(slot as usize) == Some(&at)
}

fn entries(uses: &[Use]) -> String {
    let place = |at: &Use| match at {
        Use::Input(node, index) => format!("input {index} of {node}"),
        Use::Result(block, index) => format!("result {index} of {block}"),
    };
    uses.iter().map(place).collect::<Vec<_>>().join(", ")
}
