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
mod module;
mod names;
mod note;
mod number;
mod overload;
mod parse;
mod parse_module;
mod places;
mod print;
mod quote;
mod random;
mod spell;
mod spell_types;
mod tensor;
mod types;

pub use blobs::Blobs;
pub use names::{names, settle_names};
pub use print::{Printer, Style};

use crate::diag::Diagnostics;
use crate::verify::verify;
use crate::{Graph, GraphModule};
use cursor::Parser;

/// Reads one graph.
pub fn parse_graph(text: &str) -> Result<Graph, Diagnostics> {
    parse_graph_with(text, &Blobs::new())
}

/// Reads one graph whose large constants are blobs.
pub fn parse_graph_with(text: &str, blobs: &Blobs) -> Result<Graph, Diagnostics> {
    Parser::new(text, blobs).whole(Parser::graph)
}

/// Reads graphs that stand one after the other, each with the comment lines right before it.
pub fn parse_graphs(text: &str) -> Result<Vec<(String, Graph)>, Diagnostics> {
    let blobs = Blobs::new();
    Parser::new(text, &blobs).whole(|parser| {
        let mut graphs = Vec::new();
        while !parser.at_end() {
            let comment = parser.comment_above();
            graphs.push((comment, parser.graph()?));
        }
        Ok(graphs)
    })
}

/// Reads a model, or a single graph as the `forward` of a model.
///
/// A graph alone makes a root of the class of its first parameter when that is a module class, else of `__torch__.Main`; the graph itself
/// is left as it is, with or without a parameter for the root.
pub fn parse_module(text: &str) -> Result<GraphModule, Diagnostics> {
    parse_module_with(text, &Blobs::new())
}

/// Reads a model whose large tensors are blobs.
pub fn parse_module_with(text: &str, blobs: &Blobs) -> Result<GraphModule, Diagnostics> {
    Ok(Parser::new(text, blobs).whole(Parser::model)?.0)
}

/// Reads a model whose large tensors are blobs and checks the laws of graphs and modules; breaches are shown where they stand in the text.
pub fn parse_verified(text: &str, blobs: &Blobs) -> Result<GraphModule, Diagnostics> {
    let (module, places) = Parser::new(text, blobs).whole(Parser::model)?;
    match verify(&module) {
        Ok(_) => Ok(module),
        Err(breaches) => Err(places.diagnose(text, &module, &breaches)),
    }
}

/// The text of a graph with names and places.
pub fn faithful(graph: &Graph) -> String {
    Printer::new(Style::Faithful).graph(graph)
}

/// The text of a graph in which equal graphs are equal.
pub fn canonical(graph: &Graph) -> String {
    Printer::new(Style::Canonical).graph(graph)
}
