//! From errors to what a user reads.

use std::error::Error;
use std::path::Path;

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};
use planish::ir::diag::Diagnostics;

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
}

/// An error and everything that caused it, as one sentence.
pub fn failed(error: &dyn Error) -> Failure {
    let mut message = format!("failed to {error}");
    let mut said = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        // Some errors repeat their cause in their own words.
        let text = inner.to_string();
        if !said.contains(&text) {
            message.push_str(": ");
            message.push_str(&text);
            said = text;
        }
        cause = inner.source();
    }
    Failure::input(message)
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
        let report = [Level::ERROR
            .primary_title(diagnostic.message.as_str())
            .element(snippet)];
        message.push('\n');
        message.push_str(&renderer.render(&report));
    }
    Failure::input(message)
}
