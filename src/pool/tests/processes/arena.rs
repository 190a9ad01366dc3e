//! Large payloads, which lie in memory that the pool and a worker share.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::time::Duration;

use libtest_mimic::Trial;
use planish_pool::wire::{Bounds, Echo, Frame, FrameKind, JobKind, Order, Region};
use planish_pool::{Digest, Job, Pool, Start, Ticket};
use rustix::fs::{MemfdFlags, SealFlags};

use crate::bench::{Bench, PATIENCE, kill, until};
use crate::tasks::tasking;
use crate::test;

/// How long an arena is.
const WHOLE: usize = 8 << 20;

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        test("arena::payloads_of_any_size_arrive_whole", arrive),
        test("arena::results_of_any_size_come_back_whole", come_back),
        test("arena::a_killed_worker_takes_its_arena_along", killed),
        test("arena::what_was_cancelled_gives_its_place_back", cancelled),
        test("arena::its_pages_go_when_nothing_is_there", rest),
        test(
            "arena::a_worker_that_is_told_of_a_wrong_place_says_so_and_ends",
            wrong_places,
        ),
    ]
}

/// Bytes that differ from place to place and from number to number.
fn bytes(number: usize, length: usize) -> Vec<u8> {
    let mut bytes = vec![number as u8; length];
    for (place, piece) in bytes.chunks_exact_mut(512).enumerate() {
        piece[..8].copy_from_slice(&place.wrapping_mul(number | 1).to_le_bytes());
    }
    bytes
}

fn digest(pool: &Pool, payload: Vec<u8>) -> Vec<u8> {
    let answer = pool.submit(Job::task("digest", payload)).wait();
    answer.expect("a digest").bytes.to_vec()
}

fn arrive() {
    let lengths = [
        65_535,
        65_536,
        100_001,
        1 << 20,
        5 << 20,
        WHOLE,
        WHOLE + 1,
        10 << 20,
    ];
    let bench = Bench::new();
    let pools = [
        bench.builder(1),
        tasking(&bench, 2).start(Start::Spawn),
        tasking(&bench, 2).start(Start::Fork),
    ];
    for (kind, builder) in pools.into_iter().enumerate() {
        let pool = builder.build().expect("a pool");
        let lengths = lengths.iter().cycle().take(24).enumerate();
        let tickets = lengths.map(|(number, length)| {
            let payload = bytes(number, *length);
            // Also what is small and what waits, so that places are taken and free in every order.
            let hold = Duration::from_millis(number as u64 % 3);
            pool.submit(Job::echo([number as u8], Duration::ZERO));
            (pool.submit(Job::echo(payload.clone(), hold)), payload)
        });
        let tickets: Vec<(Ticket, Vec<u8>)> = tickets.collect();
        for (ticket, payload) in tickets {
            let answer = ticket.wait().expect("an echo");
            assert!(
                answer.bytes == payload,
                "{} bytes in pool {kind}",
                payload.len()
            );
        }
        if kind > 0 {
            for length in lengths_of_tasks() {
                let payload = bytes(length, length);
                let expected = Digest::of(&payload).to_string().into_bytes();
                assert_eq!(digest(&pool, payload), expected, "{length} in pool {kind}");
            }
        }
    }
    bench.assert_nothing_left();
}

fn lengths_of_tasks() -> impl Iterator<Item = usize> {
    (15..24).map(|power| (1 << power) + power)
}

fn killed() {
    let bench = Bench::new();
    let pool = bench.pool(2);
    let mut rounds = 0..100;
    // It may have been at nothing when it was hit.
    while rounds.start < 3 || pool.stats().retried == 0 {
        let round = rounds.next().expect("one of them is at a job");
        pool.warm();
        assert!(pool.wait_ready(PATIENCE));
        let hold = Duration::from_millis(40);
        let payloads: Vec<Vec<u8>> = (0..6).map(|n| bytes(round * 6 + n, 700_000)).collect();
        let jobs = payloads
            .iter()
            .map(|payload| Job::echo(payload.clone(), hold));
        let tickets: Vec<Ticket> = jobs.map(|job| pool.submit(job)).collect();
        kill(bench.workers()[0]);
        for (ticket, payload) in tickets.iter().zip(payloads) {
            assert!(ticket.wait().expect("an echo").bytes == payload);
        }
        // One that was hit at nothing is not given the next round's jobs, which would die twice.
        until("the pool to know it", || {
            pool.warm();
            pool.stats().workers_started == 3 + round as u64
        });
    }
}

fn cancelled() {
    let bench = Bench::new();
    let pool = tasking(&bench, 1).build().expect("a pool");
    for number in 0..20 {
        let payload = bytes(number, 3 << 20);
        let ticket = pool.submit(Job::echo(payload, Duration::from_secs(1000)));
        if number % 2 == 0 {
            std::thread::sleep(Duration::from_millis(5));
        }
        ticket.cancel();
        assert!(ticket.wait().is_err());
    }
    let worker = who(&pool);
    let payload = bytes(0, 6 << 20);
    let expected = Digest::of(&payload).to_string().into_bytes();
    // Its pages go a second later, which may be sooner than they are looked for.
    until("a payload that does not go another way", || {
        assert_eq!(digest(&pool, payload.clone()), expected);
        resident(worker) >= Some(6 << 20)
    });
}

fn rest() {
    let bench = Bench::new();
    let pool = tasking(&bench, 1).build().expect("a pool");
    let worker = who(&pool);
    assert_eq!(resident(worker), None);
    for round in 0..2 {
        digest(&pool, bytes(round, 1 << 20));
        until("its pages to be gone", || resident(worker) == Some(0));
    }
    // Until it is answered, a payload stays however long it takes.
    let payload = bytes(9, 1 << 20);
    let held = pool.submit(Job::echo(payload.clone(), Duration::from_millis(1500)));
    assert!(held.wait().expect("an echo").bytes == payload);
    assert_eq!((pool.stats().crashes, pool.stats().retried), (0, 0));
}

fn who(pool: &Pool) -> i32 {
    let answer = pool.submit(Job::task("who", "")).wait().expect("a number");
    let text = String::from_utf8(answer.bytes.to_vec()).expect("a number");
    text.parse().expect("a number")
}

/// Bytes of the arena that a worker has looked at, and that are still there, if it has mapped it at all.
fn resident(worker: i32) -> Option<usize> {
    let maps = std::fs::read_to_string(format!("/proc/{worker}/smaps")).expect("it lives");
    let arena = maps.split("planish-arena").nth(1)?;
    let line = arena.lines().find(|line| line.starts_with("Rss:"));
    let kibibytes = line.and_then(|line| line.split_whitespace().nth(1));
    let kibibytes: Option<usize> = kibibytes.and_then(|number| number.parse().ok());
    Some(kibibytes.expect("a number") << 10)
}

fn come_back() {
    let bench = Bench::new();
    for start in [Start::Spawn, Start::Fork] {
        let pool = tasking(&bench, 2).start(start).build().expect("a pool");
        let lengths = [65_535, 65_536, 1 << 20, WHOLE, 10 << 20, 3 << 20];
        let payloads = (0..24).map(|number| bytes(number, lengths[number % lengths.len()]));
        let tickets = payloads.map(|payload| {
            let ticket = pool.submit(Job::task("reverse", payload.clone()));
            (ticket, payload)
        });
        let tickets: Vec<(Ticket, Vec<u8>)> = tickets.collect();
        for (ticket, mut payload) in tickets {
            let answer = ticket.wait().expect("a result");
            payload.reverse();
            assert!(answer.bytes == payload, "{} bytes", payload.len());
        }
    }
    bench.assert_nothing_left();
}

/// A pool that lends what is not its to lend, to a real worker.
fn wrong_places() {
    let bench = Bench::new();
    let region = |offset, length| Region { offset, length };
    let cases = [
        (false, vec![region(0, 5)], "for job 1: there is no arena"),
        (true, vec![region(4096, 1)], "the arena is 4096 bytes long"),
        (
            true,
            vec![region(4000, 97)],
            "97 bytes at 4000 for job 1: the arena",
        ),
        (
            true,
            vec![region(u32::MAX, u32::MAX)],
            "the arena is 4096 bytes long",
        ),
        // Word of the first one's return has not been sent yet: both came together.
        (
            true,
            vec![region(0, 100), region(99, 1)],
            "for job 2: the payload of job 1 is there",
        ),
    ];
    for (arena, regions, says) in cases {
        let stdout = if arena {
            Stdio::from(sealed(4096))
        } else {
            Stdio::null()
        };
        let (ours, theirs) = UnixStream::pair().expect("a socket pair");
        let worker = Command::new(bench.path("worker"))
            .stdin(OwnedFd::from(theirs))
            .stdout(stdout)
            .stderr(Stdio::piped())
            .spawn()
            .expect("a worker");
        let mut words = Vec::new();
        let mut say = |frame: Frame| frame.encode(&mut words).expect("it encodes");
        say(Frame::with(FrameKind::Hello, 0, &bench.hello()).expect("it encodes"));
        for (number, region) in (1..).zip(regions) {
            say(Frame::ordering(number, &echo_of(region)).expect("it encodes"));
        }
        std::io::Write::write_all(&mut &ours, &words).expect("write");
        let output = worker.wait_with_output().expect("it ends");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(
            said.contains("expected a payload in the arena") && said.contains(says),
            "{says}: {said}"
        );
    }
    bench.assert_nothing_left();
}

fn echo_of(region: Region) -> Order {
    Order {
        kind: JobKind::Echo(Echo {
            payload: Vec::new().into(),
            hold_ms: 0,
        }),
        bounds: Bounds {
            wall_ms: 10_000,
            cpu_s: 10,
            memory: 1 << 30,
            output: 1 << 20,
            processes: 8,
        },
        environment: Vec::new(),
        region: Some(region),
    }
}

/// A file in memory that cannot become shorter.
fn sealed(length: u64) -> OwnedFd {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let file = File::from(rustix::fs::memfd_create("test", flags).expect("a file in memory"));
    file.set_len(length).expect("it grows");
    rustix::fs::fcntl_add_seals(&file, SealFlags::SHRINK).expect("it is sealed");
    file.into()
}
