//! The tiny programs around a compiler, all of them the worker program under another verb.
//!
//! Limits must be set between fork and exec. Doing that inside the forking process needs `unsafe`;
//! a program that sets them on itself and then turns into the compiler does not.
//!
//! * `exec-limited PARENT CPU MEMORY OUTPUT PROCESSES SANDBOX FILE… -- PROGRAM ARGUMENT…` ties itself to its
//!   parent's life, takes the limits and the [sandbox](crate::sandbox) on itself and executes the compiler
//!   in its place, which may read the files.
//! * `watch` leads the compiler's process group and reads standard input, whose other end only the
//!   process that asked for the compiler holds. When that process dies, however it dies, the read
//!   ends, and `watch` kills the group. The death signal alone would end the compiler's driver and
//!   leave the programs that the driver started.
//! * `confine SANDBOX` takes the sandbox on itself and says what it got.

use std::ffi::{OsStr, OsString};
use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use close_fds::CloseFdsBuilder;

use crate::os;
use crate::sandbox::{Confinement, Room, Sandbox};
use crate::wire::Bounds;
use crate::worker_proc::WorkerCommand;

/// The verb of the limiting shim.
pub(crate) const EXEC_LIMITED: &str = "exec-limited";
/// The verb that tries the sandbox.
pub(crate) const CONFINE: &str = "confine";
/// The verb of the group's guard.
pub(crate) const WATCH: &str = "watch";
/// How the shim's own complaint begins, so that it is not taken for the compiler's.
pub(crate) const COMPLAINT: &str = "planish-shim: ";
/// The first descriptor behind standard input, output and error.
const FIRST_OF_OTHERS: i32 = 3;
/// The shim's exit code when it could not execute the compiler.
pub(crate) const CANNOT_EXECUTE: u8 = 126;

/// The arguments of [`exec_limited`], without program and verb. Besides the program's own installation it may
/// read these files and directories.
pub(crate) fn exec_limited_arguments(
    bounds: &Bounds,
    sandbox: Sandbox,
    files: &[PathBuf],
) -> Vec<OsString> {
    let numbers = [
        u64::from(std::process::id()),
        bounds.cpu_s,
        bounds.memory,
        bounds.output,
        u64::from(bounds.processes),
    ];
    let mut arguments: Vec<OsString> = numbers
        .iter()
        .map(|number| number.to_string().into())
        .collect();
    arguments.push(sandbox.to_string().into());
    arguments.extend(files.iter().map(OsString::from));
    arguments.push("--".into());
    arguments
}

/// Sets the limits and becomes the compiler. Returns only if that fails.
pub(crate) fn exec_limited(arguments: &[OsString]) -> ExitCode {
    let complaint = match limited_command(arguments) {
        Ok(mut command) => {
            let error = command.exec();
            format!("execute {}: {error}", command.get_program().display())
        }
        Err(complaint) => complaint,
    };
    complain(&complaint);
    ExitCode::from(CANNOT_EXECUTE)
}

/// Takes the sandbox on itself, with the directory it was started in as its room.
pub(crate) fn confine(level: &OsStr) -> ExitCode {
    let confined =
        sandbox_level(level).and_then(|sandbox| enter(sandbox, Path::new("/bin/sh"), &[]));
    match confined {
        Ok(confinement) => {
            // If nobody listens, nobody wants to know.
            let _ = writeln!(std::io::stdout(), "{confinement}");
            ExitCode::SUCCESS
        }
        Err(complaint) => {
            complain(&complaint);
            ExitCode::from(CANNOT_EXECUTE)
        }
    }
}

/// What a compiler's confinement is on this system.
pub(crate) fn try_confinement(
    command: &WorkerCommand,
    sandbox: Sandbox,
) -> Result<Confinement, String> {
    let output = command
        .verb_command(CONFINE)
        .arg(sandbox.to_string())
        .current_dir("/")
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("execute {}: {error}", command.program().display()))?;
    if output.status.success() {
        return String::from_utf8_lossy(&output.stdout).trim_end().parse();
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(said.trim_end().trim_start_matches(COMPLAINT).to_owned())
}

/// Kills the process group when standard input ends.
pub(crate) fn watch() -> ExitCode {
    let mut byte = [0];
    let mut input = std::io::stdin().lock();
    loop {
        match input.read(&mut byte) {
            Ok(0) => break,
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(_) => break,
        }
    }
    os::kill_own_group();
    ExitCode::FAILURE
}

fn limited_command(arguments: &[OsString]) -> Result<Command, String> {
    let [parent, cpu, memory, output, processes, sandbox, rest @ ..] = arguments else {
        return Err("it needs PARENT CPU MEMORY OUTPUT PROCESSES SANDBOX -- PROGRAM".to_owned());
    };
    let dashes = rest.iter().position(|word| word == "--");
    let (files, call) = rest.split_at(dashes.unwrap_or(rest.len()));
    let [_, program, rest @ ..] = call else {
        return Err("expected `--` and a program".to_owned());
    };
    let number = |text: &OsString| -> Result<u64, String> {
        let number = text.to_str().and_then(|text| text.parse().ok());
        number.ok_or_else(|| format!("expected a number, got {}", text.display()))
    };
    let bounds = Bounds {
        wall_ms: 0,
        cpu_s: number(cpu)?,
        memory: number(memory)?,
        output: number(output)?,
        processes: u32::try_from(number(processes)?).unwrap_or(u32::MAX),
    };
    let parent = u32::try_from(number(parent)?).map_err(|error| error.to_string())?;
    let sandbox = sandbox_level(sandbox)?;
    let program = Path::new(program);
    CloseFdsBuilder::new().cloexecfrom(FIRST_OF_OTHERS);
    os::limit_self(&bounds).map_err(|error| format!("set the limits: {error}"))?;
    let confinement = enter(sandbox, program, files)?;
    if confinement.namespaces {
        os::limit_threads(bounds.processes).map_err(|error| format!("limit threads: {error}"))?;
    }
    // After the namespaces: who changes what it may do forgets whose death it waits for.
    match os::die_with_parent(parent) {
        Ok(true) => {}
        Ok(false) => return Err("the process that asked for it is gone".to_owned()),
        Err(error) => return Err(format!("ask for the parent's death signal: {error}")),
    }
    let mut command = Command::new(program);
    command.args(rest);
    Ok(command)
}

fn sandbox_level(text: &OsStr) -> Result<Sandbox, String> {
    text.to_string_lossy().parse()
}

fn enter(sandbox: Sandbox, program: &Path, files: &[OsString]) -> Result<Confinement, String> {
    let room = Room {
        program: Some(program),
        files,
        directory: Some(Path::new(".")),
    };
    sandbox
        .enter(&room)
        .map_err(|error| format!("confine {}: {error}", program.display()))
}

pub(crate) fn complain(complaint: &str) {
    // Standard error is the pipe to the process that asked; if that is gone, nobody listens.
    let _ = writeln!(std::io::stderr(), "{COMPLAINT}{complaint}");
}
