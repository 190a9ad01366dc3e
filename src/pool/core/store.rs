//! What is known of a job before it is run, and what is kept of it afterwards.

use std::time::Duration;

use bytes::Bytes;

use super::Core;
use crate::cache::{Claimed, Lookup};
use crate::dispatch::{Death, End, Event, Sought};
use crate::error::Process;
use crate::job::{Artefact, Job};
use crate::observe::Status;
use crate::quarantine::Cause;
use crate::remains::{Remains, Usage};
use crate::ticket::Promise;
use crate::wire::Failure;

/// Each claim is an open file, and a process may have 1,024 of them. What is above may be made twice.
const MOST_CLAIMS: usize = 256;

/// What a worker tells of a result before it sends it.
#[derive(Debug, Default)]
pub(super) struct Learned {
    pub usage: Usage,
    pub proven: Option<String>,
}

impl Core {
    pub(super) fn look_up(&mut self, run: u64) {
        let cacheable = self.jobs.get(&run).is_some_and(|job| job.cacheable());
        let key = self.promises.get(&run).map(Promise::key);
        let given_up = key
            .filter(|_| cacheable)
            .and_then(|key| self.quarantine.verdict(&key));
        let sought = match (given_up, key) {
            (Some(evidence), _) => Sought::GivenUp(evidence),
            (None, Some(key)) if cacheable && self.means.cache.is_some() => self.seek(run, &key),
            _ => Sought::Missing,
        };
        match sought {
            Sought::Missing => self.report(&[run], &Status::Queued),
            Sought::Elsewhere => self.report(&[run], &Status::Elsewhere),
            Sought::Found | Sought::Failed(_) | Sought::GivenUp(_) => {}
        }
        self.events.push_back(Event::LookedUp { run, sought });
    }

    /// Looks into the cache, and asks for the right to make what is not there.
    fn seek(&mut self, run: u64, key: &crate::JobKey) -> Sought {
        if self.find(run, key) {
            return Sought::Found;
        }
        let Some(cache) = self
            .means
            .cache
            .as_ref()
            .filter(|_| self.claims.len() < MOST_CLAIMS)
        else {
            return Sought::Missing;
        };
        match cache.claim(key, self.waits.contains(&run)) {
            Ok(Claimed::Ours(claim, failure)) => {
                self.waits.remove(&run);
                if let Some(failure) = failure {
                    claim.release_with(&failure);
                    return Sought::Failed(failure);
                }
                self.claims.insert(run, claim);
                // It may have come between the look and the claim.
                if self.find(run, key) {
                    return Sought::Found;
                }
                Sought::Missing
            }
            Ok(Claimed::Theirs) => {
                self.waits.insert(run);
                Sought::Elsewhere
            }
            // Making it twice is better than not making it.
            Err(_) => Sought::Missing,
        }
    }

    fn find(&mut self, run: u64, key: &crate::JobKey) -> bool {
        let lookup = self.means.cache.as_ref().map(|cache| cache.get(key));
        match lookup {
            Some(Lookup::Found(entry)) => {
                self.found.insert(run, entry);
                true
            }
            Some(Lookup::Corrupt { .. }) => {
                self.count(|stats| stats.cache_corrupt += 1);
                false
            }
            Some(Lookup::Missing) | None => false,
        }
    }

    /// Evidence against a job that kills.
    pub(super) fn note_deaths(&mut self, run: u64, tickets: &[u64], end: &End) {
        let ticket = tickets.first().unwrap_or(&run);
        let Some(key) = self.promises.get(ticket).map(Promise::key) else {
            return;
        };
        let (deaths, cause, remains) = match end {
            // It had every attempt.
            End::Died(Death {
                signal: Some(signal),
                stderr,
                ..
            }) => {
                let (process, signal) = (Process::Worker, *signal);
                let cause = Cause::Signal { process, signal };
                (self.state.attempts(), cause, Remains::words(stderr))
            }
            End::Failed(Failure::Crashed {
                process,
                signal: Some(signal),
                remains,
                ..
            }) => {
                let (process, signal) = (*process, *signal);
                (1, Cause::Signal { process, signal }, remains.clone())
            }
            End::Failed(Failure::Over { resource, remains }) => {
                (1, Cause::Limit(*resource), remains.clone())
            }
            End::Failed(Failure::Wrong { reason, remains }) => {
                let reason = reason.clone();
                (1, Cause::Wrong { reason }, remains.clone())
            }
            _ => return,
        };
        self.quarantine.note(key, deaths, cause, remains);
    }

    /// Lets other pools know. After the result is in the cache, so that who waits finds it there.
    pub(super) fn end_claim(&mut self, run: u64, end: Option<&End>) {
        self.waits.remove(&run);
        let Some(claim) = self.claims.remove(&run) else {
            return;
        };
        match end {
            Some(End::Failed(failure)) if failure.is_the_sources_fault() => {
                claim.release_with(failure);
            }
            _ => claim.release(),
        }
    }

    /// Stores a fresh result.
    pub(super) fn made(
        &self,
        job: Option<&Job>,
        key: crate::JobKey,
        bytes: Bytes,
        after: Duration,
        Learned { usage, proven }: Learned,
    ) -> Artefact {
        let seconds = after.as_secs_f64();
        self.count(|stats| {
            stats.compiled += 1;
            stats.seconds += seconds;
        });
        let stored = match &self.means.cache {
            // What claims something is kept when that was proven, and not before.
            Some(cache)
                if job
                    .is_some_and(|job| job.cacheable() && (proven.is_some() || !job.claims())) =>
            {
                let stored = cache.put_proven(&key, &bytes, proven.as_deref());
                stored.map(Some)
            }
            _ => Ok(None),
        };
        let digest = stored.unwrap_or_else(|error| {
            self.count(|stats| {
                stats.cache_unwritten += 1;
                stats.cache_complaint = Some(error.to_string());
            });
            None
        });
        Artefact {
            bytes,
            digest,
            key,
            from_cache: false,
            seconds,
            usage,
            proven,
        }
    }

    pub(super) fn trim_cache(&self) {
        let grown = self.counted(|stats| stats.compiled > stats.cache_unwritten);
        if let Some(cache) = self.means.cache.as_ref().filter(|_| grown)
            && let Err(error) = cache.keep_within(self.means.cache_limit)
        {
            self.count(|stats| stats.cache_complaint = Some(error.to_string()));
        }
    }
}
