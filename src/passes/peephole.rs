//! `peephole`: small simplifications that need no evaluation.
//!
//! Taking apart what was just put together (tuples, and lists that nothing writes to), comparing with `None` what cannot be `None`, casts
//! to the type that a value has anyway, branches that give back their condition, the rank of what a quantized convolution makes and the sizes
//! that its weight tells, the sizes of a new tensor, comparing a value with itself, dropout that does not train, numbers that tracing turned into tensors and back, and adding
//! zero to floats or multiplying them by one.
//!
//! ```text
//! before: %t : (int, int) = prim::TupleConstruct(%a, %b)
//!         %1 : int, %2 : int = prim::TupleUnpack(%t)
//!         return (%2)
//! after:  return (%b)
//! ```

use planish_ir::{At, DType, Effects, Graph, GraphModule, Literal, NodeId, Op, Type, ValueId};

use crate::analysis::alias::Aliases;
use crate::analysis::shape::{Shapes, made_by};
use crate::optimize::on_each_method;
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
        Ok(on_each_method(module, |graph, _, aliases| {
            simplify(graph, aliases)
        }))
    }
}

/// Simplifies a graph; returns how many operations were replaced. What they leave unused is for `dce` to remove.
pub(crate) fn simplify(graph: &mut Graph, aliases: &Aliases) -> usize {
    let mut changed = 0;
    let others = graph.walk();
    let others = others.filter(|id| !graph.node(*id).op().is("prim::Constant"));
    for node in others.collect::<Vec<_>>() {
        let Some(by) = replacement(graph, aliases, node) else {
            continue;
        };
        for (index, value) in by.into_iter().enumerate() {
            let output = graph.node(node).outputs()[index];
            if value == output {
                continue;
            }
            changed += usize::from(!graph.value(output).uses().is_empty());
            graph.replace_all_uses(output, value);
        }
        // It would write what is there.
        if is_dropout(graph.node(node).op()) && graph.effects(node) == Effects::Writes {
            graph.erase(node);
            changed += 1;
        }
    }
    changed
}

/// Whether an operator drops elements in training, in place or not.
pub(crate) fn is_dropout(op: Op) -> bool {
    let name = op.name().as_str();
    matches!(
        name.strip_suffix('_').unwrap_or(name),
        "aten::dropout"
            | "aten::alpha_dropout"
            | "aten::feature_dropout"
            | "aten::feature_alpha_dropout"
    )
}

/// The values that a node's outputs are, when they are known.
fn replacement(graph: &mut Graph, aliases: &Aliases, id: NodeId) -> Option<Vec<ValueId>> {
    let node = graph.node(id);
    let first = *node.inputs().first()?;
    if is_dropout(node.op()) {
        let trains = graph.constant(*node.inputs().get(2)?)?.as_bool()?;
        return (!trains).then(|| vec![first]);
    }
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
            (elements.len() == node.outputs().len()).then(|| elements.to_vec())
        }
        "prim::TupleIndex" => {
            let elements = made_by(graph, first, "prim::TupleConstruct")?;
            let index = graph.constant(*node.inputs().get(1)?)?.as_int()?;
            Some(vec![at_index(elements, index)?])
        }
        "prim::ListUnpack" if !aliases.is_written(first) => {
            if let Some([tensor]) = made_by(graph, first, "aten::size") {
                let (tensor, sizes) = (*tensor, node.outputs().to_vec());
                return Some(known_sizes(graph, aliases, id, tensor, &sizes));
            }
            let elements = made_by(graph, first, "prim::ListConstruct")?;
            (elements.len() == node.outputs().len()).then(|| elements.to_vec())
        }
        "aten::__getitem__" if !aliases.is_written(first) => {
            let asked = graph.constant(*node.inputs().get(1)?)?;
            if let Some(entries) = made_by(graph, first, "prim::DictConstruct") {
                return Some(vec![entry(graph, entries, asked)?]);
            }
            let elements = made_by(graph, first, "prim::ListConstruct")?;
            Some(vec![at_index(elements, asked.as_int()?)?])
        }
        "aten::len" if !aliases.is_written(first) => {
            let len = match made_by(graph, first, "prim::ListConstruct") {
                Some(elements) => elements.len() as i64,
                None => match made_by(graph, first, "aten::size")? {
                    &[tensor] => Shapes::of(graph, aliases).rank(tensor)?,
                    _ => return None,
                },
            };
            Some(vec![
                graph.insert_constant(At::Before(id), Literal::Int(len)),
            ])
        }
        "aten::dim" => {
            let rank = Literal::Int(Shapes::of(graph, aliases).rank(first)?);
            Some(vec![graph.insert_constant(At::Before(id), rank)])
        }
        "aten::size" if node.inputs().len() == 2 => {
            let dim = graph.constant(node.inputs()[1])?.as_int()?;
            let size = Literal::Int(Shapes::of(graph, aliases).known_size(first, dim)?);
            Some(vec![graph.insert_constant(At::Before(id), size)])
        }
        "aten::size" if node.inputs().len() == 1 => {
            let asked = sizes_asked_for(graph, first)?;
            let written = [first, asked, node.outputs()[0]];
            let written = written.iter().any(|value| aliases.is_written(*value));
            (!written).then_some(vec![asked])
        }
        "aten::eq" | "aten::ne" if node.inputs().get(1) == Some(&first) => {
            let answer = equals_itself(graph.ty(first)).then(|| node.op().is("aten::eq"))?;
            Some(vec![
                graph.insert_constant(At::Before(id), Literal::Bool(answer)),
            ])
        }
        "aten::Int" => number_of(graph, id, first),
        "aten::add" | "aten::sub" | "aten::mul" | "aten::div" if adds_nothing(graph, id) => {
            let written = [first, node.outputs()[0]];
            let shared = written.iter().any(|value| aliases.is_written(*value));
            // The caller would get its own tensor back.
            (!shared && !aliases.is_outside(first)).then(|| vec![first])
        }
        "prim::If" if node.outputs().len() == 1 => {
            let result = |block: usize| {
                let block = graph.block(*node.blocks().get(block)?);
                graph.constant(block.results()[0])?.as_bool()
            };
            match (result(0)?, result(1)?) {
                (true, false) => Some(vec![first]),
                (false, true) => {
                    let not = Op::of("aten::__not__");
                    let not = graph.insert(At::Before(id), not, &[first], [Type::Bool]);
                    Some(vec![graph.output(not)])
                }
                _ => None,
            }
        }
        "prim::unchecked_cast" | "aten::_unwrap_optional"
            if graph.ty(first) == graph.ty(node.outputs()[0]) =>
        {
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

/// The sizes of a tensor: those that are known as constants, the others as they are.
fn known_sizes(
    graph: &mut Graph,
    aliases: &Aliases,
    id: NodeId,
    tensor: ValueId,
    sizes: &[ValueId],
) -> Vec<ValueId> {
    let used = |size: &ValueId| !graph.value(*size).uses().is_empty();
    let known = sizes.iter().enumerate().map(|(dim, size)| {
        let known = used(size).then(|| Shapes::of(graph, aliases).known_size(tensor, dim as i64));
        known.flatten()
    });
    let known: Vec<Option<i64>> = known.collect();
    let mut constant = |size: i64| graph.insert_constant(At::Before(id), Literal::Int(size));
    let sizes = known.into_iter().zip(sizes);
    sizes
        .map(|(known, size)| known.map_or(*size, &mut constant))
        .collect()
}

/// Whether a node adds zero to floats, or multiplies or divides them by one.
///
/// A negative zero loses its sign when zero is added to it, and keeps it here, as in PyTorch.
fn adds_nothing(graph: &Graph, id: NodeId) -> bool {
    let node = graph.node(id);
    let is = |index: usize, wanted: f64| {
        let number = node
            .inputs()
            .get(index)
            .and_then(|value| graph.constant(*value));
        match number {
            Some(Literal::Int(number)) => *number as f64 == wanted,
            Some(Literal::Float(number)) => *number == wanted,
            _ => false,
        }
    };
    let nothing = match node.op().name().as_str() {
        "aten::add" | "aten::sub" => is(1, 0.0) && is(2, 1.0),
        _ => is(1, 1.0) && node.inputs().len() == 2,
    };
    nothing && is_real(graph, node.inputs()[0])
}

/// Whether a tensor is known to hold floats.
fn is_real(graph: &Graph, tensor: ValueId) -> bool {
    /// Operators looked at on the way up.
    const MOST: usize = 64;
    let mut at = tensor;
    for _ in 0..MOST {
        let Some(producer) = graph.producer(at) else {
            return false;
        };
        let node = graph.node(producer);
        match node.op().name().as_str() {
            "aten::dequantize" | "aten::conv1d" | "aten::conv2d" | "aten::conv3d"
            | "aten::linear" | "aten::batch_norm" | "aten::layer_norm" => {
                return *graph.ty(at) == Type::Tensor(None);
            }
            "aten::add" | "aten::sub" | "aten::mul" | "aten::div" | "aten::relu" => {
                at = node.inputs()[0];
            }
            _ => return false,
        }
    }
    false
}

/// The element at an index, which may count from the end.
fn at_index(elements: &[ValueId], index: i64) -> Option<ValueId> {
    let from_end = if index < 0 { elements.len() as i64 } else { 0 };
    elements
        .get(usize::try_from(index + from_end).ok()?)
        .copied()
}

/// The value of a key in a dict whose keys are all known: the last one that was given. Two tensors are one key only if they are one tensor.
fn entry(graph: &Graph, entries: &[ValueId], asked: &Literal) -> Option<ValueId> {
    if matches!(asked, Literal::Tensor(_)) {
        return None;
    }
    let mut found = None;
    for pair in entries.chunks_exact(2) {
        if graph.constant(pair[0])? == asked {
            found = Some(pair[1]);
        }
    }
    found
}

/// The number in a tensor that holds one: an integer, or an integer divided by a constant, rounded down.
fn number_of(graph: &mut Graph, id: NodeId, tensor: ValueId) -> Option<Vec<ValueId>> {
    let integer = |graph: &Graph, tensor: ValueId| {
        let number = *made_by(graph, tensor, "prim::NumToTensor")?.first()?;
        (*graph.ty(number) == Type::Int).then_some(number)
    };
    if let Some(number) = integer(graph, tensor) {
        return Some(vec![number]);
    }
    let operands = made_by(graph, tensor, "aten::floor_divide")?;
    let dividend = integer(graph, operands[0])?;
    let Literal::Tensor(divisor) = graph.constant(*operands.get(1)?)? else {
        return None;
    };
    if divisor.dtype() != DType::Long || !divisor.shape().is_empty() {
        return None;
    }
    let divisor = i64::from_le_bytes(divisor.bytes().as_ref().try_into().ok()?);
    if divisor == 0 {
        return None;
    }
    let divisor = graph.insert_constant(At::Before(id), Literal::Int(divisor));
    let divide = Op::of("aten::floordiv.int");
    let quotient = graph.insert(At::Before(id), divide, &[dividend, divisor], [Type::Int]);
    Some(vec![graph.output(quotient)])
}

/// The list of sizes by which a tensor was made.
fn sizes_asked_for(graph: &Graph, tensor: ValueId) -> Option<ValueId> {
    const MAKES: [&str; 5] = [
        "aten::empty",
        "aten::full",
        "aten::ones",
        "aten::rand",
        "aten::zeros",
    ];
    let maker = graph.node(graph.producer(tensor)?);
    let asked = *maker.inputs().first()?;
    let is_list = matches!(graph.ty(asked), Type::List(_));
    (is_list && MAKES.iter().any(|op| maker.op().is(op))).then_some(asked)
}

/// Whether a value of this type is equal to itself, which a NaN and a tensor of numbers are not.
fn equals_itself(ty: &Type) -> bool {
    match ty {
        Type::Int | Type::Bool | Type::Str | Type::None | Type::Device => true,
        Type::List(element) => equals_itself(element),
        _ => false,
    }
}

fn is_none(graph: &Graph, value: ValueId) -> bool {
    *graph.ty(value) == Type::None
}
