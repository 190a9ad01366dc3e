//! What is left when a host goes: nothing, however it goes.

use std::process::{Command, Stdio};

use libtest_mimic::Trial;

use crate::bench::{Bench, alive, until};
use crate::roles;
use crate::test;

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        test(
            "survivors::a_killed_host_takes_workers_and_compilers_with_it",
            killed_host,
        ),
        test(
            "survivors::a_killed_host_without_workers_takes_its_compiler_with_it",
            killed_inline_host,
        ),
        test(
            "survivors::pools_leave_no_descriptor_and_no_thread",
            descriptors,
        ),
    ]
}

pub(crate) fn role(bench: &Bench, role: &str, workers: usize) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("this program's path"));
    command
        .arg(role)
        .arg(bench.path(""))
        .arg(workers.to_string())
        .stdout(Stdio::null());
    command
}

fn kill_host(bench: &Bench, workers: usize) {
    bench.toolchain();
    let mut host = role(bench, roles::HOST, workers).spawn().expect("a host");
    bench.wait_for("hang", workers);
    bench.wait_for("child", workers);
    host.kill().expect("kill");
    host.wait().expect("reap");
    until("compilers and their children to be gone", || {
        bench
            .noted("hang")
            .into_iter()
            .chain(bench.noted("child"))
            .all(|pid| !alive(pid))
    });
}

fn killed_host() {
    let bench = Bench::new();
    kill_host(&bench, 2);
    bench.assert_nothing_left();
}

fn killed_inline_host() {
    let bench = Bench::new();
    kill_host(&bench, 1);
    // Nobody is left to remove the directory; the next pool does, once it is a minute old.
    let scratch = bench.path("scratch");
    std::fs::remove_dir_all(&scratch).expect("remove");
    std::fs::create_dir(&scratch).expect("create");
    bench.assert_nothing_left();
}

fn descriptors() {
    let bench = Bench::new();
    for workers in [1, 2] {
        let status = role(&bench, roles::COUNT, workers)
            .status()
            .expect("a program");
        assert!(status.success(), "with {workers} workers");
    }
    bench.assert_nothing_left();
}
