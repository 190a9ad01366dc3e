//! What is known of a program that did not do its job.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What a program left behind.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remains {
    /// The end of what it wrote.
    pub stderr: String,
    /// What it used.
    pub usage: Usage,
    /// How to start it again by hand, beside the job's source; empty if that is not possible.
    pub command: String,
}

/// What a program used, together with the programs that it started and waited for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Processor time.
    pub cpu: Duration,
    /// The most memory that one of them had at once, in bytes.
    pub peak: u64,
}

/// Something of which a job may use only so much.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Resource {
    /// Time on the clock.
    Wall,
    /// Time on a processor.
    Cpu,
    /// Address space.
    Memory,
    /// Processes at once.
    Processes,
}

impl Remains {
    /// Of a program that only wrote.
    pub(crate) fn words(stderr: impl Into<String>) -> Self {
        Self {
            stderr: stderr.into(),
            ..Self::default()
        }
    }
}

/// As the end of a message.
impl fmt::Display for Remains {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.stderr.trim() {
            "" => {}
            text => write!(f, "; it wrote:\n{text}")?,
        }
        if self.command.is_empty() {
            return Ok(());
        }
        write!(
            f,
            "\nit used {}; to repeat it beside the source:\n  {}",
            self.usage, self.command
        )
    }
}

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:.2} s of processor time and {} MiB",
            self.cpu.as_secs_f64(),
            self.peak.div_ceil(1 << 20)
        )
    }
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Wall => "wall-clock time",
            Self::Cpu => "processor time",
            Self::Memory => "memory",
            Self::Processes => "processes",
        })
    }
}
