//! `clear-profiling`: forgets what a trace recorded of tensors.
//!
//! A traced module carries the shapes, element types and devices of one run. They must not survive, because the module is used with
//! other shapes. Every value whose type is a tensor type becomes the tensor of which nothing is known; so do graph inputs. Parameters of
//! nested blocks, optionals, lists and tuples keep their types, and payloads of constants are not touched.
//!
//! ```text
//! before: %y : Float(1, 3, strides=[3, 1]) = aten::relu(%x)
//! after:  %y : Tensor = aten::relu(%x)
//! ```

use std::sync::Arc;

use planish_ir::{Attr, Graph, GraphModule, Phase, Type, ValueId};

use crate::pass::{Changed, Pass, PassCx, PassError};

/// The pass.
#[derive(Clone, Copy, Debug, Default)]
pub struct ClearProfiling;

impl Pass for ClearProfiling {
    fn name(&self) -> &'static str {
        "clear-profiling"
    }

    fn doc(&self) -> &'static str {
        "forgets the shapes and element types that a trace recorded"
    }

    fn establishes(&self) -> Option<Phase> {
        Some(Phase::Cleared)
    }

    fn run(&self, module: &mut GraphModule, _: &mut PassCx<'_>) -> Result<Changed, PassError> {
        let methods = module.root_methods();
        Ok(Changed(
            methods
                .into_iter()
                .map(|(_, id)| clear(&mut module.method_mut(id).graph))
                .sum(),
        ))
    }
}

/// Forgets what is known of the tensors of a graph; returns how many types changed.
pub(crate) fn clear(graph: &mut Graph) -> usize {
    let mut changed = 0;
    for param in graph.params().to_vec() {
        changed += unshape(graph, param);
    }
    for node in graph.in_order() {
        for output in graph.node(node).outputs().to_vec() {
            changed += unshape(graph, output);
        }
        let bodies: Vec<_> = graph
            .node(node)
            .attrs()
            .filter_map(|(name, attr)| match attr {
                Attr::Graph(body) => Some((name, Arc::clone(body))),
                _ => None,
            })
            .collect();
        for (name, body) in bodies {
            let mut body = Graph::clone(&body);
            let inner = clear(&mut body);
            if inner > 0 {
                changed += inner;
                graph.set_attr(node, name.as_str(), Attr::Graph(Arc::new(body)));
            }
        }
    }
    changed
}

fn unshape(graph: &mut Graph, value: ValueId) -> usize {
    if !matches!(graph.ty(value), Type::Tensor(Some(_))) {
        return 0;
    }
    graph.set_ty(value, Type::TENSOR);
    1
}
