//! Errors as a reader wants them.

use std::error::Error;

/// An error and everything that caused it. Some errors repeat their cause in their own words; a reader needs it once.
pub fn sentence(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let said = inner.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        cause = inner.source();
    }
    text
}
