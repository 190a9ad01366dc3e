//! The pickle machine: protocol 2 as `torch.jit.save` writes it, and nothing else.
//!
//! It executes nothing. A `GLOBAL` must be on the allow-list and stays a name; `REDUCE` and `BUILD`
//! become values for the reader of objects to interpret. What comes out is an arena of values:
//! objects that the stream shares stay shared, a value that contains itself is an error, and depth
//! and unfolded size are bounded, so that readers may recurse.

mod machine;
mod shape;

use self::machine::Machine;
use crate::error::{Error, Result};

/// Deepest nesting of values. A submodule costs two levels.
pub const MAX_DEPTH: u32 = 256;
/// Most parts a stream may unfold to when whatever it shares is counted wherever it stands, with a
/// part for every 16 bytes of a string. A large vocabulary has a million.
pub const MAX_UNFOLDED: u64 = 1 << 23;
/// Index of a value in its [`Pickle`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ValueId(u32);

/// One value of a stream.
#[derive(Debug, Clone, PartialEq)]
pub enum Pickled {
    /// `None`.
    None,
    /// `True` or `False`.
    Bool(bool),
    /// An integer of at most 64 bits.
    Int(i64),
    /// A floating-point number.
    Float(f64),
    /// A string.
    Str(Box<str>),
    /// The name of a class or function on the allow-list.
    Global(Global),
    /// A tuple.
    Tuple(Vec<ValueId>),
    /// A list.
    List(Vec<ValueId>),
    /// A dictionary, in the order of the stream.
    Dict(Vec<(ValueId, ValueId)>),
    /// A persistent reference: for TorchScript, the tuple that names a storage.
    Persistent(ValueId),
    /// `callee` applied to `arg`: a tuple of arguments, or the bare value of an enum.
    Call {
        /// A global.
        callee: ValueId,
        /// The argument tuple or the bare value.
        arg: ValueId,
    },
    /// An instance of a class, with the state that `BUILD` gave it.
    Object {
        /// A global.
        class: ValueId,
        /// The state, once built.
        state: Option<ValueId>,
    },
}

/// A name from the allow-list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Global {
    /// A class of the archive itself, by qualified name (`__torch__.…`).
    Class(Box<str>),
    /// A function or class of PyTorch, as `module.name`.
    Torch(&'static str),
    /// A storage of PyTorch, by element name: `Float` for `torch.FloatStorage`.
    Storage(Box<str>),
}

/// A whole stream, read.
#[derive(Debug)]
pub struct Pickle {
    values: Vec<Pickled>,
    root: ValueId,
}

impl Pickle {
    /// Reads the stream of `entry`; the name is used in errors only.
    pub fn read(entry: &str, stream: &[u8]) -> Result<Self> {
        let (values, root) = Machine::new(entry, stream).run()?;
        let pickle = Self { values, root };
        shape::check(&pickle).map_err(|(path, what)| Error::object(path, what))?;
        Ok(pickle)
    }

    /// The value the stream stands for.
    pub fn root(&self) -> ValueId {
        self.root
    }

    /// The value behind an id of this pickle.
    pub fn get(&self, id: ValueId) -> &Pickled {
        &self.values[id.0 as usize]
    }

    /// The string behind an id, if it is one.
    pub fn str(&self, id: ValueId) -> Option<&str> {
        match self.get(id) {
            Pickled::Str(text) => Some(text),
            _ => None,
        }
    }

    /// The integer behind an id, if it is one.
    pub fn int(&self, id: ValueId) -> Option<i64> {
        match self.get(id) {
            Pickled::Int(value) => Some(*value),
            _ => None,
        }
    }

    /// The elements of a tuple or list, if it is one.
    pub fn items(&self, id: ValueId) -> Option<&[ValueId]> {
        match self.get(id) {
            Pickled::Tuple(items) | Pickled::List(items) => Some(items),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests;
