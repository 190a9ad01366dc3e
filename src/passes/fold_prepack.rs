//! `fold-prepack`: packs constant weights once, instead of on every run.
//!
//! Every prepack operation whose inputs are constants is computed, its packed weight becomes an attribute of the root module, and the
//! operation becomes a read of that attribute. Equal packed weights share one attribute. A prepack that fails is an error that names the
//! node; PyTorch leaves it in the graph without a word, and never folds half-precision weights (defect B5 of its Finalize).
//!
//! ```text
//! before: %p : __torch__.torch.classes.quantized.Conv2dPackedParamsBase = quantized::conv2d_prepack(%w, %b, %s, %p, %d, %g)
//! after:  %p : __torch__.torch.classes.quantized.Conv2dPackedParamsBase = prim::GetAttr[name="quantized_forward._jit_pass_packed_weight_0"](%self)
//! ```

use std::sync::Arc;

use planish_eval::Contract;
use planish_ir::{
    At, Graph, GraphModule, Literal, MethodId, NodeId, Op, PackedParams, Phase, Sym, Type,
};
use rayon::prelude::*;

use crate::analysis::objects::is_module;
use crate::const_fold::evaluate;
use crate::dce::eliminate_dead_code;
use crate::kept;
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
        for id in kept::kept_methods(module, &cx.options.preserved)? {
            changed += fold(module, id, cx)?;
            eliminate_dead_code(&mut module.method_mut(id).graph);
        }
        Ok(Changed(changed))
    }
}

/// Whether a node packs a weight.
fn is_prepack(graph: &Graph, id: NodeId) -> bool {
    let node = graph.node(id);
    let name = node.op().name().as_str();
    name.strip_prefix("quantized::")
        .is_some_and(|op| op.ends_with("_prepack") || op.ends_with("_prepack_fp16"))
        && node.outputs().len() == 1
        && matches!(graph.ty(node.outputs()[0]), Type::Class(_))
}

fn fold(module: &mut GraphModule, id: MethodId, cx: &mut PassCx<'_>) -> Result<usize, PassError> {
    let graph = &module.method(id).graph;
    let constant = |node: &NodeId| {
        graph
            .node(*node)
            .inputs()
            .iter()
            .all(|input| graph.constant(*input).is_some())
    };
    let nodes: Vec<NodeId> = graph
        .walk()
        .into_iter()
        .filter(|node| is_prepack(graph, *node) && constant(node))
        .collect();
    let has_module = graph
        .params()
        .first()
        .is_some_and(|this| is_module(graph, *this));
    if let (Some(node), false) = (nodes.first(), has_module) {
        return Err(PassError::Refused(format!(
            "fold {}: the graph has no parameter for the module that the packed weight would belong to",
            describe(graph, *node)
        )));
    }
    let contract = cx.options.contract;
    // Packing reads whole weights: in parallel, collected in order.
    let packed: Vec<Arc<PackedParams>> = nodes
        .par_iter()
        .map(|node| pack(graph, *node, contract))
        .collect::<Result<_, _>>()?;
    let method = module.method(id).name;
    let mut attributes: Vec<(Sym, Arc<PackedParams>)> = Vec::new();
    for (node, params) in nodes.iter().zip(packed) {
        let known = attributes
            .iter()
            .find(|(_, other)| **other == *params)
            .map(|(name, _)| *name);
        let name = match known {
            Some(name) => name,
            None => {
                let name = new_attribute(module, method, attributes.len(), &params);
                cx.kernels.pack(&params).map_err(|reason| PassError::Pack {
                    node: describe(&module.method(id).graph, *node),
                    reason,
                })?;
                attributes.push((name, params));
                name
            }
        };
        read_attribute(&mut module.method_mut(id).graph, *node, name);
    }
    Ok(nodes.len())
}

/// Computes a prepack operation.
fn pack(graph: &Graph, id: NodeId, contract: Contract) -> Result<Arc<PackedParams>, PassError> {
    let inputs: Vec<Literal> = graph
        .node(id)
        .inputs()
        .iter()
        .filter_map(|input| graph.constant(*input).cloned())
        .collect();
    let failed = |reason: String| PassError::Pack {
        node: describe(graph, id),
        reason,
    };
    let outputs =
        evaluate(graph, id, &inputs, contract).map_err(|error| failed(error.to_string()))?;
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
    first: usize,
    params: &Arc<PackedParams>,
) -> Sym {
    let root = module.root();
    let taken = |name: Sym| {
        module.module(root).attrs.contains_key(&name) || module.submodule(root, name).is_some()
    };
    let mut names =
        (first..).map(|at| Sym::new(&format!("quantized_{method}._jit_pass_packed_weight_{at}")));
    let name = names.find(|name| !taken(*name)).unwrap_or(method);
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

fn read_attribute(graph: &mut Graph, prepack: NodeId, name: Sym) {
    let this = graph.params()[0];
    let ty = graph.ty(graph.output(prepack)).clone();
    let read = graph.insert(At::Before(prepack), Op::of("prim::GetAttr"), &[this], [ty]);
    graph.set_attr(read, "name", Literal::str(name.as_str()));
    graph.set_loc(read, graph.node(prepack).loc);
    let (old, new) = (graph.output(prepack), graph.output(read));
    graph.set_name(new, Some(name.as_str()));
    graph.replace_all_uses(old, new);
    graph.erase(prepack);
}

fn describe(graph: &Graph, id: NodeId) -> String {
    let node = graph.node(id);
    node.loc.map_or_else(
        || node.op().to_string(),
        |loc| format!("{} ({loc})", node.op()),
    )
}
