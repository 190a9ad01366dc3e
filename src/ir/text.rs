//! The text form of graphs and modules.
//!
//! Bodies are spelled as TorchScript prints them, and everything that PyTorch prints is read, more than PyTorch's own parser takes; see
//! `docs/text-ir.md` for the grammar. There are two spellings: [`faithful`] keeps the names of values and their places in the source, and
//! prints numbers as PyTorch does; [`canonical`] numbers values in program order, drops places, and prints floats in the fewest digits
//! that read back to the same bits, so that equal graphs are equal text.

mod blobs;
mod cursor;
mod element;
mod lex;
mod literal;
mod number;
mod overload;
mod parse;
mod quote;
mod random;
mod tensor;
mod types;

pub use blobs::Blobs;

use crate::Graph;
use crate::diag::Diagnostics;
use cursor::Parser;

/// Reads one graph.
pub fn parse_graph(text: &str) -> Result<Graph, Diagnostics> {
    parse_graph_with(text, &Blobs::new())
}

/// Reads one graph whose large constants are blobs.
pub fn parse_graph_with(text: &str, blobs: &Blobs) -> Result<Graph, Diagnostics> {
    Parser::new(text, blobs).whole(Parser::graph)
}
