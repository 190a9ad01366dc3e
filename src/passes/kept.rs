//! What the user wants to keep: `forward`, and preserved attributes, submodules and methods by dotted path.

use planish_ir::{Class, GraphModule, MethodId, ModuleId, Sym};

use crate::pass::PassError;

/// Something that a path of names leads to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Kept {
    /// The submodules on the way to it, each with the module that has it.
    pub(crate) way: Vec<(ModuleId, Sym)>,
    /// The module that has it.
    pub(crate) owner: ModuleId,
    /// Its name there.
    pub(crate) name: Sym,
    /// What it is.
    pub(crate) kind: KeptKind,
}

/// What can be kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum KeptKind {
    /// A method, of the class of its owner.
    Method,
    /// A submodule, with everything below it.
    Module,
    /// An attribute.
    Attribute,
    /// A constant of the class of its owner. No pass takes it away.
    Constant,
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
        if kept.kind == KeptKind::Method && kept.owner == module.root() {
            let method = module.find_method(kept.owner, kept.name.as_str());
            methods.extend(method.filter(|id| !methods.contains(id)));
        }
    }
    Ok(methods)
}

impl Kept {
    /// The module that stays as it is, with everything below it: a preserved submodule, or one that has a preserved method.
    pub(crate) fn whole_module(&self, module: &GraphModule) -> Option<ModuleId> {
        match self.kind {
            KeptKind::Module => module.submodule(self.owner, self.name),
            KeptKind::Method if self.owner != module.root() => Some(self.owner),
            KeptKind::Method | KeptKind::Attribute | KeptKind::Constant => None,
        }
    }
}

fn resolve_path(module: &GraphModule, path: &str) -> Result<Kept, PassError> {
    let (mut owner, mut rest, mut way) = (module.root(), path, Vec::new());
    loop {
        // Names may contain dots themselves (`weight.1_scale_0`): the whole rest is tried before its first part.
        let name = Sym::new(rest);
        let kind = if module.find_method(owner, rest).is_some() {
            Some(KeptKind::Method)
        } else if module.submodule(owner, name).is_some() {
            Some(KeptKind::Module)
        } else if module.module(owner).attrs.contains_key(&name) {
            Some(KeptKind::Attribute)
        } else if class(module, owner).is_some_and(|class| class.constants.contains_key(&name)) {
            Some(KeptKind::Constant)
        } else {
            None
        };
        if let Some(kind) = kind {
            return Ok(Kept {
                way,
                owner,
                name,
                kind,
            });
        }
        let step = rest.split_once('.').and_then(|(first, after)| {
            let first = Sym::new(first);
            Some((first, module.submodule(owner, first)?, after))
        });
        let Some((first, inner, after)) = step else {
            return Err(unknown(module, owner, path));
        };
        way.push((owner, first));
        (owner, rest) = (inner, after);
    }
}

fn class(module: &GraphModule, of: ModuleId) -> Option<&Class> {
    module.classes.get(&module.module(of).class)
}

fn unknown(module: &GraphModule, at: ModuleId, path: &str) -> PassError {
    let found = module.module(at);
    let mut names: Vec<String> = module
        .submodules(at)
        .map(|(name, _)| name.to_string())
        .collect();
    names.extend(found.attrs.keys().map(ToString::to_string));
    if let Some(class) = class(module, at) {
        let more = class.constants.keys().chain(class.methods.keys());
        names.extend(more.map(ToString::to_string));
    }
    let hint = if names.is_empty() {
        "it has none".to_owned()
    } else {
        format!("it has {}", names.join(", "))
    };
    PassError::UnknownName {
        name: path.to_owned(),
        class: found.class.to_string(),
        hint,
    }
}
