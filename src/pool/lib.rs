//! A pool of worker processes that compile, and the cache of what they made.
//!
//! The pool takes a [`Job`] (a kind, its source, its flags) and returns an [`Artefact`] (bytes and
//! their digest). It knows nothing of graphs or kernels and depends on no other planish crate.
//!
//! ```no_run
//! use planish_pool::{Job, Pool, Toolchain, ToolchainSearch, WorkerCommand};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let toolchain = Toolchain::find(&ToolchainSearch::in_path("/usr/bin:/bin"))?;
//! let pool = Pool::builder()
//!     .workers(2)
//!     .cache("/home/me/.cache/planish")
//!     .worker(WorkerCommand::binary("/usr/libexec/planish-worker"))
//!     .build()?;
//! let ticket = pool.submit(Job::cc(&toolchain, "int seven(void) { return 7; }", ["-O2"]).named("seven"));
//! let artefact = ticket.wait()?;
//! println!("{} bytes, {}", artefact.bytes.len(), artefact.digest());
//! # Ok(())
//! # }
//! ```
//!
//! # How it is built
//!
//! * `dispatch.rs` is a pure state machine, `handle(now, event) -> actions`; every race is a
//!   unit test without a process.
//! * The machine stands behind a lock, with what turns the world into its events and its actions
//!   into system calls. Whoever submits hands the job to an idle worker itself, and who waits hears
//!   the workers itself; one supervisor thread starts and reaps them, and hears what nobody else does.
//! * A worker is a process of the program that [`WorkerCommand`] names. It reads frames from a
//!   socket, runs one job at a time, and runs each compiler in a process group of its own.
//! * With one worker configured there is no worker process: the same worker loop runs on a thread
//!   of this process, behind the same socket and the same frames.
//!
//! # Invariants
//!
//! * A job that crashes, hangs or prints garbage costs its own attempt and nothing else.
//! * Never more worker processes than configured.
//! * Every ticket resolves, also when the pool is dropped.
//! * No process that the pool started outlives the pool.
//! * The library reads no environment variable and prints nothing.
//!
//! `docs/pool.md` has the process tree, the frame layout and the table of failures.

mod admission;
mod arena;
mod cache;
mod channel;
mod child;
mod core;
mod dispatch;
mod error;
mod fork_server;
mod hash;
mod job;
mod jobs;
mod jobserver;
mod mailbox;
mod observe;
mod os;
mod outgoing;
mod patience;
mod pool;
mod proof;
mod quarantine;
mod question;
mod readiness;
mod remains;
mod sandbox;
mod scratch;
mod shim;
mod spans;
mod supervisor;
mod ticket;
mod toolchain;
mod triton;
mod verdict;
mod view;
mod watch;
mod width;
pub mod wire;
mod worker;
mod worker_proc;

pub use cache::{Cache, CacheStats, Collected, Entry, Lookup, Verified};
pub use error::{Diagnostics, Error, JobError, Limit, Process};
pub use hash::{Digest, JobKey};
pub use job::{Artefact, Job, Limits};
pub use jobserver::Jobserver;
pub use observe::{Observer, Report, Stats, Status, WorkerReport, WorkerStatus};
pub use pool::{Builder, Pool, Start};
pub use proof::Prover;
pub use quarantine::{Cause, Evidence};
pub use remains::{Remains, Resource, Usage};
pub use sandbox::{Confinement, Sandbox};
pub use ticket::Ticket;
pub use toolchain::{Toolchain, ToolchainSearch};
pub use triton::{
    Arch, Argument, Constant, Element, Grid, Kind, LaunchRecord, Parameter, Ptxas, Scratch,
    Signature, Triton, TritonArtefact, TritonSearch, TritonSource, Value,
};
pub use worker::{Handler, Handlers, JobContext, enter_if_asked, worker_main};
pub use worker_proc::WorkerCommand;
