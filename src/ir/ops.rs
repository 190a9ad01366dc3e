//! Operators: the names that nodes carry and what is declared of them.
//!
//! An [`Op`] is one overload of one operator, such as `aten::add.Tensor`. It is one pointer wide, `Copy`, and compares by identity. An
//! operator that nobody declared is allowed in a graph: it has no schema, and every pass must assume that it can do anything.
//!
//! PyTorch's operators are declared from the start; [`Op::register`] adds more. Operators such as `prim::If` or `prim::Constant` are
//! *structural*: they have no schema but a rule of their own.

mod table;

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::sync::{LazyLock, PoisonError, RwLock};

use crate::Sym;
use crate::schema::{self, Schema, SchemaError};

pub(crate) use table::{training_flag, undeclared_writes};

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
    /// What running it does besides computing outputs, whatever its inputs are; [`crate::Graph::effects`] may know better of a node.
    pub effects: Effects,
    /// Whether inputs, outputs and blocks follow a rule of their own instead of a schema.
    pub structural: bool,
    /// Whether it neither writes to an input nor shares storage between inputs and outputs, whatever they are.
    pub shares_nothing: bool,
}

/// What running an operator does besides computing its outputs, from what forbids least to what forbids most.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Effects {
    /// Nothing: equal inputs give equal outputs, and it may be removed when they are unused.
    Pure,
    /// It depends on hidden state (random numbers), but changes nothing that others can see.
    Nondeterministic,
    /// It writes to inputs, as its schema's alias annotations say.
    Writes,
    /// It raises, prints, warns, or changes the module: it must run where it stands.
    SideEffects,
    /// Nobody declared what it does.
    Unknown,
}

impl Effects {
    /// Whether nobody can tell that the operator ran: it may be removed when its outputs are unused.
    #[inline]
    pub fn changes_nothing(self) -> bool {
        self < Self::Writes
    }
}

/// The operators that were asked for so far. PyTorch declares thousands and a module names a few dozen, so the declarations of a name
/// are read when it is first asked for.
struct Table {
    by_name: HashMap<Sym, Vec<Op>>,
}

static TABLE: LazyLock<RwLock<Table>> = LazyLock::new(|| RwLock::new(Table::structural()));

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
        let (name, overload) = (Sym::new(name), Sym::new(overload));
        Self::find(name, overload).unwrap_or_else(|| {
            let mut table = TABLE.write().unwrap_or_else(PoisonError::into_inner);
            table.intern(OpInfo {
                name,
                overload,
                schema: None,
                effects: Effects::Unknown,
                structural: false,
                shares_nothing: false,
            })
        })
    }

    /// The declared or already named overload, if there is one.
    pub fn find(name: Sym, overload: Sym) -> Option<Self> {
        named(name, |overloads| {
            let found = overloads.iter().find(|op| op.0.overload == overload);
            found.copied()
        })
    }

    /// Declares an operator, in PyTorch's spelling: `ns::name.overload(Tensor(a!) self, *, int n=1) -> Tensor(a!)`.
    ///
    /// What it does besides computing outputs is what the alias annotations say. Declaring the same again changes nothing. Fails when the
    /// text is not understood, when the overload is declared differently, and when graphs already name it without a declaration.
    pub fn register(declaration: &str) -> Result<Self, SchemaError> {
        let refuse = |message: &str| SchemaError {
            text: declaration.to_owned(),
            column: 0,
            message: message.to_owned(),
        };
        let (name, overload, schema) = schema::parse(declaration)?;
        let mut table = TABLE.write().unwrap_or_else(PoisonError::into_inner);
        table.load(name);
        match table.find(name, overload) {
            None => Ok(table.declare(name, overload, schema)),
            Some(op) => match op.schema() {
                Some(old) if *old == schema => Ok(op),
                Some(_) => Err(refuse("it is already declared differently")),
                None if op.is_structural() => Err(refuse("it follows a rule of its own")),
                None => Err(refuse("a graph already names it undeclared")),
            },
        }
    }

    /// The declared overloads of a qualified name, in the order in which TorchScript tries them.
    pub fn overloads(name: Sym) -> Vec<Self> {
        named(name, |overloads| {
            let declared = overloads.iter().filter(|op| op.schema().is_some());
            declared.copied().collect()
        })
    }

    /// What is known of the operator.
    #[inline]
    pub fn info(self) -> &'static OpInfo {
        self.0
    }

    /// Qualified name without overload, such as `aten::add`.
    #[inline]
    pub fn name(self) -> Sym {
        self.0.name
    }

    /// Declaration, where there is one.
    #[inline]
    pub fn schema(self) -> Option<&'static Schema> {
        self.0.schema.as_ref()
    }

    /// Whether the qualified name without overload is `name`.
    #[inline]
    pub fn is(self, name: &str) -> bool {
        self.0.name == *name
    }

    /// Whether inputs, outputs and blocks follow a rule of their own instead of a schema (`prim::If`, `prim::Constant`, …).
    #[inline]
    pub fn is_structural(self) -> bool {
        self.0.structural
    }

    /// Whether the operator may write to what this input refers to; [`crate::Graph::writes`] may know better of a node.
    pub fn writes(self, input: usize) -> bool {
        if self.0.effects.changes_nothing() {
            return false;
        }
        if self.0.effects == Effects::Unknown {
            return true;
        }
        if let Some((inputs, _)) = undeclared_writes(self.0.name.as_str())
            && inputs.contains(&input)
        {
            return true;
        }
        match &self.0.schema {
            Some(schema) => schema
                .params
                .get(input)
                .and_then(|param| param.alias.as_ref())
                .is_some_and(|alias| alias.writes),
            None => input == 0 && self.is("prim::SetAttr"),
        }
    }

    /// Whether this output may share storage with this input, contain it, or be contained in it.
    ///
    /// That an input comes out of an object that another input refers to is not seen here.
    pub fn may_alias(self, output: usize, input: usize) -> bool {
        let Some(schema) = &self.0.schema else {
            return !matches!(
                self.0.name.as_str(),
                "prim::Constant"
                    | "prim::CreateObject"
                    | "prim::Uninitialized"
                    | "prim::isinstance"
            );
        };
        let Some(alias) = schema
            .returns
            .get(output)
            .and_then(|ret| ret.alias.as_ref())
        else {
            return schema.varret;
        };
        match schema.params.get(input) {
            Some(param) => match &param.alias {
                Some(other) => alias.meets(other),
                None => alias.sets.iter().any(|set| *set == *"*"),
            },
            None => true,
        }
    }
}

/// What `read` finds in the overloads of a name.
fn named<T>(name: Sym, read: impl FnOnce(&[Op]) -> T) -> T {
    let table = TABLE.read().unwrap_or_else(PoisonError::into_inner);
    if let Some(overloads) = table.by_name.get(&name) {
        return read(overloads);
    }
    drop(table);
    let mut table = TABLE.write().unwrap_or_else(PoisonError::into_inner);
    table.load(name);
    read(&table.by_name[&name])
}

impl Table {
    /// The table that a process starts with.
    fn structural() -> Self {
        let mut table = Self {
            by_name: HashMap::new(),
        };
        for (name, effects) in table::STRUCTURAL {
            let name = Sym::new(name);
            table.intern(OpInfo {
                name,
                overload: Sym::new(""),
                schema: None,
                effects,
                structural: true,
                shares_nothing: false,
            });
            table.declare_all(name);
        }
        table
    }

    /// Declares what PyTorch has under a name, unless that was done before.
    fn load(&mut self, name: Sym) {
        if let Entry::Vacant(entry) = self.by_name.entry(name) {
            entry.insert(Vec::new());
            self.declare_all(name);
        }
    }

    fn declare_all(&mut self, name: Sym) {
        for line in table::lines_of(name.as_str()) {
            let (name, overload, schema) =
                schema::parse(line).expect("a test reads every line of the table");
            self.declare(name, overload, schema);
        }
    }

    fn find(&self, name: Sym, overload: Sym) -> Option<Op> {
        let overloads = self.by_name.get(&name)?;
        overloads
            .iter()
            .copied()
            .find(|op| op.0.overload == overload)
    }

    /// Adds a declared operator; what already has that name and overload stays, so a structural operator keeps its own rule.
    fn declare(&mut self, name: Sym, overload: Sym, schema: Schema) -> Op {
        let effects = table::effects(name.as_str(), &schema);
        self.intern(OpInfo {
            name,
            overload,
            effects,
            shares_nothing: effects.changes_nothing() && schema.shares_nothing(),
            schema: Some(schema),
            structural: false,
        })
    }

    /// Adds an operator, or returns the one that already has its name and overload.
    fn intern(&mut self, info: OpInfo) -> Op {
        let overloads = self.by_name.entry(info.name).or_default();
        if let Some(found) = overloads.iter().find(|op| op.0.overload == info.overload) {
            return *found;
        }
        let op = Op(Box::leak(Box::new(info)));
        overloads.push(op);
        op
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Literal;

    #[test]
    fn every_line_of_the_table_is_read_and_kept_apart() {
        let mut seen = std::collections::HashSet::new();
        let lines = table::SCHEMAS.lines().filter(|line| !line.starts_with('#'));
        for line in lines.clone() {
            let (name, overload, _) = schema::parse(line).unwrap_or_else(|error| panic!("{error}"));
            assert!(seen.insert((name, overload)), "{line}");
            assert!(table::lines_of(name.as_str()).any(|found| found == line));
        }
        assert!(seen.len() > 2000);
        let names: Vec<&str> = lines.map(table::name_of).collect();
        assert!(names.is_sorted(), "the table is searched by bisection");
        assert_eq!(table::lines_of("aten::con").count(), 0);
        assert_eq!(table::lines_of("zzz::z").count(), 0);
        assert_eq!(table::lines_of("").count(), 0);
    }

    #[test]
    fn overloads_come_in_the_order_of_the_table() {
        let names: Vec<_> = Op::overloads("aten::conv2d".into())
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(names, ["aten::conv2d", "aten::conv2d.padding"]);
        let schema = Op::of("aten::conv2d").schema().expect("declared");
        assert_eq!(schema.params[3].default, Some(Literal::ints(&[1, 1])));
        assert!(Op::overloads("prim::TupleUnpack".into()).is_empty());
    }

    #[test]
    fn effects_and_aliases_follow_the_schema() {
        let effects = |name: &str| Op::of(name).info().effects;
        assert_eq!(effects("aten::relu"), Effects::Pure);
        assert_eq!(effects("aten::relu_"), Effects::Writes);
        assert_eq!(effects("aten::batch_norm"), Effects::Writes);
        assert_eq!(effects("aten::dropout"), Effects::Nondeterministic);
        assert_eq!(effects("aten::warn"), Effects::SideEffects);
        assert_eq!(effects("prim::RaiseException"), Effects::SideEffects);
        assert_eq!(effects("prim::If"), Effects::Pure);
        assert_eq!(effects("mine::nobody_knows"), Effects::Unknown);

        let add_ = Op::of("aten::add_.Tensor");
        assert!(add_.writes(0) && !add_.writes(1));
        assert!(add_.may_alias(0, 0) && !add_.may_alias(0, 1));
        assert!(!Op::of("aten::add.Tensor").may_alias(0, 0));
        assert!(Op::of("aten::chunk").may_alias(0, 0));
        assert!(Op::of("aten::__getitem__.t").may_alias(0, 0));
        let append = Op::of("aten::append.t");
        assert!(append.writes(0) && !append.writes(1) && append.may_alias(0, 1));
        assert!(Op::of("mine::nobody_knows").writes(3));
        assert!(Op::of("aten::batch_norm").writes(4) && !Op::of("aten::batch_norm").writes(0));
        assert!(!Op::of("aten::format").writes(7));
    }

    #[test]
    fn a_declaration_is_final() {
        let text = "test_final::f(Tensor(a!) x, int n=2) -> Tensor(a!)";
        let op = Op::register(text).expect("new");
        assert_eq!(Op::register(text), Ok(op));
        assert_eq!(op, Op::of("test_final::f"));
        assert_eq!(op.info().effects, Effects::Writes);
        let differs = Op::register("test_final::f(Tensor x) -> Tensor").expect_err("differs");
        assert!(differs.to_string().contains("differently"), "{differs}");
        let _ = Op::of("test_final::g");
        let late = Op::register("test_final::g() -> ()").expect_err("too late");
        assert!(late.to_string().contains("already names it"), "{late}");
    }
}
