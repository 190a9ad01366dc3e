//! Whatever is done to a graph through its verbs, its laws hold.

use planish_ir::{At, Graph, NodeId, Op, ProgramOrder, Type, ValueId, verify_graph};
use proptest::prelude::*;

/// One edit; the numbers choose among what the graph has.
#[derive(Clone, Copy, Debug)]
enum Edit {
    Insert { place: u16, inputs: [u16; 2] },
    InsertIf { place: u16, results: [u16; 2] },
    SetInput { node: u16, value: u16 },
    RemoveInput { node: u16 },
    ReplaceUses { old: u16, new: u16 },
    Erase { node: u16 },
    Unnest { node: u16 },
    Results { values: [u16; 3] },
    InlineItself { place: u16 },
    CopyNode { node: u16 },
    Compact,
}

fn edit() -> impl Strategy<Value = Edit> {
    prop_oneof![
        4 => (any::<u16>(), any::<[u16; 2]>()).prop_map(|(place, inputs)| Edit::Insert { place, inputs }),
        2 => (any::<u16>(), any::<[u16; 2]>()).prop_map(|(place, results)| Edit::InsertIf { place, results }),
        2 => any::<(u16, u16)>().prop_map(|(node, value)| Edit::SetInput { node, value }),
        1 => any::<u16>().prop_map(|node| Edit::RemoveInput { node }),
        2 => any::<(u16, u16)>().prop_map(|(old, new)| Edit::ReplaceUses { old, new }),
        2 => any::<u16>().prop_map(|node| Edit::Erase { node }),
        1 => any::<u16>().prop_map(|node| Edit::Unnest { node }),
        1 => any::<[u16; 3]>().prop_map(|values| Edit::Results { values }),
        1 => any::<u16>().prop_map(|place| Edit::InlineItself { place }),
        1 => any::<u16>().prop_map(|node| Edit::CopyNode { node }),
        1 => Just(Edit::Compact),
    ]
}

fn start() -> Graph {
    let mut graph = Graph::new();
    let entry = graph.entry();
    let x = graph.add_param(entry, Type::TENSOR);
    graph.add_param(entry, Type::Bool);
    graph.push_result(entry, x);
    graph
}

fn pick<T: Copy>(choices: &[T], number: u16) -> Option<T> {
    choices
        .get(usize::from(number) % choices.len().max(1))
        .copied()
}

/// All tensors of the graph.
fn tensors(graph: &Graph) -> Vec<ValueId> {
    let outputs = graph.walk();
    let outputs = outputs.flat_map(|node| graph.node(node).outputs().to_vec());
    let all = graph.params().iter().copied().chain(outputs);
    all.filter(|value| graph.ty(*value).is_tensor()).collect()
}

/// A tensor that a node may read.
fn readable(graph: &Graph, node: NodeId, number: u16) -> Option<ValueId> {
    let order = ProgramOrder::new(graph);
    let mut values = tensors(graph);
    values.retain(|value| order.reaches(graph, *value, node));
    pick(&values, number)
}

/// A new node somewhere, with one input.
fn insert(graph: &mut Graph, place: u16, op: &str) -> NodeId {
    let x = graph.params()[0];
    let at = match pick(&graph.walk().collect::<Vec<_>>(), place / 4) {
        None => At::End(graph.entry()),
        Some(node) => match place % 4 {
            0 => At::Before(node),
            1 => At::After(node),
            2 => At::Start(graph.block_of(node)),
            _ => At::End(graph.block_of(node)),
        },
    };
    graph.insert(at, Op::of(op), &[x], [Type::TENSOR])
}

fn apply(graph: &mut Graph, edit: Edit) -> Option<()> {
    match edit {
        Edit::Insert { place, inputs } => {
            let node = insert(graph, place, "mine::add");
            for number in inputs {
                let value = readable(graph, node, number)?;
                graph.push_input(node, value);
            }
        }
        Edit::InsertIf { place, results } => {
            let node = insert(graph, place, "prim::If");
            let condition = graph.params()[1];
            graph.set_input(node, 0, condition);
            for number in results {
                let value = readable(graph, node, number)?;
                let block = graph.add_block(node);
                let inner = graph.insert(
                    At::End(block),
                    Op::of("aten::relu"),
                    &[value],
                    [Type::TENSOR],
                );
                let out = graph.output(inner);
                graph.push_result(block, if number % 2 == 0 { out } else { value });
            }
        }
        Edit::SetInput { node, value } => {
            let node = pick(&graph.walk().collect::<Vec<_>>(), node)?;
            if graph.node(node).op().is("mine::add") {
                let index = usize::from(value) % graph.node(node).inputs().len();
                let value = readable(graph, node, value / 4)?;
                graph.set_input(node, index, value);
            }
        }
        Edit::RemoveInput { node } => {
            let node = pick(&graph.walk().collect::<Vec<_>>(), node)?;
            if graph.node(node).op().is("mine::add") && graph.node(node).inputs().len() > 1 {
                graph.remove_input(node, 0);
            }
        }
        Edit::ReplaceUses { old, new } => {
            let order = ProgramOrder::new(graph);
            let old = pick(&tensors(graph), old)?;
            let mut news = tensors(graph);
            // What reaches the definition reaches all uses.
            news.retain(|new| match graph.producer(old) {
                Some(node) => order.reaches(graph, *new, node),
                None => *new == old,
            });
            graph.replace_all_uses(old, pick(&news, new)?);
        }
        Edit::Erase { node } => {
            let node = pick(&graph.walk().collect::<Vec<_>>(), node)?;
            let outputs = graph.node(node).outputs();
            if outputs
                .iter()
                .all(|value| graph.value(*value).uses().is_empty())
            {
                graph.erase(node);
                assert!(!graph.is_live(node));
            }
        }
        Edit::Unnest { node } => {
            let node = pick(&graph.walk().collect::<Vec<_>>(), node)?;
            let block = *graph.node(node).blocks().first()?;
            let result = graph.block(block).results()[0];
            let out = graph.output(node);
            graph.splice(block, At::Before(node));
            graph.replace_all_uses(out, result);
            graph.erase(node);
        }
        Edit::Results { values } => {
            let order = ProgramOrder::new(graph);
            let entry = graph.entry();
            let mut choices = tensors(graph);
            choices.retain(|value| order.reaches_end(graph, *value, entry));
            let results: Vec<_> = values
                .iter()
                .filter_map(|number| pick(&choices, *number))
                .collect();
            graph.set_results(entry, &results);
        }
        Edit::InlineItself { place } if graph.len() < 60 => {
            let callee = graph.clone();
            let at = match pick(&graph.walk().collect::<Vec<_>>(), place) {
                Some(node) => At::Before(node),
                None => At::End(graph.entry()),
            };
            let args = graph.params().to_vec();
            let results = graph.inline(at, &callee, &args);
            assert_eq!(results.len(), callee.results().len());
        }
        Edit::CopyNode { node } if graph.len() < 60 => {
            let node = pick(&graph.walk().collect::<Vec<_>>(), node)?;
            let from = graph.clone();
            graph.copy_node(At::After(node), &from, node, |value| value);
        }
        Edit::InlineItself { .. } | Edit::CopyNode { .. } => {}
        Edit::Compact => *graph = graph.compact(),
    }
    Some(())
}

proptest! {
    #[test]
    fn laws_hold_after_every_edit(edits in prop::collection::vec(edit(), 1..40)) {
        let mut graph = start();
        for edit in edits {
            // An edit that finds nothing to work on leaves what it did so far, which is lawful too.
            let _ = apply(&mut graph, edit);
            let open = graph.walk().any(|node| {
                graph.node(node).op().is("prim::If") && graph.node(node).blocks().len() != 2
            });
            prop_assert!(!open, "an If always finds the parameter to give");
            prop_assert_eq!(verify_graph(&graph), Ok(()), "after {:?}", edit);
            prop_assert_eq!(graph.walk().count(), graph.len());
        }
        let compact = graph.compact();
        prop_assert_eq!(compact.len(), compact.node_capacity());
        prop_assert!(petgraph::algo::toposort(&compact, None).is_ok());
    }
}
