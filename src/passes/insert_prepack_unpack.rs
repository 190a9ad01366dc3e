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
//! Convolutions whose padding is a word get numbers first, since packed weights have no room for words.

use planish_ir::{GraphModule, Phase};

use crate::pass::{Changed, Pass, PassCx, PassError};
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
        scope::each_kept_method(module, cx, |mut scope, graph, cx| {
            let resolved = string_padding::resolve(graph, &mut scope, NAME, cx);
            let outcome = scope.rewrite(graph, rules::prepack(), cx);
            let misses = scope.misses(graph, rules::prepack());
            resolved + scope.report(NAME, graph, &outcome, misses, cx)
        })
    }
}
