//! The process in which what a job made is tried before anybody gets it.
//!
//! Fresh code may crash, or compute something else than it should. So it is loaded and run by a process that does
//! nothing else and is thrown away: `prove PARENT CPU MEMORY SANDBOX CLAIM` is the worker program under another
//! verb, with the result as its standard input. It takes the limits and the sandbox on itself, with no file to read
//! and none to write, and then asks the program's [`Prover`]. This crate knows neither what a claim says nor how a
//! result is loaded.

use std::ffi::OsString;
use std::io::{Read, Write};
use std::process::ExitCode;

use crate::os;
use crate::sandbox::{Room, Sandbox};
use crate::shim::{CANNOT_EXECUTE, complain};
use crate::wire::Bounds;

/// Finds out whether a result is what it is claimed to be: from its bytes and the claim to the instruction set on
/// which that was proven, or to what is wrong.
pub type Prover = fn(&[u8], &str) -> Result<String, String>;

/// The verb.
pub(crate) const PROVE: &str = "prove";
/// The exit code when the result is not what it is claimed to be.
pub(crate) const WRONG: i32 = 1;

/// The arguments of [`prove`], without program and verb.
pub(crate) fn arguments(bounds: &Bounds, sandbox: Sandbox, claim: &str) -> Vec<OsString> {
    vec![
        std::process::id().to_string().into(),
        bounds.cpu_s.to_string().into(),
        bounds.memory.to_string().into(),
        sandbox.to_string().into(),
        claim.into(),
    ]
}

/// Tries standard input. Says what was proven, or what is wrong.
pub(crate) fn prove(prover: Option<Prover>, arguments: &[OsString]) -> ExitCode {
    let mut bytes = Vec::new();
    let ready = prepare(prover, arguments, &mut bytes);
    let (prover, claim) = match ready {
        Ok(ready) => ready,
        Err(complaint) => {
            complain(&complaint);
            return ExitCode::from(CANNOT_EXECUTE);
        }
    };
    let (said, code) = match prover(&bytes, &claim) {
        Ok(proven) => (proven, 0),
        Err(wrong) => (wrong, WRONG as u8),
    };
    // If nobody listens, nobody wants to know.
    let _ = std::io::stdout().write_all(said.as_bytes());
    ExitCode::from(code)
}

fn prepare(
    prover: Option<Prover>,
    arguments: &[OsString],
    bytes: &mut Vec<u8>,
) -> Result<(Prover, String), String> {
    let prover = prover.ok_or("this worker program cannot try what it makes")?;
    let text: Option<Vec<&str>> = arguments.iter().map(|argument| argument.to_str()).collect();
    let Some([parent, cpu, memory, sandbox, claim]) = text.as_deref() else {
        return Err("it needs PARENT CPU MEMORY SANDBOX CLAIM".to_owned());
    };
    let number = |text: &str| -> Result<u64, String> {
        text.parse()
            .map_err(|_| format!("expected a number, got {text}"))
    };
    let sandbox: Sandbox = sandbox.parse()?;
    std::io::stdin()
        .read_to_end(bytes)
        .map_err(|error| format!("read what is to be tried: {error}"))?;
    let bounds = Bounds {
        cpu_s: number(cpu)?,
        memory: number(memory)?,
        // A loader that wants the bytes as a file has room for them once, in memory.
        output: bytes.len() as u64,
        ..Bounds::none()
    };
    os::limit_self(&bounds).map_err(|error| format!("set the limits: {error}"))?;
    sandbox.enter(&Room::EMPTY)?;
    let parent = number(parent)?;
    match os::die_with_parent(u32::try_from(parent).unwrap_or_default()) {
        Ok(true) => Ok((prover, (*claim).to_owned())),
        Ok(false) => Err("the process that asked for it is gone".to_owned()),
        Err(error) => Err(format!("ask for the parent's death signal: {error}")),
    }
}
