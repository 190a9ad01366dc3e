//! The Finalize passes, the rewrite engine and its rules.
