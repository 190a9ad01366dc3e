//! The thread that starts the workers, waits for them, and reaps them.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Instant;

use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::io::Errno;

use crate::mailbox::Mailbox;
use crate::worker_proc::WorkerProc;

/// The supervisor's thread. It is the parent of the workers, and so must outlive them.
pub(crate) struct Supervisor {
    mailbox: Arc<Mailbox>,
    watch: Watch,
}

/// The set of descriptors that the supervisor waits on.
pub(crate) struct Watch(OwnedFd);

/// A worker that has said something, or has ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen {
    pub slot: usize,
    pub generation: u64,
    /// Its process has ended; what it sent before can still be read.
    pub ended: bool,
}

/// Stands for the bell among the numbers of [`Watch`].
const BELL: u64 = u64::MAX;

impl Supervisor {
    pub(crate) fn new(mailbox: Arc<Mailbox>) -> io::Result<Self> {
        let watch = Watch(epoll::create(CreateFlags::CLOEXEC)?);
        let data = EventData::new_u64(BELL);
        epoll::add(&watch.0, mailbox.bell(), data, EventFlags::IN)?;
        Ok(Self { mailbox, watch })
    }

    /// Works until the pool is closed.
    pub(crate) fn run(self) {
        // Whatever ends this thread, no ticket is left without an answer.
        let _last = GiveUp(&self.mailbox);
        let mut seen = Vec::new();
        loop {
            let deadline = {
                let mut core = self.mailbox.core();
                if core.supervise(&self.watch, &seen) {
                    return;
                }
                core.arm(Instant::now())
            };
            match self.wait(deadline) {
                Ok(now) => seen = now,
                // Nothing can be supervised without waiting.
                Err(_) => return,
            }
        }
    }

    fn wait(&self, deadline: Option<Instant>) -> io::Result<Vec<Seen>> {
        let mut events: Vec<Event> = Vec::with_capacity(64);
        let timeout = deadline.map(|deadline| {
            let left = deadline.saturating_duration_since(Instant::now());
            // A deadline beyond what the kernel can express is no deadline that anybody will see.
            Timespec::try_from(left).unwrap_or(Timespec {
                tv_sec: i64::from(i32::MAX),
                tv_nsec: 0,
            })
        });
        let room = rustix::buffer::spare_capacity(&mut events);
        match epoll::wait(&self.watch.0, room, timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let mut seen: Vec<Seen> = Vec::with_capacity(events.len());
        for event in &events {
            let number = event.data.u64();
            if number == BELL {
                self.mailbox.silence_bell();
                continue;
            }
            let next = seen_in(number);
            match seen.iter_mut().find(|seen| seen.is_the_same_as(next)) {
                Some(seen) => seen.ended |= next.ended,
                None => seen.push(next),
            }
        }
        Ok(seen)
    }
}

impl Watch {
    /// Listens to a worker, and for its end.
    pub(crate) fn add(&self, slot: usize, generation: u64, proc: &WorkerProc) -> io::Result<()> {
        let number = |ended| {
            number_of(Seen {
                slot,
                generation,
                ended,
            })
        };
        epoll::add(&self.0, proc.socket(), number(false), EventFlags::IN)?;
        if let Some(ended) = proc.ended() {
            epoll::add(&self.0, ended, number(true), EventFlags::IN)?;
        }
        Ok(())
    }

    /// Forgets a worker. Closing its descriptors is not enough: a child that another thread has just
    /// forked holds copies of them until it executes its own program, and as long as it does, the
    /// kernel goes on telling of them.
    pub(crate) fn remove(&self, proc: &WorkerProc) {
        if !proc.silent {
            self.stop_listening(proc);
        }
        if let Some(ended) = proc.ended() {
            let _ = epoll::delete(&self.0, ended);
        }
    }

    /// Its socket has nothing more to say; its end is still waited for.
    pub(crate) fn stop_listening(&self, proc: &WorkerProc) {
        // It is in the set: it was added when the worker was started, and this happens once.
        let _ = epoll::delete(&self.0, proc.socket());
    }

    /// Waits for room in a worker's socket as long as there is something left to send.
    pub(crate) fn room_to_write(&self, slot: usize, generation: u64, proc: &mut WorkerProc) {
        let wanted = proc.wants_to_write();
        if proc.silent || wanted == proc.waits_for_room {
            return;
        }
        let flags = if wanted {
            EventFlags::IN | EventFlags::OUT
        } else {
            EventFlags::IN
        };
        let number = number_of(Seen {
            slot,
            generation,
            ended: false,
        });
        proc.waits_for_room =
            epoll::modify(&self.0, proc.socket(), number, flags).is_ok() == wanted;
    }
}

impl Seen {
    fn is_the_same_as(self, other: Self) -> bool {
        (self.slot, self.generation) == (other.slot, other.generation)
    }
}

/// The number by which the kernel knows a worker's descriptor: its end, its slot, its generation.
fn number_of(seen: Seen) -> EventData {
    EventData::new_u64(seen.generation << 32 | (seen.slot as u64) << 1 | u64::from(seen.ended))
}

fn seen_in(number: u64) -> Seen {
    Seen {
        slot: (number as u32 >> 1) as usize,
        generation: number >> 32,
        ended: number & 1 == 1,
    }
}

struct GiveUp<'a>(&'a Mailbox);

impl Drop for GiveUp<'_> {
    fn drop(&mut self) {
        self.0.core().give_up();
    }
}
