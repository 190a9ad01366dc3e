//! What can be wrong with a specification or with the numbers that are given for one.

/// Why a kernel, its weights or its output stage could not be made. Messages read after "failed to".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The geometry makes no sense, or is larger than a kernel can address.
    #[error("specify kernel `{spec}`: {why}")]
    Geometry {
        /// The specification.
        spec: String,
        /// What is wrong with it.
        why: String,
    },
    /// The text names no kernel.
    #[error("read kernel `{text}`: {why}")]
    Text {
        /// The text.
        text: String,
        /// What was expected.
        why: String,
    },
    /// An array has another length than the kernel wants.
    #[error("prepare kernel `{spec}`: {what} has {found} values, expected {expected}")]
    Length {
        /// The specification.
        spec: String,
        /// Which array.
        what: &'static str,
        /// Its length.
        found: usize,
        /// The length the kernel wants.
        expected: usize,
    },
    /// A scale is not a positive finite number.
    #[error("prepare kernel `{spec}`: {what} is {value}, expected a positive finite number")]
    Scale {
        /// The specification.
        spec: String,
        /// Which scale.
        what: &'static str,
        /// Its value.
        value: String,
    },
    /// The operator has no weights, or none that this function can prepare.
    #[error("prepare kernel `{spec}`: it takes no weights")]
    NoWeights {
        /// The specification.
        spec: String,
    },
}
