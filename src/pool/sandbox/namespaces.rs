//! Namespaces of its own: no network but a loopback that is down, and no right over anything outside.

use std::io;

use rustix::thread::UnshareFlags;

/// Leaves the namespaces of the parent. In the new user namespace no user is mapped: the process keeps its
/// identity before files, and has lost what root may do beyond that.
#[expect(
    deprecated,
    reason = "it is deprecated because unsharing the descriptor table breaks ownership of descriptors; these flags leave it alone"
)]
pub(super) fn leave() -> io::Result<()> {
    let flags = UnshareFlags::NEWUSER | UnshareFlags::NEWNET | UnshareFlags::NEWIPC;
    Ok(rustix::thread::unshare(flags)?)
}
