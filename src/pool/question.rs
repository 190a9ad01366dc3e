//! Asks a program something, and does not wait for its answer for ever.

use std::ffi::OsString;
use std::io::Read;
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::os::{self, Process};

/// How long a program may take to answer. Python reads much from a cold disk.
const PATIENCE: Duration = Duration::from_secs(60);

/// What the program writes for these arguments, at most 4 KiB of it. `question` names them in
/// errors.
pub(crate) fn ask(
    program: &Path,
    arguments: &[&str],
    question: &str,
    environment: &[(&'static str, OsString)],
) -> Result<String, String> {
    let (mut reader, writer) = std::io::pipe().map_err(|error| error.to_string())?;
    let mut command = Command::new(program);
    command
        .args(arguments)
        .env_clear()
        .envs(environment.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .stdout(writer.try_clone().map_err(|error| error.to_string())?)
        .stderr(writer)
        .process_group(0);
    let mut child = command
        .spawn()
        .map_err(|error| format!("execute it: {error}"))?;
    drop(command);
    let in_time = ends_in_time(&child);
    os::kill_group(&child);
    let status = child.wait().map_err(|error| error.to_string())?;
    if !in_time.map_err(|error| error.to_string())? {
        return Err(format!(
            "it did not answer {question} within {} s",
            PATIENCE.as_secs()
        ));
    }
    let mut text = vec![0; 4096];
    // One read: everything the program wrote is in the pipe, and nobody else can close it for us.
    rustix::io::ioctl_fionbio(&reader, true).map_err(|error| error.to_string())?;
    let length = reader.read(&mut text).unwrap_or(0);
    let text = String::from_utf8_lossy(&text[..length]).into_owned();
    if status.success() {
        return Ok(text);
    }
    let line = text.lines().next().unwrap_or_default().trim();
    Err(format!("it answered {question} with {status}: {line}"))
}

fn ends_in_time(child: &Child) -> std::io::Result<bool> {
    let process = Process::of(child)?;
    let deadline = Instant::now() + PATIENCE;
    loop {
        if os::wait_for(&[(process.as_fd(), false)], Some(deadline))?[0].readable {
            return Ok(true);
        }
        if Instant::now() >= deadline {
            return Ok(false);
        }
    }
}
