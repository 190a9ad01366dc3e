//! `peephole`: small simplifications that need no evaluation.
//!
//! Taking apart what was just put together (tuples, and lists that nothing writes to), comparing with `None` what cannot be `None`, and
//! casts to the type that a value has anyway.
//!
//! ```text
//! before: %t : (int, int) = prim::TupleConstruct(%a, %b)
//!         %1 : int, %2 : int = prim::TupleUnpack(%t)
//!         return (%2)
//! after:  return (%b)
//! ```

use planish_ir::{At, Graph, GraphModule, Literal, NodeId, Type, ValueId};

use crate::analysis::alias::Aliases;
use crate::analysis::objects::{Objects, objects};
use crate::pass::{Changed, Pass, PassCx, PassError};

/// The pass.
#[derive(Clone, Copy, Debug, Default)]
pub struct Peephole;

impl Pass for Peephole {
    fn name(&self) -> &'static str {
        "peephole"
    }

    fn doc(&self) -> &'static str {
        "small simplifications that need no evaluation"
    }

    fn run(&self, module: &mut GraphModule, _: &mut PassCx<'_>) -> Result<Changed, PassError> {
        let mut changed = 0;
        for (_, id) in module.root_methods() {
            let objects = objects(module, module.root(), &module.method(id).graph);
            changed += simplify(&mut module.method_mut(id).graph, &objects);
        }
        Ok(Changed(changed))
    }
}

/// Simplifies a graph; returns how many operations were replaced. What they leave unused is for `dce` to remove.
pub(crate) fn simplify(graph: &mut Graph, objects: &Objects) -> usize {
    let aliases = Aliases::new(graph, objects);
    let mut changed = 0;
    for node in graph.walk() {
        let Some(by) = replacement(graph, &aliases, node) else {
            continue;
        };
        for (index, value) in by.into_iter().enumerate() {
            let output = graph.node(node).outputs()[index];
            changed += usize::from(!graph.value(output).uses().is_empty());
            graph.replace_all_uses(output, value);
        }
    }
    changed
}

/// The values that a node's outputs are, when they are known.
fn replacement(graph: &mut Graph, aliases: &Aliases, id: NodeId) -> Option<Vec<ValueId>> {
    let node = graph.node(id);
    let first = *node.inputs().first()?;
    if node
        .outputs()
        .iter()
        .all(|output| graph.value(*output).uses().is_empty())
    {
        return None;
    }
    match node.op().name().as_str() {
        "prim::TupleUnpack" => {
            let elements = made_by(graph, first, "prim::TupleConstruct")?;
            (elements.len() == node.outputs().len()).then_some(elements)
        }
        "prim::TupleIndex" => {
            let elements = made_by(graph, first, "prim::TupleConstruct")?;
            let index = graph.constant(*node.inputs().get(1)?)?.as_int()?;
            let index = if index < 0 {
                index + elements.len() as i64
            } else {
                index
            };
            Some(vec![*elements.get(usize::try_from(index).ok()?)?])
        }
        "prim::ListUnpack" if !aliases.is_written(first) => {
            let elements = made_by(graph, first, "prim::ListConstruct")?;
            (elements.len() == node.outputs().len()).then_some(elements)
        }
        "prim::unchecked_cast" if graph.ty(first) == graph.ty(node.outputs()[0]) => {
            Some(vec![first])
        }
        "aten::__is__" | "aten::__isnot__" => {
            let is = node.op().is("aten::__is__");
            let second = *node.inputs().get(1)?;
            let (none, other) = if is_none(graph, second) {
                (true, first)
            } else {
                (is_none(graph, first), second)
            };
            if !none {
                return None;
            }
            let answer = match graph.ty(other) {
                Type::None => is,
                Type::Optional(_) | Type::Any | Type::Union(_) | Type::Var(_) => return None,
                _ => !is,
            };
            Some(vec![
                graph.insert_constant(At::Before(id), Literal::Bool(answer)),
            ])
        }
        _ => None,
    }
}

fn made_by(graph: &Graph, value: ValueId, op: &str) -> Option<Vec<ValueId>> {
    let producer = graph.node(graph.producer(value)?);
    producer.op().is(op).then(|| producer.inputs().to_vec())
}

fn is_none(graph: &Graph, value: ValueId) -> bool {
    *graph.ty(value) == Type::None
}
