//! A pool of worker processes that compile, and the cache of what they made.
