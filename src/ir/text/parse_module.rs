//! Modules: reading.

use std::ops::Range;

use indexmap::{IndexMap, IndexSet};

use crate::text::cursor::{Parse, Parser};
use crate::text::lex::Kind;
use crate::text::module::CLASS_KINDS;
use crate::text::places::{GraphPlaces, Places};
use crate::{Class, ClassKind, Graph, GraphModule, Literal, ModuleId, Phase, Sym, SymMap, Type};

/// The class of the root when the text is a graph that does not name one.
const MAIN: &str = "__torch__.Main";

/// Deepest nesting of modules.
const MAX_MODULES: usize = 500;

/// A model that is being read. Classes wait for the end, since the objects and the class itself each tell a part.
struct Draft {
    model: GraphModule,
    classes: IndexMap<Sym, ClassDraft>,
    functions: Vec<MethodDraft>,
}

#[derive(Default)]
struct ClassDraft {
    kind: Option<ClassKind>,
    /// Fields that the class lists.
    fields: Option<SymMap<Type>>,
    /// Fields that its first object shows.
    derived: SymMap<Type>,
    /// Whether its first object was met.
    met: bool,
    constants: SymMap<Literal>,
    methods: IndexMap<Sym, MethodDraft>,
    /// Position of its `class` section; classes without one come last.
    position: Option<usize>,
}

struct MethodDraft {
    name: Sym,
    params: Vec<(Sym, Option<Literal>)>,
    graph: Graph,
    places: GraphPlaces,
}

/// An object whose body is being read.
struct OpenModule {
    id: ModuleId,
    class: Sym,
    /// Whether the class takes its fields from this object.
    shows_fields: bool,
    submodules: SymMap<Type>,
}

impl Parser<'_> {
    /// A model, or a bare graph, which is the `forward` of a root without attributes.
    pub(super) fn model(&mut self) -> Parse<(GraphModule, Places)> {
        if !self.at_word("module") {
            let graph = self.graph()?;
            return Ok(model_of(graph, std::mem::take(&mut self.places)));
        }
        self.bump();
        if self.eat(b'@') {
            self.name_or_string("a module's name")?;
            self.expect(b':')?;
        }
        let class = self.class_name()?;
        let mut draft = Draft {
            model: GraphModule::new(class, "text"),
            classes: IndexMap::new(),
            functions: Vec::new(),
        };
        if self.eat_word("phase") {
            self.expect(b'=')?;
            let span = self.token.span();
            let phase: Result<Phase, String> = self.expect_name("a phase")?.parse();
            draft.model.phase = phase.map_err(|message| self.fault(span, message))?;
        }
        self.expect(b'{')?;
        self.objects(&mut draft, class)?;
        let mut position = 0;
        while !self.at_end() {
            match self.current() {
                "class" => {
                    self.class(&mut draft, position)?;
                    position += 1;
                }
                "function" => {
                    self.bump();
                    let head = self.token.span();
                    let name = self.class_name()?;
                    let function = self.method(name, head)?;
                    draft.functions.push(function);
                }
                _ => return Err(self.unexpected("`class` or `function`")),
            }
        }
        Ok(draft.finish())
    }

    /// The bodies of the root, whose brace is open, and of the modules below it.
    fn objects(&mut self, draft: &mut Draft, class: Sym) -> Parse<()> {
        let mut open = vec![draft.open(draft.model.root(), class)];
        while let Some(top) = open.last_mut() {
            let span = self.token.span();
            if self.eat(b'}') {
                if let Some(closed) = open.pop() {
                    draft.close(closed);
                }
                continue;
            }
            match self.current() {
                "attr" => {
                    self.bump();
                    let name = self.member()?;
                    self.expect(b':')?;
                    let ty = self.ty()?;
                    self.expect(b'=')?;
                    let literal = self.literal(Some(&ty))?;
                    if top.shows_fields {
                        draft.class(top.class).derived.insert(name, ty);
                    }
                    let attrs = &mut draft.model.module_mut(top.id).attrs;
                    if attrs.insert(name, literal).is_some() {
                        return Err(self.fault(span, format!("the attribute {name} stands twice")));
                    }
                }
                "submodule" => {
                    self.bump();
                    let name = self.member()?;
                    if draft.model.submodule(top.id, name).is_some() {
                        return Err(self.fault(span, format!("the submodule {name} stands twice")));
                    }
                    if self.eat(b'=') {
                        let path = self.path()?;
                        let model = &draft.model;
                        let shared = model.resolve(model.root(), &path);
                        let around: Vec<ModuleId> = open.iter().map(|open| open.id).collect();
                        let Some(shared) = shared.filter(|shared| !around.contains(shared)) else {
                            return Err(self.fault(
                                span,
                                "a shared submodule is named by the path of one that stands before and not around it",
                            ));
                        };
                        if let Some(top) = open.last_mut() {
                            let class = draft.model.module(shared).class;
                            top.submodules.insert(name, Type::Class(class));
                            draft.model.set_submodule(top.id, name, shared);
                        }
                        continue;
                    }
                    self.expect(b':')?;
                    let class = self.class_name()?;
                    self.expect(b'{')?;
                    let child = draft.model.add_module(class);
                    draft.model.set_submodule(top.id, name, child);
                    top.submodules.insert(name, Type::Class(class));
                    if open.len() == MAX_MODULES {
                        let message = format!("modules are nested more than {MAX_MODULES} deep");
                        return Err(self.fault(span, message));
                    }
                    open.push(draft.open(child, class));
                }
                "method" => {
                    let class = top.class;
                    self.class_method(draft, class)?;
                }
                _ => return Err(self.unexpected("`attr`, `submodule`, `method` or `}`")),
            }
        }
        Ok(())
    }

    fn class(&mut self, draft: &mut Draft, position: usize) -> Parse<()> {
        let span = self.token.span();
        self.bump();
        let name = self.class_name()?;
        if draft.class(name).position.replace(position).is_some() {
            return Err(self.fault(span, format!("the class {name} stands twice")));
        }
        let mut kind = ClassKind::Module;
        if self.eat_word("kind") {
            self.expect(b'=')?;
            let word = self.current();
            let Some((known, _)) = CLASS_KINDS.iter().find(|(_, known)| *known == word) else {
                return Err(self.unexpected("module, script, namedtuple, enum or interface"));
            };
            kind = *known;
            self.bump();
        }
        draft.class(name).kind = Some(kind);
        self.expect(b'{')?;
        while !self.eat(b'}') {
            match self.current() {
                "fields" => {
                    self.bump();
                    self.expect(b'(')?;
                    let fields = self.list(b')', |p| {
                        let field = p.member()?;
                        p.expect(b':')?;
                        Ok((field, p.ty()?))
                    })?;
                    draft.class(name).fields = Some(fields.into_iter().collect());
                }
                "constant" => {
                    self.bump();
                    let constant = self.member()?;
                    self.expect(b':')?;
                    let ty = self.ty()?;
                    self.expect(b'=')?;
                    let literal = self.literal(Some(&ty))?;
                    draft.class(name).constants.insert(constant, literal);
                }
                "method" => self.class_method(draft, name)?,
                _ => return Err(self.unexpected("`fields`, `constant`, `method` or `}`")),
            }
        }
        Ok(())
    }

    fn class_method(&mut self, draft: &mut Draft, class: Sym) -> Parse<()> {
        let span = self.token.span();
        self.bump();
        let head = self.token.span();
        let name = self.member()?;
        let method = self.method(name, head)?;
        if draft.class(class).methods.insert(name, method).is_some() {
            return Err(self.fault(span, format!("{class} has two methods {name}")));
        }
        Ok(())
    }

    /// `(self, x, y = 1) { graph(…): … }`; the parameters may be left out, and the braces.
    fn method(&mut self, name: Sym, head: Range<usize>) -> Parse<MethodDraft> {
        let mut params = Vec::new();
        if self.eat(b'(') {
            params = self.list(b')', |p| {
                let param = p.member()?;
                let default = if p.eat(b'=') {
                    Some(p.literal(None)?)
                } else {
                    None
                };
                Ok((param, default))
            })?;
        }
        let braced = self.eat(b'{');
        let graph = self.graph()?;
        let places = std::mem::take(&mut self.places);
        if braced {
            self.expect(b'}')?;
        }
        Ok(MethodDraft {
            name,
            params,
            graph,
            places: GraphPlaces { head, ..places },
        })
    }

    fn class_name(&mut self) -> Parse<Sym> {
        Ok(Sym::new(&self.name_or_string("a qualified name")?))
    }

    /// The name of an attribute, submodule, method or parameter.
    fn member(&mut self) -> Parse<Sym> {
        let name = self.name_or_string("a name")?;
        Ok(Sym::new(&name))
    }

    /// `a.b."0"`: names from the root down.
    fn path(&mut self) -> Parse<Vec<Sym>> {
        let mut path = Vec::new();
        loop {
            if self.token.kind == Kind::Str {
                path.push(Sym::new(&self.string()?));
            } else {
                let names = self.expect_name("the path of a submodule")?;
                path.extend(names.split('.').map(Sym::new));
            }
            if !self.eat(b'.') {
                return Ok(path);
            }
        }
    }
}

impl Draft {
    fn class(&mut self, name: Sym) -> &mut ClassDraft {
        self.classes.entry(name).or_default()
    }

    fn open(&mut self, id: ModuleId, class: Sym) -> OpenModule {
        let met = std::mem::replace(&mut self.class(class).met, true);
        OpenModule {
            id,
            class,
            shows_fields: !met,
            submodules: SymMap::default(),
        }
    }

    fn close(&mut self, closed: OpenModule) {
        if closed.shows_fields {
            self.class(closed.class).derived.extend(closed.submodules);
        }
    }

    fn finish(self) -> (GraphModule, Places) {
        let mut model = self.model;
        let mut places = Places::default();
        let mut classes: Vec<_> = self.classes.into_iter().collect();
        classes.sort_by_key(|(_, class)| class.position.unwrap_or(usize::MAX));
        model.classes.clear();
        for (name, class) in classes {
            let made = Class {
                kind: class.kind.unwrap_or(ClassKind::Module),
                fields: class.fields.unwrap_or(class.derived),
                constants: class.constants,
                methods: SymMap::default(),
            };
            model.classes.insert(name, made);
            for (method, body) in class.methods {
                let id = model.add_method(name, method, body.params, body.graph);
                places.insert(id, body.places);
            }
        }
        for function in self.functions {
            let id = model.add_function(function.name, function.params, function.graph);
            places.insert(id, function.places);
        }
        (model, places)
    }
}

/// The model whose only method is this graph. A first parameter of a module class is its `self`.
fn model_of(graph: Graph, places: GraphPlaces) -> (GraphModule, Places) {
    let first = graph.params().first().map(|param| graph.ty(*param));
    let class = match first {
        Some(Type::Class(name)) if !name.as_str().starts_with("__torch__.torch.classes.") => *name,
        _ => Sym::new(MAIN),
    };
    // PyTorch appends a number to the name of a variable, one for each assignment.
    let mut names = IndexSet::new();
    for param in graph.params() {
        let name = graph.value(*param).name().map(ToString::to_string);
        let name = name.as_deref().unwrap_or_default();
        let base = match name.rsplit_once('.') {
            Some((base, number)) if number.bytes().all(|b| b.is_ascii_digit()) => base,
            _ => name,
        };
        if !names.insert(base.to_owned()) {
            names.insert(name.to_owned());
        }
    }
    let params = names.iter().map(|name| (Sym::new(name), None)).collect();
    let mut model = GraphModule::new(class, "text");
    let forward = model.add_method(class, Sym::new("forward"), params, graph);
    let mut all = Places::default();
    all.insert(forward, places);
    (model, all)
}
