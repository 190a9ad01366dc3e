//! What a user sees of long work: the pass that runs and the units of kernels that are done, when standard error is a terminal.

use std::borrow::Cow;
use std::io::IsTerminal as _;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressFinish, ProgressStyle};
use planish::ir::GraphModule;
use planish::passes::{Instrument, Pass};
use planish::pool::{Observer, Report, Status};

/// While there is nothing to count, and when there is.
const SPINNER: &str = "{spinner} {msg}";
const BAR: &str = "{spinner} {msg:<22} {bar:24} {pos}/{len} units {elapsed:>4}";

/// A bar, or nothing. It goes away with its last copy, so that a message never stands behind it.
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
        let bar = ProgressBar::new(0).with_finish(ProgressFinish::AndClear);
        set_template(&bar, SPINNER);
        bar.enable_steady_tick(Duration::from_millis(100));
        Self { bar }
    }

    /// Shows what is being done.
    pub fn show(&self, what: impl Into<Cow<'static, str>>) {
        self.bar.set_message(what);
    }

    /// Removes the bar.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

impl Observer for Progress {
    fn report(&self, report: &Report) {
        match &report.status {
            Status::Submitted => {
                if self.bar.length() == Some(0) {
                    set_template(&self.bar, BAR);
                }
                self.bar.inc_length(1);
            }
            Status::Running { elapsed, .. } => {
                self.show(format!("{} ({} s)", first(&report.job), elapsed.as_secs()));
            }
            Status::Done { .. } | Status::Failed { .. } | Status::Cancelled => {
                self.bar.inc(1);
                // What took long does not any more.
                if self.bar.message().starts_with(first(&report.job)) {
                    self.show("compile");
                }
            }
            _ => {}
        }
    }
}

impl Instrument for Progress {
    fn before_pass(&mut self, pass: &dyn Pass, _: &GraphModule) {
        self.show(pass.name());
    }

    fn stage(&mut self, what: &'static str) {
        self.show(what);
    }
}

/// A job's name up to its first kernel: a line has no room for more.
fn first(job: &str) -> &str {
    job.split(", ").next().unwrap_or(job)
}

fn set_template(bar: &ProgressBar, template: &str) {
    // Both templates are constants that are well-formed; otherwise the bar looks as it did.
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
}
