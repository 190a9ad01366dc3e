//! What the pool asks of the operating system beyond `std`, without `unsafe`.

mod crowd;
mod unix;

pub(crate) use crowd::Crowd;
pub(crate) use unix::*;
