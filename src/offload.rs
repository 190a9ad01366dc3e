//! A whole model finalized by a worker process: a crash on the way costs this process nothing, and the memory that it took is given back.
//!
//! An [`Offload`] becomes a job of a pool ([`Offload::job`]). The worker that does it must be of a program that has registered
//! [`handlers`]; it reads the model, has its kernels compiled by a pool of its own that shares the cache of the pool around it, and gives
//! back an [`Outcome`]. What it tells on the way arrives while it works, as notes of the job: each pass is a phase, remarks are lines of
//! the log, and what is counted is added to the counters of the pool.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use planish_ir::{GraphModule, text};
use planish_kernels::Isa;
use planish_passes::{Instrument, Pass, PassReport};
use planish_pool::wire::Level;
use planish_pool::{
    Cache, Handlers, Job, JobContext, Limits, Pool, Stats, Toolchain, ToolchainSearch,
};
use serde::{Deserialize, Serialize};

use crate::{Finalize, Finalized, Target, model, sentence};

/// The name of the task.
const TASK: &str = "finalize";
/// Variables that say where compilers are.
const VARIABLES: [&str; 2] = ["CC", "PATH"];

/// A model to be finalized elsewhere.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Offload {
    model: Model,
    output: Option<PathBuf>,
    isa: String,
    dynamic: bool,
    preserved: Vec<String>,
    min_coverage: f64,
    compiler: Option<PathBuf>,
    threads: usize,
}

/// How the model travels.
#[derive(Clone, Debug, Serialize, Deserialize)]
enum Model {
    File(PathBuf),
    Text(String),
}

/// What became of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// The passes: their names, the seconds they took, and the rewrites they made.
    pub passes: Vec<(String, f64, u64)>,
    /// Kernels of the artefact.
    pub kernels: usize,
    /// The share of what multiplies that is computed on codes.
    pub coverage: f64,
    /// The same in words, with what stays in float.
    pub coverage_text: String,
    /// The artefact, unless it was written to a file.
    pub artefact: Option<Vec<u8>>,
}

/// Adds what finalizes whole models to what a worker can do.
#[must_use]
pub fn handlers(handlers: Handlers) -> Handlers {
    handlers.with_task(TASK, |payload, context| {
        let offload: Offload = postcard::from_bytes(payload).map_err(|error| error.to_string())?;
        let outcome = offload.run(context)?;
        postcard::to_stdvec(&outcome).map_err(|error| error.to_string())
    })
}

impl Offload {
    /// The model in this file, or module in text form (`.ir`), for this target.
    pub fn file(path: impl Into<PathBuf>, target: Target) -> Self {
        Self::of(Model::File(absolute(path.into())), target)
    }

    /// This module in text form, with the elements of all its tensors.
    pub fn text(text: impl Into<String>, target: Target) -> Self {
        Self::of(Model::Text(text.into()), target)
    }

    fn of(model: Model, target: Target) -> Self {
        Self {
            model,
            output: None,
            isa: target.isa.to_string(),
            dynamic: false,
            preserved: Vec::new(),
            min_coverage: 0.0,
            compiler: None,
            threads: 1,
        }
    }

    /// Write the artefact to this file instead of sending it. What is large needs it: a result has at most 32 MiB.
    #[must_use]
    pub fn output(mut self, path: impl Into<PathBuf>) -> Self {
        self.output = Some(absolute(path.into()));
        self
    }

    /// How activations were quantized.
    #[must_use]
    pub fn quant_type(mut self, quant_type: planish_passes::QuantType) -> Self {
        self.dynamic = quant_type == planish_passes::QuantType::Dynamic;
        self
    }

    /// Keeps attributes, submodules and methods, named by dotted paths from the root.
    #[must_use]
    pub fn preserve(mut self, names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.preserved.extend(names.into_iter().map(Into::into));
        self
    }

    /// Refuses a model of which a smaller share is computed on codes.
    #[must_use]
    pub fn min_coverage(mut self, least: f64) -> Self {
        self.min_coverage = least;
        self
    }

    /// Compile kernels with this compiler, so many at once.
    #[must_use]
    pub fn compiler(mut self, compiler: Option<PathBuf>, threads: usize) -> Self {
        // A bare name is looked for in the path, wherever.
        self.compiler = compiler.map(|path| {
            let bare = path.components().count() == 1;
            if bare { path } else { absolute(path) }
        });
        self.threads = threads.max(1);
        self
    }

    /// The job. Of `environment`, which travels with it, it takes what says where compilers are.
    pub fn job(&self, environment: impl IntoIterator<Item = (OsString, OsString)>) -> Job {
        let environment = environment.into_iter();
        let known = environment.filter(|(name, _)| VARIABLES.iter().any(|known| name == known));
        // Plain data goes into memory; a payload that does not would be refused by the worker.
        let payload = postcard::to_stdvec(self).unwrap_or_default();
        let name = match &self.model {
            Model::File(path) => format!("finalize {}", path.display()),
            Model::Text(_) => "finalize a module".to_owned(),
        };
        // Models are as large as they are; the compilers that are started for them have limits of their own.
        let limits = Limits {
            cpu: Duration::MAX,
            memory: u64::MAX,
            ..Limits::default()
        };
        Job::task(TASK, payload)
            .named(name)
            .environment(known)
            .limits(limits)
    }

    /// Does it, in the worker.
    fn run(&self, context: &mut JobContext<'_>) -> Result<Outcome, String> {
        context.phase("import");
        let module = self.module()?;
        let toolchain = self.toolchain(context)?;
        let scratch = context
            .scratch()
            .map_err(|error| format!("make the worker's directory: {error}"))?;
        let mut builder = Pool::builder()
            .workers(self.threads)
            .worker(context.command().clone())
            .sandbox(context.sandbox())
            .scratch(scratch);
        if let Some(cache) = context.cache() {
            builder = builder.cache(cache);
        }
        let pool = builder.build().map_err(|error| sentence(&error))?;
        let finalized = self.finalized(module, &pool, &toolchain, context);
        tell_counters(&pool.stats(), context);
        let finalized = finalized?;
        for remark in finalized.remarks.entries() {
            context.log(Level::Debug, "planish::passes", remark);
        }
        context.phase("package");
        let artefact = finalized.artefact();
        let bytes = match &self.output {
            Some(path) => {
                artefact.write(path).map_err(|error| sentence(&error))?;
                None
            }
            None => Some(artefact.to_bytes()),
        };
        Ok(Outcome::new(&finalized, bytes))
    }

    fn module(&self) -> Result<GraphModule, String> {
        let parse = |text: &str| text::parse_module(text).map_err(|errors| errors.to_string());
        let module = match &self.model {
            Model::Text(text) => parse(text)?,
            Model::File(path) if path.extension().is_some_and(|extension| extension == "ir") => {
                let text = std::fs::read_to_string(path);
                let text = text.map_err(|error| format!("read {}: {error}", path.display()))?;
                parse(&text)?
            }
            Model::File(path) => model::open(path).map_err(|error| sentence(&error))?,
        };
        planish_ir::verify(&module).map_err(|breaches| {
            let breaches = breaches.iter().map(ToString::to_string);
            format!(
                "verify the module: {}",
                breaches.collect::<Vec<_>>().join("; ")
            )
        })?;
        Ok(module)
    }

    fn toolchain(&self, context: &JobContext<'_>) -> Result<Toolchain, String> {
        let variable = |wanted: &str| {
            let mut variables = context.environment().iter();
            variables.find_map(|(name, value)| (name == wanted).then(|| value.clone()))
        };
        let search = ToolchainSearch {
            explicit: self.compiler.clone(),
            cc: variable("CC"),
            path: variable("PATH"),
        };
        let found = match context.cache() {
            Some(cache) => {
                Cache::open(cache).and_then(|cache| Toolchain::find_with(&search, &cache))
            }
            None => Toolchain::find(&search),
        };
        found.map_err(|error| sentence(&error))
    }

    fn finalized(
        &self,
        module: GraphModule,
        pool: &Pool,
        toolchain: &Toolchain,
        context: &mut JobContext<'_>,
    ) -> Result<Finalized, String> {
        let isa: Isa = self
            .isa
            .parse()
            .map_err(|_| format!("know the instruction set {}", self.isa))?;
        let quant_type = if self.dynamic {
            planish_passes::QuantType::Dynamic
        } else {
            planish_passes::QuantType::Static
        };
        let target = Target {
            isa,
            ..Target::host()
        };
        Finalize::for_target(target)
            .compiler(pool, toolchain)
            .quant_type(quant_type)
            .preserve(self.preserved.iter().cloned())
            .min_coverage(self.min_coverage)
            .run_with(
                module,
                &mut Teller {
                    context,
                    began: Instant::now(),
                },
            )
            .map_err(|error| sentence(&error))
    }
}

impl Outcome {
    /// The outcome in what the job made.
    pub fn of(made: &planish_pool::Artefact) -> Result<Self, String> {
        postcard::from_bytes(&made.bytes)
            .map_err(|error| format!("read what the child process made: {error}"))
    }

    fn new(finalized: &Finalized, artefact: Option<Vec<u8>>) -> Self {
        let passes = finalized.passes.iter().map(|pass| {
            let seconds = pass.end.saturating_sub(pass.start).as_secs_f64();
            (pass.name.to_owned(), seconds, pass.rewrites as u64)
        });
        Self {
            passes: passes.collect(),
            kernels: finalized
                .kernels
                .iter()
                .map(|unit| unit.kernels.len())
                .sum(),
            coverage: finalized.coverage.share(),
            coverage_text: finalized.coverage.to_string(),
            artefact,
        }
    }
}

/// A worker stands elsewhere than who asks it.
fn absolute(path: PathBuf) -> PathBuf {
    std::path::absolute(&path).unwrap_or(path)
}

/// Tells the parent of the passes.
struct Teller<'a, 'b> {
    context: &'a mut JobContext<'b>,
    began: Instant,
}

impl Instrument for Teller<'_, '_> {
    fn before_pass(&mut self, pass: &dyn Pass, _: &GraphModule) {
        self.began = Instant::now();
        self.context.phase(pass.name());
    }

    fn after_pass(&mut self, pass: &dyn Pass, _: &GraphModule, report: &PassReport) {
        self.context.count("rewrites", report.rewrites as u64);
        let time = self.began.elapsed();
        let text = format!("{}: {} rewrites, {time:?}", pass.name(), report.rewrites);
        self.context.log(Level::Info, "planish::passes", text);
    }

    fn stage(&mut self, what: &'static str) {
        self.context.phase(what);
    }
}

/// Adds what the pool of the child counted to the counters of the parent's.
fn tell_counters(stats: &Stats, context: &mut JobContext<'_>) {
    let counters = [
        ("units requested", stats.requested),
        ("units compiled", stats.compiled),
        ("units from the cache", stats.from_cache),
        ("units failed", stats.failed),
        ("units cancelled", stats.cancelled),
        ("crashes", stats.crashes),
    ];
    for (name, amount) in counters.into_iter().filter(|(_, amount)| *amount > 0) {
        context.count(name, amount);
    }
}
