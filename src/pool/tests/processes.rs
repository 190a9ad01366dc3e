//! The pool with real processes: what it makes, and what it survives.
//!
//! Compilers are shell scripts that do what the first word of the source says, except where the real
//! compiler is asked. Waiting is by polling with generous deadlines: the tests must hold on a loaded
//! machine of two cores.

#[path = "processes/arena.rs"]
mod arena;
#[path = "processes/bench.rs"]
mod bench;
#[path = "processes/compile.rs"]
mod compile;
#[path = "processes/faults.rs"]
mod faults;
#[path = "processes/forks.rs"]
mod forks;
#[path = "processes/proof.rs"]
mod proof;
#[path = "processes/protocol.rs"]
mod protocol;
#[path = "processes/pytorch.rs"]
mod pytorch;
#[path = "processes/roles.rs"]
mod roles;
#[path = "processes/sandbox.rs"]
mod sandbox;
#[path = "processes/sharing.rs"]
mod sharing;
#[path = "processes/soak.rs"]
mod soak;
#[path = "processes/story.rs"]
mod story;
#[path = "processes/survivors.rs"]
mod survivors;
#[path = "processes/tasks.rs"]
mod tasks;
#[path = "processes/triton.rs"]
mod triton;
#[path = "processes/waiting.rs"]
mod waiting;
#[path = "processes/width.rs"]
mod width;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Trial};

fn main() -> ExitCode {
    if let Some(code) = roles::play() {
        return code;
    }
    let tests = [
        arena::tests(),
        compile::tests(),
        faults::tests(),
        forks::tests(),
        proof::tests(),
        protocol::tests(),
        pytorch::tests(),
        sandbox::tests(),
        sharing::tests(),
        soak::tests(),
        story::tests(),
        tasks::tests(),
        survivors::tests(),
        triton::tests(),
        waiting::tests(),
        width::tests(),
    ];
    let mut arguments = Arguments::from_args();
    // Most of the time is waiting, but not more should wait than a small machine can run.
    arguments.test_threads = arguments.test_threads.or(Some(4));
    libtest_mimic::run(&arguments, tests.into_iter().flatten().collect()).exit_code()
}

/// A test by its name.
fn test(name: &str, run: fn()) -> Trial {
    Trial::test(name, move || {
        run();
        Ok(())
    })
}
