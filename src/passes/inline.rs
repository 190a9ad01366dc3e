//! `inline`: replaces calls of methods and functions by their bodies, in `forward` and in every method that is kept.
//!
//! The passes after it see one graph for each method, so that what stands in a submodule, behind an interface, in a preserved method or in
//! the body of a fork is fused like everything else (PyTorch fuses only what `forward` contains when it is called: defect B9 of its
//! Finalize). A fork then runs where it stands, and what was a future is the value itself.
//!
//! ```text
//! before: %c : __torch__.Relu = prim::GetAttr[name="c"](%self)
//!         %y : Tensor = prim::CallMethod[name="forward"](%c, %x)
//! after:  %c : __torch__.Relu = prim::GetAttr[name="c"](%self)
//!         %y : Tensor = aten::relu(%x)
//! ```

use std::sync::Arc;

use planish_ir::text::settle_names;
use planish_ir::{
    At, Attr, Effects, Graph, GraphModule, Literal, MethodId, NodeId, Op, SecondaryMap, Sym, Type,
    ValueId,
};

use crate::analysis::objects::{Objects, attribute_read, attribute_write, objects};
use crate::kept;
use crate::pass::{Changed, Pass, PassCx, PassError};
use crate::picked;
use crate::unbox::unbox_objects;

/// Nodes that a method may grow to; a bound for inputs whose calls double at every level.
const MAX_NODES: usize = 20_000_000;

/// The pass.
#[derive(Clone, Copy, Debug, Default)]
pub struct Inline;

impl Pass for Inline {
    fn name(&self) -> &'static str {
        "inline"
    }

    fn doc(&self) -> &'static str {
        "replaces calls by the bodies of what they call"
    }

    fn run(&self, module: &mut GraphModule, cx: &mut PassCx<'_>) -> Result<Changed, PassError> {
        let mut changed = 0;
        for id in kept::kept_methods(module, &cx.options.preserved)? {
            // A method that calls itself is refused before its body is looked at.
            let graph = std::mem::take(&mut module.method_mut(id).graph);
            let mut graph = inline_calls(module, id, graph, &mut changed)?;
            changed += forget_gradients(&mut graph) + unbox_objects(module, &mut graph);
            // Remarks of all passes name a value as the text does.
            settle_names(&mut graph);
            module.method_mut(id).graph = graph;
        }
        Ok(Changed(changed))
    }
}

/// The call that an inlined node came out of: what was called, and the call that one came out of.
#[derive(Clone, Copy)]
struct Frame {
    callee: MethodId,
    outer: Option<usize>,
}

fn inline_calls(
    module: &GraphModule,
    id: MethodId,
    mut graph: Graph,
    changed: &mut usize,
) -> Result<Graph, PassError> {
    let mut frames = vec![Frame {
        callee: id,
        outer: None,
    }];
    let mut frame_of: SecondaryMap<NodeId, usize> = SecondaryMap::with_default(0);
    // A body that was just inlined is looked at next: its own calls are met with the frame they came out of.
    let mut work = graph.in_order();
    work.reverse();
    let mut objects = objects(module, module.root(), &graph);
    for node in &work {
        follow(module, &mut graph, &mut objects, *node);
    }
    let mut joins = false;
    while let Some(node) = work.pop() {
        if let Some(made) = picked::expand(module, &mut graph, &objects, node) {
            for new in &made {
                frame_of[*new] = frame_of[node];
                follow(module, &mut graph, &mut objects, *new);
            }
            work.extend(made.into_iter().rev());
            *changed += 1;
            continue;
        }
        refuse_assigned_module(module, &graph, &objects, node)?;
        let Some(called) = called(module, &graph, &objects, node)? else {
            continue;
        };
        let frame = frame_of[node];
        let (body, name, skip, inner) = match &called {
            Called::Fork(body) => {
                joins = true;
                (&**body, "the body of a fork".to_owned(), 0, frame)
            }
            Called::Method(callee) => {
                refuse_recursion(module, &frames, frame, *callee)?;
                frames.push(Frame {
                    callee: *callee,
                    outer: Some(frame),
                });
                // A function is called by its first input.
                let skip = usize::from(graph.node(node).op().is("prim::CallFunction"));
                let name = module.qualified_name(*callee);
                (&module.method(*callee).graph, name, skip, frames.len() - 1)
            }
        };
        if graph.len() + body.len() > MAX_NODES {
            return Err(PassError::Refused(format!(
                "inline {name}: the method grows beyond {MAX_NODES} operations"
            )));
        }
        let mut args = graph.node(node).inputs()[skip..].to_vec();
        if graph.node(node).op().is("prim::Exit") {
            // What was raised, which is nothing here: its class, itself and where.
            let none = graph.insert_constant(At::Before(node), Literal::None);
            args.extend([none; 3]);
        }
        if args.len() != body.params().len() {
            let (given, wanted) = (args.len(), body.params().len());
            return Err(PassError::Refused(format!(
                "inline {name}: it takes {wanted} arguments and is given {given}"
            )));
        }
        refuse_other_types(&graph, node, (&name, body), &args)?;
        let before = graph.prev(node);
        let results = graph.inline(At::Before(node), body, &args);
        replace_outputs(&mut graph, node, &results);
        let inlined = nodes_between(&graph, before, node);
        graph.erase(node);
        for new in &inlined {
            frame_of[*new] = inner;
            follow(module, &mut graph, &mut objects, *new);
        }
        work.extend(inlined.into_iter().rev());
        *changed += 1;
    }
    if joins {
        join_futures(&mut graph);
    }
    Ok(graph)
}

/// Whether a graph calls anything.
pub(crate) fn has_calls(graph: &Graph) -> bool {
    const CALLS: [&str; 5] = [
        "prim::CallFunction",
        "prim::CallMethod",
        "prim::Enter",
        "prim::Exit",
        "prim::fork",
    ];
    graph.walk().any(|node| {
        let op = graph.node(node).op();
        let acts = op.is_structural() && op.info().effects >= Effects::SideEffects;
        acts && CALLS.contains(&op.name().as_str())
    })
}

/// What a node calls.
enum Called {
    Method(MethodId),
    Fork(Arc<Graph>),
}

/// What a node calls; `None` for a node that is no call or whose callee is not ours (torchbind classes).
fn called(
    module: &GraphModule,
    graph: &Graph,
    objects: &Objects,
    id: NodeId,
) -> Result<Option<Called>, PassError> {
    let node = graph.node(id);
    if node.op().is("prim::fork")
        && let Some(Attr::Graph(body)) = node.attr("Subgraph")
    {
        return Ok(Some(Called::Fork(Arc::clone(body))));
    }
    if node.op().is("prim::CallFunction") {
        let found = module.callee(graph, id);
        return found.map(|id| Some(Called::Method(id))).ok_or_else(|| {
            let function = match node.inputs().first().map(|value| graph.ty(*value)) {
                Some(Type::Function(name)) => name.as_str(),
                _ => "a function",
            };
            PassError::Refused(format!(
                "inline {function}: the module has no such function"
            ))
        });
    }
    let method = match node.op().name().as_str() {
        "prim::CallMethod" => node.name_attr().unwrap_or(Sym::new("")),
        "prim::Enter" => Sym::new("__enter__"),
        "prim::Exit" => Sym::new("__exit__"),
        _ => return Ok(None),
    };
    // The object says more than the static type: behind an interface stands a class.
    let this = node.inputs()[0];
    let class = match objects[this] {
        Some(object) => module.module(object).class,
        None => match graph.ty(this) {
            Type::Class(class) => *class,
            _ => return Ok(None),
        },
    };
    match module.classes.get(&class) {
        None => Ok(None),
        Some(found) => match found.methods.get(&method) {
            Some(id) => Ok(Some(Called::Method(*id))),
            None => Err(PassError::Refused(format!(
                "inline {class}.{method}: the class has no such method"
            ))),
        },
    }
}

/// Calls mean the module that is there now: another one must not take its place.
fn refuse_assigned_module(
    module: &GraphModule,
    graph: &Graph,
    objects: &Objects,
    node: NodeId,
) -> Result<(), PassError> {
    let Some((owner, name)) = attribute_write(graph, objects, node) else {
        return Ok(());
    };
    if module.submodule(owner, name).is_none() {
        return Ok(());
    }
    let class = module.module(owner).class;
    let place = graph.node(node).loc();
    let place = place.map(|loc| format!(" ({loc})")).unwrap_or_default();
    Err(PassError::Refused(format!(
        "inline the calls of {class}.{name}: another module is assigned to it{place}, so that it is not known which one a call means; choose between two modules with a branch instead"
    )))
}

/// What takes the place of a call must fit where the call stood.
fn refuse_other_types(
    graph: &Graph,
    call: NodeId,
    (name, body): (&str, &Graph),
    args: &[ValueId],
) -> Result<(), PassError> {
    for (at, (arg, param)) in args.iter().zip(body.params()).enumerate() {
        let (given, wanted) = (graph.ty(*arg), body.ty(*param));
        if !may_stand_for(given, wanted) {
            return Err(PassError::Refused(format!(
                "inline {name}: its argument {at} must be {wanted}, not {given}"
            )));
        }
    }
    let [result] = body.results() else {
        return Ok(());
    };
    let output = graph.output(call);
    let (given, wanted) = (body.ty(*result), graph.ty(output));
    let is_read = !graph.value(output).uses().is_empty();
    if is_read && !matches!(wanted, Type::Future(_)) && !may_stand_for(given, wanted) {
        return Err(PassError::Refused(format!(
            "inline {name}: it gives {given} where {wanted} is expected"
        )));
    }
    Ok(())
}

/// Whether a value of type `given` can be used as one of type `wanted`, whatever is known of tensors and of what implements an interface.
fn may_stand_for(given: &Type, wanted: &Type) -> bool {
    match (given, wanted) {
        (Type::Tensor(_), Type::Tensor(_)) | (Type::Class(_), Type::Class(_)) => true,
        (Type::Optional(given), Type::Optional(wanted)) => may_stand_for(given, wanted),
        (Type::None, Type::Optional(_)) => true,
        (_, Type::Optional(wanted)) => may_stand_for(given, wanted),
        (Type::List(given), Type::List(wanted)) => may_stand_for(given, wanted),
        (Type::Dict(given), Type::Dict(wanted)) => {
            may_stand_for(&given.0, &wanted.0) && may_stand_for(&given.1, &wanted.1)
        }
        (Type::Tuple(given), Type::Tuple(wanted)) => {
            given.len() == wanted.len()
                && given
                    .iter()
                    .zip(wanted.iter())
                    .all(|(given, wanted)| may_stand_for(given, wanted))
        }
        _ => given.is_subtype_of(wanted),
    }
}

fn refuse_recursion(
    module: &GraphModule,
    frames: &[Frame],
    frame: usize,
    callee: MethodId,
) -> Result<(), PassError> {
    let mut way = Vec::new();
    let mut at = Some(frame);
    while let Some(index) = at {
        if frames[index].callee == callee {
            let name = module.qualified_name(callee);
            way.push(name.clone());
            way.reverse();
            way.push(name);
            let way = way.join(", which calls ");
            return Err(PassError::Refused(format!(
                "inline {way}: there is no end to it"
            )));
        }
        way.push(module.qualified_name(frames[index].callee));
        at = frames[index].outer;
    }
    Ok(())
}

/// Makes the results of a body stand for the outputs of its call. A call has one output: a tuple when the body has several results.
fn replace_outputs(graph: &mut Graph, call: NodeId, results: &[ValueId]) {
    let outputs = graph.node(call).outputs().to_vec();
    match (&outputs[..], results) {
        ([output], []) => {
            let none = graph.insert_constant(At::Before(call), Literal::None);
            graph.replace_all_uses(*output, none);
        }
        ([output], [_, _, ..]) => {
            let types = results.iter().map(|result| graph.ty(*result).clone());
            let ty = Type::tuple(types);
            let tuple = Op::of("prim::TupleConstruct");
            let tuple = graph.insert(At::Before(call), tuple, results, [ty]);
            graph.replace_all_uses(*output, graph.output(tuple));
        }
        _ => {
            for (output, result) in outputs.iter().zip(results) {
                graph.replace_all_uses(*output, *result);
            }
        }
    }
}

/// Once no fork is left, a future is the value that it stood for, and there is nothing to wait for.
fn join_futures(graph: &mut Graph) {
    let mut values: Vec<ValueId> = graph.params().to_vec();
    for id in graph.walk() {
        let node = graph.node(id);
        values.extend(node.outputs());
        for block in node.blocks() {
            values.extend(graph.block(*block).params());
        }
    }
    for value in values {
        let ty = without_futures(graph.ty(value));
        graph.set_ty(value, ty);
    }
    for id in graph.find_all("aten::wait") {
        let (output, value) = (graph.output(id), graph.node(id).inputs()[0]);
        graph.replace_all_uses(output, value);
        graph.erase(id);
    }
}

/// Nothing here records gradients: switches that say whether to do so mean nothing.
fn forget_gradients(graph: &mut Graph) -> usize {
    let mut forgotten = 0;
    let switches = graph.walk().filter(|node| {
        let op = graph.node(*node).op();
        op.is("aten::is_grad_enabled") || op.is("aten::set_grad_enabled")
    });
    for node in switches.collect::<Vec<_>>() {
        if graph.node(node).op().is("aten::is_grad_enabled") {
            let off = graph.insert_constant(At::Before(node), Literal::Bool(false));
            let output = graph.output(node);
            graph.replace_all_uses(output, off);
        }
        graph.erase(node);
        forgotten += 1;
    }
    forgotten
}

fn without_futures(ty: &Type) -> Type {
    match ty {
        Type::Future(inner) => without_futures(inner),
        Type::Optional(inner) => Type::optional(without_futures(inner)),
        Type::List(element) => Type::list(without_futures(element)),
        Type::Dict(types) => Type::dict(without_futures(&types.0), without_futures(&types.1)),
        Type::Tuple(elements) => Type::tuple(elements.iter().map(without_futures)),
        other => other.clone(),
    }
}

/// The nodes after `before` and up to `end`, with those nested in them, in program order.
fn nodes_between(graph: &Graph, before: Option<NodeId>, end: NodeId) -> Vec<NodeId> {
    let mut nodes = Vec::new();
    let mut at = before.map_or_else(
        || graph.block(graph.block_of(end)).first(),
        |node| graph.next(node),
    );
    while let Some(node) = at.filter(|node| *node != end) {
        nodes.push(node);
        for block in graph.node(node).blocks() {
            nodes.extend(graph.walk_block(*block));
        }
        at = graph.next(node);
    }
    nodes
}

/// Notes which module a node reads. Where an interface is declared, the class of that module takes its place.
fn follow(module: &GraphModule, graph: &mut Graph, objects: &mut Objects, node: NodeId) {
    let Some((object, name)) = attribute_read(graph, objects, node) else {
        return;
    };
    let output = graph.output(node);
    objects[output] = module.submodule(object, name);
    if let Some(found) = objects[output] {
        graph.set_ty(output, Type::Class(module.module(found).class));
    }
}
