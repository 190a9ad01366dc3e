//! What the values of a method were on one run.

use std::collections::{HashMap, HashSet};

use planish_eval::{Contract, Interpreter, Limits, Trace, Value, eval_node, to_literal};
use planish_ir::{BlockId, Def, Effects, Graph, GraphModule, Literal, MethodId, Use, ValueId};

use crate::analysis::objects::{attribute_read, attribute_value, objects};

/// The values of a method on one run, each as it was when it was computed; of what runs in rounds, those of the first.
#[derive(Debug)]
pub(super) struct Recording {
    contract: Contract,
    values: HashMap<ValueId, Literal>,
}

impl Recording {
    /// Runs a method and records it, as far as it comes.
    pub(super) fn of(
        module: &GraphModule,
        method: MethodId,
        inputs: &[Literal],
        contract: Contract,
    ) -> Self {
        let mut recorder = Recorder {
            graph: &module.method(method).graph,
            values: HashMap::new(),
            in_later_rounds: HashSet::new(),
        };
        let inputs = arguments(module, method, inputs);
        // A run that fails has recorded what it came to.
        let _ = Interpreter::new(module, contract)
            .traced(&mut recorder)
            .call(method, &inputs);
        let mut values = recorder.values;
        // Attributes that are read in branches that were not taken.
        let graph = &module.method(method).graph;
        let objects = objects(module, module.root(), graph);
        for node in graph.walk() {
            if attribute_read(graph, &objects, node).is_some() {
                let output = graph.output(node);
                if let Some(value) = attribute_value(module, graph, &objects, output) {
                    values.entry(output).or_insert_with(|| value.clone());
                }
            }
        }
        Self { contract, values }
    }

    /// A value, as it was on the run.
    pub(super) fn get(&self, value: ValueId) -> Option<&Literal> {
        self.values.get(&value)
    }

    /// Adds what a rewrite has put into the graph. It may have chosen another scale, which is read from it from now on.
    pub(super) fn insert(&mut self, graph: &Graph, value: ValueId, literal: Literal) {
        const READERS: [&str; 3] = ["aten::q_scale", "aten::q_zero_point", "aten::int_repr"];
        for at in graph.value(value).uses() {
            let Use::Input(node, _) = *at else { continue };
            let node = graph.node(node);
            if READERS.iter().any(|reader| node.op().is(reader)) {
                for output in node.outputs() {
                    self.values.remove(output);
                }
            }
        }
        self.values.insert(value, literal);
    }

    /// A value as it was on the run; as it would have been, when the run did not come by: in a branch that was not taken, or because a
    /// rewrite has put it there.
    pub(super) fn value(&mut self, graph: &Graph, value: ValueId) -> Option<Literal> {
        let mut open = vec![value];
        while let Some(at) = open.last().copied() {
            if self.values.contains_key(&at) {
                open.pop();
                continue;
            }
            if let Some(literal) = graph.constant(at) {
                self.values.insert(at, literal.clone());
                continue;
            }
            let node = graph.producer(at)?;
            let plain = graph.node(node).blocks().is_empty();
            if !plain || graph.effects(node) != Effects::Pure {
                return None;
            }
            let inputs = graph.node(node).inputs();
            let missing = |input: &&ValueId| !self.values.contains_key(input);
            if let Some(missing) = inputs.iter().find(missing) {
                open.push(*missing);
                continue;
            }
            let inputs: Vec<Value> = inputs
                .iter()
                .map(|input| Value::from(&self.values[input]))
                .collect();
            let outputs = eval_node(graph, node, &inputs, self.contract, Limits::default()).ok()?;
            for (output, value) in graph.node(node).outputs().iter().zip(&outputs) {
                self.values.insert(*output, to_literal(value).ok()?);
            }
            if !self.values.contains_key(&at) {
                return None;
            }
        }
        self.values.get(&value).cloned()
    }
}

/// The arguments of a call: the module first, unless the method is a graph on its own.
pub(super) fn arguments(module: &GraphModule, method: MethodId, inputs: &[Literal]) -> Vec<Value> {
    let alone = module.method(method).graph.params().len() == inputs.len();
    let this = (!alone).then_some(Value::Module(module.root()));
    let inputs = inputs.iter().map(Value::from);
    this.into_iter().chain(inputs).collect()
}

#[derive(Debug)]
struct Recorder<'m> {
    graph: &'m Graph,
    values: HashMap<ValueId, Literal>,
    /// Blocks that run again.
    in_later_rounds: HashSet<BlockId>,
}

impl Recorder<'_> {
    fn runs_again(&self, mut block: BlockId) -> bool {
        loop {
            if self.in_later_rounds.contains(&block) {
                return true;
            }
            match self.graph.block(block).parent() {
                Some(node) => block = self.graph.block_of(node),
                None => return false,
            }
        }
    }
}

impl Trace for Recorder<'_> {
    fn value(&mut self, graph: &Graph, id: ValueId, value: &Value) {
        if !std::ptr::eq(graph, self.graph) {
            return;
        }
        let block = match graph.value(id).def() {
            Def::Param(block, _) => {
                if self.values.contains_key(&id) {
                    self.in_later_rounds.insert(block);
                }
                block
            }
            Def::Output(node, _) => graph.block_of(node),
        };
        if self.runs_again(block) {
            return;
        }
        // Modules are not data, and no rule reads them.
        if let Ok(literal) = to_literal(value) {
            self.values.insert(id, literal);
        }
    }
}
