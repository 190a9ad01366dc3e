//! Jobs that kill: what died on them, kept so that they are answered and not run again.
//!
//! A key is given up after [`DEATHS`] deaths that were the job's own doing. Being killed from outside
//! (SIGKILL, SIGTERM, …) is not, and neither is running out of time on a busy machine. The key holds
//! the source, the flags and the compiler's bytes, so that a changed one is tried afresh.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::{Process, signal_name};
use crate::hash::JobKey;
use crate::remains::{Remains, Resource};

/// After so many deaths a job is not run any more.
const DEATHS: u32 = 2;
/// Longest record that is read.
const MOST: u64 = 64 << 10;

/// What is known of a job that kills.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Evidence {
    /// How many processes died on it.
    pub deaths: u32,
    /// What the last of them died of.
    pub cause: Cause,
    /// What is known of it.
    pub remains: Remains,
}

/// What a process died of by its own doing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Cause {
    /// A signal that it brought upon itself.
    Signal {
        /// What the process was.
        process: Process,
        /// The signal.
        signal: i32,
    },
    /// The compiler used up what it may use.
    Limit(Resource),
    /// What the compiler made was not what it should be.
    Wrong {
        /// What was wrong with it.
        reason: String,
    },
}

/// The records of one pool, and of those that share its cache.
#[derive(Debug)]
pub(crate) struct Quarantine {
    records: BTreeMap<JobKey, Evidence>,
    /// Where they are kept for others.
    room: Option<PathBuf>,
}

impl Quarantine {
    pub(crate) fn new(room: Option<PathBuf>) -> Self {
        Self {
            records: BTreeMap::new(),
            room,
        }
    }

    /// Why the job is not to be run, if it is not.
    pub(crate) fn verdict(&self, key: &JobKey) -> Option<Evidence> {
        self.known(key).filter(|known| known.deaths >= DEATHS)
    }

    /// Notes deaths on a job, if they were its own doing.
    pub(crate) fn note(&mut self, key: JobKey, deaths: u32, cause: Cause, remains: Remains) {
        if !cause.is_own_doing() {
            return;
        }
        let before = self.known(&key).map_or(0, |known| known.deaths);
        let evidence = Evidence {
            deaths: before.saturating_add(deaths),
            cause,
            remains,
        };
        if let Some(room) = &self.room {
            // Without it the job is tried again by the next pool.
            let _ = write(room, &key, &evidence);
        }
        self.records.insert(key, evidence);
    }

    fn known(&self, key: &JobKey) -> Option<Evidence> {
        let here = self.records.get(key).cloned();
        here.or_else(|| read(&self.room.as_ref()?.join(key.to_string())))
    }
}

impl Cause {
    /// Whether it would happen again. A wall clock runs out on a busy machine, too.
    fn is_own_doing(&self) -> bool {
        match self {
            // ILL, TRAP, ABRT, BUS, FPE, SEGV, XCPU, XFSZ, SYS.
            Self::Signal { signal, .. } => matches!(signal, 4..=8 | 11 | 24 | 25 | 31),
            Self::Limit(resource) => *resource != Resource::Wall,
            Self::Wrong { .. } => true,
        }
    }
}

impl fmt::Display for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            deaths,
            cause,
            remains,
        } = self;
        write!(f, "{deaths} died on it, the last one, {cause}{remains}")
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Signal { process, signal } => {
                write!(f, "the {process}, by {}", signal_name(*signal))
            }
            Self::Limit(resource) => write!(f, "the compiler, for want of {resource}"),
            Self::Wrong { reason } => write!(f, "its result, which was wrong: {reason}"),
        }
    }
}

fn write(room: &Path, key: &JobKey, evidence: &Evidence) -> io::Result<()> {
    let record = postcard::to_stdvec(evidence).map_err(io::Error::other)?;
    let mut file = tempfile::NamedTempFile::new_in(room)?;
    file.write_all(&record)?;
    file.persist(room.join(key.to_string()))?;
    Ok(())
}

fn read(path: &Path) -> Option<Evidence> {
    let metadata = fs::symlink_metadata(path).ok()?;
    if !metadata.is_file() || metadata.len() > MOST {
        return None;
    }
    postcard::from_bytes(&fs::read(path).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    const KEY: JobKey = JobKey::from_bytes([7; 32]);

    fn killed(signal: i32) -> Cause {
        let process = Process::Compiler;
        Cause::Signal { process, signal }
    }

    #[test]
    fn the_second_death_of_its_own_doing_is_the_last() {
        let mut quarantine = Quarantine::new(None);
        let from_outside = [9, 15, 2].map(killed);
        for cause in from_outside
            .into_iter()
            .chain([Cause::Limit(Resource::Wall)])
        {
            quarantine.note(KEY, 5, cause, Remains::default());
        }
        assert_eq!(quarantine.verdict(&KEY), None);
        quarantine.note(KEY, 1, killed(11), Remains::words("first"));
        assert_eq!(quarantine.verdict(&KEY), None);
        let last = Cause::Limit(Resource::Memory);
        quarantine.note(KEY, 1, last.clone(), Remains::words("second"));
        let evidence = quarantine.verdict(&KEY).expect("it is given up");
        assert_eq!((evidence.deaths, &evidence.cause), (2, &last));
        assert_eq!(evidence.remains.stderr, "second");
        assert_eq!(
            evidence.to_string(),
            "2 died on it, the last one, the compiler, for want of memory; it wrote:\nsecond"
        );
    }

    #[test]
    fn records_are_shared_and_nonsense_is_none() {
        let room = TempDir::new().expect("a directory");
        let open = || Quarantine::new(Some(room.path().to_owned()));
        open().note(KEY, 2, killed(11), Remains::words("oh"));
        assert_eq!(
            open().verdict(&KEY).map(|evidence| evidence.deaths),
            Some(2)
        );
        fs::write(room.path().join(KEY.to_string()), [0xff; 40]).expect("write");
        assert_eq!(open().verdict(&KEY), None);
        assert_eq!(fs::read_dir(room.path()).expect("read").count(), 1);
    }
}
