//! What can go wrong when a program is made or run.

/// Why a program could not be made or run. Messages read after "failed to".
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// A kernel could not be loaded or called.
    #[error(transparent)]
    Kernel(#[from] crate::Error),
    /// The reference evaluator could not compute something; also an exception that the program raised.
    #[error(transparent)]
    Eval(#[from] planish_eval::Error),
    /// A kernel's numbers could not be made.
    #[error(transparent)]
    Numbers(#[from] planish_kernels::Error),
    /// Tensors that do not fit.
    #[error("{0}")]
    Shape(String),
    /// A packed weight that cannot be used.
    #[error("use a packed weight: {0}")]
    Weight(&'static str),
    /// The program is not one that can run.
    #[error("make a program: {0}")]
    Program(String),
    /// The arguments are not those that the program takes.
    #[error("call {method}: {why}")]
    Arguments {
        /// The method.
        method: String,
        /// What is wrong with them.
        why: String,
    },
    /// Something went wrong at a node.
    #[error("run {op}{place}")]
    At {
        /// The node's operator.
        op: String,
        /// Where it stands in the source, if that is known.
        place: String,
        /// What went wrong.
        #[source]
        source: Box<RunError>,
    },
}
