//! Strings.

use planish_ir::Type;

use super::list::slice_positions;
use super::{Kernel, Table};
use crate::call::Call;
use crate::limits::room;
use crate::{Error, Result, Value};
use Kernel::One;

pub(super) const OPS: Table = &[
    ("aten::format", One(format)),
    ("aten::str", One(str)),
    ("aten::join", One(join)),
    ("aten::split.str", One(split)),
    ("aten::splitlines", One(split_lines)),
    ("aten::strip", One(strip)),
    ("aten::lstrip", One(strip)),
    ("aten::rstrip", One(strip)),
    ("aten::replace", One(replace)),
    ("aten::startswith", One(starts_with)),
    ("aten::endswith", One(ends_with)),
    ("aten::find", One(find)),
    ("aten::lower", One(lower)),
    ("aten::upper", One(upper)),
    ("aten::slice.str", One(slice)),
    ("aten::ord", One(ord)),
    ("aten::chr", One(chr)),
    ("aten::isdigit", One(is_digit)),
    ("aten::isalpha", One(is_alpha)),
    ("aten::isalnum", One(is_alnum)),
    ("aten::isspace", One(is_space)),
    ("aten::percentFormat", One(percent_format)),
    ("prim::StringIndex", One(index)),
];

/// Replaces each `{}` by the next argument.
fn format(call: &Call<'_>) -> Result<Value> {
    let mut pieces = call.str(0)?.split("{}");
    let mut out = pieces.next().unwrap_or_default().to_owned();
    let mut values = call.args.iter().skip(1);
    for piece in pieces {
        match values.next() {
            Some(value) => out += &value.to_string(),
            None => return Err(Error::invalid("too few arguments for the format string")),
        }
        out += piece;
    }
    Ok(Value::str(&out))
}

/// Replaces each `%s`, `%d`, … by the next argument; flags and widths are not supported.
fn percent_format(call: &Call<'_>) -> Result<Value> {
    let mut out = String::new();
    let mut values = call.args.iter().skip(1);
    let mut letters = call.str(0)?.chars();
    while let Some(letter) = letters.next() {
        if letter != '%' {
            out.push(letter);
            continue;
        }
        match letters.next() {
            Some('%') => out.push('%'),
            Some('s' | 'd' | 'i' | 'r' | 'f' | 'g') => match values.next() {
                Some(value) => out += &value.to_string(),
                None => return Err(Error::invalid("too few arguments for the format string")),
            },
            other => return Err(call.unsupported(format_args!("with %{}", other.unwrap_or(' ')))),
        }
    }
    Ok(Value::str(&out))
}

fn str(call: &Call<'_>) -> Result<Value> {
    Ok(Value::str(&call.get(0).to_string()))
}

fn join(call: &Call<'_>) -> Result<Value> {
    let parts = call.items(1)?.into_iter().map(|item| match item {
        Value::Str(text) => Ok(text),
        _ => Err(call.wrong(1, "a list of strings")),
    });
    let parts: Vec<_> = parts.collect::<Result<_>>()?;
    let total = parts.iter().map(|part| part.len()).sum::<usize>();
    room(total + parts.len() * call.str(0)?.len(), 1)?;
    Ok(Value::str(&parts.join(call.str(0)?)))
}

fn split(call: &Call<'_>) -> Result<Value> {
    let text = call.str(0)?;
    let most = usize::try_from(call.int_or(2, -1)?).map_or(usize::MAX, |max| max.saturating_add(1));
    let parts: Vec<Value> = match call.get(1) {
        Value::None => text.split_whitespace().map(Value::str).collect(),
        _ => text.splitn(most, call.str(1)?).map(Value::str).collect(),
    };
    Ok(Value::list(Type::Str, parts))
}

fn split_lines(call: &Call<'_>) -> Result<Value> {
    let text = call.str(0)?;
    let lines: Vec<Value> = if call.bool_or(1, false)? {
        text.split_inclusive('\n').map(Value::str).collect()
    } else {
        text.lines().map(Value::str).collect()
    };
    Ok(Value::list(Type::Str, lines))
}

fn strip(call: &Call<'_>) -> Result<Value> {
    let set = match call.get(1) {
        Value::None => " \n\t\u{b}\u{c}\r",
        _ => call.str(1)?,
    };
    let drop = |letter| set.contains(letter);
    let text = call.str(0)?;
    Ok(Value::str(match call.short_name() {
        "lstrip" => text.trim_start_matches(drop),
        "rstrip" => text.trim_end_matches(drop),
        _ => text.trim_matches(drop),
    }))
}

fn replace(call: &Call<'_>) -> Result<Value> {
    let (text, from, to) = (call.str(0)?, call.str(1)?, call.str(2)?);
    let most = usize::try_from(call.int_or(3, -1)?).unwrap_or(usize::MAX);
    room(text.len().saturating_add(1), to.len() + 1)?;
    Ok(Value::str(&text.replacen(from, to, most)))
}

fn starts_with(call: &Call<'_>) -> Result<Value> {
    Ok(call.str(0)?.starts_with(call.str(1)?).into())
}

fn ends_with(call: &Call<'_>) -> Result<Value> {
    Ok(call.str(0)?.ends_with(call.str(1)?).into())
}

fn find(call: &Call<'_>) -> Result<Value> {
    let found = call.str(0)?.find(call.str(1)?);
    Ok(Value::Int(found.map_or(-1, |at| at as i64)))
}

fn lower(call: &Call<'_>) -> Result<Value> {
    Ok(Value::str(&call.str(0)?.to_ascii_lowercase()))
}

fn upper(call: &Call<'_>) -> Result<Value> {
    Ok(Value::str(&call.str(0)?.to_ascii_uppercase()))
}

fn slice(call: &Call<'_>) -> Result<Value> {
    let letters: Vec<char> = call.str(0)?.chars().collect();
    let picked = slice_positions(call, 1, letters.len())?;
    let picked: String = picked.map(|at| letters[at]).collect();
    Ok(Value::str(&picked))
}

fn index(call: &Call<'_>) -> Result<Value> {
    let letters: Vec<char> = call.str(0)?.chars().collect();
    let at = call.int(1)?;
    let at = if at < 0 {
        at + letters.len() as i64
    } else {
        at
    };
    let letter = usize::try_from(at).ok().and_then(|at| letters.get(at));
    match letter {
        Some(letter) => Ok(Value::str(&letter.to_string())),
        None => Err(call.wrong(1, "a position in the string")),
    }
}

fn ord(call: &Call<'_>) -> Result<Value> {
    match call.str(0)?.as_bytes() {
        [byte] => Ok(Value::Int(i64::from(*byte))),
        _ => Err(call.wrong(0, "a string of one character")),
    }
}

fn chr(call: &Call<'_>) -> Result<Value> {
    let letter = u32::try_from(call.int(0)?).ok().and_then(char::from_u32);
    match letter {
        Some(letter) => Ok(Value::str(&letter.to_string())),
        None => Err(call.wrong(0, "the number of a character")),
    }
}

fn is_digit(call: &Call<'_>) -> Result<Value> {
    all(call, |byte| byte.is_ascii_digit())
}

fn is_alpha(call: &Call<'_>) -> Result<Value> {
    all(call, |byte| byte.is_ascii_alphabetic())
}

fn is_alnum(call: &Call<'_>) -> Result<Value> {
    all(call, |byte| byte.is_ascii_alphanumeric())
}

fn is_space(call: &Call<'_>) -> Result<Value> {
    all(call, |byte| byte.is_ascii_whitespace())
}

fn all(call: &Call<'_>, test: impl Fn(u8) -> bool) -> Result<Value> {
    let text = call.str(0)?;
    Ok((!text.is_empty() && text.bytes().all(test)).into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Contract, apply};
    use planish_ir::Op;

    #[test]
    fn formats_take_arguments_in_order() {
        let inputs = [
            Value::str("{} of {}"),
            Value::Int(1),
            Value::list(Type::Str, [Value::str("a")]),
        ];
        let out = apply(Op::of("aten::format"), &inputs, Contract::Fbgemm).unwrap();
        assert_eq!(out[0].to_string(), "1 of [\"a\"]");
        assert!(apply(Op::of("aten::format"), &inputs[..2], Contract::Fbgemm).is_err());
    }
}
