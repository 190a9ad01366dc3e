//! Proof by trial: what every single rewrite made is run against what it matched, on random and on boundary inputs.
//!
//! An application of a rule is looked at on its own. A run of the method gives the values that flow into it; the matched operations and
//! those that took their place are evaluated on them, and on many variations of them, and must agree within the bound of the rule. That
//! each also does in its place in the method what it does on its own (nothing writes to what it reads too early or too late) is seen by
//! comparing it with runs of the method before and after. Every other step of a pass is proven on the whole method, to the bit.
//!
//! What fails becomes a [`Counterexample`], and the pipeline ends.

mod counterexample;
mod difference;
mod recording;
mod summands;
mod vary;

use std::collections::HashMap;
use std::fmt;

use planish_eval::{Contract, Value, run_graph, to_literal};
use planish_ir::{Graph, GraphModule, Literal, MethodId, QParams, ValueId};

pub use counterexample::Counterexample;

use crate::kept::kept_methods;
use crate::observer::{Observer, Rewrite};
use crate::pass::Options;
use crate::rewrite::Bound;
use counterexample::{ALONE, alone, answer, calls, judge};
use difference::{Within, difference};
use recording::Recording;
use summands::largest;
use vary::{Choice, Kind, vary};

/// Proves rewrites while passes run.
pub struct Prover {
    contract: Contract,
    preserved: Vec<String>,
    /// Inputs of the methods; the first are those that were given.
    samples: Vec<Vec<Literal>>,
    calls: usize,
    pass: &'static str,
    /// The module as it was when the last step had been proven.
    current: Option<GraphModule>,
    /// What its methods answer, once that is needed.
    answers: Option<Vec<Answer>>,
    /// Its runs, by method and sample, once they are needed.
    recordings: HashMap<(String, usize), Recording>,
    /// The rewrites of the pass that runs.
    made: Vec<Made>,
    proof: Proof,
    failure: Option<Box<Counterexample>>,
}

/// What was proven.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proof {
    /// Applications of rules.
    pub rewrites: usize,
    /// Other steps that were compared on whole methods.
    pub steps: usize,
    /// Evaluations of what was matched and what took its place.
    pub trials: usize,
    /// Applications of rules for which no run gave inputs: the rule, and the method.
    pub unreached: Vec<(String, String)>,
    /// Why `forward` does not answer the inputs that were given, if it does not: then little is proven, or nothing.
    pub unanswered: Option<String>,
}

/// What a method answers to a sample.
struct Answer {
    method: String,
    sample: usize,
    outcome: Result<Literal, planish_eval::Error>,
}

/// A rewrite of the pass that runs.
struct Made {
    rule: String,
    number: u64,
    method: String,
    bound: Bound,
    after: Graph,
    inputs: Vec<ValueId>,
    output: ValueId,
}

impl Prover {
    /// A prover of pipelines that are run with these options; `inputs` are arguments of `forward`, without the module.
    pub fn new(options: &Options, inputs: Vec<Literal>) -> Self {
        Self {
            contract: options.contract,
            preserved: options.preserved.clone(),
            samples: vec![inputs],
            calls: 1,
            pass: "",
            current: None,
            answers: None,
            recordings: HashMap::new(),
            made: Vec::new(),
            proof: Proof::default(),
            failure: None,
        }
    }

    /// What was proven so far.
    pub fn proof(&self) -> &Proof {
        &self.proof
    }

    /// What shows that something is wrong, if anything is.
    pub fn counterexample(&self) -> Option<&Counterexample> {
        self.failure.as_deref()
    }

    /// Variations of the inputs that were given. Floats that are quantized get ties by the scale that they are quantized with.
    fn choose_samples(&mut self, module: &GraphModule) {
        const KINDS: [Kind; 4] = [Kind::Random, Kind::Alternating, Kind::Ties, Kind::Special];
        let given = &self.samples[0];
        let step = module
            .root_method(ALONE)
            .and_then(|method| first_scale(module, method, given, self.contract));
        let varied = KINDS.into_iter().enumerate().map(|(seed, kind)| {
            let seed = seed as u64;
            let choice = Choice { kind, seed, step };
            given.iter().map(|input| vary(input, choice)).collect()
        });
        let varied: Vec<Vec<Literal>> = varied.collect();
        self.samples.extend(varied);
    }

    /// The methods that are compared: those that are kept.
    fn methods(&self, module: &GraphModule) -> Vec<MethodId> {
        // Names that lead nowhere are the passes' affair.
        kept_methods(module, &self.preserved)
            .unwrap_or_else(|_| module.root_method(ALONE).into_iter().collect())
    }

    fn answers(&self, module: &GraphModule) -> Vec<Answer> {
        let mut answers = Vec::new();
        for method in self.methods(module) {
            for (sample, inputs) in self.samples.iter().enumerate() {
                answers.push(Answer {
                    method: module.method(method).name.to_string(),
                    sample,
                    outcome: answer(module, method, inputs, self.calls, self.contract),
                });
            }
        }
        answers
    }

    /// Compares whole methods with what they were, to the bit.
    fn settle(&mut self, step: &'static str, module: &GraphModule) {
        let Some(current) = &self.current else { return };
        let before = match self.answers.take() {
            Some(answers) => answers,
            None => self.answers(current),
        };
        let mut after = self.answers(module);
        for was in before {
            let Ok(expected) = was.outcome else { continue };
            let place = after
                .iter()
                .position(|is| is.method == was.method && is.sample == was.sample);
            let Some(place) = place else { continue };
            let found = match &after[place].outcome {
                Ok(found) => Ok(found.clone()),
                Err(_) => std::mem::replace(&mut after[place].outcome, Ok(Literal::None)),
            };
            if let Some(difference) = judge(&expected, found, Bound::Exact) {
                return self.fail(Counterexample {
                    pass: self.pass.to_owned(),
                    step: step.to_owned(),
                    number: None,
                    method: was.method,
                    bound: Bound::Exact,
                    contract: self.contract,
                    calls: self.calls,
                    before: current.clone(),
                    after: module.clone(),
                    inputs: self.samples[was.sample].clone(),
                    difference,
                });
            }
        }
        self.proof.steps += 1;
        self.answers = Some(after);
        self.goes_on_from(module);
    }

    fn goes_on_from(&mut self, module: &GraphModule) {
        self.current = Some(module.clone());
        self.recordings.clear();
    }

    /// Evaluates both sides of a rewrite on inputs; `Some` when the matched side could be evaluated.
    fn attempt(&mut self, rewrite: &Rewrite<'_>, inputs: Vec<Literal>) -> Option<Vec<Literal>> {
        let before = evaluate(&rewrite.before, &inputs, self.contract).ok()?;
        self.proof.trials += 1;
        let after = evaluate(&rewrite.after, &inputs, self.contract);
        let told = match (&after, before.last()) {
            (Ok(after), Some(was)) => {
                let is = after.last()?;
                let within = within(
                    rewrite.rule.bound(),
                    &rewrite.before,
                    &inputs,
                    self.contract,
                );
                difference(was, is, within)
            }
            (Err(error), _) => Some(format!("it fails now: {error}")),
            (Ok(_), None) => None,
        };
        if let Some(difference) = told {
            let mut after = rewrite.after.clone();
            let result = after.results().last().copied();
            after.set_results(after.entry(), result.as_slice());
            self.fail(Counterexample {
                pass: self.pass.to_owned(),
                step: rewrite.rule.name().to_owned(),
                number: Some(rewrite.number),
                method: ALONE.to_owned(),
                bound: rewrite.rule.bound(),
                contract: self.contract,
                calls: 1,
                before: alone(rewrite.before.clone()),
                after: alone(after),
                inputs,
                difference,
            });
        }
        after.ok()
    }

    /// Tries a rewrite on the values that flow into it, and on variations of them.
    fn try_rewrite(&mut self, rewrite: &Rewrite<'_>) {
        let (mut reached, mut isolated) = (false, true);
        let Some(method) = self
            .current
            .as_ref()
            .and_then(|module| module.root_method(rewrite.method))
        else {
            return;
        };
        let mut first = None;
        // Of a list that grows later it is not known what it held when it was read.
        let known = !rewrite.inputs.iter().any(|input| input.grows);
        for sample in 0..self.samples.len() {
            let Some(mut recording) = self.take_recording(rewrite.method, method, sample) else {
                continue;
            };
            let inputs: Option<Vec<Literal>> = rewrite
                .inputs
                .iter()
                .map(|input| recording.value(rewrite.graph, input.value))
                .collect();
            if let Some(inputs) = inputs.filter(|_| known)
                && let Ok(alone) = evaluate(&rewrite.before, &inputs, self.contract)
                && let Some(made) = self.attempt(rewrite, inputs.clone())
            {
                reached = true;
                // What came out in the method must be what comes out here; else something was written to in between.
                let seen = recording.get(rewrite.old);
                isolated &= seen.is_none_or(|seen| {
                    alone
                        .last()
                        .is_some_and(|alone| difference(seen, alone, Bound::Exact).is_none())
                });
                for (value, literal) in rewrite.made.iter().zip(made) {
                    recording.insert(rewrite.graph, *value, literal);
                }
                first.get_or_insert(inputs);
            }
            self.recordings
                .insert((rewrite.method.to_owned(), sample), recording);
        }
        if !reached {
            let place = (rewrite.rule.name().to_owned(), rewrite.method.to_owned());
            self.proof.unreached.push(place);
            return;
        }
        self.proof.rewrites += 1;
        for inputs in first.iter().flat_map(|inputs| variations(rewrite, inputs)) {
            if self.failure.is_none() {
                self.attempt(rewrite, inputs);
            }
        }
        if isolated && let Some(output) = rewrite.made.last() {
            self.made.push(Made {
                rule: rewrite.rule.name().to_owned(),
                number: rewrite.number,
                method: rewrite.method.to_owned(),
                bound: rewrite.rule.bound(),
                after: rewrite.after.clone(),
                inputs: rewrite.inputs.iter().map(|input| input.value).collect(),
                output: *output,
            });
        }
    }

    fn take_recording(&mut self, name: &str, method: MethodId, sample: usize) -> Option<Recording> {
        let known = self.recordings.remove(&(name.to_owned(), sample));
        known.or_else(|| {
            let module = self.current.as_ref()?;
            let inputs = &self.samples[sample];
            Some(Recording::of(module, method, inputs, self.contract))
        })
    }

    /// Looks whether what took a pattern's place computes in the method what it computes on its own.
    fn check_places(&mut self, module: &GraphModule) {
        for method in self.methods(module) {
            let name = module.method(method).name.to_string();
            for sample in 0..self.samples.len() {
                let recording = Recording::of(module, method, &self.samples[sample], self.contract);
                let wrong = self.made.iter().find_map(|made| {
                    if made.method != name {
                        return None;
                    }
                    let inputs: Option<Vec<Literal>> = made
                        .inputs
                        .iter()
                        .map(|input| recording.get(*input).cloned())
                        .collect();
                    let found = recording.get(made.output)?;
                    let alone = evaluate(&made.after, &inputs?, self.contract).ok()?;
                    let told = difference(alone.last()?, found, Bound::Exact)?;
                    Some((made, told))
                });
                if let (Some((made, told)), Some(current)) = (wrong, &self.current) {
                    let failure = Counterexample {
                        pass: self.pass.to_owned(),
                        step: made.rule.clone(),
                        number: Some(made.number),
                        method: name,
                        bound: made.bound,
                        contract: self.contract,
                        calls: self.calls,
                        before: current.clone(),
                        after: module.clone(),
                        inputs: self.samples[sample].clone(),
                        difference: format!(
                            "in its place it computes something else than on its own: {told}"
                        ),
                    };
                    return self.fail(failure);
                }
            }
        }
    }

    fn fail(&mut self, failure: Counterexample) {
        self.failure.get_or_insert_with(|| Box::new(failure));
    }
}

impl Observer for Prover {
    fn before_pass(&mut self, pass: &'static str, module: &GraphModule) {
        self.pass = pass;
        if self.current.is_none() {
            self.calls = calls(module);
            self.choose_samples(module);
            let answers = self.answers(module);
            let mut given = answers.iter().filter(|answer| answer.sample == 0);
            let given = given.find(|answer| answer.method == ALONE);
            let failed = given.and_then(|given| given.outcome.as_ref().err());
            self.proof.unanswered = failed.map(ToString::to_string);
            self.answers = Some(answers);
            self.goes_on_from(module);
        }
    }

    fn rewrite(&mut self, rewrite: Rewrite<'_>) {
        if self.failure.is_none() {
            self.try_rewrite(&rewrite);
        }
    }

    fn step(&mut self, step: &'static str, module: &GraphModule) {
        if self.failure.is_none() {
            self.settle(step, module);
        }
    }

    fn after_pass(&mut self, pass: &'static str, module: &GraphModule) -> Result<(), String> {
        let made_exactly = self.made.iter().all(|made| made.bound == Bound::Exact);
        if self.failure.is_none() && made_exactly {
            self.settle(pass, module);
        } else if self.failure.is_none() {
            self.check_places(module);
            self.answers = None;
            self.goes_on_from(module);
        }
        self.made.clear();
        match &self.failure {
            Some(failure) => Err(failure.to_string()),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Counterexample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.number {
            Some(number) => write!(f, "rewrite {number}, by the rule {:?}", self.step)?,
            None => write!(f, "its step {}", self.step)?,
        }
        write!(f, ", changes an answer")?;
        if self.bound != Bound::Exact {
            write!(f, " by more than {}", self.bound)?;
        }
        write!(f, ": {}", self.difference)
    }
}

impl fmt::Display for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} rewrites proven by {} trials, {} other steps",
            self.rewrites, self.trials, self.steps
        )?;
        if !self.unreached.is_empty() {
            write!(f, "; no input reaches {} rewrites", self.unreached.len())?;
        }
        Ok(())
    }
}

/// How far what a graph computes of these inputs may be from what takes its place.
fn within(bound: Bound, graph: &Graph, inputs: &[Literal], contract: Contract) -> Within {
    let largest = match bound {
        Bound::Share(_) => {
            let largest = largest(graph, inputs, contract);
            largest.filter(|largest| largest.is_finite()).unwrap_or(0.0)
        }
        _ => 0.0,
    };
    Within { bound, largest }
}

/// The inputs of a rewrite with other elements in what is not the same on every run.
fn variations(rewrite: &Rewrite<'_>, inputs: &[Literal]) -> Vec<Vec<Literal>> {
    let vary_all = |kind| {
        let pairs = rewrite.inputs.iter().zip(inputs).enumerate();
        let varied = pairs.map(|(at, (input, literal))| {
            let seed = rewrite.number.wrapping_mul(31).wrapping_add(at as u64);
            let step = None;
            if input.constant {
                literal.clone()
            } else {
                vary(literal, Choice { kind, seed, step })
            }
        });
        varied.collect()
    };
    Kind::ALL.into_iter().map(vary_all).collect()
}

fn evaluate(
    graph: &Graph,
    inputs: &[Literal],
    contract: Contract,
) -> Result<Vec<Literal>, planish_eval::Error> {
    let inputs: Vec<Value> = inputs.iter().map(Value::from).collect();
    let outputs = run_graph(graph, &inputs, contract)?;
    outputs.iter().map(to_literal).collect()
}

/// The scale by which an input of a method is quantized.
fn first_scale(
    module: &GraphModule,
    method: MethodId,
    inputs: &[Literal],
    contract: Contract,
) -> Option<f64> {
    let recording = Recording::of(module, method, inputs, contract);
    let graph = &module.method(method).graph;
    graph.walk().find_map(|node| {
        let node = graph.node(node);
        let first = node.inputs().first()?;
        if !node.op().is("aten::quantize_per_tensor") || !graph.params().contains(first) {
            return None;
        }
        match recording.get(*node.outputs().first()?)? {
            Literal::Tensor(tensor) => match tensor.qparams()? {
                QParams::PerTensor { scale, .. } => Some(*scale),
                _ => None,
            },
            _ => None,
        }
    })
}

#[cfg(test)]
mod tests;
