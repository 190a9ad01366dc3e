//! The command line of planish: one file for each verb.
//!
//! Standard output is the result, standard error the talk. Exit codes: 0 done, 1 the input is at fault (or an output differs from what was
//! expected), 2 usage, 3 planish itself is at fault.

#![expect(
    unreachable_pub,
    reason = "nothing outside can reach into a program; `pub` is what the other files use"
)]

mod args;
mod cache;
mod child;
mod console;
mod diagnose;
mod doctor;
mod environment;
mod finalize;
mod import;
mod opt;
mod passes;
mod progress;
mod proof;
mod record;
mod rules;
mod run;
mod triton;

use std::io::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

use clap::Parser;
use mimalloc::MiMalloc;

use crate::args::{Args, Verb};
use crate::console::{Results, say};
use crate::diagnose::Failure;

/// A graph is many small pieces: passes over one take a third less time than with the system's allocator.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    // A process that a pool has started is a worker and reads no other arguments.
    let handlers = planish::offload::handlers(planish::selftest::handlers());
    if let Some(code) = planish::pool::enter_if_asked(&handlers) {
        return code;
    }
    let args = Args::parse();
    if let Some(level) = args.log {
        console::log(level);
    }
    // A panic has said where; what is left to say is that it is not the user's fault.
    let done = catch_unwind(AssertUnwindSafe(|| act(&args.verb))).unwrap_or_else(|_| {
        Err(Failure::internal(
            "this is a mistake in planish, not in its input; please report it",
        ))
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure { message, code }) => {
            say(format_args!("planish: {message}"));
            ExitCode::from(code)
        }
    }
}

fn act(verb: &Verb) -> Result<(), Failure> {
    let mut results = Results::new();
    let out = &mut results;
    match verb {
        Verb::Finalize(args) => finalize::finalize(args, out),
        Verb::Run(args) => run::run(args, out),
        Verb::Opt(args) => opt::opt(args, out),
        Verb::Import(args) => import::import(args, out),
        Verb::Passes => passes::passes(out),
        Verb::Rules(args) => rules::rules(args, out),
        Verb::Cache(args) => cache::cache(args, out),
        Verb::Triton(args) => triton::triton(args, out),
        Verb::Doctor(args) => doctor::doctor(args, out),
    }?;
    Ok(results.flush()?)
}
