//! Process groups, signals, reaping, limits and waiting, for Linux.

use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::process::Child;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::MemfdFlags;
use rustix::io::Errno;
use rustix::process::{Pid, Resource, Rlimit, Signal, WaitOptions};

use super::crowd;
use crate::wire::Bounds;

/// Most descriptors of a process of a job.
const DESCRIPTORS: u64 = 1024;

/// What [`wait_for`] saw on one descriptor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Readiness {
    /// There is something to read, or the other side hung up.
    pub readable: bool,
    /// There is room to write.
    pub writable: bool,
}

/// Waits until a descriptor is readable (or, where the flag says so, writable) or the deadline has
/// passed. Interruptions by signals count as an early return with nothing ready.
pub(crate) fn wait_for(
    fds: &[(BorrowedFd<'_>, bool)],
    deadline: Option<Instant>,
) -> io::Result<Vec<Readiness>> {
    let mut polled: Vec<PollFd<'_>> = fds
        .iter()
        .map(|(fd, write)| {
            let flags = if *write {
                PollFlags::IN | PollFlags::OUT
            } else {
                PollFlags::IN
            };
            PollFd::from_borrowed_fd(*fd, flags)
        })
        .collect();
    let timeout = deadline.map(left_until);
    match rustix::event::poll(&mut polled, timeout.as_ref()) {
        Ok(_) => {}
        Err(Errno::INTR) => return Ok(vec![Readiness::default(); fds.len()]),
        Err(error) => return Err(error.into()),
    }
    let ended = PollFlags::HUP | PollFlags::ERR | PollFlags::NVAL;
    Ok(polled
        .iter()
        .map(|fd| Readiness {
            readable: fd.revents().intersects(PollFlags::IN | ended),
            writable: fd.revents().contains(PollFlags::OUT),
        })
        .collect())
}

/// The time from now to a deadline, as the kernel takes it.
pub(crate) fn left_until(deadline: Instant) -> Timespec {
    let left = deadline.saturating_duration_since(Instant::now());
    // A deadline beyond what the kernel can express is no deadline that anybody will see.
    Timespec::try_from(left).unwrap_or(Timespec {
        tv_sec: i64::from(i32::MAX),
        tv_nsec: 0,
    })
}

/// Blocks until the other side of a socket is closed, without reading from it.
pub(crate) fn wait_for_hang_up(fd: BorrowedFd<'_>) {
    loop {
        // No event is asked for: the kernel reports a hang-up all the same.
        let mut polled = [PollFd::from_borrowed_fd(fd, PollFlags::empty())];
        match rustix::event::poll(&mut polled, None) {
            Err(Errno::INTR) => {}
            _ => return,
        }
    }
}

/// Whether the other side of a socket is closed in both directions.
pub(crate) fn hung_up(fd: BorrowedFd<'_>) -> bool {
    let mut polled = [PollFd::from_borrowed_fd(fd, PollFlags::empty())];
    let now = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    rustix::event::poll(&mut polled, Some(&now)).is_ok()
        && polled[0].revents().contains(PollFlags::HUP)
}

/// Kills every process of the child's group. The child must lead the group and must not have been
/// waited for: until then its number cannot belong to anybody else.
pub(crate) fn kill_group(leader: &Child) {
    // The group can be empty already.
    let _ = rustix::process::kill_process_group(Pid::from_child(leader), Signal::KILL);
}

/// Kills the whole group of this process, itself included, if it is the group's leader.
pub(crate) fn kill_own_group() {
    if rustix::process::getpgrp() == rustix::process::getpid() {
        let _ = rustix::process::kill_current_process_group(Signal::KILL);
    }
}

/// Kills this process.
pub(crate) fn kill_self() {
    let _ = rustix::process::kill_process(rustix::process::getpid(), Signal::KILL);
}

/// Makes orphans among this process' descendants its own children, so that they can be found.
pub(crate) fn adopt_orphans() -> io::Result<()> {
    Ok(rustix::process::set_child_subreaper(Some(
        rustix::process::getpid(),
    ))?)
}

/// Kills and reaps every child of this process but those to `keep`, and theirs as they arrive, until
/// none is left. Only for a process that has no other children it wants to keep and that [adopts
/// orphans](adopt_orphans). False if some were still there after `patience`.
pub(crate) fn end_all_children(keep: &[u32], patience: Duration) -> bool {
    let deadline = Instant::now() + patience;
    let kept = |child: Pid| keep.contains(&child.as_raw_nonzero().get().cast_unsigned());
    loop {
        // What is kept must not be waited for here, and there is no waiting for all others.
        if keep.is_empty() {
            match rustix::process::wait(WaitOptions::NOHANG) {
                Err(Errno::CHILD) => return true,
                Ok(Some(_)) => continue,
                Ok(None) | Err(_) => {}
            }
        }
        let mut left = children();
        left.retain(|child| !kept(*child));
        if left.is_empty() && !keep.is_empty() {
            return true;
        }
        for child in left {
            let _ = rustix::process::kill_process(child, Signal::KILL);
            if !keep.is_empty() {
                let _ = rustix::process::waitpid(Some(child), WaitOptions::NOHANG);
            }
        }
        if Instant::now() >= deadline {
            return false;
        }
        // Death and adoption are not instantaneous and cannot be waited for together.
        std::thread::sleep(Duration::from_micros(200));
    }
}

/// Ties this process to its parent: it dies when the parent's thread that started it dies.
/// False if the parent is gone already.
pub(crate) fn die_with_parent(parent: u32) -> io::Result<bool> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    let now = rustix::process::getppid().map(|pid| pid.as_raw_nonzero().get());
    Ok(now.is_some_and(|pid| pid.cast_unsigned() == parent))
}

/// Puts a job's limits on this process and what it will start.
pub(crate) fn limit_self(bounds: &Bounds) -> io::Result<()> {
    // SIGXCPU at the limit says why the process died; the hard limit is for those who ignore it.
    set_limit(Resource::Cpu, bounds.cpu_s, bounds.cpu_s.saturating_add(2))?;
    set_limit(Resource::As, bounds.memory, bounds.memory)?;
    set_limit(Resource::Fsize, bounds.output, bounds.output)?;
    set_limit(Resource::Core, 0, 0)?;
    set_limit(Resource::Nofile, DESCRIPTORS, DESCRIPTORS)?;
    Ok(rustix::thread::set_no_new_privs(true)?)
}

/// Limits the threads of all processes in this user namespace, where they are counted apart from others: a brake for
/// what starts processes faster than they are counted. Some linkers have a thread for each processor.
pub(crate) fn limit_threads(processes: u32) -> io::Result<()> {
    let most = u64::from(processes) * 8;
    set_limit(Resource::Nproc, most, most)
}

/// Makes this process the leader of a group of its own.
pub(crate) fn lead_a_group() -> io::Result<()> {
    Ok(rustix::process::setpgid(None, None)?)
}

/// Has this process print its errors into `file`.
pub(crate) fn set_stderr(file: BorrowedFd<'_>) -> io::Result<()> {
    Ok(rustix::stdio::dup2_stderr(file)?)
}

/// Replaces standard input by `/dev/null`.
pub(crate) fn close_stdin() -> io::Result<()> {
    let null = fs::File::open("/dev/null")?;
    Ok(rustix::stdio::dup2_stdin(null.as_fd())?)
}

/// Replaces standard output by `/dev/null`.
pub(crate) fn close_stdout() -> io::Result<()> {
    let null = fs::File::options().write(true).open("/dev/null")?;
    Ok(rustix::stdio::dup2_stdout(null.as_fd())?)
}

/// Whether standard input is a socket, as it is in a worker that a pool started.
pub(crate) fn stdin_is_a_socket() -> bool {
    rustix::fs::fstat(rustix::stdio::stdin())
        .is_ok_and(|stat| rustix::fs::FileType::from_raw_mode(stat.st_mode).is_socket())
}

/// A file in memory, which goes with its descriptors; the system shows it by this name.
pub(crate) fn file_in_memory(name: &str) -> io::Result<fs::File> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let made = rustix::fs::memfd_create(name, flags | MemfdFlags::NOEXEC_SEAL);
    // Linux before 6.3 does not know how to say that nothing in it is a program.
    let made = made.or_else(|_| rustix::fs::memfd_create(name, flags));
    Ok(made?.into())
}

/// The user this process acts as.
pub(crate) fn effective_user() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// A limit that is above the hard one already in force is left at that one.
fn set_limit(resource: Resource, soft: u64, hard: u64) -> io::Result<()> {
    let most = rustix::process::getrlimit(resource)
        .maximum
        .unwrap_or(u64::MAX);
    let limit = Rlimit {
        current: Some(soft.min(most)),
        maximum: Some(hard.min(most)),
    };
    Ok(rustix::process::setrlimit(resource, limit)?)
}

/// The direct children of this process.
fn children() -> Vec<Pid> {
    let own = rustix::process::getpid().as_raw_nonzero().get();
    let children = crowd::census().into_iter();
    children
        .filter(|process| process.parent == own)
        .filter_map(|process| Pid::from_raw(process.number))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn a_deadline_in_the_past_returns_at_once_and_nothing_is_ready() {
        let (here, _there) = UnixStream::pair().expect("a socket pair");
        let ready = wait_for(&[(here.as_fd(), false)], Some(Instant::now())).expect("poll");
        assert_eq!(ready, [Readiness::default()]);
    }

    #[test]
    fn a_closed_other_side_is_readable() {
        let (here, there) = UnixStream::pair().expect("a socket pair");
        drop(there);
        let ready = wait_for(&[(here.as_fd(), false)], None).expect("poll");
        assert!(ready[0].readable);
        wait_for_hang_up(here.as_fd());
    }
}
