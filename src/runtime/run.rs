//! One call of a program: a walk over its graph.

use planish_eval::{Limits, Value};
use planish_ir::entity::EntityId as _;
use planish_ir::{BlockId, Graph, Node, NodeId, ValueId};

use crate::arena::Arena;
use crate::program::{Program, Step};
use crate::steps::Outcome;
use crate::{Fallback, RunError, Stats};

/// One call.
pub(crate) struct Run<'p, 's> {
    program: &'p Program,
    values: Vec<Option<Value>>,
    /// What the attributes hold that the program may change.
    attributes: Vec<Value>,
    arena: Arena,
    stats: &'s mut Stats,
}

impl<'p, 's> Run<'p, 's> {
    pub(crate) fn new(program: &'p Program, arena: Arena, stats: &'s mut Stats) -> Self {
        Self {
            program,
            values: vec![None; program.graph().value_capacity()],
            attributes: program.attributes().iter().map(Value::from).collect(),
            arena,
            stats,
        }
    }

    /// Gives a value to a parameter.
    pub(crate) fn set(&mut self, param: ValueId, value: Value) {
        self.values[param.index()] = Some(value);
    }

    /// The buffers, for the next call.
    pub(crate) fn into_arena(self) -> Arena {
        self.arena
    }

    /// Runs a block whose parameters are set; returns its results.
    pub(crate) fn block(&mut self, block: BlockId) -> Result<Vec<Value>, RunError> {
        let program = self.program;
        for node in program.graph().nodes(block) {
            self.node(node)
                .map_err(|error| at(program.graph(), node, error))?;
            for dead in program.dead_after(node) {
                self.values[dead.index()] = None;
            }
        }
        program
            .graph()
            .block(block)
            .results()
            .iter()
            .map(|value| self.get(*value))
            .collect()
    }

    fn node(&mut self, id: NodeId) -> Result<(), RunError> {
        let program = self.program;
        let node = program.graph().node(id);
        let outputs = match program.step(id) {
            Step::Known(value) => vec![value.clone()],
            Step::Fresh(literal) => vec![Value::from(literal)],
            Step::Read(slot) => vec![self.attributes[*slot].clone()],
            Step::Assign(slot) => {
                self.attributes[*slot] = self.get(node.inputs()[1])?;
                Vec::new()
            }
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
                        let fallback = Fallback::at(program.graph(), id, reason);
                        self.stats.not_taken(fallback);
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
        let node = self.program.graph().node(id);
        // There is nobody to tell.
        if node.op().is("aten::warn") || node.op().is("prim::Print") {
            return Ok(Vec::new());
        }
        let outputs = evaluate(self.program, id, inputs)?;
        self.stats.evaluated(node.op(), inputs, &outputs);
        Ok(outputs)
    }

    fn branch(&mut self, node: Node<'_>) -> Result<Vec<Value>, RunError> {
        let Value::Bool(condition) = self.get(node.inputs()[0])? else {
            return Err(RunError::Shape(
                "branch on a value that is not a bool".to_owned(),
            ));
        };
        self.block(node.blocks()[usize::from(!condition)])
    }

    fn repeat(&mut self, node: Node<'_>) -> Result<Vec<Value>, RunError> {
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
            let params = self.program.graph().block(body).params();
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

    fn inputs(&self, node: Node<'_>) -> Result<Vec<Value>, RunError> {
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
        program.graph(),
        id,
        inputs,
        program.contract(),
        Limits::default(),
    )?)
}

/// An error with the node at which it happened; the reference evaluator says that itself.
fn at(graph: &Graph, id: NodeId, error: RunError) -> RunError {
    if matches!(error, RunError::At { .. } | RunError::Eval(_)) {
        return error;
    }
    let node = graph.node(id);
    let place = node
        .loc()
        .map_or_else(String::new, |loc| format!(" at {loc}"));
    RunError::At {
        op: node.op().to_string(),
        place,
        source: Box::new(error),
    }
}
