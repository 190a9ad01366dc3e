//! The names that values are printed with, and the order in which a graph is printed.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use foldhash::quality::RandomState;

use crate::text::Style;
use crate::{BlockId, Graph, NodeId, SecondaryMap, ValueId};

/// The values of a graph in the order of the text, with the names that they are printed with, without their `%`.
pub fn names(graph: &Graph, style: Style) -> Vec<(ValueId, Arc<str>)> {
    let events = events(graph);
    let mut names = match style {
        Style::Faithful => faithful(graph, &events),
        Style::Canonical => canonical(graph, &events),
    };
    let values = in_text_order(graph, &events).into_iter();
    values
        .map(|value| (value, std::mem::take(&mut names[value])))
        .collect()
}

/// Gives every value the name that a faithful text would print, so that it is known by it from now on, whatever becomes of the graph.
pub fn settle_names(graph: &mut Graph) {
    for (value, name) in names(graph, Style::Faithful) {
        graph.share_name(value, name);
    }
}

/// A value's name in the text, without its `%`.
pub(super) type Names = SecondaryMap<ValueId, Arc<str>>;

/// What comes next in a printed graph.
#[derive(Clone, Copy)]
pub(super) enum Event {
    /// A node, followed by its blocks.
    Node(NodeId),
    /// The head of block `.1` of a node.
    Open(BlockId, usize),
    /// The results of a block.
    Close(BlockId),
}

/// Everything between the head and the results of a graph, in the order of the text.
pub(super) fn events(graph: &Graph) -> Vec<Event> {
    enum Todo {
        From(Option<NodeId>),
        Block(BlockId, usize),
        Close(BlockId),
    }
    let mut events = Vec::with_capacity(graph.len());
    // An explicit stack: nesting is as deep as the input file says.
    let mut todo = vec![Todo::From(graph.block(graph.entry()).first())];
    while let Some(next) = todo.pop() {
        match next {
            Todo::From(None) => {}
            Todo::From(Some(id)) => {
                let node = graph.node(id);
                events.push(Event::Node(id));
                todo.push(Todo::From(graph.next(id)));
                let blocks = node.blocks().iter().enumerate().rev();
                todo.extend(blocks.map(|(index, block)| Todo::Block(*block, index)));
            }
            Todo::Block(block, index) => {
                events.push(Event::Open(block, index));
                todo.push(Todo::Close(block));
                todo.push(Todo::From(graph.block(block).first()));
            }
            Todo::Close(block) => events.push(Event::Close(block)),
        }
    }
    events
}

/// Values numbered in the order of the text.
pub(super) fn canonical(graph: &Graph, events: &[Event]) -> Names {
    let mut names = Names::new();
    for (number, value) in in_text_order(graph, events).into_iter().enumerate() {
        names[value] = number.to_string().into();
    }
    names
}

/// The values' own names; a value without one gets a free number, and a name that is taken a number behind it.
pub(super) fn faithful(graph: &Graph, events: &[Event]) -> Names {
    let mut names = Names::new();
    let values = in_text_order(graph, events);
    let mut taken: HashSet<Arc<str>, RandomState> = HashSet::default();
    // Few names are numbers: a graph is large, and whether a number is free is asked for most of its values.
    let mut numbers: HashSet<Arc<str>, RandomState> = HashSet::default();
    // The copies that a name has so far: a layer that stands in a network a thousand times has a thousand of each.
    let mut copies: HashMap<Arc<str>, u32, RandomState> = HashMap::default();
    for value in &values {
        let Some(name) = &graph.values.names[*value] else {
            continue;
        };
        let wanted = match printable(name) {
            Cow::Borrowed(_) => Arc::clone(name),
            Cow::Owned(name) => name.into(),
        };
        if !wanted.is_empty() && taken.insert(Arc::clone(&wanted)) {
            if wanted.bytes().all(|byte| byte.is_ascii_digit()) {
                numbers.insert(Arc::clone(&wanted));
            }
            names[*value] = wanted;
            continue;
        }
        let copy = copies.entry(Arc::clone(&wanted)).or_default();
        names[*value] = loop {
            *copy += 1;
            let name: Arc<str> = format!("{wanted}.{copy}").into();
            if taken.insert(Arc::clone(&name)) {
                break name;
            }
        };
    }
    let mut number = 0;
    for value in values {
        if !names[value].is_empty() {
            continue;
        }
        let mut name = number.to_string();
        while numbers.contains(name.as_str()) {
            number += 1;
            name = number.to_string();
        }
        names[value] = name.into();
        number += 1;
    }
    names
}

/// A name in which only characters stand that a value's name has.
fn printable(name: &str) -> Cow<'_, str> {
    let fits = |c: char| c.is_ascii_alphanumeric() || "._/$".contains(c) || !c.is_ascii();
    if name.chars().all(fits) {
        return Cow::Borrowed(name);
    }
    // `::` is allowed, a single colon is not.
    let parts = name.split("::");
    parts
        .map(|part| {
            let chars = part.chars().map(|c| if fits(c) { c } else { '_' });
            chars.collect::<String>()
        })
        .collect::<Vec<_>>()
        .join("::")
        .into()
}

/// All values of a graph, in the order in which the text defines them.
fn in_text_order(graph: &Graph, events: &[Event]) -> Vec<ValueId> {
    let mut values = graph.params().to_vec();
    for event in events {
        match event {
            Event::Node(node) => values.extend(graph.node(*node).outputs()),
            Event::Open(block, _) => values.extend(graph.block(*block).params()),
            Event::Close(_) => {}
        }
    }
    values
}
