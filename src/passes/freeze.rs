//! `freeze`: turns attributes into constants, computes what follows from them, and drops what is then unused.
//!
//! An attribute stays an attribute when it is assigned or written to, when the user preserves it, or when it cannot stand in a graph as a
//! constant; each that stays is remarked on with its reason. Methods that are not kept, attributes that nobody reads any more and modules
//! that cannot be reached are removed.
//!
//! ```text
//! before: %w : Tensor = prim::GetAttr[name="weight"](%self)
//!         %q : Tensor = aten::quantize_per_tensor(%w, %scale, %zero_point, %dtype)
//! after:  %q : QInt8(8, 4, …) = prim::Constant[value=<Tensor>]()
//! ```

use std::collections::HashSet;

use indexmap::IndexMap;
use planish_ir::{
    At, ClassKind, Graph, GraphModule, Literal, MethodId, ModuleId, Phase, Sym, ValueId,
};

use crate::analysis::alias::Aliases;
use crate::analysis::objects::{attribute_read, objects};
use crate::const_fold::fold_constants;
use crate::cse::{eliminate_common_subexpressions, pool_constants};
use crate::dce::eliminate_dead_code;
use crate::kept::{self, Kept};
use crate::pass::{Changed, Pass, PassCx, PassError};
use crate::peephole::simplify;
use crate::remark::{Remark, RemarkKind};

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
        let kept = kept::resolve(module, &cx.options.preserved)?;
        let staying = staying_attributes(module, &methods, &kept);
        let mut changed = 0;
        for id in &methods {
            changed += propagate_attributes(module, *id, &staying, cx);
            changed += optimize(module, *id, cx);
        }
        remove_unused(module, &methods, &kept);
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
    fn text(self) -> &'static str {
        match self {
            Self::Written => "the attribute stays: it is assigned or written to",
            Self::Preserved => "the attribute stays: it is preserved",
            Self::Training => "the attribute stays: the module is in training mode",
        }
    }
}

/// The attributes that must stay, by module and name.
fn staying_attributes(
    module: &GraphModule,
    methods: &[MethodId],
    kept: &[Kept],
) -> IndexMap<(ModuleId, Sym), Reason> {
    let mut staying = IndexMap::new();
    for id in methods {
        let graph = &module.method(*id).graph;
        let objects = objects(module, module.root(), graph);
        for key in Aliases::new(graph, &objects).written_attributes() {
            staying.insert(*key, Reason::Written);
        }
    }
    for kept in kept {
        match *kept {
            Kept::Attribute(owner, name) => {
                staying.entry((owner, name)).or_insert(Reason::Preserved);
            }
            Kept::Module(owner, name) => {
                let Some(root) = module.submodule(owner, name) else {
                    continue;
                };
                for inner in reachable(module, root) {
                    for name in module.module(inner).attrs.keys() {
                        staying.entry((inner, *name)).or_insert(Reason::Preserved);
                    }
                }
            }
            Kept::Method(..) => {}
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
    staying
}

/// Replaces reads of attributes by constants at the top of the graph, one for each attribute.
fn propagate_attributes(
    module: &mut GraphModule,
    id: MethodId,
    staying: &IndexMap<(ModuleId, Sym), Reason>,
    cx: &mut PassCx<'_>,
) -> usize {
    let graph = &module.method(id).graph;
    let objects = objects(module, module.root(), graph);
    let method = module.method(id).name;
    let mut reads = Vec::new();
    let mut remarked = HashSet::new();
    for node in graph.walk() {
        let Some(key) = attribute_read(graph, &objects, node) else {
            continue;
        };
        if module.submodule(key.0, key.1).is_some() {
            continue;
        }
        match staying.get(&key) {
            None => reads.push((node, key)),
            Some(reason) if remarked.insert(key) => {
                let at = (method.as_str(), graph, node);
                cx.remarks.push(Remark::at(
                    RemarkKind::Analysis,
                    NAME,
                    key.1.as_str(),
                    at,
                    reason.text(),
                ));
            }
            Some(_) => {}
        }
    }
    let mut constants: IndexMap<(ModuleId, Sym), ValueId> = IndexMap::new();
    let mut changed = 0;
    for (node, key) in reads {
        let Some(literal) = module.module(key.0).attrs.get(&key.1).cloned() else {
            continue;
        };
        let graph = &mut module.method_mut(id).graph;
        let constant = *constants.entry(key).or_insert_with(|| {
            let ty = graph.ty(graph.output(node)).clone();
            let ty = if matches!(literal, Literal::None) {
                planish_ir::Type::None
            } else {
                ty
            };
            let constant = graph.insert_typed_constant(
                At::Start(graph.entry()),
                literal,
                ty.unwrap_optional().clone(),
            );
            let name = graph.value(graph.output(node)).name.clone();
            graph.set_name(constant, name.as_deref());
            constant
        });
        let output = graph.output(node);
        graph.replace_all_uses(output, constant);
        graph.erase(node);
        changed += 1;
    }
    changed
}

/// Folds and simplifies until nothing changes.
fn optimize(module: &mut GraphModule, id: MethodId, cx: &mut PassCx<'_>) -> usize {
    // Each round can only follow from what the one before removed; the bound is for graphs that would go on for long.
    const MAX_ROUNDS: usize = 8;
    let method = module.method(id).name;
    let mut changed = 0;
    for _ in 0..MAX_ROUNDS {
        let objects = objects(module, module.root(), &module.method(id).graph);
        let graph: &mut Graph = &mut module.method_mut(id).graph;
        let mut round = fold_constants(
            graph,
            &objects,
            cx.options.contract,
            (method.as_str(), cx.remarks),
        );
        round += simplify(graph, &objects);
        eliminate_dead_code(graph);
        pool_constants(graph);
        round += eliminate_common_subexpressions(graph, &objects);
        changed += round;
        if round == 0 {
            break;
        }
    }
    changed
}

/// Removes methods, attributes and modules that nobody needs any more.
fn remove_unused(module: &mut GraphModule, methods: &[MethodId], kept: &[Kept]) {
    let mut read: HashSet<(ModuleId, Sym)> = HashSet::new();
    for id in methods {
        let graph = &module.method(*id).graph;
        let objects = objects(module, module.root(), graph);
        for node in graph.walk() {
            read.extend(attribute_read(graph, &objects, node));
            read.extend(crate::analysis::objects::attribute_write(
                graph, &objects, node,
            ));
        }
    }
    let mut whole: HashSet<ModuleId> = HashSet::new();
    let mut kept_methods: HashSet<MethodId> = methods.iter().copied().collect();
    for kept in kept {
        match *kept {
            Kept::Attribute(owner, name) => {
                read.insert((owner, name));
            }
            Kept::Module(owner, name) => {
                read.insert((owner, name));
                whole.extend(
                    module
                        .submodule(owner, name)
                        .into_iter()
                        .flat_map(|inner| reachable(module, inner)),
                );
            }
            Kept::Method(owner, name) => {
                kept_methods.extend(module.find_method(owner, name.as_str()))
            }
        }
    }
    let whole_classes: HashSet<Sym> = whole
        .iter()
        .map(|inner| module.module(*inner).class)
        .collect();
    let modules: Vec<ModuleId> = module.modules().collect();
    for inner in &modules {
        if whole.contains(inner) {
            continue;
        }
        module
            .module_mut(*inner)
            .attrs
            .retain(|name, _| read.contains(&(*inner, *name)));
        for (name, _) in module.submodules(*inner) {
            if !read.contains(&(*inner, name)) {
                module.remove_submodule(*inner, name);
            }
        }
    }
    module.remove_unreachable();
    let live: HashSet<Sym> = module
        .modules()
        .map(|inner| module.module(inner).class)
        .collect();
    let fields: HashSet<(Sym, Sym)> = module
        .modules()
        .flat_map(|inner| {
            let class = module.module(inner).class;
            let attrs = module
                .module(inner)
                .attrs
                .keys()
                .map(move |name| (class, *name));
            attrs
                .chain(
                    module
                        .submodules(inner)
                        .into_iter()
                        .map(move |(name, _)| (class, name)),
                )
                .collect::<Vec<_>>()
        })
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
}

/// A module and all modules below it.
fn reachable(module: &GraphModule, root: ModuleId) -> Vec<ModuleId> {
    let mut dfs = petgraph::visit::Dfs::new(module.tree(), root);
    std::iter::from_fn(|| dfs.next(module.tree())).collect()
}
