//! Copying a process that has one thread.

#![expect(
    unsafe_code,
    reason = "`std` has no fork, and what makes this one sound is checked here"
)]

use std::fs;
use std::io;

use rustix::process::Pid;

/// Which of the two processes goes on here.
#[derive(Debug)]
pub(crate) enum Forked {
    /// The new one.
    Copy,
    /// The one that there was, and the number of the new one.
    Original(Pid),
}

/// Copies this process. The copy is a child of this process's parent, which can wait for it as for
/// any other child: nobody has to tell it how the copy ended.
pub(crate) fn fork_sibling() -> io::Result<Forked> {
    let threads = fs::read_dir("/proc/self/task")?.count();
    if threads != 1 {
        let reason = format!("a process with {threads} threads cannot be copied");
        return Err(io::Error::other(reason));
    }
    let flags = libc::CLONE_PARENT | libc::SIGCHLD;
    let nothing: libc::c_ulong = 0;
    // SAFETY: There is one thread, so the copy has every thread that could hold a lock, and may do
    // whatever this process may. Without CLONE_VM the two share no memory; no stack is given, so the
    // copy goes on with its copy of this one; the kernel writes to none of the other arguments.
    let number = unsafe {
        libc::syscall(
            libc::SYS_clone,
            libc::c_ulong::from(flags.cast_unsigned()),
            nothing,
            nothing,
            nothing,
            nothing,
        )
    };
    match i32::try_from(number) {
        Ok(0) => Ok(Forked::Copy),
        Ok(number) if number > 0 => Pid::from_raw(number)
            .map(Forked::Original)
            .ok_or_else(|| io::Error::other("the kernel gave no process number")),
        _ => Err(io::Error::last_os_error()),
    }
}
