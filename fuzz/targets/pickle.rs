//! Any bytes as a pickle: reading ends, and what is read can be walked by recursion.

#![no_main]

use libfuzzer_sys::fuzz_target;
use planish_import::torchscript::pickle::{Pickle, Pickled, ValueId};

fuzz_target!(|data: &[u8]| {
    if let Ok(pickle) = Pickle::read("data.pkl", data) {
        assert!(depth(&pickle, pickle.root(), &mut 0) <= 256);
    }
});

/// Depth below a value, visiting at most a million parts.
fn depth(pickle: &Pickle, id: ValueId, visited: &mut u32) -> u32 {
    *visited += 1;
    if *visited > 1_000_000 {
        return 0;
    }
    let mut below = |id: &ValueId| 1 + depth(pickle, *id, visited);
    match pickle.get(id) {
        Pickled::Tuple(items) | Pickled::List(items) => items.iter().map(below).max().unwrap_or(0),
        Pickled::Dict(pairs) => {
            let parts = pairs.iter().flat_map(|(key, value)| [key, value]);
            parts.map(below).max().unwrap_or(0)
        }
        Pickled::Persistent(inner) => below(inner),
        Pickled::Call { callee, arg } => below(callee).max(below(arg)),
        Pickled::Object { class, state } => below(class).max(state.as_ref().map_or(0, below)),
        _ => 0,
    }
}
