//! Graphs: printing.

use std::collections::HashMap;
use std::fmt;

use bytes::Bytes;

use crate::text::Blobs;
use crate::text::names::{Event, Events, Names, by_value};
use crate::text::overload::{implied, overload, written_out};
use crate::{Attr, Graph, GraphModule, Literal, Node, NodeId, Type, ValueId};

/// The two spellings.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Style {
    /// With the names of values and their places in the source, numbers as PyTorch prints them.
    Faithful,
    /// Values numbered in program order, no places, floats in the fewest digits: equal graphs are equal text.
    Canonical,
}

/// Writes graphs and modules as text.
pub struct Printer<'b> {
    pub(super) style: Style,
    pub(super) out: String,
    pub(super) indent: usize,
    outside: Option<Outside<'b>>,
}

/// Where large tensors go.
struct Outside<'b> {
    blobs: &'b mut Blobs,
    /// Most elements that stand in the text.
    inline: usize,
    /// Names of the payloads that are there already.
    known: HashMap<Bytes, String>,
}

impl<'b> Printer<'b> {
    /// A printer that writes every tensor into the text.
    pub fn new(style: Style) -> Self {
        Self {
            style,
            out: String::new(),
            indent: 0,
            outside: None,
        }
    }

    /// This printer, putting tensors of more than `inline` elements into `blobs`; equal payloads are put there once.
    #[must_use]
    pub fn blobs(mut self, blobs: &'b mut Blobs, inline: usize) -> Self {
        let known = blobs
            .iter()
            .map(|(name, payload)| (payload.clone(), name.to_owned()))
            .collect();
        self.outside = Some(Outside {
            blobs,
            inline,
            known,
        });
        self
    }

    /// The text of a graph, ending in a line break.
    pub fn graph(&mut self, graph: &Graph) -> String {
        self.write_graph(graph);
        std::mem::take(&mut self.out)
    }

    /// The name of the blob for this payload, unless its tensor stands in the text.
    pub(super) fn outside(&mut self, numel: usize, payload: Bytes) -> Option<String> {
        let outside = self.outside.as_mut()?;
        if numel <= outside.inline {
            return None;
        }
        if let Some(name) = outside.known.get(&payload) {
            return Some(name.clone());
        }
        let mut number = outside.blobs.len();
        let name = loop {
            let name = format!("t{number}");
            if outside.blobs.get(&name).is_none() {
                break name;
            }
            number += 1;
        };
        outside.blobs.insert(&name, payload.clone());
        outside.known.insert(payload, name.clone());
        Some(name)
    }

    pub(super) fn put(&mut self, text: fmt::Arguments<'_>) {
        fmt::write(&mut self.out, text).expect("a string takes any text");
    }

    /// Starts a line.
    pub(super) fn line(&mut self) {
        for _ in 0..self.indent {
            self.out.push_str("  ");
        }
    }

    pub(super) fn write_graph(&mut self, graph: &Graph) {
        let names = by_value(graph, self.style);
        let mut bodies = Vec::new();
        self.line();
        self.out.push_str("graph(");
        for (index, param) in graph.params().iter().enumerate() {
            if index > 0 {
                self.out.push_str(",\n");
                self.line();
                self.out.push_str("      ");
            }
            self.binding(graph, &names, *param);
        }
        self.out.push_str("):\n");
        self.indent += 1;
        for event in Events::new(graph) {
            match event {
                Event::Node(id) => {
                    let label = graph_label(graph.node(id), bodies.len());
                    if let Some(label) = &label {
                        bodies.push((label.clone(), id));
                    }
                    self.node(graph, &names, id, label.as_deref());
                }
                Event::Open(block, index) => {
                    self.indent += 1;
                    self.line();
                    self.put(format_args!("block{index}("));
                    for (index, param) in graph.block(block).params().iter().enumerate() {
                        if index > 0 {
                            self.out.push_str(", ");
                        }
                        self.binding(graph, &names, *param);
                    }
                    self.out.push_str("):\n");
                    self.indent += 1;
                }
                Event::Close(block) => {
                    self.line();
                    self.out.push_str("-> ");
                    self.values(&names, graph.block(block).results());
                    self.out.push('\n');
                    self.indent -= 2;
                }
            }
        }
        self.line();
        self.out.push_str("return ");
        self.values(&names, graph.results());
        self.out.push('\n');
        self.indent -= 1;
        for (label, id) in bodies {
            self.bodies(&label, graph.node(id));
        }
    }

    fn node(&mut self, graph: &Graph, names: &Names, id: NodeId, label: Option<&str>) {
        let node = graph.node(id);
        self.line();
        for (index, output) in node.outputs().iter().enumerate() {
            if index > 0 {
                self.out.push_str(", ");
            }
            // The function that a constant is stands in the attribute `name`.
            if function_name(graph, node).is_some() {
                self.put(format_args!("%{} : Function", names[*output]));
            } else {
                self.binding(graph, names, *output);
            }
        }
        // PyTorch prints the equal sign of a node without outputs too.
        self.out.push_str(" = ");
        let types: Vec<Type> = node
            .inputs()
            .iter()
            .map(|input| graph.ty(*input).clone())
            .collect();
        let op = node.op();
        let clear = implied(op.name(), &types) == op;
        match (label, self.style) {
            (Some(label), _) => self.out.push_str(label),
            (None, Style::Canonical) if !clear => self.out.push_str(&written_out(op)),
            _ => self.out.push_str(op.name().as_str()),
        }
        self.attrs(graph, node);
        self.values(names, node.inputs());
        if self.style == Style::Faithful {
            if !clear && label.is_none() {
                self.put(format_args!(" # @overload={}", overload(op)));
            }
            let loc = node
                .loc()
                .filter(|loc| !loc.file.as_str().contains(['\n', '#']));
            if let Some(loc) = loc {
                self.put(format_args!(" # {loc}"));
            }
        }
        self.out.push('\n');
    }

    fn attrs(&mut self, graph: &Graph, node: Node<'_>) {
        let mut separator = "[";
        let declared = match node.outputs() {
            [output, ..] if node.op().is("prim::Constant") => Some(graph.ty(*output).clone()),
            _ => None,
        };
        for (name, attr) in node.attrs() {
            if matches!(attr, Attr::Graph(_)) {
                continue;
            }
            self.out.push_str(separator);
            separator = ", ";
            if let Some(function) = function_name(graph, node) {
                self.out.push_str("name=");
                self.literal(&Literal::str(function), None);
                continue;
            }
            self.name(name.as_str(), false);
            self.out.push('=');
            match attr {
                Attr::Literal(literal) => {
                    let declared = declared.as_ref().filter(|_| name == "value");
                    self.literal(literal, declared);
                }
                Attr::Type(ty) => self.out.push_str(&told_from_literal(ty.to_string())),
                Attr::Types(types) if types.is_empty() => self.out.push_str("<Types>"),
                Attr::Types(types) => {
                    let types: Vec<String> = types.iter().map(ToString::to_string).collect();
                    let text = format!("[{}]", types.join(", "));
                    self.out.push_str(&told_from_literal(text));
                }
                Attr::Graph(_) => {}
            }
        }
        if separator != "[" {
            self.out.push(']');
        }
    }

    /// The graphs that a node carries, each in a clause after the graph in which the node stands.
    fn bodies(&mut self, label: &str, node: Node<'_>) {
        // The clause of `Subgraph` ends the search for the node's clauses, so it comes last.
        let (last, first): (Vec<_>, Vec<_>) = node
            .attrs()
            .filter_map(|(name, attr)| match attr {
                Attr::Graph(graph) => Some((name, graph)),
                _ => None,
            })
            .partition(|(name, _)| *name == "Subgraph");
        for (name, graph) in first.into_iter().chain(last) {
            self.line();
            self.out.push_str("with ");
            self.out.push_str(label);
            if name != "Subgraph" {
                self.out.push('[');
                self.name(name.as_str(), false);
                self.out.push(']');
            }
            self.out.push_str(" = ");
            let start = self.out.len();
            self.write_graph(graph);
            // The graph begins on this line, not with the indentation of a line of its own.
            let indent = 2 * self.indent;
            self.out.replace_range(start..start + indent, "");
        }
    }

    fn binding(&mut self, graph: &Graph, names: &Names, value: ValueId) {
        self.put(format_args!("%{} : {}", names[value], graph.ty(value)));
    }

    fn values(&mut self, names: &Names, values: &[ValueId]) {
        self.out.push('(');
        for (index, value) in values.iter().enumerate() {
            let comma = if index > 0 { ", " } else { "" };
            self.put(format_args!("{comma}%{}", names[*value]));
        }
        self.out.push(')');
    }
}

/// Types in place of a literal: one that begins with the empty tuple would be read as a literal.
fn told_from_literal(types: String) -> String {
    if types.trim_start_matches(['(', '[']).starts_with(')') {
        return types.replacen("()", "Tuple[()]", 1);
    }
    types
}

/// How a node that carries graphs is named in the text, when it does.
fn graph_label(node: Node<'_>, number: usize) -> Option<String> {
    let carries = node.attrs().any(|(_, attr)| matches!(attr, Attr::Graph(_)));
    carries.then(|| format!("{}_{number}", node.op().name()))
}

/// The function that a node makes, when it is a constant of which nothing else is to be said.
fn function_name(graph: &Graph, node: Node<'_>) -> Option<&'static str> {
    match (node.literal("value"), node.outputs()) {
        (Some(Literal::Function(name)), [output])
            if node.op().is("prim::Constant")
                && node.attrs().len() == 1
                && *graph.ty(*output) == Type::Function(*name) =>
        {
            Some(name.as_str())
        }
        _ => None,
    }
}

/// The canonical spelling.
impl fmt::Display for Graph {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&Printer::new(Style::Canonical).graph(self))
    }
}

/// The canonical spelling.
impl fmt::Display for GraphModule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&Printer::new(Style::Canonical).module(self))
    }
}

/// The canonical spelling of a literal for which no type is declared.
impl fmt::Display for Literal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut printer = Printer::new(Style::Canonical);
        printer.literal(self, None);
        f.write_str(&printer.out)
    }
}
