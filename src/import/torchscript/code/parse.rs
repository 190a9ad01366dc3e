//! Tokens to tree: recursive descent over the subset.

mod expr;
mod stmt;

use std::rc::Rc;

use super::ast::{Base, Class, Expr, ExprKind, Field, File, Function, Item, Param, Span};
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
            hooks: Vec::new(),
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
            "__forward_pre_hooks__" | "__forward_hooks__" => class.hooks.extend(self.strings()?),
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
