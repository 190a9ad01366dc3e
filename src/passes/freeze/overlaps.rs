//! Attributes that share memory with one that is written to: as constants they would not see what is written.

use std::collections::{HashSet, VecDeque};

use indexmap::IndexSet;
use planish_ir::{GraphModule, Literal, ModuleId, Sym};

use crate::pass::PassError;

/// Refuses such attributes, with the names of both.
pub(super) fn refuse_overlaps(
    module: &GraphModule,
    overwritten: &IndexSet<(ModuleId, Sym)>,
) -> Result<(), PassError> {
    let memory = |key: (ModuleId, Sym)| {
        let mut ranges = Vec::new();
        if let Some(value) = module.module(key.0).attrs.get(&key.1) {
            memory_of(value, &mut ranges);
        }
        ranges.into_iter().map(move |range| (range, key))
    };
    if overwritten.iter().all(|key| memory(*key).next().is_none()) {
        return Ok(());
    }
    let mut ranges: Vec<_> = module
        .modules()
        .flat_map(|id| module.module(id).attrs.keys().map(move |name| (id, *name)))
        .flat_map(memory)
        .collect();
    ranges.sort_by_key(|(range, _)| *range);
    let path = |key: &(ModuleId, Sym)| match path_of(module, key.0) {
        owner if owner.is_empty() => key.1.to_string(),
        owner => format!("{owner}.{}", key.1),
    };
    // Of the ranges that begin before this one, those that end last: of all, and of those written to.
    let (mut last, mut last_written) = (None, None);
    for ((start, end), key) in &ranges {
        let written = overwritten.contains(key);
        let before = if written { last } else { last_written };
        // Within one attribute that stays, what is shared stays shared.
        if let Some((until, other)) = before
            && *start < until
            && other != key
        {
            return Err(PassError::Refused(format!(
                "freeze the attributes {} and {}: they share memory, and one of them is written to",
                path(other),
                path(key)
            )));
        }
        last = last.max(Some((*end, key)));
        if written {
            last_written = last_written.max(Some((*end, key)));
        }
    }
    Ok(())
}

/// Where the tensors of a value lie, also those in containers.
fn memory_of(value: &Literal, ranges: &mut Vec<(usize, usize)>) {
    match value {
        Literal::Tensor(tensor) if tensor.numel() > 0 => {
            let steps = tensor.shape().iter().zip(tensor.strides());
            let last = tensor.offset() + steps.map(|(size, step)| (size - 1) * step).sum::<i64>();
            let at = |element: i64| {
                tensor.storage().as_ptr() as usize + element as usize * tensor.dtype().size()
            };
            ranges.push((at(tensor.offset()), at(last + 1)));
        }
        Literal::List(_, items) | Literal::Tuple(items) => {
            items.iter().for_each(|item| memory_of(item, ranges));
        }
        Literal::Dict(_, entries) => {
            entries.iter().for_each(|(_, item)| memory_of(item, ranges));
        }
        Literal::Object(object) => {
            object
                .fields
                .values()
                .for_each(|field| memory_of(field, ranges));
        }
        _ => {}
    }
}

/// The names that lead to a module from the root, the shortest way; nothing for the root itself.
pub(super) fn path_of(module: &GraphModule, wanted: ModuleId) -> String {
    let mut open = VecDeque::from([(module.root(), String::new())]);
    let mut seen = HashSet::from([module.root()]);
    while let Some((at, path)) = open.pop_front() {
        if at == wanted {
            return path;
        }
        for (name, inner) in module.submodules(at) {
            if seen.insert(inner) {
                let dot = if path.is_empty() { "" } else { "." };
                open.push_back((inner, format!("{path}{dot}{name}")));
            }
        }
    }
    String::new()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Changed, Freeze, Fuel, NoKernels, Options, Pass, PassCx, Remarks};
    use planish_ir::text::parse_module;
    use planish_ir::{DType, Tensor, Type};

    #[test]
    fn attributes_that_share_memory_with_one_that_is_written_are_refused() {
        let text = "
            module __torch__.Net {
              attr a : Tensor = dense<Float(2)>[0.5, -1.]
              submodule sub : __torch__.Sub {
                attr b : Tensor = dense<Float(2)>[0.5, -1.]
              }
            }
            class __torch__.Net {
              method forward(self, x) {
                graph(%self : __torch__.Net, %x : Tensor):
                  %one : int = prim::Constant[value=1]()
                  %a : Tensor = prim::GetAttr[name=\"a\"](%self)
                  %sub : __torch__.Sub = prim::GetAttr[name=\"sub\"](%self)
                  %b : Tensor = prim::GetAttr[name=\"b\"](%sub)
                  %c : Tensor = aten::add_(%a, %x, %one)
                  %d : Tensor = aten::mul(%b, %c)
                  return (%d)
              }
            }
            class __torch__.Sub {
            }";
        let mut module = parse_module(text).expect("the text is a module");
        freeze(&mut module.clone()).expect("nothing is shared");
        let (root, shared) = (module.root(), Sym::new("a"));
        let tensor = module.module(root).attrs[&shared].clone();
        let sub = module.submodule(root, Sym::new("sub")).expect("declared");
        module.module_mut(sub).attrs.insert(Sym::new("b"), tensor);
        let error = freeze(&mut module).expect_err("the write would not be seen");
        let error = error.to_string();
        assert!(
            error.contains("a and sub.b") || error.contains("sub.b and a"),
            "{error}"
        );
    }

    #[test]
    fn overlaps_are_found_past_what_lies_between() {
        let text = "
            module __torch__.Net {
              attr all : Tensor = dense<Float(8)>[0., 1., 2., 3., 4., 5., 6., 7.]
              attr first : Tensor = dense<Float(1)>[0.]
              attr last : Tensor = dense<Float(2)>[0., 0.]
              method forward(self) {
                graph(%self : __torch__.Net):
                  %all : Tensor = prim::GetAttr[name=\"all\"](%self)
                  %first : Tensor = prim::GetAttr[name=\"first\"](%self)
                  %last : Tensor = prim::GetAttr[name=\"last\"](%self)
                  %gone : Tensor = aten::zero_(%last)
                  %out : (Tensor, Tensor) = prim::TupleConstruct(%all, %first)
                  return (%out)
              }
            }";
        let mut module = parse_module(text).expect("the text is a module");
        freeze(&mut module.clone()).expect("nothing is shared");
        let attrs = &mut module.module_mut(module.root()).attrs;
        let Literal::Tensor(all) = attrs[&Sym::new("all")].clone() else {
            panic!("it is a tensor");
        };
        for (name, size, offset) in [("first", 1, 1), ("last", 2, 6)] {
            let storage = all.storage().clone();
            let view = Tensor::strided(DType::Float, &[size], &[1], offset, storage);
            attrs.insert(Sym::new(name), Literal::Tensor(view.expect("it is inside")));
        }
        let error = freeze(&mut module).expect_err("the write would not be seen");
        assert!(
            error.to_string().contains("the attributes all and last"),
            "{error}"
        );
    }

    #[test]
    fn tensors_in_containers_overlap_too() {
        let text = "
            module __torch__.Net {
              attr sum : Tensor = dense<Float(2)>[0.5, -1.]
              attr all : Tensor[] = [dense<Float(2)>[0.5, -1.], dense<Float(1)>[2.]]
              method forward(self, x) {
                graph(%self : __torch__.Net, %x : Tensor):
                  %one : int = prim::Constant[value=1]()
                  %sum : Tensor = prim::GetAttr[name=\"sum\"](%self)
                  %all : Tensor[] = prim::GetAttr[name=\"all\"](%self)
                  %new : Tensor = aten::add_(%sum, %x, %one)
                  return (%all)
              }
            }";
        let mut module = parse_module(text).expect("the text is a module");
        freeze(&mut module.clone()).expect("nothing is shared");
        let attrs = &mut module.module_mut(module.root()).attrs;
        let sum = attrs[&Sym::new("sum")].clone();
        let all = Literal::List(Type::TENSOR, [sum].into());
        attrs.insert(Sym::new("all"), all);
        let error = freeze(&mut module).expect_err("the write would not be seen");
        let error = error.to_string();
        assert!(
            error.contains("all and sum") || error.contains("sum and all"),
            "{error}"
        );
    }

    fn freeze(module: &mut GraphModule) -> Result<Changed, PassError> {
        let mut cx = PassCx {
            remarks: &mut Remarks::default(),
            kernels: &mut NoKernels,
            fuel: &mut Fuel::unlimited(),
            options: &Options::default(),
            observer: None,
        };
        Freeze.run(module, &mut cx)
    }
}
