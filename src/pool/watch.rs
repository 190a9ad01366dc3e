//! Who hears the workers: a thread that waits for a ticket, or else the supervisor's.
//!
//! An answer that the supervisor hears has to wake two threads, its own and the one that waits. So who
//! begins to wait for a ticket hears the workers itself for a while, if nobody else does. The laws:
//!
//! - There is one [`Listener`] at most, and while there is one the supervisor is not woken by what
//!   workers say. It hears of their ends, and of the bell, at all times.
//! - What a listener leaves unheard, the supervisor hears: sockets are told of for as long as there is
//!   something in them, so that nothing is lost between the two.
//! - Both may hear the same: who comes second finds nothing to read.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::{Mutex, MutexGuard, TryLockError};
use std::time::Instant;

use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::io::Errno;

use crate::os;
use crate::worker_proc::WorkerProc;

/// The descriptors that tell of workers.
#[derive(Debug)]
pub(crate) struct Watch {
    /// The workers' sockets.
    words: OwnedFd,
    /// What the supervisor waits on: the bell, the ends of workers, and `words` while nobody listens.
    all: OwnedFd,
    /// Held by who listens.
    listening: Mutex<()>,
}

/// The one who hears the workers in the supervisor's place, until this is dropped.
#[derive(Debug)]
pub(crate) struct Listener<'a> {
    watch: &'a Watch,
    _alone: MutexGuard<'a, ()>,
}

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
/// Stands for the sockets there.
const WORDS: u64 = u64::MAX - 1;
/// Events that are asked for at a time. What is left is told of the next time.
const MOST: usize = 64;

impl Watch {
    pub(crate) fn new(bell: BorrowedFd<'_>) -> io::Result<Self> {
        let words = epoll::create(CreateFlags::CLOEXEC)?;
        let all = epoll::create(CreateFlags::CLOEXEC)?;
        epoll::add(&all, bell, EventData::new_u64(BELL), EventFlags::IN)?;
        epoll::add(&all, &words, EventData::new_u64(WORDS), EventFlags::IN)?;
        let listening = Mutex::default();
        Ok(Self {
            words,
            all,
            listening,
        })
    }

    /// Listens to a worker, and for its end.
    pub(crate) fn add(&self, slot: usize, generation: u64, proc: &WorkerProc) -> io::Result<()> {
        let number = |ended| {
            number_of(Seen {
                slot,
                generation,
                ended,
            })
        };
        epoll::add(&self.words, proc.socket(), number(false), EventFlags::IN)?;
        if let Some(ended) = proc.ended() {
            epoll::add(&self.all, ended, number(true), EventFlags::IN)?;
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
            let _ = epoll::delete(&self.all, ended);
        }
    }

    /// Its socket has nothing more to say; its end is still waited for.
    pub(crate) fn stop_listening(&self, proc: &WorkerProc) {
        // It is in the set: it was added when the worker was started, and this happens once.
        let _ = epoll::delete(&self.words, proc.socket());
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
            epoll::modify(&self.words, proc.socket(), number, flags).is_ok() == wanted;
    }

    /// Hears the workers from now on, if nobody else does.
    pub(crate) fn listen(&self) -> Option<Listener<'_>> {
        let alone = match self.listening.try_lock() {
            Ok(alone) => alone,
            // It guards nothing that a panic could have left half done.
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return None,
        };
        self.tell_the_supervisor(EventFlags::empty()).ok()?;
        Some(Listener {
            watch: self,
            _alone: alone,
        })
    }

    /// Waits until there is something for the supervisor, and says whether the bell was rung.
    pub(crate) fn wait(&self, deadline: Option<Instant>, seen: &mut Vec<Seen>) -> io::Result<bool> {
        let timeout = deadline.map(os::left_until);
        seen.clear();
        let (mut rung, mut spoken) = (false, false);
        each(&self.all, timeout.as_ref(), |number| match number {
            BELL => rung = true,
            WORDS => spoken = true,
            _ => add_to(seen, seen_in(number)),
        })?;
        if spoken {
            self.heard(seen)?;
        }
        Ok(rung)
    }

    /// The workers that have said something, without waiting.
    fn heard(&self, seen: &mut Vec<Seen>) -> io::Result<()> {
        const NOW: Timespec = Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        each(&self.words, Some(&NOW), |number| {
            add_to(seen, seen_in(number));
        })
    }

    fn tell_the_supervisor(&self, of: EventFlags) -> io::Result<()> {
        let number = EventData::new_u64(WORDS);
        Ok(epoll::modify(&self.all, &self.words, number, of)?)
    }
}

impl Listener<'_> {
    /// The workers that have said something, without waiting.
    pub(crate) fn hear(&self, seen: &mut Vec<Seen>) -> io::Result<()> {
        seen.clear();
        self.watch.heard(seen)
    }
}

impl Drop for Listener<'_> {
    fn drop(&mut self) {
        // What is in a set already takes no memory to be changed, which is all that could fail.
        let _ = self.watch.tell_the_supervisor(EventFlags::IN);
    }
}

/// Gives the numbers of what has happened in a set to `take`.
fn each(set: &OwnedFd, timeout: Option<&Timespec>, mut take: impl FnMut(u64)) -> io::Result<()> {
    let mut room = [const { MaybeUninit::<Event>::uninit() }; MOST];
    match epoll::wait(set, &mut room, timeout) {
        Ok((events, _)) => events.iter().for_each(|event| take(event.data.u64())),
        Err(Errno::INTR) => {}
        Err(error) => return Err(error.into()),
    }
    Ok(())
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

/// A worker is attended to once, whatever has happened to it.
fn add_to(seen: &mut Vec<Seen>, next: Seen) {
    let same = |seen: &&mut Seen| (seen.slot, seen.generation) == (next.slot, next.generation);
    match seen.iter_mut().find(same) {
        Some(known) => known.ended |= next.ended,
        None => seen.push(next),
    }
}
