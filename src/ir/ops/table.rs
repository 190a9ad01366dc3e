//! What is declared of operators from the start: PyTorch's schemas, and what they do not say.

use super::Effects;
use crate::schema::Schema;

/// One declaration a line, in the order in which TorchScript tries the overloads of a name.
pub(super) const SCHEMAS: &str = include_str!("../schemas.txt");

/// Operators whose inputs, outputs and blocks follow a rule of their own ([`crate::verify`] knows it) instead of a schema.
///
/// A block's operators have their effects for themselves. `prim::GetAttr` reads its object as other operators read a tensor: equal
/// inputs means that nobody wrote to the object in between.
pub(super) const STRUCTURAL: [(&str, Effects); 26] = [
    ("prim::CallFunction", Effects::Unknown),
    ("prim::CallMethod", Effects::Unknown),
    ("prim::Closure", Effects::Pure),
    ("prim::Constant", Effects::Pure),
    ("prim::ConstantChunk", Effects::Pure),
    ("prim::CreateObject", Effects::Pure),
    ("prim::DictConstruct", Effects::Pure),
    ("prim::Enter", Effects::SideEffects),
    ("prim::Exit", Effects::SideEffects),
    ("prim::GetAttr", Effects::Pure),
    ("prim::If", Effects::Pure),
    ("prim::ListConstruct", Effects::Pure),
    ("prim::ListUnpack", Effects::Pure),
    ("prim::Loop", Effects::Pure),
    ("prim::SetAttr", Effects::SideEffects),
    ("prim::TupleConstruct", Effects::Pure),
    ("prim::TupleIndex", Effects::Pure),
    ("prim::TupleSlice", Effects::Pure),
    ("prim::TupleUnpack", Effects::Pure),
    ("prim::Uninitialized", Effects::Pure),
    ("prim::fork", Effects::SideEffects),
    ("prim::isinstance", Effects::Pure),
    ("prim::profile", Effects::Pure),
    ("prim::profile_ivalue", Effects::Pure),
    ("prim::tolist", Effects::Pure),
    ("prim::unchecked_cast", Effects::Pure),
];

/// Operators that must run where they stand although they return something: what is waited for may raise.
const SIDE_EFFECTS: [&str; 2] = ["aten::wait", "prim::awaitable_wait"];

/// Operators whose result is not determined by their inputs: random numbers, memory that nobody wrote, and global switches.
const NONDETERMINISTIC: [&str; 36] = [
    "aten::_empty_affine_quantized",
    "aten::_empty_per_channel_affine_quantized",
    "aten::_fused_dropout",
    "aten::_standard_gamma",
    "aten::alpha_dropout",
    "aten::bernoulli",
    "aten::binomial",
    "aten::cauchy",
    "aten::dropout",
    "aten::empty",
    "aten::empty_like",
    "aten::empty_permuted",
    "aten::empty_quantized",
    "aten::empty_strided",
    "aten::exponential",
    "aten::feature_alpha_dropout",
    "aten::feature_dropout",
    "aten::geometric",
    "aten::is_grad_enabled",
    "aten::log_normal",
    "aten::multinomial",
    "aten::native_dropout",
    "aten::new_empty",
    "aten::new_empty_strided",
    "aten::normal",
    "aten::poisson",
    "aten::rand",
    "aten::rand_like",
    "aten::randint",
    "aten::randint_like",
    "aten::randn",
    "aten::randn_like",
    "aten::random",
    "aten::randperm",
    "aten::rrelu",
    "aten::uniform",
];

/// Operators that write to inputs although their schema does not say so, unless the bool at the last position is a constant `False`: the
/// running mean and variance of a normalization that trains.
const UNDECLARED_WRITES: [(&str, [usize; 2], usize); 2] = [
    ("aten::batch_norm", [3, 4], 5),
    ("aten::instance_norm", [3, 4], 5),
];

/// For operators that are random only while training: the position of the bool that says so.
const TRAINING_FLAGS: [(&str, usize); 5] = [
    ("aten::alpha_dropout", 2),
    ("aten::dropout", 2),
    ("aten::feature_alpha_dropout", 2),
    ("aten::feature_dropout", 2),
    ("aten::rrelu", 3),
];

/// The lines of [`SCHEMAS`] that declare a qualified name, found by bisection.
pub(super) fn lines_of(name: &str) -> impl Iterator<Item = &'static str> {
    let (mut low, mut high) = (0, SCHEMAS.len());
    while low < high {
        let middle = usize::midpoint(low, high);
        let start = SCHEMAS[..middle].rfind('\n').map_or(0, |at| at + 1);
        let end = SCHEMAS[middle..]
            .find('\n')
            .map_or(SCHEMAS.len(), |at| middle + at + 1);
        let line = &SCHEMAS[start..end];
        // The comment stands at the top.
        if line.starts_with('#') || name_of(line) < name {
            low = end;
        } else {
            high = start;
        }
    }
    let lines = SCHEMAS[low..].lines();
    lines.take_while(move |line| name_of(line) == name)
}

/// The qualified name, without overload, that a line of [`SCHEMAS`] declares.
pub(super) fn name_of(line: &str) -> &str {
    let end = line.find(['.', '(']).unwrap_or(line.len());
    &line[..end]
}

/// The effects of a declared operator.
pub(super) fn effects(name: &str, schema: &Schema) -> Effects {
    let writes = schema
        .params
        .iter()
        .any(|param| param.alias.as_ref().is_some_and(|alias| alias.writes));
    // What returns nothing and writes to none of its inputs is there for something else: it raises, prints, sets a switch.
    let silent = schema.returns.is_empty() && !schema.varret && !writes;
    if silent || SIDE_EFFECTS.contains(&name) {
        Effects::SideEffects
    } else if writes || undeclared_writes(name).is_some() {
        Effects::Writes
    } else if NONDETERMINISTIC.contains(&name) {
        Effects::Nondeterministic
    } else {
        Effects::Pure
    }
}

/// The inputs that `name` writes to without saying so, and the input that must be a constant `False` for it not to.
pub(crate) fn undeclared_writes(name: &str) -> Option<(&'static [usize], usize)> {
    UNDECLARED_WRITES
        .iter()
        .find(|(op, ..)| *op == name)
        .map(|(_, inputs, flag)| (&inputs[..], *flag))
}

/// The input that must be a constant `False` for `name` to be deterministic.
pub(crate) fn training_flag(name: &str) -> Option<usize> {
    TRAINING_FLAGS
        .iter()
        .find(|(op, _)| *op == name)
        .map(|(_, flag)| *flag)
}
