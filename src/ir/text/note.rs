//! Comments that say something of a node: `# @overload=Tensor`, `# net.py:12:4`.

use crate::text::lex::Token;
use crate::{Loc, Sym};

/// What a comment says of the node before it.
pub(super) struct Note {
    pub(super) overload: Option<String>,
    pub(super) loc: Option<Loc>,
}

impl Note {
    /// `next` is the token after the node, which carries the comment.
    pub(super) fn read(text: &str, next: &Token) -> Self {
        let mut note = Self {
            overload: None,
            loc: None,
        };
        let Some(comment) = next.comment.clone() else {
            return note;
        };
        for part in text[comment].split(" #").map(str::trim) {
            if let Some(overload) = part.strip_prefix("@overload=") {
                note.overload = Some(overload.to_owned());
            } else if note.loc.is_none() {
                note.loc = location(part);
            }
        }
        note
    }
}

/// `file:line:column`.
fn location(text: &str) -> Option<Loc> {
    let (rest, column) = text.rsplit_once(':')?;
    let (file, line) = rest.rsplit_once(':')?;
    Some(Loc {
        file: Sym::new(file),
        line: line.parse().ok()?,
        column: column.parse().ok()?,
    })
}
