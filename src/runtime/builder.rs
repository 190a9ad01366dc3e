//! Decides how each node of a program runs.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use planish_eval::Value;
use planish_ir::{Graph, GraphModule, Literal, MethodId, Node, NodeId, SecondaryMap, Sym};
use planish_kernels::lower::{Lowered, Lowering};
use planish_kernels::{KernelSpec, Layout};

use crate::program::{Fallback, Parts, Step};
use crate::steps::{KernelStep, Tables, Variant, Weight};
use crate::{Entry, RunError};

/// Decides how each node of a method runs.
pub(crate) struct Builder<'a> {
    module: &'a GraphModule,
    graph: &'a Graph,
    lowering: Lowering,
    kernels: HashMap<KernelSpec, Entry>,
    packed: HashMap<Sym, Bytes>,
}

impl<'a> Builder<'a> {
    pub(crate) fn new(parts: Parts<'a>, method: MethodId) -> Self {
        let kernels = parts.kernels.into_iter();
        Self {
            module: parts.module,
            graph: &parts.module.method(method).graph,
            lowering: Lowering::new(parts.module, method),
            kernels: kernels
                .map(|entry| (*entry.kernel().spec(), entry))
                .collect(),
            packed: parts.packed,
        }
    }

    /// The steps, and the tensor operators among them that no kernel computes.
    pub(crate) fn steps(&self) -> Result<(SecondaryMap<NodeId, Step>, Vec<Fallback>), RunError> {
        let mut steps = SecondaryMap::new();
        let mut fallbacks = Vec::new();
        let written: Vec<Sym> = self
            .graph
            .walk()
            .into_iter()
            .filter_map(|node| self.attribute(node, "prim::SetAttr"))
            .collect();
        for id in self.graph.walk() {
            let node = self.graph.node(id);
            steps[id] = match node.op().name().as_str() {
                "prim::Constant" => self.constant(id)?,
                "prim::GetAttr" => self.get_attr(id, &written)?,
                "prim::If" => Step::Branch,
                "prim::Loop" => Step::Loop,
                "prim::CallMethod" | "prim::CallFunction" | "prim::SetAttr" | "prim::fork" => {
                    let op = node.op();
                    return Err(RunError::Program(format!(
                        "{op} is left in it; the runtime runs modules that are finalized whole"
                    )));
                }
                _ => match self.lowering.of(id) {
                    None => Step::Evaluate,
                    Some(Lowered::Kernels(specs)) => match self.unpacked(id, specs) {
                        None => self.kernel(id, specs)?,
                        Some(reason) => {
                            fallbacks.push(self.fallback(id, reason));
                            Step::Evaluate
                        }
                    },
                    Some(Lowered::Fallback(reason)) => {
                        fallbacks.push(self.fallback(id, reason));
                        Step::Evaluate
                    }
                },
            };
        }
        Ok((steps, fallbacks))
    }

    fn constant(&self, id: NodeId) -> Result<Step, RunError> {
        let node = self.graph.node(id);
        let literal = node
            .outputs()
            .first()
            .and_then(|value| self.graph.constant(*value));
        let literal = literal.unwrap_or(&Literal::None);
        if literal.is_opaque() {
            return Err(RunError::Program(format!(
                "the constant {} has no payload",
                self.name(node)
            )));
        }
        Ok(known(literal))
    }

    fn get_attr(&self, id: NodeId, written: &[Sym]) -> Result<Step, RunError> {
        let node = self.graph.node(id);
        let name = Sym::new(node.str_attr("name").unwrap_or_default());
        if self.graph.params().first() != node.inputs().first() || written.contains(&name) {
            return Err(RunError::Program(format!(
                "it reads the attribute {name} of a submodule, or one that it writes"
            )));
        }
        match self.module.module(self.module.root()).attrs.get(&name) {
            Some(literal) => Ok(known(literal)),
            None => Err(RunError::Program(format!(
                "it reads the attribute {name}, which the module does not have"
            ))),
        }
    }

    /// The root's attribute that a node reads or writes.
    fn attribute(&self, id: NodeId, op: &str) -> Option<Sym> {
        let node = self.graph.node(id);
        if node.op().is(op) {
            node.str_attr("name").map(Sym::new)
        } else {
            None
        }
    }

    fn kernel(&self, id: NodeId, specs: &[KernelSpec]) -> Result<Step, RunError> {
        let find = |spec: &KernelSpec| {
            let missing = || {
                RunError::Program(format!(
                    "it needs the kernel `{spec}`, which is not among those given"
                ))
            };
            self.kernels.get(spec).cloned().ok_or_else(missing)
        };
        let Some(first) = specs.first() else {
            return Ok(Step::Evaluate);
        };
        let relayout = KernelSpec::Relayout(Layout::NchwToNhwc);
        let to_nhwc = if specs.contains(&relayout) {
            Some(find(&relayout)?)
        } else {
            None
        };
        let node = self.graph.node(id);
        Ok(Step::Kernel(Box::new(KernelStep {
            entry: find(first)?,
            to_nhwc,
            weight: if first.packing().is_some() {
                Some(self.weight(node)?)
            } else {
                None
            },
            tables: Tables::default(),
            variant: Variant::of(node.op().name().as_str()),
            buffer: None,
        })))
    }

    /// Why a node does not run by its kernel although there is one: its weight is packed while the program runs, or this is the packing.
    fn unpacked(&self, id: NodeId, specs: &[KernelSpec]) -> Option<&'static str> {
        match specs.first()? {
            KernelSpec::PackConv | KernelSpec::PackLinear => {
                Some("it packs a weight that is not constant")
            }
            spec if spec.packing().is_some()
                && self.weight_attribute(self.graph.node(id)).is_none() =>
            {
                Some("its weight is packed when it runs")
            }
            _ => None,
        }
    }

    /// The root's attribute that holds a node's packed weight.
    fn weight_attribute(&self, node: &Node) -> Option<Sym> {
        let read = self.graph.producer(*node.inputs().get(1)?)?;
        self.attribute(read, "prim::GetAttr")
    }

    fn weight(&self, node: &Node) -> Result<Weight, RunError> {
        let name = self
            .weight_attribute(node)
            .ok_or(RunError::Weight("it is not an attribute of the root"))?;
        let Some(Literal::Packed(params)) = self.module.module(self.module.root()).attrs.get(&name)
        else {
            return Err(RunError::Weight("the attribute is not a packed weight"));
        };
        let packed = self
            .packed
            .get(&name)
            .cloned()
            .ok_or(RunError::Weight("it was not packed"))?;
        Weight::new(Arc::clone(params), packed)
    }

    fn fallback(&self, id: NodeId, reason: &str) -> Fallback {
        let node = self.graph.node(id);
        Fallback {
            node: node
                .loc
                .map_or_else(|| self.name(node), |loc| loc.to_string()),
            op: node.op().to_string(),
            reason: reason.to_owned(),
        }
    }

    /// What a node's output is called.
    fn name(&self, node: &Node) -> String {
        let Some(value) = node.outputs().first() else {
            return node.op().to_string();
        };
        match self.graph.value(*value).name.as_deref() {
            Some(name) => format!("%{name}"),
            None => value.to_string(),
        }
    }
}

/// The step of a node whose output is this literal.
fn known(literal: &Literal) -> Step {
    match Value::from(literal) {
        // References: a program may write to what they mean.
        Value::Tensor(_) | Value::List(_) | Value::Tuple(_) | Value::Dict(_) | Value::Object(_) => {
            Step::Fresh(literal.clone())
        }
        value => Step::Known(value),
    }
}
