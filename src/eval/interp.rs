//! Running graphs, node by node.
//!
//! The interpreter follows program order and keeps every value of a frame until the frame ends. Attributes of modules become values when
//! they are first read and stay with the interpreter, so that what one call writes (buffers, in-place updates) the next call sees; the
//! model itself never changes.

mod control;
mod data;
mod objects;

use std::fmt;
use std::sync::Arc;

use indexmap::IndexMap;
use planish_ir::entity::EntityId as _;
use planish_ir::{
    BlockId, Graph, GraphModule, Literal, Method, MethodId, ModuleId, NodeId, Op, Sym, ValueId,
};

use crate::call::{Call, Work};
use crate::limits::Gauge;
use crate::ops::{self, Kernel};
use crate::{Contract, Error, Limits, Result, Value};

/// Runs methods of a model.
#[derive(Debug)]
pub struct Interpreter<'m> {
    model: Option<&'m GraphModule>,
    contract: Contract,
    limits: Limits,
    gauge: Arc<Gauge>,
    work: Work,
    depth: u32,
    attrs: IndexMap<(ModuleId, Sym), Slot>,
    messages: Vec<String>,
    trace: Option<&'m mut dyn Trace>,
}

/// Is told of every value that a program computes, the moment it is there.
pub trait Trace: fmt::Debug {
    /// A value of a graph, a parameter or an output. What is nested in a loop comes again in every round.
    fn value(&mut self, graph: &Graph, id: ValueId, value: &Value);
}

/// The current value of a module's attribute.
#[derive(Debug)]
struct Slot {
    value: Value,
    written: bool,
}

/// The values of a running graph, by their ids.
struct Frame<'g> {
    graph: &'g Graph,
    values: Vec<Option<Value>>,
}

impl<'m> Interpreter<'m> {
    /// An interpreter of `model` under the default limits.
    pub fn new(model: &'m GraphModule, contract: Contract) -> Self {
        Self::build(Some(model), contract, Limits::default())
    }

    /// The same with other limits. Work counts over all calls.
    #[must_use]
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.gauge = Gauge::new(limits.bytes);
        self.work = Work::new(limits.work);
        self.limits = limits;
        self
    }

    /// The same, telling `trace` of every value.
    #[must_use]
    pub fn traced(mut self, trace: &'m mut dyn Trace) -> Self {
        self.trace = Some(trace);
        self
    }

    fn build(model: Option<&'m GraphModule>, contract: Contract, limits: Limits) -> Self {
        Self {
            model,
            contract,
            limits,
            gauge: Gauge::new(limits.bytes),
            work: Work::new(limits.work),
            depth: 0,
            attrs: IndexMap::new(),
            messages: Vec::new(),
            trace: None,
        }
    }

    /// Calls a method of the root module; `inputs` are without `self`. Returns the method's result.
    pub fn call_method(&mut self, name: &str, inputs: &[Value]) -> Result<Value> {
        let model = self.model()?;
        let Some(method) = model.root_method(name) else {
            return Err(Error::Missing(format!(
                "a method {name} of class {}",
                model.module(model.root()).class
            )));
        };
        let mut all = vec![Value::Module(model.root())];
        all.extend_from_slice(inputs);
        self.call(method, &all)
    }

    /// Calls a method or function with all its inputs, `self` included. Inputs that are not given take their defaults.
    ///
    /// `self` is usually a [`Value::Module`], but a [`Value::Object`] whose fields hold what the method reads does as well.
    pub fn call(&mut self, method: MethodId, inputs: &[Value]) -> Result<Value> {
        let method = self.model()?.method(method);
        let _in_force = Arc::clone(&self.gauge).enter();
        let results = self.call_body(method, inputs.to_vec())?;
        Ok(single(results))
    }

    /// The current value of a module's attribute.
    pub fn attr(&mut self, module: ModuleId, name: Sym) -> Option<Value> {
        self.module_attr(module, name).ok()
    }

    /// Gives a module's attribute a value, for this interpreter only.
    pub fn set_attr(&mut self, module: ModuleId, name: Sym, value: Value) {
        let written = true;
        self.attrs.insert((module, name), Slot { value, written });
    }

    /// The attributes that were assigned since the interpreter was made, in the order in which they were first read or assigned.
    pub fn written(&self) -> impl Iterator<Item = (ModuleId, Sym, &Value)> {
        let written = self.attrs.iter().filter(|(_, slot)| slot.written);
        written.map(|((module, name), slot)| (*module, *name, &slot.value))
    }

    /// What the program printed or warned of, in order.
    pub fn messages(&self) -> &[String] {
        &self.messages
    }

    fn model(&self) -> Result<&'m GraphModule> {
        self.model
            .ok_or_else(|| Error::Missing("a module: the graph runs on its own".to_owned()))
    }

    fn call_body(&mut self, method: &'m Method, mut inputs: Vec<Value>) -> Result<Vec<Value>> {
        let wanted = method.graph.params().len();
        for (_, default) in method.params.iter().take(wanted).skip(inputs.len()) {
            let Some(default) = default else { break };
            inputs.push(Value::from(default));
        }
        self.run(&method.graph, inputs)
            .map_err(|error| match error {
                Error::Invalid(what) => Error::Invalid(format!("{what} in {}", method.name)),
                other => other,
            })
    }

    fn run(&mut self, graph: &Graph, inputs: Vec<Value>) -> Result<Vec<Value>> {
        let params = graph.params();
        if params.len() != inputs.len() {
            return Err(Error::Invalid(format!(
                "{} inputs are given and {} are taken",
                inputs.len(),
                params.len()
            )));
        }
        let mut frame = Frame {
            graph,
            values: Vec::new(),
        };
        for (param, input) in params.iter().zip(inputs) {
            self.define(&mut frame, *param, input);
        }
        self.run_block(&mut frame, graph.entry())
    }

    /// Runs a block whose parameters are set; returns its results.
    fn run_block(&mut self, frame: &mut Frame<'_>, block: BlockId) -> Result<Vec<Value>> {
        if self.depth >= self.limits.depth {
            return Err(Error::Limit {
                what: "nested calls and blocks",
                limit: u64::from(self.limits.depth),
            });
        }
        self.depth += 1;
        let graph = frame.graph;
        let ran = graph
            .nodes(block)
            .try_for_each(|node| self.run_node(frame, node));
        self.depth -= 1;
        ran?;
        let results = graph.block(block).results();
        results.iter().map(|value| frame.get(*value)).collect()
    }

    fn run_node(&mut self, frame: &mut Frame<'_>, node: NodeId) -> Result<()> {
        let graph = frame.graph;
        let (op, loc) = (graph.node(node).op(), graph.node(node).loc());
        let outputs = self
            .work
            .take(1)
            .and_then(|()| self.outputs(frame, node))
            .map_err(|error| error.at(op, loc))?;
        let wanted = graph.node(node).outputs();
        if outputs.len() < wanted.len() {
            let given = outputs.len();
            let reason = format!("{given} results for {} outputs", wanted.len());
            return Err(Error::Invalid(reason).at(op, loc));
        }
        for (output, value) in wanted.iter().zip(outputs) {
            self.define(frame, *output, value);
        }
        Ok(())
    }

    /// Gives a value of a frame.
    fn define(&mut self, frame: &mut Frame<'_>, id: ValueId, value: Value) {
        if let Some(trace) = &mut self.trace {
            trace.value(frame.graph, id, &value);
        }
        frame.set(id, value);
    }

    fn outputs(&mut self, frame: &mut Frame<'_>, node: NodeId) -> Result<Vec<Value>> {
        let (graph, op) = (frame.graph, frame.graph.node(node).op());
        let inputs = graph.node(node).inputs().iter();
        let inputs: Vec<Value> = inputs.map(|v| frame.get(*v)).collect::<Result<_>>()?;
        match op.name().as_str() {
            "prim::If" => self.branch(frame, node, &inputs),
            "prim::Loop" => self.repeat(frame, node, inputs),
            "prim::GetAttr" => Ok(vec![self.get_attr(graph, node, &inputs)?]),
            "prim::SetAttr" => self.set_attribute(graph, node, &inputs),
            "prim::CallMethod" => self.call_method_node(graph, node, inputs),
            "prim::CallFunction" => self.call_function(inputs),
            "prim::fork" | "prim::awaitable" => self.fork(graph, node, inputs),
            "prim::Enter" => self.call_named("__enter__".into(), inputs),
            "prim::Exit" => {
                let raised = [Value::None, Value::None, Value::None];
                let inputs = inputs.into_iter().chain(raised).collect();
                self.call_named("__exit__".into(), inputs)
            }
            "prim::ModuleContainerIndex" => Ok(vec![self.contained(&inputs)?]),
            "prim::Print" => {
                let words: Vec<String> = inputs.iter().map(ToString::to_string).collect();
                self.messages.push(words.join(" "));
                Ok(Vec::new())
            }
            "aten::warn" => {
                self.messages
                    .extend(inputs.first().map(ToString::to_string));
                Ok(Vec::new())
            }
            _ => match data::outputs(graph, node, &inputs) {
                Some(outputs) => outputs,
                None => apply_kernel(op, &inputs, self.contract, &self.work),
            },
        }
    }
}

impl Frame<'_> {
    fn get(&self, value: ValueId) -> Result<Value> {
        match self.values.get(value.index()) {
            Some(Some(found)) => Ok(found.clone()),
            _ => Err(Error::Missing(format!("a value for {value}"))),
        }
    }

    fn set(&mut self, id: ValueId, value: Value) {
        let index = id.index();
        if index >= self.values.len() {
            self.values.resize(index + 1, None);
        }
        self.values[index] = Some(value);
    }
}

/// Runs a graph that uses no module, under the default limits.
pub fn run_graph(graph: &Graph, inputs: &[Value], contract: Contract) -> Result<Vec<Value>> {
    let mut interpreter = Interpreter::build(None, contract, Limits::default());
    let _in_force = Arc::clone(&interpreter.gauge).enter();
    interpreter.run(graph, inputs.to_vec())
}

/// Evaluates one node on its own, as constant folding does; nodes with blocks and nodes that use a module are refused.
pub fn eval_node(
    graph: &Graph,
    node: NodeId,
    inputs: &[Value],
    contract: Contract,
    limits: Limits,
) -> Result<Vec<Value>> {
    let op = graph.node(node).op();
    let _in_force = Gauge::new(limits.bytes).enter();
    let outputs = match data::outputs(graph, node, inputs) {
        Some(outputs) => outputs,
        None => apply_kernel(op, inputs, contract, &Work::new(limits.work)),
    };
    outputs.map_err(|error| error.at(op, graph.node(node).loc()))
}

/// Applies an operator that needs neither attributes nor a module to values.
pub fn apply(op: Op, inputs: &[Value], contract: Contract) -> Result<Vec<Value>> {
    let work = Work::new(Limits::default().work);
    apply_kernel(op, inputs, contract, &work).map_err(|error| error.at(op, None))
}

/// Whether [`apply`] knows the operator.
pub fn is_known(op: Op) -> bool {
    ops::find(op).is_some()
}

pub(crate) fn apply_kernel(
    op: Op,
    args: &[Value],
    contract: Contract,
    work: &Work,
) -> Result<Vec<Value>> {
    let Some(meaning) = ops::find(op) else {
        return Err(Error::Unsupported(format!("the operator {op}")));
    };
    let (args, outs) = args.split_at(args.len().saturating_sub(meaning.outs));
    let call = Call {
        op: meaning.op,
        args,
        contract,
        work,
    };
    let results = match meaning.kernel {
        Kernel::One(run) => vec![run(&call)?],
        Kernel::Many(run) => run(&call)?,
    };
    if !outs.is_empty() {
        return ops::write_out(outs, &results);
    }
    match (meaning.in_place, &results[..], args) {
        (Some(in_place), [result], [target, ..]) => Ok(vec![in_place.change(target, result)?]),
        _ => Ok(results),
    }
}

/// The result of a method: its only result, or all of them as a tuple.
fn single(mut results: Vec<Value>) -> Value {
    match results.len() {
        0 => Value::None,
        1 => results.remove(0),
        _ => Value::tuple(results),
    }
}

/// The literal attribute of a node, which must be there.
fn attribute<'g>(graph: &'g Graph, node: NodeId, name: &str) -> Result<&'g Literal> {
    let found = graph.node(node).literal(name);
    found.ok_or_else(|| Error::Missing(format!("the attribute {name}")))
}

#[cfg(test)]
mod tests;
