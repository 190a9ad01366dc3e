//! Calls of a module that the program picks from a list or dict of modules while it runs.
//!
//! ```text
//! before: %m : __torch__.Block = prim::ModuleContainerIndex(%blocks, %i)
//!         %y : Tensor = prim::CallMethod[name="forward"](%m, %x)
//! after:  %is : bool = aten::eq(%i, %zero)
//!         %y : Tensor = prim::If(%is)
//!           block0():
//!             %first : __torch__.BlockA = prim::GetAttr[name="0"](%blocks)
//!             %a : Tensor = prim::CallMethod[name="forward"](%first, %x)
//!             -> (%a)
//!           block1(): … the next one; the last one raises
//! ```

use planish_ir::{At, Graph, GraphModule, Literal, NodeId, Op, Type, ValueId};

use crate::analysis::objects::Objects;

/// Replaces such a call by one branch for each module that may be meant. Returns the nodes that are new, or `None` for any other node.
pub(crate) fn expand(
    module: &GraphModule,
    graph: &mut Graph,
    objects: &Objects,
    call: NodeId,
) -> Option<Vec<NodeId>> {
    if !graph.node(call).op().is("prim::CallMethod") {
        return None;
    }
    let (picked, args) = graph.node(call).inputs().split_first()?;
    let args = args.to_vec();
    let pick = graph.node(graph.producer(*picked)?);
    if !pick.op().is("prim::ModuleContainerIndex") {
        return None;
    }
    let &[container, index] = pick.inputs() else {
        return None;
    };
    let held: Vec<_> = module.submodules(objects[container]?).collect();
    let method = graph.node(call).literal("name")?.clone();
    let ty = graph.ty(graph.output(call)).clone();
    let by_place = *graph.ty(index) == Type::Int;
    let mut made = Vec::new();
    let index = if by_place {
        from_the_start(graph, call, index, held.len())
    } else {
        index
    };
    let mut at = At::Before(call);
    let mut outer = None;
    for (place, (name, inner)) in held.iter().enumerate() {
        let (key, eq) = if by_place {
            (Literal::Int(place as i64), "aten::eq.int")
        } else {
            (Literal::str(name.as_str()), "aten::eq.str")
        };
        let key = graph.insert_constant(at, key);
        let is = insert(graph, at, eq, &[index, key], Type::Bool);
        let is = graph.output(is);
        let branch = insert(graph, at, "prim::If", &[is], ty.clone());
        let (then, other) = (graph.add_block(branch), graph.add_block(branch));
        let class = Type::Class(module.module(*inner).class);
        let read = insert(graph, At::End(then), "prim::GetAttr", &[container], class);
        graph.set_attr(read, "name", Literal::str(name.as_str()));
        let inputs: Vec<ValueId> = [graph.output(read)]
            .into_iter()
            .chain(args.clone())
            .collect();
        let inner = insert(
            graph,
            At::End(then),
            "prim::CallMethod",
            &inputs,
            ty.clone(),
        );
        graph.set_attr(inner, "name", method.clone());
        graph.push_result(then, graph.output(inner));
        made.extend([read, inner]);
        let result = graph.output(branch);
        match outer.replace(other) {
            Some(block) => graph.push_result(block, result),
            None => graph.replace_all_uses(graph.output(call), result),
        }
        at = At::End(other);
    }
    let raise = Op::of("prim::RaiseException");
    let message = Literal::str("no module of the container stands there");
    let message = graph.insert_constant(at, message);
    let class = graph.insert_constant(at, Literal::str("builtins.IndexError"));
    graph.insert(at, raise, &[message, class], []);
    let never = insert(graph, at, "prim::Uninitialized", &[], ty);
    let never = graph.output(never);
    match outer {
        Some(block) => graph.push_result(block, never),
        None => graph.replace_all_uses(graph.output(call), never),
    }
    graph.erase(call);
    Some(made)
}

/// A place that may count from the end, counted from the start.
fn from_the_start(graph: &mut Graph, before: NodeId, index: ValueId, count: usize) -> ValueId {
    let at = At::Before(before);
    let zero = graph.insert_constant(at, Literal::Int(0));
    let count = graph.insert_constant(at, Literal::Int(count as i64));
    let back = insert(graph, at, "aten::lt.int", &[index, zero], Type::Bool);
    let back = graph.output(back);
    let branch = insert(graph, at, "prim::If", &[back], Type::Int);
    let (then, other) = (graph.add_block(branch), graph.add_block(branch));
    let sum = insert(
        graph,
        At::End(then),
        "aten::add.int",
        &[index, count],
        Type::Int,
    );
    graph.push_result(then, graph.output(sum));
    graph.push_result(other, index);
    graph.output(branch)
}

fn insert(graph: &mut Graph, at: At, op: &str, inputs: &[ValueId], ty: Type) -> NodeId {
    graph.insert(at, Op::of(op), inputs, [ty])
}
