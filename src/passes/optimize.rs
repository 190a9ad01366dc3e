//! What freezing makes of a graph whose attributes have become constants: fold, simplify and clean up until nothing changes.

use planish_ir::{Graph, GraphModule, MethodId};

use crate::analysis::objects::{Objects, objects};
use crate::build_lists::build_lists;
use crate::const_fold::fold_constants;
use crate::cse::{eliminate_common_subexpressions, pool_constants};
use crate::dce::eliminate_dead_code;
use crate::pass::PassCx;
use crate::peephole::simplify;
use crate::unroll::unroll_loops;

/// Changes a graph; returns how many rewrites it made.
type Step = fn(&mut Graph, &Objects) -> usize;

/// What a round does once constants are folded.
const STEPS: [(&str, Step); 6] = [
    ("peephole", simplify),
    ("unroll", |graph, _| unroll_loops(graph)),
    ("build-lists", |graph, _| build_lists(graph)),
    ("dce", eliminate_dead_code),
    ("pool-constants", |graph, _| pool_constants(graph)),
    ("cse", eliminate_common_subexpressions),
];

/// Folds and simplifies a method until nothing changes; returns how many rewrites that took.
pub(crate) fn optimize(module: &mut GraphModule, id: MethodId, cx: &mut PassCx<'_>) -> usize {
    // Each round can only follow from what the one before removed; the bound is for graphs that would go on for long.
    const MAX_ROUNDS: usize = 8;
    let method = module.method(id).name;
    let mut changed = 0;
    for round in 1..=MAX_ROUNDS {
        let objects = objects(module, module.root(), &module.method(id).graph);
        let graph = &mut module.method_mut(id).graph;
        let folded = fold_constants(graph, &objects, cx.options.contract);
        let mut rewrites = folded.count;
        if rewrites > 0 {
            cx.step("const-fold", module);
        }
        for (name, step) in STEPS {
            let made = step(&mut module.method_mut(id).graph, &objects);
            if made > 0 {
                cx.step(name, module);
            }
            rewrites += made;
        }
        changed += rewrites;
        if rewrites == 0 || round == MAX_ROUNDS {
            folded.remark(&module.method(id).graph, method.as_str(), cx.remarks);
            break;
        }
    }
    changed
}
