//! What freezing makes of a graph whose attributes have become constants: fold, simplify and clean up until nothing changes.

use planish_ir::{Graph, GraphModule, MethodId};

use crate::analysis::alias::Aliases;
use crate::analysis::objects::{Objects, objects};
use crate::build_lists::build_lists;
use crate::const_fold::fold_constants;
use crate::cse::{eliminate_common_subexpressions, pool_constants};
use crate::dce::eliminate_dead_code;
use crate::pass::{Changed, PassCx};
use crate::peephole::simplify;
use crate::unroll::unroll_loops;

/// Changes a graph; returns how many rewrites it made.
enum Step {
    /// By the graph's shape alone.
    Plain(fn(&mut Graph) -> usize),
    /// By what may share storage, too.
    Aliased(fn(&mut Graph, &Objects, &Aliases) -> usize),
}

/// What a round does once constants are folded: what may enable the whole next round, and then what cleans up.
const SIMPLIFIES: [(&str, Step); 3] = [
    (
        "peephole",
        Step::Aliased(|graph, _, aliases| simplify(graph, aliases)),
    ),
    ("unroll", Step::Plain(unroll_loops)),
    ("build-lists", Step::Plain(build_lists)),
];
const CLEANS_UP: [(&str, Step); 3] = [
    (
        "dce",
        Step::Aliased(|graph, _, aliases| eliminate_dead_code(graph, aliases)),
    ),
    (
        "pool-constants",
        Step::Aliased(|graph, _, aliases| pool_constants(graph, aliases)),
    ),
    ("cse", Step::Aliased(eliminate_common_subexpressions)),
];

/// Folds and simplifies a method until nothing changes; returns how many rewrites that took. `known` is what an analysis has found, if it is
/// still true.
pub(crate) fn optimize(
    module: &mut GraphModule,
    id: MethodId,
    mut known: Option<(Objects, Aliases)>,
    cx: &mut PassCx<'_>,
) -> usize {
    // Each round can only follow from what the one before removed; the bound is for graphs that would go on for long.
    const MAX_ROUNDS: usize = 8;
    let method = module.method(id).name;
    let mut changed = 0;
    for round in 1..=MAX_ROUNDS {
        let (objects, aliases) = known.take().unwrap_or_else(|| {
            let graph = &module.method(id).graph;
            let objects = objects(module, module.root(), graph);
            let aliases = Aliases::of_writes(graph, &objects);
            (objects, aliases)
        });
        let graph = &mut module.method_mut(id).graph;
        // No step adds a write: where there is none, what is known of sharing stays true.
        let lasting = aliases.nothing_is_written().then_some(&aliases);
        let is_simple = lasting.is_some() && is_flat(graph);
        let folded = fold_constants(graph, &objects, &aliases, cx.options.contract);
        if folded.count > 0 {
            cx.step("const-fold", module);
        }
        let simplified = run(&SIMPLIFIES, module, id, (&objects, lasting), cx);
        let cleaned = run(&CLEANS_UP, module, id, (&objects, lasting), cx);
        let rewrites = folded.count + simplified + cleaned;
        changed += rewrites;
        // Without branches, loops and writes, folding goes as far as it can in one round, and cleaning up neither makes a value constant
        // that was not, nor leaves anything to clean up.
        let is_settled = is_simple && folded.is_complete() && simplified == 0;
        if rewrites == 0 || is_settled || round == MAX_ROUNDS {
            folded.remark(&module.method(id).graph, method.as_str(), cx.remarks);
            break;
        }
    }
    changed
}

/// Runs one step over every method of the root, for the pass that is nothing else.
pub(crate) fn on_each_method(
    module: &mut GraphModule,
    step: impl Fn(&mut Graph, &Objects, &Aliases) -> usize,
) -> Changed {
    let methods = module.root_methods().into_iter();
    let changed = methods.map(|(_, id)| {
        let objects = objects(module, module.root(), &module.method(id).graph);
        let graph = &mut module.method_mut(id).graph;
        let aliases = Aliases::of_writes(graph, &objects);
        step(graph, &objects, &aliases)
    });
    Changed(changed.sum())
}

/// Runs steps one after another; returns how many rewrites they made.
fn run(
    steps: &[(&'static str, Step)],
    module: &mut GraphModule,
    id: MethodId,
    (objects, lasting): (&Objects, Option<&Aliases>),
    cx: &mut PassCx<'_>,
) -> usize {
    let mut rewrites = 0;
    for (name, step) in steps {
        let graph = &mut module.method_mut(id).graph;
        let made = match step {
            Step::Plain(step) => step(graph),
            Step::Aliased(step) => match lasting {
                Some(aliases) => step(graph, objects, aliases),
                None => step(graph, objects, &Aliases::of_writes(graph, objects)),
            },
        };
        if made > 0 {
            cx.step(name, module);
        }
        rewrites += made;
    }
    rewrites
}

/// Whether nothing is nested in an operation.
fn is_flat(graph: &Graph) -> bool {
    let mut nodes = graph.nodes(graph.entry());
    graph.block_capacity() == 1 || nodes.all(|node| graph.node(node).blocks().is_empty())
}
