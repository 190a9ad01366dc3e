//! Expressions.

use super::Parser;
use crate::error::Result;
use crate::torchscript::code::ast::{Call, Expr, ExprKind, Span};
use crate::torchscript::code::lex::Token;

impl Parser<'_> {
    pub(super) fn expr(&mut self) -> Result<Expr> {
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
        let (span, at) = (self.span(), self.at);
        let kind = match self.next() {
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
                self.at = at;
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
}
