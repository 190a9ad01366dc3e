//! Why no rule fuses what computes a value: the question that a user asks of one value of a module.

use planish_ir::text::{Style, names};
use planish_ir::{Graph, GraphModule, NodeId, Phase, ValueId};

use crate::analysis::alias::Aliases;
use crate::kept;
use crate::pass::{Options, PassError, QuantType};
use crate::rewrite::{Facts, NearMiss, Rule, Written, nearest, root_objects};
use crate::rules;

/// What rules say of the operator that computes a value.
#[derive(Debug)]
pub struct WhyNot {
    /// The method it stands in.
    pub method: String,
    /// What computes the value, as `%value = operator(%operand, …)`, with its place in the source.
    pub node: String,
    /// What rules say of it.
    pub answer: Answer,
}

/// What rules say of an operator.
#[derive(Debug)]
pub enum Answer {
    /// This rule matches.
    Matches(&'static Rule),
    /// The rules that come near, the nearest first.
    Near(Vec<NearMiss<'static>>),
    /// No rule speaks about the operator.
    NoRule,
    /// The value is an input of the method or of a block.
    Parameter,
}

/// Why a question has no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WhyNotError {
    /// No kept method has a value of that name.
    #[error("find a value %{name} in {methods}: {hint}")]
    UnknownValue {
        /// The name as it was given.
        name: String,
        /// The methods.
        methods: String,
        /// Names that are nearly that one.
        hint: String,
    },
    /// A name to preserve is not in the module.
    #[error(transparent)]
    Kept(#[from] PassError),
}

/// Asks the rules of the pass that comes next why they do not fuse what computes a value.
///
/// Values go by the names that a faithful text gives them, else by their numbers in a canonical one. A name may stand in several methods.
pub fn why_not(
    module: &GraphModule,
    options: &Options,
    value: &str,
) -> Result<Vec<WhyNot>, WhyNotError> {
    let name = value.trim().trim_start_matches('%');
    let methods = kept::kept_methods(module, &options.preserved)?;
    let mut written = Written::new();
    for id in &methods {
        let graph = &module.method(*id).graph;
        written
            .extend(Aliases::of_writes(graph, &root_objects(module, graph)).written_attributes());
    }
    let mut found = Vec::new();
    for style in [Style::Faithful, Style::Canonical] {
        for id in &methods {
            let method = module.method(*id);
            let mut names = names(&method.graph, style).into_iter();
            if let Some((value, _)) = names.find(|(_, known)| *known == *name) {
                let facts = Facts::new(module, &method.graph, &written);
                found.push(WhyNot {
                    method: method.name.to_string(),
                    node: printed(&method.graph, value),
                    answer: ask(
                        module.phase,
                        options.quant_type,
                        &method.graph,
                        &facts,
                        value,
                    ),
                });
            }
        }
        if !found.is_empty() {
            return Ok(found);
        }
    }
    let mut known: Vec<String> = methods
        .iter()
        .flat_map(|id| names(&module.method(*id).graph, Style::Faithful))
        .map(|(_, name)| name.to_string())
        .collect();
    known.sort();
    known.dedup();
    let methods = methods.iter().map(|id| module.method(*id).name.to_string());
    Err(WhyNotError::UnknownValue {
        name: name.to_owned(),
        methods: methods.collect::<Vec<_>>().join(", "),
        hint: near_names(name, &known),
    })
}

fn ask(
    phase: Phase,
    quant_type: QuantType,
    graph: &Graph,
    facts: &Facts<'_>,
    value: ValueId,
) -> Answer {
    let Some(node) = graph.producer(value) else {
        return Answer::Parameter;
    };
    let sets = [rules::prepack(), rules::pairs(), rules::fusion(quant_type)];
    let mut near = Vec::new();
    for set in &sets[usize::from(phase >= Phase::Prepacked)..] {
        match nearest(graph, set, facts, node) {
            Ok(rule) => return Answer::Matches(rule),
            Err(misses) => near.extend(misses),
        }
    }
    if near.is_empty() {
        Answer::NoRule
    } else {
        Answer::Near(near)
    }
}

fn printed(graph: &Graph, value: ValueId) -> String {
    let Some(node) = graph.producer(value) else {
        return format!("{} is a parameter", graph.label(value));
    };
    node_text(graph, node)
}

/// A node as messages show it: `%y = aten::linear(%x, %w, %b) (model.py:12)`.
pub fn node_text(graph: &Graph, node: NodeId) -> String {
    let node = graph.node(node);
    let labels = |values: &[ValueId]| {
        let labels = values.iter().map(|value| graph.label(*value).to_string());
        labels.collect::<Vec<_>>().join(", ")
    };
    let loc = node
        .loc()
        .map(|loc| format!(" ({loc})"))
        .unwrap_or_default();
    let (outputs, inputs) = (labels(node.outputs()), labels(node.inputs()));
    format!("{outputs} = {}({inputs}){loc}", node.op())
}

/// What a user may have meant.
fn near_names(name: &str, known: &[String]) -> String {
    const SHOWN: usize = 3;
    let mut near: Vec<(f64, &String)> = known
        .iter()
        .map(|known| (strsim::jaro_winkler(name, known), known))
        .filter(|(likeness, _)| *likeness > 0.7)
        .collect();
    near.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.cmp(b.1)));
    if near.is_empty() {
        return format!("there are {} values, none with a name like it", known.len());
    }
    let near = near.iter().take(SHOWN).map(|(_, name)| format!("%{name}"));
    format!("there are {}", near.collect::<Vec<_>>().join(", "))
}
