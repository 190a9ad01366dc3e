//! Which tensors are quantized, as far as it shows from what computes them.

use planish_ir::{Graph, Literal, NodeId, Type, ValueId};

/// What the elements of a tensor are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Elements {
    /// Codes, with a scale and a zero point.
    Codes,
    /// Plain numbers.
    Plain,
}

/// Operators that put the elements of their first operand, or some of them, elsewhere, and compute nothing: each gives the same before
/// quantizing or dequantizing as after, to the bit, as long as one scale and one zero point stand for all elements.
pub const MOVES_ELEMENTS: [&str; 43] = [
    "aten::alias",
    "aten::broadcast_to",
    "aten::channel_shuffle",
    "aten::chunk",
    "aten::clone",
    "aten::contiguous",
    "aten::detach",
    "aten::expand",
    "aten::expand_as",
    "aten::flatten",
    "aten::flip",
    "aten::index_select",
    "aten::moveaxis",
    "aten::movedim",
    "aten::narrow",
    "aten::numpy_T",
    "aten::permute",
    "aten::pixel_shuffle",
    "aten::pixel_unshuffle",
    "aten::repeat",
    "aten::repeat_interleave",
    "aten::reshape",
    "aten::reshape_as",
    "aten::roll",
    "aten::select",
    "aten::slice",
    "aten::split",
    "aten::split_with_sizes",
    "aten::squeeze",
    "aten::swapaxes",
    "aten::swapdims",
    "aten::t",
    "aten::tensor_split",
    "aten::tile",
    "aten::transpose",
    "aten::unbind",
    "aten::unflatten",
    "aten::unsafe_chunk",
    "aten::unsafe_split",
    "aten::unsafe_split_with_sizes",
    "aten::unsqueeze",
    "aten::view",
    "aten::view_as",
];

/// Operators that put elements elsewhere and others around them: some of them again, or zeros, which the zero point stands for. When they
/// put other numbers there, codes do not.
pub const PADS_ELEMENTS: [&str; 6] = [
    "aten::constant_pad_nd",
    "aten::pad",
    "aten::reflection_pad1d",
    "aten::reflection_pad2d",
    "aten::replication_pad1d",
    "aten::replication_pad2d",
];

/// Those of [`MOVES_ELEMENTS`] that may give more elements than they are given.
const REPEATS_ELEMENTS: [&str; 7] = [
    "aten::broadcast_to",
    "aten::expand",
    "aten::expand_as",
    "aten::index_select",
    "aten::repeat",
    "aten::repeat_interleave",
    "aten::tile",
];

/// Whether an operator may give more elements than it is given.
pub fn may_grow(name: &str) -> bool {
    REPEATS_ELEMENTS.contains(&name) || PADS_ELEMENTS.contains(&name)
}

/// Operators that choose among the elements of their first operand by comparing them, or leave them: codes are in the order of what they
/// stand for, so that each gives the same before dequantizing as after.
pub const CHOOSES_ELEMENTS: [&str; 6] = [
    "aten::dropout",
    "aten::max_pool1d",
    "aten::max_pool2d",
    "aten::max_pool3d",
    "aten::relu",
    "prim::unchecked_cast",
];

/// Whether an operator's output has the elements of its first operand, in another shape or fewer of them, so that a tensor of codes stays one
/// with the same scale and zero point.
pub fn keeps_elements(name: &str) -> bool {
    MOVES_ELEMENTS.contains(&name) || CHOOSES_ELEMENTS.contains(&name)
}

/// Operators on codes that compute plain numbers.
const COMPUTES_PLAIN: [&str; 4] = [
    "_dynamic",
    "embedding_bag",
    "embedding_byte",
    "embedding_4bit",
];

/// Operators whose tensors must be all quantized or all not.
const ALL_ALIKE: [&str; 14] = [
    "add", "bmm", "cat", "concat", "div", "hstack", "matmul", "maximum", "minimum", "mm", "mul",
    "stack", "sub", "vstack",
];

/// A node that reads quantized tensors and others where it takes one kind: what is quantized, and what is not.
pub fn mixed(graph: &Graph, id: NodeId) -> Option<(ValueId, ValueId)> {
    let node = graph.node(id);
    let name = node.op().name();
    let (space, short) = name.as_str().split_once("::")?;
    let short = short.trim_end_matches('_').trim_end_matches("_relu");
    if !["aten", "quantized"].contains(&space) || !ALL_ALIKE.contains(&short) {
        return None;
    }
    let tensors: Vec<ValueId> = node
        .inputs()
        .iter()
        .flat_map(|input| parts(graph, *input))
        .collect();
    let first = |wanted| {
        let mut tensors = tensors.iter().copied();
        tensors
            .find(|tensor| !is_number(graph, *tensor) && elements(graph, *tensor) == Some(wanted))
    };
    Some((first(Elements::Codes)?, first(Elements::Plain)?))
}

/// A tensor that is not quantized among those that an operator on codes reads.
pub fn plain_among(graph: &Graph, value: ValueId) -> Option<ValueId> {
    let mut parts = parts(graph, value).into_iter();
    parts.find(|part| elements(graph, *part) == Some(Elements::Plain))
}

/// What the elements of a tensor are; `None` when what computes it does not tell.
pub fn elements(graph: &Graph, value: ValueId) -> Option<Elements> {
    /// Far enough for what one layer does.
    const STEPS: usize = 64;
    let mut at = value;
    // Behind an operator that is not known to keep elements, plain numbers stay plain, and codes may become anything.
    let mut kept = true;
    for _ in 0..STEPS {
        if let Some(literal) = graph.constant(at) {
            let Literal::Tensor(tensor) = literal else {
                return None;
            };
            let codes = tensor.dtype().is_quantized();
            return (kept || !codes).then_some(if codes {
                Elements::Codes
            } else {
                Elements::Plain
            });
        }
        let node = graph.node(graph.producer(at)?);
        let name = node.op().name();
        let name = name.as_str();
        match name {
            "aten::dequantize" => return Some(Elements::Plain),
            "aten::quantize_per_tensor" | "aten::quantize_per_channel" => {
                return kept.then_some(Elements::Codes);
            }
            _ => {}
        }
        if let Some(short) = name.strip_prefix("quantized::") {
            let plain = COMPUTES_PLAIN.iter().any(|part| short.contains(part));
            let packs = short.contains("pack") || node.outputs().len() != 1;
            return match (packs, plain) {
                (true, _) => None,
                (false, true) => Some(Elements::Plain),
                (false, false) => kept.then_some(Elements::Codes),
            };
        }
        let first = *node.inputs().first()?;
        let of_aten = name.starts_with("aten::") || name == "prim::unchecked_cast";
        if !of_aten || !matches!(graph.ty(first), Type::Tensor(_)) {
            return None;
        }
        kept &= keeps_elements(name);
        at = first;
    }
    None
}

/// The tensors of a list that is made here, or the value itself.
fn parts(graph: &Graph, value: ValueId) -> Vec<ValueId> {
    let node = graph.producer(value).map(|id| graph.node(id));
    match node {
        Some(node) if node.op().is("prim::ListConstruct") => node.inputs().to_vec(),
        _ => vec![value],
    }
}

/// A tensor without dimensions counts as a number: it may stand beside a quantized tensor.
fn is_number(graph: &Graph, value: ValueId) -> bool {
    match graph.constant(value) {
        Some(Literal::Tensor(tensor)) => tensor.shape().is_empty(),
        _ => false,
    }
}
