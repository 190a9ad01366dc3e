//! What a graph computes in float.

use std::collections::BTreeMap;

use planish::ir::{Attr, Graph, Literal, NodeId, Type};

/// Operators that compute in float what could be computed on codes, and the way between the two.
const COUNTED: &[&str] = &[
    "aten::dequantize",
    "aten::quantize_per_tensor",
    "aten::quantize_per_channel",
    "aten::_choose_qparams_per_tensor",
    "aten::_convolution",
    "aten::conv1d",
    "aten::conv2d",
    "aten::conv3d",
    "aten::conv_transpose1d",
    "aten::conv_transpose2d",
    "aten::conv_transpose3d",
    "aten::linear",
    "aten::addmm",
    "aten::matmul",
    "aten::bmm",
    "aten::batch_norm",
    "aten::layer_norm",
    "aten::group_norm",
    "aten::instance_norm",
    "aten::add",
    "aten::mul",
    "aten::cat",
    "aten::hardswish",
    "aten::elu",
    "quantized::linear_unpack",
    "quantized::linear_unpack_fp16",
    "quantized::conv1d_unpack",
    "quantized::conv2d_unpack",
    "quantized::conv3d_unpack",
    "quantized::conv_transpose1d_unpack",
    "quantized::conv_transpose2d_unpack",
    "quantized::linear_prepack",
    "quantized::linear_prepack_fp16",
    "quantized::conv1d_prepack",
    "quantized::conv2d_prepack",
    "quantized::conv3d_prepack",
    "quantized::conv_transpose1d_prepack",
    "quantized::conv_transpose2d_prepack",
    "quantized::conv_transpose3d_prepack",
];

/// Share of the largest value that a sum may be off by when it is added up in another order.
pub(crate) const TOLERANCE: f64 = 1e-5;

/// The share that a number is off by at most when it is rounded to half precision.
const HALF: f64 = 1.0 / 2048.0;

/// Operators whose results on floats are not reproduced to the bit everywhere (`docs/numerics.md`, section 6). The cases that are kept here
/// have none of the shapes or values that differ, so they are exact; of other cases these may be off by the last bits.
const NOT_PINNED: &[&str] = &[
    // Functions of MKL's vector library, whose algorithm is not published.
    "aten::tanh",
    "aten::exp",
    "aten::log",
    "aten::erf",
    "aten::sin",
    "aten::cos",
    // oneDNN's cells.
    "aten::lstm",
    "aten::gru",
    "aten::rnn_tanh",
    "aten::rnn_relu",
    "aten::quantized_gru",
    "aten::quantized_lstm",
    "quantized::quantized_gru_cell_dynamic",
    "quantized::quantized_lstm_cell_dynamic",
    "quantized::quantized_rnn_tanh_cell_dynamic",
    // Blocks of rows with a softmax that goes on from one to the next.
    "aten::scaled_dot_product_attention",
    // Some shapes: single rows and few columns, and convolutions with the channels last that are padded on all of the kernel's reach, or
    // transposed with groups or an output padding.
    "aten::linear",
    "aten::addmm",
    "aten::matmul",
    "aten::mm",
    "aten::_convolution",
    "aten::conv1d",
    "aten::conv2d",
    "aten::conv3d",
    "aten::conv_transpose1d",
    "aten::conv_transpose2d",
    "aten::conv_transpose3d",
    // With the channels last.
    "aten::group_norm",
    "aten::instance_norm",
    // Over dimensions that do not lie beside each other.
    "aten::mean",
    "aten::sum",
    // Functions and sums that nothing but cases from elsewhere has shown.
    "aten::lstm_cell",
    "aten::gru_cell",
    "aten::rnn_tanh_cell",
    "aten::rnn_relu_cell",
    "aten::sqrt",
    "aten::rsqrt",
    "aten::log1p",
    "aten::expm1",
    "aten::pow",
    "aten::mish",
    "aten::selu",
    "aten::log_sigmoid",
    "aten::norm",
    "aten::linalg_vector_norm",
    "aten::std",
    "aten::var",
    "aten::prod",
    "aten::cumsum",
    "aten::einsum",
    "aten::rms_norm",
    "aten::grid_sampler",
    "aten::upsample_bicubic2d",
    "aten::tan",
    "aten::asin",
    "aten::acos",
    "aten::atan",
    "aten::atan2",
    "aten::sinh",
    "aten::cosh",
    "aten::asinh",
    "aten::acosh",
    "aten::atanh",
    "aten::erfc",
    "aten::exp2",
    "aten::log2",
    "aten::log10",
    "aten::logsumexp",
    "aten::logcumsumexp",
    "aten::logaddexp",
    "aten::logit",
    "aten::hypot",
    "aten::xlogy",
    "aten::dot",
    "aten::addbmm",
    "aten::linalg_matrix_power",
    "aten::nanquantile",
    "aten::mv",
    "aten::addmv",
    "aten::bmm",
    "aten::baddbmm",
    "aten::tensordot",
    "aten::inner",
    "aten::trace",
    "aten::cumprod",
    "aten::var_mean",
    "aten::std_mean",
    "aten::cosine_similarity",
    "aten::pairwise_distance",
    "aten::mse_loss",
    "aten::l1_loss",
    "aten::binary_cross_entropy",
    "aten::binary_cross_entropy_with_logits",
    "aten::cdist",
    "aten::cross_entropy_loss",
    "aten::digamma",
    "aten::huber_loss",
    "aten::kl_div",
    "aten::lgamma",
    "aten::nll_loss_nd",
    "aten::quantile",
    "aten::renorm",
    "aten::sinc",
    "aten::smooth_l1_loss",
    "aten::soft_margin_loss",
    "aten::_upsample_bilinear2d_aa",
    "aten::_upsample_bicubic2d_aa",
];

/// How often each operator stands in the graphs and in the bodies of their forks, in a loop as often as the loop is known to run; in-place
/// forms count as the others, and numbers and strings do not count.
pub(crate) fn counts<'g>(graphs: impl Iterator<Item = &'g Graph>) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    let mut open: Vec<&Graph> = graphs.collect();
    while let Some(graph) = open.pop() {
        for id in graph.walk() {
            let node = graph.node(id);
            open.extend(node.attrs().filter_map(|(_, attr)| match attr {
                Attr::Graph(body) => Some(&**body),
                _ => None,
            }));
            let mut outputs = node.outputs().iter().map(|value| graph.ty(*value));
            let name = plain(node.op().name().as_str());
            if COUNTED.contains(&name) && !outputs.all(is_plain) {
                *counts.entry(name.to_owned()).or_default() += rounds(graph, id);
            }
        }
    }
    counts
}

/// How often the loops around a node run, as far as they say so: unrolling one is no change.
fn rounds(graph: &Graph, node: NodeId) -> usize {
    let mut rounds = 1;
    let mut at = Some(node);
    while let Some(inner) = at {
        at = graph.block(graph.block_of(inner)).parent();
        let Some(outer) = at.map(|node| graph.node(node)) else {
            break;
        };
        let trips = outer
            .inputs()
            .first()
            .and_then(|trips| graph.constant(*trips));
        if let (true, Some(Literal::Int(trips))) = (outer.op().is("prim::Loop"), trips)
            && (1..=64).contains(trips)
        {
            rounds *= *trips as usize;
        }
    }
    rounds
}

fn is_plain(ty: &Type) -> bool {
    matches!(
        ty,
        Type::Int | Type::Float | Type::Bool | Type::Scalar | Type::Str
    )
}

/// The smaller number of each.
pub(crate) fn least(
    a: &BTreeMap<String, usize>,
    b: &BTreeMap<String, usize>,
) -> BTreeMap<String, usize> {
    let both = a.iter().filter_map(|(name, count)| {
        let other = b.get(name)?;
        Some((name.clone(), *count.min(other)))
    });
    both.collect()
}

/// What stands more often in ours than in theirs.
pub(crate) fn excess(
    ours: &BTreeMap<String, usize>,
    theirs: &BTreeMap<String, usize>,
) -> Vec<String> {
    let theirs = |name: &str| theirs.get(name).copied().unwrap_or_default();
    ours.iter()
        .filter(|(name, count)| **count > theirs(name))
        .map(|(name, count)| format!("{name} stands {count} times instead of {}", theirs(name)))
        .collect()
}

/// The share of the largest value that outputs may be off by: none unless operators remain whose results are not pinned to the bit.
///
/// The module before Finalize (`simulated`) adds up floats where the finalized one has a dynamic linear, and its weights of half precision
/// are not rounded yet.
pub(crate) fn tolerance<'g>(graphs: impl Iterator<Item = &'g Graph>, simulated: bool) -> f64 {
    let share = |name: &'static str| match name {
        "quantized::linear_dynamic_fp16" if simulated => 2.0 * HALF,
        "quantized::linear_dynamic" if simulated => TOLERANCE,
        _ if NOT_PINNED.contains(&name) => TOLERANCE,
        _ => 0.0,
    };
    graphs.flat_map(names).map(share).fold(0.0, f64::max)
}

/// The plain names of a graph's operators.
fn names(graph: &Graph) -> impl Iterator<Item = &'static str> + '_ {
    let nodes = graph.walk();
    nodes.map(|node| plain(graph.node(node).op().name().as_str()))
}

fn plain(name: &'static str) -> &'static str {
    name.strip_suffix('_').unwrap_or(name)
}
