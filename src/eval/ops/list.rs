//! Lists, dicts and tuples.

use std::cmp::Ordering;

use planish_ir::{DType, Type};

use super::{Kernel, Table};
use crate::call::{Call, Scalar};
use crate::limits::room;
use crate::value::{Dict, Key, List};
use crate::{Error, Result, Tensor, Value};
use Kernel::{Many, One};

pub(super) const OPS: Table = &[
    ("aten::append", One(append)),
    ("aten::extend", One(extend)),
    ("aten::insert", One(insert)),
    ("aten::clear", One(clear)),
    ("aten::reverse", One(reverse)),
    ("aten::copy", One(copy)),
    ("aten::list", One(list)),
    ("aten::pop", One(pop)),
    ("aten::remove", One(remove)),
    ("aten::count", One(count)),
    ("aten::sort.int", One(sort)),
    ("aten::sort.float", One(sort)),
    ("aten::sort.bool", One(sort)),
    ("aten::sort.str", One(sort)),
    ("aten::sorted", One(sorted)),
    ("aten::index.list_int", One(index)),
    ("aten::index.list_float", One(index)),
    ("aten::index.list_bool", One(index)),
    ("aten::index.list_Tensor", One(index)),
    ("aten::index.list_str", One(index)),
    ("aten::len", One(len)),
    ("aten::__getitem__", One(get_item)),
    ("aten::_set_item", One(set_item)),
    ("aten::__contains__", One(contains)),
    ("aten::Delete", One(delete)),
    ("aten::keys", One(keys)),
    ("aten::values", One(values)),
    ("aten::items", One(items)),
    ("aten::get", One(get)),
    ("aten::setdefault", One(set_default)),
    ("aten::update", One(update)),
    ("aten::dict", One(dict)),
    ("aten::select.t", One(get_item)),
    ("aten::slice.t", One(slice)),
    ("prim::TupleIndex", One(get_item)),
    ("prim::rangelist", One(range_list)),
    ("prim::EnumName", One(enum_name)),
    ("prim::EnumValue", One(enum_value)),
    ("prim::tolist", One(to_list)),
    ("aten::_unwrap_optional", One(unwrap)),
    ("aten::hash", One(hash)),
    ("aten::popitem", Many(pop_item)),
];

fn append(call: &Call<'_>) -> Result<Value> {
    let list = call.list(0)?;
    list.lock().push(call.get(1).clone());
    Ok(Value::List(list.clone()))
}

fn extend(call: &Call<'_>) -> Result<Value> {
    let more = call.items(1)?;
    let list = call.list(0)?;
    room(list.lock().len() + more.len(), size_of::<Value>())?;
    list.lock().extend(more);
    Ok(Value::None)
}

fn insert(call: &Call<'_>) -> Result<Value> {
    let at = call.int(1)?;
    let list = call.list(0)?;
    let mut items = list.lock();
    let at = clamped(at, items.len());
    items.insert(at, call.get(2).clone());
    Ok(Value::None)
}

fn clear(call: &Call<'_>) -> Result<Value> {
    match call.get(0) {
        Value::Dict(dict) => dict.lock().clear(),
        _ => call.list(0)?.lock().clear(),
    }
    Ok(Value::None)
}

fn reverse(call: &Call<'_>) -> Result<Value> {
    call.list(0)?.lock().reverse();
    Ok(Value::None)
}

fn copy(call: &Call<'_>) -> Result<Value> {
    match call.get(0) {
        Value::Dict(dict) => {
            let (key, value) = dict.types();
            let out = Dict::new(key.clone(), value.clone());
            let entries = dict.lock().clone();
            *out.lock() = entries;
            Ok(Value::Dict(out))
        }
        Value::List(list) => Ok(Value::List(List::new(
            list.element().clone(),
            list.to_vec(),
        ))),
        _ => Err(call.wrong(0, "a list or dict")),
    }
}

/// A copy of a list, or the characters of a string.
fn list(call: &Call<'_>) -> Result<Value> {
    match call.get(0) {
        Value::Str(text) => {
            let letters = text.chars().map(|letter| Value::str(&letter.to_string()));
            Ok(Value::list(Type::Str, letters))
        }
        _ => copy(call),
    }
}

fn pop(call: &Call<'_>) -> Result<Value> {
    if let Value::Dict(dict) = call.get(0) {
        let by = key(call, 1)?;
        let found = dict.lock().shift_remove(&by);
        return match found {
            Some((_, value)) => Ok(value),
            None if call.args.len() > 2 => Ok(call.get(2).clone()),
            None => Err(no_key(call.get(1))),
        };
    }
    let list = call.list(0)?;
    let at = position(call.int_or(1, -1)?, list.lock().len())?;
    let popped = list.lock().remove(at);
    Ok(popped)
}

fn pop_item(call: &Call<'_>) -> Result<Vec<Value>> {
    match call.dict(0)?.lock().pop() {
        Some((_, (key, value))) => Ok(vec![Value::tuple([key, value])]),
        None => Err(Error::invalid("the dict has no entries")),
    }
}

fn remove(call: &Call<'_>) -> Result<Value> {
    let at = find(call)?.ok_or_else(|| absent(call))?;
    call.list(0)?.lock().remove(at);
    Ok(Value::None)
}

fn count(call: &Call<'_>) -> Result<Value> {
    if let (Value::Str(text), Value::Str(part)) = (call.get(0), call.get(1)) {
        return Ok(Value::Int(text.matches(&**part).count() as i64));
    }
    let wanted = call.get(1);
    let items = call.items(0)?;
    let count = items.iter().filter(|item| item.equals(wanted)).count();
    Ok(Value::Int(count as i64))
}

fn index(call: &Call<'_>) -> Result<Value> {
    match find(call)? {
        Some(at) => Ok(Value::Int(at as i64)),
        None => Err(absent(call)),
    }
}

fn find(call: &Call<'_>) -> Result<Option<usize>> {
    let wanted = call.get(1);
    Ok(call.items(0)?.iter().position(|item| item.equals(wanted)))
}

fn sort(call: &Call<'_>) -> Result<Value> {
    let list = call.list(0)?;
    let mut items = list.to_vec();
    sort_items(call, &mut items)?;
    if call.bool_or(1, false)? {
        items.reverse();
    }
    *list.lock() = items;
    Ok(Value::None)
}

fn sorted(call: &Call<'_>) -> Result<Value> {
    let mut items = call.items(0)?;
    sort_items(call, &mut items)?;
    let element = call.list(0)?.element().clone();
    Ok(Value::List(List::new(element, items)))
}

fn sort_items(call: &Call<'_>, items: &mut [Value]) -> Result<()> {
    let sortable = items.iter().all(|item| {
        matches!(
            item,
            Value::Str(_) | Value::Int(_) | Value::Float(_) | Value::Bool(_)
        )
    });
    if !sortable {
        return Err(call.wrong(0, "a list of numbers or strings"));
    }
    items.sort_by(|a, b| match (a, b) {
        (Value::Int(a), Value::Int(b)) => a.cmp(b),
        (Value::Str(a), Value::Str(b)) => a.cmp(b),
        (a, b) => {
            let number = |value| Scalar::of(value).map_or(0.0, Scalar::to_f64);
            number(a).partial_cmp(&number(b)).unwrap_or(Ordering::Equal)
        }
    });
    Ok(())
}

fn len(call: &Call<'_>) -> Result<Value> {
    let len = match call.get(0) {
        Value::List(list) => list.lock().len() as i64,
        Value::Tuple(items) => items.len() as i64,
        Value::Dict(dict) => dict.lock().len() as i64,
        // In bytes, as PyTorch keeps strings.
        Value::Str(text) => text.len() as i64,
        Value::Tensor(tensor) => match tensor.shape().first() {
            Some(size) => *size,
            None => return Err(call.wrong(0, "a tensor with dimensions")),
        },
        _ => return Err(call.wrong(0, "something with a length")),
    };
    Ok(Value::Int(len))
}

fn get_item(call: &Call<'_>) -> Result<Value> {
    match call.get(0) {
        Value::Dict(dict) => {
            let by = key(call, 1)?;
            let found = dict.lock().get(&by).cloned();
            found
                .map(|(_, value)| value)
                .ok_or_else(|| no_key(call.get(1)))
        }
        Value::Str(text) => {
            let letters: Vec<char> = text.chars().collect();
            let at = position(call.int(1)?, letters.len())?;
            Ok(Value::str(&letters[at].to_string()))
        }
        Value::Tuple(items) => Ok(items[position(call.int(1)?, items.len())?].clone()),
        Value::List(list) => {
            let at = call.int(1)?;
            let items = list.lock();
            Ok(items[position(at, items.len())?].clone())
        }
        _ => Err(call.wrong(0, "a list, tuple, dict or string")),
    }
}

fn set_item(call: &Call<'_>) -> Result<Value> {
    if let Value::Dict(dict) = call.get(0) {
        let entry = (call.get(1).clone(), call.get(2).clone());
        let key = key(call, 1)?;
        dict.lock().insert(key, entry);
        return Ok(Value::None);
    }
    let (list, at) = (call.list(0)?, call.int(1)?);
    let mut items = list.lock();
    let at = position(at, items.len())?;
    items[at] = call.get(2).clone();
    drop(items);
    Ok(Value::List(list.clone()))
}

fn contains(call: &Call<'_>) -> Result<Value> {
    let found = match (call.get(0), call.get(1)) {
        (Value::Dict(dict), _) => {
            let by = key(call, 1)?;
            dict.lock().contains_key(&by)
        }
        (Value::Str(text), Value::Str(part)) => text.contains(&**part),
        _ => find(call)?.is_some(),
    };
    Ok(found.into())
}

fn delete(call: &Call<'_>) -> Result<Value> {
    if let Value::Dict(dict) = call.get(0) {
        let by = key(call, 1)?;
        let gone = dict.lock().shift_remove(&by);
        gone.ok_or_else(|| no_key(call.get(1)))?;
        return Ok(Value::None);
    }
    let at = call.int(1)?;
    let mut items = call.list(0)?.lock();
    let at = position(at, items.len())?;
    items.remove(at);
    Ok(Value::None)
}

fn keys(call: &Call<'_>) -> Result<Value> {
    let dict = call.dict(0)?;
    let keys: Vec<Value> = dict.lock().values().map(|(key, _)| key.clone()).collect();
    Ok(Value::list(dict.types().0.clone(), keys))
}

fn values(call: &Call<'_>) -> Result<Value> {
    let dict = call.dict(0)?;
    let values: Vec<Value> = dict
        .lock()
        .values()
        .map(|(_, value)| value.clone())
        .collect();
    Ok(Value::list(dict.types().1.clone(), values))
}

fn items(call: &Call<'_>) -> Result<Value> {
    let dict = call.dict(0)?;
    let (key, value) = dict.types();
    let element = Type::tuple([key.clone(), value.clone()]);
    let entries: Vec<_> = dict.lock().values().cloned().collect();
    let entries = entries.into_iter().map(|(k, v)| Value::tuple([k, v]));
    Ok(Value::list(element, entries))
}

fn get(call: &Call<'_>) -> Result<Value> {
    let by = key(call, 1)?;
    let found = call.dict(0)?.lock().get(&by).cloned();
    Ok(found.map_or_else(|| call.get(2).clone(), |(_, value)| value))
}

fn set_default(call: &Call<'_>) -> Result<Value> {
    let key = key(call, 1)?;
    let entry = (call.get(1).clone(), call.get(2).clone());
    let mut entries = call.dict(0)?.lock();
    Ok(entries.entry(key).or_insert(entry).1.clone())
}

fn update(call: &Call<'_>) -> Result<Value> {
    let more = call.dict(1)?.lock().clone();
    call.dict(0)?.lock().extend(more);
    Ok(Value::None)
}

/// An empty dict, a copy of a dict, or a dict of a list of pairs.
fn dict(call: &Call<'_>) -> Result<Value> {
    match call.get(0) {
        Value::None => Ok(Value::Dict(Dict::new(Type::Any, Type::Any))),
        Value::Dict(_) => copy(call),
        _ => {
            let types = call.list(0)?.element().elements().unwrap_or_default();
            let ty = |index: usize| types.get(index).cloned().unwrap_or(Type::Any);
            let dict = Dict::new(ty(0), ty(1));
            for item in call.items(0)? {
                let Value::Tuple(pair) = &item else {
                    return Err(call.wrong(0, "a list of pairs"));
                };
                let [key, value] = &pair[..] else {
                    return Err(call.wrong(0, "a list of pairs"));
                };
                let by = key
                    .key()
                    .ok_or_else(|| call.wrong(0, "a list of keys and values"))?;
                dict.lock().insert(by, (key.clone(), value.clone()));
            }
            Ok(Value::Dict(dict))
        }
    }
}

/// `slice(list, start, end, step)`
fn slice(call: &Call<'_>) -> Result<Value> {
    let list = call.list(0)?;
    let items = list.to_vec();
    let picked = slice_positions(call, 1, items.len())?;
    let picked = picked.map(|at| items[at].clone()).collect();
    Ok(Value::List(List::new(list.element().clone(), picked)))
}

/// The positions that `[start:end:step]`, the arguments from `first` on, picks among `len`.
pub(super) fn slice_positions(
    call: &Call<'_>,
    first: usize,
    len: usize,
) -> Result<impl Iterator<Item = usize> + use<>> {
    let step = call.int_or(first + 2, 1)?;
    if step == 0 {
        return Err(call.wrong(first + 2, "a step that is not 0"));
    }
    let size = len as i64;
    let (low, high) = if step > 0 { (0, size) } else { (-1, size - 1) };
    let bound = |index: usize, default: i64| -> Result<i64> {
        Ok(match call.int_opt(index)? {
            None => default,
            // The end of a slice may be given as the largest int; counting from the end cannot overflow.
            Some(at) => (if at < 0 { at + size } else { at }).clamp(low, high),
        })
    };
    let (start, end) = if step > 0 {
        (bound(first, 0)?, bound(first + 1, size)?)
    } else {
        (bound(first, size - 1)?, bound(first + 1, -1)?)
    };
    let span = if step > 0 { end - start } else { start - end };
    let count = (span.max(0) as u64).div_ceil(step.unsigned_abs());
    Ok((0..count as i64).map(move |i| (start + i * step) as usize))
}

fn range_list(call: &Call<'_>) -> Result<Value> {
    let count = call.int(0)?.max(0);
    room(count as usize, size_of::<Value>())?;
    Ok(Value::list(Type::Int, (0..count).map(Value::Int)))
}

fn enum_name(call: &Call<'_>) -> Result<Value> {
    enum_field(call, "name")
}

fn enum_value(call: &Call<'_>) -> Result<Value> {
    enum_field(call, "value")
}

fn enum_field(call: &Call<'_>, field: &str) -> Result<Value> {
    match call.get(0) {
        Value::Object(object) => object
            .get(field.into())
            .ok_or_else(|| call.wrong(0, "a member of an enum")),
        _ => Err(call.wrong(0, "a member of an enum")),
    }
}

/// `tolist(tensor, dimensions, element)`: nested lists of numbers.
fn to_list(call: &Call<'_>) -> Result<Value> {
    nested(call.tensor(0)?)
}

fn nested(tensor: &Tensor) -> Result<Value> {
    let element = match tensor.dtype() {
        DType::Bool => Type::Bool,
        dtype if dtype.is_floating_point() => Type::Float,
        _ => Type::Int,
    };
    let mut ty = element.clone();
    for _ in 1..tensor.rank() {
        ty = Type::list(ty);
    }
    match tensor.shape() {
        [] => super::create::item_of(tensor),
        [size, ..] => {
            let items = (0..*size).map(|at| nested(&tensor.select(0, at)?));
            let items: Vec<Value> = items.collect::<Result<_>>()?;
            Ok(Value::list(ty, items))
        }
    }
}

fn unwrap(call: &Call<'_>) -> Result<Value> {
    if call.is_none(0) {
        return Err(Error::Raised {
            class: "builtins.RuntimeError".to_owned(),
            message: "Unwrapping null optional".to_owned(),
            loc: None,
        });
    }
    Ok(call.get(0).clone())
}

fn hash(call: &Call<'_>) -> Result<Value> {
    // FNV-1a: any fixed function does, since hashes are only compared with each other.
    let text = format!("{:?}", key(call, 0)?);
    let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    Ok(Value::Int(hash as i64))
}

fn key(call: &Call<'_>, index: usize) -> Result<Key> {
    call.get(index)
        .key()
        .ok_or_else(|| call.wrong(index, "a key of a dict"))
}

/// The position that `index` means, which may count from the end.
fn position(index: i64, len: usize) -> Result<usize> {
    let at = if index < 0 { index + len as i64 } else { index };
    if (0..len as i64).contains(&at) {
        return Ok(at as usize);
    }
    Err(Error::Raised {
        class: "builtins.IndexError".to_owned(),
        message: format!("index {index} is out of range for {len} elements"),
        loc: None,
    })
}

/// The position before which an insertion at `index` happens.
fn clamped(index: i64, len: usize) -> usize {
    let len = len as i64;
    (if index < 0 { index + len } else { index }).clamp(0, len) as usize
}

fn no_key(key: &Value) -> Error {
    Error::Raised {
        class: "builtins.KeyError".to_owned(),
        message: key.to_string(),
        loc: None,
    }
}

fn absent(call: &Call<'_>) -> Error {
    Error::Raised {
        class: "builtins.ValueError".to_owned(),
        message: format!("{} is not in the list", call.get(1)),
        loc: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Contract, apply};
    use planish_ir::Op;

    fn run(op: &str, inputs: &[Value]) -> Value {
        apply(Op::of(op), inputs, Contract::Fbgemm)
            .unwrap()
            .remove(0)
    }

    #[test]
    fn slices_count_as_in_python() {
        let list = Value::ints(&[0, 1, 2, 3, 4]);
        let slice = |start: Value, end: Value, step: i64| {
            run(
                "aten::slice.t",
                &[list.clone(), start, end, Value::Int(step)],
            )
        };
        assert!(slice(Value::Int(1), Value::Int(-1), 2).equals(&Value::ints(&[1, 3])));
        assert!(slice(Value::None, Value::Int(i64::MAX), 1).equals(&list));
        assert!(slice(Value::None, Value::None, -2).equals(&Value::ints(&[4, 2, 0])));
        assert!(slice(Value::Int(4), Value::Int(2), 1).equals(&Value::ints(&[])));
    }

    #[test]
    fn lists_are_references() {
        let list = Value::ints(&[3, 1]);
        run("aten::append", &[list.clone(), Value::Int(2)]);
        apply(
            Op::of("aten::sort.int"),
            std::slice::from_ref(&list),
            Contract::Fbgemm,
        )
        .unwrap();
        assert!(list.equals(&Value::ints(&[1, 2, 3])));
        assert!(run("aten::pop", std::slice::from_ref(&list)).equals(&Value::Int(3)));
        assert!(
            apply(
                Op::of("aten::__getitem__"),
                &[list, Value::Int(7)],
                Contract::Fbgemm
            )
            .is_err()
        );
    }

    #[test]
    fn dicts_keep_their_order() {
        let dict = Value::Dict(Dict::new(Type::Str, Type::Int));
        for (key, value) in [("b", 1), ("a", 2), ("b", 3)] {
            let entry = [dict.clone(), Value::str(key), Value::Int(value)];
            run("aten::_set_item", &entry);
        }
        assert!(run("aten::values", std::slice::from_ref(&dict)).equals(&Value::ints(&[3, 2])));
        assert!(run("aten::__contains__", &[dict, Value::str("a")]).equals(&true.into()));
    }
}
