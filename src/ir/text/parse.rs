//! Graphs: reading.
//!
//! What stands in a graph is one flat run of statements: nodes, and the opening and closing of blocks. So nesting costs the parser no
//! stack, and a fault in one line leaves the next ones readable.

use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::sync::Arc;

use crate::text::cursor::{Parse, Parser, Reported};
use crate::text::lex::{Kind, Token, token_at};
use crate::text::note::Note;
use crate::text::overload::{explicit, implied};
use crate::text::places::GraphPlaces;
use crate::{At, Attr, BlockId, Graph, Literal, NodeId, Op, Sym, Type, ValueId, ValueName};

/// Deepest nesting of blocks: what walks a graph by recursion must not run out of stack.
pub(super) const MAX_BLOCKS: usize = 500;

/// A graph that is being read.
struct Draft<'s> {
    graph: Graph,
    /// Values that can be read here.
    visible: HashMap<&'s str, ValueId>,
    /// Names whose definition is faulty: uses of them are not reported again.
    faulty: HashSet<&'s str>,
    open: Vec<OpenBlock<'s>>,
    /// Nodes whose operator ends in a number, such as `prim::fork_0`: a `with` clause may give them a graph.
    numbered: Vec<(NodeId, String)>,
    places: GraphPlaces,
}

struct OpenBlock<'s> {
    block: BlockId,
    /// The node read last, to which further blocks belong.
    last: Option<NodeId>,
    names: Vec<&'s str>,
}

/// Name, type and place of a value that is being defined.
struct Binding<'s> {
    name: &'s str,
    ty: Type,
    token: Token,
}

impl<'s> Parser<'s> {
    /// `graph(%x : T, …): … return (…)`, and the `with` clauses of its nodes.
    pub(super) fn graph(&mut self) -> Parse<Graph> {
        self.nested("graphs", Self::graph_body)
    }

    fn graph_body(&mut self) -> Parse<Graph> {
        let head = self.token.span();
        self.expect_name("`graph`")?;
        let mut draft = Draft::new(head);
        self.expect(b'(')?;
        let entry = draft.graph.entry();
        self.block_params(&mut draft, entry)?;
        let mut faulty = false;
        loop {
            let start = self.token.start;
            // What a faulty line lost may have been the end.
            if faulty && self.at_end() {
                return Err(Reported);
            }
            match self.statement(&mut draft) {
                Ok(true) => break,
                Ok(false) => {}
                Err(Reported) => {
                    faulty = true;
                    if self.gives_up() {
                        return Err(Reported);
                    }
                    self.next_line(start);
                }
            }
        }
        if faulty {
            return Err(Reported);
        }
        self.with_clauses(&mut draft)?;
        self.places = draft.places;
        Ok(draft.graph)
    }

    /// One node, or the opening or closing of a block; true when it was the end of the graph.
    fn statement(&mut self, draft: &mut Draft<'s>) -> Parse<bool> {
        let span = self.token.span();
        match self.token.kind {
            Kind::End => {
                let nested = draft.open.len() > 1;
                let end = if nested { "`->`" } else { "`return`" };
                Err(self.unexpected(&format!("a node or {end}")))
            }
            Kind::Arrow => {
                self.bump();
                if draft.open.len() == 1 {
                    return Err(self.fault(span, "a graph ends with `return`, a block with `->`"));
                }
                let results = self.operands(draft);
                // The block is over, whatever its results are.
                let closed = draft.open.pop();
                for name in closed.iter().flat_map(|closed| &closed.names) {
                    draft.visible.remove(name);
                }
                if let Some(closed) = closed {
                    draft.graph.set_results(closed.block, &results?);
                }
                Ok(false)
            }
            Kind::Name if self.peek().kind == Kind::Mark(b'(') => {
                if self.eat_word("return") {
                    if draft.open.len() > 1 {
                        return Err(
                            self.fault(span, "a block ends with `->`, a graph with `return`")
                        );
                    }
                    let results = self.operands(draft)?;
                    draft.graph.set_results(draft.graph.entry(), &results);
                    return Ok(true);
                }
                self.open_block(draft)
            }
            _ => self.node(draft).map(|()| false),
        }
    }

    fn open_block(&mut self, draft: &mut Draft<'s>) -> Parse<bool> {
        let span = self.token.span();
        self.bump();
        self.expect(b'(')?;
        let Some(node) = draft.open.last().and_then(|open| open.last) else {
            return Err(self.fault(span, "no node stands before this block"));
        };
        if draft.open.len() == MAX_BLOCKS {
            return Err(self.fault(
                span,
                format!("blocks are nested more than {MAX_BLOCKS} deep"),
            ));
        }
        let block = draft.graph.add_block(node);
        draft.open.push(OpenBlock::new(block));
        self.block_params(draft, block)?;
        Ok(false)
    }

    /// Parameters after the opening parenthesis, and the colon.
    fn block_params(&mut self, draft: &mut Draft<'s>, block: BlockId) -> Parse<()> {
        let params = self.list(b')', Self::binding)?;
        for param in params {
            let value = draft.graph.add_param(block, param.ty.clone());
            self.define(draft, &param, value)?;
        }
        self.expect(b':')
    }

    /// `%x : T`; the type may be missing and is `Tensor` then.
    fn binding(&mut self) -> Parse<Binding<'s>> {
        let token = self.token.clone();
        let name = self.value_name()?;
        let ty = if self.eat(b':') {
            self.ty()?
        } else {
            Type::TENSOR
        };
        Ok(Binding { name, ty, token })
    }

    fn value_name(&mut self) -> Parse<&'s str> {
        let text = self.expect_kind(Kind::Value, "a value such as `%x`")?;
        if text.len() == 1 {
            let at = self.token.start;
            return Err(self.fault(at..at, "a value has a name"));
        }
        Ok(&text[1..])
    }

    fn define(
        &mut self,
        draft: &mut Draft<'s>,
        binding: &Binding<'s>,
        value: ValueId,
    ) -> Parse<()> {
        if draft.visible.insert(binding.name, value).is_some() {
            return Err(self.fault(
                binding.token.span(),
                format!("%{} is defined twice", binding.name),
            ));
        }
        draft.graph.set_name(value, ValueName::new(binding.name));
        if let Some(open) = draft.open.last_mut() {
            open.names.push(binding.name);
        }
        Ok(())
    }

    /// `(%a, %b)`.
    fn operands(&mut self, draft: &Draft<'s>) -> Parse<Vec<ValueId>> {
        self.expect(b'(')?;
        let found = self.list(b')', |p| {
            let span = p.token.span();
            let name = p.value_name()?;
            match draft.visible.get(name) {
                Some(value) => Ok(Some(*value)),
                None if draft.faulty.contains(name) => Ok(None),
                None => {
                    p.fault(span, format!("%{name} is not defined here"));
                    Ok(None)
                }
            }
        })?;
        found.into_iter().collect::<Option<_>>().ok_or(Reported)
    }

    fn node(&mut self, draft: &mut Draft<'s>) -> Parse<()> {
        let mut outputs = Vec::new();
        let read = self.node_parts(draft, &mut outputs);
        if read.is_err() {
            draft
                .faulty
                .extend(outputs.iter().map(|output| output.name));
            // Something for the blocks to belong to that may follow; nobody will see this graph.
            if let Some(open) = draft.open.last_mut() {
                let at = At::End(open.block);
                open.last = Some(draft.graph.insert(at, Op::of("prim::Constant"), &[], []));
            }
        }
        read
    }

    fn node_parts(&mut self, draft: &mut Draft<'s>, outputs: &mut Vec<Binding<'s>>) -> Parse<()> {
        let start = self.token.start;
        if self.token.kind == Kind::Value {
            self.outputs(outputs)?;
            self.expect(b'=')?;
        } else {
            self.eat(b'=');
        }
        let namespace = self.expect_name("a node such as `aten::relu(%x)`")?;
        self.expect_kind(Kind::Scope, "`::`")?;
        let name = self.expect_name("an operator's name")?;
        let qualified = format!("{namespace}::{name}");
        let mut attrs = Vec::new();
        if self.eat(b'[') {
            let constant = qualified == "prim::Constant";
            let declared = outputs.first().filter(|_| constant);
            let declared = declared.map(|output| output.ty.clone());
            attrs = self.list(b']', |p| p.attribute(declared.as_ref()))?;
        }
        let inputs = self.operands(draft)?;
        let place = start..self.taken;
        self.skip_scope();
        let note = Note::read(self.text, &self.token);
        let types: Vec<Type> = inputs
            .iter()
            .map(|input| draft.graph.ty(*input).clone())
            .collect();
        let op = match &note.overload {
            Some(overload) => explicit(&format!("{qualified}.{overload}")),
            None if name.contains('.') => explicit(&qualified),
            None => implied(Sym::new(&qualified), &types),
        };
        let open = draft.open.last_mut();
        let block = open.as_ref().map_or(draft.graph.entry(), |open| open.block);
        let node = draft.graph.insert(At::End(block), op, &inputs, []);
        draft.places.nodes.push(place);
        if let Some(open) = open {
            open.last = Some(node);
        }
        for output in &*outputs {
            let value = draft.graph.add_output(node, output.ty.clone());
            self.define(draft, output, value)?;
        }
        draft.graph.set_loc(node, note.loc);
        for (name, attr) in attrs {
            draft.graph.set_attr(node, name.as_str(), attr);
        }
        tidy_constant(&mut draft.graph, node);
        if is_numbered(name) {
            draft.numbered.push((node, qualified));
        }
        Ok(())
    }

    /// `%x : T, %y : U`. A name is in the list before its type, in which there may be a fault.
    fn outputs(&mut self, outputs: &mut Vec<Binding<'s>>) -> Parse<()> {
        loop {
            let token = self.token.clone();
            let name = self.value_name()?;
            let at = outputs.len();
            outputs.push(Binding {
                name,
                ty: Type::TENSOR,
                token,
            });
            if self.eat(b':') {
                outputs[at].ty = self.ty()?;
            }
            if !self.eat(b',') {
                return Ok(());
            }
        }
    }

    /// `name=literal`, `name=Type` or `name=[Type, …]`; `declared` is the type of a constant's value.
    fn attribute(&mut self, declared: Option<&Type>) -> Parse<(Sym, Attr)> {
        let name = Sym::new(&self.name_or_string("an attribute's name")?);
        self.expect(b'=')?;
        let attr = match declared {
            Some(ty) if name == "value" => self.literal(Some(ty))?.into(),
            _ if self.at(b'<') && self.text[self.token.end..].starts_with("Types>") => {
                self.bump();
                self.bump();
                self.bump();
                Attr::Types(Arc::new([]))
            }
            _ if self.at(b'[') && self.type_ahead() => {
                self.bump();
                Attr::Types(self.list(b']', Self::ty)?.into())
            }
            _ if self.type_ahead() => Attr::Type(self.ty()?),
            _ => self.literal(None)?.into(),
        };
        Ok((name, attr))
    }

    /// `, scope: a/b/c`: where a traced call stood among the modules. It ends with the line or at a comment.
    fn skip_scope(&mut self) {
        let word = self.peek();
        if !self.at(b',') || &self.text[word.span()] != "scope" {
            return;
        }
        let rest = &self.text[word.end..];
        let len = rest.find(['\n', '#']).unwrap_or(rest.len());
        // From before the comment, so that it still belongs to this line.
        self.seek(word.end + len);
        let line_end = &self.text[word.end + len..];
        if line_end.starts_with('#') {
            let end = line_end.find('\n').unwrap_or(line_end.len());
            self.token.comment = Some(word.end + len + 1..word.end + len + end);
        }
    }

    /// `with prim::fork_0 = graph(…): …` for the nodes that wait for one. PyTorch prints the clauses of a nested graph right after it,
    /// with numbers of their own: a clause belongs to the innermost graph that still wants it.
    fn with_clauses(&mut self, draft: &mut Draft<'s>) -> Parse<()> {
        while self.at_word("with") {
            let mut ahead = self.peek();
            let start = ahead.start;
            while !matches!(ahead.kind, Kind::Mark(b'=' | b'[') | Kind::End) {
                ahead = token_at(self.text, ahead.end);
            }
            let label = self.text[start..ahead.start].trim_end();
            let Some(index) = draft.numbered.iter().position(|(_, name)| name == label) else {
                return Ok(());
            };
            self.seek(ahead.start);
            let mut attr = "Subgraph";
            if self.eat(b'[') {
                attr = self.expect_name("an attribute's name")?;
                self.expect(b']')?;
            }
            self.expect(b'=')?;
            let body = self.graph()?;
            let node = draft.numbered[index].0;
            if attr == "Subgraph" {
                draft.numbered.remove(index);
            }
            let base = label.rfind('_').map_or(label, |at| &label[..at]);
            draft.graph.set_op(node, Op::of(base));
            draft
                .graph
                .set_attr(node, attr, Attr::Graph(Arc::new(body)));
        }
        Ok(())
    }
}

impl Draft<'_> {
    fn new(head: Range<usize>) -> Self {
        let graph = Graph::new();
        let open = vec![OpenBlock::new(graph.entry())];
        Self {
            graph,
            visible: HashMap::new(),
            faulty: HashSet::new(),
            open,
            numbered: Vec::new(),
            places: GraphPlaces {
                head,
                nodes: Vec::new(),
            },
        }
    }
}

impl OpenBlock<'_> {
    fn new(block: BlockId) -> Self {
        Self {
            block,
            last: None,
            names: Vec::new(),
        }
    }
}

/// Whether a name ends in `_` and digits.
fn is_numbered(name: &str) -> bool {
    name.rsplit_once('_')
        .is_some_and(|(_, digits)| !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()))
}

/// A constant's `None` is the absence of a payload, and a function is named by the attribute `name`.
fn tidy_constant(graph: &mut Graph, node: NodeId) {
    if !graph.node(node).op().is("prim::Constant") {
        return;
    }
    if matches!(graph.node(node).literal("value"), Some(Literal::None)) {
        graph.remove_attr(node, "value");
    }
    let [output] = *graph.node(node).outputs() else {
        return;
    };
    let function = match graph.node(node).str_attr("name") {
        Some(name) if matches!(graph.ty(output), Type::Function(_)) => Sym::new(name),
        _ => return,
    };
    graph.remove_attr(node, "name");
    graph.set_attr(node, "value", Literal::Function(function));
    graph.set_ty(output, Type::Function(function));
}
