//! What a user sees of long work: the pass that runs and the kernels that are done, when standard error is a terminal.

use std::io::IsTerminal as _;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use planish::ir::GraphModule;
use planish::passes::{Instrument, Pass};
use planish::pool::{Observer, Report, Status};

/// A bar, or nothing.
#[derive(Clone)]
pub struct Progress {
    bar: ProgressBar,
}

impl Progress {
    /// A bar if standard error is a terminal.
    pub fn new() -> Self {
        if !std::io::stderr().is_terminal() {
            return Self {
                bar: ProgressBar::hidden(),
            };
        }
        let bar = ProgressBar::new(0);
        if let Ok(style) =
            ProgressStyle::with_template("{spinner} {msg} {wide_bar} {pos}/{len} kernels {elapsed}")
        {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(100));
        Self { bar }
    }

    /// Shows what is being done.
    pub fn say(&self, what: impl Into<String>) {
        self.bar.set_message(what.into());
    }

    /// Removes the bar.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

impl Observer for Progress {
    fn report(&self, report: &Report) {
        match report.status {
            Status::Submitted => self.bar.inc_length(1),
            Status::Done { .. } | Status::Failed { .. } | Status::Cancelled => self.bar.inc(1),
            _ => {}
        }
    }
}

impl Instrument for Progress {
    fn before_pass(&mut self, pass: &dyn Pass, _: &GraphModule) {
        self.say(pass.name());
    }
}
