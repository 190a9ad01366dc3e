//! Where PyTorch's Finalize is wrong or fails, and planish's answer is therefore another one.
//!
//! A defect is recognised by what stands in the graphs, never by a case's name, and only where it is shown that nothing else differs: with
//! the defect put into planish's module it answers what PyTorch's does, or planish's answer is that of the module before Finalize.

use planish::eval::Contract;
use planish::ir::{At, Graph, GraphModule, Literal, NodeId, Op, PackedParams, Type, ValueId};

use crate::case::{Case, EXACT, Kind, compare};
use crate::float;
use crate::unfused::leaves_in_float;

/// A known defect of PyTorch's Finalize.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Defect {
    /// `quantized::add_scalar_out` with its input as its output: the new scale is set before the codes are read by the old one.
    InPlace,
    /// The form of `quantized::add_scalar_relu` that takes the number as a tensor, as traced modules have it, forgets the relu.
    NoRelu,
    /// What writes in place reads in vectors what lies together in the tensor, gaps apart; elsewhere the operand is first made dense. planish writes
    /// in place nowhere.
    InVectors,
    /// Defect B8: an instance norm with running statistics takes those of the batch; and a batch norm that trains takes the running ones.
    BatchStatistics,
    /// fbgemm alone answers otherwise: its depthwise convolutions saturate, or a sum of floats that was left is rounded to another code.
    Engine,
    /// There is no answer of PyTorch's for an operator that planish fuses, and the fused one rounds elsewhere or chooses another scale.
    Simulated,
    /// Defect B9: linear maps that interface calls and forks lead to stay in float, where planish quantizes their inputs or rounds their weights
    /// as everywhere else.
    Unfused,
    /// What PyTorch fuses has no kernel for codes that are not quint8, or weights that are not qint8 by output channel: its module fails, where
    /// planish leaves what fits nothing in float.
    NoKernel,
    /// [`Defect::Simulated`] where images are enlarged: PyTorch's order of blending real numbers is not known, so it is shown to one step only.
    Blended,
}

impl Defect {
    /// All of them.
    pub(crate) const ALL: [Self; 9] = [
        Self::InPlace,
        Self::NoRelu,
        Self::InVectors,
        Self::BatchStatistics,
        Self::Engine,
        Self::Simulated,
        Self::Unfused,
        Self::NoKernel,
        Self::Blended,
    ];

    /// What it is, in words.
    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::InPlace => {
                "PyTorch adds a number in place and reads the codes by the new scale; equal to the bit with that put in"
            }
            Self::NoRelu => {
                "PyTorch forgets the relu of a sum with a number in a tensor; equal to the bit with that put in"
            }
            Self::InVectors => {
                "PyTorch writes a leaky relu in place and takes other numbers in vectors; equal to the bit with that put in"
            }
            Self::BatchStatistics => {
                "PyTorch swaps a norm's running statistics and the batch's (B8); outputs equal those of the module before"
            }
            Self::Engine => {
                "fbgemm alone differs; outputs equal to the bit another engine's, and where no depthwise sum saturates those of the module before"
            }
            Self::Simulated => {
                "PyTorch fails or fuses less; equal to the bit with the module before where what only planish fuses is simulated"
            }
            Self::Unfused => {
                "PyTorch leaves linear maps behind interface calls in float (B9); both answers follow from the module before"
            }
            Self::NoKernel => {
                "PyTorch fuses where no kernel takes the codes, and fails; equal to the bit with the module before"
            }
            Self::Blended => {
                "PyTorch fails; where codes are blended instead of real numbers a few are the next one to the module's before"
            }
        }
    }

    /// The defect by which PyTorch's graphs and answer differ from planish's as found; `None` when there is none that explains everything.
    pub(crate) fn explaining(
        case: &Case,
        ours: &GraphModule,
        found: &[(Kind, String)],
    ) -> Option<Self> {
        let theirs = case.finalized_graphs();
        let explains = |defect: &Self| match defect {
            Self::InPlace => adds_in_place(case, ours, &theirs, found),
            Self::NoRelu => only_outputs(found) && forgets_relu(case, ours, &theirs),
            Self::InVectors => only_outputs(found) && reads_in_place(case, ours, &theirs),
            Self::BatchStatistics => drops_statistics(case, ours, &theirs, found),
            Self::Engine => differs_in_fbgemm(case, ours, found),
            Self::Simulated => only_outputs(found) && is_simulated(case, ours, &theirs),
            Self::Unfused => only_outputs(found) && leaves_in_float(case, ours, &theirs),
            Self::NoKernel => lacks_kernels(case, ours, &theirs, found),
            Self::Blended => is_blended(case, ours, found),
        };
        Self::ALL.into_iter().find(explains)
    }
}

fn adds_in_place(
    case: &Case,
    ours: &GraphModule,
    theirs: &[Graph],
    found: &[(Kind, String)],
) -> bool {
    if !only_outputs(found)
        || count(theirs, "quantized::add_scalar_out")
            + count(theirs, "quantized::add_scalar_relu_out")
            == 0
    {
        return false;
    }
    let mut wrong = ours.clone();
    let Some(forward) = wrong.root_method("forward") else {
        return false;
    };
    let graph = &mut wrong.method_mut(forward).graph;
    for node in graph.walk().collect::<Vec<_>>() {
        let name = graph.node(node).op().name();
        if matches!(
            name.as_str(),
            "quantized::add_scalar" | "quantized::add_scalar_relu"
        ) {
            read_by_new_scale(graph, node);
        }
    }
    equals(case, &wrong, "after_fbgemm", EXACT)
}

/// Replaces `y = add_scalar(x, number)` by what PyTorch computes when `x` is the output too: `y` has the scale and the zero point that it
/// should have, and the codes of `x`, taken to stand for values of that scale and zero point, plus the number in steps of the old scale.
fn read_by_new_scale(graph: &mut Graph, node: NodeId) {
    let relu = graph.node(node).op().is("quantized::add_scalar_relu");
    let &[x, number] = graph.node(node).inputs() else {
        return;
    };
    let y = graph.output(node);
    let uses = graph.value(y).uses().to_vec();
    let [float, one] = [6, 1].map(|int| graph.insert_constant(At::Before(node), Literal::Int(int)));
    let no = graph.insert_constant(At::Before(node), Literal::Bool(false));
    let none = graph.insert_constant(At::Before(node), Literal::None);
    let mut chain = Chain { last: node };
    let scale = chain.put(graph, "aten::q_scale", &[y], Type::Float);
    let zero_point = chain.put(graph, "aten::q_zero_point", &[y], Type::Int);
    let dtype = chain.put(graph, "prim::dtype", &[y], Type::Int);
    let old = chain.put(graph, "aten::q_scale", &[x], Type::Float);
    let steps = chain.put(graph, "aten::div", &[number, old], Type::Float);
    let steps = chain.put(graph, "aten::round.Scalar", &[steps], Type::Scalar);
    let shift = chain.put(graph, "aten::sub", &[steps, zero_point], Type::Scalar);
    let tensor = Type::Tensor(None);
    let codes = chain.put(graph, "aten::int_repr", &[x], tensor.clone());
    let to = [codes, float, no, no, none];
    let codes = chain.put(graph, "aten::to.dtype", &to, tensor.clone());
    let mut values = chain.put(
        graph,
        "aten::add.Scalar",
        &[codes, shift, one],
        tensor.clone(),
    );
    if relu {
        values = chain.put(graph, "aten::relu", &[values], tensor.clone());
    }
    let values = chain.put(graph, "aten::mul.Scalar", &[values, scale], tensor.clone());
    let operands = [values, scale, zero_point, dtype];
    let wrong = chain.put(graph, "aten::quantize_per_tensor", &operands, tensor);
    for at in uses {
        graph.set_use(at, wrong);
    }
}

fn forgets_relu(case: &Case, ours: &GraphModule, theirs: &[Graph]) -> bool {
    const FUSED: &str = "quantized::add_scalar_relu";
    let in_tensor = theirs.iter().flat_map(|graph| {
        let fused = graph.find_all(FUSED).into_iter();
        fused.map(|node| matches!(graph.ty(graph.node(node).inputs()[1]), Type::Tensor(_)))
    });
    let in_tensor: Vec<bool> = in_tensor.collect();
    let mut wrong = ours.clone();
    let Some(forward) = wrong.root_method("forward") else {
        return false;
    };
    let graph = &mut wrong.method_mut(forward).graph;
    let fused = graph.find_all(FUSED);
    if fused.len() != in_tensor.len() || !in_tensor.contains(&true) {
        return false;
    }
    for (node, in_tensor) in fused.into_iter().zip(in_tensor) {
        if in_tensor {
            replace(graph, node, "quantized::add_scalar");
        }
    }
    equals(case, &wrong, "after_fbgemm", EXACT)
}

fn reads_in_place(case: &Case, ours: &GraphModule, theirs: &[Graph]) -> bool {
    let mut wrong = ours.clone();
    let Some(forward) = wrong.root_method("forward") else {
        return false;
    };
    let graph = &mut wrong.method_mut(forward).graph;
    let found = graph.find_all("aten::leaky_relu");
    if found.len() != count(theirs, "aten::leaky_relu_") {
        return false;
    }
    for node in found {
        replace(graph, node, "aten::leaky_relu_");
    }
    equals(case, &wrong, "after_fbgemm", EXACT)
}

/// Computes a value by another operator on the same operands.
fn replace(graph: &mut Graph, node: NodeId, op: &str) {
    let (y, inputs) = (graph.output(node), graph.node(node).inputs().to_vec());
    let uses = graph.value(y).uses().to_vec();
    let mut chain = Chain { last: node };
    let other = chain.put(graph, op, &inputs, Type::Tensor(None));
    for at in uses {
        graph.set_use(at, other);
    }
    graph.erase(node);
}

fn drops_statistics(
    case: &Case,
    ours: &GraphModule,
    theirs: &[Graph],
    found: &[(Kind, String)],
) -> bool {
    /// What planish keeps around a norm that it leaves in float.
    const KEPT: [&str; 4] = [
        "aten::batch_norm",
        "aten::instance_norm",
        "aten::dequantize",
        "aten::quantize_per_tensor",
    ];
    let forward = forward(ours);
    let fuses = |kind: &str| {
        let fused = [
            format!("quantized::{kind}"),
            format!("quantized::{kind}_relu"),
        ];
        let count = |graphs: &[Graph]| fused.iter().map(|name| count(graphs, name)).sum::<usize>();
        count(theirs) > count(&forward)
    };
    let instance = fuses("instance_norm")
        && (count(&forward, "aten::instance_norm") > 0
            || count(&forward, "quantized::batch_norm") > 0);
    let trains = fuses("batch_norm") && count(&forward, "aten::batch_norm") > 0;
    (instance || trains)
        && found.iter().all(|(kind, what)| match kind {
            Kind::Outputs => true,
            Kind::Leftover => KEPT
                .iter()
                .any(|kept| what.starts_with(&format!("{kept} "))),
            _ => false,
        })
        && (equals(case, ours, "before", float::TOLERANCE) || few_are_next(case, ours))
}

fn differs_in_fbgemm(case: &Case, ours: &GraphModule, found: &[(Kind, String)]) -> bool {
    let engines = ["after_x86", "after_onednn", "after_qnnpack"];
    only_outputs(found)
        && (convolves_by_channel(ours) || equals(case, ours, "before", EXACT))
        && engines
            .iter()
            .any(|engine| equals(case, ours, engine, EXACT))
}

/// Whether there is a convolution of each channel alone: fbgemm's fast path for those adds pairs of products in 16 bits, which
/// activations of 8 bits overflow.
fn convolves_by_channel(module: &GraphModule) -> bool {
    let by_channel = |packed: &PackedParams| {
        let groups = packed.geometry().map(|geometry| geometry.groups);
        groups.is_some_and(|groups| groups > 1 && packed.weight.shape().get(1) == Some(&1))
    };
    let mut attrs = module.module(module.root()).attrs.iter();
    attrs.any(|(_, value)| matches!(value, Literal::Packed(packed) if by_channel(packed)))
}

/// Operators that PyTorch's kernel computes on codes, or by a scale of its own, where the simulation rounds real numbers.
const ROUNDED: [&str; 8] = [
    "quantized::add_scalar",
    "quantized::add_scalar_relu",
    "quantized::mul_scalar",
    "quantized::mul_scalar_relu",
    "aten::upsample_bilinear2d",
    "aten::avg_pool2d",
    "aten::adaptive_avg_pool2d",
    "aten::mean",
];

fn is_simulated(case: &Case, ours: &GraphModule, theirs: &[Graph]) -> bool {
    let fused = |graphs: &[Graph]| -> usize {
        let nodes = graphs.iter().flat_map(|graph| {
            let nodes = graph.walk();
            nodes.filter(|node| on_codes(graph, *node))
        });
        nodes.count()
    };
    let no_answer = case.recorded("after_fbgemm").is_empty();
    if !(no_answer || fused(theirs) < fused(&forward(ours))) {
        return false;
    }
    let mut simulated = ours.clone();
    let Some(forward) = simulated.root_method("forward") else {
        return false;
    };
    let graph = &mut simulated.method_mut(forward).graph;
    let on_codes = graph.walk().filter(|node| on_codes(graph, *node));
    for node in on_codes.collect::<Vec<_>>() {
        simulate(graph, node);
    }
    equals(case, &simulated, "before", EXACT)
}

/// PyTorch's kernels name the codes that they do not take, or run past scales that do not belong to output channels.
fn lacks_kernels(
    case: &Case,
    ours: &GraphModule,
    theirs: &[Graph],
    found: &[(Kind, String)],
) -> bool {
    const REFUSALS: [&str; 5] = [
        "but got QInt8",
        "but got QInt32",
        "scalar type QInt8 but found",
        "Expected activation data type QUInt8",
        "select(): index",
    ];
    let refusal = case.error_of("fbgemm").unwrap_or_default();
    let kinds = [Kind::Outputs, Kind::Leftover];
    REFUSALS.iter().any(|text| refusal.contains(text))
        && found.iter().all(|(kind, _)| kinds.contains(kind))
        && (equals(case, ours, "before", EXACT) || is_simulated(case, ours, theirs))
}

fn is_blended(case: &Case, ours: &GraphModule, found: &[(Kind, String)]) -> bool {
    let blends = forward(ours).iter().any(|graph| {
        let mut blends = graph.walk().filter(|node| on_codes(graph, *node));
        blends.any(|node| graph.node(node).op().is("aten::upsample_bilinear2d"))
    });
    blends
        && only_outputs(found)
        && case.recorded("after_fbgemm").is_empty()
        && few_are_next(case, ours)
}

/// Whether a module answers what the one before Finalize does, but for a few values that are the next code.
fn few_are_next(case: &Case, module: &GraphModule) -> bool {
    /// The share of values that may be.
    const FEW: f64 = 0.1;
    let expected = case.recorded("before");
    let Ok(answer) = case.answer(module, Contract::Fbgemm) else {
        return false;
    };
    let near = |a: &[f32], b: &[f32]| {
        let mut levels = b.to_vec();
        levels.sort_by(f32::total_cmp);
        let gaps = levels.windows(2).map(|pair| pair[1] - pair[0]);
        let step = gaps.filter(|gap| *gap > 1e-6).fold(f32::INFINITY, f32::min);
        let off = a.iter().zip(b).map(|(a, b)| (a - b).abs());
        let off: Vec<f32> = off.filter(|off| *off != 0.0).collect();
        off.len() as f64 <= FEW * b.len() as f64 && off.iter().all(|off| *off <= 1.01 * step)
    };
    answer.len() == expected.len() && answer.iter().zip(&expected).all(|((name, a), (other, b))| {
        name == other
            && a.shape() == b.shape()
            && matches!((a.values::<f32>(), b.values::<f32>()), (Some(a), Some(b)) if near(&a, &b))
    })
}

fn on_codes(graph: &Graph, node: NodeId) -> bool {
    let op = graph.node(node).op();
    ROUNDED.iter().any(|name| op.name().as_str() == *name)
        && graph
            .node(node)
            .inputs()
            .first()
            .is_some_and(|input| is_quantized(graph, *input))
}

/// Whether a value is a quantized tensor, by what made it.
fn is_quantized(graph: &Graph, value: ValueId) -> bool {
    const KEEP: [&str; 10] = [
        "aten::relu",
        "aten::max_pool2d",
        "aten::avg_pool2d",
        "aten::adaptive_avg_pool2d",
        "aten::upsample_bilinear2d",
        "aten::flatten",
        "aten::reshape",
        "aten::view",
        "aten::sigmoid",
        "aten::clamp",
    ];
    let Some(node) = graph.producer(value) else {
        return false;
    };
    let name = graph.node(node).op().name();
    if KEEP.contains(&name.as_str()) {
        return graph
            .node(node)
            .inputs()
            .first()
            .is_some_and(|input| is_quantized(graph, *input));
    }
    name.as_str().starts_with("aten::quantize_per_")
        || (name.as_str().starts_with("quantized::") && !name.as_str().contains("dynamic"))
}

/// Replaces an operator on codes by what stood in the module before: real numbers, quantized by the parameters of the first operand.
fn simulate(graph: &mut Graph, node: NodeId) {
    let op = graph.node(node).op();
    let inputs = graph.node(node).inputs().to_vec();
    let (y, x) = (graph.output(node), inputs[0]);
    let uses = graph.value(y).uses().to_vec();
    let one = graph.insert_constant(At::Before(node), Literal::Int(1));
    let mut chain = Chain { last: node };
    let scale = chain.put(graph, "aten::q_scale", &[x], Type::Float);
    let zero_point = chain.put(graph, "aten::q_zero_point", &[x], Type::Int);
    let dtype = chain.put(graph, "prim::dtype", &[x], Type::Int);
    let mut real = vec![chain.put(graph, "aten::dequantize", &[x], Type::Tensor(None))];
    real.extend_from_slice(&inputs[1..]);
    let name = op.name();
    let scalar = name.as_str().strip_prefix("quantized::");
    let mut value = match scalar {
        Some(scalar) => {
            let form = match graph.ty(real[1]) {
                Type::Tensor(_) => "Tensor",
                _ => "Scalar",
            };
            let (kind, _) = scalar.split_once('_').unwrap_or((scalar, ""));
            if kind == "add" {
                real.push(one);
            }
            chain.put(
                graph,
                &format!("aten::{kind}.{form}"),
                &real,
                Type::Tensor(None),
            )
        }
        None => chain.put_op(graph, op, &real, Type::Tensor(None)),
    };
    if scalar.is_some_and(|scalar| scalar.ends_with("relu")) {
        value = chain.put(graph, "aten::relu", &[value], Type::Tensor(None));
    }
    let operands = [value, scale, zero_point, dtype];
    let quantized = chain.put(
        graph,
        "aten::quantize_per_tensor",
        &operands,
        Type::Tensor(None),
    );
    for at in uses {
        graph.set_use(at, quantized);
    }
}

/// Nodes inserted one after the other.
struct Chain {
    last: NodeId,
}

impl Chain {
    fn put(&mut self, graph: &mut Graph, op: &str, inputs: &[ValueId], ty: Type) -> ValueId {
        self.put_op(graph, Op::of(op), inputs, ty)
    }

    fn put_op(&mut self, graph: &mut Graph, op: Op, inputs: &[ValueId], ty: Type) -> ValueId {
        self.last = graph.insert(At::After(self.last), op, inputs, [ty]);
        graph.output(self.last)
    }
}

/// Whether a module's answer is what PyTorch computed, up to a share of the largest value.
pub(crate) fn equals(case: &Case, module: &GraphModule, recorded: &str, tolerance: f64) -> bool {
    let expected = case.recorded(recorded);
    !expected.is_empty()
        && case
            .answer(module, Contract::Fbgemm)
            .is_ok_and(|found| compare(&found, &expected, tolerance).is_ok())
}

fn only_outputs(found: &[(Kind, String)]) -> bool {
    found.iter().all(|(kind, _)| *kind == Kind::Outputs)
}

fn forward(module: &GraphModule) -> Vec<Graph> {
    let forward = module.root_method("forward").into_iter();
    forward.map(|id| module.method(id).graph.clone()).collect()
}

/// How often an operator stands in graphs.
pub(crate) fn count(graphs: &[Graph], op: &str) -> usize {
    let counted = graphs.iter().map(|graph| {
        graph
            .walk()
            .filter(|node| graph.node(*node).op().is(op))
            .count()
    });
    counted.sum()
}
