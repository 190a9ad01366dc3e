//! What names mean, block by block.

use std::rc::Rc;

use indexmap::IndexMap;
use planish_ir::ValueId;

use crate::torchscript::code::ast::Function;

/// What an expression means before it is used.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Sugar {
    /// A value.
    Value(ValueId),
    /// The results of an operator that has several, or none.
    Several(Vec<ValueId>),
    /// A dotted name: a namespace, operator, function or class.
    Path(String),
    /// A method of an object.
    Method(ValueId, String),
    /// A nested function: what a fork runs.
    Closure(Rc<Function>),
}

/// The variables of a function: one frame for each block that is open.
#[derive(Debug)]
pub(super) struct Scope {
    frames: Vec<Frame>,
}

/// The variables that one block assigned, in the order of first assignment.
pub(super) type Frame = IndexMap<String, Sugar>;

impl Scope {
    pub(super) fn new() -> Self {
        Self {
            frames: vec![Frame::new()],
        }
    }

    /// The meaning of a name, from the innermost block outwards.
    pub(super) fn get(&self, name: &str) -> Option<&Sugar> {
        self.frames.iter().rev().find_map(|frame| frame.get(name))
    }

    /// Assigns a variable in the innermost block.
    pub(super) fn set(&mut self, name: &str, sugar: Sugar) {
        // The function's own frame is never closed.
        if let Some(frame) = self.frames.last_mut() {
            frame.insert(name.to_owned(), sugar);
        }
    }

    /// Opens a block.
    pub(super) fn open(&mut self) {
        self.frames.push(Frame::new());
    }

    /// Closes the innermost block and returns what it assigned.
    pub(super) fn close(&mut self) -> Frame {
        self.frames.pop().unwrap_or_default()
    }
}
