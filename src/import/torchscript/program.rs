//! Everything that emitting functions shares: the code, the model that grows, the signatures.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::rc::Rc;

use indexmap::{IndexMap, IndexSet};
use planish_ir::schema::Schema;
use planish_ir::{ClassKind, GraphModule, Sym};

use super::code::ast::Function;
use super::emit::{self, Emitted};
use super::library::Library;
use super::objects::Restore;
use crate::error::{Error, Result};

/// A model under construction.
#[derive(Debug)]
pub(super) struct Program<'a> {
    pub(super) library: Library<'a>,
    pub(super) model: GraphModule,
    /// File format version: what some operators mean depends on it.
    pub(super) version: u32,
    /// Free functions that some graph calls, in the order in which they were met.
    pub(super) wanted: IndexSet<String>,
    signatures: HashMap<String, Rc<Schema>>,
    /// For each emitted method or function, what it calls.
    calls: BTreeMap<String, Vec<String>>,
    failed: IndexMap<String, Error>,
}

impl<'a> Program<'a> {
    pub(super) fn new(library: Library<'a>, model: GraphModule, version: u32) -> Self {
        Self {
            library,
            model,
            version,
            wanted: IndexSet::new(),
            signatures: HashMap::new(),
            calls: BTreeMap::new(),
            failed: IndexMap::new(),
        }
    }

    /// Emits the methods of every class and the functions they call.
    ///
    /// What a method of the root or a `__setstate__` that is to run can reach must be emitted. Other
    /// methods that use what planish does not know are left out, as nothing can call them.
    pub(super) fn emit(&mut self, restores: &[Restore]) -> Result<()> {
        let mut done = HashSet::new();
        let (mut class_at, mut function_at) = (0, 0);
        loop {
            if let Some((name, _)) = self.model.classes.get_index(class_at) {
                let name = *name;
                class_at += 1;
                if done.insert(name) {
                    self.emit_class(name)?;
                }
            } else if let Some(name) = self.wanted.get_index(function_at).cloned() {
                function_at += 1;
                self.emit_function(&name)?;
            } else {
                break;
            }
        }
        self.check_reachable(restores)?;
        self.drop_failed();
        Ok(())
    }

    /// The code of a method, if the class has it, and the file it stands in.
    pub(super) fn method(
        &mut self,
        class: &str,
        name: &str,
    ) -> Result<Option<(Rc<str>, Rc<Function>)>> {
        let Some((file, code)) = self.library.class(class)? else {
            return Ok(None);
        };
        Ok(code.method(name).map(|method| (file, method)))
    }

    /// The signature of a function or method, by qualified name.
    pub(super) fn signature(
        &mut self,
        file: &str,
        name: &str,
        function: &Function,
        class: Option<&str>,
    ) -> Result<Rc<Schema>> {
        if let Some(known) = self.signatures.get(name) {
            return Ok(Rc::clone(known));
        }
        let signature = Rc::new(emit::signature(self, file, function, class)?);
        self.signatures
            .insert(name.to_owned(), Rc::clone(&signature));
        Ok(signature)
    }

    fn emit_class(&mut self, class: Sym) -> Result<()> {
        let Some((file, code)) = self.library.class(class.as_str())? else {
            return Ok(());
        };
        let kind = self.model.classes.get(&class).map(|class| class.kind);
        if matches!(kind, Some(ClassKind::Interface | ClassKind::Enum) | None) {
            return Ok(());
        }
        for method in &code.methods {
            let full = format!("{class}.{}", method.name);
            match emit::function(self, &file, method, Some(class.as_str())) {
                Ok(Emitted {
                    params,
                    graph,
                    calls,
                }) => {
                    let name = Sym::new(&method.name);
                    self.model.add_method(class, name, params, graph);
                    self.calls.insert(full, calls);
                }
                Err(error) => {
                    self.failed.insert(full, error);
                }
            }
        }
        Ok(())
    }

    fn emit_function(&mut self, name: &str) -> Result<()> {
        let Some((file, function)) = self.library.function(name)? else {
            return Ok(());
        };
        match emit::function(self, &file, &function, None) {
            Ok(Emitted {
                params,
                graph,
                calls,
            }) => {
                self.model.add_function(Sym::new(name), params, graph);
                self.calls.insert(name.to_owned(), calls);
            }
            Err(error) => {
                self.failed.insert(name.to_owned(), error);
            }
        }
        Ok(())
    }

    /// Leaves out what calls something that could not be emitted: nothing that is kept calls it.
    fn drop_failed(&mut self) {
        let mut callers: HashMap<&str, Vec<&str>> = HashMap::new();
        for (caller, called) in &self.calls {
            for name in called {
                callers.entry(name).or_default().push(caller);
            }
        }
        let mut failed: HashSet<&str> = self.failed.keys().map(String::as_str).collect();
        let mut todo: Vec<&str> = failed.iter().copied().collect();
        while let Some(name) = todo.pop() {
            let callers = callers.get(name).into_iter().flatten();
            todo.extend(callers.filter(|caller| failed.insert(caller)));
        }
        for (name, class) in &mut self.model.classes {
            let methods = &mut class.methods;
            methods.retain(|method, _| !failed.contains(&*format!("{name}.{method}")));
        }
        let functions = &mut self.model.functions;
        functions.retain(|name, _| !failed.contains(name.as_str()));
    }

    /// Fails with the error of what could not be emitted but can be reached from the root.
    fn check_reachable(&mut self, restores: &[Restore]) -> Result<()> {
        let root = self.model.module(self.model.root()).class;
        let restores = restores.iter();
        let mut todo: Vec<String> = restores
            .map(|restore| format!("{}.__setstate__", restore.class))
            .collect();
        if let Some((_, code)) = self.library.class(root.as_str())? {
            todo.extend(code.methods.iter().map(|m| format!("{root}.{}", m.name)));
        }
        let mut seen = HashSet::new();
        while let Some(name) = todo.pop() {
            if !seen.insert(name.clone()) {
                continue;
            }
            if let Some(error) = self.failed.shift_remove(&name) {
                return Err(error);
            }
            todo.extend(self.calls.get(&name).into_iter().flatten().cloned());
        }
        Ok(())
    }
}
