//! Tokens.
//!
//! There is no token list: a token is cut from the text at a position, so that the parser can look ahead, and can read a printed tensor
//! as raw text, by position alone. Line breaks and indentation carry no meaning, since every construct ends with a mark of its own; only
//! a comment belongs to the line that it ends.

use std::ops::Range;

/// A piece of text with a meaning.
#[derive(Clone, Debug)]
pub(super) struct Token {
    pub(super) kind: Kind,
    pub(super) start: usize,
    pub(super) end: usize,
    /// The comment that ends the line of the token before this one, without its `#`.
    pub(super) comment: Option<Range<usize>>,
}

/// Kinds of tokens.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// `%name`.
    Value,
    /// A name, dots included: `Tensor`, `block0`, `add.Tensor`, `__torch__.a.B`.
    Name,
    /// A number with its sign: `1`, `-0.5`, `1e-05`, `2.j`, `0x7fc00000`, `-inf`.
    Number,
    /// A string in double quotes.
    Str,
    /// A string that does not end.
    OpenStr,
    /// `::`.
    Scope,
    /// `->`.
    Arrow,
    /// One character.
    Mark(u8),
    /// The end of the text.
    End,
}

impl Token {
    pub(super) fn span(&self) -> Range<usize> {
        self.start..self.end
    }
}

/// The first token at or after `at`.
pub(super) fn token_at(text: &str, at: usize) -> Token {
    let bytes = text.as_bytes();
    let (start, comment) = skip_blank(bytes, at);
    let Some(first) = bytes.get(start).copied() else {
        return Token {
            kind: Kind::End,
            start,
            end: start,
            comment,
        };
    };
    let rest = &bytes[start..];
    let (kind, len) = match first {
        b'%' => (Kind::Value, 1 + value_name_len(&rest[1..])),
        b'"' => string(rest),
        b'-' if rest.get(1) == Some(&b'>') => (Kind::Arrow, 2),
        b':' if rest.get(1) == Some(&b':') => (Kind::Scope, 2),
        _ if starts_number(rest) => (Kind::Number, number_len(rest)),
        _ if is_name_byte(first) => (Kind::Name, name_len(rest)),
        _ => (Kind::Mark(first), 1),
    };
    Token {
        kind,
        start,
        end: start + len,
        comment,
    }
}

/// The position after blanks and comments, and the comment of the line on which `at` is.
fn skip_blank(bytes: &[u8], mut at: usize) -> (usize, Option<Range<usize>>) {
    let mut comment = None;
    let mut same_line = at > 0;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'\n' => {
                same_line = false;
                at += 1;
            }
            b' ' | b'\t' | b'\r' => at += 1,
            b'#' => {
                let len = bytes[at..]
                    .iter()
                    .take_while(|byte| **byte != b'\n')
                    .count();
                if same_line {
                    comment.get_or_insert(at + 1..at + len);
                }
                at += len;
            }
            _ => break,
        }
    }
    (at, comment)
}

fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80
}

/// The quantizer makes names such as `x.2_scale_0`, tracing `input.1`, ONNX export `onnx::Conv_3` and `/conv/out`.
fn value_name_len(bytes: &[u8]) -> usize {
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        at += match byte {
            b'.' | b'/' | b'$' => 1,
            b':' if bytes.get(at + 1) == Some(&b':') => 2,
            byte if is_name_byte(*byte) => 1,
            _ => break,
        };
    }
    at
}

fn name_len(bytes: &[u8]) -> usize {
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let dot = *byte == b'.' && bytes.get(at + 1).is_some_and(|next| is_name_byte(*next));
        if !dot && !is_name_byte(*byte) {
            break;
        }
        at += 1;
    }
    at
}

fn string(bytes: &[u8]) -> (Kind, usize) {
    let mut at = 1;
    loop {
        match bytes.get(at) {
            None | Some(b'\n') => return (Kind::OpenStr, at),
            Some(b'"') => return (Kind::Str, at + 1),
            // The escaped character may be a quote; a line break or the end is left to the next round.
            Some(b'\\') if !matches!(bytes.get(at + 1), None | Some(b'\n')) => at += 2,
            Some(_) => at += 1,
        }
    }
}

fn starts_number(bytes: &[u8]) -> bool {
    let unsigned = match bytes[0] {
        b'-' | b'+' => &bytes[1..],
        _ => bytes,
    };
    match unsigned {
        [b'0'..=b'9', ..] | [b'.', b'0'..=b'9', ..] => true,
        // A word is a number only after a sign; `inf` alone is a name.
        [b'i', b'n', b'f', ..] | [b'n', b'a', b'n', ..] => unsigned.len() < bytes.len(),
        _ => false,
    }
}

fn number_len(bytes: &[u8]) -> usize {
    let mut at = usize::from(matches!(bytes[0], b'-' | b'+'));
    let digits = |at: usize| {
        bytes[at..]
            .iter()
            .take_while(|byte| byte.is_ascii_digit())
            .count()
    };
    if bytes[at].is_ascii_alphabetic() {
        at += 3;
    } else if bytes[at..].starts_with(b"0x") {
        at += 2;
        at += bytes[at..]
            .iter()
            .take_while(|byte| byte.is_ascii_hexdigit())
            .count();
    } else {
        at += digits(at);
        if bytes.get(at) == Some(&b'.') {
            at += 1;
            at += digits(at);
        }
        if matches!(bytes.get(at), Some(b'e' | b'E')) {
            let signed = usize::from(matches!(bytes.get(at + 1), Some(b'-' | b'+')));
            let exponent = digits((at + 1 + signed).min(bytes.len()));
            if exponent > 0 {
                at += 1 + signed + exponent;
            }
        }
    }
    at + usize::from(bytes.get(at) == Some(&b'j'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(text: &str) -> Vec<(Kind, &str)> {
        let mut at = 0;
        let mut found = Vec::new();
        loop {
            let token = token_at(text, at);
            if token.kind == Kind::End {
                return found;
            }
            at = token.end;
            found.push((token.kind, &text[token.span()]));
        }
    }

    #[test]
    fn names_of_the_quantizer_are_one_token() {
        assert_eq!(
            tokens("%self.layer4.1.out.26_scale_0, %8:int"),
            [
                (Kind::Value, "%self.layer4.1.out.26_scale_0"),
                (Kind::Mark(b','), ","),
                (Kind::Value, "%8"),
                (Kind::Mark(b':'), ":"),
                (Kind::Name, "int"),
            ]
        );
    }

    #[test]
    fn numbers_keep_their_sign_and_arrows_stay_arrows() {
        let kinds: Vec<_> = tokens("-1 1. 1e-05 0.-2.j -inf nan -> ->1 .5 1.e 0x1f")
            .into_iter()
            .collect();
        use Kind::{Arrow, Name, Number};
        assert_eq!(
            kinds,
            [
                (Number, "-1"),
                (Number, "1."),
                (Number, "1e-05"),
                (Number, "0."),
                (Number, "-2.j"),
                (Number, "-inf"),
                (Name, "nan"),
                (Arrow, "->"),
                (Arrow, "->"),
                (Number, "1"),
                (Number, ".5"),
                (Number, "1."),
                (Name, "e"),
                (Number, "0x1f"),
            ]
        );
    }

    #[test]
    fn a_comment_belongs_to_the_line_that_it_ends() {
        let text = "# head\na # tail\n# whole line\nb \"# no\"";
        let a = token_at(text, 0);
        assert_eq!(a.comment, None);
        let b = token_at(text, a.end);
        assert_eq!(&text[b.comment.clone().unwrap()], " tail");
        assert_eq!(token_at(text, b.end).kind, Kind::Str);
    }
}
