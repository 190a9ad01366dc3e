//! A child of this process, whoever started it.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::Child;

use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, WaitId, WaitIdOptions};

/// A child process by its descriptor, which means no other process when this one is gone.
#[derive(Debug)]
pub(crate) struct Process(OwnedFd);

/// How a process ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Exit {
    pub signal: Option<i32>,
    pub code: Option<i32>,
}

impl Process {
    /// Takes over waiting for a child that was just started.
    pub(crate) fn of(child: &Child) -> io::Result<Self> {
        Self::numbered(Pid::from_child(child))
    }

    /// The child with this number. It must not have been waited for: until then the number is its own.
    pub(crate) fn numbered(number: Pid) -> io::Result<Self> {
        let flags = PidfdFlags::empty();
        Ok(Self(rustix::process::pidfd_open(number, flags)?))
    }

    pub(crate) fn kill(&self) {
        // It can have ended already.
        let _ = rustix::process::pidfd_send_signal(&self.0, Signal::KILL);
    }

    /// Waits for its end. Nothing is known of a child that was waited for before.
    pub(crate) fn wait(&self) -> Exit {
        self.waited(WaitIdOptions::EXITED)
    }

    /// Takes note of its end if it has ended.
    pub(crate) fn reap(&self) {
        self.waited(WaitIdOptions::EXITED | WaitIdOptions::NOHANG);
    }

    fn waited(&self, options: WaitIdOptions) -> Exit {
        loop {
            match rustix::process::waitid(WaitId::PidFd(self.0.as_fd()), options) {
                Err(Errno::INTR) => {}
                Ok(Some(status)) => {
                    return Exit {
                        signal: status.terminating_signal(),
                        code: status.exit_status(),
                    };
                }
                Ok(None) | Err(_) => return Exit::default(),
            }
        }
    }
}

impl AsFd for Process {
    /// Readable when the process has ended.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
