//! Why an evaluation ended without a result.

use planish_ir::{Loc, Op, TensorError};

/// Why an evaluation ended without a result.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A node could not be evaluated.
    #[error("evaluate {op}{}: {source}", loc.map(|loc| format!(" at {loc}")).unwrap_or_default())]
    Node {
        /// The node's operator.
        op: Op,
        /// Where it stands in the source, if that is known.
        loc: Option<Loc>,
        /// The reason.
        source: Box<Error>,
    },
    /// The program raised an exception.
    #[error("run the program: it raised {class}: {message}")]
    Raised {
        /// Qualified name of the exception's class.
        class: String,
        /// Message.
        message: String,
        /// Where it was raised, if that is known.
        loc: Option<Loc>,
    },
    /// The operator, or this use of it, has no meaning here.
    #[error("find a meaning for {0}")]
    Unsupported(String),
    /// An argument is not of the kind that the operator takes.
    #[error("read argument {index} ({name}) as {wanted}: it is {found}")]
    Argument {
        /// Position, from 0.
        index: usize,
        /// The parameter's name, or `?`.
        name: String,
        /// What the operator takes.
        wanted: &'static str,
        /// What was given.
        found: String,
    },
    /// The arguments do not fit each other.
    #[error("{0}")]
    Invalid(String),
    /// A method, attribute or class is missing, or a value was read before it was written.
    #[error("find {0}")]
    Missing(String),
    /// The evaluation would take more than it may.
    #[error("stay within the limit of {limit} {what}")]
    Limit {
        /// The limited thing.
        what: &'static str,
        /// How much there may be.
        limit: u64,
    },
    /// A tensor could not be made.
    #[error(transparent)]
    Tensor(#[from] TensorError),
}

/// A result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// Arguments that do not fit each other.
    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::Invalid(message.into())
    }

    /// This error with the node at which it happened; the innermost node stays.
    pub(crate) fn at(self, op: Op, loc: Option<Loc>) -> Self {
        match self {
            Self::Node { .. } => self,
            Self::Raised {
                class,
                message,
                loc: known,
            } => Self::Raised {
                class,
                message,
                loc: known.or(loc),
            },
            reason => Self::Node {
                op,
                loc,
                source: Box::new(reason),
            },
        }
    }
}
