//! What a worker of this crate can do, one file per kind of job.

mod cc;
mod echo;

pub(crate) use cc::CompileCJobs;
pub(crate) use echo::EchoJobs;
