//! What workers say, and what it means.

use std::time::Instant;

use super::{Core, FIRST_JOB};
use crate::dispatch::{End, Event};
use crate::job::Job;
use crate::observe::WorkerStatus;
use crate::scratch::Place;
use crate::verdict::job_error;
use crate::wire::{Failure, Frame, FrameKind, Note, Welcome, WireError};
use crate::worker_proc::WorkerProc;

pub(super) struct Worker {
    pub generation: u64,
    pub stage: Stage,
    /// What comes after hello.
    after_hello: Stage,
    /// Its process, once it has said hello.
    pub process: u32,
    /// The phase of its job, if it has told one, and since when.
    pub phase: Option<(String, Instant)>,
    pub proc: WorkerProc,
    /// Its directory, which is removed after it.
    _place: Place,
}

/// How far a worker has come.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Stage {
    /// It has not said hello.
    Started,
    /// It is at the job that every worker begins with.
    FirstJob,
    Ready,
}

impl Core {
    /// What a worker said, as an event for the machine; what it tells of its job is told on, after
    /// what it said before.
    pub(super) fn hear(&mut self, slot: usize, frame: Frame) {
        if frame.kind == FrameKind::Note {
            self.handle_events();
        }
        let Some(worker) = &mut self.workers[slot] else {
            return;
        };
        let generation = worker.generation;
        let broken = |error| Event::Broken {
            slot,
            generation,
            error,
        };
        let understood = match worker.understand(slot, frame) {
            Ok(Understood::Event(event)) => Some(event),
            Ok(Understood::Ready) => {
                let process = worker.process;
                self.tell_of_worker(slot, || WorkerStatus::Ready { process });
                self.count_ready();
                Some(Event::Ready { slot, generation })
            }
            Ok(Understood::Note(run, note)) => {
                self.take_note(slot, run, note);
                None
            }
            Ok(Understood::Nothing) => None,
            Ok(Understood::FirstJobFailed(failure)) => {
                let error = self.first_job_failed(failure);
                Some(broken(error))
            }
            Err(error) => Some(broken(error)),
        };
        self.events.extend(understood);
    }

    fn first_job_failed(&self, failure: Failure) -> WireError {
        let job = self.means.first_job.as_ref();
        let name = job.map(Job::name).unwrap_or_default();
        let error = job_error(name, &self.limits(job), End::Failed(failure));
        let reason = error.to_string();
        WireError::FirstJob { reason }
    }
}

enum Understood {
    Event(Event),
    Ready,
    Note(u64, Note),
    FirstJobFailed(Failure),
    Nothing,
}

impl Worker {
    /// A worker that was just started; `begins` with a first job or not.
    pub(super) fn new(generation: u64, proc: WorkerProc, place: Place, begins: bool) -> Self {
        Self {
            generation,
            stage: Stage::Started,
            after_hello: if begins {
                Stage::FirstJob
            } else {
                Stage::Ready
            },
            process: 0,
            phase: None,
            proc,
            _place: place,
        }
    }

    fn understand(&mut self, slot: usize, frame: Frame) -> Result<Understood, WireError> {
        let (generation, run) = (self.generation, frame.job);
        let answer = |result| {
            Understood::Event(Event::Answer {
                slot,
                generation,
                run,
                result,
            })
        };
        Ok(match (self.stage, frame.kind) {
            (Stage::Started, FrameKind::Hello) => {
                let welcome: Welcome = frame.message("a welcome")?;
                self.process = welcome.process;
                self.stage = self.after_hello;
                match self.stage {
                    Stage::Ready => Understood::Ready,
                    Stage::Started | Stage::FirstJob => Understood::Nothing,
                }
            }
            (Stage::FirstJob, FrameKind::Done | FrameKind::Placed) if run == FIRST_JOB => {
                self.stage = Stage::Ready;
                Understood::Ready
            }
            (Stage::FirstJob, FrameKind::Failed) if run == FIRST_JOB => {
                Understood::FirstJobFailed(frame.message("a failure")?)
            }
            (Stage::Ready, FrameKind::Done) => answer(Ok(frame.payload)),
            (Stage::Ready, FrameKind::Placed) => {
                let region = frame.message("a place in the arena")?;
                answer(Ok(self.proc.placed(run, region)?))
            }
            (Stage::Ready, FrameKind::Failed) => answer(Err(frame.message("a failure")?)),
            (Stage::Ready | Stage::FirstJob, FrameKind::Note) => {
                Understood::Note(run, frame.message("a note")?)
            }
            (Stage::Ready | Stage::FirstJob, FrameKind::Returned) => {
                self.proc.take_back(run)?;
                Understood::Nothing
            }
            (stage, got) => {
                let expected = match stage {
                    Stage::Started => "a welcome",
                    Stage::FirstJob => "an answer to the first job",
                    Stage::Ready => "an answer",
                };
                let job = frame.job;
                return Err(WireError::Unexpected { expected, got, job });
            }
        })
    }
}
