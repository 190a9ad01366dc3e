//! A [`Job`]: what to make, under which limits, and the key it is known by.

use std::ffi::OsString;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;

use crate::dispatch::Wish;
use crate::hash::{Digest, Fields, JobKey};
use crate::remains::Usage;
use crate::toolchain::Toolchain;
use crate::triton::{Arch, Triton, TritonSource};
use crate::wire::{Bounds, CompileC, CompileTriton, Echo, JobKind, MAX_PAYLOAD, OrderRef, Task};

static NEXT: AtomicU64 = AtomicU64::new(1);

/// Of payloads above this size few are sent ahead.
const LARGE: usize = 16 << 10;

/// Something for the pool to make.
#[derive(Clone, Debug)]
pub struct Job {
    name: String,
    kind: JobKind,
    fingerprint: Option<Digest>,
    target: String,
    limits: Limits,
    urgency: u32,
    environment: Vec<(OsString, OsString)>,
    /// Its number among all jobs of this process.
    number: u64,
}

/// Limits of one job. What is `None` is taken from the pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Time on the clock, counted from the start of the job.
    pub wall: Option<Duration>,
    /// Processor time of each process of the job. Its own clock, so that a loaded machine does not
    /// turn an honest job into a failed one.
    pub cpu: Duration,
    /// Bytes of address space of each process of the job.
    pub memory: u64,
    /// Bytes of each file the job writes, and of its result.
    pub output: u64,
    /// Processes of the job at once.
    pub processes: u32,
}

/// What a job made.
#[derive(Clone, Debug, PartialEq)]
pub struct Artefact {
    /// The bytes; for a C job an ELF shared object.
    pub bytes: Bytes,
    /// The digest of exactly these bytes, if somebody has asked for it.
    pub(crate) digest: Option<Digest>,
    /// The key of the job.
    pub key: JobKey,
    /// Whether the bytes come from the cache.
    pub from_cache: bool,
    /// Seconds between the job's start on a worker and its answer; 0 from the cache.
    pub seconds: f64,
    /// What the job's program used; nothing from the cache.
    pub usage: Usage,
    /// The instruction set of the processor on which it was proven that this is what the job
    /// [claims](Job::claiming); `None` if it claims nothing.
    pub proven: Option<String>,
}

impl Artefact {
    /// The digest of exactly these bytes. What goes through the cache has it already; of what is never
    /// cached it is computed here.
    pub fn digest(&self) -> Digest {
        self.digest.unwrap_or_else(|| Digest::of(&self.bytes))
    }
}

impl Job {
    /// Compile one C source to a shared object (`-shared -fPIC` are always given).
    ///
    /// Each flag is one argument that begins with `-`. The flags are sorted and repeats dropped, so
    /// that their order is not part of the job's identity; a flag that names a file or a program is
    /// refused when the job is submitted.
    pub fn cc<F>(toolchain: &Toolchain, source: impl Into<String>, flags: F) -> Self
    where
        F: IntoIterator,
        F::Item: Into<String>,
    {
        let mut flags: Vec<String> = flags.into_iter().map(Into::into).collect();
        flags.sort();
        flags.dedup();
        let compiler = OsString::from(toolchain.compiler());
        let kind = JobKind::CompileC(CompileC {
            source: source.into(),
            flags,
            compiler,
            claim: None,
        });
        Self {
            fingerprint: Some(toolchain.fingerprint()),
            target: toolchain.machine().to_owned(),
            ..Self::of(kind)
        }
    }

    /// Compile one Triton kernel for a device; [`crate::TritonArtefact::read`] reads what comes of it.
    ///
    /// No device need be there. A process of Triton has more address space than a C compiler, so the
    /// limit on memory is 8 GiB unless another one is set.
    pub fn triton(triton: &Triton, source: TritonSource, arch: Arch) -> Self {
        Self {
            fingerprint: Some(triton.fingerprint(arch)),
            target: arch.to_string(),
            limits: Limits {
                memory: 8 << 30,
                ..Limits::default()
            },
            ..Self::of(JobKind::CompileTriton(CompileTriton {
                source,
                arch,
                tools: triton.tools(),
            }))
        }
    }

    /// Give `payload` back after `hold`. For tests and measurements; it is never cached.
    pub fn echo(payload: impl Into<Vec<u8>>, hold: Duration) -> Self {
        Self::of(JobKind::Echo(Echo {
            payload: Bytes::from(payload.into()),
            hold_ms: milliseconds(hold),
        }))
    }

    /// Do what the worker's program has registered under `task` ([`crate::Handlers::with_task`]),
    /// with `payload`. It is never cached: what it depends on is not known here.
    ///
    /// It runs in the worker process itself, which is killed at its limits.
    pub fn task(task: impl Into<String>, payload: impl Into<Vec<u8>>) -> Self {
        Self::of(JobKind::Task(Task {
            name: task.into(),
            payload: Bytes::from(payload.into()),
        }))
    }

    fn of(kind: JobKind) -> Self {
        Self {
            name: String::new(),
            kind,
            fingerprint: None,
            target: String::new(),
            limits: Limits::default(),
            urgency: 0,
            environment: Vec::new(),
            number: NEXT.fetch_add(1, Ordering::Relaxed),
        }
    }

    /// With what its result is to be tried for before anybody gets it, in words that the worker program's
    /// [`Prover`](crate::Prover) understands. Only jobs for the C compiler are tried. It is part of the job's
    /// identity: what the cache has under it was proven.
    #[must_use]
    pub fn claiming(mut self, claim: impl Into<String>) -> Self {
        if let JobKind::CompileC(job) = &mut self.kind {
            job.claim = Some(claim.into());
        }
        self
    }

    /// With a name for messages and reports. It is not part of the job's identity.
    #[must_use]
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// With the instruction set the result is for, where the flags do not say it. It is part of the
    /// job's identity.
    #[must_use]
    pub fn for_target(mut self, target: impl Into<String>) -> Self {
        self.target = target.into();
        self
    }

    /// With these variables as its whole environment; without them it has none. Only for tasks: the
    /// environment of a compiler is built by the pool. It is part of the job's identity.
    #[must_use]
    pub fn environment<K, V>(mut self, variables: impl IntoIterator<Item = (K, V)>) -> Self
    where
        K: Into<OsString>,
        V: Into<OsString>,
    {
        let variables = variables.into_iter();
        self.environment = variables
            .map(|(name, value)| (name.into(), value.into()))
            .collect();
        self.environment.sort();
        self
    }

    /// With other limits.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// With a place in the queue: the greater, the sooner; 0 without it. Among equals the first to
    /// be submitted is the first to start. It is not part of the job's identity.
    #[must_use]
    pub fn urgency(mut self, urgency: u32) -> Self {
        self.urgency = urgency;
        self
    }

    /// The name, or the kind and the start of the key.
    pub fn name(&self) -> String {
        match self.given_name() {
            Some(name) => name.to_owned(),
            None => unnamed(self.kind.name(), self.key()),
        }
    }

    /// The name that it was given.
    pub(crate) fn given_name(&self) -> Option<&str> {
        Some(&*self.name).filter(|name| !name.is_empty())
    }

    /// What the job is.
    pub fn kind(&self) -> &JobKind {
        &self.kind
    }

    /// The job's identity: equal keys give equal bytes. What is never cached is like nothing but its
    /// own clones.
    pub fn key(&self) -> JobKey {
        let mut fields = Fields::new("planish job 1");
        fields.add(self.kind.name().as_bytes());
        match &self.kind {
            JobKind::CompileC(job) => {
                fields.add(job.source.as_bytes());
                fields.add(&(job.flags.len() as u64).to_le_bytes());
                job.flags
                    .iter()
                    .for_each(|flag| fields.add(flag.as_bytes()));
                if let Some(claim) = &job.claim {
                    fields.add(claim.as_bytes());
                    // What another version found wrong may have been its own mistake.
                    fields.add(env!("CARGO_PKG_VERSION").as_bytes());
                }
            }
            JobKind::CompileTriton(job) => job.source.add_to(&mut fields),
            JobKind::Echo(_) | JobKind::Task(_) => return JobKey::of_its_own(self.number),
        }
        fields.add(
            self.fingerprint
                .as_ref()
                .map_or(&[], |digest| digest.as_bytes()),
        );
        fields.add(self.target.as_bytes());
        JobKey::from_bytes(fields.finish())
    }

    /// Whether the result is to be tried.
    pub(crate) fn claims(&self) -> bool {
        matches!(&self.kind, JobKind::CompileC(job) if job.claim.is_some())
    }

    /// Whether the result is worth keeping.
    pub(crate) fn cacheable(&self) -> bool {
        !matches!(self.kind, JobKind::Echo(_) | JobKind::Task(_))
    }

    /// The limits, with the pool's wall limit where the job has none.
    pub(crate) fn all_limits(&self, of_the_pool: Duration) -> Limits {
        Limits {
            wall: Some(self.wall(of_the_pool)),
            ..self.limits
        }
    }

    /// The wall limit, or the pool's.
    pub(crate) fn wall(&self, of_the_pool: Duration) -> Duration {
        self.limits.wall.unwrap_or(of_the_pool)
    }

    /// What the pool's machine decides by.
    pub(crate) fn wish(&self, wall: Duration) -> Wish {
        Wish {
            wall: self.wall(wall),
            urgency: self.urgency,
            ahead: self.ahead(),
            deaf: matches!(self.kind, JobKind::Task(_)),
        }
    }

    /// The order that a worker receives.
    pub(crate) fn order(&self, wall_of_the_pool: Duration) -> OrderRef<'_> {
        OrderRef {
            kind: &self.kind,
            bounds: self.bounds(wall_of_the_pool),
            environment: &self.environment,
            region: None,
        }
    }

    /// How many like it may be sent to a worker before it needs them: what takes less time than a frame
    /// travels should be there when its turn comes, but what is large should not lie there in numbers.
    fn ahead(&self) -> usize {
        match &self.kind {
            JobKind::Echo(echo) if echo.hold_ms > 0 => 0,
            JobKind::Echo(echo) if echo.payload.len() > LARGE => 2,
            JobKind::Echo(_) => 64,
            JobKind::CompileC(_) | JobKind::CompileTriton(_) | JobKind::Task(_) => 0,
        }
    }

    fn bounds(&self, of_the_pool: Duration) -> Bounds {
        Bounds {
            wall_ms: milliseconds(self.wall(of_the_pool)),
            // The kernel counts whole seconds, and 0 would mean "at once".
            cpu_s: self.limits.cpu.as_secs().max(1),
            memory: self.limits.memory,
            output: self.limits.output,
            processes: self.limits.processes,
        }
    }

    /// Why the pool should not take the job.
    pub(crate) fn objection(&self) -> Option<String> {
        // The rest of a frame's payload, the order around the source, is far below 64 KiB.
        const ROOM: usize = MAX_PAYLOAD - (64 << 10);
        if self.limits.output > MAX_PAYLOAD as u64 {
            return Some(format!("its output limit is above {MAX_PAYLOAD} bytes"));
        }
        if !self.environment.is_empty() && !matches!(self.kind, JobKind::Task(_)) {
            return Some("its environment is built by the pool".to_owned());
        }
        match &self.kind {
            JobKind::CompileC(job) if job.source.len() > ROOM => {
                Some(too_long(job.source.len(), ROOM))
            }
            JobKind::Echo(job) if job.payload.len() > ROOM => {
                Some(too_long(job.payload.len(), ROOM))
            }
            JobKind::CompileC(job) => job.flags.iter().find(|flag| !accepted(flag)).map(|flag| {
                format!(
                    "the compiler flag `{}` is not one that a job may give",
                    flag.escape_debug()
                )
            }),
            JobKind::CompileTriton(job) if job.source.text().len() > ROOM => {
                Some(too_long(job.source.text().len(), ROOM))
            }
            JobKind::CompileTriton(job) => job.source.objection(job.arch),
            JobKind::Task(job) if job.payload.len() > ROOM => {
                Some(too_long(job.payload.len(), ROOM))
            }
            JobKind::Echo(_) | JobKind::Task(_) => None,
        }
    }
}

impl Default for Limits {
    /// The pool's wall limit, 60 s of processor time, 2 GiB, 32 MiB, 64 processes.
    fn default() -> Self {
        Self {
            wall: None,
            cpu: Duration::from_secs(60),
            memory: 2 << 30,
            output: 32 << 20,
            processes: 64,
        }
    }
}

/// What a job is called that was given no name: the start of its hash, or its number.
pub(crate) fn unnamed(kind: &str, key: JobKey) -> String {
    let key = key.to_string();
    match key.strip_prefix(&"0".repeat(48)) {
        Some(number) => format!("{kind}-{}", number.trim_start_matches('0')),
        None => format!("{kind}-{}", &key[..12]),
    }
}

/// Flags that select code generation, warnings, definitions and plain linker options. Everything
/// else can name a file, a program or a response file, and a job's files are the worker's.
fn accepted(flag: &str) -> bool {
    const EXACT: [&str; 6] = [
        "-nostartfiles",
        "-nostdlib",
        "-nodefaultlibs",
        "-shared",
        "-pipe",
        "-static-libgcc",
    ];
    const STARTS: [&str; 10] = [
        "-O", "-f", "-m", "-D", "-U", "-W", "-std=", "-g", "-l", "-w",
    ];
    const NEVER: [&str; 9] = [
        "-fplugin",
        "-fdump",
        "-fprofile",
        "-fcompare-debug",
        "-fauto-profile",
        "-Wa,",
        "-Wp,",
        "-wrapper",
        "-fuse-ld",
    ];
    const LINKER: [&str; 4] = ["-Wl,-z,", "-Wl,--build-id", "-Wl,--hash-style", "-Wl,-O"];
    if flag.contains('\0') || NEVER.iter().any(|start| flag.starts_with(start)) {
        return false;
    }
    if flag.starts_with("-Wl,") {
        return LINKER.iter().any(|start| flag.starts_with(start)) && !flag.contains('@');
    }
    EXACT.contains(&flag) || STARTS.iter().any(|start| flag.starts_with(start))
}

fn too_long(got: usize, most: usize) -> String {
    format!("it has {got} bytes, and at most {most} fit into a frame")
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(source: &str, flags: &[&str], fingerprint: &[u8], target: &str) -> Job {
        let toolchain = Toolchain::for_tests("/usr/bin/cc", Digest::of(fingerprint));
        Job::cc(&toolchain, source, flags.iter().copied()).for_target(target)
    }

    #[test]
    fn the_key_depends_on_everything_that_decides_the_bytes() {
        let base = job("int x;", &["-O2", "-mavx2"], b"gcc", "avx2");
        assert_eq!(
            base.key(),
            job("int x;", &["-mavx2", "-O2", "-O2"], b"gcc", "avx2").key()
        );
        assert_eq!(base.key(), base.clone().named("other").key());
        for other in [
            job("int y;", &["-O2", "-mavx2"], b"gcc", "avx2"),
            job("int x;", &["-O3", "-mavx2"], b"gcc", "avx2"),
            job("int x;", &["-O2", "-mavx2"], b"clang", "avx2"),
            job("int x;", &["-O2", "-mavx2"], b"gcc", "avx512"),
        ] {
            assert_ne!(base.key(), other.key());
        }
        let echo = Job::echo("", Duration::ZERO);
        assert_eq!(echo.key(), echo.clone().key());
        assert_ne!(echo.key(), Job::echo("", Duration::ZERO).key());
    }

    #[test]
    fn a_task_has_its_environment_and_a_compiler_has_none_but_the_pools() {
        let task =
            |variables: &[(&str, &str)]| Job::task("t", "x").environment(variables.iter().copied());
        let both = task(&[("A", "1"), ("B", "2")]);
        let other_way = task(&[("B", "2"), ("A", "1")]);
        assert_eq!(both.environment, other_way.environment);
        assert_eq!(both.objection(), None);
        let compile = job("", &[], b"", "").environment([("CPATH", "/etc")]);
        assert!(
            compile
                .objection()
                .is_some_and(|text| text.contains("built by the pool"))
        );
    }

    #[test]
    fn flags_that_reach_for_files_or_programs_are_refused() {
        for flag in [
            "-o",
            "-I/etc",
            "-include",
            "@file",
            "kernel.c",
            "-fplugin=x.so",
            "-B/tmp",
            "-specs=x",
            "-Wl,-T,x",
            "-wrapper",
        ] {
            let objection = job("", &[flag], b"", "").objection().expect(flag);
            assert!(objection.contains(flag), "{objection}");
        }
        let good = [
            "-O2",
            "-march=native",
            "-fPIC",
            "-std=c11",
            "-Wall",
            "-DN=3",
            "-lm",
            "-nostartfiles",
            "-Wl,--build-id=none",
        ];
        assert_eq!(job("", &good, b"", "").objection(), None);
    }

    #[test]
    fn a_job_too_long_for_a_frame_is_refused() {
        let objection = Job::echo(vec![0; MAX_PAYLOAD], Duration::ZERO).objection();
        assert!(objection.is_some_and(|text| text.contains("fit into a frame")));
    }
}
