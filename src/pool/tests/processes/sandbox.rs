//! A compiler that reaches for what is not its own: it gets nothing, and its job says what it reached for.

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use libtest_mimic::Trial;
use planish_pool::{
    Error, Job, JobError, Pool, Sandbox, Toolchain, ToolchainSearch, WorkerCommand,
};
use seccompiler::{SeccompAction, SeccompFilter, apply_filter};

use crate::bench::Bench;
use crate::roles;
use crate::survivors::role;
use crate::test;

/// Nobody, on every Linux.
const NOBODY: u32 = 65534;

/// What a strict pool says without it.
const NO_LANDLOCK: &str = "confine compilers: confine /bin/sh: this system has no Landlock\n";

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        test("sandbox::a_compiler_reaches_nothing_but_its_own", confined),
        test("sandbox::a_plain_user_is_confined_alike", plain_user),
        test(
            "sandbox::without_landlock_the_rest_holds_and_strict_is_refused",
            without_landlock,
        ),
        test("sandbox::off_is_off", off),
        test("sandbox::the_real_compiler_does_not_notice", real_compiler),
        test(
            "sandbox::descriptors_of_the_host_do_not_reach_a_compiler",
            descriptors,
        ),
    ]
}

fn confined() {
    let bench = intruder();
    let said = reach(&bench, Sandbox::Strict, false);
    if said == NO_LANDLOCK {
        return skip("this system has no Landlock");
    }
    assert_confined(&bench, &said);
}

fn plain_user() {
    if !rustix::process::geteuid().is_root() {
        // Then the other tests are about a plain user.
        return;
    }
    let bench = intruder();
    if reach(&bench, Sandbox::Strict, false) == NO_LANDLOCK {
        return skip("this system has no Landlock");
    }
    for name in ["", "scratch", "cc", "secret", "other"] {
        // In a user namespace there may be no such user.
        if let Err(error) = chown(bench.path(name), Some(NOBODY), Some(NOBODY)) {
            return skip(&format!("user {NOBODY} can be given no file: {error}"));
        }
    }
    let mut command = host(&bench, Sandbox::Strict, false);
    command.uid(NOBODY).gid(NOBODY);
    match command.output() {
        Ok(output) => assert_confined(&bench, &String::from_utf8_lossy(&output.stdout)),
        Err(error) => skip(&format!("user {NOBODY} cannot execute this test: {error}")),
    }
}

fn skip(why: &str) {
    let _ = writeln!(std::io::stderr(), "skipped: {why}");
}

fn assert_confined(bench: &Bench, said: &str) {
    let (denied, forbidden) = ("Permission denied", "Operation not permitted");
    let path = |name: &str| bench.path(name).display().to_string();
    for (word, what, why) in [
        ("read", path("secret"), denied),
        ("write", path("outside"), denied),
        ("truncate", path("secret"), denied),
        ("exec", path("other"), denied),
        ("socket", String::new(), forbidden),
        ("ptrace", String::new(), forbidden),
        ("bpf", String::new(), forbidden),
        ("mount", String::new(), forbidden),
        ("keyctl", String::new(), forbidden),
        ("userfaultfd", String::new(), forbidden),
        ("namespace", String::new(), forbidden),
        ("ring", String::new(), "Function not implemented"),
    ] {
        let line = format!("{word} {what}: {why}\n");
        assert!(said.contains(&line), "no `{line}` in\n{said}");
    }
    assert!(said.starts_with("landlock "), "{said}");
    assert!(!bench.path("outside").exists());
    assert_eq!(fs::read(bench.path("secret")).expect("read"), b"secret");
}

fn without_landlock() {
    let bench = intruder();
    let said = reach(&bench, Sandbox::BestEffort, true);
    assert!(said.starts_with("seccomp\n"), "{said}");
    let path = |name: &str| bench.path(name).display().to_string();
    for line in [
        format!("read {}: Success\n", path("secret")),
        "socket : Operation not permitted\n".to_owned(),
        "ptrace : Operation not permitted\n".to_owned(),
    ] {
        assert!(said.contains(&line), "no `{line}` in\n{said}");
    }
    let refused = reach(&bench, Sandbox::Strict, true);
    assert_eq!(refused, NO_LANDLOCK);
}

fn off() {
    let bench = intruder();
    let said = reach(&bench, Sandbox::Off, false);
    assert!(said.starts_with("nothing\n"), "{said}");
    for word in ["read", "write", "socket", "exec"] {
        let line = said.lines().find(|line| line.starts_with(word));
        assert!(line.is_some_and(|line| line.ends_with("Success")), "{said}");
    }
}

fn real_compiler() {
    let bench = Bench::new();
    let source = "double half(double x) { return x / 2; }\n";
    let flags = ["-O2", "-nostartfiles", "-g", "-lm"];
    let made = [Sandbox::Strict, Sandbox::Off].map(|sandbox| {
        let pool = bench.builder(2).sandbox(sandbox).build().expect("a pool");
        let ticket = pool.submit(Job::cc(&system_toolchain(), source, flags));
        ticket.wait().expect("it compiles").digest()
    });
    assert_eq!(made[0], made[1]);
}

fn descriptors() {
    let bench = intruder();
    let plain = host(&bench, Sandbox::BestEffort, false);
    let mut command = Command::new("/bin/sh");
    command.args(["-c", "exec 9< /dev/null; exec \"$0\" \"$@\""]);
    command.arg(plain.get_program()).args(plain.get_args());
    let said = command.output().expect("a host").stdout;
    let said = String::from_utf8_lossy(&said);
    assert!(said.contains("\ndescriptors 3: Success\n"), "{said}");
}

/// A bench whose compiler is a program that reaches for what the source names.
fn intruder() -> Bench {
    let bench = Bench::new();
    fs::write(bench.path("secret"), "secret").expect("write");
    bench.script("other", "#!/bin/sh\nexit 0\n");
    fs::remove_file(bench.path("cc")).expect("remove");
    fs::write(bench.path("intruder.c"), INTRUDER).expect("write");
    let compiled = Command::new(system_toolchain().compiler())
        .arg("-o")
        .arg(bench.path("cc"))
        .arg(bench.path("intruder.c"))
        .status();
    assert!(compiled.is_ok_and(|status| status.success()));
    fs::set_permissions(bench.path(""), fs::Permissions::from_mode(0o755)).expect("open it");
    bench
}

fn system_toolchain() -> Toolchain {
    let search = ToolchainSearch::in_path(std::env::var_os("PATH").expect("a PATH"));
    Toolchain::find(&search).expect("the tests need a C compiler")
}

/// What a host with a pool of this sandbox says of its confinement, and what its compiler reached.
fn reach(bench: &Bench, sandbox: Sandbox, blind: bool) -> String {
    let output = host(bench, sandbox, blind).output().expect("a host");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn host(bench: &Bench, sandbox: Sandbox, blind: bool) -> Command {
    let mut command = role(bench, roles::REACH, 1);
    command.args([sandbox.to_string(), blind.to_string()]);
    command.stdout(Stdio::piped());
    command
}

/// The host: one job for everything that the compiler can reach for.
pub(crate) fn play(directory: &Path, sandbox: &str, blind: bool) -> ExitCode {
    if blind {
        be_blind();
    }
    let mut said = String::new();
    match try_all(directory, sandbox.parse().expect("a level"), &mut said) {
        Ok(()) => {}
        Err(error) => said = format!("{error}\n"),
    }
    let _ = std::io::stdout().write_all(said.as_bytes());
    ExitCode::SUCCESS
}

fn try_all(directory: &Path, sandbox: Sandbox, said: &mut String) -> Result<(), Error> {
    let worker = WorkerCommand::this_program().expect("this program's path");
    let pool = Pool::builder()
        .workers(2)
        .scratch(directory.join("scratch"))
        .worker(worker)
        .sandbox(sandbox)
        .build()?;
    let toolchain = Toolchain::find(&ToolchainSearch::explicit(directory.join("cc")))?;
    let _ = writeln!(said, "{}", pool.confinement()?);
    let path = |name: &str| directory.join(name).display().to_string();
    for job in [
        format!("read {}", path("secret")),
        format!("write {}", path("outside")),
        format!("truncate {}", path("secret")),
        format!("exec {}", path("other")),
    ]
    .into_iter()
    .chain(
        [
            "socket",
            "ptrace",
            "bpf",
            "mount",
            "keyctl",
            "userfaultfd",
            "namespace",
            "ring",
            "descriptors",
        ]
        .map(|word| format!("{word} ")),
    ) {
        let error = pool.submit(Job::cc(&toolchain, job, ["-O2"])).wait();
        match error {
            Err(JobError::Compile { diagnostics, .. }) => {
                said.push_str(&diagnostics.remains.stderr);
            }
            other => {
                let _ = writeln!(said, "{other:?}");
            }
        }
    }
    Ok(())
}

/// Makes this process and its children find no Landlock, and no namespaces.
fn be_blind() {
    let calls = [
        libc::SYS_landlock_create_ruleset,
        libc::SYS_landlock_add_rule,
        libc::SYS_landlock_restrict_self,
        libc::SYS_unshare,
    ];
    let rules = calls.into_iter().map(|call| (call, Vec::new())).collect();
    let absent = SeccompAction::Errno(libc::ENOSYS.cast_unsigned());
    let arch = std::env::consts::ARCH.try_into().expect("a known machine");
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, absent, arch).expect("a filter");
    let program: seccompiler::BpfProgram = filter.try_into().expect("it compiles");
    apply_filter(&program).expect("it is taken");
}

/// Says what came of it, and fails.
const INTRUDER: &str = r#"
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static int execute(const char *path) {
    int status = 0;
    pid_t child = fork();
    if (child == 0) {
        execl(path, path, (char *)0);
        _exit(errno);
    }
    waitpid(child, &status, 0);
    errno = WEXITSTATUS(status);
    return errno ? -1 : 0;
}

int main(int count, char **arguments) {
    char word[32] = "", path[4096] = "";
    if (count > 1 && !strcmp(arguments[1], "-dumpmachine")) return puts("test-machine"), 0;
    if (count > 1 && !strcmp(arguments[1], "-dumpfullversion")) return puts("1.2.3"), 0;
    FILE *source = fopen("kernel.c", "r");
    fscanf(source, "%31s %4095s", word, path);
    fclose(source);
    long got = -1;
    errno = 0;
    if (!strcmp(word, "read")) got = open(path, O_RDONLY);
    if (!strcmp(word, "write")) got = open(path, O_WRONLY | O_CREAT, 0600);
    if (!strcmp(word, "truncate")) got = truncate(path, 6);
    if (!strcmp(word, "exec")) got = execute(path);
    if (!strcmp(word, "socket")) got = socket(AF_INET, SOCK_STREAM, 0);
    if (!strcmp(word, "ptrace")) got = ptrace(PTRACE_TRACEME, 0, 0, 0);
    if (!strcmp(word, "bpf")) got = syscall(SYS_bpf, 0, 0, 0);
    if (!strcmp(word, "mount")) got = syscall(SYS_mount, "none", "/", "tmpfs", 0, 0);
    if (!strcmp(word, "keyctl")) got = syscall(SYS_keyctl, 0, -3, 0);
    if (!strcmp(word, "userfaultfd")) got = syscall(SYS_userfaultfd, 0);
    if (!strcmp(word, "namespace")) got = syscall(SYS_clone, CLONE_NEWUSER | 17, 0, 0, 0, 0);
    if (!strcmp(word, "ring")) got = syscall(SYS_io_uring_setup, 1, 0);
    if (!strcmp(word, "descriptors")) {
        got = 0;
        for (int fd = 0; fd < 1024; fd++) got += fcntl(fd, F_GETFD) >= 0;
        sprintf(path, "%ld", got);
        errno = 0;
    }
    fprintf(stderr, "%s %s: %s\n", word, path, got < 0 ? strerror(errno) : "Success");
    return 1;
}
"#;
