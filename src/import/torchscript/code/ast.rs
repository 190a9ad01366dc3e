//! What a code file says, as a tree.

use std::rc::Rc;

/// A place in a code file; lines and columns count from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Span {
    /// Line.
    pub line: u32,
    /// Column, in bytes.
    pub column: u32,
}

/// A parsed code file.
#[derive(Debug, Clone, PartialEq)]
pub struct File {
    /// The name of its entry in the archive.
    pub name: String,
    /// Classes and functions, in file order.
    pub items: Vec<Item>,
}

/// A top-level definition.
#[derive(Debug, Clone, PartialEq)]
pub enum Item {
    /// A class.
    Class(Class),
    /// A free function.
    Function(Function),
}

/// What a class derives from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Base {
    /// Nothing: a plain script class.
    None,
    /// A module.
    Module,
    /// A named tuple.
    NamedTuple,
    /// An enumeration.
    Enum,
    /// An interface, of modules or of plain classes.
    Interface,
}

/// A class definition.
#[derive(Debug, Clone, PartialEq)]
pub struct Class {
    /// Its name, without the path of the file.
    pub name: String,
    /// What it derives from.
    pub base: Base,
    /// Attributes, in declaration order.
    pub fields: Vec<Field>,
    /// Names of the attributes that are parameters.
    pub parameters: Vec<String>,
    /// Names of the attributes that are buffers.
    pub buffers: Vec<String>,
    /// Names of the methods that run before or after `forward` when a module is called. Code of the archive calls them in so many words.
    pub hooks: Vec<String>,
    /// Methods, in declaration order.
    pub methods: Vec<Rc<Function>>,
    /// Where its name stands.
    pub span: Span,
}

/// One attribute or constant of a class.
#[derive(Debug, Clone, PartialEq)]
pub struct Field {
    /// Its name; need not be an identifier.
    pub name: String,
    /// Its type; an enumeration's members have none.
    pub ty: Option<Expr>,
    /// The value of a constant (`Final[…]`), of an enumeration's member or of a field's default.
    pub value: Option<Expr>,
    /// Where it is declared.
    pub span: Span,
}

/// A function or method.
#[derive(Debug, Clone, PartialEq)]
pub struct Function {
    /// Its name.
    pub name: String,
    /// Parameters, `self` included.
    pub params: Vec<Param>,
    /// The type behind the arrow, if one is printed.
    pub returns: Option<Expr>,
    /// Its statements.
    pub body: Vec<Stmt>,
    /// Where its name stands.
    pub span: Span,
}

/// One parameter of a function.
#[derive(Debug, Clone, PartialEq)]
pub struct Param {
    /// Its name.
    pub name: String,
    /// Its type; an untyped parameter is a tensor, or `self`.
    pub ty: Option<Expr>,
    /// The value when a caller omits it.
    pub default: Option<Expr>,
    /// Where its name stands.
    pub span: Span,
}

/// A statement and its place.
#[derive(Debug, Clone, PartialEq)]
pub struct Stmt {
    /// What it does.
    pub kind: StmtKind,
    /// Where it begins.
    pub span: Span,
}

/// What a statement does.
#[derive(Debug, Clone, PartialEq)]
pub enum StmtKind {
    /// `a = f(x)`, `a, b, = t`, `a, b = x, y`, `x.name = y`.
    Assign(Assign),
    /// An expression evaluated for its effect.
    Expr(Expr),
    /// `return`, with the value if there is one.
    Return(Option<Expr>),
    /// `pass`.
    Pass,
    /// `if`; the other branch is empty if it is not printed.
    If {
        /// The condition.
        cond: Expr,
        /// Statements when true.
        then: Vec<Stmt>,
        /// Statements when false.
        other: Vec<Stmt>,
    },
    /// `while`.
    While {
        /// The condition.
        cond: Expr,
        /// Statements of the body.
        body: Vec<Stmt>,
    },
    /// `for … in …`.
    For {
        /// The loop variable.
        target: Expr,
        /// What is looped over.
        iter: Expr,
        /// Statements of the body.
        body: Vec<Stmt>,
    },
    /// `with … as …`.
    With {
        /// The object entered.
        context: Expr,
        /// The name bound to what entering gives.
        target: Option<String>,
        /// Statements of the body.
        body: Vec<Stmt>,
    },
    /// A nested function: the body of a fork.
    Function(Rc<Function>),
}

/// An assignment.
#[derive(Debug, Clone, PartialEq)]
pub struct Assign {
    /// Names or attributes, left to right.
    pub targets: Vec<Expr>,
    /// Whether the targets end in a comma: the value is a tuple or list to be taken apart, even
    /// for one target.
    pub unpack: bool,
    /// The annotated type.
    pub ty: Option<Expr>,
    /// One value, or one for each target of a parallel assignment.
    pub values: Vec<Expr>,
}

/// An expression and its place.
#[derive(Debug, Clone, PartialEq)]
pub struct Expr {
    /// What it is.
    pub kind: ExprKind,
    /// Where it begins.
    pub span: Span,
}

/// What an expression is. Types are expressions too: `Optional[Tensor]` is an [`ExprKind::Index`].
#[derive(Debug, Clone, PartialEq)]
pub enum ExprKind {
    /// `None`.
    None,
    /// `True`, `False`.
    Bool(bool),
    /// An integer.
    Int(i64),
    /// A number with a point or an exponent, `inf` or `nan`.
    Float(f64),
    /// A complex number: real and imaginary part.
    Complex(f64, f64),
    /// A string.
    Str(String),
    /// A name.
    Name(String),
    /// `base.name`.
    Attr(Box<Expr>, String),
    /// `callee(args, name=value)`.
    Call(Box<Call>),
    /// `base[index]`; several indices (of types) are a tuple.
    Index(Box<Expr>, Box<Expr>),
    /// `base[low:high]`.
    Slice(Box<Expr>, Option<Box<Expr>>, Option<Box<Expr>>),
    /// `(a, b)`.
    Tuple(Vec<Expr>),
    /// `[a, b]`.
    List(Vec<Expr>),
    /// `{a: b}`.
    Dict(Vec<(Expr, Expr)>),
}

/// A call.
#[derive(Debug, Clone, PartialEq)]
pub struct Call {
    /// What is called.
    pub callee: Expr,
    /// Positional arguments.
    pub args: Vec<Expr>,
    /// Keyword arguments, in the order written.
    pub keywords: Vec<(String, Expr)>,
}

impl Class {
    /// The method of this name.
    pub fn method(&self, name: &str) -> Option<Rc<Function>> {
        let found = self.methods.iter().find(|method| method.name == name);
        found.cloned()
    }
}

impl Expr {
    /// The dotted name this expression spells, if it is one: `torch.add`.
    pub fn dotted(&self) -> Option<String> {
        match &self.kind {
            ExprKind::Name(name) => Some(name.clone()),
            ExprKind::Attr(base, name) => Some(format!("{}.{name}", base.dotted()?)),
            _ => None,
        }
    }
}
