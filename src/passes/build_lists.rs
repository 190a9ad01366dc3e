//! A list that is appended to right after it is made is made with all its elements, and one that is read between appends becomes a list
//! for each reader, so that nothing writes to either.
//!
//! ```text
//! before: %l : int[] = prim::ListConstruct(%a)
//!         %m : int[] = aten::append(%l, %b)
//! after:  %l : int[] = prim::ListConstruct(%a, %b)
//! ```

use std::collections::HashMap;

use foldhash::fast::FixedState;
use planish_ir::{At, Graph, NodeId, Op, Use, ValueId};

/// Builds lists at once; returns how many appends went.
pub(crate) fn build_lists(graph: &mut Graph) -> usize {
    let appends = |id| graph.node(id).op().is("aten::append");
    if !graph.walk().any(appends) {
        return 0;
    }
    build_at_once(graph) + build_for_each_reader(graph)
}

fn build_at_once(graph: &mut Graph) -> usize {
    // Lists that nobody has read since they were made, by the node that made them.
    let mut fresh: HashMap<ValueId, NodeId, FixedState> = HashMap::default();
    let mut changed = 0;
    for id in graph.in_order() {
        let node = graph.node(id);
        if node.op().is("aten::append")
            && let [list, element] = *node.inputs()
            && list != element
            && let Some(made) = fresh.get(&list).copied()
            && graph.block_of(made) == graph.block_of(id)
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
        if !fresh.is_empty() {
            for input in node.inputs() {
                fresh.remove(input);
            }
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
    let new = Op::of("prim::ListConstruct");
    let new = graph.insert(At::Before(append), new, &elements, [ty]);
    graph.set_loc(new, graph.node(made).loc());
    let list = graph.output(new);
    graph.copy_name(old, list);
    let appended = graph.output(append);
    graph.replace_all_uses(appended, list);
    graph.erase(append);
    graph.replace_all_uses(old, list);
    graph.erase(made);
    new
}

/// Operators that read a list and keep nothing of it.
const READERS: [&str; 5] = [
    "aten::cat",
    "aten::stack",
    "quantized::cat",
    "quantized::cat_relu",
    "aten::len",
];
/// Most operands that the lists of one list's readers may have together: what is read after each of many appends grows with their square.
const MOST_OPERANDS: usize = 1 << 16;

/// Makes a list for each reader of a list that grows between them, where everything about it happens in one block.
fn build_for_each_reader(graph: &mut Graph) -> usize {
    let lists = graph.find_all("prim::ListConstruct");
    lists.into_iter().map(|made| divide(graph, made)).sum()
}

fn divide(graph: &mut Graph, made: NodeId) -> usize {
    let list = graph.output(made);
    let Some(users) = growing(graph, made) else {
        return 0;
    };
    let mut elements = graph.node(made).inputs().to_vec();
    let ty = graph.ty(list).clone();
    let mut current = list;
    let mut appends = 0;
    for user in users {
        if graph.node(user).op().is("aten::append") {
            elements.push(graph.node(user).inputs()[1]);
            graph.erase(user);
            appends += 1;
            current = list;
            continue;
        }
        if appends > 0 {
            if current == list {
                let new = Op::of("prim::ListConstruct");
                let new = graph.insert(At::Before(user), new, &elements, [ty.clone()]);
                graph.set_loc(new, graph.node(made).loc());
                current = graph.output(new);
            }
            let mut inputs = graph.node(user).inputs().to_vec();
            inputs[0] = current;
            graph.set_inputs(user, &inputs);
        }
    }
    appends
}

/// The readers and the appends of a list in their order, if that is all that is done with it, and at least one reads after an append.
fn growing(graph: &Graph, made: NodeId) -> Option<Vec<NodeId>> {
    let list = graph.output(made);
    let block = graph.block_of(made);
    let mut users = Vec::new();
    for at in graph.value(list).uses() {
        let Use::Input(user, 0) = at else {
            return None;
        };
        let node = graph.node(*user);
        let appends =
            node.op().is("aten::append") && graph.value(node.outputs()[0]).uses().is_empty();
        if graph.block_of(*user) != block
            || !(appends || READERS.contains(&node.op().name().as_str()))
        {
            return None;
        }
        users.push(*user);
    }
    if !users
        .iter()
        .any(|user| graph.node(*user).op().is("aten::append"))
    {
        return None;
    }
    let place: HashMap<NodeId, usize> = graph
        .nodes(block)
        .enumerate()
        .map(|(place, id)| (id, place))
        .collect();
    users.sort_by_key(|user| place[user]);
    let longest = graph.node(made).inputs().len() + users.len();
    (longest * users.len() <= MOST_OPERANDS).then_some(users)
}
