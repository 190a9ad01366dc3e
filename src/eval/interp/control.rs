//! Control flow: branches, loops, forks.

use planish_ir::{Attr, Graph, NodeId};

use super::{Frame, Interpreter};
use crate::{Error, Result, Value};

impl Interpreter<'_> {
    pub(super) fn branch(
        &mut self,
        frame: &mut Frame<'_>,
        node: NodeId,
        inputs: &[Value],
    ) -> Result<Vec<Value>> {
        let (Some(Value::Bool(taken)), [then, otherwise]) =
            (inputs.first(), frame.graph.node(node).blocks())
        else {
            return Err(Error::invalid("a branch takes one bool and two blocks"));
        };
        self.run_block(frame, if *taken { *then } else { *otherwise })
    }

    /// `prim::Loop(limit, go on, carried…)`: the body takes the count and what is carried, and gives whether to go on and what to carry.
    pub(super) fn repeat(
        &mut self,
        frame: &mut Frame<'_>,
        node: NodeId,
        mut inputs: Vec<Value>,
    ) -> Result<Vec<Value>> {
        let wrong = || Error::invalid("a loop takes an int, a bool and a block that gives a bool");
        let [body] = frame.graph.node(node).blocks() else {
            return Err(wrong());
        };
        if inputs.len() < 2 {
            return Err(wrong());
        }
        let mut carried = inputs.split_off(2);
        let (Value::Int(limit), Value::Bool(first)) = (&inputs[0], &inputs[1]) else {
            return Err(wrong());
        };
        let mut go_on = *first;
        let mut count = 0;
        while go_on && count < *limit {
            let params = frame.graph.block(*body).params();
            if params.len() != carried.len() + 1 {
                return Err(wrong());
            }
            self.define(frame, params[0], Value::Int(count));
            for (param, value) in params[1..].iter().zip(carried) {
                self.define(frame, *param, value);
            }
            self.work.take(1)?;
            let mut results = self.run_block(frame, *body)?;
            if results.is_empty() {
                return Err(wrong());
            }
            let Value::Bool(next) = results.remove(0) else {
                return Err(wrong());
            };
            (go_on, carried) = (next, results);
            count += 1;
        }
        Ok(carried)
    }

    /// A fork runs at once: its result is there before anybody waits for it.
    pub(super) fn fork(
        &mut self,
        graph: &Graph,
        node: NodeId,
        inputs: Vec<Value>,
    ) -> Result<Vec<Value>> {
        let Some(Attr::Graph(body)) = graph.node(node).attr("Subgraph") else {
            return Err(Error::Missing("the attribute Subgraph".to_owned()));
        };
        let results = self.run(body, inputs)?;
        Ok(vec![super::single(results)])
    }
}
