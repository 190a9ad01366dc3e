//! What a worker of this crate can do, one file per kind of job.

mod cc;
mod echo;
mod task;

pub(crate) use cc::CompileCJobs;
pub(crate) use echo::EchoJobs;
pub(crate) use task::TaskJobs;
