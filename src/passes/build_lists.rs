//! A list that is appended to right after it is made is made with all its elements, so that nothing writes to it.
//!
//! ```text
//! before: %l : int[] = prim::ListConstruct(%a)
//!         %m : int[] = aten::append(%l, %b)
//! after:  %l : int[] = prim::ListConstruct(%a, %b)
//! ```

use std::collections::HashMap;

use planish_ir::{At, Graph, NodeId, Op, ValueId};

/// Builds lists at once; returns how many appends went.
pub(crate) fn build_lists_at_once(graph: &mut Graph) -> usize {
    // Lists that nobody has read since they were made, by the node that made them.
    let mut fresh: HashMap<ValueId, NodeId> = HashMap::new();
    let mut changed = 0;
    for id in graph.walk() {
        let node = graph.node(id);
        if node.op().is("aten::append")
            && let [list, element] = *node.inputs()
            && list != element
            && let Some(made) = fresh.get(&list).copied()
            && graph.node(made).block() == node.block()
        {
            let longer = lengthen(graph, made, id, element);
            fresh.remove(&list);
            fresh.insert(graph.output(longer), longer);
            changed += 1;
            continue;
        }
        for block in node.blocks() {
            for result in graph.block(*block).results() {
                fresh.remove(result);
            }
        }
        for input in node.inputs() {
            fresh.remove(input);
        }
        if node.op().is("prim::ListConstruct") {
            fresh.insert(node.outputs()[0], id);
        }
    }
    changed
}

/// Makes the list where the element is appended.
fn lengthen(graph: &mut Graph, made: NodeId, append: NodeId, element: ValueId) -> NodeId {
    let old = graph.output(made);
    let mut elements = graph.node(made).inputs().to_vec();
    elements.push(element);
    let ty = graph.ty(old).clone();
    let name = graph.value(old).name.clone();
    let new = Op::of("prim::ListConstruct");
    let new = graph.insert(At::Before(append), new, &elements, [ty]);
    graph.set_loc(new, graph.node(made).loc);
    let list = graph.output(new);
    graph.set_name(list, name.as_deref());
    let appended = graph.output(append);
    graph.replace_all_uses(appended, list);
    graph.erase(append);
    graph.replace_all_uses(old, list);
    graph.erase(made);
    new
}
