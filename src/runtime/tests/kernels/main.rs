//! Every kernel, compiled with the system's C compiler for every instruction set, against the plain reference: bit for bit.

mod compile;
mod elementwise;
mod guarded;
mod loading;
mod pools;
mod random;
mod weighted;
