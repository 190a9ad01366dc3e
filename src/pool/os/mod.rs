//! What the pool asks of the operating system beyond `std`, without `unsafe`.

mod unix;

pub(crate) use unix::*;
