//! What a value is called.

use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;

use crate::ValueId;

/// The name of a value: a word of the source, or the number that a text gives to what has none.
///
/// Most values of a graph are called by a number; a number is held as one, and takes no memory of its own.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct ValueName(Held);

#[derive(Clone, PartialEq, Eq, Hash)]
enum Held {
    /// One more than the number; nothing is the name of what has none.
    Number(Option<NonZeroU32>),
    /// Text that is no number, or is not spelled as a number is.
    Text(Arc<str>),
}

impl ValueName {
    /// The name of what has none.
    pub(crate) const NONE: Self = Self(Held::Number(None));

    /// The name that is this text; no text is no name.
    pub fn new(text: &str) -> Self {
        match as_number(text) {
            Some(number) => Self::number(number),
            None if text.is_empty() => Self::NONE,
            None => Self(Held::Text(text.into())),
        }
    }

    /// The name that is this number, in decimal digits.
    pub(crate) fn number(number: u32) -> Self {
        match NonZeroU32::new(number.wrapping_add(1)) {
            Some(held) => Self(Held::Number(Some(held))),
            None => Self(Held::Text(number.to_string().into())),
        }
    }

    /// Whether this is the name of what has none.
    #[inline]
    pub(crate) fn is_none(&self) -> bool {
        matches!(self.0, Held::Number(None))
    }

    /// The text of a name that is no number.
    pub(crate) fn text(&self) -> Option<&str> {
        match &self.0 {
            Held::Text(text) => Some(text),
            Held::Number(_) => None,
        }
    }
}

/// The number that this text is the spelling of, as [`ValueName`] prints it.
fn as_number(text: &str) -> Option<u32> {
    let is_spelled_so = text == "0" || !text.starts_with(['0', '+']);
    text.parse()
        .ok()
        .filter(|number| is_spelled_so && *number < u32::MAX)
}

impl PartialEq<str> for ValueName {
    fn eq(&self, other: &str) -> bool {
        *self == Self::new(other)
    }
}

impl fmt::Display for ValueName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Held::Number(Some(held)) => fmt::Display::fmt(&(held.get() - 1), f),
            Held::Number(None) => Ok(()),
            Held::Text(text) => f.pad(text),
        }
    }
}

/// A value as messages name it: by its own name, else by its id.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Label {
    /// The name that the text prints.
    Name(ValueName),
    /// The id of a value without a name.
    Id(ValueId),
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => write!(f, "%{name}"),
            Self::Id(value) => write!(f, "{value}"),
        }
    }
}

impl fmt::Debug for ValueName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "%{self}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_its_text_however_it_is_held() {
        let last = u32::MAX.to_string();
        for text in [
            "x.2",
            "0",
            "7",
            "07",
            "+7",
            "-1",
            "4294967294",
            &last,
            "99999999999",
        ] {
            let name = ValueName::new(text);
            assert_eq!(name.to_string(), text);
            assert!(name == *text && !name.is_none());
        }
        assert!(ValueName::new("").is_none());
        assert_eq!(ValueName::number(u32::MAX), ValueName::new(&last));
        assert_ne!(ValueName::new("7"), ValueName::new("07"));
        assert_eq!(size_of::<ValueName>(), 16);
    }
}
