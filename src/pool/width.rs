//! How many compilers may run at once: as many as there are workers, as memory has room for, and as a jobserver grants.

use std::fs;
use std::time::{Duration, Instant};

use crate::jobserver::Jobserver;

/// What is looked at is looked at so often.
pub(crate) const MEASURED_EVERY: Duration = Duration::from_millis(50);
/// What a compiler may come to need. Ours need 30 to 70 MB; half of the memory that is there is left to others.
const PRICE: u64 = 256 << 20;
/// Above this part of the last ten seconds, in percent, in which somebody waited for memory, no further compiler is started.
const STALLED: f64 = 10.0;

/// The measure.
#[derive(Debug)]
pub(crate) struct Width {
    workers: usize,
    jobserver: Option<Jobserver>,
    measured: Option<Instant>,
}

impl Width {
    pub(crate) fn new(workers: usize, jobserver: Option<Jobserver>) -> Self {
        Self {
            workers,
            jobserver,
            measured: None,
        }
    }

    /// The width before anything was measured.
    pub(crate) fn at_first(&self) -> usize {
        if self.jobserver.is_some() {
            1
        } else {
            self.workers
        }
    }

    /// Whether it is time to look again.
    pub(crate) fn is_due(&self, now: Instant) -> bool {
        self.measured
            .is_none_or(|measured| now.saturating_duration_since(measured) >= MEASURED_EVERY)
    }

    /// How many may run, when so many do and so many more would.
    pub(crate) fn measure(&mut self, now: Instant, running: usize, waiting: usize) -> usize {
        self.measured = Some(now);
        let room = room(running, available(), stalled()).min(self.workers);
        match &mut self.jobserver {
            None => room,
            Some(jobserver) => 1 + jobserver.hold((running + waiting).min(room).saturating_sub(1)),
        }
    }

    /// Gives tokens back that are not needed any more.
    pub(crate) fn relax(&mut self, running: usize) -> Option<usize> {
        let jobserver = self.jobserver.as_mut()?;
        Some(1 + jobserver.hold(running.saturating_sub(1)))
    }
}

/// How many compilers memory has room for. One may always run.
fn room(running: usize, available: Option<u64>, stalled: Option<f64>) -> usize {
    let more = if stalled.is_some_and(|stalled| stalled >= STALLED) {
        0
    } else {
        available.map_or(usize::MAX, |available| (available / PRICE) as usize)
    };
    running.saturating_add(more).max(1)
}

/// Bytes that can be had without taking them from others: of the machine, or of the control group if it has less.
fn available() -> Option<u64> {
    let machine = fs::read_to_string("/proc/meminfo").ok();
    let machine = machine.as_deref().and_then(in_meminfo);
    machine.into_iter().chain(group_has()).min()
}

fn in_meminfo(text: &str) -> Option<u64> {
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kibibytes: u64 = line.split_whitespace().next()?.parse().ok()?;
    kibibytes.checked_mul(1024)
}

fn group_has() -> Option<u64> {
    let own = fs::read_to_string("/proc/self/cgroup").ok()?;
    let path = own.lines().find_map(|line| line.strip_prefix("0::"))?;
    let text = |name| fs::read_to_string(format!("/sys/fs/cgroup{path}/{name}")).ok();
    let number = |name| text(name)?.trim().parse::<u64>().ok();
    let (most, used) = (number("memory.max")?, number("memory.current")?);
    // What has read or written many files has its whole room full of them.
    let files = text("memory.stat").map_or(0, |text| files_in_stat(&text));
    Some(most.saturating_sub(used.saturating_sub(files)))
}

/// Pages of files that a control group uses, which it gets back by forgetting them.
fn files_in_stat(text: &str) -> u64 {
    let lines = text.lines().filter_map(|line| line.split_once(' '));
    let files = lines.filter(|(name, _)| ["inactive_file", "active_file"].contains(name));
    files
        .filter_map(|(_, bytes)| bytes.parse::<u64>().ok())
        .sum()
}

/// The part of the last ten seconds in which some process waited for memory, in percent.
fn stalled() -> Option<f64> {
    in_pressure(&fs::read_to_string("/proc/pressure/memory").ok()?)
}

fn in_pressure(text: &str) -> Option<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix("some "))?;
    let average = line
        .split_whitespace()
        .find_map(|field| field.strip_prefix("avg10="))?;
    average.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_and_its_pressure_are_understood() {
        assert_eq!(
            in_meminfo("MemFree: 1 kB\nMemAvailable:    12 kB\n"),
            Some(12_288)
        );
        let stat = "anon 7\nfile 60\nshmem 10\ninactive_anon 1\nactive_file 20\ninactive_file 30\n";
        assert_eq!((files_in_stat(stat), files_in_stat("active_file")), (50, 0));
        let pressure = "some avg10=12.50 avg60=0.00 avg300=0.00 total=1\nfull avg10=1.00\n";
        assert_eq!(in_pressure(pressure), Some(12.5));
        for nonsense in ["", "some", "some avg10=x", "MemAvailable:"] {
            assert_eq!((in_meminfo(nonsense), in_pressure(nonsense)), (None, None));
        }
    }

    #[test]
    fn little_memory_means_few_and_pressure_no_more_but_always_one() {
        let gibibyte = Some(1 << 30);
        assert_eq!(room(0, gibibyte, Some(0.0)), 4);
        assert_eq!(room(3, gibibyte, None), 7);
        assert_eq!(room(3, gibibyte, Some(50.0)), 3);
        assert_eq!(room(0, Some(0), None), 1);
        assert_eq!(room(0, None, Some(99.0)), 1);
    }

    #[test]
    fn a_jobserver_grants_one_and_its_tokens() {
        let directory = tempfile::tempdir().expect("a directory");
        let server = Jobserver::serve(directory.path(), 3).expect("it serves");
        let mut width = Width::new(8, Some(server));
        assert_eq!(width.at_first(), 1);
        let now = Instant::now();
        let grants = [(0, 1), (1, 1), (1, 9), (3, 2)]
            .map(|(running, waiting)| width.measure(now, running, waiting));
        assert_eq!(grants, [1, 2, 3, 3]);
        assert_eq!(width.relax(1), Some(1));
    }
}
