//! `freeze`: turns attributes into constants, computes what follows from them, and drops what is then unused.
//!
//! An attribute stays an attribute when it is assigned or written to, when the user preserves it, or when it cannot stand in a graph as a
//! constant; each that stays is remarked on with its reason. What is still called is inlined first. Methods that are not kept, attributes
//! that nobody reads any more and modules that cannot be reached are removed.
//!
//! ```text
//! before: %w : Tensor = prim::GetAttr[name="weight"](%self)
//!         %q : Tensor = aten::quantize_per_tensor(%w, %scale, %zero_point, %dtype)
//! after:  %q : QInt8(8, 4, …) = prim::Constant[value=<Tensor>]()
//! ```

mod classes;
mod overlaps;

use std::collections::HashSet;

use foldhash::fast::FixedState;
use indexmap::{IndexMap, IndexSet};
use planish_ir::{
    At, ClassKind, Graph, GraphModule, Literal, MethodId, ModuleId, NodeId, Phase, Sym, Type,
    ValueId,
};

use crate::analysis::alias::Aliases;
use crate::analysis::objects::{AttributeMap, Objects, attribute_read, attribute_write, objects};
use crate::inline::{Inline, has_calls};
use crate::kept::{self, Kept, KeptKind};
use crate::optimize::optimize;
use crate::pass::{Changed, Pass, PassCx, PassError};
use crate::remark::{Remark, RemarkKind};
use overlaps::{path_of, refuse_overlaps};

/// The pass.
#[derive(Clone, Copy, Debug, Default)]
pub struct Freeze;

const NAME: &str = "freeze";

impl Pass for Freeze {
    fn name(&self) -> &'static str {
        NAME
    }

    fn doc(&self) -> &'static str {
        "turns attributes into constants and drops what is then unused"
    }

    fn establishes(&self) -> Option<Phase> {
        Some(Phase::Frozen)
    }

    fn run(&self, module: &mut GraphModule, cx: &mut PassCx<'_>) -> Result<Changed, PassError> {
        let methods = kept::kept_methods(module, &cx.options.preserved)?;
        let mut changed = 0;
        // What is called reads and writes attributes too.
        if methods
            .iter()
            .any(|id| has_calls(&module.method(*id).graph))
        {
            changed += Inline.run(module, cx)?.0;
        }
        let kept = kept::resolve(module, &cx.options.preserved)?;
        for id in &methods {
            refuse_modules_as_results(module, *id)?;
        }
        let mut known = analyse(module, &methods);
        let mut staying = staying_attributes(module, &methods, &known, &kept)?;
        loop {
            for (id, (objects, aliases)) in methods.iter().zip(known) {
                changed += propagate_attributes(module, *id, &objects, &staying);
                cx.step("attributes", module);
                // Constants share nothing: where nothing is written, what was known before is still true.
                let still_known = aliases.nothing_is_written().then_some((objects, aliases));
                changed += optimize(module, *id, still_known, cx);
            }
            if !staying.values().any(|reason| *reason == Reason::Written) {
                break;
            }
            // What was written to only where the program never comes, or by a normalization that turned out not to train, is a constant.
            known = analyse(module, &methods);
            let still = staying_attributes(module, &methods, &known, &kept)?;
            if still.len() == staying.len() {
                break;
            }
            staying = still;
        }
        for id in &methods {
            remark_on(module, *id, &staying, cx);
        }
        remove_unused(module, &methods, &kept)?;
        Ok(Changed(changed))
    }
}

/// Why an attribute stays an attribute.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Reason {
    Written,
    Preserved,
    Training,
}

impl Reason {
    /// The reason in words; `by` does what changes the attribute, as far as it stands in this method.
    fn text(self, by: Option<String>) -> String {
        match (self, by) {
            (Self::Written, Some(by)) => format!("the attribute stays: {by}"),
            (Self::Written, None) => "the attribute stays: another method changes it".to_owned(),
            (Self::Preserved, _) => "the attribute stays: it is preserved".to_owned(),
            (Self::Training, _) => "the attribute stays: the module is in training mode".to_owned(),
        }
    }
}

/// What is known of each method: which values are modules, and what shares storage.
fn analyse(module: &GraphModule, methods: &[MethodId]) -> Vec<(Objects, Aliases)> {
    let analyses = methods.iter().map(|id| {
        let graph = &module.method(*id).graph;
        let objects = objects(module, module.root(), graph);
        let aliases = Aliases::of_writes(graph, &objects);
        (objects, aliases)
    });
    analyses.collect()
}

/// The attributes that must stay, by module and name.
fn staying_attributes(
    module: &GraphModule,
    methods: &[MethodId],
    known: &[(Objects, Aliases)],
    kept: &[Kept],
) -> Result<IndexMap<(ModuleId, Sym), Reason>, PassError> {
    let mut staying = IndexMap::new();
    let mut overwritten = IndexSet::new();
    for (id, (objects, aliases)) in methods.iter().zip(known) {
        if aliases.nothing_is_written() {
            continue;
        }
        let graph = &module.method(*id).graph;
        for key in aliases.written_attributes() {
            staying.insert(*key, Reason::Written);
        }
        for node in graph.walk() {
            let read = attribute_read(graph, objects, node);
            overwritten.extend(read.filter(|_| aliases.is_written(graph.output(node))));
        }
    }
    refuse_overlaps(module, &overwritten)?;
    for kept in kept {
        if kept.kind == KeptKind::Attribute {
            let key = (kept.owner, kept.name);
            staying.entry(key).or_insert(Reason::Preserved);
        }
        let whole = kept.whole_module(module).into_iter();
        for inner in whole.flat_map(|whole| module.reachable(whole)) {
            for name in module.module(inner).attrs.keys() {
                staying.entry((inner, *name)).or_insert(Reason::Preserved);
            }
        }
    }
    if module
        .module(module.root())
        .attrs
        .get(&Sym::new("training"))
        == Some(&Literal::Bool(true))
    {
        for inner in module.modules() {
            for (name, value) in &module.module(inner).attrs {
                if matches!(value, Literal::Tensor(_)) || *name == "training" {
                    staying.entry((inner, *name)).or_insert(Reason::Training);
                }
            }
        }
    }
    Ok(staying)
}

/// A module that is returned could be asked for anything, which would have to be kept.
fn refuse_modules_as_results(module: &GraphModule, id: MethodId) -> Result<(), PassError> {
    let graph = &module.method(id).graph;
    let may_be_module = |result: &ValueId| {
        let producer = graph.producer(*result);
        producer.is_none_or(|node| graph.node(node).op().is("prim::GetAttr"))
    };
    if !graph.results().iter().any(may_be_module) {
        return Ok(());
    }
    let objects = objects(module, module.root(), graph);
    match graph.results().iter().find_map(|result| objects[*result]) {
        Some(returned) => Err(PassError::Refused(format!(
            "freeze {}: it returns the module {}",
            module.qualified_name(id),
            path_of(module, returned)
        ))),
        None => Ok(()),
    }
}

/// Replaces reads of attributes by constants at the top of the graph, one for each attribute.
fn propagate_attributes(
    module: &mut GraphModule,
    id: MethodId,
    objects: &Objects,
    staying: &IndexMap<(ModuleId, Sym), Reason>,
) -> usize {
    // Attributes of the module are read while the graph changes.
    let mut graph = std::mem::take(&mut module.method_mut(id).graph);
    let mut constants: AttributeMap<ValueId> = AttributeMap::default();
    let mut changed = 0;
    for node in graph.find_all("prim::GetAttr") {
        let key = attribute_read(&graph, objects, node);
        let may_go = |key: &(ModuleId, Sym)| {
            module.submodule(key.0, key.1).is_none() && !staying.contains_key(key)
        };
        let Some(key) = key.filter(may_go) else {
            continue;
        };
        let Some(literal) = attribute(module, key).cloned() else {
            continue;
        };
        let output = graph.output(node);
        changed += 1;
        if let Some(constant) = constants.get(key) {
            graph.replace_all_uses(output, constant);
            graph.erase(node);
            continue;
        }
        let ty = match literal {
            Literal::None => Type::None,
            _ => graph.ty(output).unwrap_optional().clone(),
        };
        graph.set_ty(output, ty);
        graph.set_loc(node, None);
        graph.become_constant(node, literal);
        graph.move_node(node, At::Start(graph.entry()));
        constants.insert(key, output);
    }
    module.method_mut(id).graph = graph;
    changed
}

/// Says of each attribute that a method still reads why it stays, where it is first read.
fn remark_on(
    module: &GraphModule,
    id: MethodId,
    staying: &IndexMap<(ModuleId, Sym), Reason>,
    cx: &mut PassCx<'_>,
) {
    if staying.is_empty() {
        return;
    }
    let graph = &module.method(id).graph;
    let objects = objects(module, module.root(), graph);
    let method = module.method(id).name;
    let aliases = Aliases::new(graph, &objects);
    let mut remarked = HashSet::new();
    for node in graph.walk() {
        let Some(key) = attribute_read(graph, &objects, node) else {
            continue;
        };
        if let Some(reason) = staying.get(&key)
            && module.submodule(key.0, key.1).is_none()
            && remarked.insert(key)
        {
            let by = (*reason == Reason::Written)
                .then(|| who_changes(graph, &objects, &aliases, key, graph.output(node)));
            cx.remarks.push(Remark::at(
                RemarkKind::Analysis,
                NAME,
                key.1.as_str(),
                (method.as_str(), graph, node),
                reason.text(by.flatten()),
            ));
        }
    }
}

/// What assigns an attribute, or writes to what is read from it, in words.
fn who_changes(
    graph: &Graph,
    objects: &Objects,
    aliases: &Aliases,
    key: (ModuleId, Sym),
    read: ValueId,
) -> Option<String> {
    let place = |id| {
        let loc = graph.node(id).loc();
        loc.map(|loc| format!(" ({loc})")).unwrap_or_default()
    };
    graph.walk().find_map(|id| {
        if attribute_write(graph, objects, id) == Some(key) {
            return Some(format!("it is assigned{}", place(id)));
        }
        let node = graph.node(id);
        let mut inputs = node.inputs().iter().enumerate();
        let writes =
            inputs.any(|(at, input)| graph.writes(id, at) && aliases.may_alias(*input, read));
        writes.then(|| {
            let made = node.outputs().first();
            let made = made.map(|made| format!(" {}", graph.label(*made)));
            let (op, made) = (node.op().name(), made.unwrap_or_default());
            format!("{op}{made}{} writes to it", place(id))
        })
    })
}

/// The value of an attribute, or of a constant of the class.
fn attribute(module: &GraphModule, (owner, name): (ModuleId, Sym)) -> Option<&Literal> {
    let owner = module.module(owner);
    let constant = || module.classes.get(&owner.class)?.constants.get(&name);
    owner.attrs.get(&name).or_else(constant)
}

/// Removes methods, attributes and modules that nobody needs any more.
fn remove_unused(
    module: &mut GraphModule,
    methods: &[MethodId],
    kept: &[Kept],
) -> Result<(), PassError> {
    let mut read: HashSet<(ModuleId, Sym), FixedState> = HashSet::default();
    for id in methods {
        let graph = &module.method(*id).graph;
        let objects = objects(module, module.root(), graph);
        for node in graph.walk() {
            let op = graph.node(node).op();
            if !op.is("prim::GetAttr") && !op.is("prim::SetAttr") {
                continue;
            }
            let found = attribute_read(graph, &objects, node);
            match found.or_else(|| attribute_write(graph, &objects, node)) {
                Some(key) => _ = read.insert(key),
                None => refuse_unknown_module(module, *id, node)?,
            }
        }
    }
    let mut whole: HashSet<ModuleId> = HashSet::new();
    let mut kept_methods: HashSet<MethodId> = methods.iter().copied().collect();
    for kept in kept {
        read.extend(kept.way.iter().copied());
        whole.extend(
            kept.whole_module(module)
                .into_iter()
                .flat_map(|inner| module.reachable(inner)),
        );
        if kept.kind == KeptKind::Method {
            kept_methods.extend(module.find_method(kept.owner, kept.name.as_str()));
        } else {
            read.insert((kept.owner, kept.name));
        }
    }
    let whole_classes: HashSet<Sym> = whole
        .iter()
        .map(|inner| module.module(*inner).class)
        .collect();
    let modules: Vec<ModuleId> = module.modules().collect();
    for inner in &modules {
        // A class has the same fields for all its modules.
        if whole_classes.contains(&module.module(*inner).class) {
            continue;
        }
        module
            .module_mut(*inner)
            .attrs
            .retain(|name, _| read.contains(&(*inner, *name)));
        module.retain_submodules(*inner, |name| read.contains(&(*inner, name)));
    }
    // What is left of a module is what is read of it. A field without a value is read all the same, and that fails when the program runs.
    let fields: HashSet<(Sym, Sym), FixedState> = read
        .iter()
        .map(|(inner, name)| (module.module(*inner).class, *name))
        .collect();
    module.remove_unreachable();
    let live: HashSet<Sym, FixedState> = module
        .modules()
        .map(|inner| module.module(inner).class)
        .collect();
    for (name, class) in &mut module.classes {
        if !live.contains(name) || whole_classes.contains(name) {
            continue;
        }
        class.methods.retain(|_, id| kept_methods.contains(id));
        class
            .fields
            .retain(|field, _| fields.contains(&(*name, *field)));
    }
    module
        .classes
        .retain(|name, class| class.kind != ClassKind::Module || live.contains(name));
    if whole.is_empty() {
        // Every call of a kept method is inlined.
        module.functions.clear();
    }
    classes::remove_unspoken(module);
    Ok(())
}

/// Where it is not known which module an attribute is of, any may be meant: none can be removed, and none taken for a constant.
fn refuse_unknown_module(
    module: &GraphModule,
    id: MethodId,
    node: NodeId,
) -> Result<(), PassError> {
    let graph = &module.method(id).graph;
    let found = graph.node(node);
    let object = found.inputs()[0];
    let Type::Class(class) = graph.ty(object) else {
        return Ok(());
    };
    let kind = module.classes.get(class).map(|class| class.kind);
    if kind != Some(ClassKind::Module) {
        return Ok(());
    }
    Err(PassError::Refused(format!(
        "freeze {}: attribute {} is read or assigned through {}, which may be one of several modules",
        module.qualified_name(id),
        found.name_attr().unwrap_or(Sym::new("")),
        graph.label(object),
    )))
}
