//! `quant-fusion`: replaces float operators between `aten::dequantize` and `aten::quantize_per_tensor` by quantized operators.
//!
//! Which rules apply depends on how activations were quantized: `rules/quant_fusion.rules` when scales are known, `rules/dynamic.rules`
//! when they are computed on each run. Packed weights that nothing was fused with are taken back afterwards, so that no run unpacks them.
//!
//! ```text
//! before: %1 : Tensor = aten::dequantize(%a)
//!         %2 : Tensor = aten::dequantize(%b)
//!         %3 : Tensor = aten::mul(%1, %2)
//!         %4 : Tensor = aten::quantize_per_tensor(%3, %scale, %zero_point, %dtype)
//! after:  %4 : Tensor = quantized::mul(%a, %b, %scale, %zero_point)
//! ```

use std::collections::HashMap;

use planish_ir::{GraphModule, NodeId, Phase};

use crate::pass::{Changed, Pass, PassCx, PassError};
use crate::{rules, scope, views};

/// The pass.
#[derive(Clone, Copy, Debug, Default)]
pub struct QuantFusion;

const NAME: &str = "quant-fusion";

impl Pass for QuantFusion {
    fn name(&self) -> &'static str {
        NAME
    }

    fn doc(&self) -> &'static str {
        "replaces float operators between dequantize and quantize by quantized operators"
    }

    fn establishes(&self) -> Option<Phase> {
        Some(Phase::Fused)
    }

    fn run(&self, module: &mut GraphModule, cx: &mut PassCx<'_>) -> Result<Changed, PassError> {
        let rules = rules::fusion(cx.options.quant_type);
        scope::each_kept_method(module, cx, |mut scope, graph, cx| {
            let fused = scope.rewrite(graph, rules, cx);
            let mut misses = scope.misses(graph, rules);
            let undone = scope.rewrite(graph, rules::undo_prepack(), cx);
            let instead: HashMap<NodeId, NodeId> = undone
                .applied
                .iter()
                .filter_map(|undo| Some((undo.root, undo.made?)))
                .collect();
            for (node, _) in &mut misses {
                *node = instead.get(node).copied().unwrap_or(*node);
            }
            let copied = views::may_copy(graph, &scope, NAME, cx);
            scope.report(NAME, graph, &fused, misses, cx)
                + scope.report(NAME, graph, &undone, Vec::new(), cx)
                + copied
        })
    }
}
