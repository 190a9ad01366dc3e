//! Analyses: pure functions from a graph to what is known of it.

pub mod alias;
pub mod codes;
pub mod grid;
pub mod objects;
pub mod shape;
