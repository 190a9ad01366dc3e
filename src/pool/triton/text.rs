//! Reads the short texts that signatures and grids are written in.

use crate::error::Error;

/// What is left of a text.
#[derive(Clone, Debug)]
pub(super) struct Reader<'a> {
    what: &'static str,
    whole: &'a str,
    rest: &'a str,
}

impl<'a> Reader<'a> {
    /// `what` names the text in errors.
    pub(super) fn new(what: &'static str, whole: &'a str) -> Self {
        Self {
            what,
            whole,
            rest: whole.trim_start(),
        }
    }

    /// Whether everything is read.
    pub(super) fn at_end(&self) -> bool {
        self.rest.is_empty()
    }

    /// Takes `token`, if it comes next.
    pub(super) fn take(&mut self, token: char) -> bool {
        let rest = self.rest.strip_prefix(token);
        self.rest = rest.unwrap_or(self.rest).trim_start();
        rest.is_some()
    }

    /// Takes `token`, which must come next.
    pub(super) fn expect(&mut self, token: char) -> Result<(), Error> {
        if self.take(token) {
            Ok(())
        } else {
            Err(self.wrong(&format!("expected `{token}`")))
        }
    }

    /// A name or a number: letters, digits, underscores, and a sign before it.
    pub(super) fn word(&mut self) -> Result<&'a str, Error> {
        let signed = usize::from(self.rest.starts_with('-'));
        let end = self.rest[signed..]
            .find(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_')
            .map_or(self.rest.len(), |end| end + signed);
        let (word, rest) = self.rest.split_at(end);
        if word.len() == signed {
            return Err(self.wrong("expected a name or a number"));
        }
        self.rest = rest.trim_start();
        Ok(word)
    }

    /// The error at this place.
    pub(super) fn wrong(&self, reason: &str) -> Error {
        let place = match self.rest {
            "" => "at the end".to_owned(),
            rest => format!("before `{}`", rest.chars().take(20).collect::<String>()),
        };
        Error::Triton {
            what: format!("read the {} `{}`", self.what, self.whole),
            reason: format!("{reason} {place}"),
        }
    }
}

/// Whether Python and C take this as a name.
pub(super) fn is_name(word: &str) -> bool {
    let mut letters = word.chars();
    letters
        .next()
        .is_some_and(|first| first.is_ascii_alphabetic() || first == '_')
        && letters.all(|letter| letter.is_ascii_alphanumeric() || letter == '_')
}
