//! Frames between the pool and a worker: layout, version, checksum, and the only serde types.
//!
//! ```text
//! offset size field
//!      0    4 magic, "PLNW"
//!      4    2 version, little endian like every number here
//!      6    2 kind
//!      8    8 job id
//!     16    4 length of the payload
//!     20    4 checksum: CRC-32 (IEEE) of bytes 0..20 and of the first 64 KiB of the payload
//!     24    n payload
//! ```
//!
//! A frame that is truncated, oversized, of another version or random is a [`WireError`]; it is
//! never a panic, and never more memory written to than bytes that really arrived.
//!
//! A job's own payload follows its order in the same frame, as it is: it is sent from where the caller
//! has put it, and used where it arrived. One that is large lies in the worker's arena instead, and the order says where: there it is
//! the worker's until a frame of kind 7 returns it.

use std::ffi::OsString;
use std::fmt;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::error::Process;
use crate::remains::{Remains, Resource};
use crate::sandbox::Sandbox;

mod decoder;
mod encoder;
mod note;
mod region;
mod triton;

pub use decoder::Decoder;
use encoder::{append, encode, unencodable};
pub use note::{Level, Note};
pub use region::Region;
pub use triton::{CompileTriton, TritonTools};

/// The version of the protocol. Both sides must have the same one.
pub const VERSION: u16 = 6;
/// The bytes a frame starts with.
pub const MAGIC: [u8; 4] = *b"PLNW";
/// Bytes before the payload.
pub const HEADER: usize = 24;
/// The longest payload that is accepted.
pub const MAX_PAYLOAD: usize = 64 << 20;

/// Bytes of the header that the checksum covers.
const CHECKED: usize = 20;
/// Bytes of the payload that it covers. A socket loses and changes nothing: what is to be noticed is a stream that has lost its place,
/// and that shows at the start.
const SAMPLED: usize = 64 << 10;

/// What a frame means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum FrameKind {
    /// First frame in both directions; the payload is a [`Hello`] or a [`Welcome`].
    Hello = 1,
    /// Pool to worker: do the [`Order`] in the payload.
    Job = 2,
    /// Pool to worker: stop that job; the answer is still sent.
    Cancel = 3,
    /// Worker to pool: the payload is what the job made.
    Done = 4,
    /// Worker to pool: the payload is a [`Failure`].
    Failed = 5,
    /// Worker to pool: the payload is a [`Note`] of the job that runs.
    Note = 6,
    /// Worker to pool: the payload of that job, which lies in the arena, is not read any more. It has no payload itself.
    Returned = 7,
    /// Worker to pool: what the job made lies where its payload lay, at the [`Region`] in the payload.
    Placed = 8,
}

/// One message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// What it means.
    pub kind: FrameKind,
    /// The job it belongs to; 0 for [`FrameKind::Hello`].
    pub job: u64,
    /// Its content.
    pub payload: Bytes,
}

/// Why bytes are not a frame, or a frame not the expected one.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WireError {
    /// The stream does not start with [`MAGIC`].
    Magic {
        /// The bytes, as text with escapes.
        got: String,
    },
    /// The other side speaks another version.
    Version {
        /// The version it speaks.
        got: u16,
    },
    /// A frame kind that this version does not have.
    Kind(u16),
    /// A payload above [`MAX_PAYLOAD`].
    Length {
        /// The announced length.
        got: usize,
    },
    /// The bytes changed on the way.
    Checksum,
    /// The stream ended inside a frame.
    Truncated {
        /// Bytes of the unfinished frame.
        got: usize,
    },
    /// The stream ended.
    Closed,
    /// Nothing came for so long that nothing is expected any more.
    Silence {
        /// What should have come.
        expected: &'static str,
    },
    /// A payload that is not what its kind promises.
    Payload {
        /// The type that should be there.
        expected: &'static str,
        /// What the decoder says.
        detail: String,
    },
    /// A frame at the wrong time or for the wrong job.
    Unexpected {
        /// What should have come.
        expected: &'static str,
        /// What came.
        got: FrameKind,
        /// The job it names.
        job: u64,
    },
    /// A payload that cannot lie where its order says.
    Region {
        /// The job.
        job: u64,
        /// Where it should lie.
        region: Region,
        /// Why it cannot.
        reason: String,
    },
    /// The job that every worker begins with has failed.
    FirstJob {
        /// Why.
        reason: String,
    },
}

/// The pool's first frame.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// The program to start for the verbs around a compiler; see [`crate::WorkerCommand`].
    pub program: OsString,
    /// Arguments that stand before such a verb.
    pub arguments: Vec<OsString>,
    /// The private directory that this worker may make and write to.
    pub scratch: OsString,
    /// The directory of the pool's cache, for jobs that use it too.
    pub cache: Option<OsString>,
    /// Whether anybody wants to hear of phases.
    pub phases: bool,
    /// How compilers are confined.
    pub sandbox: Sandbox,
}

/// The worker's first frame.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Welcome {
    /// Version of the program the worker belongs to.
    pub program_version: String,
    /// The worker's process id.
    pub process: u32,
}

/// What a worker is asked to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// The work.
    pub kind: JobKind,
    /// Its limits.
    pub bounds: Bounds,
    /// The whole environment of the job: a worker hands on nothing of its own.
    pub environment: Vec<(OsString, OsString)>,
    /// Where the payload of the job lies, if it does not follow.
    pub region: Option<Region>,
}

/// An [`Order`] to be sent.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct OrderRef<'a> {
    /// The work.
    pub kind: &'a JobKind,
    /// Its limits.
    pub bounds: Bounds,
    /// The whole environment of the job.
    pub environment: &'a [(OsString, OsString)],
    /// Where the payload of the job lies, if it does not follow.
    pub region: Option<Region>,
}

/// The kinds of work. The set is closed: no code travels, only these.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum JobKind {
    /// Compile C source to a shared object.
    CompileC(CompileC),
    /// Give the bytes back after a while. It exists for tests and measurements.
    Echo(Echo),
    /// Do what only the worker's own program understands.
    Task(Task),
    /// Compile a Triton source to a cubin with its launch record.
    CompileTriton(CompileTriton),
}

/// A C source and how to compile it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CompileC {
    /// The text of the one translation unit.
    pub source: String,
    /// Flags, sorted and without repeats; each is one argument that begins with `-`.
    pub flags: Vec<String>,
    /// Absolute path of the compiler.
    pub compiler: OsString,
    /// What the result is to be tried for, in words that the worker's program understands.
    pub claim: Option<String>,
}

/// Bytes to give back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Echo {
    /// The bytes. They travel behind the order.
    #[serde(skip)]
    pub payload: Bytes,
    /// Milliseconds to wait first.
    pub hold_ms: u64,
}

/// Work of a kind that this crate does not know: a program registers what does it by its name
/// ([`crate::Handlers::with_task`]).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Task {
    /// What does it.
    pub name: String,
    /// What it is to be done with. It travels behind the order.
    #[serde(skip)]
    pub payload: Bytes,
}

/// Limits of one job as they travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bounds {
    /// Wall-clock milliseconds from the start of the job.
    pub wall_ms: u64,
    /// Processor seconds of each process of the job.
    pub cpu_s: u64,
    /// Bytes of address space of each process of the job.
    pub memory: u64,
    /// Bytes of each file the job writes, and of its result.
    pub output: u64,
    /// Processes of the job at once.
    pub processes: u32,
}

/// Why a worker could not do a job. The worker itself is well.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Failure {
    /// The compiler refused the source.
    Compile {
        /// Its exit code.
        code: i32,
        /// What is known of it.
        remains: Remains,
    },
    /// The compiler, or a program it started, or what it made, was killed by a signal.
    Crashed {
        /// Which of them.
        process: Process,
        /// The signal, where it is known.
        signal: Option<i32>,
        /// The exit code, if it exited.
        code: Option<i32>,
        /// What is known of it.
        remains: Remains,
    },
    /// A limit was reached.
    Over {
        /// Of what.
        resource: Resource,
        /// What is known of the compiler.
        remains: Remains,
    },
    /// What the compiler made is not what it should be.
    Wrong {
        /// What is wrong with it.
        reason: String,
        /// What is known of the compiler.
        remains: Remains,
    },
    /// The pool asked to stop.
    Cancelled,
    /// The compiler ended well and left something that is not its result.
    Output {
        /// What should be there.
        expected: String,
        /// What is there.
        got: String,
    },
    /// The compiler is not there, or cannot be executed.
    Toolchain {
        /// Why.
        reason: String,
    },
    /// A process could not be started.
    Spawn {
        /// Why.
        reason: String,
    },
    /// The scratch directory could not be used.
    Scratch {
        /// Why.
        reason: String,
    },
    /// What does the task says why it cannot.
    Task {
        /// Why.
        reason: String,
    },
    /// This worker has no handler for the job's kind.
    Unsupported {
        /// The kind.
        kind: String,
    },
}

impl Frame {
    /// A frame around `payload`.
    pub fn new(kind: FrameKind, job: u64, payload: impl Into<Bytes>) -> Self {
        let payload = payload.into();
        Self { kind, job, payload }
    }

    /// A frame around the encoding of `message`.
    pub fn with<T: Serialize>(kind: FrameKind, job: u64, message: &T) -> Result<Self, WireError> {
        let payload = postcard::to_stdvec(message).map_err(|error| unencodable(&error))?;
        Ok(Self::new(kind, job, payload))
    }

    /// A frame around an order.
    pub fn ordering(job: u64, order: &Order) -> Result<Self, WireError> {
        let mut payload = postcard::to_stdvec(order).map_err(|error| unencodable(&error))?;
        if order.region.is_none() {
            payload.extend_from_slice(order.kind.payload());
        }
        Ok(Self::new(FrameKind::Job, job, payload))
    }

    /// Appends the frame's bytes to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), WireError> {
        self.encode_before_payload(out)?;
        out.extend_from_slice(&self.payload);
        Ok(())
    }

    /// Appends the frame's bytes but those of its payload, which follow.
    pub(crate) fn encode_before_payload(&self, out: &mut Vec<u8>) -> Result<(), WireError> {
        encode(out, self.kind, self.job, &self.payload, |_| Ok(()))
    }

    /// Appends a frame around an order but what [follows](OrderRef::behind) it.
    pub(crate) fn encode_order(
        out: &mut Vec<u8>,
        job: u64,
        order: OrderRef<'_>,
    ) -> Result<(), WireError> {
        encode(out, FrameKind::Job, job, order.behind(), |out| {
            append(order, out)
        })
    }

    /// Appends a frame around the encoding of `message` to `out`.
    pub(crate) fn encode_message<T: Serialize>(
        out: &mut Vec<u8>,
        kind: FrameKind,
        job: u64,
        message: &T,
    ) -> Result<(), WireError> {
        encode(out, kind, job, &[], |out| append(message, out))
    }

    /// The order in the payload, and behind it the payload of its job, which is not copied. If that lies elsewhere, there is none yet.
    pub fn order(&self) -> Result<Order, WireError> {
        let expected = "an order";
        let (mut order, rest): (Order, _) =
            postcard::take_from_bytes(&self.payload).map_err(|error| WireError::Payload {
                expected,
                detail: error.to_string(),
            })?;
        let rest = self.payload.slice_ref(rest);
        match order.kind.payload_mut() {
            Some(payload) if order.region.is_none() => *payload = rest,
            _ => nothing_behind(expected, &rest)?,
        }
        Ok(order)
    }

    /// The message in the payload; `expected` names it in the error.
    pub fn message<'a, T: Deserialize<'a>>(
        &'a self,
        expected: &'static str,
    ) -> Result<T, WireError> {
        let (message, rest) =
            postcard::take_from_bytes(&self.payload).map_err(|error| WireError::Payload {
                expected,
                detail: error.to_string(),
            })?;
        nothing_behind(expected, rest)?;
        Ok(message)
    }
}

impl<'a> OrderRef<'a> {
    /// The payload of the job, if it follows the order.
    pub(crate) fn behind(&self) -> &'a Bytes {
        static NOTHING: Bytes = Bytes::new();
        match self.region {
            None => self.kind.payload(),
            Some(_) => &NOTHING,
        }
    }
}

impl Bounds {
    /// No limits.
    pub(crate) fn none() -> Self {
        Self {
            wall_ms: u64::MAX,
            cpu_s: u64::MAX,
            memory: u64::MAX,
            output: u64::MAX,
            processes: u32::MAX,
        }
    }
}

impl Failure {
    /// Whether every other worker would fail as this one did.
    pub(crate) fn is_the_sources_fault(&self) -> bool {
        matches!(self, Self::Compile { .. })
    }
}

impl WireError {
    /// What should have come.
    pub fn expected(&self) -> String {
        match self {
            Self::Magic { .. } | Self::Closed => "a frame".to_owned(),
            Self::Version { .. } => format!("protocol version {VERSION}"),
            Self::Kind(_) => "a known kind of frame".to_owned(),
            Self::Length { .. } => format!("a payload of at most {MAX_PAYLOAD} bytes"),
            Self::Checksum => "a frame whose checksum holds".to_owned(),
            Self::Truncated { .. } => "a whole frame".to_owned(),
            Self::Silence { expected } | Self::Unexpected { expected, .. } => {
                (*expected).to_owned()
            }
            Self::Payload { expected, .. } => format!("{expected} in the payload"),
            Self::Region { .. } => "a payload in the arena, where nothing else is".to_owned(),
            Self::FirstJob { .. } => "a worker that does its first job".to_owned(),
        }
    }

    /// What came.
    pub fn got(&self) -> String {
        match self {
            Self::Magic { got } => format!("bytes that start with `{got}`"),
            Self::Version { got } => format!("version {got}"),
            Self::Kind(kind) => format!("kind {kind}"),
            Self::Length { got } => format!("one of {got} bytes"),
            Self::Checksum => "one whose checksum does not".to_owned(),
            Self::Truncated { got } => format!("{got} bytes of one and then the end"),
            Self::Closed => "the end of the stream".to_owned(),
            Self::Silence { .. } => "nothing".to_owned(),
            Self::Payload { detail, .. } => format!("something else ({detail})"),
            Self::Unexpected { got, job, .. } => format!("a {got:?} frame for job {job}"),
            Self::Region {
                job,
                region: Region { offset, length },
                reason,
            } => format!("{length} bytes at {offset} for job {job}: {reason}"),
            Self::FirstJob { reason } => format!("one that failed to {reason}"),
        }
    }
}

impl std::error::Error for WireError {}

impl fmt::Display for WireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "expected {}, got {}", self.expected(), self.got())
    }
}

impl FrameKind {
    fn from_number(number: u16) -> Option<Self> {
        [
            Self::Hello,
            Self::Job,
            Self::Cancel,
            Self::Done,
            Self::Failed,
            Self::Note,
            Self::Returned,
            Self::Placed,
        ]
        .into_iter()
        .find(|kind| *kind as u16 == number)
    }
}

impl JobKind {
    /// The kind's name, for messages.
    pub fn name(&self) -> &'static str {
        match self {
            Self::CompileC(_) => "compile-c",
            Self::Echo(_) => "echo",
            Self::Task(_) => "task",
            Self::CompileTriton(_) => "compile-triton",
        }
    }

    /// What the job is to be done with, where it is not part of the order itself.
    pub(crate) fn payload_mut(&mut self) -> Option<&mut Bytes> {
        match self {
            Self::Echo(Echo { payload, .. }) | Self::Task(Task { payload, .. }) => Some(payload),
            Self::CompileC(_) | Self::CompileTriton(_) => None,
        }
    }

    /// The same, to be read.
    pub(crate) fn payload(&self) -> &Bytes {
        static NOTHING: Bytes = Bytes::new();
        match self {
            Self::Echo(Echo { payload, .. }) | Self::Task(Task { payload, .. }) => payload,
            Self::CompileC(_) | Self::CompileTriton(_) => &NOTHING,
        }
    }
}

fn nothing_behind(expected: &'static str, rest: &[u8]) -> Result<(), WireError> {
    if rest.is_empty() {
        return Ok(());
    }
    let detail = format!("{} bytes too many", rest.len());
    Err(WireError::Payload { expected, detail })
}

#[cfg(test)]
mod tests;
