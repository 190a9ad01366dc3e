//! Modules: a tree of objects with attributes, submodules and methods.
//!
//! The tree is a directed acyclic graph, since a submodule may be shared. Every module knows its submodules by name: networks have tens of
//! thousands in one container, and analyses ask for each of them. Methods belong to a class, and all modules of the class share them.

use std::fmt;

use crate::entity::{EntityId, PrimaryMap, entity_id};
use crate::{Graph, Literal, Sym, SymMap, Type};

entity_id!(
    /// A module of a [`GraphModule`]; valid for as long as the module is not removed.
    ModuleId,
    "o"
);

entity_id!(
    /// A method or function of a [`GraphModule`].
    MethodId,
    "m"
);

/// A model: modules, the classes they are of, and the graphs of their methods.
#[derive(Clone, Debug)]
pub struct GraphModule {
    /// `None` for a module that was removed.
    modules: PrimaryMap<ModuleId, Option<Module>>,
    root: ModuleId,
    methods: PrimaryMap<MethodId, Method>,
    /// Classes by qualified name: of modules, script classes, enums, named tuples and interfaces.
    pub classes: SymMap<Class>,
    /// Free functions by qualified name.
    pub functions: SymMap<MethodId>,
    /// How far the module has come.
    pub phase: Phase,
    /// Where the module came from, for messages: a file name.
    pub origin: String,
}

/// An object of a module class.
#[derive(Clone, Debug, PartialEq)]
pub struct Module {
    /// Qualified name of its class.
    pub class: Sym,
    /// Attributes that are not modules, in declaration order.
    pub attrs: SymMap<Literal>,
    submodules: SymMap<ModuleId>,
}

/// A class.
#[derive(Clone, Debug, PartialEq)]
pub struct Class {
    /// What kind of class it is.
    pub kind: ClassKind,
    /// Attributes and their types, submodules included, in declaration order.
    pub fields: SymMap<Type>,
    /// Values that are the same for every object (`Final`), and the members of an enum.
    pub constants: SymMap<Literal>,
    /// Methods.
    pub methods: SymMap<MethodId>,
}

/// Kinds of classes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ClassKind {
    /// A module.
    Module,
    /// A script class.
    Script,
    /// A named tuple.
    NamedTuple,
    /// An enum.
    Enum,
    /// An interface.
    Interface,
}

/// A method of a class, or a free function.
#[derive(Clone, Debug)]
pub struct Method {
    /// Name without its class.
    pub name: Sym,
    /// Class; `None` for a free function.
    pub class: Option<Sym>,
    /// Names and default values of the parameters, `self` included; a default is a literal.
    pub params: Vec<(Sym, Option<Literal>)>,
    /// Body.
    pub graph: Graph,
}

/// How far a module has come; it only grows.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
pub enum Phase {
    /// As it was read.
    Imported,
    /// What profiling left is gone.
    Cleared,
    /// Weights go through prepack and unpack.
    Prepacked,
    /// Quantized operators are fused.
    Fused,
    /// Attributes are constants.
    Frozen,
    /// Weights are packed.
    Folded,
}

impl GraphModule {
    /// A model whose root is an object of `class` without attributes.
    pub fn new(class: Sym, origin: &str) -> Self {
        let mut modules = PrimaryMap::new();
        let root = modules.push(Some(Module::new(class)));
        let mut classes = SymMap::default();
        classes.insert(class, Class::new(ClassKind::Module));
        Self {
            modules,
            root,
            methods: PrimaryMap::new(),
            classes,
            functions: SymMap::default(),
            phase: Phase::Imported,
            origin: origin.to_owned(),
        }
    }

    /// The root module.
    pub fn root(&self) -> ModuleId {
        self.root
    }

    /// A module.
    ///
    /// # Panics
    /// When the module was removed.
    pub fn module(&self, id: ModuleId) -> &Module {
        let module = self.modules[id].as_ref();
        module.expect("a module is asked for while it is part of the model")
    }

    /// A module, to change.
    ///
    /// # Panics
    /// When the module was removed.
    pub fn module_mut(&mut self, id: ModuleId) -> &mut Module {
        let module = self.modules[id].as_mut();
        module.expect("a module is asked for while it is part of the model")
    }

    /// All modules, in the order in which they were added.
    pub fn modules(&self) -> impl Iterator<Item = ModuleId> + '_ {
        let modules = self.modules.iter();
        modules.filter_map(|(id, module)| module.is_some().then_some(id))
    }

    /// A module and all modules below it, each once; a module stands before what only it refers to.
    pub fn reachable(&self, from: ModuleId) -> Vec<ModuleId> {
        let mut met = vec![false; self.modules.len()];
        let (mut order, mut open) = (Vec::new(), vec![from]);
        while let Some(id) = open.pop() {
            if !std::mem::replace(&mut met[id.index()], true) {
                order.push(id);
                open.extend(self.module(id).submodules.values().rev());
            }
        }
        order
    }

    /// Adds a module that nothing refers to yet.
    pub fn add_module(&mut self, class: Sym) -> ModuleId {
        self.modules.push(Some(Module::new(class)))
    }

    /// Makes `child` the submodule `name` of `parent`, in place of the one that has that name.
    pub fn set_submodule(&mut self, parent: ModuleId, name: Sym, child: ModuleId) {
        self.module_mut(parent).submodules.insert(name, child);
    }

    /// The submodules of a module with their names, in the order in which they were added.
    pub fn submodules(&self, parent: ModuleId) -> impl DoubleEndedIterator<Item = (Sym, ModuleId)> {
        let submodules = self.module(parent).submodules.iter();
        submodules.map(|(name, child)| (*name, *child))
    }

    /// The submodule `name` of a module.
    pub fn submodule(&self, parent: ModuleId, name: Sym) -> Option<ModuleId> {
        self.module(parent).submodules.get(&name).copied()
    }

    /// Keeps those submodules of a module whose names `keep` says yes to; the others stay in the model until
    /// [`Self::remove_unreachable`].
    pub fn retain_submodules(&mut self, parent: ModuleId, mut keep: impl FnMut(Sym) -> bool) {
        let submodules = &mut self.module_mut(parent).submodules;
        submodules.retain(|name, _| keep(*name));
    }

    /// Removes the modules that cannot be reached from the root.
    pub fn remove_unreachable(&mut self) {
        let mut reached = vec![false; self.modules.len()];
        for id in self.reachable(self.root) {
            reached[id.index()] = true;
        }
        for (id, module) in self.modules.iter_mut() {
            if !reached[id.index()] {
                *module = None;
            }
        }
    }

    /// Adds a graph as a method of a class.
    pub fn add_method(
        &mut self,
        class: Sym,
        name: Sym,
        params: Vec<(Sym, Option<Literal>)>,
        graph: Graph,
    ) -> MethodId {
        let id = self.methods.push(Method {
            name,
            class: Some(class),
            params,
            graph,
        });
        self.classes
            .entry(class)
            .or_insert_with(|| Class::new(ClassKind::Module))
            .methods
            .insert(name, id);
        id
    }

    /// Adds a graph as a free function with a qualified name.
    pub fn add_function(
        &mut self,
        name: Sym,
        params: Vec<(Sym, Option<Literal>)>,
        graph: Graph,
    ) -> MethodId {
        let id = self.methods.push(Method {
            name,
            class: None,
            params,
            graph,
        });
        self.functions.insert(name, id);
        id
    }

    /// A method or function.
    pub fn method(&self, id: MethodId) -> &Method {
        &self.methods[id]
    }

    /// A method or function, to change.
    pub fn method_mut(&mut self, id: MethodId) -> &mut Method {
        &mut self.methods[id]
    }

    /// The name of a method with its class, such as `__torch__.Net.forward`.
    pub fn qualified_name(&self, id: MethodId) -> String {
        let method = &self.methods[id];
        match method.class {
            Some(class) => format!("{class}.{}", method.name),
            None => method.name.to_string(),
        }
    }

    /// The method `name` of a module's class.
    pub fn find_method(&self, module: ModuleId, name: &str) -> Option<MethodId> {
        self.classes
            .get(&self.module(module).class)?
            .methods
            .get(&Sym::new(name))
            .copied()
    }

    /// The method `name` of the root module.
    pub fn root_method(&self, name: &str) -> Option<MethodId> {
        self.find_method(self.root, name)
    }

    /// All methods of the root's class, in declaration order.
    pub fn root_methods(&self) -> Vec<(Sym, MethodId)> {
        let class = self.classes.get(&self.module(self.root).class);
        class.map_or_else(Vec::new, |class| {
            class
                .methods
                .iter()
                .map(|(name, id)| (*name, *id))
                .collect()
        })
    }

    /// Every method and function that a class or the list of functions still names, classes first.
    pub fn named_methods(&self) -> Vec<MethodId> {
        let of_classes = self
            .classes
            .values()
            .flat_map(|class| class.methods.values());
        of_classes.chain(self.functions.values()).copied().collect()
    }

    /// The module reached from `from` by a path of submodule names.
    pub fn resolve(&self, from: ModuleId, path: &[Sym]) -> Option<ModuleId> {
        path.iter()
            .try_fold(from, |module, name| self.submodule(module, *name))
    }
}

impl Module {
    fn new(class: Sym) -> Self {
        Self {
            class,
            attrs: SymMap::default(),
            submodules: SymMap::default(),
        }
    }
}

impl Class {
    /// A class without fields and methods.
    pub fn new(kind: ClassKind) -> Self {
        Self {
            kind,
            fields: SymMap::default(),
            constants: SymMap::default(),
            methods: SymMap::default(),
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Imported => "imported",
            Self::Cleared => "cleared",
            Self::Prepacked => "prepacked",
            Self::Fused => "fused",
            Self::Frozen => "frozen",
            Self::Folded => "folded",
        })
    }
}

impl std::str::FromStr for Phase {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        use Phase::{Cleared, Folded, Frozen, Fused, Imported, Prepacked};
        [Imported, Cleared, Prepacked, Fused, Frozen, Folded]
            .into_iter()
            .find(|phase| phase.to_string() == text)
            .ok_or_else(|| format!("read {text:?} as a phase: it is one of imported, cleared, prepacked, fused, frozen, folded"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shared_submodule_outlives_one_of_its_names() {
        let mut model = GraphModule::new("__torch__.M".into(), "test");
        let root = model.root();
        let child = model.add_module("__torch__.C".into());
        model.set_submodule(root, "a".into(), child);
        model.set_submodule(root, "b".into(), child);
        assert_eq!(model.reachable(root), [root, child]);
        model.retain_submodules(root, |name| name == *"b");
        model.remove_unreachable();
        assert!(model.submodules(root).eq([("b".into(), child)]));
        model.retain_submodules(root, |_| false);
        model.remove_unreachable();
        assert_eq!(model.modules().count(), 1);
    }

    #[test]
    fn phases_are_ordered_and_read_back() {
        assert!(Phase::Imported < Phase::Prepacked && Phase::Frozen < Phase::Folded);
        assert_eq!("fused".parse(), Ok(Phase::Fused));
    }
}
