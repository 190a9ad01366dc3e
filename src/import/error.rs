//! The one error of this crate. Messages read after "failed to …" and name the place first.

use std::path::PathBuf;

use crate::torchscript::code::ast::Span;

/// Why a model file could not be imported.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The file could not be read at all.
    #[error("read `{}`: {source}", path.display())]
    Io {
        /// The file asked for.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },

    /// The file is readable, but it is no TorchScript archive.
    #[error("import `{name}`: it is {what}")]
    Format {
        /// The file or buffer, as the caller named it.
        name: String,
        /// What the file is, and what to do about it.
        what: String,
    },

    /// The zip container is damaged or over a limit.
    #[error("read the archive: {what}")]
    Archive {
        /// What is wrong with the container.
        what: String,
    },

    /// One entry of the archive is missing, damaged or over a limit.
    #[error("read entry `{entry}`: {what}")]
    Entry {
        /// The entry's name below the archive's top folder.
        entry: String,
        /// What is wrong with it.
        what: String,
    },

    /// A pickle stream is damaged, or asks for something outside the accepted subset.
    #[error("read pickle `{entry}` at byte {offset}: {what}")]
    Pickle {
        /// The entry that holds the stream.
        entry: String,
        /// Offset of the opcode in the stream.
        offset: usize,
        /// The opcode or global, and what is wrong with it.
        what: String,
    },

    /// A code file leaves the accepted subset, or does not type-check against the operators.
    #[error("read code at {file}:{line}:{column}: {what}")]
    Code {
        /// The code file inside the archive.
        file: String,
        /// Line, from 1.
        line: u32,
        /// Column, from 1.
        column: u32,
        /// The construct, and what is wrong with it.
        what: String,
    },

    /// A pickled object does not have the layout its class asks for.
    #[error("rebuild `{path}`: {what}")]
    Object {
        /// Dotted path of attributes from the pickle's root.
        path: String,
        /// What is wrong with the object.
        what: String,
    },
}

impl Error {
    pub(crate) fn archive(what: impl Into<String>) -> Self {
        Self::Archive { what: what.into() }
    }

    pub(crate) fn entry(entry: impl Into<String>, what: impl Into<String>) -> Self {
        Self::Entry {
            entry: entry.into(),
            what: what.into(),
        }
    }

    pub(crate) fn code(file: &str, span: Span, what: impl Into<String>) -> Self {
        Self::Code {
            file: file.to_owned(),
            line: span.line,
            column: span.column,
            what: what.into(),
        }
    }

    pub(crate) fn object(path: impl Into<String>, what: impl Into<String>) -> Self {
        Self::Object {
            path: path.into(),
            what: what.into(),
        }
    }
}

/// The result of every fallible verb of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;
