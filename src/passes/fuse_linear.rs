//! `fuse-linear`: makes linear maps of products with a transposed weight, which is how a linear layer is traced or written by hand.
//!
//! Only linear maps are quantized with packed weights. The rules are `rules/linear.rules`; PyTorch's pass of this name does the same, and
//! does not look at the shapes of weight and bias.
//!
//! ```text
//! before: %t : Tensor = aten::t(%weight)
//!         %p : Tensor = aten::matmul(%x, %t)
//!         %y : Tensor = aten::add_(%p, %bias, %one)
//! after:  %y : Tensor = aten::linear(%x, %weight, %bias)
//! ```

use planish_ir::GraphModule;

use crate::pass::{Changed, Pass, PassCx, PassError};
use crate::{rules, scope};

/// The pass.
#[derive(Clone, Copy, Debug, Default)]
pub struct FuseLinear;

const NAME: &str = "fuse-linear";

impl Pass for FuseLinear {
    fn name(&self) -> &'static str {
        NAME
    }

    fn doc(&self) -> &'static str {
        "makes linear maps of products with a transposed weight"
    }

    fn run(&self, module: &mut GraphModule, cx: &mut PassCx<'_>) -> Result<Changed, PassError> {
        scope::each_kept_method(module, cx, |mut scope, graph, cx| {
            let outcome = scope.rewrite(graph, rules::linear(), cx);
            let misses = scope.misses(graph, rules::linear());
            scope.report(NAME, graph, &outcome, misses, cx)
        })
    }
}
