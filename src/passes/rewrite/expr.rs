//! Reads a line of a rule's body: `%x, %y = op(%a, other(%b), 6)` or `return op(%x)`.

use planish_ir::Literal;

/// A line of a body.
#[derive(Debug)]
pub(super) struct Statement {
    /// What the outputs are called; empty for `return`.
    pub(super) outputs: Vec<String>,
    pub(super) value: Expr,
}

/// An operand, or what makes it.
#[derive(Debug)]
pub(super) enum Expr {
    /// A value by its name.
    Value(String),
    /// A constant.
    Literal(Literal),
    /// An operator, by its name as it was written, and its operands.
    Call(String, Vec<Expr>),
}

/// Reads a line.
pub(super) fn statement(text: &str) -> Result<Statement, String> {
    let (outputs, value) = if let Some(value) = text.strip_prefix("return ") {
        (Vec::new(), value)
    } else {
        let (outputs, value) = text
            .split_once('=')
            .ok_or_else(|| format!("`{text}` is neither `%x = …` nor `return …`"))?;
        let outputs = outputs.split(',').map(|name| {
            let name = name.trim().strip_prefix('%').filter(|name| is_name(name));
            name.map(str::to_owned)
                .ok_or_else(|| format!("`{}` is not a list of values", text.trim()))
        });
        (outputs.collect::<Result<_, _>>()?, value)
    };
    let mut reader = Reader { rest: value.trim() };
    let value = reader.expr()?;
    if !reader.rest.is_empty() {
        return Err(format!("`{}` follows the end", reader.rest));
    }
    Ok(Statement { outputs, value })
}

struct Reader<'a> {
    rest: &'a str,
}

impl<'a> Reader<'a> {
    fn expr(&mut self) -> Result<Expr, String> {
        if self.eat('(') {
            let inner = self.expr()?;
            return if self.eat(')') {
                Ok(inner)
            } else {
                Err(format!("`)` is expected before `{}`", self.rest))
            };
        }
        let word = self.word();
        if let Some(name) = word.strip_prefix('%') {
            return if is_name(name) {
                Ok(Expr::Value(name.to_owned()))
            } else {
                Err(format!("`{word}` is not a value"))
            };
        }
        if self.eat('(') {
            return Ok(Expr::Call(word.to_owned(), self.operands()?));
        }
        literal(word)
            .map(Expr::Literal)
            .ok_or_else(|| format!("`{word}` is neither a value, nor a constant, nor a call"))
    }

    /// Operands up to the closing parenthesis; those that a hole left empty do not count.
    fn operands(&mut self) -> Result<Vec<Expr>, String> {
        let mut operands = Vec::new();
        loop {
            while self.eat(',') {}
            if self.eat(')') {
                return Ok(operands);
            }
            operands.push(self.expr()?);
            if !self.rest.starts_with([',', ')']) {
                return Err(format!("`,` or `)` is expected before `{}`", self.rest));
            }
        }
    }

    fn word(&mut self) -> &'a str {
        let end = self
            .rest
            .find(['(', ')', ',', ' '])
            .unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest.trim_start();
        word
    }

    fn eat(&mut self, expected: char) -> bool {
        match self.rest.strip_prefix(expected) {
            Some(rest) => {
                self.rest = rest.trim_start();
                true
            }
            None => false,
        }
    }
}

fn is_name(name: &str) -> bool {
    !name.is_empty()
        && name
            .chars()
            .all(|found| found.is_alphanumeric() || found == '_')
}

fn literal(word: &str) -> Option<Literal> {
    Some(match word {
        "none" => Literal::None,
        "true" => Literal::Bool(true),
        "false" => Literal::Bool(false),
        _ => match word.parse() {
            Ok(value) => Literal::Int(value),
            Err(_) => Literal::Float(word.parse().ok()?),
        },
    })
}
