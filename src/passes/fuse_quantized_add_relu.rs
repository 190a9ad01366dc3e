//! `fuse-quantized-add-relu`: gives the relu after a quantized sum to the sum itself.
//!
//! For modules that were quantized elsewhere: what `quant-fusion` makes has its relu already. The rules are `rules/add_relu.rules`.
//!
//! ```text
//! before: %1 : Tensor = quantized::add(%a, %b, %scale, %zero_point)
//!         %2 : Tensor = aten::relu(%1)
//! after:  %2 : Tensor = quantized::add_relu(%a, %b, %scale, %zero_point)
//! ```

use planish_ir::GraphModule;

use crate::pass::{Changed, Pass, PassCx, PassError};
use crate::{rules, scope};

/// The pass.
#[derive(Clone, Copy, Debug, Default)]
pub struct FuseQuantizedAddRelu;

const NAME: &str = "fuse-quantized-add-relu";

impl Pass for FuseQuantizedAddRelu {
    fn name(&self) -> &'static str {
        NAME
    }

    fn doc(&self) -> &'static str {
        "gives the relu after a quantized sum to the sum itself"
    }

    fn run(&self, module: &mut GraphModule, cx: &mut PassCx<'_>) -> Result<Changed, PassError> {
        scope::each_kept_method(module, cx, |mut scope, graph, cx| {
            let outcome = scope.rewrite(graph, rules::add_relu(), cx);
            let misses = scope.misses(graph, rules::add_relu());
            scope.report(NAME, graph, &outcome, misses, cx)
        })
    }
}
