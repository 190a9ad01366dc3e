//! Characters to tokens, with the indentation made explicit.

use std::fmt;

use super::ast::Span;
use crate::error::Error;

#[derive(Debug, Clone, PartialEq)]
pub(in crate::torchscript::code) enum Token {
    Name(String),
    Int(i64),
    Float(f64),
    /// The imaginary part of a complex number, without its `j`.
    Imaginary(f64),
    Str(String),
    /// One of ``( ) [ ] { } , : . = -`` and `+`.
    Mark(char),
    Arrow,
    Newline,
    Indent,
    Dedent,
    End,
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => write!(f, "`{name}`"),
            Self::Int(value) => write!(f, "`{value}`"),
            Self::Float(value) => write!(f, "`{value:?}`"),
            Self::Imaginary(value) => write!(f, "`{value:?}j`"),
            Self::Str(_) => f.write_str("a string"),
            Self::Mark(mark) => write!(f, "`{mark}`"),
            Self::Arrow => f.write_str("`->`"),
            Self::Newline => f.write_str("the end of the line"),
            Self::Indent => f.write_str("an indented block"),
            Self::Dedent => f.write_str("the end of the block"),
            Self::End => f.write_str("the end of the file"),
        }
    }
}

/// All tokens of `text`, the last being [`Token::End`].
pub(super) fn lex(file: &str, text: &str) -> Result<Vec<(Token, Span)>, Error> {
    let mut lexer = Lexer {
        file,
        text: text.as_bytes(),
        at: 0,
        line: 1,
        line_start: 0,
        open: 0,
        indents: vec![0],
        tokens: Vec::with_capacity(text.len() / 4),
    };
    lexer.run()?;
    Ok(lexer.tokens)
}

struct Lexer<'a> {
    file: &'a str,
    text: &'a [u8],
    at: usize,
    line: u32,
    line_start: usize,
    /// Brackets that are open: newlines and indentation mean nothing inside.
    open: usize,
    indents: Vec<usize>,
    tokens: Vec<(Token, Span)>,
}

impl Lexer<'_> {
    fn run(&mut self) -> Result<(), Error> {
        self.indentation()?;
        while let Some(byte) = self.peek(0) {
            let span = self.span();
            match byte {
                b' ' | b'\t' | b'\r' => self.at += 1,
                b'#' => self.skip_comment(),
                b'\n' => self.newline()?,
                b'(' | b'[' | b'{' => {
                    self.open += 1;
                    self.mark(byte, span);
                }
                b')' | b']' | b'}' => {
                    self.open = self.open.saturating_sub(1);
                    self.mark(byte, span);
                }
                b'-' if self.peek(1) == Some(b'>') => {
                    self.at += 2;
                    self.tokens.push((Token::Arrow, span));
                }
                b'.' if self.peek(1).is_some_and(|b| b.is_ascii_digit()) => self.number(span)?,
                b',' | b':' | b'.' | b'=' | b'-' | b'+' => self.mark(byte, span),
                b'"' | b'\'' => self.string(byte, span)?,
                b'0'..=b'9' => self.number(span)?,
                _ if is_name(byte) => self.name(span),
                _ => {
                    let rest = String::from_utf8_lossy(&self.text[self.at..]);
                    let found = rest.chars().next().unwrap_or(' ');
                    return Err(self.fail(span, format!("character {found:?} is not supported")));
                }
            }
        }
        let span = self.span();
        if !matches!(
            self.tokens.last(),
            None | Some((Token::Newline | Token::Dedent, _))
        ) {
            self.tokens.push((Token::Newline, span));
        }
        for _ in 1..self.indents.len() {
            self.tokens.push((Token::Dedent, span));
        }
        self.tokens.push((Token::End, span));
        Ok(())
    }

    fn newline(&mut self) -> Result<(), Error> {
        let span = self.span();
        self.at += 1;
        self.line += 1;
        self.line_start = self.at;
        if self.open > 0 {
            return Ok(());
        }
        if !matches!(
            self.tokens.last(),
            None | Some((Token::Newline | Token::Dedent, _))
        ) {
            self.tokens.push((Token::Newline, span));
        }
        self.indentation()
    }

    /// Compares the indentation of the line that begins here with the open blocks. Blank lines
    /// and comments have none.
    fn indentation(&mut self) -> Result<(), Error> {
        let start = self.at;
        while self.peek(0) == Some(b' ') {
            self.at += 1;
        }
        match self.peek(0) {
            None | Some(b'\n' | b'\r' | b'#') => return Ok(()),
            Some(b'\t') => return Err(self.fail(self.span(), "indentation by a tab")),
            Some(_) => {}
        }
        let width = self.at - start;
        let span = self.span();
        let current = self.indents.last().copied().unwrap_or(0);
        if width > current {
            self.indents.push(width);
            self.tokens.push((Token::Indent, span));
            return Ok(());
        }
        while self.indents.last().is_some_and(|open| *open > width) {
            self.indents.pop();
            self.tokens.push((Token::Dedent, span));
        }
        if self.indents.last() != Some(&width) {
            return Err(self.fail(span, "indentation that matches no open block"));
        }
        Ok(())
    }

    fn skip_comment(&mut self) {
        while self.peek(0).is_some_and(|b| b != b'\n') {
            self.at += 1;
        }
    }

    fn mark(&mut self, byte: u8, span: Span) {
        self.at += 1;
        self.tokens.push((Token::Mark(char::from(byte)), span));
    }

    fn name(&mut self, span: Span) {
        let start = self.at;
        while self
            .peek(0)
            .is_some_and(|b| is_name(b) || b.is_ascii_digit())
        {
            self.at += 1;
        }
        let name = String::from_utf8_lossy(&self.text[start..self.at]).into_owned();
        self.tokens.push((Token::Name(name), span));
    }

    fn number(&mut self, span: Span) -> Result<(), Error> {
        let start = self.at;
        let mut float = false;
        self.digits();
        if self.peek(0) == Some(b'.') {
            float = true;
            self.at += 1;
            self.digits();
        }
        if matches!(self.peek(0), Some(b'e' | b'E')) {
            let sign = usize::from(matches!(self.peek(1), Some(b'+' | b'-')));
            if self.peek(1 + sign).is_some_and(|b| b.is_ascii_digit()) {
                float = true;
                self.at += 1 + sign;
                self.digits();
            }
        }
        let text = String::from_utf8_lossy(&self.text[start..self.at]).into_owned();
        let parse = || text.parse::<f64>().ok();
        let token = if self.peek(0) == Some(b'j') {
            self.at += 1;
            parse().map(Token::Imaginary)
        } else if float {
            parse().map(Token::Float)
        } else if text == "9223372036854775808" {
            // Only the negative of it fits; the parser refuses it without a minus.
            Some(Token::Int(i64::MIN))
        } else {
            text.parse().ok().map(Token::Int)
        };
        let token =
            token.ok_or_else(|| self.fail(span, format!("number `{text}` is no 64-bit")))?;
        if self
            .peek(0)
            .is_some_and(|b| is_name(b) || b.is_ascii_digit())
        {
            return Err(self.fail(span, format!("number `{text}` runs into a name")));
        }
        self.tokens.push((token, span));
        Ok(())
    }

    fn digits(&mut self) {
        while self.peek(0).is_some_and(|b| b.is_ascii_digit()) {
            self.at += 1;
        }
    }

    fn string(&mut self, quote: u8, span: Span) -> Result<(), Error> {
        self.at += 1;
        let mut out = Vec::new();
        loop {
            let Some(byte) = self.peek(0) else {
                return Err(self.fail(span, "a string without an end"));
            };
            self.at += 1;
            match byte {
                b'\n' => return Err(self.fail(span, "a string without an end")),
                b'\\' => self.escape(&mut out)?,
                _ if byte == quote => break,
                _ => out.push(byte),
            }
        }
        let text = String::from_utf8(out)
            .map_err(|_| self.fail(span, "a string whose escapes are not UTF-8"))?;
        self.tokens.push((Token::Str(text), span));
        Ok(())
    }

    fn escape(&mut self, out: &mut Vec<u8>) -> Result<(), Error> {
        let span = self.span();
        let byte = self.peek(0);
        self.at += 1;
        out.push(match byte {
            Some(b'n') => b'\n',
            Some(b't') => b'\t',
            Some(b'r') => b'\r',
            Some(b'a') => 0x07,
            Some(b'b') => 0x08,
            Some(b'f') => 0x0c,
            Some(b'v') => 0x0b,
            Some(same @ (b'\\' | b'"' | b'\'')) => same,
            Some(high @ b'0'..=b'3') => {
                let digit = |b: Option<u8>| b.filter(|b| (b'0'..=b'7').contains(b));
                match (digit(self.peek(0)), digit(self.peek(1))) {
                    (Some(middle), Some(low)) => {
                        self.at += 2;
                        (high - b'0') << 6 | (middle - b'0') << 3 | (low - b'0')
                    }
                    _ => return Err(self.fail(span, "an octal escape without three digits")),
                }
            }
            _ => return Err(self.fail(span, "a string escape that is not supported")),
        });
        Ok(())
    }

    fn peek(&self, ahead: usize) -> Option<u8> {
        self.text.get(self.at + ahead).copied()
    }

    fn span(&self) -> Span {
        Span {
            line: self.line,
            column: (self.at - self.line_start + 1) as u32,
        }
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

fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || byte == b'_'
}
