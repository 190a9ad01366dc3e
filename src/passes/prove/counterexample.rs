//! Inputs for which a module and what was made of it answer differently.

use planish_eval::{Contract, Interpreter, to_literal};
use planish_ir::{Effects, Graph, GraphModule, Literal, MethodId};

use super::difference::{Within, difference};
use super::recording::arguments;
use super::within;
use crate::rewrite::Bound;

/// What shows that a rewrite, or a step of a pass, is wrong.
#[derive(Clone, Debug)]
pub struct Counterexample {
    /// The pass.
    pub pass: String,
    /// The rule, or the step of the pass.
    pub step: String,
    /// Which rewrite of the pipeline it is, from 1, when a rule made it.
    pub number: Option<u64>,
    /// The method it was made in; what is compared are the methods of this name.
    pub method: String,
    /// How far answers may be apart.
    pub bound: Bound,
    /// The arithmetic.
    pub contract: Contract,
    /// The module before; for a rule what its pattern matched, as a graph on its own.
    pub before: GraphModule,
    /// The same afterwards.
    pub after: GraphModule,
    /// How often the method is called: twice where one call may leave something to the next.
    pub calls: usize,
    /// The arguments of the method, without the module.
    pub inputs: Vec<Literal>,
    /// How the answers differ.
    pub difference: String,
}

impl Counterexample {
    /// Runs both again; how their answers differ, or `None` when they do not any more.
    ///
    /// # Errors
    /// When what stands for the module before cannot be run at all.
    pub fn replay(&self) -> Result<Option<String>, planish_eval::Error> {
        let run = |module: &GraphModule| match module.root_method(&self.method) {
            Some(method) => answer(module, method, &self.inputs, self.calls, self.contract),
            None => Err(planish_eval::Error::Missing(format!(
                "a method {}",
                self.method
            ))),
        };
        let before = run(&self.before)?;
        let method = self.before.root_method(&self.method);
        let within = method.map_or(self.bound.into(), |method| {
            let graph = &self.before.method(method).graph;
            within(self.bound, graph, &self.inputs, self.contract)
        });
        Ok(judge(&before, run(&self.after), within))
    }
}

/// A graph as a module whose only method it is.
pub(super) fn alone(graph: Graph) -> GraphModule {
    let class = "__torch__.Rewrite".into();
    let mut module = GraphModule::new(class, "");
    let params = graph.params().iter().enumerate();
    let params = params
        .map(|(at, _)| (format!("x{at}").as_str().into(), None))
        .collect();
    module.add_method(class, ALONE.into(), params, graph);
    module
}

/// The method that a graph on its own is.
pub(super) const ALONE: &str = "forward";

/// How often methods must be called to see all that they do: twice when something may be written to.
pub(super) fn calls(module: &GraphModule) -> usize {
    let writes = module.named_methods().into_iter().any(|id| {
        let graph = &module.method(id).graph;
        graph.walk().any(|node| {
            let op = graph.node(node).op();
            op.is("prim::SetAttr") || op.info().effects == Effects::Writes
        })
    });
    1 + usize::from(writes)
}

/// What a method answers to calls in a row.
pub(super) fn answer(
    module: &GraphModule,
    method: MethodId,
    inputs: &[Literal],
    calls: usize,
    contract: Contract,
) -> Result<Literal, planish_eval::Error> {
    let mut interpreter = Interpreter::new(module, contract);
    let answers = (0..calls).map(|_| {
        let answer = interpreter.call(method, &arguments(module, method, inputs))?;
        to_literal(&answer)
    });
    Ok(Literal::Tuple(answers.collect::<Result<_, _>>()?))
}

/// How an answer differs from the one before.
pub(super) fn judge(
    before: &Literal,
    after: Result<Literal, planish_eval::Error>,
    within: impl Into<Within>,
) -> Option<String> {
    let within = within.into();
    let after = match after {
        Ok(after) => after,
        Err(error) => return Some(format!("it fails now: {error}")),
    };
    let (Literal::Tuple(before), Literal::Tuple(after)) = (before, &after) else {
        return difference(before, &after, within);
    };
    let mut calls = before.iter().zip(after.iter()).enumerate();
    calls.find_map(|(call, (before, after))| {
        let told = difference(before, after, within)?;
        Some(match call {
            0 => told,
            _ => format!("on the second call, {told}"),
        })
    })
}
