//! Whether two graphs are the same.
//!
//! Compared are operators, inputs by position, attributes, types and blocks. Names, places in the
//! source and the order of constants at the top of a graph are not.

use std::collections::HashMap;

use planish_ir::{At, Attr, BlockId, Graph, Literal, Node, Op, Sym, Type, ValueId};

/// Which value of the one graph stands for which of the other.
type Pairs = HashMap<ValueId, ValueId>;

/// Compares two graphs; says where they differ first.
pub(crate) fn same_graph(found: &Graph, wanted: &Graph) -> Result<(), String> {
    let mut pairs = Pairs::new();
    same_block((found, found.entry()), (wanted, wanted.entry()), &mut pairs)
}

fn same_block(
    (found, a): (&Graph, BlockId),
    (wanted, b): (&Graph, BlockId),
    pairs: &mut Pairs,
) -> Result<(), String> {
    pair(
        found,
        found.block(a).params(),
        wanted,
        wanted.block(b).params(),
        pairs,
    )?;
    let is_constant = |graph: &Graph, node| graph.node(node).op().is("prim::Constant");
    let mut rest = found.nodes(a).filter(|node| !is_constant(found, *node));
    for node in wanted.nodes(b).filter(|node| !is_constant(wanted, *node)) {
        let theirs = wanted.node(node);
        let Some(node) = rest.next() else {
            return Err(format!("{} is missing", theirs.op()));
        };
        let ours = found.node(node);
        let place = ours.loc().map_or(String::new(), |loc| format!("{loc}: "));
        if !same_op(ours.op(), theirs.op(), found, ours.inputs()) {
            return Err(format!("{place}{} instead of {}", ours.op(), theirs.op()));
        }
        let fail = |what: String| format!("{place}{}: {what}", ours.op());
        if let (Some(Attr::Graph(a)), Some(Attr::Graph(b))) =
            (ours.attr("Subgraph"), theirs.attr("Subgraph"))
        {
            same_fork((found, ours, a), (wanted, theirs, b), pairs).map_err(fail)?;
            pair(found, ours.outputs(), wanted, theirs.outputs(), pairs).map_err(fail)?;
            continue;
        }
        // PyTorch numbers warnings through the whole process.
        let attrs = theirs.attrs().filter(|(name, _)| *name != "warn_id");
        let attrs: Vec<(Sym, &Attr)> = attrs.collect();
        if ours.attrs().collect::<Vec<_>>() != attrs {
            return Err(fail(format!("other attributes than {attrs:?}")));
        }
        same_values(found, ours.inputs(), wanted, theirs.inputs(), pairs).map_err(fail)?;
        pair(found, ours.outputs(), wanted, theirs.outputs(), pairs).map_err(fail)?;
        if ours.blocks().len() != theirs.blocks().len() {
            return Err(fail("another number of blocks".into()));
        }
        for (a, b) in ours.blocks().iter().zip(theirs.blocks()) {
            same_block((found, *a), (wanted, *b), pairs)?;
        }
    }
    if let Some(node) = rest.next() {
        return Err(format!("{} is too much", found.node(node).op()));
    }
    let (ours, theirs) = (found.block(a).results(), wanted.block(b).results());
    same_values(found, ours, wanted, theirs, pairs).map_err(|what| format!("results: {what}"))
}

/// Compares what two forks run. Some numbers that PyTorch hands to a fork as inputs are constants inside ours.
fn same_fork(
    (found, ours, body): (&Graph, Node<'_>, &Graph),
    (wanted, theirs, wanted_body): (&Graph, Node<'_>, &Graph),
    pairs: &Pairs,
) -> Result<(), String> {
    let mut wanted_body = wanted_body.clone();
    let entry = wanted_body.entry();
    let mut inputs = theirs.inputs().to_vec();
    for at in (0..inputs.len()).rev() {
        if let Some(literal) = wanted.constant(inputs[at]) {
            let (literal, ty) = (literal.clone(), wanted.ty(inputs[at]).clone());
            let constant = wanted_body.insert_typed_constant(At::Start(entry), literal, ty);
            let param = wanted_body.params()[at];
            wanted_body.replace_all_uses(param, constant);
            wanted_body.remove_param(entry, at);
            inputs.remove(at);
        }
    }
    same_values(found, ours.inputs(), wanted, &inputs, pairs)?;
    same_graph(body, &wanted_body)
}

/// Makes values of the one graph stand for values of the other, if they have one type.
fn pair(
    found: &Graph,
    ours: &[ValueId],
    wanted: &Graph,
    theirs: &[ValueId],
    pairs: &mut Pairs,
) -> Result<(), String> {
    if ours.len() != theirs.len() {
        return Err(format!("{} values instead of {}", ours.len(), theirs.len()));
    }
    for (at, (a, b)) in ours.iter().zip(theirs).enumerate() {
        let (a_ty, b_ty) = (printed(found.ty(*a)), printed(wanted.ty(*b)));
        if a_ty != b_ty && !same_class(&a_ty, &b_ty) {
            return Err(format!("value {at} is {a_ty} instead of {b_ty}"));
        }
        pairs.insert(*a, *b);
    }
    Ok(())
}

fn same_values(
    found: &Graph,
    ours: &[ValueId],
    wanted: &Graph,
    theirs: &[ValueId],
    pairs: &Pairs,
) -> Result<(), String> {
    if ours.len() != theirs.len() {
        return Err(format!("{} inputs instead of {}", ours.len(), theirs.len()));
    }
    for (at, (a, b)) in ours.iter().zip(theirs).enumerate() {
        let same = match (found.constant(*a), wanted.constant(*b)) {
            (Some(Literal::Function(a)), Some(Literal::Function(b))) => {
                a.as_str().rsplit('.').next() == Some(b.as_str())
            }
            // The text does not carry the payload.
            (Some(_), Some(Literal::Opaque)) => true,
            (Some(a_value), Some(b_value)) => a_value == b_value && found.ty(*a) == wanted.ty(*b),
            (None, None) => pairs.get(a) == Some(b),
            _ => false,
        };
        if !same {
            let (a, b) = (found.constant(*a), wanted.constant(*b));
            return Err(format!("input {at} differs: {a:?} instead of {b:?}"));
        }
    }
    Ok(())
}

/// The same operator. Printed text names no overload: where several take the inputs, the reader of
/// text prefers one of exactly these types, while TorchScript takes the first it registered.
fn same_op(ours: Op, theirs: Op, graph: &Graph, inputs: &[ValueId]) -> bool {
    let types: Vec<Type> = inputs
        .iter()
        .map(|value| graph.ty(*value).clone())
        .collect();
    let takes = |op: Op| op.schema().is_some_and(|schema| schema.takes(&types));
    ours == theirs || ours.name() == theirs.name() && takes(ours) && takes(theirs)
}

/// Whether a class is printed by its last name only: an interface.
fn same_class(ours: &str, printed: &str) -> bool {
    let name = printed
        .strip_prefix("Class<")
        .and_then(|rest| rest.strip_suffix('>'));
    name.is_some_and(|name| ours.rsplit('.').next() == Some(name))
}

/// A type as PyTorch prints it: named tuples without their names.
fn printed(ty: &Type) -> String {
    let text = ty.to_string();
    match text.split_once("NamedTuple<") {
        Some((before, rest)) => {
            let rest = rest.split_once('>').map_or(rest, |(_, rest)| rest);
            format!("{before}NamedTuple{rest}")
        }
        None => text,
    }
}
