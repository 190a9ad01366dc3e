//! What stands in the way without need: dropout that does not train, and operators that put the elements of a dequantized copy elsewhere in
//! place, when nobody has read the copy before.

use planish_ir::{Graph, Literal, NodeId, Op, ProgramOrder, Use};

use super::NAME;
use crate::analysis::codes::{Elements, elements};
use crate::pass::PassCx;
use crate::peephole::is_dropout;
use crate::remark::{Remark, RemarkKind};
use crate::scope::Scope;

/// Operators that give their operand other sizes and strides in place, and what gives a view of it.
const IN_PLACE: [(&str, &str); 9] = [
    ("aten::detach_", "aten::detach"),
    ("aten::squeeze_", "aten::squeeze"),
    ("aten::squeeze_.dim", "aten::squeeze.dim"),
    ("aten::squeeze_.dims", "aten::squeeze.dims"),
    ("aten::swapaxes_", "aten::swapaxes"),
    ("aten::swapdims_", "aten::swapdims"),
    ("aten::t_", "aten::t"),
    ("aten::transpose_", "aten::transpose.int"),
    ("aten::unsqueeze_", "aten::unsqueeze"),
];

/// Whether an operator is one that this module may take out of the way.
pub(super) fn may_stand_aside(op: Op) -> bool {
    is_dropout(op) || out_of_place(op).is_some()
}

/// Takes them out of the way; returns how many rewrites that were.
pub(super) fn clear_way(scope: &mut Scope<'_>, graph: &mut Graph, cx: &mut PassCx<'_>) -> usize {
    let nodes = graph.walk();
    let nodes: Vec<NodeId> = nodes
        .filter(|id| may_stand_aside(graph.node(*id).op()))
        .collect();
    if nodes.is_empty() {
        return 0;
    }
    // Nothing is added below, and nothing moves.
    let order = ProgramOrder::new(graph);
    let mut changed = 0;
    for id in nodes {
        let view = out_of_place(graph.node(id).op());
        let reason = match view {
            None if !trains(scope, graph, id) => "it does not train",
            Some(_) if is_read_later(graph, &order, id) => "what it changes is a copy",
            _ => continue,
        };
        if !cx.fuel.take() {
            break;
        }
        let at = (scope.method, &*graph, id);
        let remark = Remark::at(RemarkKind::Passed, NAME, "clear-way", at, reason);
        cx.remarks.push(remark);
        let (input, output) = (graph.node(id).inputs()[0], graph.output(id));
        if let Some(view) = view {
            // Whoever reads the copy later finds it changed.
            graph.replace_all_uses(input, output);
            graph.set_use(Use::Input(id, 0), input);
            graph.set_op(id, view);
        } else {
            graph.replace_all_uses(output, input);
            graph.erase(id);
        }
        changed += 1;
    }
    if changed > 0 {
        scope.facts = scope.facts.again(graph);
    }
    changed
}

/// What does the same, but gives a view.
fn out_of_place(op: Op) -> Option<Op> {
    // Most operators write to nothing.
    if !op.name().as_str().ends_with('_') {
        return None;
    }
    let mut all = IN_PLACE.iter();
    let (_, view) = all.find(|(in_place, _)| op == Op::of(in_place))?;
    Some(Op::of(view))
}

fn trains(scope: &Scope<'_>, graph: &Graph, id: NodeId) -> bool {
    let flag = graph.node(id).inputs().get(2);
    let flag = flag.and_then(|flag| scope.facts.literal(graph, *flag));
    flag != Some(&Literal::Bool(false))
}

/// Whether what a node changes in place is a tensor of its own that is read only afterwards: a dequantized copy of codes, or a view of one.
fn is_read_later(graph: &Graph, order: &ProgramOrder, id: NodeId) -> bool {
    let copy = graph.node(id).inputs()[0];
    // On each turn of a loop it must be another.
    let here = |producer: &NodeId| graph.block_of(*producer) == graph.block_of(id);
    let Some(producer) = graph.producer(copy).filter(here) else {
        return false;
    };
    let producer = graph.node(producer);
    let is_view = IN_PLACE
        .iter()
        .any(|(_, view)| producer.op() == Op::of(view));
    let is_copy = || {
        producer.op() == Op::of("aten::dequantize.self")
            && elements(graph, producer.inputs()[0]) == Some(Elements::Codes)
    };
    let later = |at: &Use| match at {
        Use::Input(user, at) => (*user == id && *at == 0) || order.before(id, *user),
        Use::Result(block, _) => order.reaches_end(graph, graph.output(id), *block),
    };
    (is_view || is_copy()) && graph.value(copy).uses().iter().all(later)
}
