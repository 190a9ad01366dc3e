//! Loads compiled kernels and runs finalized programs.
