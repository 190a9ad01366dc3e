//! A process that was started once and is copied for each worker.
//!
//! It is the worker program under the verb `fork-server`: it has one thread, does nothing but wait for
//! requests, and copies itself for each. A request carries the descriptors that the new worker gets:
//! its socket, the file for what it prints, and its arena if it has one. The answer is the copy's number. The copy is a child of
//! the pool's process, as a worker that is started afresh is, so that everything else is the same.
//!
//! What it saves is what a program does before `main`: executing, mapping libraries, relocating. Copies
//! share with it, and with each other, what they do not change.

use std::io::{self, IoSlice, IoSliceMut, Read};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::{ExitCode, Stdio};
use std::time::{Duration, Instant};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags,
};
use rustix::process::Pid;

use crate::os::{self, Forked, Process};
use crate::worker::{self, Handlers};
use crate::worker_proc::WorkerCommand;

/// The verb of the worker program.
pub(crate) const FORK_SERVER: &str = "fork-server";
/// How long a copy may take. Who is not told by then starts its worker afresh.
const PATIENCE: Duration = Duration::from_secs(5);
/// A worker's socket, the file that it prints into, and its arena.
const DESCRIPTORS: usize = 3;

/// A running fork server.
#[derive(Debug)]
pub(crate) struct ForkServer {
    socket: UnixStream,
    process: Process,
}

impl ForkServer {
    pub(crate) fn start(command: &WorkerCommand) -> io::Result<Self> {
        use std::os::unix::process::CommandExt;
        let (socket, other) = UnixStream::pair()?;
        socket.set_read_timeout(Some(PATIENCE))?;
        let child = command
            .verb_command(FORK_SERVER)
            .current_dir("/")
            .stdin(OwnedFd::from(other))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()?;
        let process = Process::of(&child)?;
        Ok(Self { socket, process })
    }

    /// Starts a worker with this socket as its own, which prints into this file and finds large payloads in this arena.
    pub(crate) fn fork(
        &mut self,
        socket: &OwnedFd,
        stderr: impl AsFd,
        arena: Option<&OwnedFd>,
    ) -> io::Result<Process> {
        let mut descriptors = vec![socket.as_fd(), stderr.as_fd()];
        descriptors.extend(arena.map(AsFd::as_fd));
        let mut room = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS))];
        let mut control = SendAncillaryBuffer::new(&mut room);
        control.push(SendAncillaryMessage::ScmRights(&descriptors));
        let request = [IoSlice::new(b"f")];
        rustix::net::sendmsg(&self.socket, &request, &mut control, SendFlags::NOSIGNAL)?;
        let mut number = [0; 4];
        self.socket.read_exact(&mut number)?;
        let number = Pid::from_raw(i32::from_le_bytes(number));
        let number =
            number.ok_or_else(|| io::Error::other("the fork server cannot copy itself"))?;
        Process::numbered(number)
    }
}

impl Drop for ForkServer {
    fn drop(&mut self) {
        self.process.kill();
        let soon = Instant::now() + Duration::from_secs(1);
        let _ = os::wait_for(&[(self.process.as_fd(), false)], Some(soon));
        self.process.reap();
    }
}

/// The `main` of the fork server: it ends with its socket.
pub(crate) fn serve(handlers: &Handlers) -> ExitCode {
    let Ok(requests) = worker::take_standard_input() else {
        return ExitCode::FAILURE;
    };
    while let Some((socket, stderr, arena)) = next_request(&requests) {
        let answer = match os::fork_sibling() {
            Ok(Forked::Copy) => {
                // The server alone may hold its end: the pool waits for no copy.
                drop(requests);
                return worker::serve_copy(handlers, UnixStream::from(socket), &stderr, arena);
            }
            Ok(Forked::Original(number)) => number.as_raw_nonzero().get(),
            Err(_) => 0,
        };
        if rustix::net::send(&requests, &answer.to_le_bytes(), SendFlags::NOSIGNAL).is_err() {
            break;
        }
    }
    ExitCode::SUCCESS
}

/// The descriptors of the next request; none at the end, and after a request that is not one.
fn next_request(requests: &UnixStream) -> Option<(OwnedFd, OwnedFd, Option<OwnedFd>)> {
    let mut byte = [0];
    let mut room = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS))];
    let mut control = RecvAncillaryBuffer::new(&mut room);
    loop {
        let mut request = [IoSliceMut::new(&mut byte)];
        match rustix::net::recvmsg(
            requests,
            &mut request,
            &mut control,
            RecvFlags::CMSG_CLOEXEC,
        ) {
            Err(rustix::io::Errno::INTR) => {}
            Ok(received) if received.bytes == 1 => break,
            Ok(_) | Err(_) => return None,
        }
    }
    let messages = control.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
        _ => None,
    });
    let mut descriptors = messages.flatten();
    Some((descriptors.next()?, descriptors.next()?, descriptors.next()))
}
