//! Operators: the names that nodes carry and what is declared of them.
//!
//! An [`Op`] is one overload of one operator, such as `aten::add.Tensor`. It is one pointer wide, `Copy`, and compares by identity. An
//! operator that nobody declared is allowed in a graph: it has no schema, and every pass must assume that it can do anything.

use std::collections::HashMap;
use std::fmt;
use std::sync::{LazyLock, PoisonError, RwLock};

use crate::Sym;
use crate::schema::Schema;

/// One overload of one operator.
#[derive(Clone, Copy)]
pub struct Op(&'static OpInfo);

/// What is known of an operator.
#[derive(Debug)]
pub struct OpInfo {
    /// Qualified name without overload, such as `aten::add`.
    pub name: Sym,
    /// Overload, such as `Tensor`; empty for the default one and for operators without a schema.
    pub overload: Sym,
    /// Declaration, where there is one.
    pub schema: Option<Schema>,
    /// What running it does besides computing outputs.
    pub effects: Effects,
}

/// What running an operator does besides computing its outputs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Effects {
    /// Nothing: equal inputs give equal outputs, and it may be removed when they are unused.
    Pure,
    /// It writes to inputs, as its schema's alias annotations say.
    Writes,
    /// It depends on hidden state (random numbers), but changes nothing that others can see.
    Nondeterministic,
    /// It raises, prints, warns, or changes the module: it must run where it stands.
    SideEffects,
    /// Nobody declared what it does.
    Unknown,
}

#[derive(Default)]
struct Table {
    by_name: HashMap<Sym, Vec<Op>>,
}

static TABLE: LazyLock<RwLock<Table>> = LazyLock::new(RwLock::default);

impl Op {
    /// The operator with this qualified name, `ns::name` or `ns::name.overload`.
    ///
    /// Without an overload this is the overload whose name is empty. An operator that nobody declared gets an entry without a schema.
    pub fn of(qualified: &str) -> Self {
        let base = qualified.find("::").map_or(0, |at| at + 2);
        let (name, overload) = match qualified[base..].find('.') {
            Some(dot) => (&qualified[..base + dot], &qualified[base + dot + 1..]),
            None => (qualified, ""),
        };
        Self::find(Sym::new(name), Sym::new(overload)).unwrap_or_else(|| {
            intern(OpInfo {
                name: Sym::new(name),
                overload: Sym::new(overload),
                schema: None,
                effects: Effects::Unknown,
            })
        })
    }

    /// The declared or already named overload, if there is one.
    pub fn find(name: Sym, overload: Sym) -> Option<Self> {
        let table = TABLE.read().unwrap_or_else(PoisonError::into_inner);
        table
            .by_name
            .get(&name)?
            .iter()
            .copied()
            .find(|op| op.0.overload == overload)
    }

    /// What is known of the operator.
    pub fn info(self) -> &'static OpInfo {
        self.0
    }

    /// Qualified name without overload, such as `aten::add`.
    pub fn name(self) -> Sym {
        self.0.name
    }

    /// Declaration, where there is one.
    pub fn schema(self) -> Option<&'static Schema> {
        self.0.schema.as_ref()
    }

    /// Whether the qualified name without overload is `name`.
    pub fn is(self, name: &str) -> bool {
        self.0.name == *name
    }
}

/// Adds an operator, or returns the one that already has its name and overload.
fn intern(info: OpInfo) -> Op {
    let mut table = TABLE.write().unwrap_or_else(PoisonError::into_inner);
    let overloads = table.by_name.entry(info.name).or_default();
    if let Some(found) = overloads.iter().find(|op| op.0.overload == info.overload) {
        return *found;
    }
    let op = Op(Box::leak(Box::new(info)));
    overloads.push(op);
    op
}

impl PartialEq for Op {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self.0, other.0)
    }
}

impl Eq for Op {}

impl std::hash::Hash for Op {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        std::ptr::from_ref(self.0).hash(state);
    }
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.overload == *"" {
            write!(f, "{}", self.0.name)
        } else {
            write!(f, "{}.{}", self.0.name, self.0.overload)
        }
    }
}

impl fmt::Debug for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
