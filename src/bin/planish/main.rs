//! The command line of planish: one file for each verb.
//!
//! Standard output is the result, standard error the talk. Exit codes: 0 done, 1 the input is at fault (or an output differs from what was
//! expected), 2 usage, 3 planish itself is at fault.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command line prints"
)]

mod args;
mod diagnose;
mod doctor;
mod environment;
mod finalize;
mod import;
mod opt;
mod passes;
mod progress;
mod run;

use std::process::ExitCode;

use clap::Parser;

use crate::args::{Args, Verb};
use crate::diagnose::Failure;

fn main() -> ExitCode {
    // A process that a pool has started is a worker and reads no other arguments.
    if let Some(code) = planish::pool::enter_if_asked(&planish::pool::Handlers::standard()) {
        return code;
    }
    let args = Args::parse();
    let done = match &args.verb {
        Verb::Finalize(args) => finalize::finalize(args),
        Verb::Run(args) => run::run(args),
        Verb::Opt(args) => opt::opt(args),
        Verb::Import(args) => import::import(args),
        Verb::Passes => passes::passes(),
        Verb::Doctor(args) => doctor::doctor(args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure { message, code }) => {
            eprintln!("planish: {message}");
            ExitCode::from(code)
        }
    }
}
