//! What a worker of this crate can do, one file per kind of job.

mod cc;
mod echo;
mod task;
mod triton;

pub(crate) use cc::CompileCJobs;
pub(crate) use echo::EchoJobs;
pub(crate) use task::TaskJobs;
pub(crate) use triton::CompileTritonJobs;
