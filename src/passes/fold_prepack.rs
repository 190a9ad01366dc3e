//! `fold-prepack`: packs constant weights once, instead of on every run.
//!
//! Every prepack operation whose inputs are constants is computed, its packed weight becomes an attribute of the root module, and the
//! operation becomes a read of that attribute. So does every packed weight that already stands in the graph as a constant. Equal packed
//! weights share one attribute, in all methods. Small constants that are still dequantized are computed too. A prepack that fails is an error that names the node; PyTorch leaves it in the graph
//! without a word, and never folds half-precision weights (defect B5 of its Finalize).
//!
//! ```text
//! before: %p : __torch__.torch.classes.quantized.Conv2dPackedParamsBase = quantized::conv2d_prepack(%w, %b, %s, %p, %d, %g)
//! after:  %p : __torch__.torch.classes.quantized.Conv2dPackedParamsBase = prim::GetAttr[name="quantized_forward._jit_pass_packed_weight_0"](%self)
//! ```

use std::collections::HashSet;
use std::hash::{BuildHasher, Hash, Hasher};
use std::sync::{Arc, LazyLock};

use foldhash::fast::FixedState;
use planish_eval::{Contract, Limits};
use planish_ir::{
    At, Graph, GraphModule, Literal, MethodId, NodeId, Op, PackedParams, Phase, Sym, Type, ValueId,
    ValueName,
};
use smallvec::SmallVec;

use crate::analysis::objects::is_module;
use crate::const_fold::{elements, evaluate};
use crate::cse::hash_tensor;
use crate::distinct::Distinct;
use crate::kept;
use crate::parallel::compute_all;
use crate::pass::{Changed, Pass, PassCx, PassError};

/// The pass.
#[derive(Clone, Copy, Debug, Default)]
pub struct FoldPrepack;

impl Pass for FoldPrepack {
    fn name(&self) -> &'static str {
        "fold-prepack"
    }

    fn doc(&self) -> &'static str {
        "packs constant weights once, instead of on every run"
    }

    fn requires(&self) -> Phase {
        Phase::Frozen
    }

    fn establishes(&self) -> Option<Phase> {
        Some(Phase::Folded)
    }

    fn run(&self, module: &mut GraphModule, cx: &mut PassCx<'_>) -> Result<Changed, PassError> {
        let mut changed = 0;
        let mut attributes = Attributes::default();
        for id in kept::kept_methods(module, &cx.options.preserved)? {
            changed += fold(module, id, &mut attributes, cx)?;
            let graph = &mut module.method_mut(id).graph;
            changed += fold_dequantize(graph, cx.options.contract)?;
        }
        pack_other_attributes(module, &attributes, cx)?;
        Ok(Changed(changed))
    }
}

/// What reads an attribute.
static READ: LazyLock<Op> = LazyLock::new(|| Op::of("prim::GetAttr"));

/// Weights that are packed together: enough for every thread, few enough that small ones stay in the processor's caches.
const PIECE: usize = 256;

/// Packed weights that have become attributes.
#[derive(Default)]
struct Attributes {
    known: Distinct<(Sym, Arc<PackedParams>)>,
    names: HashSet<Sym, FixedState>,
}

/// Whether a node makes a packed weight, as far as its operator and its type tell, which stand nearer than values.
fn makes_weight(graph: &Graph, id: NodeId) -> bool {
    let node = graph.node(id);
    let name = node.op().name().as_str();
    let is_prepack = name
        .strip_prefix("quantized::")
        .is_some_and(|op| op.ends_with("_prepack") || op.ends_with("_prepack_fp16"));
    (is_prepack || node.op().is("prim::Constant"))
        && node.outputs().len() == 1
        && matches!(graph.ty(node.outputs()[0]), Type::Class(_))
}

/// Whether the packed weight that a node makes is the same on every run.
fn is_constant_weight(graph: &Graph, id: NodeId) -> bool {
    let node = graph.node(id);
    if node.op().is("prim::Constant") {
        return matches!(node.literal("value"), Some(Literal::Packed(_)));
    }
    let mut inputs = node.inputs().iter();
    inputs.all(|input| graph.constant(*input).is_some())
}

fn fold(
    module: &mut GraphModule,
    id: MethodId,
    attributes: &mut Attributes,
    cx: &mut PassCx<'_>,
) -> Result<usize, PassError> {
    let graph = &module.method(id).graph;
    let this = graph.params().first();
    let has_module = this.is_some_and(|this| is_module(graph, *this));
    let candidates: Vec<NodeId> = graph.walk().filter(|id| makes_weight(graph, *id)).collect();
    let method = module.method(id).name;
    let (mut uid, mut folded) = (0, 0);
    for piece in candidates.chunks(PIECE) {
        let graph = &module.method(id).graph;
        let nodes: Vec<NodeId> = piece
            .iter()
            .copied()
            .filter(|node| is_constant_weight(graph, *node))
            .collect();
        if let (Some(node), false) = (nodes.first(), has_module) {
            return Err(PassError::Refused(format!(
                "fold {}: the graph has no parameter for the module that the packed weight would belong to",
                describe(graph, *node)
            )));
        }
        for (node, params) in nodes
            .iter()
            .zip(pack_all(graph, &nodes, cx.options.contract)?)
        {
            let hash = hash_packed(&params);
            let name = match attributes.known.find(hash, |(_, other)| **other == *params) {
                Ok((name, _)) => *name,
                Err(number) => {
                    let name = new_attribute(module, method, &mut uid, &params);
                    cx.kernels.pack(&params).map_err(|reason| PassError::Pack {
                        node: describe(&module.method(id).graph, *node),
                        reason,
                    })?;
                    attributes.known.insert(number, (name, params));
                    attributes.names.insert(name);
                    name
                }
            };
            read_attribute(&mut module.method_mut(id).graph, *node, name);
        }
        folded += nodes.len();
    }
    Ok(folded)
}

/// Packs weights, large ones in parallel.
fn pack_all(
    graph: &Graph,
    nodes: &[NodeId],
    contract: Contract,
) -> Result<Vec<Arc<PackedParams>>, PassError> {
    // Packing reads whole weights.
    let weight = |node: &NodeId| {
        let inputs = graph.node(*node).inputs().iter();
        let constants = inputs.filter_map(|input| graph.constant(*input));
        constants.map(elements).sum()
    };
    let packed = compute_all(nodes, weight, |node| pack(graph, *node, contract));
    packed.into_iter().collect()
}

/// Computes what is left of dequantized constants, unless they are large: before fusion they are what rules match, now they are work for
/// each run. A large one is a weight without a fused operator, and four times as large as floats.
fn fold_dequantize(graph: &mut Graph, contract: Contract) -> Result<usize, PassError> {
    const LARGE: usize = 1 << 16;
    let dequantize = Op::of("aten::dequantize.self");
    let mut folded = 0;
    for id in graph.find_all("aten::dequantize") {
        let node = graph.node(id);
        if node.op() != dequantize {
            continue;
        }
        let Some(codes @ Literal::Tensor(tensor)) = graph.constant(node.inputs()[0]) else {
            continue;
        };
        if tensor.numel() > LARGE {
            continue;
        }
        let values = evaluate(graph, id, [codes], contract, Limits::default());
        let values = values.map_err(|error| {
            PassError::Refused(format!("compute {}: {error}", describe(graph, id)))
        })?;
        if let Some(values) = values.into_iter().next() {
            let output = graph.output(id);
            let constant = graph.insert_constant(At::Before(id), values);
            graph.replace_all_uses(output, constant);
            let codes = graph.node(id).inputs()[0];
            graph.erase(id);
            erase_unread(graph, &[codes]);
            folded += 1;
        }
    }
    Ok(folded)
}

/// Lays out packed weights that were attributes before, and stay because they are preserved.
fn pack_other_attributes(
    module: &GraphModule,
    done: &Attributes,
    cx: &mut PassCx<'_>,
) -> Result<(), PassError> {
    for (name, value) in &module.module(module.root()).attrs {
        if let Literal::Packed(params) = value
            && !done.names.contains(name)
        {
            cx.kernels.pack(params).map_err(|reason| PassError::Pack {
                node: format!("the attribute {name}"),
                reason,
            })?;
        }
    }
    Ok(())
}

/// Computes a prepack operation.
fn pack(graph: &Graph, id: NodeId, contract: Contract) -> Result<Arc<PackedParams>, PassError> {
    if let Some(Literal::Packed(params)) = graph.node(id).literal("value") {
        return Ok(Arc::clone(params));
    }
    let inputs = graph.node(id).inputs().iter();
    let inputs = inputs.filter_map(|input| graph.constant(*input));
    let failed = |reason: String| PassError::Pack {
        node: describe(graph, id),
        reason,
    };
    let outputs = evaluate(graph, id, inputs, contract, Limits::default())
        .map_err(|error| failed(error.to_string()))?;
    match outputs.into_iter().next() {
        Some(Literal::Packed(params)) => Ok(params),
        other => Err(failed(format!(
            "it made {} instead of a packed weight",
            other.map_or(Type::None, |value| value.ty())
        ))),
    }
}

/// Adds an attribute to the root, with PyTorch's name for it; the number goes up past names that are taken.
fn new_attribute(
    module: &mut GraphModule,
    method: Sym,
    uid: &mut usize,
    params: &Arc<PackedParams>,
) -> Sym {
    let root = module.root();
    let taken = |name: Sym| {
        module.module(root).attrs.contains_key(&name) || module.submodule(root, name).is_some()
    };
    let name = loop {
        let name = Sym::new(&format!("quantized_{method}._jit_pass_packed_weight_{uid}"));
        *uid += 1;
        if !taken(name) {
            break name;
        }
    };
    let class = module.module(root).class;
    if let Some(class) = module.classes.get_mut(&class) {
        class.fields.insert(name, Type::Class(params.class()));
    }
    module
        .module_mut(root)
        .attrs
        .insert(name, Literal::Packed(Arc::clone(params)));
    name
}

/// Makes a node that packs a weight, or holds a packed one, the read of an attribute. Constants that were packed go.
fn read_attribute(graph: &mut Graph, id: NodeId, name: Sym) {
    let this = graph.params()[0];
    let packed: SmallVec<[ValueId; 8]> = graph.node(id).inputs().into();
    graph.set_inputs(id, &[this]);
    graph.set_op(id, *READ);
    graph.remove_attr(id, "value");
    graph.set_attr(id, "name", Literal::str(name.as_str()));
    graph.set_name(graph.output(id), ValueName::new(name.as_str()));
    erase_unread(graph, &packed);
}

/// Erases constants that nobody reads any more.
fn erase_unread(graph: &mut Graph, constants: &[ValueId]) {
    for value in constants {
        if let Some(constant) = graph.producer(*value)
            && graph.is_live(constant)
            && graph.value(*value).uses().is_empty()
        {
            graph.erase(constant);
        }
    }
}

fn hash_packed(params: &PackedParams) -> u64 {
    let mut state = FixedState::default().build_hasher();
    params.geometry().hash(&mut state);
    hash_tensor(&params.weight, &mut state);
    if let Some(bias) = &params.bias {
        hash_tensor(bias, &mut state);
    }
    state.finish()
}

fn describe(graph: &Graph, id: NodeId) -> String {
    let node = graph.node(id);
    node.loc().map_or_else(
        || node.op().to_string(),
        |loc| format!("{} ({loc})", node.op()),
    )
}
