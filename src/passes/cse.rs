//! `cse`: computes equal things once, and keeps one of equal constants.
//!
//! Two operations are equal when they apply the same operator to the same inputs with the same attributes. The later one is replaced by
//! the earlier when the earlier stands in the same block or in one around it, the operator is pure, and nothing writes to what either
//! reads or makes. Constants are moved to the top of the graph, where one of each value and type is kept: the first.
//!
//! ```text
//! before: %1 : float = aten::q_scale(%x)
//!         %2 : float = aten::q_scale(%x)
//! after:  %1 : float = aten::q_scale(%x)
//! ```

use std::hash::{BuildHasher, Hash, Hasher};

use foldhash::fast::FixedState;
use planish_ir::{At, Attr, BlockId, Effects, Graph, GraphModule, Literal, NodeId, Tensor};

use crate::analysis::alias::Aliases;
use crate::analysis::objects::Objects;
use crate::distinct::Distinct;
use crate::optimize::on_each_method;
use crate::pass::{Changed, Pass, PassCx, PassError};

/// The pass.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cse;

impl Pass for Cse {
    fn name(&self) -> &'static str {
        "cse"
    }

    fn doc(&self) -> &'static str {
        "computes equal things once, and keeps one of equal constants"
    }

    fn run(&self, module: &mut GraphModule, _: &mut PassCx<'_>) -> Result<Changed, PassError> {
        Ok(on_each_method(module, |graph, objects, aliases| {
            pool_constants(graph, aliases)
                + eliminate_common_subexpressions(graph, objects, aliases)
        }))
    }
}

/// Moves constants to the top of the graph and keeps the first of equal ones; returns how many were removed. One that something writes to
/// stays as it is: the others keep their value.
pub(crate) fn pool_constants(graph: &mut Graph, aliases: &Aliases) -> usize {
    let entry = graph.entry();
    let mut kept = Distinct::default();
    let mut top: Option<NodeId> = None;
    let mut removed = 0;
    for node in graph.find_all("prim::Constant") {
        if aliases.is_written(graph.output(node)) {
            continue;
        }
        match known(&kept, graph, node, hash_node(graph, node)) {
            Ok(first) => {
                replace(graph, node, first);
                removed += 1;
            }
            Err(number) => {
                kept.insert(number, node);
                if graph.prev(node) != top || graph.block_of(node) != entry {
                    graph.move_node(node, top.map_or(At::Start(entry), At::After));
                }
                top = Some(node);
            }
        }
    }
    removed
}

/// Replaces operations by equal ones that stand before them; returns how many were removed. Constants are as [`pool_constants`] has left them.
pub(crate) fn eliminate_common_subexpressions(
    graph: &mut Graph,
    objects: &Objects,
    aliases: &Aliases,
) -> usize {
    let mut removed = 0;
    // One table for each block on the way down to the current one.
    let mut scopes: Vec<(BlockId, Distinct<NodeId>)> = Vec::new();
    let others = graph.walk();
    let others = others.filter(|id| !graph.node(*id).op().is("prim::Constant"));
    for id in others.collect::<Vec<_>>() {
        let block = graph.block_of(id);
        while scopes
            .last()
            .is_some_and(|(scope, _)| *scope != block && !encloses(graph, *scope, block))
        {
            scopes.pop();
        }
        if scopes.last().is_none_or(|(scope, _)| *scope != block) {
            scopes.push((block, Distinct::default()));
        }
        let node = graph.node(id);
        if !node.blocks().is_empty()
            || node.outputs().is_empty()
            || graph.effects(id) != Effects::Pure
            || !aliases.is_stable(graph, objects, id)
        {
            continue;
        }
        let hash = hash_node(graph, id);
        let found = scopes
            .iter()
            .map(|(_, table)| known(table, graph, id, hash));
        match found.reduce(Result::or) {
            Some(Ok(first)) => {
                replace(graph, id, first);
                removed += 1;
            }
            Some(Err(number)) => {
                // The innermost table's number, since the tables outside of it were asked before.
                if let Some((_, table)) = scopes.last_mut() {
                    table.insert(number, id);
                }
            }
            None => {}
        }
    }
    removed
}

/// The node that equals this one, or else the number at which it would stand.
fn known(among: &Distinct<NodeId>, graph: &Graph, node: NodeId, hash: u64) -> Result<NodeId, u64> {
    among
        .find(hash, |other| are_equal(graph, *other, node))
        .copied()
}

fn replace(graph: &mut Graph, node: NodeId, by: NodeId) {
    for index in 0..graph.node(node).outputs().len() {
        let (old, new) = (
            graph.node(node).outputs()[index],
            graph.node(by).outputs()[index],
        );
        graph.replace_all_uses(old, new);
    }
    graph.erase(node);
}

/// Whether `inner` is nested, at any depth, in a node of `outer`.
fn encloses(graph: &Graph, outer: BlockId, inner: BlockId) -> bool {
    let mut at = inner;
    while let Some(parent) = graph.block(at).parent() {
        at = graph.block_of(parent);
        if at == outer {
            return true;
        }
    }
    false
}

fn are_equal(graph: &Graph, a: NodeId, b: NodeId) -> bool {
    let (a, b) = (graph.node(a), graph.node(b));
    a.op() == b.op()
        && a.inputs() == b.inputs()
        && a.outputs().len() == b.outputs().len()
        && a.outputs()
            .iter()
            .zip(b.outputs())
            .all(|(a, b)| graph.ty(*a) == graph.ty(*b))
        && a.attrs().len() == b.attrs().len()
        && a.attrs().all(|(name, attr)| {
            b.attr(name.as_str())
                .is_some_and(|other| other == attr && same_layout(attr, other))
        })
}

/// Tensors are equal whatever their layout; operators that treat elements by their place in memory tell them apart.
fn same_layout(a: &Attr, b: &Attr) -> bool {
    match (a, b) {
        (Attr::Literal(Literal::Tensor(a)), Attr::Literal(Literal::Tensor(b))) => {
            a.strides() == b.strides()
        }
        _ => true,
    }
}

fn hash_node(graph: &Graph, id: NodeId) -> u64 {
    let node = graph.node(id);
    let mut state = FixedState::default().build_hasher();
    node.op().hash(&mut state);
    node.inputs().hash(&mut state);
    for output in node.outputs() {
        graph.ty(*output).hash(&mut state);
    }
    for (name, attr) in node.attrs() {
        name.hash(&mut state);
        if let Attr::Literal(literal) = attr {
            hash_literal(literal, &mut state);
        }
    }
    state.finish()
}

fn hash_literal(literal: &Literal, state: &mut impl Hasher) {
    std::mem::discriminant(literal).hash(state);
    match literal {
        Literal::Bool(value) => value.hash(state),
        Literal::Int(value) => value.hash(state),
        Literal::Float(value) => value.to_bits().hash(state),
        Literal::Str(value) => value.hash(state),
        Literal::Tensor(tensor) => hash_tensor(tensor, state),
        Literal::List(_, elements) | Literal::Tuple(elements) => {
            for element in elements.iter() {
                hash_literal(element, state);
            }
        }
        _ => {}
    }
}

/// Type, shape, layout and the first elements: enough to tell weights apart without reading them whole.
pub(crate) fn hash_tensor(tensor: &Tensor, state: &mut impl Hasher) {
    const FIRST_ELEMENTS: usize = 64;
    tensor.dtype().hash(state);
    tensor.shape().hash(state);
    tensor.strides().hash(state);
    let (storage, size) = (tensor.storage(), tensor.dtype().size());
    if tensor.is_contiguous() {
        let start = tensor.offset() as usize * size;
        let end = start + tensor.numel().min(FIRST_ELEMENTS) * size;
        return storage.get(start..end).hash(state);
    }
    for at in tensor.element_offsets().take(FIRST_ELEMENTS) {
        let start = at as usize * size;
        storage.get(start..start + size).hash(state);
    }
}
