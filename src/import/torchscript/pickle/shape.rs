//! Whether what a stream stands for can be walked: nothing contains itself, nothing is too deep, and
//! what is shared, taken apart, stays affordable.

use std::fmt::Write as _;

use super::{MAX_DEPTH, MAX_UNFOLDED, Pickle, Pickled, ValueId};

/// Where a walk is with a value.
#[derive(Clone, Copy)]
enum Seen {
    Not,
    Open,
    Done { depth: u32, unfolded: u64 },
}

/// One walk over everything that the root reaches; what is wrong comes with its path.
pub(super) fn check(pickle: &Pickle) -> Result<(), (String, String)> {
    let mut seen = vec![Seen::Not; pickle.values.len()];
    let mut todo = vec![(pickle.root, false)];
    let mut children = Vec::new();
    while let Some((id, leaving)) = todo.pop() {
        let slot = id.0 as usize;
        self::children(pickle, id, &mut children);
        if !leaving {
            if !matches!(seen[slot], Seen::Not) {
                // Two owners asked for it; the first to be served was enough.
                continue;
            }
            seen[slot] = Seen::Open;
            todo.push((id, true));
            for child in &children {
                match seen[child.0 as usize] {
                    Seen::Not => todo.push((*child, false)),
                    Seen::Open => return Err(cycle(pickle, &todo, *child)),
                    Seen::Done { .. } => {}
                }
            }
            continue;
        }
        let (mut depth, mut unfolded) = (0, own_parts(pickle.get(id)));
        for child in &children {
            match seen[child.0 as usize] {
                Seen::Done {
                    depth: below,
                    unfolded: parts,
                } => {
                    depth = depth.max(below + 1);
                    unfolded = unfolded.saturating_add(parts);
                }
                _ => return Err(cycle(pickle, &todo, *child)),
            }
        }
        let fail = |what| Err((path(pickle, &todo, id), what));
        if depth > MAX_DEPTH {
            return fail(format!(
                "the values below nest deeper than {MAX_DEPTH} levels"
            ));
        }
        if unfolded > MAX_UNFOLDED {
            return fail(format!(
                "taken apart, with what is shared counted wherever it stands, this has more than {MAX_UNFOLDED} parts"
            ));
        }
        seen[slot] = Seen::Done { depth, unfolded };
    }
    Ok(())
}

/// The parts that a value is without those it refers to.
fn own_parts(value: &Pickled) -> u64 {
    match value {
        Pickled::Str(text) => 1 + text.len() as u64 / 16,
        _ => 1,
    }
}

fn children(pickle: &Pickle, id: ValueId, out: &mut Vec<ValueId>) {
    out.clear();
    match pickle.get(id) {
        Pickled::Tuple(items) | Pickled::List(items) => out.extend(items),
        Pickled::Dict(pairs) => out.extend(pairs.iter().flat_map(|(k, v)| [*k, *v])),
        Pickled::Persistent(inner) => out.push(*inner),
        Pickled::Call { callee, arg } => out.extend([*callee, *arg]),
        Pickled::Object { class, state } => {
            out.push(*class);
            out.extend(*state);
        }
        Pickled::None
        | Pickled::Bool(_)
        | Pickled::Int(_)
        | Pickled::Float(_)
        | Pickled::Str(_)
        | Pickled::Global(_) => {}
    }
}

/// What is wrong when `again`, which the walk is inside of, is found once more.
fn cycle(pickle: &Pickle, todo: &[(ValueId, bool)], again: ValueId) -> (String, String) {
    let outer: Vec<(ValueId, bool)> = todo
        .iter()
        .copied()
        .take_while(|(id, _)| *id != again)
        .collect();
    let place = path(pickle, todo, again);
    let owner = path(pickle, &outer, again);
    let what = format!("this is `{owner}` itself, and nothing may contain itself");
    (place, what)
}

/// Dotted names from the root to `last`, through the values that the walk is inside of.
fn path(pickle: &Pickle, todo: &[(ValueId, bool)], last: ValueId) -> String {
    let open = todo.iter().filter(|(_, leaving)| *leaving);
    let mut way = open.map(|(id, _)| *id).chain([last]);
    let mut path = String::new();
    let mut at = way.next();
    while let (Some(owner), Some(child)) = (at, way.next()) {
        let index = match pickle.get(owner) {
            Pickled::Dict(pairs) => {
                let key = pairs.iter().find(|(_, value)| *value == child);
                match key.and_then(|(key, _)| pickle.str(*key)) {
                    Some(name) if path.is_empty() => path.push_str(name),
                    Some(name) => path.extend([".", name]),
                    None => path.push_str("[…]"),
                }
                None
            }
            Pickled::Tuple(items) | Pickled::List(items) => items.iter().position(|i| *i == child),
            _ => None,
        };
        if let Some(index) = index {
            let _ = write!(path, "[{index}]");
        }
        at = Some(child);
    }
    if path.is_empty() {
        path.push_str("<root>");
    }
    // A hostile file nests deep: the end of the way is where the fault is.
    const SHOWN: usize = 200;
    match path.char_indices().rev().nth(SHOWN) {
        Some((cut, _)) => format!("…{}", &path[cut..]),
        None => path,
    }
}
