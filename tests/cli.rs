//! The command line as a user meets it: what it prints, its exit codes, the files that it leaves, and what it says of bad input.
//!
//! Exit codes: 0 done, 1 the input is at fault (or an output differs from what was expected), 2 usage, 3 planish itself is at fault.

#[path = "cli/artefacts.rs"]
mod artefacts;
#[path = "cli/cache.rs"]
mod cache;
#[path = "cli/children.rs"]
mod children;
#[path = "cli/command.rs"]
mod command;
#[path = "cli/compilers.rs"]
mod compilers;
#[path = "cli/files.rs"]
mod files;
#[path = "cli/finalize.rs"]
mod finalize;
#[path = "cli/models.rs"]
mod models;
#[path = "cli/samples.rs"]
mod samples;
#[path = "cli/texts.rs"]
mod texts;
#[path = "cli/traces.rs"]
mod traces;
