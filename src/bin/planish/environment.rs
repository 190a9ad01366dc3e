//! What the command line takes from its surroundings; the libraries read no environment.

use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{env, fs};

use planish::import::Error as ImportError;
use planish::ir::GraphModule;
use planish::ir::text::{self, Blobs, Printer, Style};
use planish::pool::{
    Builder, Cache, Jobserver, Observer, Pool, Toolchain, ToolchainSearch, WorkerCommand,
};
use planish::sentence;

use crate::args::{Compiler, Print};
use crate::diagnose::{Failure, failed, in_text};

/// The compiler that the user asked for, or the one that is there. What it said of itself is kept with the kernels, so that a run that finds
/// all of them starts no compiler.
pub fn toolchain(args: &Compiler) -> Result<Toolchain, Failure> {
    let search = ToolchainSearch {
        explicit: args.cc.clone(),
        cc: env::var_os("CC"),
        path: env::var_os("PATH"),
    };
    let found = match cache(args)? {
        Some(directory) => {
            let cache = Cache::open(directory).map_err(|error| failed(&error))?;
            Toolchain::find_with(&search, &cache)
        }
        None => Toolchain::find(&search),
    };
    found.map_err(|error| {
        failed(&error).hint("kernels are compiled by a C compiler; name one with --cc or $CC")
    })
}

/// A pool whose workers are this program, or the one that `$PLANISH_WORKER` names.
pub fn pool(args: &Compiler, observer: Option<impl Observer + 'static>) -> Result<Pool, Failure> {
    let mut builder: Builder = Pool::builder()
        .sandbox(args.sandbox)
        // A bar that stands still for longer looks as if it had stopped.
        .heartbeat(Duration::from_secs(2))
        .worker(worker()?);
    if let Some(jobs) = args.jobs {
        builder = builder.workers(jobs.into());
    }
    let jobserver = env::var("MAKEFLAGS").ok();
    if let Some(jobserver) = jobserver.as_deref().and_then(Jobserver::of) {
        builder = builder.jobserver(jobserver);
    }
    if let Some(directory) = cache(args)? {
        builder = builder.cache(directory);
    }
    if let Some(observer) = observer {
        builder = builder.observer(observer);
    }
    builder.build().map_err(|error| failed(&error))
}

/// How a worker is started.
pub fn worker() -> Result<WorkerCommand, Failure> {
    match env::var_os("PLANISH_WORKER") {
        Some(program) => Ok(WorkerCommand::binary(program)),
        None => WorkerCommand::this_program().map_err(|error| failed(&error)),
    }
}

/// How many kernels are compiled at once when nobody says.
pub fn processors() -> usize {
    std::thread::available_parallelism()
        .map_or(1, usize::from)
        .min(8)
}

/// Where compiled kernels are kept.
pub fn cache(args: &Compiler) -> Result<Option<PathBuf>, Failure> {
    if args.no_cache {
        return Ok(None);
    }
    cache_directory(args.cache.as_deref()).map(Some)
}

/// The directory that was named, or the user's.
pub fn cache_directory(named: Option<&Path>) -> Result<PathBuf, Failure> {
    if let Some(directory) = named {
        return Ok(directory.to_owned());
    }
    let base = env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .filter(|path| path.is_absolute());
    let base = base.or_else(|| env::home_dir().map(|home| home.join(".cache")));
    let Some(base) = base else {
        return Err(Failure::usage(
            "there is no home directory: name one with --cache, or give --no-cache",
        ));
    };
    Ok(base.join("planish"))
}

/// A module in text form; without `elements` large tensors are only named.
pub fn module_text(module: &GraphModule, print: Print) -> String {
    /// Tensors of at most this many elements are printed whole.
    const SMALL: usize = 16;
    let style = if print.names {
        Style::Faithful
    } else {
        Style::Canonical
    };
    let mut blobs = Blobs::new();
    let mut printer = Printer::new(style);
    if print.elements {
        printer.module(module)
    } else {
        printer.blobs(&mut blobs, SMALL).module(module)
    }
}

/// Reads a model, or a module in text form, and verifies it: what is not valid later was made so by a pass.
pub fn read_module(path: &Path) -> Result<GraphModule, Failure> {
    let name = path.display();
    if path.extension().is_some_and(|extension| extension == "ir") {
        let text = fs::read_to_string(path).map_err(|error| Failure::file("read", path, &error))?;
        return text::parse_verified(&text, &Blobs::new())
            .map_err(|faults| in_text(path, &text, &faults));
    }
    let module = planish::import::open(path).map_err(|error| match error {
        ImportError::Io { source, .. } => Failure::file("read", path, &source),
        ImportError::Format { .. } => failed(&error),
        // The others know the place in the archive, not the archive.
        _ => Failure::input(format!("failed to import {name}: {}", sentence(&error))),
    })?;
    match planish::ir::verify(&module) {
        Ok(_) => Ok(module),
        Err(breaches) => {
            let breaches = breaches.iter().map(|breach| format!("\n  {breach}"));
            let breaches: String = breaches.collect();
            Err(Failure::input(format!("failed to verify {name}{breaches}")))
        }
    }
}
