//! The names that values are printed with, and the order in which a graph is printed.

use std::collections::{HashMap, HashSet};

use foldhash::quality::RandomState;

use crate::entity::PrimaryMap;
use crate::text::Style;
use crate::{BlockId, Graph, NodeId, ValueId, ValueName};

/// A value's name in the text, without its `%`.
pub(super) type Names = PrimaryMap<ValueId, ValueName>;

/// The values of a graph in the order of the text, with the names that they are printed with, without their `%`.
pub fn names(graph: &Graph, style: Style) -> Vec<(ValueId, ValueName)> {
    let (values, names) = named(graph, style);
    let values = values.into_iter();
    values.map(|value| (value, names[value].clone())).collect()
}

/// Gives every value the name that a faithful text would print, so that it is known by it from now on, whatever becomes of the graph.
pub fn settle_names(graph: &mut Graph) {
    let values = in_text_order(graph);
    give(&mut graph.values.names, &values);
}

/// The names of the values of a graph, by value.
pub(super) fn by_value(graph: &Graph, style: Style) -> Names {
    named(graph, style).1
}

/// The values of a graph in the order of the text, and their names.
fn named(graph: &Graph, style: Style) -> (Vec<ValueId>, Names) {
    let values = in_text_order(graph);
    let own = &graph.values.names;
    let mut names = match style {
        Style::Faithful => own.clone(),
        Style::Canonical => own.keys().map(|_| ValueName::NONE).collect(),
    };
    give(&mut names, &values);
    (values, names)
}

/// Gives every value a name that no other has: the one that it has, if the text can say it, else a number.
fn give(names: &mut Names, values: &[ValueId]) {
    let mut given = Given::default();
    for value in values {
        let own = &mut names[*value];
        if !own.is_none() {
            *own = given.own(own);
        }
    }
    let mut numbers = given.free_numbers();
    for value in values {
        let own = &mut names[*value];
        if own.is_none() {
            *own = numbers.next().expect("ids of values are 32 bits wide");
        }
    }
}

/// The names that a text has given so far: a name that is taken gets a number behind it, and a value without one gets a free number.
#[derive(Default)]
struct Given {
    taken: HashSet<ValueName, RandomState>,
    /// Few names are numbers: a graph is large, and whether a number is free is asked for most of its values.
    some_are_numbers: bool,
    /// The copies that a name has so far: a layer that stands in a network a thousand times has a thousand of each.
    copies: HashMap<ValueName, u32, RandomState>,
}

impl Given {
    /// The name of a value that has one.
    fn own(&mut self, name: &ValueName) -> ValueName {
        let wanted = printable(name);
        if self.taken.insert(wanted.clone()) {
            self.some_are_numbers |= wanted.text().is_none();
            return wanted;
        }
        let copy = self.copies.entry(wanted.clone()).or_default();
        loop {
            *copy += 1;
            let name = ValueName::new(&format!("{wanted}.{copy}"));
            if self.taken.insert(name.clone()) {
                return name;
            }
        }
    }

    /// Names for those that have none, once all others are given.
    fn free_numbers(&self) -> impl Iterator<Item = ValueName> {
        let numbers = (0..=u32::MAX).map(ValueName::number);
        numbers.filter(|name| !self.some_are_numbers || !self.taken.contains(name))
    }
}

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
pub(super) struct Events<'g> {
    graph: &'g Graph,
    /// An explicit stack: nesting is as deep as the input file says.
    todo: Vec<Todo>,
}

enum Todo {
    From(Option<NodeId>),
    Block(BlockId, usize),
    Close(BlockId),
}

impl<'g> Events<'g> {
    pub(super) fn new(graph: &'g Graph) -> Self {
        let first = graph.block(graph.entry()).first();
        Self {
            graph,
            todo: vec![Todo::From(first)],
        }
    }
}

impl Iterator for Events<'_> {
    type Item = Event;

    fn next(&mut self) -> Option<Event> {
        loop {
            match self.todo.pop()? {
                Todo::From(None) => {}
                Todo::From(Some(id)) => {
                    self.todo.push(Todo::From(self.graph.next(id)));
                    let blocks = self.graph.node(id).blocks().iter().enumerate().rev();
                    let blocks = blocks.map(|(index, block)| Todo::Block(*block, index));
                    self.todo.extend(blocks);
                    return Some(Event::Node(id));
                }
                Todo::Block(block, index) => {
                    self.todo.push(Todo::Close(block));
                    let first = self.graph.block(block).first();
                    self.todo.push(Todo::From(first));
                    return Some(Event::Open(block, index));
                }
                Todo::Close(block) => return Some(Event::Close(block)),
            }
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
fn in_text_order(graph: &Graph) -> Vec<ValueId> {
    let mut values = Vec::with_capacity(graph.value_capacity());
    values.extend(graph.params());
    for event in Events::new(graph) {
        match event {
            Event::Node(node) => values.extend(graph.node(node).outputs()),
            Event::Open(block, _) => values.extend(graph.block(block).params()),
            Event::Close(_) => {}
        }
    }
    values
}
