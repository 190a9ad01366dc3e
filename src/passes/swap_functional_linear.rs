//! `swap-functional-linear`: makes an operator of every call of `torch.nn.functional.linear`.
//!
//! Older files call the function, whose body chooses between `addmm` and `matmul`; only the operator is quantized with packed weights.
//! PyTorch's pass of this name takes any function called `linear` for it; here it must be PyTorch's own.
//!
//! ```text
//! before: %f : Function = prim::Constant[name="__torch__.torch.nn.functional.linear"]()
//!         %y : Tensor = prim::CallFunction(%f, %x, %weight, %bias)
//! after:  %y : Tensor = aten::linear(%x, %weight, %bias)
//! ```

use planish_ir::{At, Graph, GraphModule, Literal, NodeId, Op, Type};

use crate::pass::{Changed, Pass, PassCx, PassError};

/// The pass.
#[derive(Clone, Copy, Debug, Default)]
pub struct SwapFunctionalLinear;

impl Pass for SwapFunctionalLinear {
    fn name(&self) -> &'static str {
        "swap-functional-linear"
    }

    fn doc(&self) -> &'static str {
        "makes an operator of every call of torch.nn.functional.linear"
    }

    fn run(&self, module: &mut GraphModule, _: &mut PassCx<'_>) -> Result<Changed, PassError> {
        let mut changed = 0;
        for id in module.named_methods() {
            let graph = &mut module.method_mut(id).graph;
            for node in graph.find_all("prim::CallFunction") {
                changed += usize::from(swap(graph, node));
            }
        }
        Ok(Changed(changed))
    }
}

/// Replaces a call; returns whether it was one of the function.
fn swap(graph: &mut Graph, id: NodeId) -> bool {
    let node = graph.node(id);
    let [function, x, weight, bias @ ..] = node.inputs() else {
        return false;
    };
    let name = match (graph.constant(*function), graph.ty(*function)) {
        (Some(Literal::Function(name)), _) | (_, Type::Function(name)) => name.as_str(),
        _ => return false,
    };
    let path = name.trim_start_matches("__torch__.");
    if path != "torch.nn.functional.linear" || bias.len() > 1 {
        return false;
    }
    let linear = Op::of("aten::linear");
    let bias_type = bias.first().map_or(&Type::None, |bias| graph.ty(*bias));
    let types = [graph.ty(*x), graph.ty(*weight), bias_type];
    let schema = linear.schema();
    if schema.is_none_or(|schema| schema.check(types).is_err()) {
        return false;
    }
    let (function, loc, mut inputs) = (*function, node.loc(), vec![*x, *weight]);
    inputs.push(match bias {
        [bias] => *bias,
        _ => graph.insert_constant(At::Before(id), Literal::None),
    });
    let old = graph.output(id);
    let ty = graph.ty(old).clone();
    let linear = graph.insert(At::Before(id), linear, &inputs, [ty]);
    graph.set_loc(linear, loc);
    let new = graph.output(linear);
    graph.copy_name(old, new);
    graph.replace_all_uses(old, new);
    graph.erase(id);
    if let Some(constant) = graph.producer(function)
        && graph.value(function).uses().is_empty()
    {
        graph.erase(constant);
    }
    true
}
