//! The parser's place in the text: the current token, what was found wrong so far, how deep it stands.

use std::borrow::Cow;
use std::ops::Range;

use crate::diag::{Diagnostic, Diagnostics};
use crate::text::Blobs;
use crate::text::lex::{Kind, Token, token_at};
use crate::text::places::GraphPlaces;
use crate::text::quote::unquote;

/// Deepest nesting of types and of literals. Both are trees that are walked and dropped by recursion.
pub(super) const MAX_DEPTH: u32 = 100;

/// Faults after which reading stops: what follows is rarely worth more lines.
const MAX_FAULTS: usize = 50;

/// The fault is in the parser's list already.
#[derive(Debug)]
pub(super) struct Reported;

/// What a parsing function returns.
pub(super) type Parse<T> = Result<T, Reported>;

/// A recursive-descent parser of the text IR.
pub(super) struct Parser<'s> {
    pub(super) text: &'s str,
    pub(super) token: Token,
    pub(super) blobs: &'s Blobs,
    /// Random elements made so far.
    pub(super) made: i64,
    /// Where what the last graph to end holds is written.
    pub(super) places: GraphPlaces,
    /// End of the last token that was taken.
    pub(super) taken: usize,
    depth: u32,
    faults: Vec<Diagnostic>,
}

impl<'s> Parser<'s> {
    pub(super) fn new(text: &'s str, blobs: &'s Blobs) -> Self {
        Self {
            text,
            token: token_at(text, 0),
            blobs,
            made: 0,
            places: GraphPlaces::default(),
            taken: 0,
            depth: 0,
            faults: Vec::new(),
        }
    }

    /// What `parse` makes of the whole text.
    pub(super) fn whole<T>(
        mut self,
        parse: impl FnOnce(&mut Self) -> Parse<T>,
    ) -> Result<T, Diagnostics> {
        let parsed = parse(&mut self).and_then(|value| {
            if self.at_end() {
                return Ok(value);
            }
            Err(self.unexpected("the end of the text"))
        });
        match parsed {
            Ok(value) if self.faults.is_empty() => Ok(value),
            _ => Err(Diagnostics {
                file: "<text>".to_owned(),
                list: self.faults,
            }),
        }
    }

    /// The text of the current token.
    pub(super) fn current(&self) -> &'s str {
        &self.text[self.token.span()]
    }

    /// The token after the current one.
    pub(super) fn peek(&self) -> Token {
        token_at(self.text, self.token.end)
    }

    pub(super) fn bump(&mut self) {
        self.taken = self.token.end;
        self.seek(self.token.end);
    }

    /// Goes on with the first token at or after `at`.
    pub(super) fn seek(&mut self, at: usize) {
        self.token = token_at(self.text, at);
    }

    pub(super) fn at(&self, mark: u8) -> bool {
        self.token.kind == Kind::Mark(mark)
    }

    pub(super) fn at_end(&self) -> bool {
        self.token.kind == Kind::End
    }

    pub(super) fn at_word(&self, word: &str) -> bool {
        self.token.kind == Kind::Name && self.current() == word
    }

    pub(super) fn eat(&mut self, mark: u8) -> bool {
        let found = self.at(mark);
        if found {
            self.bump();
        }
        found
    }

    pub(super) fn eat_word(&mut self, word: &str) -> bool {
        let found = self.at_word(word);
        if found {
            self.bump();
        }
        found
    }

    pub(super) fn expect(&mut self, mark: u8) -> Parse<()> {
        if self.eat(mark) {
            return Ok(());
        }
        Err(self.unexpected(&format!("`{}`", mark as char)))
    }

    pub(super) fn expect_kind(&mut self, kind: Kind, what: &str) -> Parse<&'s str> {
        if self.token.kind != kind {
            return Err(self.unexpected(what));
        }
        let text = self.current();
        self.bump();
        Ok(text)
    }

    pub(super) fn expect_name(&mut self, what: &str) -> Parse<&'s str> {
        self.expect_kind(Kind::Name, what)
    }

    /// A name, or a string where a name has other characters than names have.
    pub(super) fn name_or_string(&mut self, what: &str) -> Parse<Cow<'s, str>> {
        match self.token.kind {
            Kind::Str => self.string().map(Cow::Owned),
            _ => self.expect_name(what).map(Cow::Borrowed),
        }
    }

    pub(super) fn string(&mut self) -> Parse<String> {
        let start = self.token.start;
        let quoted = self.expect_kind(Kind::Str, "a string")?;
        unquote(quoted).map_err(|bad| {
            let at = start + bad.at;
            self.fault(at..at + 1, bad.message)
        })
    }

    /// Items separated by commas up to `close`.
    pub(super) fn list<T>(
        &mut self,
        close: u8,
        mut item: impl FnMut(&mut Self) -> Parse<T>,
    ) -> Parse<Vec<T>> {
        let mut items = Vec::new();
        while !self.eat(close) {
            if !items.is_empty() {
                if !self.at(b',') {
                    return Err(self.unexpected(&format!("`,` or `{}`", close as char)));
                }
                self.bump();
                if self.eat(close) {
                    break;
                }
            }
            items.push(item(self)?);
        }
        Ok(items)
    }

    /// What `parse` finds one level further down.
    pub(super) fn nested<T>(
        &mut self,
        what: &str,
        parse: impl FnOnce(&mut Self) -> Parse<T>,
    ) -> Parse<T> {
        if self.depth == MAX_DEPTH {
            return Err(self.too_deep(what));
        }
        self.depth += 1;
        let found = parse(self);
        self.depth -= 1;
        found
    }

    pub(super) fn too_deep(&mut self, what: &str) -> Reported {
        self.fault(
            self.token.span(),
            format!("{what} are nested more than {MAX_DEPTH} deep"),
        )
    }

    /// Reports that something else was expected here.
    pub(super) fn unexpected(&mut self, wanted: &str) -> Reported {
        let found = match self.token.kind {
            Kind::End => "the end of the text".to_owned(),
            Kind::OpenStr => "a string that does not end".to_owned(),
            _ => format!("`{}`", abbreviated(self.current())),
        };
        self.fault(
            self.token.span(),
            format!("expected {wanted}, found {found}"),
        )
    }

    /// Reports a fault.
    pub(super) fn fault(&mut self, span: Range<usize>, message: impl Into<String>) -> Reported {
        self.report(Diagnostic::new(self.text, span, message))
    }

    /// Reports a fault.
    pub(super) fn report(&mut self, fault: Diagnostic) -> Reported {
        self.faults.push(fault);
        Reported
    }

    /// Whether there are so many faults that reading should stop.
    pub(super) fn gives_up(&self) -> bool {
        self.faults.len() >= MAX_FAULTS
    }

    /// The comment lines that stand right before the current token, without `#`.
    pub(super) fn comment_above(&self) -> String {
        let before = &self.text[..self.token.start];
        // What follows the last line break is the current token's own indentation.
        let lines = before.rsplit('\n').skip(1).map(str::trim);
        let mut comments: Vec<&str> = lines
            .map_while(|line| line.strip_prefix('#').map(str::trim))
            .collect();
        comments.reverse();
        comments.join("\n")
    }

    /// Goes on at the line after the one that is being read, to look for further faults; `start` is where its reading began.
    pub(super) fn next_line(&mut self, start: usize) {
        let last = self.taken.max(start);
        let line = self.text[last..].find('\n');
        self.seek(line.map_or(self.text.len(), |line| last + line));
    }
}

/// The start of a long piece of text.
pub(super) fn abbreviated(text: &str) -> String {
    const LONGEST: usize = 40;
    let mut chars = text.chars();
    let start: String = chars.by_ref().take(LONGEST).collect();
    if chars.next().is_some() {
        return format!("{start}…");
    }
    start
}
