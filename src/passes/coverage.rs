//! What of a module is computed on codes, and what stays in float and why.
//!
//! Counted are the operators that multiply weights or matrices, since they are what quantization is for. Besides, every float operator is
//! told of that stands between codes: one of its operands is dequantized, or its result is quantized.

use std::collections::HashMap;
use std::fmt;

use planish_ir::{Graph, GraphModule, Label, Loc, NodeId, Sym, Type, Use};

use crate::kept;
use crate::pass::{Options, PassError, QuantType};
use crate::remark::{Remark, RemarkKind, Remarks};
use crate::rules;

/// How far a module is quantized.
#[derive(Clone, Debug, PartialEq)]
pub struct Coverage {
    /// Operators that multiply weights or matrices.
    pub multiplying: usize,
    /// Of these, computed on codes.
    pub quantized: usize,
    /// What stays in float, in the order of the methods and of their operators.
    pub float: Vec<FloatOp>,
}

/// An operator that stays in float.
#[derive(Clone, Debug, PartialEq)]
pub struct FloatOp {
    /// The method it stands in.
    pub method: String,
    /// The operator.
    pub op: Sym,
    /// The value it computes, by its name.
    pub value: String,
    /// Where it came from.
    pub loc: Option<Loc>,
    /// Whether it multiplies weights or matrices.
    pub multiplies: bool,
    /// The rule that came nearest: its number and its name.
    pub rule: Option<(u32, String)>,
    /// Why no rule fused it.
    pub reason: String,
}

/// Float operators that multiply weights or matrices, and what can be said of those that no rule speaks about.
const MULTIPLYING: [(&str, Option<&str>); 22] = [
    ("aten::conv1d", None),
    ("aten::conv2d", None),
    ("aten::conv3d", None),
    (
        "aten::_convolution",
        Some("it is the traced form of a convolution, which quantization takes apart"),
    ),
    ("aten::convolution", None),
    ("aten::conv_transpose1d", None),
    ("aten::conv_transpose2d", None),
    ("aten::conv_transpose3d", None),
    ("aten::linear", None),
    ("aten::addmm", None),
    ("aten::baddbmm", None),
    ("aten::matmul", None),
    ("aten::mm", None),
    ("aten::mv", None),
    ("aten::bmm", None),
    ("aten::einsum", None),
    ("aten::bilinear", None),
    ("aten::lstm", None),
    ("aten::gru", None),
    ("aten::scaled_dot_product_attention", None),
    (
        "aten::_native_multi_head_attention",
        Some(
            "tracing put a whole attention into one operator; script the module instead, and its linear operators can be quantized",
        ),
    ),
    (
        "aten::_transformer_encoder_layer_fwd",
        Some(
            "tracing put a whole layer into one operator; script the module instead, and its linear operators can be quantized",
        ),
    ),
];

impl Coverage {
    /// Looks through a finalized module; `remarks` are those of its Finalize.
    pub fn of(
        module: &GraphModule,
        options: &Options,
        remarks: &Remarks,
    ) -> Result<Self, PassError> {
        let mut coverage = Self {
            multiplying: 0,
            quantized: 0,
            float: Vec::new(),
        };
        // A loop that was unrolled, a branch that was taken: such operators are copies, and known by what they compute.
        let mut missed: HashMap<(&str, &Option<Label>), &Remark> = HashMap::new();
        for remark in remarks.of(RemarkKind::Missed) {
            let key = (remark.method, &remark.value);
            missed.entry(key).or_insert(remark);
        }
        for id in kept::kept_methods(module, &options.preserved)? {
            let method = module.method(id);
            for node in method.graph.walk() {
                let at = (method.name.as_str(), &method.graph, node);
                let label = method.graph.node(node).outputs().first();
                let label = label.map(|value| method.graph.label(*value));
                let missed = remarks
                    .missed_at(method.name.as_str(), node)
                    .or_else(|| missed.get(&(method.name.as_str(), &label)).copied());
                coverage.count(at, label, options.quant_type, missed);
            }
        }
        Ok(coverage)
    }

    /// The share of the operators that multiply weights or matrices that is computed on codes; 1 when there are none.
    pub fn share(&self) -> f64 {
        if self.multiplying == 0 {
            return 1.0;
        }
        self.quantized as f64 / self.multiplying as f64
    }

    fn count(
        &mut self,
        (method, graph, id): (&str, &Graph, NodeId),
        value: Option<Label>,
        quant_type: QuantType,
        missed: Option<&Remark>,
    ) {
        let node = graph.node(id);
        let op = node.op().name();
        if multiplies_codes(op.as_str()) {
            self.multiplying += 1;
            self.quantized += 1;
            return;
        }
        let weighted = MULTIPLYING.iter().find(|(name, _)| *name == op.as_str());
        self.multiplying += usize::from(weighted.is_some());
        if weighted.is_none() && !stands_between_codes(graph, id) {
            return;
        }
        let reason = match (missed, weighted) {
            (Some(remark), _) => remark.reason.to_string(),
            (None, Some((_, Some(reason)))) => format!("no rule fuses it: {reason}"),
            (None, _) if !rules::speak_about(quant_type, op) => {
                let how = match quant_type {
                    QuantType::Static => "static",
                    QuantType::Dynamic => "dynamic",
                };
                format!("no rule of {how} quantization fuses {op}")
            }
            (None, _) => "none of its operands is quantized".to_owned(),
        };
        let rule = missed.and_then(Remark::numbered_rule);
        let rule = rule.map(|(number, name)| (number, name.to_owned()));
        self.float.push(FloatOp {
            method: method.to_owned(),
            op,
            value: value.map(|label| label.to_string()).unwrap_or_default(),
            loc: node.loc(),
            multiplies: weighted.is_some(),
            rule,
            reason,
        });
    }
}

/// One line for what multiplies, and one for every operator that stays in float, aligned.
impl fmt::Display for Coverage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (all, quantized) = (self.multiplying, self.quantized);
        write!(
            f,
            "quantized: {quantized} of {all} operators that multiply weights or matrices ({:.1} %)",
            self.share() * 100.0
        )?;
        let rows: Vec<[String; 3]> = self.float.iter().map(FloatOp::row).collect();
        let width = |column: usize| {
            let widths = rows.iter().map(|row| row[column].chars().count());
            widths.max().unwrap_or_default()
        };
        let (first, second) = (width(0), width(1));
        for [op, rule, reason] in &rows {
            write!(f, "\n  float: {op:<first$}  {rule:<second$}  {reason}")?;
        }
        Ok(())
    }
}

impl FloatOp {
    /// The operator with its value and place, the rule, the reason.
    fn row(&self) -> [String; 3] {
        let loc = self.loc.map(|loc| format!(" ({loc})")).unwrap_or_default();
        let rule = self.rule.as_ref();
        let rule = rule.map(|(number, name)| format!("rule {number} {name}:"));
        [
            format!("{} {}{loc}", self.op, self.value),
            rule.unwrap_or_default(),
            self.reason.clone(),
        ]
    }
}

/// Whether an operator multiplies what is quantized.
fn multiplies_codes(name: &str) -> bool {
    let Some(name) = name.strip_prefix("quantized::") else {
        return matches!(
            name,
            "aten::quantized_lstm" | "aten::quantized_gru" | "aten::quantized_lstm_cell"
        );
    };
    let multiplies = [
        "conv",
        "linear",
        "matmul",
        "quantized_lstm",
        "quantized_gru",
    ];
    multiplies.iter().any(|start| name.starts_with(start))
        && !name.contains("_unpack")
        && !name.contains("_prepack")
}

/// Whether an operator computes floats from codes, or what is made codes of.
fn stands_between_codes(graph: &Graph, id: NodeId) -> bool {
    let node = graph.node(id);
    let op = node.op();
    let plumbing = [
        "aten::dequantize",
        "aten::quantize_per_tensor",
        "aten::quantize_per_channel",
    ];
    if op.is_structural()
        || op.name().as_str().starts_with("prim::")
        || plumbing.iter().any(|name| op.is(name))
    {
        return false;
    }
    let computes = node
        .outputs()
        .iter()
        .any(|output| matches!(graph.ty(*output), Type::Tensor(_)));
    let is = |id: NodeId, name| graph.node(id).op().is(name);
    let reads = node.inputs().iter().any(|input| {
        let producer = graph.producer(*input);
        producer.is_some_and(|id| is(id, "aten::dequantize"))
    });
    let uses = node
        .outputs()
        .iter()
        .flat_map(|output| graph.value(*output).uses());
    let mut users = uses.filter_map(|at| match at {
        Use::Input(user, 0) => Some(*user),
        _ => None,
    });
    computes && (reads || users.any(|user| is(user, "aten::quantize_per_tensor")))
}
