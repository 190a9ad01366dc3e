//! What the user wants to keep: `forward`, and preserved attributes, submodules and methods by dotted path.

use planish_ir::{GraphModule, MethodId, ModuleId, Sym};

use crate::pass::PassError;

/// Something that a path of names leads to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kept {
    /// A method, of the class of this module.
    Method(ModuleId, Sym),
    /// A submodule, with everything below it.
    Module(ModuleId, Sym),
    /// An attribute of a module.
    Attribute(ModuleId, Sym),
}

/// What the paths lead to, in their order.
pub(crate) fn resolve(module: &GraphModule, preserved: &[String]) -> Result<Vec<Kept>, PassError> {
    preserved
        .iter()
        .map(|path| resolve_path(module, path))
        .collect()
}

/// The methods of the root that are kept: `forward` if there is one, and the preserved ones.
pub fn kept_methods(
    module: &GraphModule,
    preserved: &[String],
) -> Result<Vec<MethodId>, PassError> {
    let mut methods: Vec<MethodId> = module.root_method("forward").into_iter().collect();
    for kept in resolve(module, preserved)? {
        if let Kept::Method(owner, name) = kept
            && owner == module.root()
        {
            methods.extend(
                module
                    .find_method(owner, name.as_str())
                    .filter(|id| !methods.contains(id)),
            );
        }
    }
    Ok(methods)
}

fn resolve_path(module: &GraphModule, path: &str) -> Result<Kept, PassError> {
    let mut at = module.root();
    let mut rest = path;
    loop {
        // Names may contain dots themselves (`weight.1_scale_0`): the whole rest is tried before its first part.
        let name = Sym::new(rest);
        if module.find_method(at, rest).is_some() {
            return Ok(Kept::Method(at, name));
        }
        if module.submodule(at, name).is_some() {
            return Ok(Kept::Module(at, name));
        }
        if module.module(at).attrs.contains_key(&name) {
            return Ok(Kept::Attribute(at, name));
        }
        let inner = rest
            .split_once('.')
            .and_then(|(first, rest)| Some((module.submodule(at, Sym::new(first))?, rest)));
        let Some((inner, after)) = inner else {
            return Err(unknown(module, at, path, rest));
        };
        (at, rest) = (inner, after);
    }
}

fn unknown(module: &GraphModule, at: ModuleId, path: &str, rest: &str) -> PassError {
    let found = module.module(at);
    let mut names: Vec<String> = module
        .submodules(at)
        .into_iter()
        .map(|(name, _)| name.to_string())
        .collect();
    names.extend(found.attrs.keys().map(ToString::to_string));
    if let Some(class) = module.classes.get(&found.class) {
        names.extend(class.methods.keys().map(ToString::to_string));
    }
    let hint = if names.is_empty() {
        "it has none".to_owned()
    } else {
        format!("it has {}", names.join(", "))
    };
    let name = if rest == path {
        path.to_owned()
    } else {
        format!("{rest} (of {path})")
    };
    PassError::UnknownName {
        name,
        class: found.class.to_string(),
        hint,
    }
}
