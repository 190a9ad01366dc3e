//! Where rules are applied: to every method that is kept, with what is known of the attributes that all of them share.

use std::sync::Arc;

use planish_ir::{Graph, GraphModule, MethodId, NodeId};

use crate::analysis::alias::Aliases;
use crate::kept;
use crate::pass::{Changed, PassCx, PassError};
use crate::remark::{Remark, RemarkKind};
use crate::rewrite::{
    Applied, Facts, Misses, Outcome, Rule, RuleSet, Watch, Written, misses, rewrite, root_objects,
};

/// A method that is being rewritten.
pub(crate) struct Scope<'m> {
    pub(crate) method: &'static str,
    pub(crate) facts: Facts<'m>,
}

/// Runs `body` over the graph of every kept method; it returns how many rewrites it made.
pub(crate) fn each_kept_method(
    module: &mut GraphModule,
    cx: &mut PassCx<'_>,
    body: impl FnMut(Scope<'_>, &mut Graph, &mut PassCx<'_>) -> usize,
) -> Result<Changed, PassError> {
    let methods = kept::kept_methods(module, &cx.options.preserved)?;
    Ok(each_method(module, &methods, cx, body))
}

/// The same for these methods of the root.
pub(crate) fn each_method(
    module: &mut GraphModule,
    methods: &[MethodId],
    cx: &mut PassCx<'_>,
    mut body: impl FnMut(Scope<'_>, &mut Graph, &mut PassCx<'_>) -> usize,
) -> Changed {
    let mut written = Written::new();
    let mut analyses = Vec::with_capacity(methods.len());
    for id in methods {
        let graph = &module.method(*id).graph;
        let objects = root_objects(module, graph);
        let aliases = Aliases::of_writes(graph, &objects);
        written.extend(aliases.written_attributes());
        analyses.push((objects, aliases));
    }
    let mut changed = 0;
    for (id, analysis) in methods.iter().copied().zip(analyses) {
        // Rules read attributes of the module while they change the graph.
        let mut graph = std::mem::take(&mut module.method_mut(id).graph);
        let method = module.method(id).name.as_str();
        let scope = Scope {
            method,
            facts: Facts::of(module, &graph, analysis, &written),
        };
        changed += body(scope, &mut graph, cx);
        module.method_mut(id).graph = graph;
    }
    Changed(changed)
}

impl Scope<'_> {
    /// Applies a set of rules.
    pub(crate) fn rewrite<'r>(
        &mut self,
        graph: &mut Graph,
        rules: &'r RuleSet,
        cx: &mut PassCx<'_>,
    ) -> Outcome<'r> {
        let watch = cx.observer.as_deref_mut();
        let watch = watch.map(|observer| Watch {
            method: self.method,
            observer,
        });
        rewrite(graph, rules, &mut self.facts, cx.fuel, watch)
    }

    /// The operators that rules speak about and that were not rewritten, each with what came nearest.
    pub(crate) fn misses<'r>(&self, graph: &Graph, rules: &'r RuleSet) -> Misses<'r> {
        misses(graph, rules, &self.facts)
    }

    /// Makes remarks of rewrites and of what came near; returns the number of rewrites.
    pub(crate) fn report(
        &self,
        pass: &'static str,
        graph: &Graph,
        outcome: &Outcome<'_>,
        misses: Misses<'_>,
        cx: &mut PassCx<'_>,
    ) -> usize {
        cx.remarks.reserve(outcome.applied.len() + misses.len());
        for Applied { rule, core, .. } in &outcome.applied {
            // What is known of a node stays readable when it is gone.
            let (at, becomes) = ((graph, *core), Arc::clone(rule.becomes()));
            self.remark(pass, RemarkKind::Passed, rule, at, becomes, cx);
        }
        for (node, near) in misses {
            // A pass before this one may have said why.
            if cx.remarks.missed_at(self.method, node).is_none() {
                let at = (graph, node);
                self.remark(pass, RemarkKind::Missed, near.rule, at, near.reason, cx);
            }
        }
        outcome.applied.len()
    }

    fn remark(
        &self,
        pass: &'static str,
        kind: RemarkKind,
        rule: &Rule,
        (graph, node): (&Graph, NodeId),
        reason: impl Into<Arc<str>>,
        cx: &mut PassCx<'_>,
    ) {
        let at = (self.method, graph, node);
        let remark = Remark::at(kind, pass, rule.name(), at, reason);
        cx.remarks.push(remark.numbered(rule.number()));
    }
}
