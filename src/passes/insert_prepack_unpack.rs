//! `insert-prepack-unpack`: puts packing and unpacking between a quantized weight and the float operator that reads it.
//!
//! What is packed can be kept as an attribute (`fold-prepack`), and what is unpacked is where `quant-fusion` finds the packed weight. A
//! weight must be constant: packing an activation would cost on every run what it should save.
//!
//! ```text
//! before: %w : Tensor = aten::dequantize(%w_q)
//!         %y : Tensor = aten::linear(%x, %w, %b)
//! after:  %p : __torch__.torch.classes.quantized.LinearPackedParamsBase = quantized::linear_prepack(%w_q, %b)
//!         %w_u : Tensor, %b_u : Tensor? = quantized::linear_unpack(%p)
//!         %w : Tensor = aten::dequantize(%w_u)
//!         %y : Tensor = aten::linear(%x, %w, %b_u)
//! ```
//!
//! Convolutions whose padding is a word get numbers first, since packed weights have no room for words. A transposed convolution takes one
//! scale for its whole weight: one that is quantized by channel is refused here, where PyTorch's finalized module fails on its first run.

use planish_ir::{Graph, GraphModule, Literal, NodeId, Phase, QParams};

use crate::pass::{Changed, Pass, PassCx, PassError};
use crate::scope::Scope;
use crate::why_not::node_text;
use crate::{rules, scope, string_padding};

/// The pass.
#[derive(Clone, Copy, Debug, Default)]
pub struct InsertPrepackUnpack;

const NAME: &str = "insert-prepack-unpack";

impl Pass for InsertPrepackUnpack {
    fn name(&self) -> &'static str {
        NAME
    }

    fn doc(&self) -> &'static str {
        "packs and unpacks the quantized weights of linear and convolution operators"
    }

    fn establishes(&self) -> Option<Phase> {
        Some(Phase::Prepacked)
    }

    fn run(&self, module: &mut GraphModule, cx: &mut PassCx<'_>) -> Result<Changed, PassError> {
        let mut refused = None;
        let changed = scope::each_kept_method(module, cx, |mut scope, graph, cx| {
            let mut nodes = graph.walk();
            let found = nodes.find_map(|node| transposed_by_channel(graph, &scope, node));
            if refused.is_none() {
                refused = found;
            }
            let resolved = string_padding::resolve(graph, &mut scope, NAME, cx);
            let outcome = scope.rewrite(graph, rules::prepack(), cx);
            let misses = scope.misses(graph, rules::prepack());
            resolved + scope.report(NAME, graph, &outcome, misses, cx)
        })?;
        match refused {
            Some(error) => Err(error),
            None => Ok(changed),
        }
    }
}

/// What is wrong with a transposed convolution whose weight is quantized by channel.
fn transposed_by_channel(graph: &Graph, scope: &Scope<'_>, id: NodeId) -> Option<PassError> {
    let node = graph.node(id);
    let name = node.op().name();
    if !name.as_str().starts_with("aten::conv_transpose") {
        return None;
    }
    let weight = graph.node(graph.producer(*node.inputs().get(1)?)?);
    let codes = *weight.inputs().first()?;
    if !weight.op().is("aten::dequantize") {
        return None;
    }
    let quantized = graph.producer(codes).map(|node| graph.node(node).op());
    let by_channel = match scope.facts.literal(graph, codes) {
        Some(Literal::Tensor(tensor)) => {
            matches!(tensor.qparams(), Some(QParams::PerChannel { .. }))
        }
        _ => quantized.is_some_and(|op| op.is("aten::quantize_per_channel")),
    };
    by_channel.then(|| PassError::Pack {
        node: format!("{} in {}", node_text(graph, id), scope.method),
        reason: "it has a scale for each channel, and transposed convolutions take one for the whole weight: quantize it with an observer that is not per channel".to_owned(),
    })
}
