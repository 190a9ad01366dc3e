//! `dce`: removes operations whose outputs nobody reads and which do nothing else.
//!
//! Outputs of `prim::If` that nobody reads are removed with the branches' results; values that a `prim::Loop` carries round without
//! anybody reading them are removed likewise. An operation that writes, raises, prints or is unknown stays.
//!
//! ```text
//! before: %1 : Tensor = aten::relu(%x)
//!         return (%x)
//! after:  return (%x)
//! ```

use planish_ir::{Effects, Graph, GraphModule, NodeId};

use crate::pass::{Changed, Pass, PassCx, PassError};

/// The pass.
#[derive(Clone, Copy, Debug, Default)]
pub struct Dce;

impl Pass for Dce {
    fn name(&self) -> &'static str {
        "dce"
    }

    fn doc(&self) -> &'static str {
        "removes operations whose outputs nobody reads"
    }

    fn run(&self, module: &mut GraphModule, _: &mut PassCx<'_>) -> Result<Changed, PassError> {
        let methods = module.root_methods();
        Ok(Changed(
            methods
                .into_iter()
                .map(|(_, id)| eliminate_dead_code(&mut module.method_mut(id).graph))
                .sum(),
        ))
    }
}

/// Removes dead operations; returns how many.
pub(crate) fn eliminate_dead_code(graph: &mut Graph) -> usize {
    let before = graph.len();
    // In reverse program order, so that one walk removes whole chains. A loop's carried value can die only after its body was walked,
    // and its death can make more of the body dead: hence the outer repetition, which ends when nothing was removed.
    loop {
        let at_start = graph.len();
        for node in graph.walk().into_iter().rev() {
            if !graph.is_live(node) {
                continue;
            }
            drop_dead_outputs(graph, node);
            if is_dead(graph, node) {
                graph.erase(node);
            }
        }
        if graph.len() == at_start || !has_loops(graph) {
            return before - graph.len();
        }
    }
}

/// Whether a node can be removed: nobody reads it and it does nothing else.
fn is_dead(graph: &Graph, id: NodeId) -> bool {
    let mut outputs = graph.node(id).outputs().iter();
    outputs.all(|output| graph.value(*output).uses().is_empty())
        && matches!(graph.effects(id), Effects::Pure | Effects::Nondeterministic)
}

fn drop_dead_outputs(graph: &mut Graph, id: NodeId) {
    let op = graph.node(id).op();
    for index in (0..graph.node(id).outputs().len()).rev() {
        let output = graph.node(id).outputs()[index];
        if !graph.value(output).uses().is_empty() {
            continue;
        }
        if op.is("prim::If") {
            for block in graph.node(id).blocks().to_vec() {
                graph.remove_result(block, index);
            }
            graph.remove_output(id, index);
        } else if op.is("prim::Loop") {
            let body = graph.node(id).blocks()[0];
            let param = graph.block(body).params()[index + 1];
            let carried = graph.block(body).results()[index + 1];
            // Read by nobody, or only handed on to the next round.
            let uses = graph.value(param).uses().len();
            if uses == 0 || (uses == 1 && carried == param) {
                graph.remove_result(body, index + 1);
                graph.remove_param(body, index + 1);
                graph.remove_input(id, index + 2);
                graph.remove_output(id, index);
            }
        }
    }
}

fn has_loops(graph: &Graph) -> bool {
    graph
        .walk()
        .into_iter()
        .any(|node| graph.node(node).op().is("prim::Loop"))
}
