//! Pipelines: passes in a row, timed and reported, between two verifications of the module.

use std::fmt;
use std::time::{Duration, Instant};

use planish_ir::GraphModule;

use crate::pass::{Pass, PassCx, PassError};

/// Passes in the order in which they run. Its text is their names, separated by commas.
pub struct Pipeline {
    passes: Vec<&'static dyn Pass>,
    verify_each: bool,
}

/// What a pass of a pipeline did.
#[derive(Clone, Debug)]
pub struct PassReport {
    /// The pass.
    pub name: &'static str,
    /// When it began, counted from the start of the pipeline.
    pub start: Duration,
    /// When it ended, counted from the start of the pipeline.
    pub end: Duration,
    /// Rewrites made.
    pub rewrites: usize,
    /// Nodes of all methods of the root before.
    pub nodes_before: usize,
    /// Nodes of all methods of the root after.
    pub nodes_after: usize,
    /// Kernels that were newly asked for when the pass had ended.
    pub kernels_requested: usize,
}

/// What watches a pipeline.
pub trait Instrument {
    /// A pass is about to run.
    fn before_pass(&mut self, _pass: &dyn Pass, _module: &GraphModule) {}

    /// A pass has run.
    fn after_pass(&mut self, _pass: &dyn Pass, _module: &GraphModule, _report: &PassReport) {}

    /// The passes have run, and whoever ran them goes on to something that takes time.
    fn stage(&mut self, _what: &'static str) {}
}

/// Watches nothing.
impl Instrument for () {}

/// Both watch.
impl<A: Instrument, B: Instrument> Instrument for (A, B) {
    fn before_pass(&mut self, pass: &dyn Pass, module: &GraphModule) {
        self.0.before_pass(pass, module);
        self.1.before_pass(pass, module);
    }

    fn after_pass(&mut self, pass: &dyn Pass, module: &GraphModule, report: &PassReport) {
        self.0.after_pass(pass, module, report);
        self.1.after_pass(pass, module, report);
    }

    fn stage(&mut self, what: &'static str) {
        self.0.stage(what);
        self.1.stage(what);
    }
}

/// Watches if there is one.
impl<I: Instrument> Instrument for Option<I> {
    fn before_pass(&mut self, pass: &dyn Pass, module: &GraphModule) {
        if let Some(instrument) = self {
            instrument.before_pass(pass, module);
        }
    }

    fn after_pass(&mut self, pass: &dyn Pass, module: &GraphModule, report: &PassReport) {
        if let Some(instrument) = self {
            instrument.after_pass(pass, module, report);
        }
    }

    fn stage(&mut self, what: &'static str) {
        if let Some(instrument) = self {
            instrument.stage(what);
        }
    }
}

/// Why a pipeline did not come to its end.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PipelineError {
    /// The text names a pass that does not exist.
    #[error("find the pass {name:?}: there are {known}")]
    UnknownPass {
        /// The name as it was given.
        name: String,
        /// The passes there are.
        known: String,
    },
    /// A pass needs a phase that the module has not reached.
    #[error("run {pass}: the module is {found}, and {pass} needs one that is at least {needed}")]
    Phase {
        /// The pass.
        pass: &'static str,
        /// The phase of the module.
        found: planish_ir::Phase,
        /// The phase that the pass needs.
        needed: planish_ir::Phase,
    },
    /// A pass could not transform the module.
    #[error("run {pass}")]
    Pass {
        /// The pass.
        pass: &'static str,
        /// What went wrong.
        #[source]
        source: PassError,
    },
    /// A pass, or one rewrite of it, has changed what the module means.
    #[error("prove {pass}: {reason}")]
    Disproved {
        /// The pass.
        pass: &'static str,
        /// What differs.
        reason: String,
    },
    /// The module is not valid.
    #[error("verify the module {when}:\n{errors}")]
    Invalid {
        /// Before which or after which pass.
        when: String,
        /// Every error, one a line.
        errors: String,
    },
}

impl Pipeline {
    /// A pipeline of these passes.
    pub fn new(passes: &[&'static dyn Pass]) -> Self {
        Self {
            passes: passes.to_vec(),
            verify_each: cfg!(debug_assertions),
        }
    }

    /// Also verifies the module after each pass, which tells the pass that broke a law; a build with debug assertions always does.
    #[must_use]
    pub fn verify_each(mut self) -> Self {
        self.verify_each = true;
        self
    }

    /// Reads a pipeline from names separated by commas.
    pub fn parse(text: &str) -> Result<Self, PipelineError> {
        let known = crate::passes();
        let passes = text
            .split(',')
            .map(str::trim)
            .filter(|name| !name.is_empty())
            .map(|name| {
                known
                    .iter()
                    .copied()
                    .find(|pass| pass.name() == name)
                    .ok_or_else(|| PipelineError::UnknownPass {
                        name: name.to_owned(),
                        known: known
                            .iter()
                            .map(|pass| pass.name())
                            .collect::<Vec<_>>()
                            .join(", "),
                    })
            });
        Ok(Self::new(&passes.collect::<Result<Vec<_>, _>>()?))
    }

    /// The passes.
    pub fn passes(&self) -> &[&'static dyn Pass] {
        &self.passes
    }

    /// Runs the passes over a module, which is verified before the first and after the last.
    pub fn run(
        &self,
        module: &mut GraphModule,
        cx: &mut PassCx<'_>,
        instrument: &mut dyn Instrument,
    ) -> Result<Vec<PassReport>, PipelineError> {
        verify(module, || "before the first pass".to_owned())?;
        let began = Instant::now();
        let mut reports = Vec::with_capacity(self.passes.len());
        for pass in &self.passes {
            if module.phase < pass.requires() {
                return Err(PipelineError::Phase {
                    pass: pass.name(),
                    found: module.phase,
                    needed: pass.requires(),
                });
            }
            let _span = tracing::info_span!("pass", name = pass.name()).entered();
            instrument.before_pass(*pass, module);
            let nodes_before = node_count(module);
            if let Some(observer) = &mut cx.observer {
                observer.before_pass(pass.name(), module);
            }
            let start = began.elapsed();
            let changed = pass.run(module, cx).map_err(|source| PipelineError::Pass {
                pass: pass.name(),
                source,
            })?;
            if let Some(phase) = pass.establishes() {
                module.phase = module.phase.max(phase);
            }
            let end = began.elapsed();
            if self.verify_each {
                verify(module, || format!("after {}", pass.name()))?;
            }
            if let Some(observer) = &mut cx.observer {
                let judged = observer.after_pass(pass.name(), module);
                judged.map_err(|reason| PipelineError::Disproved {
                    pass: pass.name(),
                    reason,
                })?;
            }
            let report = PassReport {
                name: pass.name(),
                start,
                end,
                rewrites: changed.0,
                nodes_before,
                nodes_after: node_count(module),
                kernels_requested: cx.kernels.pass_ended(pass.name(), module),
            };
            tracing::info!(
                rewrites = report.rewrites,
                nodes_before,
                nodes_after = report.nodes_after,
                kernels = report.kernels_requested,
                "the module is valid"
            );
            instrument.after_pass(*pass, module, &report);
            reports.push(report);
        }
        if !self.verify_each {
            verify(module, || "after the last pass".to_owned())?;
        }
        Ok(reports)
    }
}

impl fmt::Display for Pipeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.passes.iter().map(|pass| pass.name()).collect();
        f.write_str(&names.join(","))
    }
}

impl fmt::Debug for Pipeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pipeline({self})")
    }
}

/// Nodes of all methods of the root.
fn node_count(module: &GraphModule) -> usize {
    module
        .root_methods()
        .into_iter()
        .map(|(_, id)| module.method(id).graph.len())
        .sum()
}

fn verify(module: &GraphModule, when: impl FnOnce() -> String) -> Result<(), PipelineError> {
    match planish_ir::verify(module) {
        Ok(_) => Ok(()),
        Err(errors) => Err(PipelineError::Invalid {
            when: when(),
            errors: errors
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
                .join("\n"),
        }),
    }
}
