//! GNU make's jobserver: tokens in a pipe, one for each job that may run besides the one that everybody may have.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, OFlags};

use crate::error::Error;

/// A place to get tokens from, and to bring them back to.
///
/// As a client it is the one that `make` names in `MAKEFLAGS` ([`Jobserver::of`]); as a server it is a named pipe that other programs are told of
/// ([`Jobserver::serve`], [`Jobserver::makeflags`]). Tokens that are held go back when it is dropped.
#[derive(Debug)]
pub struct Jobserver {
    pipe: File,
    held: Vec<u8>,
    /// The pipe that was made here.
    served: Option<PathBuf>,
}

impl Jobserver {
    /// The jobserver that these flags name, if they name one that is there. `make` hands it on to programs whose line in the makefile
    /// begins with `+`; to others it names one that they do not have.
    pub fn of(makeflags: &str) -> Option<Self> {
        let named = makeflags.split_whitespace().rev().find_map(|flag| {
            let auth = flag.strip_prefix("--jobserver-auth=");
            auth.or_else(|| flag.strip_prefix("--jobserver-fds="))
        })?;
        let path = if let Some(path) = named.strip_prefix("fifo:") {
            PathBuf::from(path)
        } else {
            let (read, _) = named.split_once(',')?;
            let number: u32 = read.parse().ok()?;
            // Opened anew, so that it can be asked without waiting and nobody else's reads are changed by that.
            PathBuf::from(format!("/proc/self/fd/{number}"))
        };
        let pipe = open(&path).ok()?;
        Some(Self {
            pipe,
            held: Vec::new(),
            served: None,
        })
    }

    /// A new one in `directory`, for `jobs` jobs at once: as many tokens less one, since who has none may run one job.
    pub fn serve(directory: &Path, jobs: usize) -> Result<Self, Error> {
        let cannot = |error: io::Error| Error::Start {
            reason: format!("serve tokens in {}: {error}", directory.display()),
        };
        let path = directory.join(format!("planish-jobs-{}", std::process::id()));
        let mode = Mode::RUSR | Mode::WUSR;
        rustix::fs::mknodat(CWD, &path, FileType::Fifo, mode, 0)
            .map_err(|error| cannot(error.into()))?;
        let pipe = open(&path).map_err(cannot)?;
        let served = Self {
            pipe,
            held: Vec::new(),
            served: Some(path),
        };
        served
            .write(&vec![b'+'; jobs.saturating_sub(1)])
            .map_err(cannot)?;
        Ok(served)
    }

    /// What other programs must find in their `MAKEFLAGS`; nothing if this is somebody else's jobserver.
    pub fn makeflags(&self) -> Option<String> {
        let path = self.served.as_ref()?.display();
        Some(format!("-j --jobserver-auth=fifo:{path}"))
    }

    /// Takes or brings back tokens until it holds so many, or there are no more. How many it holds.
    pub(crate) fn hold(&mut self, tokens: usize) -> usize {
        while self.held.len() < tokens {
            let mut token = [0];
            match rustix::io::read(&self.pipe, &mut token) {
                Ok(1) => self.held.push(token[0]),
                _ => break,
            }
        }
        if self.held.len() > tokens {
            let back = self.held.split_off(tokens);
            // A pipe that takes none back has no reader any more.
            let _ = self.write(&back);
        }
        self.held.len()
    }

    fn write(&self, tokens: &[u8]) -> io::Result<()> {
        let mut left = tokens;
        while !left.is_empty() {
            left = &left[rustix::io::write(&self.pipe, left)?..];
        }
        Ok(())
    }
}

impl Drop for Jobserver {
    fn drop(&mut self) {
        self.hold(0);
        if let Some(path) = &self.served {
            let _ = std::fs::remove_file(path);
        }
    }
}

/// For both directions, so that opening does not wait for the other end.
fn open(path: &Path) -> io::Result<File> {
    let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = File::from(rustix::fs::openat(CWD, path, flags, Mode::empty())?);
    let kind = FileType::from_raw_mode(rustix::fs::fstat(&file)?.st_mode);
    if kind.is_fifo() {
        Ok(file)
    } else {
        Err(io::Error::other("it is not a pipe"))
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;

    use super::*;

    #[test]
    fn tokens_go_round() {
        let directory = tempfile::tempdir().expect("a directory");
        let mut server = Jobserver::serve(directory.path(), 4).expect("it serves");
        let flags = server.makeflags().expect("they name it");
        let mut client = Jobserver::of(&flags).expect("it is there");
        assert_eq!((client.hold(2), server.hold(9), client.hold(9)), (2, 1, 2));
        assert_eq!((client.hold(0), server.hold(2)), (0, 2));
        assert_eq!(client.makeflags(), None);
        drop(server);
        assert_eq!(client.hold(9), 3);
        assert!(Jobserver::of(&flags).is_none(), "the pipe is gone");
    }

    #[test]
    fn a_pipe_that_was_inherited_is_one_too_and_what_is_none_is_not() {
        let (reader, mut writer) = io::pipe().expect("a pipe");
        io::Write::write_all(&mut writer, b"ab").expect("write");
        let flags = |fd: i32| format!("k -j3 --jobserver-auth={fd},{}", writer.as_raw_fd());
        let mut client = Jobserver::of(&flags(reader.as_raw_fd())).expect("it is there");
        assert_eq!(client.hold(5), 2);
        drop(client);
        let mut again = Jobserver::of(&flags(reader.as_raw_fd())).expect("it is there");
        assert_eq!(again.hold(5), 2);
        let file = tempfile::tempfile().expect("a file");
        for wrong in [
            "",
            "-j4",
            "--jobserver-auth=-2,-2",
            "--jobserver-auth=fifo:/none",
        ] {
            assert!(Jobserver::of(wrong).is_none(), "{wrong}");
        }
        assert!(Jobserver::of(&flags(file.as_raw_fd())).is_none());
    }
}
