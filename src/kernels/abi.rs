//! The binary interface of kernels: one entry, one struct of arguments.
//!
//! Every kernel is `int symbol(const struct planish_args *)`. The struct is described once, here, and printed into each kernel's C. An
//! operator reads only the fields that it needs; the others are zero. The first field is the struct's size: an entry that was built for
//! another struct returns [`WRONG_SIZE`] and touches nothing.

use std::fmt::Write as _;

/// Version of this interface; it grows whenever the struct or the meaning of a field changes.
pub const VERSION: u32 = 1;

/// An entry's answer when it has done its work.
pub const DONE: i32 = 0;

/// An entry's answer when it was built for another [`Args`].
pub const WRONG_SIZE: i32 = 1;

/// A Rust type and what it is called in C.
trait CType {
    const C: &'static str;
    const ZERO: Self;
}

macro_rules! c_types {
    ($($rust:ty = $c:literal, $zero:expr;)+) => {
        $(impl CType for $rust {
            const C: &'static str = $c;
            const ZERO: Self = $zero;
        })+
    };
}

c_types! {
    *const u8 = "const u8 *", std::ptr::null();
    *const f32 = "const f32 *", std::ptr::null();
    *mut u8 = "u8 *", std::ptr::null_mut();
    i64 = "i64 ", 0;
    i32 = "i32 ", 0;
    f32 = "f32 ", 0.0;
}

macro_rules! args {
    ($($(#[doc = $doc:literal])+ $name:ident: $ty:ty,)+) => {
        /// The arguments of a call.
        #[derive(Clone, Copy, Debug)]
        #[repr(C)]
        pub struct Args {
            $($(#[doc = $doc])+ pub $name: $ty,)+
        }

        impl Args {
            /// Arguments that are all zero, apart from the size.
            pub const EMPTY: Self = {
                let mut args = Self { $($name: <$ty as CType>::ZERO,)+ };
                args.size = size_of::<Self>() as i64;
                args
            };
        }

        /// Declaration and comment of each field in C.
        const FIELDS: &[(&str, &str, &str)] = &[
            $((<$ty as CType>::C, stringify!($name), concat!($($doc),+)),)+
        ];
    };
}

args! {
    /// Size of this struct.
    size: i64,
    /// First input.
    x: *const u8,
    /// Second input of a binary operator.
    y: *const u8,
    /// Weights: packed, or logical for a packing kernel.
    weights: *const u8,
    /// For each slot of an output channel: all biases, then all inverse scales, then all multipliers.
    epilogue: *const f32,
    /// 256 codes.
    table: *const u8,
    /// Output.
    out: *mut u8,
    /// Working memory.
    scratch: *mut u8,
    /// Images, or rows of a matrix, or elements.
    n: i64,
    /// Height of the input.
    h: i64,
    /// Width of the input.
    w: i64,
    /// Channels.
    c: i64,
    /// Height of the output.
    oh: i64,
    /// Width of the output.
    ow: i64,
    /// Bytes that are copied together.
    inner: i64,
    /// Bytes from one copy to the next in the output.
    step: i64,
    /// Bytes before the first copy in the output.
    offset: i64,
    /// Groups of weights.
    groups: i64,
    /// Outputs of a group.
    outputs: i64,
    /// Inputs of a group.
    inputs: i64,
    /// Taps of the window.
    taps: i64,
    /// Runs into which the weights of an output fall.
    runs: i64,
    /// Whether the weights are depthwise ones.
    depthwise: i64,
    /// Scale of the first input.
    sx: f32,
    /// Scale of the second input.
    sy: f32,
    /// What a real result is multiplied with to become a code.
    multiplier: f32,
    /// Zero point of the first input.
    zx: i32,
    /// Zero point of the second input.
    zy: i32,
    /// Zero point of the output.
    zo: i32,
    /// Smallest code of the output.
    lo: i32,
    /// Largest code of the output.
    hi: i32,
}

/// The declaration of the struct in C.
pub fn declaration() -> String {
    let mut text = String::from("struct planish_args {\n");
    for (ty, name, doc) in FIELDS {
        let declaration = format!("{ty}{name};");
        // Writing to a `String` cannot fail.
        let _ = writeln!(text, "    {declaration:<22}/*{doc} */");
    }
    let _ = writeln!(
        text,
        "}};\n_Static_assert(sizeof(struct planish_args) == {}, \"layout\");",
        size_of::<Args>()
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn declaration_names_every_field_once() {
        let text = declaration();
        assert!(
            text.contains("    const f32 *epilogue;  /* For each slot"),
            "{text}"
        );
        assert_eq!(text.matches(';').count(), FIELDS.len() + 2);
        assert_eq!(Args::EMPTY.size, size_of::<Args>() as i64);
    }
}
