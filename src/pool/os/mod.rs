//! What the pool asks of the operating system beyond `std`. `fork.rs` and `window.rs` alone have `unsafe`.

mod crowd;
mod fork;
mod process;
mod unix;
mod window;
mod within;

pub(crate) use crowd::Crowd;
pub(crate) use fork::{Forked, fork_sibling};
pub(crate) use process::{Exit, Process};
pub(crate) use unix::*;
pub(crate) use window::{Pane, Slate, Window, keeps_its_length};
pub(crate) use within::Within;
