//! Values as text, as TorchScript prints them in messages.

use std::fmt;

use super::Value;

/// Values nested deeper than this are cut off (a list may hold itself).
const MAX_NESTING: u32 = 16;

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Str(text) => f.write_str(text),
            value => write_value(f, value, MAX_NESTING),
        }
    }
}

fn write_value(f: &mut fmt::Formatter<'_>, value: &Value, depth: u32) -> fmt::Result {
    let Some(depth) = depth.checked_sub(1) else {
        return f.write_str("…");
    };
    match value {
        Value::None => f.write_str("None"),
        Value::Bool(true) => f.write_str("True"),
        Value::Bool(false) => f.write_str("False"),
        Value::Int(value) => write!(f, "{value}"),
        Value::Float(value) => f.write_str(&float_text(*value)),
        Value::Complex(re, im) => {
            let sign = if im.is_sign_negative() { "" } else { "+" };
            write!(f, "{}{sign}{}j", float_text(*re), float_text(*im))
        }
        Value::Str(text) => write!(f, "{text:?}"),
        Value::Device(device) => write!(f, "{device}"),
        Value::Tensor(tensor) => write!(f, "{tensor:?}"),
        Value::List(list) => write_all(f, "[", &list.to_vec(), "]", depth),
        Value::Tuple(items) if items.len() == 1 => write_all(f, "(", items, ",)", depth),
        Value::Tuple(items) => write_all(f, "(", items, ")", depth),
        Value::Dict(dict) => {
            let entries: Vec<_> = dict.lock().values().cloned().collect();
            f.write_str("{")?;
            for (index, (key, value)) in entries.iter().enumerate() {
                f.write_str(if index > 0 { ", " } else { "" })?;
                write_value(f, key, depth)?;
                f.write_str(": ")?;
                write_value(f, value, depth)?;
            }
            f.write_str("}")
        }
        Value::Object(object) => write!(f, "<{}>", object.class()),
        Value::Packed(packed) => write!(f, "<{}>", packed.class()),
        Value::Function(name) => write!(f, "<function {name}>"),
        Value::Module(_) | Value::Uninitialized => write!(f, "<{}>", value.kind()),
    }
}

fn write_all(
    f: &mut fmt::Formatter<'_>,
    open: &str,
    items: &[Value],
    close: &str,
    depth: u32,
) -> fmt::Result {
    f.write_str(open)?;
    for (index, item) in items.iter().enumerate() {
        f.write_str(if index > 0 { ", " } else { "" })?;
        write_value(f, item, depth)?;
    }
    f.write_str(close)
}

/// A float as TorchScript prints it: whole numbers end in a point.
pub(crate) fn float_text(value: f64) -> String {
    if value.is_nan() {
        return "nan".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "inf" } else { "-inf" }.to_owned();
    }
    let magnitude = value.abs();
    if value == value.trunc() && magnitude < 1e10 {
        return format!("{value}.");
    }
    if magnitude != 0.0 && !(1e-5..1e17).contains(&magnitude) {
        return format!("{value:e}");
    }
    format!("{value}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_print_as_in_python() {
        let value = Value::tuple([Value::Int(1), Value::ints(&[2, 3]), Value::Float(2.0)]);
        assert_eq!(value.to_string(), "(1, [2, 3], 2.)");
        assert_eq!(Value::tuple([Value::str("a")]).to_string(), "(\"a\",)");
        assert_eq!(Value::str("a").to_string(), "a");
    }
}
