//! `dedup-module-uses`: gives every call of a submodule a module of its own.
//!
//! What is observed or changed for one use of a shared module must not show in the others. The first call keeps the module; each further
//! one gets a copy beside it, `name_0`, `name_1`, …, with the same attributes. Calls are counted by module, whatever path leads to it.
//! PyTorch's pass of this name moves all calls through one value to the same copy; here each call has its own. A module that assigns its
//! attributes, or one below it does, stays shared: its calls speak to each other through them.
//!
//! ```text
//! before: %a : __torch__.M = prim::GetAttr[name="a"](%self)
//!         %1 : Tensor = prim::CallMethod[name="forward"](%a, %x)
//!         %2 : Tensor = prim::CallMethod[name="forward"](%a, %1)
//! after:  %a : __torch__.M = prim::GetAttr[name="a"](%self)
//!         %1 : Tensor = prim::CallMethod[name="forward"](%a, %x)
//!         %a_0 : __torch__.M = prim::GetAttr[name="a_0"](%self)
//!         %2 : Tensor = prim::CallMethod[name="forward"](%a_0, %1)
//! ```

use std::collections::{HashMap, HashSet};

use planish_ir::{
    At, Def, Graph, GraphModule, Literal, MethodId, ModuleId, NodeId, Op, Sym, Type, ValueId,
    ValueName,
};

use crate::analysis::objects::{attribute_read, objects};
use crate::pass::{Changed, Pass, PassCx, PassError};
use crate::remark::{Remark, RemarkKind};

/// The pass.
#[derive(Clone, Copy, Debug, Default)]
pub struct DedupModuleUses;

const NAME: &str = "dedup-module-uses";

impl Pass for DedupModuleUses {
    fn name(&self) -> &'static str {
        NAME
    }

    fn doc(&self) -> &'static str {
        "gives every call of a submodule a module of its own"
    }

    fn run(&self, module: &mut GraphModule, cx: &mut PassCx<'_>) -> Result<Changed, PassError> {
        let (mut changed, mut used) = (0, HashSet::new());
        for (name, id) in module.root_methods() {
            for call in further_calls(module, id, &mut used) {
                if changes(module, call.callee) {
                    let at = (name.as_str(), &module.method(id).graph, call.node);
                    let reason = "the module stays shared: it changes what it holds";
                    let remark = Remark::at(RemarkKind::Missed, NAME, "copy", at, reason);
                    cx.remarks.push(remark);
                } else {
                    give_its_own(module, id, &call);
                    changed += 1;
                }
            }
        }
        Ok(Changed(changed))
    }
}

/// A call of a module that another call uses already.
struct Call {
    node: NodeId,
    callee: ModuleId,
    /// The module that it is a submodule of where it is called, and its name there.
    owner: ModuleId,
    name: Sym,
}

fn further_calls(module: &GraphModule, id: MethodId, used: &mut HashSet<ModuleId>) -> Vec<Call> {
    let graph = &module.method(id).graph;
    let objects = objects(module, module.root(), graph);
    let mut calls = Vec::new();
    for node in graph.walk() {
        if !graph.node(node).op().is("prim::CallMethod") {
            continue;
        }
        let this = graph.node(node).inputs().first();
        let Some((value, callee)) = this.and_then(|this| Some((*this, objects[*this]?))) else {
            continue;
        };
        let read = graph.producer(value);
        let read = read.and_then(|read| attribute_read(graph, &objects, read));
        if let Some((owner, name)) = read
            && !used.insert(callee)
        {
            calls.push(Call {
                node,
                callee,
                owner,
                name,
            });
        }
    }
    calls
}

/// Whether a method of the module, or of one below it, or a function that they call, may assign or write to something that lasts.
fn changes(module: &GraphModule, callee: ModuleId) -> bool {
    let classes = module.reachable(callee).into_iter();
    let classes = classes.filter_map(|inner| module.classes.get(&module.module(inner).class));
    let mut open: Vec<MethodId> = classes
        .flat_map(|class| class.methods.values().copied())
        .collect();
    let mut seen = HashSet::new();
    while let Some(method) = open.pop() {
        if !seen.insert(method) {
            continue;
        }
        let graph = &module.method(method).graph;
        if graph.walk().any(|node| writes_what_lasts(graph, node)) {
            return true;
        }
        let calls = graph.find_all("prim::CallFunction").into_iter();
        open.extend(calls.filter_map(|call| module.callee(graph, call)));
    }
    false
}

/// Calls are followed to what they call, and count for nothing here.
fn writes_what_lasts(graph: &Graph, id: NodeId) -> bool {
    let node = graph.node(id);
    let op = node.op();
    if op.is_structural() {
        return op.is("prim::SetAttr");
    }
    let mut inputs = node.inputs().iter().enumerate();
    inputs.any(|(at, value)| graph.writes(id, at) && lasts(graph, *value))
}

/// Whether what a value refers to may be there before the method runs: an attribute or an argument, in whole or in part.
fn lasts(graph: &Graph, value: ValueId) -> bool {
    let mut open = vec![value];
    let mut seen = HashSet::new();
    while let Some(value) = open.pop() {
        let Def::Output(id, output) = graph.value(value).def() else {
            return true;
        };
        let node = graph.node(id);
        if node.op().is("prim::GetAttr") || !node.blocks().is_empty() {
            return true;
        }
        if seen.insert(value) {
            let inputs = node.inputs().iter().enumerate();
            let shared = inputs.filter(|(at, _)| node.op().may_alias(output as usize, *at));
            open.extend(shared.map(|(_, input)| *input));
        }
    }
    false
}

fn give_its_own(module: &mut GraphModule, id: MethodId, call: &Call) {
    let name = free_name(module, call.owner, call.name);
    let copy = copied(module, call.callee);
    module.set_submodule(call.owner, name, copy);
    let (owner, class) = (
        module.module(call.owner).class,
        module.module(call.callee).class,
    );
    if let Some(owner) = module.classes.get_mut(&owner)
        && !owner.fields.is_empty()
    {
        owner.fields.insert(name, Type::Class(class));
    }
    let graph = &mut module.method_mut(id).graph;
    let this = graph.node(call.node).inputs()[0];
    let Some(read) = graph.producer(this) else {
        return;
    };
    let (parent, ty) = (graph.node(read).inputs()[0], graph.ty(this).clone());
    let new = graph.insert(
        At::Before(call.node),
        Op::of("prim::GetAttr"),
        &[parent],
        [ty],
    );
    graph.set_attr(new, "name", Literal::str(name.as_str()));
    graph.set_loc(new, graph.node(read).loc());
    let new = graph.output(new);
    graph.set_name(new, ValueName::new(name.as_str()));
    graph.set_input(call.node, 0, new);
    if graph.value(this).uses().is_empty() {
        graph.erase(read);
    }
}

fn free_name(module: &GraphModule, owner: ModuleId, name: Sym) -> Sym {
    let taken = |name: Sym| {
        module.submodule(owner, name).is_some() || module.module(owner).attrs.contains_key(&name)
    };
    let names = (0_usize..).map(|number| Sym::new(&format!("{name}_{number}")));
    let mut free = names.filter(|name| !taken(*name));
    free.next().expect("there are more numbers than names")
}

/// A copy of a module with everything below it; what is shared there is shared in the copy.
fn copied(module: &mut GraphModule, from: ModuleId) -> ModuleId {
    let originals = module.reachable(from);
    let mut copies: HashMap<ModuleId, ModuleId> = HashMap::new();
    for old in &originals {
        let (class, attrs) = (module.module(*old).class, module.module(*old).attrs.clone());
        let new = module.add_module(class);
        module.module_mut(new).attrs = attrs;
        copies.insert(*old, new);
    }
    for old in originals {
        let below: Vec<(Sym, ModuleId)> = module.submodules(old).collect();
        for (name, inner) in below {
            module.set_submodule(copies[&old], name, copies[&inner]);
        }
    }
    copies[&from]
}
