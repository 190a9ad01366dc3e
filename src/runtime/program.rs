//! A finalized module, ready to run.
//!
//! Everything that can be decided before the first call is decided here: which nodes run by kernels, what constants and attributes are,
//! when values die and which buffers tensors get ([`Plan`]). What then remains is a walk over the graph. Control flow, arithmetic on
//! shapes and assertions are part of the program; a tensor operator without a kernel runs by the reference evaluator and is listed in
//! [`Program::fallbacks`].

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use planish_eval::{Contract, Value};
use planish_ir::entity::EntityId as _;
use planish_ir::{
    BlockId, Graph, GraphModule, Literal, MethodId, Node, NodeId, SecondaryMap, Sym, Type, ValueId,
};
use planish_kernels::lower::{Lowered, Lowering};
use planish_kernels::{Kernel, KernelSpec, Layout};

use crate::arena::Arena;
use crate::plan::Plan;
use crate::steps::{KernelStep, Outcome, Tables, Weight};
use crate::{Entry, RunError, Stats};

/// Blocks nested deeper than this are refused: running one block takes stack.
const MAX_NESTING: usize = 200;

/// What a program is made of.
#[derive(Debug)]
pub struct Parts<'a> {
    /// The finalized module.
    pub module: &'a GraphModule,
    /// The arithmetic that the reference evaluator follows.
    pub contract: Contract,
    /// Compiled kernels.
    pub kernels: Vec<Entry>,
    /// Weights in the order that kernels read them in, by attribute of the root.
    pub packed: HashMap<Sym, Bytes>,
}

/// A finalized module, ready to run. Calls may be made from several threads.
#[derive(Debug)]
pub struct Program {
    method: String,
    graph: Graph,
    contract: Contract,
    inputs: Vec<ValueId>,
    steps: SecondaryMap<NodeId, Step>,
    plan: Plan,
    fallbacks: Vec<Fallback>,
    arenas: Mutex<Vec<Arena>>,
}

/// A tensor operator that no kernel computes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fallback {
    /// The value that it computes, as the canonical text calls it, or its place in the source.
    pub node: String,
    /// The operator.
    pub op: String,
    /// Why there is no kernel.
    pub reason: String,
}

/// How a node runs.
#[derive(Debug, Default)]
enum Step {
    /// By the reference evaluator.
    #[default]
    Evaluate,
    /// Its output is known.
    Known(Value),
    /// By a kernel.
    Kernel(Box<KernelStep>),
    /// One of two blocks.
    Branch,
    /// A block, again and again.
    Loop,
}

impl Clone for Step {
    /// Only the default is ever cloned, to fill a table.
    fn clone(&self) -> Self {
        Self::Evaluate
    }
}

impl Program {
    /// Makes a program of the method `forward`.
    pub fn new(parts: Parts<'_>) -> Result<Self, RunError> {
        let module = parts.module;
        let missing = || RunError::Program("the module has no method forward".to_owned());
        let id = module.root_method("forward").ok_or_else(missing)?;
        let graph = module.method(id).graph.clone();
        check_nesting(&graph)?;
        let builder = Builder {
            module,
            graph: &graph,
            lowering: Lowering::new(module, id),
            kernels: by_spec(&parts.kernels),
            parts: &parts,
        };
        let (mut steps, fallbacks) = builder.steps(id)?;
        let plan = {
            let computes = |node: NodeId| matches!(&steps[node], Step::Kernel(_));
            Plan::new(&graph, computes, |node| {
                holds_tensors(&graph, graph.node(node))
            })
        };
        for node in graph.walk() {
            if let Step::Kernel(step) = &mut steps[node] {
                step.buffer = plan.buffer(graph.node(node).outputs()[0]);
            }
        }
        let inputs = graph.params().iter().copied().skip(1).collect();
        let contract = parts.contract;
        Ok(Self {
            method: "forward".to_owned(),
            graph,
            contract,
            inputs,
            steps,
            plan,
            fallbacks,
            arenas: Mutex::default(),
        })
    }

    /// The tensor operators that run by the reference evaluator, in program order.
    pub fn fallbacks(&self) -> &[Fallback] {
        &self.fallbacks
    }

    /// Number of inputs.
    pub fn arity(&self) -> usize {
        self.inputs.len()
    }

    /// Runs the program; its result is one value, a tuple when the method returns several.
    pub fn call(&self, inputs: &[Value]) -> Result<Value, RunError> {
        self.call_with(inputs, &mut Stats::default())
    }

    /// Runs the program and counts what it does.
    pub fn call_with(&self, inputs: &[Value], stats: &mut Stats) -> Result<Value, RunError> {
        self.check(inputs)?;
        let arena = self
            .arenas
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop();
        let arena = arena.unwrap_or_else(|| Arena::new(self.plan.buffers()));
        let before = arena.allocations();
        let mut run = Run {
            program: self,
            values: vec![None; self.graph.value_capacity()],
            arena,
            stats,
        };
        for (param, input) in self.inputs.iter().zip(inputs) {
            run.values[param.index()] = Some(input.clone());
        }
        let results = run.block(self.graph.entry());
        let Run { arena, values, .. } = run;
        drop(values);
        stats.allocations += (arena.allocations() - before) as u64;
        self.arenas
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(arena);
        let mut results = results?;
        Ok(if results.len() == 1 {
            results.remove(0)
        } else {
            Value::tuple(results)
        })
    }

    /// Refuses arguments whose kinds are not those of the parameters.
    fn check(&self, inputs: &[Value]) -> Result<(), RunError> {
        let wrong = |why: String| {
            Err(RunError::Arguments {
                method: self.method.clone(),
                why,
            })
        };
        if inputs.len() != self.inputs.len() {
            return wrong(format!(
                "it takes {} inputs and is given {}",
                self.inputs.len(),
                inputs.len()
            ));
        }
        for (at, (param, input)) in self.inputs.iter().zip(inputs).enumerate() {
            let wanted = self.graph.ty(*param);
            if !input.ty().is_subtype_of(wanted) {
                return wrong(format!(
                    "input {at} is of type {} and should be of type {wanted}",
                    input.ty()
                ));
            }
        }
        Ok(())
    }
}

struct Builder<'a> {
    module: &'a GraphModule,
    graph: &'a Graph,
    lowering: Lowering,
    kernels: HashMap<KernelSpec, Entry>,
    parts: &'a Parts<'a>,
}

impl Builder<'_> {
    fn steps(&self, _: MethodId) -> Result<(SecondaryMap<NodeId, Step>, Vec<Fallback>), RunError> {
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
                "prim::Constant" => Step::Known(self.constant(id)?),
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

    fn constant(&self, id: NodeId) -> Result<Value, RunError> {
        let literal = self
            .graph
            .constant(self.graph.output(id))
            .cloned()
            .unwrap_or(Literal::None);
        if literal.is_opaque() {
            return Err(RunError::Program(format!(
                "the constant {} has no payload",
                self.graph.output(id)
            )));
        }
        Ok(Value::from(&literal))
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
            Some(literal) => Ok(Step::Known(Value::from(literal))),
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
            relu: node.op().name().as_str().ends_with("_relu"),
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
            .parts
            .packed
            .get(&name)
            .cloned()
            .ok_or(RunError::Weight("it was not packed"))?;
        Weight::new(std::sync::Arc::clone(params), packed)
    }

    fn fallback(&self, id: NodeId, reason: &str) -> Fallback {
        let node = self.graph.node(id);
        let value = node
            .outputs()
            .first()
            .map_or_else(String::new, ToString::to_string);
        Fallback {
            node: node.loc.map_or(value, |loc| loc.to_string()),
            op: node.op().to_string(),
            reason: reason.to_owned(),
        }
    }
}

fn by_spec(kernels: &[Entry]) -> HashMap<KernelSpec, Entry> {
    kernels
        .iter()
        .map(|entry| (*Kernel::spec(entry.kernel()), entry.clone()))
        .collect()
}

/// One call.
struct Run<'p, 's> {
    program: &'p Program,
    values: Vec<Option<Value>>,
    arena: Arena,
    stats: &'s mut Stats,
}

impl Run<'_, '_> {
    /// Runs a block whose parameters are set; returns its results.
    fn block(&mut self, block: BlockId) -> Result<Vec<Value>, RunError> {
        let program = self.program;
        for node in program.graph.nodes(block) {
            self.node(node)
                .map_err(|error| at(&program.graph, node, error))?;
            for dead in program.plan.dead_after(node) {
                self.values[dead.index()] = None;
            }
        }
        program
            .graph
            .block(block)
            .results()
            .iter()
            .map(|value| self.get(*value))
            .collect()
    }

    fn node(&mut self, id: NodeId) -> Result<(), RunError> {
        let program = self.program;
        let node = program.graph.node(id);
        let outputs = match &program.steps[id] {
            Step::Known(value) => vec![value.clone()],
            Step::Branch => self.branch(node)?,
            Step::Loop => self.repeat(node)?,
            Step::Evaluate => {
                let inputs = self.inputs(node)?;
                self.evaluate(id, &inputs)?
            }
            Step::Kernel(step) => {
                let inputs = self.inputs(node)?;
                let reference = |inputs: &[Value]| evaluate(program, id, inputs);
                match step.run(&inputs, &mut self.arena, &reference)? {
                    Outcome::Done(tensor, macs) => {
                        self.stats.kernel(macs);
                        vec![Value::Tensor(tensor)]
                    }
                    Outcome::NotTaken(reason) => {
                        self.stats.not_taken(&node.op().to_string(), reason);
                        self.evaluate(id, &inputs)?
                    }
                }
            }
        };
        for (output, value) in node.outputs().iter().zip(outputs) {
            self.values[output.index()] = Some(value);
        }
        Ok(())
    }

    fn evaluate(&mut self, id: NodeId, inputs: &[Value]) -> Result<Vec<Value>, RunError> {
        let node = self.program.graph.node(id);
        if node.op().is("aten::warn") {
            return Ok(Vec::new());
        }
        let outputs = evaluate(self.program, id, inputs)?;
        self.stats.evaluated(node.op(), inputs, &outputs);
        Ok(outputs)
    }

    fn branch(&mut self, node: &Node) -> Result<Vec<Value>, RunError> {
        let Value::Bool(condition) = self.get(node.inputs()[0])? else {
            return Err(RunError::Shape(
                "branch on a value that is not a bool".to_owned(),
            ));
        };
        self.block(node.blocks()[usize::from(!condition)])
    }

    fn repeat(&mut self, node: &Node) -> Result<Vec<Value>, RunError> {
        let body = node.blocks()[0];
        let mut inputs = self.inputs(node)?;
        let (Some(Value::Int(trips)), Some(Value::Bool(mut go_on))) =
            (inputs.first().cloned(), inputs.get(1).cloned())
        else {
            return Err(RunError::Shape(
                "repeat a number of times that is not an int".to_owned(),
            ));
        };
        let mut carried = inputs.split_off(2);
        for trip in 0..trips {
            if !go_on {
                break;
            }
            let params = self.program.graph.block(body).params();
            for (param, value) in params
                .iter()
                .zip(std::iter::once(Value::Int(trip)).chain(carried))
            {
                self.values[param.index()] = Some(value);
            }
            let mut results = self.block(body)?;
            let Value::Bool(condition) = results.remove(0) else {
                return Err(RunError::Shape(
                    "go on with a loop by a value that is not a bool".to_owned(),
                ));
            };
            (go_on, carried) = (condition, results);
        }
        Ok(carried)
    }

    fn inputs(&self, node: &Node) -> Result<Vec<Value>, RunError> {
        node.inputs().iter().map(|value| self.get(*value)).collect()
    }

    fn get(&self, value: ValueId) -> Result<Value, RunError> {
        let found = self.values[value.index()].clone();
        found.ok_or_else(|| {
            RunError::Program(format!("the value {value} is read before it is computed"))
        })
    }
}

fn evaluate(program: &Program, id: NodeId, inputs: &[Value]) -> Result<Vec<Value>, RunError> {
    Ok(planish_eval::eval_node(
        &program.graph,
        id,
        inputs,
        program.contract,
    )?)
}

/// An error with the node at which it happened; the reference evaluator says that itself.
fn at(graph: &Graph, id: NodeId, error: RunError) -> RunError {
    if matches!(error, RunError::At { .. } | RunError::Eval(_)) {
        return error;
    }
    let node = graph.node(id);
    let place = node
        .loc
        .map_or_else(String::new, |loc| format!(" at {loc}"));
    RunError::At {
        op: node.op().to_string(),
        place,
        source: Box::new(error),
    }
}

fn check_nesting(graph: &Graph) -> Result<(), RunError> {
    for node in graph.walk() {
        let mut depth = 0;
        let mut block = graph.node(node).block();
        while let Some(parent) = graph.block(block).parent() {
            depth += 1;
            block = graph.node(parent).block();
        }
        if depth > MAX_NESTING {
            return Err(RunError::Program(format!(
                "its blocks are nested more than {MAX_NESTING} deep"
            )));
        }
    }
    Ok(())
}

/// Whether outputs of a node may share storage with its inputs: it reads and makes something that holds tensors.
fn holds_tensors(graph: &Graph, node: &Node) -> bool {
    let holds = |value: &ValueId| {
        !matches!(
            graph.ty(*value),
            Type::Int | Type::Float | Type::Bool | Type::Str | Type::None | Type::Scalar
        )
    };
    node.inputs().iter().any(holds) && node.outputs().iter().any(holds)
}
