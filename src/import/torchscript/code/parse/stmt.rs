//! Statements.

use std::rc::Rc;

use super::Parser;
use crate::error::Result;
use crate::torchscript::code::ast::{Assign, ExprKind, Stmt, StmtKind};
use crate::torchscript::code::lex::Token;

impl Parser<'_> {
    pub(super) fn block(&mut self) -> Result<Vec<Stmt>> {
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
                StmtKind::Function(Rc::new(self.function()?))
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
}
