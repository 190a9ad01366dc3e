//! Functions to graphs.
//!
//! The code is already in the shape of a graph: every operator is a call, and control flow is `if`,
//! `for` and `while`. What the text leaves out is put back here, by PyTorch's rules: which overload
//! a call means, omitted defaults, implicit conversions, which variables a branch or loop hands on.

mod call;
mod expr;
mod fork;
mod matching;
mod scope;
mod stmt;
mod upgrade;

use std::collections::HashMap;
use std::rc::Rc;

use planish_ir::schema::{Param, Return, Schema};
use planish_ir::{At, BlockId, Graph, Literal, Loc, NodeId, Op, Sym, Type, ValueId, ValueName};

use self::scope::{Scope, Sugar};
use super::code::ast::{Function, Span};
use super::program::Program;
use super::{classes, cleanup, types};
use crate::error::{Error, Result};

/// A function's body as a graph, with what its parameters are called.
#[derive(Debug)]
pub(super) struct Emitted {
    pub(super) params: Vec<(Sym, Option<Literal>)>,
    pub(super) graph: Graph,
    /// Methods and functions that the graph calls, by qualified name.
    pub(super) calls: Vec<String>,
}

/// Emits a function, or a method of `class`.
pub(super) fn function(
    program: &mut Program<'_>,
    file: &Rc<str>,
    function: &Function,
    class: Option<&str>,
) -> Result<Emitted> {
    let signature = signature(program, file, function, class)?;
    let graph = Graph::new();
    let block = graph.entry();
    let mut emitter = Emitter {
        program,
        file: Rc::clone(file),
        file_name: Sym::new(file),
        graph,
        block,
        scope: Scope::new(),
        pool: HashMap::new(),
        last_constant: None,
        names: HashMap::new(),
        calls: Vec::new(),
    };
    for param in &signature.params {
        let value = emitter.graph.add_param(block, param.ty.clone());
        emitter.bind(param.name.as_str(), Sugar::Value(value));
    }
    let returned = emitter.body(&function.body)?;
    let wanted = &signature.returns[0].ty;
    let result = emitter.returned(returned, wanted, function.span)?;
    emitter.graph.set_results(block, &[result]);
    let Emitter {
        mut graph, calls, ..
    } = emitter;
    cleanup::run(&mut graph);
    let params = signature.params.into_iter();
    Ok(Emitted {
        params: params.map(|param| (param.name, param.default)).collect(),
        graph,
        calls,
    })
}

/// What a function takes and returns, as it declares it.
pub(super) fn signature(
    program: &mut Program<'_>,
    file: &str,
    function: &Function,
    class: Option<&str>,
) -> Result<Schema> {
    let mut params = Vec::with_capacity(function.params.len());
    for (at, param) in function.params.iter().enumerate() {
        let ty = match (&param.ty, class) {
            (Some(ty), _) => types::read(&mut program.library, file, ty)?,
            (None, Some(class)) if at == 0 => Type::class(class),
            (None, _) => Type::TENSOR,
        };
        if let (0, Some(class)) = (at, class)
            && ty != Type::class(class)
        {
            let what = format!("`{}` of class `{class}` is declared {ty}", param.name);
            return Err(Error::code(file, param.span, what));
        }
        let default = match &param.default {
            Some(expr) => {
                let literal = classes::literal(&mut program.library, file, expr, Some(&ty))?;
                Some(literal)
            }
            None => None,
        };
        params.push(Param {
            name: Sym::new(&param.name),
            ty,
            fixed_len: None,
            default,
            kwarg_only: false,
            alias: None,
        });
    }
    let ty = match &function.returns {
        Some(ty) => types::read(&mut program.library, file, ty)?,
        None => Type::TENSOR,
    };
    Ok(Schema {
        params,
        returns: vec![Return {
            name: None,
            ty,
            alias: None,
        }],
        vararg: false,
        varret: false,
    })
}

/// The state of emitting one function.
struct Emitter<'p, 'a> {
    program: &'p mut Program<'a>,
    file: Rc<str>,
    file_name: Sym,
    graph: Graph,
    /// Nodes go to the end of this block.
    block: BlockId,
    scope: Scope,
    /// Constants by what they are: equal ones are one value, at the top of the graph.
    pool: HashMap<String, ValueId>,
    last_constant: Option<NodeId>,
    /// How many values carry a name so far.
    names: HashMap<String, u32>,
    calls: Vec<String>,
}

impl Emitter<'_, '_> {
    /// Appends a node.
    fn insert(
        &mut self,
        op: Op,
        inputs: &[ValueId],
        outputs: impl IntoIterator<Item = Type>,
        span: Span,
    ) -> NodeId {
        let node = self.graph.insert(At::End(self.block), op, inputs, outputs);
        self.graph.set_loc(node, Some(self.loc(span)));
        node
    }

    /// Appends a node with one output and returns that.
    fn insert_one(&mut self, op: &str, inputs: &[ValueId], output: Type, span: Span) -> ValueId {
        let node = self.insert(Op::of(op), inputs, [output], span);
        self.graph.output(node)
    }

    /// The constant of this value and its own type.
    fn constant(&mut self, literal: Literal) -> ValueId {
        let ty = literal.ty();
        self.typed_constant(literal, ty)
    }

    /// The constant of this value and type; equal constants are one.
    fn typed_constant(&mut self, literal: Literal, ty: Type) -> ValueId {
        let key = pool_key(&literal, &ty);
        if let Some(known) = key.as_ref().and_then(|key| self.pool.get(key)) {
            return *known;
        }
        let at = match self.last_constant {
            Some(node) => At::After(node),
            None => At::Start(self.graph.entry()),
        };
        let value = self.graph.insert_typed_constant(at, literal, ty);
        self.last_constant = self.graph.producer(value);
        if let Some(key) = key {
            self.pool.insert(key, value);
        }
        value
    }

    fn ty(&self, value: ValueId) -> &Type {
        self.graph.ty(value)
    }

    /// Gives a variable a meaning in the innermost block.
    fn bind(&mut self, name: &str, sugar: Sugar) {
        if let Sugar::Value(value) = sugar {
            self.name_value(value, name);
        }
        self.scope.set(name, sugar);
    }

    /// Names a value after the variable that it is first assigned to, as PyTorch does: not for
    /// `_7`, and not for what comes from another block.
    fn name_value(&mut self, value: ValueId, name: &str) {
        let temporary = name
            .strip_prefix('_')
            .is_some_and(|rest| rest.bytes().all(|b| b.is_ascii_digit()));
        if temporary || self.graph.value(value).name().is_some() || !self.is_local(value) {
            return;
        }
        let count = self.names.entry(name.to_owned()).or_default();
        *count += 1;
        let unique = format!("{name}.{count}");
        self.graph.set_name(value, ValueName::new(&unique));
    }

    fn is_local(&self, value: ValueId) -> bool {
        match self.graph.producer(value) {
            Some(node) => {
                self.graph.block_of(node) == self.block
                    && !self.graph.node(node).op().is("prim::Constant")
            }
            None => true,
        }
    }

    fn loc(&self, span: Span) -> Loc {
        Loc {
            file: self.file_name,
            line: span.line,
            column: span.column - 1,
        }
    }

    fn fail(&self, span: Span, what: impl Into<String>) -> Error {
        Error::code(&self.file, span, what)
    }
}

/// What makes two constants one; tensors and objects are never compared.
fn pool_key(literal: &Literal, ty: &Type) -> Option<String> {
    fn plain(literal: &Literal) -> bool {
        match literal {
            Literal::None
            | Literal::Bool(_)
            | Literal::Int(_)
            | Literal::Float(_)
            | Literal::Complex(..)
            | Literal::Str(_)
            | Literal::Device(_)
            | Literal::Function(_) => true,
            Literal::List(_, items) | Literal::Tuple(items) => items.iter().all(plain),
            _ => false,
        }
    }
    plain(literal).then(|| match literal {
        // Debug prints floats exactly, but every NaN alike.
        Literal::Float(value) => format!("{:x} {ty:?}", value.to_bits()),
        literal => format!("{literal:?} {ty:?}"),
    })
}
