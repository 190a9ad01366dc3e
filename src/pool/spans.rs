//! Jobs as spans of `tracing`: one for each job that a worker has, with what it tells as events in it.
//!
//! While nobody listens to spans, nothing is made and nothing is looked up.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use tracing::Span;

use crate::observe::{Observer, Report, Status};
use crate::wire::{Level, Note};

/// The spans of the jobs that run, by ticket.
#[derive(Debug, Default)]
pub(crate) struct Spans(Mutex<BTreeMap<u64, Span>>);

impl Spans {
    /// Whether anybody listens.
    pub(crate) fn are_heard() -> bool {
        tracing::enabled!(tracing::Level::INFO)
    }
}

impl Observer for Spans {
    fn report(&self, report: &Report) {
        let mut spans = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (ticket, job) = (report.ticket, report.job.as_str());
        let span = spans.get(&ticket);
        let within = |say: &dyn Fn()| span.map_or_else(say, |span| span.in_scope(say));
        match &report.status {
            Status::Started { worker } => {
                let span = tracing::info_span!("job", name = job, worker, key = %report.key);
                span.in_scope(|| tracing::debug!("started"));
                spans.insert(ticket, span);
            }
            Status::Note { note, .. } => within(&|| replay(note)),
            Status::Running { elapsed, phase, .. } => {
                let phase = phase.as_ref().map_or("", |(name, _)| name);
                within(&|| tracing::info!(?elapsed, phase, "still running"));
            }
            Status::Retried { because } => {
                within(&|| tracing::warn!(job, because, "tried again"));
                spans.remove(&ticket);
            }
            Status::Done { from_cache: true } => tracing::info!(job, "found in the cache"),
            Status::Done { .. } => {
                within(&|| tracing::debug!("done"));
                spans.remove(&ticket);
            }
            Status::Failed { because } => {
                within(&|| tracing::error!(job, because, "failed"));
                spans.remove(&ticket);
            }
            Status::Cancelled => {
                within(&|| tracing::debug!(job, "cancelled"));
                spans.remove(&ticket);
            }
            _ => {}
        }
    }
}

/// Says here what was said in the worker.
fn replay(note: &Note) {
    match note {
        Note::Phase { name } => tracing::debug!(phase = name),
        Note::Count { name, amount } => tracing::debug!(count = name, amount),
        Note::Log {
            level,
            target: from,
            text,
        } => match level {
            Level::Error => tracing::error!(from, "{text}"),
            Level::Warn => tracing::warn!(from, "{text}"),
            Level::Info => tracing::info!(from, "{text}"),
            Level::Debug => tracing::debug!(from, "{text}"),
            Level::Trace => tracing::trace!(from, "{text}"),
        },
        other => tracing::debug!(note = ?other),
    }
}
