//! Kernel specifications and the C that is generated from them.
