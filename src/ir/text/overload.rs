//! Which overload a name in the text means.
//!
//! PyTorch prints `aten::add(%x, %y, %1)` whatever the overload: the types of the inputs tell which. Where they do not, planish writes the
//! overload out (`aten::add.Tensor`); the one without a name is `default`, as PyTorch calls it.

use crate::{Op, Sym, Type};

/// The operator that a name without overload means for inputs of these types.
pub(super) fn implied(name: Sym, inputs: &[Type]) -> Op {
    Op::resolve_by_types(name, inputs).unwrap_or_else(|| Op::of(name.as_str()))
}

/// The operator that a name with overload means.
pub(super) fn explicit(qualified: &str) -> Op {
    Op::of(qualified.strip_suffix(".default").unwrap_or(qualified))
}

/// An operator's name with its overload written out.
pub(super) fn written_out(op: Op) -> String {
    format!("{}.{}", op.name(), overload(op))
}

/// An operator's overload as it is written.
pub(super) fn overload(op: Op) -> &'static str {
    match op.info().overload.as_str() {
        "" => "default",
        overload => overload,
    }
}
