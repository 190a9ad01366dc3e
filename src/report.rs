//! What `planish finalize --report` writes: the whole story of one run, as data.

use std::collections::BTreeSet;
use std::time::Duration;

use planish_passes::{Coverage, FloatOp};
use planish_pool::{Confinement, Toolchain};
use planish_runtime::{Fallback, Stats};
use serde::Serialize;

use crate::check::Check;
use crate::{Finalized, RequestReport, Rung};

/// The report of one run.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The planish that ran.
    pub planish: String,
    /// The file that was read.
    pub input: String,
    /// The arithmetic that outputs follow.
    pub contract: String,
    /// The instruction set of the kernels.
    pub isa: String,
    /// The compiler and its version.
    pub compiler: String,
    /// How many jobs the pool ran at once.
    pub workers: usize,
    /// What the compilers were confined by; `None` when no compiler was started.
    pub sandbox: Option<String>,
    /// Seconds that reading the file took.
    pub import_seconds: f64,
    /// The passes, in order.
    pub passes: Vec<PassEntry>,
    /// The kernels.
    pub kernels: KernelEntries,
    /// What the pool counted.
    pub pool: planish_pool::Stats,
    /// What is computed on codes, and what stays in float and why.
    pub quantized: CoverageEntry,
    /// Share of multiply-accumulates that ran in integer kernels; known when the program was checked.
    pub coverage: Option<f64>,
    /// Tensor operators that run by the reference evaluator.
    pub fallbacks: Vec<FallbackEntry>,
    /// The comparison with expected outputs, when it was asked for.
    pub check: Option<Check>,
}

/// One pass. Times are seconds from the start of the first pass.
#[derive(Clone, Debug, Serialize)]
pub struct PassEntry {
    /// Name.
    pub name: String,
    /// How long it took.
    pub seconds: f64,
    /// When it began.
    pub start: f64,
    /// When it ended.
    pub end: f64,
    /// Rewrites made.
    pub rewrites: usize,
    /// Nodes before.
    pub nodes_before: usize,
    /// Nodes after.
    pub nodes_after: usize,
    /// Kernels that were asked for the moment it ended.
    pub kernels_requested: usize,
}

/// The kernels of one run.
#[derive(Clone, Debug, Default, Serialize)]
pub struct KernelEntries {
    /// Kernels asked for.
    pub requested: usize,
    /// The units that they are compiled in.
    pub units: usize,
    /// Of these, compiled by a worker.
    pub compiled: usize,
    /// Of these, taken from the cache.
    pub from_cache: usize,
    /// Of these, cancelled in time: a later pass had made them needless.
    pub cancelled: usize,
    /// Of these, left to the reference evaluator, since no compiler could make them.
    pub evaluated: usize,
    /// Of these, failed.
    pub failed: usize,
    /// Seconds that workers spent, added up.
    pub seconds: f64,
    /// Every request.
    pub requests: Vec<RequestEntry>,
}

/// One request for a kernel. Times are seconds from the start of the first pass.
#[derive(Clone, Debug, Serialize)]
pub struct RequestEntry {
    /// The kernel.
    pub kernel: String,
    /// The pass after which it was asked for.
    pub pass: String,
    /// When it was submitted.
    pub submitted: f64,
    /// When it was answered.
    pub answered: Option<f64>,
    /// Whether a later pass made it needless.
    pub cancelled: bool,
    /// Whether it came from the cache.
    pub from_cache: Option<bool>,
    /// Its share of the seconds that a worker spent on it and those that it was joined with.
    pub seconds: f64,
    /// The number of its unit: kernels that have the same are compiled together.
    pub unit: usize,
    /// How many kernels that unit has.
    pub joined: usize,
    /// Why it is by itself, when it was joined with others first.
    pub apart: Option<String>,
    /// How it was had: optimised, plain, portable, eval.
    pub rung: String,
    /// Why not in a better way.
    pub because: Option<String>,
    /// The instruction set on which it was proven to be right.
    pub proven: Option<String>,
}

/// How far the module is quantized.
#[derive(Clone, Debug, Serialize)]
pub struct CoverageEntry {
    /// Operators that multiply weights or matrices.
    pub multiplying: usize,
    /// Of these, computed on codes.
    pub quantized: usize,
    /// The share of these.
    pub share: f64,
    /// Operators that stay in float.
    pub float: Vec<FloatEntry>,
}

/// An operator that stays in float.
#[derive(Clone, Debug, Serialize)]
pub struct FloatEntry {
    /// The operator.
    pub operator: String,
    /// The value it computes.
    pub value: String,
    /// The method it stands in.
    pub method: String,
    /// Its place in the source.
    pub place: Option<String>,
    /// Whether it multiplies weights or matrices.
    pub multiplies: bool,
    /// The number of the rule that came nearest.
    pub rule: Option<u32>,
    /// The name of the rule that came nearest.
    pub rule_name: Option<String>,
    /// Why no rule fused it.
    pub reason: String,
}

/// A tensor operator that runs by the reference evaluator.
#[derive(Clone, Debug, Serialize)]
pub struct FallbackEntry {
    /// The node, by its place in the source or the value it computes.
    pub node: String,
    /// The operator.
    pub operator: String,
    /// Why no kernel computes it.
    pub reason: String,
}

impl Report {
    /// The report of a run whose program was not checked yet.
    pub fn new(
        finalized: &Finalized,
        input: &str,
        toolchain: &Toolchain,
        workers: usize,
        import: Duration,
        fallbacks: &[Fallback],
        pool: planish_pool::Stats,
    ) -> Self {
        Self {
            planish: env!("CARGO_PKG_VERSION").to_owned(),
            input: input.to_owned(),
            contract: finalized.target.contract.to_string(),
            isa: finalized.target.isa.to_string(),
            compiler: format!("{} {}", toolchain.compiler().display(), toolchain.version()),
            workers,
            sandbox: None,
            import_seconds: import.as_secs_f64(),
            passes: finalized.passes.iter().map(PassEntry::new).collect(),
            kernels: KernelEntries::new(&finalized.requests),
            pool,
            quantized: CoverageEntry::new(&finalized.coverage),
            coverage: None,
            fallbacks: FallbackEntry::all(fallbacks, &Stats::default()),
            check: None,
        }
    }

    /// Adds what the compilers were confined by.
    pub fn confined(&mut self, confinement: Confinement) {
        self.sandbox = Some(confinement.to_string());
    }

    /// Adds what a checked run found.
    pub fn checked(&mut self, check: Check, stats: &Stats) {
        self.coverage = Some(stats.coverage());
        self.fallbacks.extend(FallbackEntry::all(&[], stats));
        self.check = Some(check);
    }
}

impl PassEntry {
    fn new(report: &planish_passes::PassReport) -> Self {
        Self {
            name: report.name.to_owned(),
            seconds: report.end.saturating_sub(report.start).as_secs_f64(),
            start: report.start.as_secs_f64(),
            end: report.end.as_secs_f64(),
            rewrites: report.rewrites,
            nodes_before: report.nodes_before,
            nodes_after: report.nodes_after,
            kernels_requested: report.kernels_requested,
        }
    }
}

impl KernelEntries {
    fn new(requests: &[RequestReport]) -> Self {
        let mut entries = Self {
            requested: requests.len(),
            units: requests
                .iter()
                .map(|request| request.unit)
                .collect::<BTreeSet<_>>()
                .len(),
            seconds: requests.iter().map(|request| request.seconds).sum(),
            requests: requests.iter().map(RequestEntry::new).collect(),
            ..Self::default()
        };
        for request in requests {
            let counter = match request.from_cache {
                Some(true) => &mut entries.from_cache,
                Some(false) => &mut entries.compiled,
                None if request.cancelled => &mut entries.cancelled,
                None if request.rung == Rung::Eval => &mut entries.evaluated,
                None => &mut entries.failed,
            };
            *counter += 1;
        }
        entries
    }
}

impl RequestEntry {
    fn new(report: &RequestReport) -> Self {
        Self {
            kernel: report.kernel.to_string(),
            pass: report.pass.to_owned(),
            submitted: report.submitted.as_secs_f64(),
            answered: report.answered.map(|answered| answered.as_secs_f64()),
            cancelled: report.cancelled,
            from_cache: report.from_cache,
            seconds: report.seconds,
            unit: report.unit,
            joined: report.joined,
            apart: report.apart.clone(),
            rung: report.rung.to_string(),
            because: report.because.clone(),
            proven: report.proven.clone(),
        }
    }
}

impl CoverageEntry {
    fn new(coverage: &Coverage) -> Self {
        Self {
            multiplying: coverage.multiplying,
            quantized: coverage.quantized,
            share: coverage.share(),
            float: coverage.float.iter().map(FloatEntry::new).collect(),
        }
    }
}

impl FloatEntry {
    fn new(found: &FloatOp) -> Self {
        let rule = found.rule.as_ref();
        Self {
            operator: found.op.to_string(),
            value: found.value.clone(),
            method: found.method.clone(),
            place: found.loc.map(|loc| loc.to_string()),
            multiplies: found.multiplies,
            rule: rule.map(|(number, _)| *number),
            rule_name: rule.map(|(_, name)| name.clone()),
            reason: found.reason.clone(),
        }
    }
}

impl FallbackEntry {
    /// The operators that a program has no kernel for, then those whose kernel could not be used in a run.
    pub fn all(fallbacks: &[Fallback], stats: &Stats) -> Vec<Self> {
        let entry = |fallback: &Fallback| Self {
            node: fallback.node.clone(),
            operator: fallback.op.clone(),
            reason: fallback.reason.clone(),
        };
        fallbacks
            .iter()
            .chain(&stats.not_taken)
            .map(entry)
            .collect()
    }
}
