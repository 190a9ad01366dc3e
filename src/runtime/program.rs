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
use planish_ir::{
    Graph, GraphModule, Literal, Node, NodeId, SecondaryMap, Sym, Type, ValueId, verify,
};
use planish_kernels::KernelSpec;

use crate::arena::Arena;
use crate::builder::{Builder, Built};
use crate::plan::Plan;
use crate::run::Run;
use crate::steps::KernelStep;
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
    /// Kernels that no compiler could make: what they compute is left to the reference evaluator.
    pub evaluated: Vec<KernelSpec>,
    /// Weights in the order that kernels read them in, by attribute of the root.
    pub packed: HashMap<Sym, Bytes>,
}

/// A finalized module, ready to run. Calls may be made from several threads.
///
/// Calls know nothing of each other: what a call assigns to an attribute, or writes into its tensor in place, is gone when it ends.
#[derive(Debug)]
pub struct Program {
    method: String,
    graph: Graph,
    contract: Contract,
    inputs: Vec<ValueId>,
    /// What inputs are that are not given, one for each.
    defaults: Vec<Option<Literal>>,
    steps: SecondaryMap<NodeId, Step>,
    plan: Plan,
    fallbacks: Vec<Fallback>,
    /// What the attributes that calls may change hold when a call begins.
    attributes: Vec<Literal>,
    arenas: Mutex<Vec<Arena>>,
}

/// A tensor operator that no kernel computes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fallback {
    /// Its place in the source; where that is not known, the value that it computes.
    pub node: String,
    /// The operator.
    pub op: String,
    /// Why there is no kernel, or why it could not be used.
    pub reason: String,
}

impl Fallback {
    /// A node of a program's graph.
    pub(crate) fn at(graph: &Graph, id: NodeId, reason: &str) -> Self {
        let node = graph.node(id);
        let place = node.loc().map(|loc| loc.to_string());
        Self {
            node: place.unwrap_or_else(|| node_label(graph, id)),
            op: node.op().to_string(),
            reason: reason.to_owned(),
        }
    }
}

/// What a node's output is called.
pub(crate) fn node_label(graph: &Graph, id: NodeId) -> String {
    let node = graph.node(id);
    match node.outputs().first() {
        Some(value) => graph.label(*value).to_string(),
        None => node.op().to_string(),
    }
}

/// How a node runs.
#[derive(Debug, Default)]
pub(crate) enum Step {
    /// By the reference evaluator.
    #[default]
    Evaluate,
    /// Its output is known, and nothing can be written to it.
    Known(Value),
    /// Its output is known; each call gets its own, since it may write to it.
    Fresh(Literal),
    /// What the assigned attribute of this number holds.
    Read(usize),
    /// Assigns the attribute of this number.
    Assign(usize),
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
        let (module, contract) = (parts.module, parts.contract);
        if let Err(errors) = verify(module) {
            let first = errors.first().map(ToString::to_string);
            return Err(RunError::Program(format!(
                "the module breaks a law: {}",
                first.unwrap_or_default()
            )));
        }
        let missing = || RunError::Program("the module has no method forward".to_owned());
        let method = module.root_method("forward").ok_or_else(missing)?;
        let graph = module.method(method).graph.clone();
        check_nesting(&graph)?;
        let inputs = inputs(&graph);
        let params = &module.method(method).params;
        let defaults = params[params.len() - inputs.len()..].iter();
        let defaults = defaults.map(|(_, default)| default.clone()).collect();
        let Built {
            mut steps,
            fallbacks,
            attributes,
        } = Builder::new(parts, method).build()?;
        let plan = {
            let computes = |node: NodeId| matches!(&steps[node], Step::Kernel(_));
            let views = |node| holds_tensors(&graph, graph.node(node));
            Plan::new(&graph, computes, views)
        };
        for node in graph.walk() {
            if let Step::Kernel(step) = &mut steps[node] {
                let output = graph.node(node).outputs().first();
                step.buffer = output.and_then(|output| plan.buffer(*output));
            }
        }
        Ok(Self {
            method: "forward".to_owned(),
            inputs,
            defaults,
            contract,
            graph,
            steps,
            plan,
            fallbacks,
            attributes,
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

    /// Runs the program; its result is one value, a tuple when the method returns several. Inputs that are not given take their defaults.
    pub fn call(&self, inputs: &[Value]) -> Result<Value, RunError> {
        self.call_with(inputs, &mut Stats::default())
    }

    /// Runs the program and counts what it does.
    pub fn call_with(&self, inputs: &[Value], stats: &mut Stats) -> Result<Value, RunError> {
        let missing = self
            .defaults
            .iter()
            .skip(inputs.len())
            .map_while(Option::as_ref);
        let inputs: Vec<Value> = inputs
            .iter()
            .cloned()
            .chain(missing.map(Value::from))
            .collect();
        self.check(&inputs)?;
        let arena = self.arenas().pop();
        let arena = arena.unwrap_or_else(|| Arena::new(self.plan.buffers()));
        let before = arena.allocations();
        let mut run = Run::new(self, arena, stats);
        for (param, input) in self.inputs.iter().zip(inputs) {
            run.set(*param, input);
        }
        let results = run.block(self.graph.entry());
        let arena = run.into_arena();
        stats.allocations += (arena.allocations() - before) as u64;
        self.arenas().push(arena);
        let mut results = results?;
        Ok(if results.len() == 1 {
            results.remove(0)
        } else {
            Value::tuple(results)
        })
    }

    pub(crate) fn graph(&self) -> &Graph {
        &self.graph
    }

    pub(crate) fn contract(&self) -> Contract {
        self.contract
    }

    pub(crate) fn step(&self, node: NodeId) -> &Step {
        &self.steps[node]
    }

    pub(crate) fn attributes(&self) -> &[Literal] {
        &self.attributes
    }

    pub(crate) fn dead_after(&self, node: NodeId) -> &[ValueId] {
        self.plan.dead_after(node)
    }

    fn arenas(&self) -> std::sync::MutexGuard<'_, Vec<Arena>> {
        self.arenas.lock().unwrap_or_else(PoisonError::into_inner)
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

/// The parameters after that of the module, which a graph on its own does not have.
fn inputs(graph: &Graph) -> Vec<ValueId> {
    let params = graph.params();
    let module = params
        .first()
        .is_some_and(|this| matches!(graph.ty(*this), Type::Class(_) | Type::Any));
    params[usize::from(module)..].to_vec()
}

fn check_nesting(graph: &Graph) -> Result<(), RunError> {
    for node in graph.walk() {
        let mut depth = 0;
        let mut block = graph.block_of(node);
        while let Some(parent) = graph.block(block).parent() {
            depth += 1;
            block = graph.block_of(parent);
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
fn holds_tensors(graph: &Graph, node: Node<'_>) -> bool {
    let holds = |value: &ValueId| {
        !matches!(
            graph.ty(*value),
            Type::Int | Type::Float | Type::Bool | Type::Str | Type::None | Type::Scalar
        )
    };
    node.inputs().iter().any(holds) && node.outputs().iter().any(holds)
}
