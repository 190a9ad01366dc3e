//! How many processes a job has.
//!
//! The kernel counts processes by user, and a limit of that number would be shared with everything else
//! that the user runs. So they are counted here. Looking through `/proc` costs a millisecond on a busy
//! machine; the number of the newest process, which is one small read, tells when it is needed: as long
//! as fewer processes than allowed were started on the whole machine, no job can have too many.

use std::collections::BTreeSet;
use std::fs;

/// The processes of one job: a group, and everything that was started out of it.
#[derive(Debug)]
pub(crate) struct Crowd {
    group: i32,
    /// Whose children are the job's too, and which of them are not.
    adopter: Option<(i32, Vec<u32>)>,
    most: u32,
    /// The newest process on the machine when the job was last counted.
    newest: Option<i32>,
    /// How many the job had then.
    had: u32,
}

/// A process as `/proc` shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Process {
    pub(super) number: i32,
    pub(super) parent: i32,
    group: i32,
}

impl Crowd {
    /// The job in this group, which may have `most` processes besides the group's leader. Where this process
    /// adopts orphans, its children are the job's too, all but those named.
    pub(crate) fn new(group: i32, adopted_but: Option<Vec<u32>>, most: u32) -> Self {
        let own = rustix::process::getpid().as_raw_nonzero().get();
        Self {
            group,
            adopter: adopted_but.map(|others| (own, others)),
            most: most.saturating_add(1),
            newest: newest(),
            had: 2,
        }
    }

    /// Of a process that starts no other.
    pub(crate) fn none() -> Self {
        Self {
            group: 0,
            adopter: None,
            most: u32::MAX,
            newest: None,
            had: 0,
        }
    }

    /// Whether the job has more processes than it may have.
    pub(crate) fn is_too_large(&mut self) -> bool {
        if self.most == u32::MAX {
            return false;
        }
        let newest = newest();
        let started = newest
            .zip(self.newest)
            .and_then(|(now, then)| u32::try_from(now.checked_sub(then)?).ok());
        // Numbers begin again at the end of their range: then nothing is known.
        if started.is_some_and(|started| self.had.saturating_add(started) <= self.most) {
            return false;
        }
        self.newest = newest;
        self.had = members(&census(), self.group, self.adopter.as_ref());
        self.had > self.most
    }
}

/// Every process of the machine that this one may see.
pub(super) fn census() -> Vec<Process> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    entries
        .flatten()
        .filter_map(|entry| read(entry.file_name().to_str()?.parse().ok()?))
        .collect()
}

fn read(number: i32) -> Option<Process> {
    let stat = fs::read_to_string(format!("/proc/{number}/stat")).ok()?;
    // The second field is the program's name in brackets and may hold anything, brackets too.
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace().skip(1).map(str::parse);
    Some(Process {
        number,
        parent: fields.next()?.ok()?,
        group: fields.next()?.ok()?,
    })
}

/// How many processes are in the group, or descend from one that is or from the adopter.
fn members(census: &[Process], group: i32, adopter: Option<&(i32, Vec<u32>)>) -> u32 {
    let adopted = |process: &Process| {
        adopter.is_some_and(|(parent, others)| {
            process.parent == *parent && !others.contains(&process.number.cast_unsigned())
        })
    };
    let mut found = BTreeSet::new();
    loop {
        let before = found.len();
        for process in census {
            if process.group == group || adopted(process) || found.contains(&process.parent) {
                found.insert(process.number);
            }
        }
        if found.len() == before {
            return u32::try_from(before).unwrap_or(u32::MAX);
        }
    }
}

/// The number of the newest process.
fn newest() -> Option<i32> {
    let line = fs::read_to_string("/proc/loadavg").ok()?;
    line.split_whitespace().next_back()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use rustix::process::Pid;

    use super::*;

    #[test]
    fn this_process_has_its_parent_and_group() {
        let own = rustix::process::getpid().as_raw_nonzero().get();
        let raw = |pid: Option<Pid>| pid.map(|pid| pid.as_raw_nonzero().get());
        let expected = Process {
            number: own,
            parent: raw(rustix::process::getppid()).expect("a parent"),
            group: raw(Some(rustix::process::getpgrp())).expect("a group"),
        };
        assert_eq!(read(own), Some(expected));
        assert!(newest().is_some_and(|newest| newest > 0));
    }

    #[test]
    fn who_left_the_group_still_descends_from_it() {
        let process = |number, parent, group| Process {
            number,
            parent,
            group,
        };
        let census = [
            process(9, 8, 9),
            process(8, 5, 8),
            process(5, 1, 5),
            process(6, 1, 5),
            process(7, 1, 7),
        ];
        assert_eq!(members(&census, 5, None), 4);
        assert_eq!(members(&census, 5, Some(&(1, vec![]))), 5);
        assert_eq!(members(&census, 5, Some(&(1, vec![7]))), 4);
    }
}
