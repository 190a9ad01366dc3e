//! From errors to what a user reads.

use std::error::Error;
use std::io;
use std::path::Path;

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};
use planish::ir::diag::Diagnostics;
use planish::passes::PipelineError;
use planish::sentence;

/// Why a verb ended early.
#[derive(Debug)]
pub struct Failure {
    /// What the user reads.
    pub message: String,
    /// Exit code.
    pub code: u8,
}

impl Failure {
    /// The input is at fault.
    pub fn input(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            code: 1,
        }
    }

    /// The command line is at fault.
    pub fn usage(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            code: 2,
        }
    }

    /// planish itself is at fault.
    pub fn internal(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            code: 3,
        }
    }

    /// A file could not be read, written, …
    pub fn file(verb: &str, path: &Path, error: &io::Error) -> Self {
        Self::input(format!("failed to {verb} {}: {error}", path.display()))
    }

    /// Adds what the user can do about it.
    pub fn hint(mut self, hint: impl AsRef<str>) -> Self {
        self.message.push_str("\n  hint: ");
        self.message.push_str(hint.as_ref());
        self
    }
}

/// Results that cannot be printed.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::input(format!("failed to write to standard output: {error}"))
    }
}

/// An error and everything that caused it, as one sentence.
pub fn failed(error: &dyn Error) -> Failure {
    Failure::input(format!("failed to {}", sentence(error)))
}

/// Why a pipeline ended early. What is read is verified first, so a module that is not valid later was made so by a pass.
pub fn pipeline_failed(error: &PipelineError) -> Failure {
    match error {
        PipelineError::UnknownPass { .. } => Failure::usage(failed(error).message),
        PipelineError::Invalid { .. } => Failure::internal(failed(error).message),
        _ => failed(error),
    }
}

/// Errors in a text, with the lines they are in.
pub fn in_text(path: &Path, text: &str, diagnostics: &Diagnostics) -> Failure {
    let name = path.display().to_string();
    let renderer = Renderer::plain();
    let mut message = format!("failed to read {name}");
    for diagnostic in &diagnostics.list {
        let range = diagnostic.span.start.min(text.len())..diagnostic.span.end.min(text.len());
        let snippet = Snippet::source(text)
            .path(&name)
            .annotation(AnnotationKind::Primary.span(range));
        let notes = diagnostic
            .notes
            .iter()
            .map(|note| Level::NOTE.message(note.as_str()));
        let report = [Level::ERROR
            .primary_title(diagnostic.message.as_str())
            .element(snippet)
            .elements(notes)];
        message.push('\n');
        message.push_str(&renderer.render(&report));
    }
    Failure::input(message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{0}")]
    struct Link(&'static str, #[source] Option<Box<Link>>);

    #[test]
    fn a_cause_that_was_told_is_not_told_again() {
        let cause = Link("no room", None);
        let repeated = Link("write it: no room", Some(Box::new(cause)));
        let outer = Link("finalize", Some(Box::new(repeated)));
        assert_eq!(
            failed(&outer).message,
            "failed to finalize: write it: no room"
        );
    }
}
