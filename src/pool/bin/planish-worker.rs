//! A worker with the compile jobs alone. The pool's own tests use it; what ships is the program
//! itself, as `planish --planish-worker`.

use std::process::ExitCode;

use planish_pool::{Handlers, worker_main};

fn main() -> ExitCode {
    worker_main(&Handlers::standard(), std::env::args_os().skip(1))
}
