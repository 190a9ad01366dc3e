//! What is wrong with a text, and where.
//!
//! Reading a text reports every fault that it can tell apart, not only the first. This crate only states them; drawing them with carets
//! is left to whoever has a terminal.

use std::fmt;
use std::ops::Range;

/// One fault of a text.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Diagnostic {
    /// What is wrong.
    pub message: String,
    /// Bytes of the text that it is about.
    pub span: Range<usize>,
    /// Line of the span's start, from 1.
    pub line: usize,
    /// Character of the span's start in its line, from 1.
    pub column: usize,
    /// What helps to understand it.
    pub notes: Vec<String>,
}

/// The faults of one text, in the order in which they were found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Diagnostics {
    /// Name of the text, such as a file name.
    pub file: String,
    /// The faults; at least one.
    pub list: Vec<Diagnostic>,
}

impl Diagnostic {
    /// A fault of `span` in `text`.
    pub fn new(text: &str, span: Range<usize>, message: impl Into<String>) -> Self {
        let mut start = span.start.min(text.len());
        while !text.is_char_boundary(start) {
            start -= 1;
        }
        let before = &text[..start];
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        Self {
            message: message.into(),
            span,
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
            notes: Vec::new(),
        }
    }

    /// This fault with a further note.
    #[must_use]
    pub fn note(mut self, note: impl Into<String>) -> Self {
        self.notes.push(note.into());
        self
    }
}

impl Diagnostics {
    /// These faults, as those of the file `name`.
    #[must_use]
    pub fn in_file(mut self, name: &str) -> Self {
        name.clone_into(&mut self.file);
        self
    }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, fault) in self.list.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(
                f,
                "{}:{}:{}: {}",
                self.file, fault.line, fault.column, fault.message
            )?;
            for note in &fault.notes {
                write!(f, " ({note})")?;
            }
        }
        Ok(())
    }
}

impl std::error::Error for Diagnostics {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_counted_in_lines_and_characters() {
        let text = "a\nüber x";
        let at = text.find('x').unwrap();
        let fault = Diagnostic::new(text, at..at + 1, "`x` is unknown").note("declare it");
        assert_eq!((fault.line, fault.column), (2, 6));
        let all = Diagnostics {
            file: "f.ir".to_owned(),
            list: vec![fault],
        };
        assert_eq!(all.to_string(), "f.ir:2:6: `x` is unknown (declare it)");
    }

    #[test]
    fn a_span_outside_the_text_is_reported_at_its_end() {
        assert_eq!(Diagnostic::new("é", 1..9, "cut").column, 1);
        assert_eq!(Diagnostic::new("ab", 7..9, "cut").column, 3);
    }
}
