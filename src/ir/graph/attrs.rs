//! What is said of nodes by name: their attributes.
//!
//! Most nodes that have attributes have one string, `name`: which attribute a `prim::GetAttr` reads, which method a `prim::CallMethod`
//! calls. It stands in a table of its own, as an interned name; other attributes stand in a list, as there are one or two.

use std::slice;
use std::sync::LazyLock;

use smallvec::SmallVec;

use crate::{Attr, Graph, Literal, NodeId, Sym};

/// The attributes of a node, without its string `name`, in the order in which they were given.
pub(crate) type Attrs = SmallVec<[(Sym, Attr); 1]>;

/// The attributes of a node: its string `name` first, the others in the order in which they were given.
#[derive(Clone, Debug)]
pub struct Attributes<'g> {
    name: Option<Sym>,
    others: slice::Iter<'g, (Sym, Attr)>,
}

static NAME: LazyLock<Sym> = LazyLock::new(|| Sym::new("name"));

impl Graph {
    /// Sets an attribute; one that was there keeps its place.
    pub fn set_attr(&mut self, node: NodeId, name: &str, attr: impl Into<Attr>) {
        self.set(node, Sym::new(name), attr.into());
    }

    pub(super) fn set(&mut self, node: NodeId, name: Sym, attr: Attr) {
        if name == *NAME {
            self.remove_attr(node, name.as_str());
            if let Attr::Literal(Literal::Str(text)) = &attr {
                self.nodes.names[node] = Some(Sym::new(text));
                return;
            }
        }
        let attrs = self.nodes.attrs[node].get_or_insert_default();
        match attrs.iter_mut().find(|(key, _)| *key == name) {
            Some((_, old)) => *old = attr,
            None => attrs.push((name, attr)),
        }
    }

    /// Removes an attribute; the others keep their order.
    pub fn remove_attr(&mut self, node: NodeId, name: &str) {
        if *NAME == *name {
            self.nodes.names[node] = None;
        }
        if let Some(attrs) = &mut self.nodes.attrs[node] {
            attrs.retain(|(key, _)| *key != *name);
        }
    }

    /// Gives a node the attributes of a node of another graph, and no others.
    pub(super) fn copy_attrs(&mut self, from: &Self, old: NodeId, new: NodeId) {
        self.nodes.names[new] = from.nodes.names[old];
        self.nodes.attrs[new].clone_from(&from.nodes.attrs[old]);
    }

    pub(super) fn remove_attrs(&mut self, node: NodeId) {
        self.nodes.names[node] = None;
        self.nodes.attrs[node] = None;
    }

    /// The attributes of a node.
    #[inline]
    pub(crate) fn attrs(&self, node: NodeId) -> Attributes<'_> {
        let others = self.nodes.attrs[node].as_deref();
        Attributes {
            name: self.nodes.names[node],
            others: others.map_or(&[][..], SmallVec::as_slice).iter(),
        }
    }

    /// The attribute of a node with this name.
    #[inline]
    pub(crate) fn attr(&self, node: NodeId, name: &str) -> Option<&Attr> {
        if *NAME == *name
            && let Some(known) = self.nodes.names[node]
        {
            return Some(known.as_attr());
        }
        let mut others = self.nodes.attrs[node].as_deref()?.iter();
        others.find_map(|(key, attr)| (*key == *name).then_some(attr))
    }
}

impl<'g> Iterator for Attributes<'g> {
    type Item = (Sym, &'g Attr);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if let Some(name) = self.name.take() {
            return Some((*NAME, name.as_attr()));
        }
        self.others.next().map(|(key, attr)| (*key, attr))
    }

    #[inline]
    fn size_hint(&self) -> (usize, Option<usize>) {
        let len = usize::from(self.name.is_some()) + self.others.len();
        (len, Some(len))
    }
}

impl ExactSizeIterator for Attributes<'_> {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{At, Op};

    #[test]
    fn a_name_is_an_attribute_like_others() {
        let mut graph = Graph::new();
        let node = graph.insert(At::End(graph.entry()), Op::of("prim::GetAttr"), &[], []);
        let said = |graph: &Graph| -> Vec<(String, Attr)> {
            let attrs = graph.node(node).attrs();
            assert_eq!(attrs.len(), attrs.clone().count());
            attrs
                .map(|(name, attr)| (name.to_string(), attr.clone()))
                .collect()
        };
        let of = |name: &str, attr: Attr| (name.to_owned(), attr);
        let (text, one, two) = (
            Attr::from(Literal::str("weight")),
            Attr::from(Literal::Int(1)),
            Attr::from(Literal::Int(2)),
        );
        graph.set_attr(node, "other", one.clone());
        graph.set_attr(node, "name", text.clone());
        assert_eq!(
            said(&graph),
            [of("name", text.clone()), of("other", one.clone())]
        );
        assert_eq!(graph.node(node).attr("name"), Some(&text));
        assert_eq!(graph.node(node).name_attr(), Some(Sym::new("weight")));
        // One that is no string is no name.
        graph.set_attr(node, "name", two.clone());
        assert_eq!(
            said(&graph),
            [of("other", one.clone()), of("name", two.clone())]
        );
        assert_eq!(graph.node(node).name_attr(), None);
        graph.set_attr(node, "name", text);
        graph.remove_attr(node, "name");
        graph.set_attr(node, "other", two.clone());
        assert_eq!(said(&graph), [of("other", two)]);
    }
}
