//! When two graphs are the same.

use std::sync::Arc;

use crate::{Attr, BlockId, Graph, Literal, Node, NodeId, SecondaryMap, ValueId};

/// Whether two graphs are the same but for the names of values and the places in the source; if not, the first difference in words.
///
/// Operators with their overloads, attributes, types, blocks, and which value each operand reads must agree, in program order. A payload
/// that a text left out ([`Literal::Opaque`]) is the same as any.
pub fn isomorphic(a: &Graph, b: &Graph) -> Result<(), String> {
    let mut pairing = Pairing {
        a,
        b,
        pairs: SecondaryMap::new(),
    };
    pairing.block(a.entry(), b.entry(), "the graph")?;
    // Blocks and nodes still to compare, with the block that ends after them.
    let mut todo = vec![(
        a.entry(),
        b.entry(),
        first(a, a.entry()),
        first(b, b.entry()),
    )];
    let mut count = 0;
    while let Some((in_a, in_b, next_a, next_b)) = todo.pop() {
        match (next_a, next_b) {
            (None, None) => pairing.results(in_a, in_b)?,
            (Some(id_a), Some(id_b)) => {
                let (node_a, node_b) = (a.node(id_a), b.node(id_b));
                pairing.node(node_a, node_b, count)?;
                count += 1;
                todo.push((in_a, in_b, a.next(id_a), b.next(id_b)));
                let blocks = node_a.blocks().iter().zip(node_b.blocks());
                for (block_a, block_b) in blocks.rev() {
                    pairing.block(*block_a, *block_b, "a block")?;
                    todo.push((*block_a, *block_b, first(a, *block_a), first(b, *block_b)));
                }
            }
            (Some(id), None) => {
                return Err(format!(
                    "only the first has {} (node {count})",
                    a.node(id).op()
                ));
            }
            (None, Some(id)) => {
                return Err(format!(
                    "only the second has {} (node {count})",
                    b.node(id).op()
                ));
            }
        }
    }
    Ok(())
}

struct Pairing<'g> {
    a: &'g Graph,
    b: &'g Graph,
    /// For each value of the first graph, that of the second.
    pairs: SecondaryMap<ValueId, Option<ValueId>>,
}

impl Pairing<'_> {
    fn block(&mut self, a: BlockId, b: BlockId, what: &str) -> Result<(), String> {
        self.values(self.a.block(a).params(), self.b.block(b).params(), || {
            format!("parameters of {what}")
        })
    }

    fn results(&self, a: BlockId, b: BlockId) -> Result<(), String> {
        let (a, b) = (self.a.block(a).results(), self.b.block(b).results());
        self.reads(a, b, || "results of a block or graph".to_owned())
    }

    fn node(&mut self, a: Node<'_>, b: Node<'_>, count: usize) -> Result<(), String> {
        let what = || format!("node {count} ({})", a.op());
        if a.op() != b.op() {
            return Err(format!("{} against {}", what(), b.op()));
        }
        self.reads(a.inputs(), b.inputs(), || format!("inputs of {}", what()))?;
        let names = |node: Node<'_>| node.attrs().len();
        let agree = names(a) == names(b)
            && a.attrs().all(|(name, attr)| {
                b.attr(name.as_str())
                    .is_some_and(|other| same_attr(attr, other))
            });
        // A constant without payload is `None`, or one whose payload is unknown.
        let unknown = (opaque_value(a) || opaque_value(b)) && a.op().is("prim::Constant");
        if !agree && !unknown {
            let attrs = |node: Node<'_>| {
                let attrs: Vec<String> = node
                    .attrs()
                    .map(|(name, attr)| format!("{name}={}", spelled(attr)))
                    .collect();
                attrs.join(", ")
            };
            return Err(format!("{}: [{}] against [{}]", what(), attrs(a), attrs(b)));
        }
        if a.blocks().len() != b.blocks().len() {
            let (a, b) = (a.blocks().len(), b.blocks().len());
            return Err(format!("{}: {a} blocks against {b}", what()));
        }
        self.values(a.outputs(), b.outputs(), || {
            format!("outputs of {}", what())
        })
    }

    /// Pairs values that are defined.
    fn values(
        &mut self,
        a: &[ValueId],
        b: &[ValueId],
        what: impl Fn() -> String,
    ) -> Result<(), String> {
        if a.len() != b.len() {
            return Err(format!("{}: {} against {}", what(), a.len(), b.len()));
        }
        for (a, b) in a.iter().zip(b) {
            let (ty_a, ty_b) = (self.a.ty(*a), self.b.ty(*b));
            if ty_a != ty_b {
                return Err(format!("{}: type {ty_a} against {ty_b}", what()));
            }
            self.pairs[*a] = Some(*b);
        }
        Ok(())
    }

    /// Compares values that are read.
    fn reads(&self, a: &[ValueId], b: &[ValueId], what: impl Fn() -> String) -> Result<(), String> {
        if a.len() != b.len() {
            return Err(format!("{}: {} against {}", what(), a.len(), b.len()));
        }
        match a
            .iter()
            .zip(b)
            .position(|(a, b)| self.pairs[*a] != Some(*b))
        {
            Some(at) => Err(format!("{}: number {at} reads another value", what())),
            None => Ok(()),
        }
    }
}

fn first(graph: &Graph, block: BlockId) -> Option<NodeId> {
    graph.block(block).first()
}

fn opaque_value(node: Node<'_>) -> bool {
    node.attrs().len() == 1 && matches!(node.literal("value"), Some(Literal::Opaque))
}

fn same_attr(a: &Attr, b: &Attr) -> bool {
    match (a, b) {
        (Attr::Literal(a), Attr::Literal(b)) => same_literal(a, b),
        (Attr::Graph(a), Attr::Graph(b)) => Arc::ptr_eq(a, b) || isomorphic(a, b).is_ok(),
        _ => a == b,
    }
}

fn same_literal(a: &Literal, b: &Literal) -> bool {
    let all = |a: &[Literal], b: &[Literal]| {
        a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same_literal(a, b))
    };
    match (a, b) {
        (Literal::Opaque, _) | (_, Literal::Opaque) => true,
        (Literal::List(s, a), Literal::List(t, b)) => s == t && all(a, b),
        (Literal::Tuple(a), Literal::Tuple(b)) => all(a, b),
        (Literal::Dict(s, a), Literal::Dict(t, b)) => {
            let entries = |(a, b): (&(Literal, Literal), &(Literal, Literal))| {
                same_literal(&a.0, &b.0) && same_literal(&a.1, &b.1)
            };
            s == t && a.len() == b.len() && a.iter().zip(b.iter()).all(entries)
        }
        (Literal::Object(a), Literal::Object(b)) => {
            a.class == b.class
                && a.fields.len() == b.fields.len()
                && a.fields
                    .iter()
                    .zip(&b.fields)
                    .all(|((f, a), (g, b))| f == g && same_literal(a, b))
        }
        _ => a == b,
    }
}

fn spelled(attr: &Attr) -> String {
    const LONGEST: usize = 80;
    let text = match attr {
        Attr::Literal(literal) => literal.to_string(),
        Attr::Type(ty) => ty.to_string(),
        Attr::Types(types) => format!("{types:?}"),
        Attr::Graph(_) => "graph".to_owned(),
    };
    match text.char_indices().nth(LONGEST) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::parse_graph;

    fn difference(a: &str, b: &str) -> String {
        let graph = |body: &str| {
            let text = format!("graph(%x : Tensor, %y : Tensor):\n{body}\n  return (%1)\n");
            parse_graph(&text).unwrap()
        };
        isomorphic(&graph(a), &graph(b)).err().unwrap_or_default()
    }

    #[test]
    fn names_do_not_count_and_everything_else_does() {
        let relu = "%1 : Tensor = aten::relu(%x)";
        let twice = "%a : Tensor = aten::relu(%x)\n%1 : Tensor = aten::relu(%a)";
        assert_eq!(
            difference(relu, twice),
            "only the second has aten::relu (node 1)"
        );
        assert_eq!(difference(relu, relu), "");
        assert!(difference(relu, "%1 : Tensor = aten::relu(%y)").contains("reads another value"));
        assert!(difference(relu, "%1 : Tensor = aten::relu_(%x)").contains("against aten::relu_"));
        assert!(
            difference(relu, "%1 : Float(2) = aten::relu(%x)").contains("Tensor against Float(2)")
        );
        assert!(
            difference(
                "%1 : int = prim::Constant[value=1]()",
                "%1 : int = prim::Constant[value=2]()"
            )
            .contains("value=1] against [value=2]")
        );
        assert_eq!(
            difference(
                "%1 : Tensor = prim::Constant[value=<Tensor>]()",
                "%1 : Tensor = prim::Constant[value={6}]()"
            ),
            ""
        );
    }
}
