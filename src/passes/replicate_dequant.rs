//! `replicate-dequant`: gives every reader of a dequantized tensor a dequantize of its own, right before it.
//!
//! Fusion takes a dequantize that nobody else reads, in the block of the operator that it becomes part of. A tensor that something
//! writes to stays shared: what is written through one reader must be seen by the others.
//!
//! ```text
//! before: %d : Tensor = aten::dequantize(%q)
//!         %1 : Tensor = aten::relu(%d)
//!         %2 : Tensor = aten::neg(%d)
//! after:  %d.dequant.0 : Tensor = aten::dequantize(%q)
//!         %1 : Tensor = aten::relu(%d.dequant.0)
//!         %d.dequant.1 : Tensor = aten::dequantize(%q)
//!         %2 : Tensor = aten::neg(%d.dequant.1)
//! ```

use planish_ir::{At, Graph, GraphModule, NodeId, Use, ValueName};

use crate::analysis::alias::Aliases;
use crate::analysis::objects::objects;
use crate::pass::{Changed, Pass, PassCx, PassError};
use crate::remark::{Remark, RemarkKind};

/// The pass.
#[derive(Clone, Copy, Debug, Default)]
pub struct ReplicateDequant;

const NAME: &str = "replicate-dequant";

impl Pass for ReplicateDequant {
    fn name(&self) -> &'static str {
        NAME
    }

    fn doc(&self) -> &'static str {
        "gives every reader of a dequantized tensor a dequantize of its own"
    }

    fn run(&self, module: &mut GraphModule, cx: &mut PassCx<'_>) -> Result<Changed, PassError> {
        let mut changed = 0;
        for (method, id) in module.root_methods() {
            let objects = objects(module, module.root(), &module.method(id).graph);
            let graph = &mut module.method_mut(id).graph;
            let aliases = Aliases::of_writes(graph, &objects);
            let shared = graph.walk().filter(|node| is_shared(graph, *node));
            for node in shared.collect::<Vec<_>>() {
                let (from, to) = (graph.node(node).inputs()[0], graph.output(node));
                if aliases.is_written(from) || aliases.is_written(to) {
                    let reason = "something writes to it: its readers must share it";
                    let at = (method.as_str(), &*graph, node);
                    let kind = RemarkKind::Missed;
                    cx.remarks
                        .push(Remark::at(kind, NAME, "replicate", at, reason));
                } else {
                    replicate(graph, node);
                    changed += 1;
                }
            }
        }
        Ok(Changed(changed))
    }
}

fn is_shared(graph: &Graph, id: NodeId) -> bool {
    let node = graph.node(id);
    node.op().is("aten::dequantize")
        && node.outputs().len() == 1
        && graph.value(node.outputs()[0]).uses().len() > 1
}

fn replicate(graph: &mut Graph, id: NodeId) {
    let (op, from, loc) = (
        graph.node(id).op(),
        graph.node(id).inputs()[0],
        graph.node(id).loc(),
    );
    let output = graph.output(id);
    let ty = graph.ty(output).clone();
    for (number, at) in graph.value(output).uses().to_vec().into_iter().enumerate() {
        let place = match at {
            Use::Input(user, _) => At::Before(user),
            Use::Result(block, _) => At::End(block),
        };
        let copy = graph.insert(place, op, &[from], [ty.clone()]);
        graph.set_loc(copy, loc);
        let copy = graph.output(copy);
        let name = graph.value(output).name();
        let name = name.map(|name| ValueName::new(&format!("{name}.dequant.{number}")));
        graph.set_name(copy, name);
        graph.set_use(at, copy);
    }
    graph.erase(id);
}
