//! `const-fold`: computes what depends on constants alone.
//!
//! An operation is computed when all its inputs are constants, it is pure, has no blocks, and nothing writes to what it reads or makes.
//! `aten::dequantize` is left alone unless it makes a vector, so that quantized weights stay quantized, and so are what makes packed
//! weights, which `fold-prepack` does, and what makes hundreds of megabytes out of little. A `prim::If` with a constant condition becomes
//! the branch that is taken; a `prim::Loop` that cannot run becomes what it is given. Independent operations are computed in parallel; the
//! result does not depend on how many threads there are.
//!
//! ```text
//! before: %1 : int = prim::Constant[value=2]()
//!         %2 : int[] = prim::ListConstruct(%1, %1)
//! after:  %2 : int[] = prim::Constant[value=[2, 2]]()
//! ```

use foldhash::fast::FixedState;
use indexmap::IndexMap;
use planish_eval::{Contract, Limits, Value};
use planish_ir::{
    At, Effects, Graph, GraphModule, Literal, NodeId, SecondaryMap, Type, Use, ValueId,
};

use crate::analysis::alias::Aliases;
use crate::analysis::objects::{Objects, objects};
use crate::parallel::compute_all;
use crate::pass::{Changed, Pass, PassCx, PassError};
use crate::remark::{Remark, RemarkKind, Remarks};

/// The pass.
#[derive(Clone, Copy, Debug, Default)]
pub struct ConstFold;

impl Pass for ConstFold {
    fn name(&self) -> &'static str {
        NAME
    }

    fn doc(&self) -> &'static str {
        "computes what depends on constants alone"
    }

    fn run(&self, module: &mut GraphModule, cx: &mut PassCx<'_>) -> Result<Changed, PassError> {
        let mut changed = 0;
        for (name, id) in module.root_methods() {
            let objects = objects(module, module.root(), &module.method(id).graph);
            let graph = &mut module.method_mut(id).graph;
            let aliases = Aliases::of_writes(graph, &objects);
            let folded = fold_constants(graph, &objects, &aliases, cx.options.contract);
            folded.remark(graph, name.as_str(), cx.remarks);
            changed += folded.count;
        }
        Ok(Changed(changed))
    }
}

const NAME: &str = "const-fold";

/// Operators that are never computed ahead: their outputs are wanted as they are written, or are no constants.
const NEVER: [&str; 3] = ["prim::Constant", "prim::GetAttr", "prim::Uninitialized"];

/// Nodes that are looked at together: few enough that they stay in the processor's caches from the first look to the last.
const PIECE: usize = 2048;

/// What folding came to.
#[derive(Default)]
pub(crate) struct Folded {
    /// Operations that went.
    pub(crate) count: usize,
    /// Operations whose computation fails, and why; in the order in which they were tried.
    failed: IndexMap<NodeId, String, FixedState>,
}

/// Computes what depends on constants alone.
pub(crate) fn fold_constants(
    graph: &mut Graph,
    objects: &Objects,
    aliases: &Aliases,
    contract: Contract,
) -> Folded {
    let mut folded = Folded::default();
    let mut wave = graph.in_order();
    // Operations of a wave whose turn is still to come; none when it is over.
    let mut waiting: SecondaryMap<NodeId, bool> =
        SecondaryMap::with_capacity(false, graph.node_capacity());
    while !wave.is_empty() {
        for node in &wave {
            waiting[*node] = true;
        }
        let mut next = Vec::new();
        for piece in wave.chunks(PIECE) {
            for node in piece {
                waiting[*node] = false;
            }
            let enabled = folded.piece(graph, (objects, aliases), piece, contract);
            next.extend(enabled.into_iter().filter(|node| !waiting[*node]));
        }
        next.sort_unstable();
        next.dedup();
        wave = next;
    }
    folded.failed.retain(|node, _| graph.is_live(*node));
    folded
}

impl Folded {
    /// Folds what can be folded of these nodes; returns who reads it.
    fn piece(
        &mut self,
        graph: &mut Graph,
        (objects, aliases): (&Objects, &Aliases),
        nodes: &[NodeId],
        contract: Contract,
    ) -> Vec<NodeId> {
        let mut enabled = Vec::new();
        for node in nodes {
            if graph.is_live(*node) {
                self.count += usize::from(simplify_control_flow(graph, *node, &mut enabled));
            }
        }
        let foldable = nodes.iter().copied().filter(|node| {
            graph.is_live(*node)
                && is_foldable(graph, objects, aliases, *node)
                && !self.failed.contains_key(node)
        });
        let jobs: Vec<_> = foldable
            .map(|node| (node, constant_inputs(graph, node)))
            .collect();
        let results = compute_all(
            &jobs,
            |(_, inputs)| inputs.iter().map(elements).sum(),
            |(node, inputs)| compute(graph, *node, inputs, contract),
        );
        for ((node, _), result) in jobs.into_iter().zip(results) {
            match result {
                Ok(literals) => {
                    replace_by_constants(graph, node, literals, &mut enabled);
                    self.count += 1;
                }
                Err(reason) => {
                    self.failed.insert(node, reason);
                }
            }
        }
        enabled
    }

    /// Whether every operation that could be tried could be computed.
    pub(crate) fn is_complete(&self) -> bool {
        self.failed.is_empty()
    }

    /// Says which operations could not be computed.
    pub(crate) fn remark(&self, graph: &Graph, method: &'static str, remarks: &mut Remarks) {
        let failed = self.failed.iter().filter(|(node, _)| graph.is_live(**node));
        for (node, reason) in failed {
            let at = (method, graph, *node);
            remarks.push(Remark::at(
                RemarkKind::Missed,
                NAME,
                "compute",
                at,
                reason.as_str(),
            ));
        }
    }
}

fn is_foldable(graph: &Graph, objects: &Objects, aliases: &Aliases, id: NodeId) -> bool {
    let node = graph.node(id);
    // The operator first: most nodes need not be looked at any closer.
    !NEVER.iter().any(|name| node.op().is(name))
        && node.blocks().is_empty()
        && graph.effects(id) == Effects::Pure
        && (!node.op().is("aten::dequantize") || dequantizes_vector(graph, id))
        && !node.outputs().is_empty()
        && aliases.is_stable(graph, objects, id)
        && node.inputs().iter().all(|input| {
            graph
                .constant(*input)
                .is_some_and(|literal| !literal.is_opaque())
        })
        && !node
            .outputs()
            .iter()
            .any(|output| matches!(graph.ty(*output), Type::Class(_)))
}

/// Whether what a node dequantizes has one dimension: parameters of a norm, not a weight that is packed.
fn dequantizes_vector(graph: &Graph, id: NodeId) -> bool {
    let node = graph.node(id);
    let constant = node
        .inputs()
        .first()
        .and_then(|input| graph.constant(*input));
    let vector =
        |literal: &Literal| matches!(literal, Literal::Tensor(tensor) if tensor.shape().len() == 1);
    constant.is_some_and(vector)
}

fn constant_inputs(graph: &Graph, id: NodeId) -> Vec<Literal> {
    graph
        .node(id)
        .inputs()
        .iter()
        .filter_map(|input| graph.constant(*input).cloned())
        .collect()
}

/// Elements that computing with a constant reads.
pub(crate) fn elements(literal: &Literal) -> usize {
    match literal {
        Literal::Tensor(tensor) => tensor.numel(),
        Literal::List(_, parts) | Literal::Tuple(parts) => parts.iter().map(elements).sum(),
        _ => 1,
    }
}

fn compute(
    graph: &Graph,
    id: NodeId,
    inputs: &[Literal],
    contract: Contract,
) -> Result<Vec<Literal>, String> {
    let node = graph.node(id);
    match node.op().name().as_str() {
        "prim::ListConstruct" => {
            let element = graph
                .ty(node.outputs()[0])
                .element()
                .cloned()
                .unwrap_or(Type::Any);
            Ok(vec![Literal::List(element, inputs.into())])
        }
        "prim::TupleConstruct" => Ok(vec![Literal::Tuple(inputs.into())]),
        _ => {
            evaluate(graph, id, inputs, contract, limits(inputs)).map_err(|error| error.to_string())
        }
    }
}

/// What computing an operation ahead may take: what makes more out of little is left to the program, which may never come there.
fn limits(inputs: &[Literal]) -> Limits {
    let read: u64 = inputs.iter().map(|input| elements(input) as u64).sum();
    Limits {
        work: (1 << 36) + 64 * read,
        // Twice what the elements take as the largest type, and something for those who read nothing.
        bytes: (256 << 20) + 32 * read,
        ..Limits::default()
    }
}

/// What a node makes of constants.
pub(crate) fn evaluate<'l>(
    graph: &Graph,
    id: NodeId,
    inputs: impl IntoIterator<Item = &'l Literal>,
    contract: Contract,
    limits: Limits,
) -> Result<Vec<Literal>, planish_eval::Error> {
    let inputs: Vec<Value> = inputs.into_iter().map(Value::from).collect();
    planish_eval::eval_node(graph, id, &inputs, contract, limits)?
        .iter()
        .map(planish_eval::to_literal)
        .collect()
}

fn replace_by_constants(
    graph: &mut Graph,
    node: NodeId,
    literals: Vec<Literal>,
    next: &mut Vec<NodeId>,
) {
    if let ([output], [literal]) = (graph.node(node).outputs(), &literals[..]) {
        next.extend(users(graph, *output));
        let ty = known_type(literal, graph.ty(*output));
        graph.set_ty(*output, ty);
        graph.become_constant(node, literal.clone());
        return;
    }
    for (index, literal) in literals.into_iter().enumerate() {
        let output = graph.node(node).outputs()[index];
        next.extend(users(graph, output));
        let ty = known_type(&literal, graph.ty(output));
        let loc = graph.node(node).loc();
        let constant = graph.insert_typed_constant(At::Before(node), literal, ty);
        graph.copy_name(output, constant);
        if let Some(producer) = graph.producer(constant) {
            graph.set_loc(producer, loc);
        }
        graph.replace_all_uses(output, constant);
    }
    graph.erase(node);
}

/// The type of a constant that was declared as `declared`: which number a `Scalar` is, and that an optional is there, is known now.
fn known_type(literal: &Literal, declared: &Type) -> Type {
    match (declared, literal) {
        (Type::Scalar, _) => literal.ty(),
        (Type::Optional(_), Literal::None) => declared.clone(),
        (Type::Optional(inner), _) => known_type(literal, inner),
        _ => declared.clone(),
    }
}

/// Resolves a branch or a loop whose way is known; returns whether it did.
fn simplify_control_flow(graph: &mut Graph, id: NodeId, next: &mut Vec<NodeId>) -> bool {
    let node = graph.node(id);
    if node.op().is("prim::If") {
        hoist_equal_results(graph, id, next);
        let Some(taken) = graph
            .constant(graph.node(id).inputs()[0])
            .and_then(Literal::as_bool)
        else {
            return false;
        };
        let block = graph.node(id).blocks()[usize::from(!taken)];
        let results = graph.block(block).results().to_vec();
        replace_outputs(graph, id, &results, next);
        next.extend(graph.nodes(block));
        graph.splice(block, At::Before(id));
        graph.set_results(block, &[]);
        graph.erase(id);
        return true;
    }
    if node.op().is("prim::Loop") {
        let trip_count = graph.constant(node.inputs()[0]).and_then(Literal::as_int);
        let condition = graph.constant(node.inputs()[1]).and_then(Literal::as_bool);
        if trip_count.is_some_and(|count| count <= 0) || condition == Some(false) {
            let carried = node.inputs()[2..].to_vec();
            replace_outputs(graph, id, &carried, next);
            graph.erase(id);
            return true;
        }
    }
    false
}

/// An output that is the same value in both branches is that value.
fn hoist_equal_results(graph: &mut Graph, id: NodeId, next: &mut Vec<NodeId>) {
    let [yes, no] = graph.node(id).blocks() else {
        return;
    };
    let (yes, no) = (
        graph.block(*yes).results().to_vec(),
        graph.block(*no).results().to_vec(),
    );
    for (index, (yes, no)) in yes.into_iter().zip(no).enumerate() {
        if yes == no {
            let output = graph.node(id).outputs()[index];
            next.extend(users(graph, output));
            graph.replace_all_uses(output, yes);
        }
    }
}

fn replace_outputs(graph: &mut Graph, id: NodeId, by: &[ValueId], next: &mut Vec<NodeId>) {
    for (index, value) in by.iter().enumerate() {
        let output = graph.node(id).outputs()[index];
        next.extend(users(graph, output));
        graph.replace_all_uses(output, *value);
    }
}

/// The nodes that read a value; a result of a block is read by the node around it.
fn users(graph: &Graph, value: ValueId) -> Vec<NodeId> {
    let readers = graph.value(value).uses().iter().filter_map(|at| match at {
        Use::Input(node, _) => Some(*node),
        Use::Result(block, _) => graph.block(*block).parent(),
    });
    readers.collect()
}
