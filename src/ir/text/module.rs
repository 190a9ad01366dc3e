//! Modules: printing.

use std::collections::HashMap;

use crate::text::print::Printer;
use crate::{Class, ClassKind, GraphModule, Literal, MethodId, ModuleId, Sym, Type};

/// The names of the kinds of classes in the text.
pub(super) const CLASS_KINDS: [(ClassKind, &str); 5] = [
    (ClassKind::Module, "module"),
    (ClassKind::Script, "script"),
    (ClassKind::NamedTuple, "namedtuple"),
    (ClassKind::Enum, "enum"),
    (ClassKind::Interface, "interface"),
];

impl Printer<'_> {
    /// The text of a whole model: its objects, then its classes with their methods, then its functions.
    pub fn module(&mut self, model: &GraphModule) -> String {
        self.out.push_str("module ");
        self.name(model.module(model.root()).class.as_str(), true);
        self.put(format_args!(" phase={} {{\n", model.phase));
        let first = self.objects(model);
        for (name, class) in &model.classes {
            self.out.push('\n');
            self.class(model, *name, class, first.get(name).copied());
        }
        for (name, id) in &model.functions {
            self.out.push_str("\nfunction ");
            self.name(name.as_str(), true);
            self.method(model, *id);
        }
        std::mem::take(&mut self.out)
    }

    /// The body of the root module and of all below it; gives the first object of each class.
    fn objects(&mut self, model: &GraphModule) -> HashMap<Sym, ModuleId> {
        enum Todo {
            Body(ModuleId, Vec<Sym>),
            Child(ModuleId, Vec<Sym>),
            Close,
        }
        let mut first = HashMap::new();
        let mut paths: HashMap<ModuleId, Vec<Sym>> = HashMap::new();
        // An explicit stack: modules are nested as deep as the input file says.
        let mut todo = vec![Todo::Body(model.root(), Vec::new())];
        while let Some(next) = todo.pop() {
            match next {
                Todo::Body(id, path) => {
                    self.indent += 1;
                    first.entry(model.module(id).class).or_insert(id);
                    self.attrs_of(model, id);
                    todo.push(Todo::Close);
                    for (name, child) in model.submodules(id).rev() {
                        let mut path = path.clone();
                        path.push(name);
                        todo.push(Todo::Child(child, path));
                    }
                    paths.insert(id, path);
                }
                Todo::Child(id, path) => {
                    self.line();
                    self.out.push_str("submodule ");
                    self.name(path.last().map_or("", |name| name.as_str()), false);
                    if let Some(known) = paths.get(&id) {
                        self.out.push_str(" = ");
                        for (index, name) in known.iter().enumerate() {
                            if index > 0 {
                                self.out.push('.');
                            }
                            self.name(name.as_str(), false);
                        }
                        self.out.push('\n');
                    } else {
                        self.out.push_str(" : ");
                        self.name(model.module(id).class.as_str(), true);
                        self.out.push_str(" {\n");
                        todo.push(Todo::Body(id, path));
                    }
                }
                Todo::Close => {
                    self.indent -= 1;
                    self.line();
                    self.out.push_str("}\n");
                }
            }
        }
        first
    }

    fn attrs_of(&mut self, model: &GraphModule, id: ModuleId) {
        let module = model.module(id);
        for (name, literal) in &module.attrs {
            let ty = attr_type(model, id, *name, literal);
            self.line();
            self.out.push_str("attr ");
            self.name(name.as_str(), false);
            self.put(format_args!(" : {ty} = "));
            // A bool reads better as a word than as PyTorch's 1.
            self.literal(literal, Some(&ty).filter(|ty| **ty != Type::Bool));
            self.out.push('\n');
        }
    }

    fn class(&mut self, model: &GraphModule, name: Sym, class: &Class, object: Option<ModuleId>) {
        self.out.push_str("class ");
        self.name(name.as_str(), true);
        for (kind, word) in CLASS_KINDS {
            if kind == class.kind && kind != ClassKind::Module {
                self.put(format_args!(" kind={word}"));
            }
        }
        self.out.push_str(" {\n");
        self.indent += 1;
        let derived = object.map_or_else(Vec::new, |object| derived_fields(model, object));
        let fields = class.fields.iter().map(|(name, ty)| (*name, ty.clone()));
        if !fields.clone().eq(derived) {
            self.line();
            self.out.push_str("fields (");
            for (index, (field, ty)) in fields.enumerate() {
                if index > 0 {
                    self.out.push_str(", ");
                }
                self.name(field.as_str(), false);
                self.put(format_args!(" : {ty}"));
            }
            self.out.push_str(")\n");
        }
        for (constant, literal) in &class.constants {
            let ty = literal.ty();
            self.line();
            self.out.push_str("constant ");
            self.name(constant.as_str(), false);
            self.put(format_args!(" : {ty} = "));
            self.literal(literal, Some(&ty).filter(|ty| **ty != Type::Bool));
            self.out.push('\n');
        }
        for (method, id) in &class.methods {
            self.line();
            self.out.push_str("method ");
            self.name(method.as_str(), false);
            self.method(model, *id);
        }
        self.indent -= 1;
        self.out.push_str("}\n");
    }

    /// Parameters and body.
    fn method(&mut self, model: &GraphModule, id: MethodId) {
        let method = model.method(id);
        if !method.params.is_empty() {
            self.out.push('(');
            for (index, (param, default)) in method.params.iter().enumerate() {
                if index > 0 {
                    self.out.push_str(", ");
                }
                self.name(param.as_str(), false);
                if let Some(default) = default {
                    self.out.push_str(" = ");
                    self.literal(default, None);
                }
            }
            self.out.push(')');
        }
        self.out.push_str(" {\n");
        self.indent += 1;
        self.write_graph(&method.graph);
        self.indent -= 1;
        self.line();
        self.out.push_str("}\n");
    }
}

/// The type that an attribute is declared with.
fn attr_type(model: &GraphModule, id: ModuleId, name: Sym, literal: &Literal) -> Type {
    let class = model.classes.get(&model.module(id).class);
    let declared = class.and_then(|class| class.fields.get(&name));
    declared.cloned().unwrap_or_else(|| literal.ty())
}

/// The fields that a class has when its text lists none: those that its first object shows.
fn derived_fields(model: &GraphModule, object: ModuleId) -> Vec<(Sym, Type)> {
    let attrs = &model.module(object).attrs;
    let attrs = attrs
        .iter()
        .map(|(name, literal)| (*name, attr_type(model, object, *name, literal)));
    let children = model.submodules(object);
    let children = children.map(|(name, child)| (name, Type::Class(model.module(child).class)));
    attrs.chain(children).collect()
}
