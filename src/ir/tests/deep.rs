//! Nesting is as deep as the input file says: nothing takes a stack frame for each level.

use std::time::Duration;

use planish_ir::{At, Graph, Literal, Op, ProgramOrder, Type, verify_graph};
use rustix::time::{ClockId, clock_gettime};

const DEPTH: usize = 100_000;

/// Branches in branches, the innermost one around a `relu`.
fn nested() -> Graph {
    let mut graph = Graph::new();
    let entry = graph.entry();
    let x = graph.add_param(entry, Type::TENSOR);
    let cond = graph.add_param(entry, Type::Bool);
    let mut block = entry;
    for _ in 0..DEPTH {
        let branch = graph.insert(At::End(block), Op::of("prim::If"), &[cond], [Type::TENSOR]);
        let out = graph.output(branch);
        graph.push_result(block, out);
        block = graph.add_block(branch);
        let other = graph.add_block(branch);
        graph.push_result(other, x);
    }
    let relu = graph.insert(At::End(block), Op::of("aten::relu"), &[x], [Type::TENSOR]);
    let out = graph.output(relu);
    graph.push_result(block, out);
    graph
}

#[test]
fn deep_graphs_are_walked_checked_copied_and_erased() {
    let mut graph = nested();
    assert_eq!(graph.walk().count(), DEPTH + 1);
    assert_eq!(verify_graph(&graph), Ok(()));
    assert_eq!(verify_graph(&graph.compact()), Ok(()));
    assert_eq!(
        petgraph::algo::toposort(&graph, None).map(|order| order.len()),
        Ok(DEPTH + 1)
    );
    let first = graph.block(graph.entry()).first().expect("it is not empty");
    let last = graph.walk().nth(DEPTH).unwrap();
    assert!(ProgramOrder::new(&graph).is_nested(last, first));
    assert_eq!(graph.effects(first), planish_ir::Effects::Pure);
    graph.set_results(graph.entry(), &[]);
    graph.erase(first);
    assert!(graph.is_empty() && verify_graph(&graph).is_ok());
}

#[test]
fn long_graphs_are_checked_in_a_moment() {
    let mut graph = Graph::new();
    let entry = graph.entry();
    let x = graph.add_param(entry, Type::TENSOR);
    let one = graph.insert_constant(At::End(entry), Literal::Int(1));
    let mut last = x;
    // Everybody reads the parameter and the constant, so that a search of use lists would take minutes.
    for _ in 0..DEPTH {
        let add = Op::of("aten::add.Tensor");
        let node = graph.insert(At::End(entry), add, &[x, last, one], [Type::TENSOR]);
        last = graph.output(node);
    }
    graph.set_results(entry, &[last]);
    let before = spent();
    assert_eq!(verify_graph(&graph), Ok(()));
    let y = graph.add_param(entry, Type::TENSOR);
    graph.replace_all_uses(x, y);
    assert_eq!(verify_graph(&graph), Ok(()));
    let spent = spent().saturating_sub(before);
    assert!(spent.as_secs() < 30, "{spent:?}");
}

/// The time that this thread has run, which others do not add to.
fn spent() -> Duration {
    clock_gettime(ClockId::ThreadCPUTime)
        .try_into()
        .expect("it is never negative")
}
