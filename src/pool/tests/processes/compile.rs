//! What the pool makes: artefacts, once, the same ones every time.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use libtest_mimic::Trial;
use planish_pool::{
    Digest, Error, Job, JobError, Limit, Pool, Report, Sandbox, Status, Toolchain, ToolchainSearch,
};

use crate::bench::{Bench, files, object, until, within};
use crate::roles;
use crate::survivors::role;
use crate::test;

const SEVEN: &str = "int seven(void) { return 7; }\n";

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        test(
            "compile::the_real_compiler_gives_the_same_bytes_with_and_without_workers",
            real_compiler,
        ),
        test(
            "compile::a_refused_source_comes_back_with_the_compilers_words",
            refused_source,
        ),
        test("compile::identical_jobs_are_compiled_once", identical_jobs),
        test(
            "compile::a_cache_hit_starts_no_compiler_and_no_worker",
            cache_hit,
        ),
        test(
            "compile::a_corrupt_cache_entry_is_made_again",
            corrupt_entry,
        ),
        test(
            "compile::a_cache_that_cannot_be_written_still_delivers",
            unwritable_cache,
        ),
        test("compile::a_cache_open_to_others_is_refused", open_cache),
        test("compile::one_worker_means_no_worker_process", inline_mode),
        test("compile::warm_starts_every_worker_and_inline_none", warm),
        test(
            "compile::a_cancelled_job_stops_and_the_worker_serves_on",
            cancel,
        ),
        test(
            "compile::the_compilers_world_is_built_from_nothing",
            environment,
        ),
        test("compile::every_step_is_reported_in_order", reports),
        test(
            "compile::a_refused_flag_never_reaches_a_compiler",
            refused_flag,
        ),
        test(
            "compile::shutting_down_finishes_what_was_submitted",
            shutdown,
        ),
        test(
            "compile::dropping_the_pool_answers_every_ticket",
            drop_answers,
        ),
        test("compile::a_program_can_be_its_own_worker", own_worker),
        test("compile::missing_programs_are_named", missing_programs),
        test(
            "compile::a_compiler_that_the_cache_knows_is_not_asked_again",
            known_compiler,
        ),
        test("compile::big_payloads_travel_both_ways", big_payloads),
    ]
}

fn real_compiler() {
    let bench = Bench::new();
    let search = ToolchainSearch::in_path(std::env::var_os("PATH").expect("a PATH"));
    let toolchain = Toolchain::find(&search).expect("the tests need a C compiler");
    let job = || Job::cc(&toolchain, SEVEN, ["-O2", "-nostartfiles", "-g"]).named("seven");
    let mut digests = Vec::new();
    for workers in [1, 2] {
        let pool = bench.pool(workers);
        let ticket = pool.submit(job());
        let artefact = ticket.wait().expect("it compiles");
        assert!(artefact.bytes.starts_with(b"\x7fELF"));
        assert_eq!(artefact.digest(), Digest::of(&artefact.bytes));
        assert_eq!((artefact.key, artefact.from_cache), (ticket.key(), false));
        assert!(
            artefact.seconds > 0.0
                && ticket
                    .answered()
                    .is_some_and(|time| time > ticket.submitted())
        );
        digests.push(artefact.digest());
    }
    assert_eq!(digests[0], digests[1]);
    bench.assert_nothing_left();
}

fn refused_source() {
    let bench = Bench::new();
    for workers in [1, 2] {
        let error = bench
            .pool(workers)
            .submit(bench.job("refuse this line"))
            .wait()
            .expect_err("refused");
        let JobError::Compile { job, diagnostics } = &error else {
            panic!("{error:?}")
        };
        assert_eq!((job.as_str(), diagnostics.code), ("refuse this line", 1));
        assert_eq!(diagnostics.remains.stderr, "kernel.c:1: error: this line\n");
        assert!(
            error
                .to_string()
                .contains("exit code 1; it wrote:\nkernel.c:1"),
            "{error}"
        );
    }
    let error = bench
        .pool(2)
        .submit(bench.job("loud"))
        .wait()
        .expect_err("refused")
        .to_string();
    assert!(
        error.contains("bytes before this") && error.contains("x the end\nit used "),
        "{error}"
    );
    assert!(error.len() < 20_000);
    bench.assert_nothing_left();
}

fn identical_jobs() {
    let bench = Bench::new();
    for workers in [1, 2] {
        let before = bench.started("gate");
        let pool = bench.pool(workers);
        let tickets: Vec<_> = (0..8).map(|_| pool.submit(bench.job("gate"))).collect();
        bench.wait_for("gate", before + 1);
        fs::write(bench.path("open"), "").expect("write");
        for ticket in &tickets {
            assert_eq!(&*ticket.wait().expect("made").bytes, object());
        }
        fs::remove_file(bench.path("open")).expect("remove");
        let stats = pool.stats();
        assert_eq!(
            (stats.requested, stats.compiled, stats.deduped, stats.failed),
            (8, 1, 7, 0)
        );
        assert_eq!(bench.started("gate"), before + 1);
    }
    bench.assert_nothing_left();
}

fn cache_hit() {
    let bench = Bench::new();
    for workers in [1, 2] {
        let pool = bench
            .builder(workers)
            .cache(bench.path("cache"))
            .build()
            .expect("a pool");
        let artefact = pool.submit(bench.job("good")).wait().expect("there");
        assert_eq!(&*artefact.bytes, object());
        assert_eq!(artefact.from_cache, workers == 2);
        let stats = pool.stats();
        let expected = if workers == 1 { (1, 0, 1) } else { (0, 1, 0) };
        assert_eq!(
            (stats.compiled, stats.from_cache, stats.workers_started),
            expected
        );
    }
    assert_eq!(bench.started("good"), 1);
    assert_eq!(files(&bench.path("cache/v1/tmp")), 0);
    bench.assert_nothing_left();
}

fn corrupt_entry() {
    let bench = Bench::new();
    let pool = bench
        .builder(2)
        .cache(bench.path("cache"))
        .build()
        .expect("a pool");
    let key = pool
        .submit(bench.job("good"))
        .wait()
        .expect("made")
        .key
        .to_string();
    let entry = bench.path("cache/v1").join(&key[..2]).join(&key[2..]);
    let mut bytes = fs::read(&entry).expect("an entry");
    *bytes.last_mut().expect("not empty") ^= 0x80;
    fs::write(&entry, bytes).expect("write");
    let artefact = pool.submit(bench.job("good")).wait().expect("made again");
    assert_eq!((&*artefact.bytes, artefact.from_cache), (&*object(), false));
    assert_eq!(pool.stats().cache_corrupt, 1);
    assert!(bench.path("cache/v1/corrupt").join(&key).exists());
    assert!(
        pool.submit(bench.job("good"))
            .wait()
            .expect("there")
            .from_cache
    );
    assert_eq!(bench.started("good"), 2);
    drop(pool);
    bench.assert_nothing_left();
}

fn unwritable_cache() {
    let bench = Bench::new();
    let pool = bench
        .builder(2)
        .cache(bench.path("cache"))
        .build()
        .expect("a pool");
    // What a full disk does, made without one: no file can be created.
    fs::remove_dir(bench.path("cache/v1/tmp")).expect("remove");
    fs::write(bench.path("cache/v1/tmp"), "").expect("write");
    let artefact = pool.submit(bench.job("good")).wait().expect("delivered");
    assert_eq!(artefact.digest(), Digest::of(&object()));
    let stats = pool.stats();
    assert_eq!(
        (stats.compiled, stats.failed, stats.cache_unwritten),
        (1, 0, 1)
    );
    assert!(
        stats
            .cache_complaint
            .is_some_and(|text| text.contains("Not a directory"))
    );
    drop(pool);
    bench.assert_nothing_left();
}

fn open_cache() {
    let bench = Bench::new();
    let cache = bench.path("cache");
    fs::create_dir(&cache).expect("create");
    fs::set_permissions(&cache, fs::Permissions::from_mode(0o777)).expect("set the mode");
    let error = bench.builder(2).cache(&cache).build().expect_err("refused");
    assert!(
        matches!(&error, Error::CacheDirectory { path, .. } if *path == cache),
        "{error}"
    );
    assert!(error.to_string().contains("may write to it"), "{error}");
}

fn inline_mode() {
    let bench = Bench::new();
    let pool = Pool::inline()
        .scratch(bench.path("scratch"))
        .sandbox(Sandbox::Off)
        .worker(bench.worker())
        .build()
        .expect("a pool");
    let ticket = pool.submit(bench.job("gate"));
    let compiler = bench.wait_for("gate", 1)[0];
    assert_eq!(bench.workers(), [0; 0]);
    assert_eq!(
        crate::bench::parent(compiler),
        Some(std::process::id().to_string())
    );
    fs::write(bench.path("open"), "").expect("write");
    ticket.wait().expect("made");
    drop(pool);
    bench.assert_nothing_left();
}

fn warm() {
    let bench = Bench::new();
    let pool = bench.pool(1);
    pool.warm();
    // The pool's thread has seen the request when it has answered a later one.
    pool.submit(Job::echo("x", Duration::ZERO))
        .wait()
        .expect("echo");
    assert_eq!(bench.workers(), [0; 0]);
    drop(pool);
    let pool = bench.pool(3);
    assert_eq!(bench.workers(), [0; 0]);
    pool.warm();
    until("three workers", || bench.workers().len() == 3);
    pool.submit(Job::echo("x", Duration::ZERO))
        .wait()
        .expect("echo");
    assert_eq!(pool.stats().workers_started, 3);
    drop(pool);
    bench.assert_nothing_left();
}

fn cancel() {
    let bench = Bench::new();
    for workers in [1, 2] {
        let before = bench.started("hang");
        let pool = bench.pool(workers);
        let ticket = pool.submit(bench.job("hang"));
        let other = pool.submit(bench.job("hang"));
        let compiler = bench.wait_for("hang", before + 1)[before];
        ticket.cancel();
        assert_eq!(
            ticket.wait(),
            Err(JobError::Cancelled { job: "hang".into() })
        );
        assert_eq!(other.wait_timeout(Duration::from_millis(50)), None);
        assert!(
            crate::bench::alive(compiler),
            "the other ticket still wants it"
        );
        other.cancel();
        assert_eq!(
            other.wait(),
            Err(JobError::Cancelled { job: "hang".into() })
        );
        until("the compiler to be gone", || !crate::bench::alive(compiler));
        pool.submit(bench.job("good"))
            .wait()
            .expect("the worker serves on");
        let stats = pool.stats();
        assert_eq!((stats.cancelled, stats.crashes), (2, 0));
        assert!(stats.workers_started <= workers as u64);
        // After the end a cancel changes nothing.
        ticket.cancel();
        assert!(ticket.try_get().is_some());
    }
    bench.assert_nothing_left();
}

fn environment() {
    let bench = Bench::new();
    for workers in [1, 2] {
        let error = bench
            .pool(workers)
            .submit(bench.job("environment"))
            .wait()
            .expect_err("it exits with 1");
        let JobError::Compile { diagnostics, .. } = error else {
            panic!("{error:?}")
        };
        let lines: Vec<&str> = diagnostics.remains.stderr.lines().collect();
        let directory = lines
            .iter()
            .find_map(|line| line.strip_prefix("TMPDIR="))
            .expect("TMPDIR");
        let names: Vec<&str> = lines
            .iter()
            .filter_map(|line| line.split_once('=').map(|(name, _)| name))
            .collect();
        // The shell adds some of its own.
        let own = ["_", "OLDPWD", "SHLVL"];
        let names: Vec<&str> = names
            .into_iter()
            .filter(|name| !own.contains(name))
            .collect();
        assert_eq!(
            names,
            ["LC_ALL", "PATH", "PWD", "SOURCE_DATE_EPOCH", "TMPDIR"]
        );
        assert!(
            lines.contains(&directory),
            "the working directory is the private one:\n{}",
            diagnostics.remains.stderr
        );
        assert_eq!(
            lines.last(),
            Some(&"-shared -fPIC -o kernel.so kernel.c -O2")
        );
    }
}

fn reports() {
    let bench = Bench::new();
    let heard: Arc<Mutex<Vec<Report>>> = Arc::default();
    let log = Arc::clone(&heard);
    let observer = move |report: &Report| log.lock().expect("not poisoned").push(report.clone());
    let pool = bench.builder(2).observer(observer).build().expect("a pool");
    let good = pool.submit(bench.job("good"));
    good.wait().expect("made");
    pool.submit(bench.job("refuse it"))
        .wait()
        .expect_err("refused");
    drop(pool);
    let heard = heard.lock().expect("not poisoned");
    let steps = |job: &str| -> Vec<Status> {
        heard
            .iter()
            .filter(|report| report.job == job)
            .map(|report| report.status.clone())
            .filter(|status| !matches!(status, Status::Note { .. }))
            .collect()
    };
    let started = Status::Started { worker: 0 };
    assert_eq!(
        steps("good"),
        [
            Status::Submitted,
            Status::Queued,
            started.clone(),
            Status::Done { from_cache: false }
        ]
    );
    assert!(
        matches!(&steps("refuse it")[..], [Status::Submitted, Status::Queued, Status::Started { .. }, Status::Failed { because }] if because.contains("error: it"))
    );
    assert_eq!(heard[0].at, good.submitted());
    assert!(heard.windows(2).all(|pair| pair[0].at <= pair[1].at));
}

fn refused_flag() {
    let bench = Bench::new();
    let job = Job::cc(&bench.toolchain(), "good", ["-o/etc/passwd"]).named("sly");
    let error = bench.pool(2).submit(job).wait().expect_err("refused");
    assert!(matches!(&error, JobError::Refused { job, .. } if job == "sly"));
    assert!(error.to_string().contains("`-o/etc/passwd`"), "{error}");
    assert_eq!(bench.started("good"), 0);
}

fn shutdown() {
    let bench = Bench::new();
    for workers in [1, 2] {
        let pool = bench.pool(workers);
        let tickets: Vec<_> = (0..3)
            .map(|number| pool.submit(bench.job(&format!("good {number}"))))
            .collect();
        pool.shutdown(crate::bench::PATIENCE);
        assert!(
            tickets
                .iter()
                .all(|ticket| matches!(ticket.try_get(), Some(Ok(_))))
        );
        let late = pool.submit(bench.job("good late")).wait();
        assert_eq!(
            late,
            Err(JobError::Closed {
                job: "good late".into()
            })
        );
    }
    bench.assert_nothing_left();
}

fn drop_answers() {
    let bench = Bench::new();
    for workers in [1, 2] {
        let before = bench.started("hang");
        let pool = bench.pool(workers);
        let tickets: Vec<_> = (0..4)
            .map(|number| pool.submit(bench.job(&format!("hang {number}"))))
            .collect();
        bench.wait_for("hang", before + workers);
        drop(pool);
        for ticket in tickets {
            assert!(
                matches!(ticket.try_get(), Some(Err(JobError::Closed { .. }))),
                "{ticket:?}"
            );
        }
        bench.assert_nothing_left();
    }
}

fn own_worker() {
    let bench = Bench::new();
    let command = planish_pool::WorkerCommand::this_program().expect("this program's path");
    for workers in [1, 2] {
        let pool = Pool::builder()
            .workers(workers)
            .scratch(bench.path("scratch"))
            .sandbox(Sandbox::Off)
            .worker(command.clone());
        let pool = pool.build().expect("a pool");
        pool.submit(bench.job("good")).wait().expect("made");
    }
    bench.assert_nothing_left();
}

fn missing_programs() {
    let bench = Bench::new();
    let error = Pool::builder()
        .worker_binary(bench.path("nobody"))
        .build()
        .expect_err("no such program");
    assert!(
        matches!(&error, Error::Worker { path, .. } if path.ends_with("nobody")),
        "{error}"
    );
    let error = Toolchain::find(&ToolchainSearch::explicit(bench.path("no-cc")))
        .expect_err("no such compiler");
    assert!(
        matches!(&error, Error::BrokenCompiler { path, .. } if path.ends_with("no-cc")),
        "{error}"
    );
    let error =
        Toolchain::find(&ToolchainSearch::in_path("/nonexistent")).expect_err("no compiler");
    assert_eq!(
        error.to_string(),
        "find a C compiler: neither cc nor gcc nor clang is in the PATH `/nonexistent`"
    );
    fs::write(bench.path("plain"), "").expect("write");
    let error = Toolchain::find(&ToolchainSearch::explicit(bench.path("plain")))
        .expect_err("not executable");
    assert!(
        error.to_string().contains("not an executable file"),
        "{error}"
    );
    bench.script("broken", "#!/bin/sh\necho sick >&2\nexit 3\n");
    let error = Toolchain::find(&ToolchainSearch::explicit(bench.path("broken")))
        .expect_err("broken")
        .to_string();
    assert!(
        error.contains("-dumpmachine with exit status: 3: sick"),
        "{error}"
    );
    // The compiler vanishes between submit and start.
    for workers in [1, 2] {
        let job = bench.job("good");
        fs::rename(bench.path("cc"), bench.path("moved")).expect("rename");
        let error = bench
            .pool(workers)
            .submit(job)
            .wait()
            .expect_err("no compiler");
        assert!(
            matches!(&error, JobError::ToolchainMissing { reason, .. } if reason.contains("No such file")),
            "{error:?}"
        );
        fs::rename(bench.path("moved"), bench.path("cc")).expect("rename");
    }
    bench.assert_nothing_left();
}

fn big_payloads() {
    let bench = Bench::new();
    let payload: Vec<u8> = (0..5_000_000_u32)
        .map(|number| (number % 251) as u8)
        .collect();
    for workers in [1, 2] {
        let pool = bench.pool(workers);
        let echo =
            Job::echo(payload.clone(), Duration::ZERO).limits(within(crate::bench::PATIENCE));
        assert_eq!(&*pool.submit(echo).wait().expect("echo").bytes, payload);
        let late = Job::echo("", Duration::from_secs(1000))
            .named("late")
            .limits(within(Duration::from_millis(50)));
        let error = pool.submit(late).wait().expect_err("late");
        let limit = Limit::Wall(Duration::from_millis(50));
        assert_eq!(
            error,
            JobError::OverLimit {
                job: "late".into(),
                limit,
                remains: Box::default()
            }
        );
    }
}

fn known_compiler() {
    let bench = Bench::new();
    let find = || {
        let status = role(&bench, roles::FIND, 1).status().expect("a program");
        assert!(status.success());
        bench.noted("asked").len()
    };
    assert_eq!((find(), find()), (1, 1));
    bench.script(
        "cc",
        &format!(
            "{}# another one\n",
            fs::read_to_string(bench.path("cc")).expect("read")
        ),
    );
    assert_eq!((find(), find()), (2, 2));
}
