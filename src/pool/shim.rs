//! The two tiny programs around a compiler, both of them the worker program under another verb.
//!
//! Limits must be set between fork and exec. Doing that inside the forking process needs `unsafe`;
//! a program that sets them on itself and then turns into the compiler does not.
//!
//! * `exec-limited PARENT CPU MEMORY OUTPUT -- PROGRAM ARGUMENT…` ties itself to its parent's life,
//!   takes the limits on itself and executes the compiler in its place.
//! * `watch` leads the compiler's process group and reads standard input, whose other end only the
//!   process that asked for the compiler holds. When that process dies, however it dies, the read
//!   ends, and `watch` kills the group. The death signal alone would end the compiler's driver and
//!   leave the programs that the driver started.

use std::ffi::OsString;
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use crate::os;
use crate::wire::Bounds;

/// The verb of the limiting shim.
pub(crate) const EXEC_LIMITED: &str = "exec-limited";
/// The verb of the group's guard.
pub(crate) const WATCH: &str = "watch";
/// How the shim's own complaint begins, so that it is not taken for the compiler's.
pub(crate) const COMPLAINT: &str = "planish-shim: ";
/// The shim's exit code when it could not execute the compiler.
pub(crate) const CANNOT_EXECUTE: u8 = 126;

/// The arguments of [`exec_limited`], without program and verb.
pub(crate) fn exec_limited_arguments(bounds: &Bounds) -> Vec<OsString> {
    let numbers = [
        u64::from(std::process::id()),
        bounds.cpu_s,
        bounds.memory,
        bounds.output,
    ];
    let mut arguments: Vec<OsString> = numbers
        .iter()
        .map(|number| number.to_string().into())
        .collect();
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
    let [parent, cpu, memory, output, dashes, program, rest @ ..] = arguments else {
        return Err("it needs PARENT CPU MEMORY OUTPUT -- PROGRAM".to_owned());
    };
    if dashes != "--" {
        return Err("expected `--` before the program".to_owned());
    }
    let number = |text: &OsString| -> Result<u64, String> {
        let number = text.to_str().and_then(|text| text.parse().ok());
        number.ok_or_else(|| format!("expected a number, got {}", text.display()))
    };
    let bounds = Bounds {
        wall_ms: 0,
        cpu_s: number(cpu)?,
        memory: number(memory)?,
        output: number(output)?,
    };
    let parent = u32::try_from(number(parent)?).map_err(|error| error.to_string())?;
    match os::die_with_parent(parent) {
        Ok(true) => {}
        Ok(false) => return Err("the process that asked for it is gone".to_owned()),
        Err(error) => return Err(format!("ask for the parent's death signal: {error}")),
    }
    os::limit_self(&bounds).map_err(|error| format!("set the limits: {error}"))?;
    let mut command = Command::new(program);
    command.args(rest);
    Ok(command)
}

fn complain(complaint: &str) {
    use std::io::Write;
    // Standard error is the pipe to the process that asked; if that is gone, nobody listens.
    let _ = writeln!(std::io::stderr(), "{COMPLAINT}{complaint}");
}
