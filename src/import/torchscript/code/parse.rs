//! Tokens to tree: recursive descent over the subset.

use std::rc::Rc;

use super::ast::{
    Assign, Base, Call, Class, Expr, ExprKind, Field, File, Function, Item, Param, Span, Stmt,
    StmtKind,
};
use super::lex::{Token, lex};
use crate::error::{Error, Result};

/// Deepest nesting of expressions, and of blocks together with them. Real files stay below 40.
const MAX_DEPTH: u32 = 120;

/// Parses one code file; `file` names it in errors and in the result.
pub fn parse(file: &str, text: &str) -> Result<File> {
    let tokens = lex(file, text)?;
    let mut parser = Parser {
        file,
        tokens,
        at: 0,
        depth: 0,
    };
    let mut items = Vec::new();
    while *parser.peek() != Token::End {
        items.push(parser.item()?);
    }
    Ok(File {
        name: file.to_owned(),
        items,
    })
}

/// Parses a type expression that stands alone, such as the type tag of a pickled list.
pub(crate) fn parse_type(file: &str, text: &str) -> Result<Expr> {
    let mut parser = Parser {
        file,
        tokens: lex(file, text)?,
        at: 0,
        depth: 0,
    };
    let expr = parser.expr()?;
    if *parser.peek() == Token::Newline {
        parser.at += 1;
    }
    match parser.peek() {
        Token::End => Ok(expr),
        _ => Err(parser.unexpected("the end of the type")),
    }
}

struct Parser<'a> {
    file: &'a str,
    tokens: Vec<(Token, Span)>,
    at: usize,
    depth: u32,
}

impl Parser<'_> {
    fn item(&mut self) -> Result<Item> {
        if self.eat_word("class") {
            self.class().map(Item::Class)
        } else if self.eat_word("def") {
            self.function().map(Item::Function)
        } else {
            Err(self.unexpected("a class or a function"))
        }
    }

    fn class(&mut self) -> Result<Class> {
        let span = self.span();
        let name = self.name("a class name")?;
        let mut base = Base::None;
        if self.eat('(') {
            let at = self.span();
            base = match self.name("a base class")?.as_str() {
                "Module" => Base::Module,
                "NamedTuple" => Base::NamedTuple,
                "Enum" => Base::Enum,
                "Interface" | "ModuleInterface" => Base::Interface,
                other => return Err(self.fail(at, format!("base class `{other}` is unknown"))),
            };
            self.expect(')')?;
        }
        let mut class = Class {
            name,
            base,
            fields: Vec::new(),
            parameters: Vec::new(),
            buffers: Vec::new(),
            methods: Vec::new(),
            span,
        };
        self.expect(':')?;
        self.open_block()?;
        while *self.peek() != Token::Dedent {
            self.member(&mut class)?;
        }
        self.at += 1;
        Ok(class)
    }

    fn member(&mut self, class: &mut Class) -> Result<()> {
        if self.eat_word("def") {
            class.methods.push(Rc::new(self.function()?));
            return Ok(());
        }
        if self.eat_word("pass") {
            return self.end_of_line();
        }
        let span = self.span();
        let name = self.name("a member of a class")?;
        match name.as_str() {
            "__parameters__" => class.parameters = self.strings()?,
            "__buffers__" => class.buffers = self.strings()?,
            // Hooks are ordinary methods of the class; their order of running is not imported.
            "__forward_pre_hooks__" | "__forward_hooks__" => {
                if !self.strings()?.is_empty() {
                    return Err(self.fail(span, format!("`{name}` is not supported")));
                }
            }
            "__annotations__" => {
                if self.eat('[') {
                    let name = self.string("an attribute name")?;
                    self.expect(']')?;
                    self.expect('=')?;
                    let field = self.field(name, span)?;
                    class.fields.push(field);
                } else {
                    self.strings()?;
                }
            }
            _ if self.eat(':') => {
                let field = self.field(name, span)?;
                class.fields.push(field);
            }
            _ if self.eat('=') => {
                let value = Some(self.expr()?);
                class.fields.push(Field {
                    name,
                    ty: None,
                    value,
                    span,
                });
            }
            _ => return Err(self.unexpected("`:` or `=`")),
        }
        self.end_of_line()
    }

    /// `type` or `Final[type] = literal`, behind the name.
    fn field(&mut self, name: String, span: Span) -> Result<Field> {
        let ty = self.expr()?;
        let value = self.eat('=').then(|| self.expr()).transpose()?;
        let ty = match (ty.kind, &value) {
            (ExprKind::Index(base, inner), Some(_)) if is_name(&base, "Final") => *inner,
            (kind, _) => Expr { kind, ..ty },
        };
        Ok(Field {
            name,
            ty: Some(ty),
            value,
            span,
        })
    }

    /// `= ["a", "b", ]`.
    fn strings(&mut self) -> Result<Vec<String>> {
        self.expect('=')?;
        self.expect('[')?;
        let mut out = Vec::new();
        while !self.eat(']') {
            out.push(self.string("a string")?);
            if !self.eat(',') {
                self.expect(']')?;
                break;
            }
        }
        Ok(out)
    }

    fn function(&mut self) -> Result<Function> {
        let span = self.span();
        let name = self.name("a function name")?;
        self.expect('(')?;
        let mut params = Vec::new();
        while !self.eat(')') {
            let span = self.span();
            let name = self.name("a parameter")?;
            let ty = self.eat(':').then(|| self.expr()).transpose()?;
            let default = self.eat('=').then(|| self.expr()).transpose()?;
            params.push(Param {
                name,
                ty,
                default,
                span,
            });
            if !self.eat(',') {
                self.expect(')')?;
                break;
            }
        }
        let returns = (*self.peek() == Token::Arrow).then(|| {
            self.at += 1;
            self.expr()
        });
        let returns = returns.transpose()?;
        let body = self.block()?;
        Ok(Function {
            name,
            params,
            returns,
            body,
            span,
        })
    }

    fn block(&mut self) -> Result<Vec<Stmt>> {
        self.expect(':')?;
        self.open_block()?;
        self.deeper()?;
        let mut body = Vec::new();
        while *self.peek() != Token::Dedent {
            body.push(self.stmt()?);
        }
        self.at += 1;
        self.depth -= 1;
        Ok(body)
    }

    fn open_block(&mut self) -> Result<()> {
        self.end_of_line()?;
        match self.peek() {
            Token::Indent => {
                self.at += 1;
                Ok(())
            }
            _ => Err(self.unexpected("an indented block")),
        }
    }

    fn stmt(&mut self) -> Result<Stmt> {
        let span = self.span();
        let word = match self.peek() {
            Token::Name(word) => word.clone(),
            _ => String::new(),
        };
        let kind = match word.as_str() {
            "if" => self.if_stmt()?,
            "while" => {
                self.at += 1;
                let cond = self.expr()?;
                let body = self.block()?;
                StmtKind::While { cond, body }
            }
            "for" => {
                self.at += 1;
                let target = self.expr()?;
                self.expect_word("in")?;
                let iter = self.expr()?;
                let body = self.block()?;
                StmtKind::For { target, iter, body }
            }
            "with" => {
                self.at += 1;
                let context = self.expr()?;
                let named = self.eat_word("as");
                let target = named.then(|| self.name("a name")).transpose()?;
                let body = self.block()?;
                StmtKind::With {
                    context,
                    target,
                    body,
                }
            }
            "def" => {
                self.at += 1;
                StmtKind::Function(Box::new(self.function()?))
            }
            "return" => {
                self.at += 1;
                let value = if *self.peek() == Token::Newline {
                    None
                } else {
                    Some(self.expr()?)
                };
                self.end_of_line()?;
                StmtKind::Return(value)
            }
            "pass" => {
                self.at += 1;
                self.end_of_line()?;
                StmtKind::Pass
            }
            "assert" | "async" | "break" | "class" | "continue" | "del" | "from" | "global"
            | "import" | "nonlocal" | "raise" | "try" | "yield" => {
                let what = format!("`{word}` is not part of the accepted subset");
                return Err(self.fail(span, what));
            }
            _ => self.simple_stmt()?,
        };
        Ok(Stmt { kind, span })
    }

    fn if_stmt(&mut self) -> Result<StmtKind> {
        self.at += 1;
        let cond = self.expr()?;
        let then = self.block()?;
        let other = if self.eat_word("else") {
            self.block()?
        } else {
            Vec::new()
        };
        Ok(StmtKind::If { cond, then, other })
    }

    /// An assignment or a bare expression.
    fn simple_stmt(&mut self) -> Result<StmtKind> {
        let mut targets = vec![self.expr()?];
        let mut unpack = false;
        while self.eat(',') {
            if matches!(self.peek(), Token::Mark('=' | ':') | Token::Newline) {
                unpack = true;
                break;
            }
            targets.push(self.expr()?);
        }
        let ty = self.eat(':').then(|| self.expr()).transpose()?;
        if !self.eat('=') {
            let single = targets.len() == 1 && !unpack && ty.is_none();
            return match targets.pop() {
                Some(expr) if single => {
                    self.end_of_line()?;
                    Ok(StmtKind::Expr(expr))
                }
                _ => Err(self.unexpected("`=`")),
            };
        }
        if let Some(bad) = targets
            .iter()
            .find(|t| !matches!(t.kind, ExprKind::Name(_) | ExprKind::Attr(..)))
        {
            return Err(self.fail(bad.span, "assignment to what is no name and no attribute"));
        }
        let mut values = vec![self.expr()?];
        while self.eat(',') {
            if *self.peek() == Token::Newline {
                break;
            }
            values.push(self.expr()?);
        }
        if values.len() > 1 && values.len() != targets.len() {
            let what = format!("{} values for {} targets", values.len(), targets.len());
            return Err(self.fail(values[0].span, what));
        }
        self.end_of_line()?;
        Ok(StmtKind::Assign(Assign {
            targets,
            unpack,
            ty,
            values,
        }))
    }

    fn expr(&mut self) -> Result<Expr> {
        self.deeper()?;
        let depth = self.depth;
        let span = self.span();
        let mut expr = self.atom()?;
        loop {
            let kind = if self.eat('.') {
                ExprKind::Attr(Box::new(expr), self.name("an attribute name")?)
            } else if self.eat('(') {
                self.call(expr)?
            } else if self.eat('[') {
                self.index(expr)?
            } else {
                break;
            };
            // A chain nests as deep as it is long, to everyone who walks the tree.
            self.deeper()?;
            expr = Expr { kind, span };
        }
        self.depth = depth - 1;
        Ok(expr)
    }

    fn call(&mut self, callee: Expr) -> Result<ExprKind> {
        let (mut args, mut keywords) = (Vec::new(), Vec::new());
        while !self.eat(')') {
            let keyword = matches!(
                (self.peek(), self.peek_next()),
                (Token::Name(_), Token::Mark('='))
            );
            if keyword {
                let name = self.name("a keyword")?;
                self.expect('=')?;
                keywords.push((name, self.expr()?));
            } else if keywords.is_empty() {
                args.push(self.expr()?);
            } else {
                return Err(self.unexpected("a keyword argument"));
            }
            if !self.eat(',') {
                self.expect(')')?;
                break;
            }
        }
        Ok(ExprKind::Call(Box::new(Call {
            callee,
            args,
            keywords,
        })))
    }

    fn index(&mut self, base: Expr) -> Result<ExprKind> {
        let span = self.span();
        let base = Box::new(base);
        if self.eat(':') {
            let high = self.slice_end()?;
            return Ok(ExprKind::Slice(base, None, high));
        }
        let first = self.expr()?;
        if self.eat(':') {
            let high = self.slice_end()?;
            return Ok(ExprKind::Slice(base, Some(Box::new(first)), high));
        }
        if self.eat(']') {
            return Ok(ExprKind::Index(base, Box::new(first)));
        }
        let mut items = vec![first];
        while self.eat(',') {
            if *self.peek() == Token::Mark(']') {
                break;
            }
            items.push(self.expr()?);
        }
        self.expect(']')?;
        let kind = ExprKind::Tuple(items);
        Ok(ExprKind::Index(base, Box::new(Expr { kind, span })))
    }

    fn slice_end(&mut self) -> Result<Option<Box<Expr>>> {
        if self.eat(']') {
            return Ok(None);
        }
        let high = self.expr()?;
        self.expect(']')?;
        Ok(Some(Box::new(high)))
    }

    fn atom(&mut self) -> Result<Expr> {
        let span = self.span();
        let token = self.next();
        let kind = match token {
            Token::Name(name) => match name.as_str() {
                "None" => ExprKind::None,
                "True" => ExprKind::Bool(true),
                "False" => ExprKind::Bool(false),
                "inf" => ExprKind::Float(f64::INFINITY),
                "nan" => ExprKind::Float(f64::NAN),
                "lambda" | "not" | "and" | "or" | "await" => {
                    let what = format!("`{name}` is not part of the accepted subset");
                    return Err(self.fail(span, what));
                }
                _ => ExprKind::Name(name),
            },
            Token::Str(text) => ExprKind::Str(text),
            Token::Int(i64::MIN) => return Err(self.fail(span, "number is no 64-bit")),
            Token::Int(value) => self
                .real(value as f64, span)?
                .unwrap_or(ExprKind::Int(value)),
            Token::Float(value) => self.real(value, span)?.unwrap_or(ExprKind::Float(value)),
            Token::Imaginary(value) => ExprKind::Complex(0.0, value),
            Token::Mark('-') => self.negative(span)?,
            Token::Mark('(') => self.tuple()?,
            Token::Mark('[') => ExprKind::List(self.items(']')?.0),
            Token::Mark('{') => self.dict()?,
            _ => {
                self.at -= 1;
                return Err(self.unexpected("an expression"));
            }
        };
        Ok(Expr { kind, span })
    }

    /// The complex number that begins with `real`, if an imaginary part follows.
    fn real(&mut self, real: f64, span: Span) -> Result<Option<ExprKind>> {
        let sign = match self.peek() {
            Token::Mark('+') => 1.0,
            Token::Mark('-') => -1.0,
            _ => return Ok(None),
        };
        self.at += 1;
        match self.next() {
            Token::Imaginary(imaginary) => Ok(Some(ExprKind::Complex(real, sign * imaginary))),
            _ => Err(self.fail(span, "arithmetic is not part of the accepted subset")),
        }
    }

    fn negative(&mut self, span: Span) -> Result<ExprKind> {
        let value = match self.next() {
            Token::Int(value) => {
                let negative = value.wrapping_neg();
                let real = self.real(negative as f64, span)?;
                return Ok(real.unwrap_or(ExprKind::Int(negative)));
            }
            Token::Float(value) => -value,
            Token::Name(name) if name == "inf" => f64::NEG_INFINITY,
            Token::Name(name) if name == "nan" => -f64::NAN,
            Token::Imaginary(value) => return Ok(ExprKind::Complex(-0.0, -value)),
            _ => return Err(self.fail(span, "`-` of what is no number")),
        };
        let real = self.real(value, span)?;
        Ok(real.unwrap_or(ExprKind::Float(value)))
    }

    /// A tuple, or a parenthesised expression if there is no comma.
    fn tuple(&mut self) -> Result<ExprKind> {
        let (mut items, comma) = self.items(')')?;
        match items.pop() {
            Some(only) if items.is_empty() && !comma => Ok(only.kind),
            last => {
                items.extend(last);
                Ok(ExprKind::Tuple(items))
            }
        }
    }

    /// Expressions up to `close`, and whether there was any comma.
    fn items(&mut self, close: char) -> Result<(Vec<Expr>, bool)> {
        let (mut items, mut comma) = (Vec::new(), false);
        while !self.eat(close) {
            items.push(self.expr()?);
            if !self.eat(',') {
                self.expect(close)?;
                break;
            }
            comma = true;
        }
        Ok((items, comma))
    }

    fn dict(&mut self) -> Result<ExprKind> {
        let mut pairs = Vec::new();
        while !self.eat('}') {
            let key = self.expr()?;
            self.expect(':')?;
            pairs.push((key, self.expr()?));
            if !self.eat(',') {
                self.expect('}')?;
                break;
            }
        }
        Ok(ExprKind::Dict(pairs))
    }

    fn deeper(&mut self) -> Result<()> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            let what = format!("code nests deeper than {MAX_DEPTH} levels");
            return Err(self.fail(self.span(), what));
        }
        Ok(())
    }

    fn peek(&self) -> &Token {
        // The last token is `End`, and `next` never moves past it.
        &self.tokens[self.at].0
    }

    fn peek_next(&self) -> &Token {
        let last = self.tokens.len() - 1;
        &self.tokens[(self.at + 1).min(last)].0
    }

    fn next(&mut self) -> Token {
        let token = self.peek().clone();
        if token != Token::End {
            self.at += 1;
        }
        token
    }

    fn span(&self) -> Span {
        self.tokens[self.at].1
    }

    fn eat(&mut self, mark: char) -> bool {
        let found = *self.peek() == Token::Mark(mark);
        self.at += usize::from(found);
        found
    }

    fn eat_word(&mut self, word: &str) -> bool {
        let found = matches!(self.peek(), Token::Name(name) if name == word);
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, mark: char) -> Result<()> {
        if self.eat(mark) {
            return Ok(());
        }
        Err(self.unexpected(&format!("`{mark}`")))
    }

    fn expect_word(&mut self, word: &str) -> Result<()> {
        if self.eat_word(word) {
            return Ok(());
        }
        Err(self.unexpected(&format!("`{word}`")))
    }

    fn end_of_line(&mut self) -> Result<()> {
        if *self.peek() == Token::Newline {
            self.at += 1;
            return Ok(());
        }
        Err(self.unexpected("the end of the line"))
    }

    fn name(&mut self, wanted: &str) -> Result<String> {
        match self.peek() {
            Token::Name(name) => {
                let name = name.clone();
                self.at += 1;
                Ok(name)
            }
            _ => Err(self.unexpected(wanted)),
        }
    }

    fn string(&mut self, wanted: &str) -> Result<String> {
        match self.peek() {
            Token::Str(text) => {
                let text = text.clone();
                self.at += 1;
                Ok(text)
            }
            _ => Err(self.unexpected(wanted)),
        }
    }

    fn unexpected(&self, wanted: &str) -> Error {
        let found = self.peek();
        self.fail(self.span(), format!("expected {wanted}, found {found}"))
    }

    fn fail(&self, span: Span, what: impl Into<String>) -> Error {
        Error::Code {
            file: self.file.to_owned(),
            line: span.line,
            column: span.column,
            what: what.into(),
        }
    }
}

fn is_name(expr: &Expr, name: &str) -> bool {
    matches!(&expr.kind, ExprKind::Name(found) if found == name)
}

#[cfg(test)]
mod tests;
