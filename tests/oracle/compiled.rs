//! Cases compiled: kernels against the reference evaluator.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};

use planish::eval::Interpreter;
use planish::ir::{GraphModule, Type, ValueId};
use planish::kernels::{Contract, Isa};
use planish::prelude::*;

use crate::case::{Case, Kind, chain, named};

/// Compiles cases for every instruction set that is compared, with one pool and one cache for all of them.
pub(crate) struct Compiler {
    pool: Pool,
    toolchain: Toolchain,
    targets: Vec<Target>,
    programs: AtomicUsize,
    kernels: AtomicUsize,
    fallbacks: AtomicUsize,
    kept: AtomicUsize,
    _cache: tempfile::TempDir,
}

impl Compiler {
    pub(crate) fn new() -> Self {
        let cache = tempfile::tempdir().expect("there is room for a cache");
        let pool = Pool::builder()
            .worker(WorkerCommand::this_program().expect("a program knows its own file"))
            .cache(cache.path().join("kernels"))
            .build()
            .expect("there is room for a pool");
        let search = ToolchainSearch {
            explicit: None,
            cc: std::env::var_os("CC"),
            path: std::env::var_os("PATH"),
        };
        let toolchain = Toolchain::find(&search).expect("there is a C compiler");
        let mut sets = vec![Isa::host(), Isa::Portable];
        sets.dedup();
        let targets = sets.into_iter().map(|isa| Target {
            isa,
            contract: Contract::Fbgemm,
        });
        Self {
            pool,
            toolchain,
            targets: targets.collect(),
            programs: AtomicUsize::new(0),
            kernels: AtomicUsize::new(0),
            fallbacks: AtomicUsize::new(0),
            kept: AtomicUsize::new(0),
            _cache: cache,
        }
    }

    /// Compiles a case and compares what its programs answer with what the evaluator answers.
    ///
    /// What cannot be imported, finalized or evaluated is the other family's affair.
    pub(crate) fn compare(&self, case: &Case) -> Vec<(Kind, String)> {
        let compared = self.run(case).err();
        compared
            .map(|fault| (Kind::Program, fault))
            .into_iter()
            .collect()
    }

    fn run(&self, case: &Case) -> Result<(), String> {
        let Some(Ok(module)) = case.import() else {
            return Ok(());
        };
        for target in &self.targets {
            let finalize = case.finalize(*target);
            if finalize.graph_only(&mut module.clone()).is_err() {
                return Ok(());
            }
            let compiled = finalize
                .compiler(&self.pool, &self.toolchain)
                .run(module.clone());
            let finalized = compiled.map_err(|error| chain(&error))?;
            let reference = Interpreter::new(&finalized.module, planish::eval::Contract::Fbgemm)
                .call_method("forward", &case.inputs());
            let Ok(expected) = reference else {
                return Ok(());
            };
            let program = match finalized.program() {
                Ok(program) => program,
                // Programs do not follow attributes that freezing had to leave: such a module is run by the evaluator.
                Err(_) if keeps_attributes(&finalized.module) => {
                    self.kept.fetch_add(1, Ordering::Relaxed);
                    continue;
                }
                Err(error) => return Err(chain(&error)),
            };
            // Its own inputs: the evaluator may have written to those that it got.
            let answer = program
                .call(&case.inputs())
                .map_err(|error| chain(&error))?;
            let isa = target.isa;
            let (expected, found) = (named(&expected)?, named(&answer)?);
            if expected.len() != found.len() {
                return Err(format!(
                    "{isa}: {} outputs instead of {}",
                    found.len(),
                    expected.len()
                ));
            }
            for ((name, expected), (_, found)) in expected.iter().zip(&found) {
                let size = expected.dtype().size();
                let (a, b) = (expected.bytes(), found.bytes());
                let differ = a
                    .chunks_exact(size)
                    .zip(b.chunks_exact(size))
                    .filter(|(a, b)| a != b)
                    .count();
                if expected.shape() != found.shape() || a.len() != b.len() || differ > 0 {
                    return Err(format!(
                        "{isa}: {differ} of {} values of output {name:?} differ from the evaluator's",
                        expected.numel()
                    ));
                }
            }
            self.programs.fetch_add(1, Ordering::Relaxed);
            let kernels = finalized.kernels.iter().map(|unit| unit.kernels.len());
            self.kernels.fetch_add(kernels.sum(), Ordering::Relaxed);
            self.fallbacks
                .fetch_add(program.fallbacks().len(), Ordering::Relaxed);
        }
        Ok(())
    }
}

impl fmt::Display for Compiler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sets: Vec<String> = self
            .targets
            .iter()
            .map(|target| target.isa.to_string())
            .collect();
        write!(
            f,
            "{:<12}{:>5}   compiled for {}: {} kernels ({} units compiled), {} operators without one; outputs equal the evaluator's; {} refused for attributes that are kept",
            "programs",
            self.programs.load(Ordering::Relaxed),
            sets.join(" and "),
            self.kernels.load(Ordering::Relaxed),
            self.pool.stats().compiled,
            self.fallbacks.load(Ordering::Relaxed),
            self.kept.load(Ordering::Relaxed),
        )
    }
}

/// Whether `forward` reads or assigns attributes other than packed weights.
fn keeps_attributes(module: &GraphModule) -> bool {
    let forward = module.root_method("forward").into_iter();
    forward.map(|id| &module.method(id).graph).any(|graph| {
        graph.walk().any(|node| {
            let node = graph.node(node);
            let packed = |value: &ValueId| {
                matches!(graph.ty(*value), Type::Class(class) if class.as_str().contains("PackedParams"))
            };
            node.op().is("prim::SetAttr")
                || (node.op().is("prim::GetAttr") && !node.outputs().iter().any(packed))
        })
    })
}
