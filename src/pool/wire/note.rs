//! What a worker tells of a job while it runs.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::remains::Usage;

/// Something that a running job tells. It arrives when it is told, not when the job has ended, so
/// that the notes of a job that dies are not lost with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Note {
    /// The job has come to its next phase.
    Phase {
        /// The phase's name.
        name: String,
    },
    /// Something for the log of the process that asked for the job.
    Log {
        /// How much it matters.
        level: Level,
        /// What speaks, as a path (`planish::passes`).
        target: String,
        /// What it says.
        text: String,
    },
    /// What the job's program used.
    Used {
        /// How much.
        usage: Usage,
    },
    /// The job's result was tried, and is what the job claims.
    Proven {
        /// The instruction set of the processor that ran it.
        on: String,
    },
    /// Something was counted: the amount is to be added to the counter of this name.
    Count {
        /// The counter's name.
        name: String,
        /// How much to add.
        amount: u64,
    },
}

/// How much a line of a log matters, the most important first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Level {
    /// Something failed.
    Error,
    /// Something is not as it should be.
    Warn,
    /// Something that a user may want to know.
    Info,
    /// Something that helps to find a mistake.
    Debug,
    /// Every step.
    Trace,
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        })
    }
}
