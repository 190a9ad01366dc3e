//! The files that tell of a run however it ends: the trace and the counters.

use std::path::{Path, PathBuf};

use planish::file;
use planish::pool::Pool;
use planish::trace::{Span, Trace};

use crate::console::say;
use crate::diagnose::{Failure, failed};

/// The trace of a run, if one was asked for. It is written when this is dropped, so also when the run fails or panics; until then its file
/// has what has happened so far, which is what a killed run leaves.
#[derive(Debug)]
pub struct Record {
    trace: Option<(Trace, PathBuf)>,
}

impl Record {
    /// A record for this file, or none.
    pub fn new(path: Option<&Path>) -> Result<Self, Failure> {
        let kept = |path: &Path| {
            let trace = file::check_place(path).and_then(|()| Trace::kept_in(path));
            match trace {
                Ok(trace) => Ok((trace, path.to_owned())),
                Err(error) => Err(Failure::file("write", path, &error)),
            }
        };
        Ok(Self {
            trace: path.map(kept).transpose()?,
        })
    }

    /// What passes and the pool tell.
    pub fn trace(&self) -> Option<Trace> {
        self.trace.as_ref().map(|(trace, _)| trace.clone())
    }

    /// Begins a part of the run.
    pub fn span(&self, name: &'static str) -> Option<Span> {
        self.trace.as_ref().map(|(trace, _)| trace.span(name))
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        if let Some((trace, path)) = &self.trace
            && let Err(error) = file::write_whole(path, &trace.json())
        {
            let path = path.display();
            say(format_args!("planish: failed to write {path}: {error}"));
        }
    }
}

/// Writes what the pool has counted so far.
pub fn write_counters(path: Option<&Path>, pool: &Pool) -> Result<(), Failure> {
    let Some(path) = path else {
        return Ok(());
    };
    let counters = pool.stats();
    let json = serde_json::to_vec_pretty(&counters).map_err(|error| failed(&error))?;
    file::write_whole(path, &json).map_err(|error| Failure::file("write", path, &error))
}
