//! Loops that run a known, small number of rounds become that many copies of their body.
//!
//! ```text
//! before: %y : Tensor = prim::Loop(%2, %true, %x)
//!           block0(%i : int, %c : Tensor):
//!             %n : Tensor = aten::mul(%c, %i)
//!             -> (%true, %n)
//! after:  %n.1 : Tensor = aten::mul(%x, %0)
//!         %n.2 : Tensor = aten::mul(%n.1, %1)
//! ```

use planish_ir::{At, Graph, Literal, NodeId, ValueId};

/// Rounds and operations that a loop may become; it stays when it would become more.
const MAX_ROUNDS: i64 = 64;
const MAX_NODES: usize = 1024;

/// Unrolls loops, inner ones in later calls; returns how many.
pub(crate) fn unroll_loops(graph: &mut Graph) -> usize {
    let mut unrolled = 0;
    for node in graph.find_all("prim::Loop") {
        // A loop around it may have been unrolled, and this one with it.
        if graph.is_live(node)
            && let Some(rounds) = known_rounds(graph, node)
        {
            unroll(graph, node, rounds);
            unrolled += 1;
        }
    }
    unrolled
}

/// How many rounds a loop runs, when that is known and not too many.
fn known_rounds(graph: &Graph, id: NodeId) -> Option<i64> {
    let node = graph.node(id);
    let body = node.blocks()[0];
    let is_true = |value: &ValueId| graph.constant(*value) == Some(&Literal::Bool(true));
    if !is_true(&node.inputs()[1]) || !is_true(&graph.block(body).results()[0]) {
        return None;
    }
    let rounds = graph.constant(node.inputs()[0])?.as_int()?;
    let mut nodes = Vec::new();
    nodes.extend(graph.walk_block(body));
    let fits = (1..=MAX_ROUNDS).contains(&rounds) && nodes.len() * rounds as usize <= MAX_NODES;
    fits.then_some(rounds)
}

fn unroll(graph: &mut Graph, id: NodeId, rounds: i64) {
    let (body, outside) = graph.outlined(graph.node(id).blocks()[0]);
    let mut carried = graph.node(id).inputs()[2..].to_vec();
    for round in 0..rounds {
        let count = graph.insert_constant(At::Before(id), Literal::Int(round));
        let args = [&[count], &carried[..], &outside[..]].concat();
        carried = graph.inline(At::Before(id), &body, &args);
        // The first result says whether to go on.
        carried.remove(0);
    }
    for (index, value) in carried.into_iter().enumerate() {
        let output = graph.node(id).outputs()[index];
        graph.replace_all_uses(output, value);
    }
    graph.erase(id);
}
