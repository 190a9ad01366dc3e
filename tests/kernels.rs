//! Operators run by compiled kernels, compared with the reference evaluator bit for bit: codes, shapes, strides and quantization.
//!
//! Each test writes small modules as text, has their kernels compiled for every instruction set that this processor runs, and calls the
//! programs with many inputs. Numbers come from a generator with a fixed seed, and are made to tie wherever rounding can show.

#[path = "kernels/bench.rs"]
mod bench;
#[path = "kernels/calls.rs"]
mod calls;
#[path = "kernels/chance.rs"]
mod chance;
#[path = "kernels/elementwise.rs"]
mod elementwise;
#[path = "kernels/joins.rs"]
mod joins;
#[path = "kernels/packing.rs"]
mod packing;
#[path = "kernels/pools.rs"]
mod pools;
#[path = "kernels/refusals.rs"]
mod refusals;
#[path = "kernels/selftest.rs"]
mod selftest;
#[path = "kernels/sources.rs"]
mod sources;
#[path = "kernels/weighted.rs"]
mod weighted;
