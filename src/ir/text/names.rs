//! The names that values are printed with, and the order in which a graph is printed.

use std::collections::{HashMap, HashSet};

use foldhash::quality::RandomState;

use crate::text::Style;
use crate::{BlockId, Graph, NodeId, SecondaryMap, ValueId, ValueName};

/// The values of a graph in the order of the text, with the names that they are printed with, without their `%`.
pub fn names(graph: &Graph, style: Style) -> Vec<(ValueId, ValueName)> {
    let values = in_text_order(graph, &events(graph));
    let mut names = names_of(graph, style, &values);
    let named = values.into_iter();
    named
        .map(|value| (value, std::mem::replace(&mut names[value], ValueName::NONE)))
        .collect()
}

/// Gives every value the name that a faithful text would print, so that it is known by it from now on, whatever becomes of the graph.
pub fn settle_names(graph: &mut Graph) {
    for (value, name) in names(graph, Style::Faithful) {
        graph.set_name(value, name);
    }
}

/// A value's name in the text, without its `%`.
pub(super) type Names = SecondaryMap<ValueId, ValueName>;

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

/// The names of these values, which are all of a graph, in the order of the text.
pub(super) fn names_of(graph: &Graph, style: Style, values: &[ValueId]) -> Names {
    let mut names = Names::with_default(ValueName::NONE);
    match style {
        Style::Faithful => faithful(graph, values, &mut names),
        Style::Canonical => {
            for (number, value) in (0..).zip(values) {
                names[*value] = ValueName::number(number);
            }
        }
    }
    names
}

/// The values' own names; a value without one gets a free number, and a name that is taken a number behind it.
fn faithful(graph: &Graph, values: &[ValueId], names: &mut Names) {
    let mut taken: HashSet<ValueName, RandomState> = HashSet::default();
    // Few names are numbers: a graph is large, and whether a number is free is asked for most of its values.
    let mut some_are_numbers = false;
    // The copies that a name has so far: a layer that stands in a network a thousand times has a thousand of each.
    let mut copies: HashMap<ValueName, u32, RandomState> = HashMap::default();
    for value in values {
        let Some(name) = graph.value(*value).name() else {
            continue;
        };
        let wanted = printable(name);
        if taken.insert(wanted.clone()) {
            some_are_numbers |= wanted.text().is_none();
            names[*value] = wanted;
            continue;
        }
        let copy = copies.entry(wanted.clone()).or_default();
        names[*value] = loop {
            *copy += 1;
            let name = ValueName::new(&format!("{wanted}.{copy}"));
            if taken.insert(name.clone()) {
                break name;
            }
        };
    }
    let numbers = (0..).map(ValueName::number);
    let mut free = numbers.filter(|name| !some_are_numbers || !taken.contains(name));
    for value in values {
        if names[*value].is_none() {
            names[*value] = free.next().expect("there are more numbers than values");
        }
    }
}

/// A name in which only characters stand that a value's name has.
fn printable(name: &ValueName) -> ValueName {
    let fits = |c: char| c.is_ascii_alphanumeric() || "._/$".contains(c) || !c.is_ascii();
    let Some(text) = name.text().filter(|text| !text.chars().all(fits)) else {
        return name.clone();
    };
    // `::` is allowed, a single colon is not.
    let parts = text.split("::").map(|part| {
        let chars = part.chars().map(|c| if fits(c) { c } else { '_' });
        chars.collect::<String>()
    });
    ValueName::new(&parts.collect::<Vec<_>>().join("::"))
}

/// All values of a graph, in the order in which the text defines them.
pub(super) fn in_text_order(graph: &Graph, events: &[Event]) -> Vec<ValueId> {
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
