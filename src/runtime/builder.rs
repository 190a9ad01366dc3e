//! Decides how each node of a program runs.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use planish_eval::Value;
use planish_ir::{
    Graph, GraphModule, Literal, MethodId, ModuleId, Node, NodeId, SecondaryMap, Sym, Type, ValueId,
};
use planish_kernels::lower::{Lowered, Lowering};
use planish_kernels::{KernelSpec, Layout};

use crate::program::{Fallback, Parts, Step, node_label};
use crate::steps::{KernelStep, Tables, Variant, Weight};
use crate::{Entry, RunError};

/// Decides how each node of a method runs.
pub(crate) struct Builder<'a> {
    module: &'a GraphModule,
    graph: &'a Graph,
    lowering: Lowering,
    kernels: HashMap<KernelSpec, Entry>,
    evaluated: Vec<KernelSpec>,
    packed: HashMap<Sym, Bytes>,
    /// The modules that values are.
    objects: SecondaryMap<ValueId, Option<ModuleId>>,
    /// The attributes that the method assigns, in program order.
    state: Vec<(ModuleId, Sym)>,
}

/// What a method becomes.
pub(crate) struct Built {
    pub(crate) steps: SecondaryMap<NodeId, Step>,
    /// The tensor operators that no kernel computes.
    pub(crate) fallbacks: Vec<Fallback>,
    /// What the attributes hold when a call begins, of those that it assigns.
    pub(crate) attributes: Vec<Literal>,
}

impl<'a> Builder<'a> {
    pub(crate) fn new(parts: Parts<'a>, method: MethodId) -> Self {
        let kernels = parts.kernels.into_iter();
        let graph = &parts.module.method(method).graph;
        let mut builder = Self {
            module: parts.module,
            graph,
            lowering: Lowering::new(parts.module, method),
            kernels: kernels
                .map(|entry| (*entry.kernel().spec(), entry))
                .collect(),
            evaluated: parts.evaluated,
            packed: parts.packed,
            objects: SecondaryMap::new(),
            state: Vec::new(),
        };
        builder.find_modules();
        builder
    }

    /// The steps, and what they need.
    pub(crate) fn build(&self) -> Result<Built, RunError> {
        let mut steps = SecondaryMap::new();
        let mut fallbacks = Vec::new();
        for id in self.graph.walk() {
            let node = self.graph.node(id);
            steps[id] = match node.op().name().as_str() {
                "prim::Constant" => self.constant(id)?,
                "prim::GetAttr" => self.get_attr(node)?,
                "prim::SetAttr" => Step::Assign(self.slot(node)?),
                "prim::If" => Step::Branch,
                "prim::Loop" => Step::Loop,
                "prim::CallMethod" | "prim::CallFunction" | "prim::fork" => {
                    let op = node.op();
                    return Err(RunError::Program(format!(
                        "{op} is left in it; the runtime runs modules that are finalized whole"
                    )));
                }
                _ => match self.lowering.of(id) {
                    None => Step::Evaluate,
                    Some(Lowered::Kernels(specs)) => match self.without_kernel(id, specs) {
                        None => self.kernel(id, specs)?,
                        Some(reason) => {
                            fallbacks.push(Fallback::at(self.graph, id, reason));
                            Step::Evaluate
                        }
                    },
                    Some(Lowered::Fallback(reason)) => {
                        fallbacks.push(Fallback::at(self.graph, id, reason));
                        Step::Evaluate
                    }
                },
            };
        }
        let attributes = self.state.iter().map(|(module, name)| {
            let literal = self.module.module(*module).attrs.get(name);
            literal.cloned().ok_or_else(|| missing(*name))
        });
        Ok(Built {
            attributes: attributes.collect::<Result<_, _>>()?,
            steps,
            fallbacks,
        })
    }

    /// Finds out which values are modules, and which attributes a call may change: those that it assigns, and those that refer to
    /// something.
    fn find_modules(&mut self) {
        // A graph on its own, without a module, has no such parameter.
        let is_module =
            |this: &&ValueId| matches!(self.graph.ty(**this), Type::Class(_) | Type::Any);
        if let Some(this) = self.graph.params().first().filter(is_module) {
            self.objects[*this] = Some(self.module.root());
        }
        for id in self.graph.walk() {
            let node = self.graph.node(id);
            let Some((module, name)) = self.attribute(node) else {
                continue;
            };
            let value = self.module.module(module).attrs.get(&name);
            // What a call writes to through one read of an attribute, it must see by the next.
            let refers = value.is_some_and(|value| matches!(known(value), Step::Fresh(_)));
            if (node.op().is("prim::SetAttr") || refers) && !self.state.contains(&(module, name)) {
                self.state.push((module, name));
            }
            if let Some(output) = node.outputs().first() {
                self.objects[*output] = self.module.submodule(module, name);
            }
        }
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
                node_label(self.graph, id)
            )));
        }
        Ok(known(literal))
    }

    fn get_attr(&self, node: Node<'_>) -> Result<Step, RunError> {
        let Some((module, name)) = self.attribute(node) else {
            return Err(not_of_a_module(node));
        };
        if let Some(part) = self.module.submodule(module, name) {
            return Ok(Step::Known(Value::Module(part)));
        }
        if self.state.contains(&(module, name)) {
            return self.slot(node).map(Step::Read);
        }
        match self.module.module(module).attrs.get(&name) {
            Some(literal) => Ok(known(literal)),
            None => Err(missing(name)),
        }
    }

    /// Where the attribute stands that a node reads or writes.
    fn slot(&self, node: Node<'_>) -> Result<usize, RunError> {
        let attribute = self.attribute(node);
        let slot = self
            .state
            .iter()
            .position(|other| Some(*other) == attribute);
        slot.ok_or_else(|| not_of_a_module(node))
    }

    /// The module and name of the attribute that a node reads or writes.
    fn attribute(&self, node: Node<'_>) -> Option<(ModuleId, Sym)> {
        if !node.op().is("prim::GetAttr") && !node.op().is("prim::SetAttr") {
            return None;
        }
        let module = self.objects[*node.inputs().first()?]?;
        Some((module, node.name_attr()?))
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

    /// Why a node does not run by its kernel although there is one in principle: no compiler could make it, its weight is packed while the
    /// program runs, or this is the packing.
    fn without_kernel(&self, id: NodeId, specs: &[KernelSpec]) -> Option<&'static str> {
        if specs.iter().any(|spec| self.evaluated.contains(spec)) {
            return Some("its kernel could not be compiled");
        }
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

    /// The root's attribute that holds a node's packed weight, and is not assigned.
    fn weight_attribute(&self, node: Node<'_>) -> Option<Sym> {
        let read = self.graph.producer(*node.inputs().get(1)?)?;
        let found = self.attribute(self.graph.node(read))?;
        (found.0 == self.module.root() && !self.state.contains(&found)).then_some(found.1)
    }

    fn weight(&self, node: Node<'_>) -> Result<Weight, RunError> {
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
}

fn missing(name: Sym) -> RunError {
    RunError::Program(format!(
        "it reads the attribute {name}, which the module does not have"
    ))
}

fn not_of_a_module(node: Node<'_>) -> RunError {
    let name = node.str_attr("name").unwrap_or_default();
    RunError::Program(format!(
        "it reads or assigns the attribute {name} of an object that is no module"
    ))
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

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use planish_eval::{Contract, Tensor, Value};
    use planish_ir::text::parse_module;

    use crate::{Parts, Program};

    const COUNTER: &str = "module __torch__.Net phase=imported {
  attr calls : Tensor = dense<Float(1)>[0.]
  submodule part : __torch__.Part {
    attr weight : Tensor = dense<Float(1)>[2.]
  }
}

class __torch__.Net {
  method forward(self, x) {
    graph(%self : __torch__.Net,
          %x : Tensor):
      %one : int = prim::Constant[value=1]()
      %part : __torch__.Part = prim::GetAttr[name=\"part\"](%self)
      %weight : Tensor = prim::GetAttr[name=\"weight\"](%part)
      %before : Tensor = prim::GetAttr[name=\"calls\"](%self)
      %sum : Tensor = aten::add(%before, %weight, %one)
      prim::SetAttr[name=\"calls\"](%self, %sum)
      %after : Tensor = prim::GetAttr[name=\"calls\"](%self)
      %y : Tensor = aten::mul(%x, %after)
      return (%y)
  }
}

class __torch__.Part {
}
";

    const GROWING: &str = "module __torch__.Net phase=imported {
  attr seen : int[] = [7]
}

class __torch__.Net {
  method forward(self, x) {
    graph(%self : __torch__.Net,
          %x : Tensor):
      %one : int = prim::Constant[value=1]()
      %seen : int[] = prim::GetAttr[name=\"seen\"](%self)
      %same : int[] = aten::append(%seen, %one)
      %again : int[] = prim::GetAttr[name=\"seen\"](%self)
      %many : int = aten::len(%again)
      %y : Tensor = aten::mul(%x, %many)
      return (%y)
  }
}
";

    #[test]
    fn what_a_call_writes_to_it_reads_and_the_next_call_does_not() {
        twice(GROWING, 2.0, 4.0);
    }

    #[test]
    fn attributes_of_submodules_are_read_and_assigned_ones_last_a_call() {
        twice(COUNTER, 3.0, 6.0);
    }

    /// Two calls of a program give the same.
    fn twice(text: &str, x: f32, y: f32) {
        let module = parse_module(text).unwrap();
        let parts = Parts {
            module: &module,
            contract: Contract::Fbgemm,
            kernels: Vec::new(),
            evaluated: Vec::new(),
            packed: HashMap::new(),
        };
        let program = Program::new(parts).unwrap();
        for _ in 0..2 {
            let x = Tensor::from_values(&[1], &[x]).unwrap();
            let answer = program.call(&[Value::Tensor(x)]).unwrap();
            assert_eq!(answer.as_tensor().unwrap().to_f32().unwrap(), [y]);
        }
    }
}
