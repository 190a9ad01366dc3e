//! Forks: a nested function becomes the graph that a `prim::fork` carries.

use planish_ir::{At, Attr, Graph, Literal, Op, Type, ValueId};

use super::Emitter;
use super::scope::Sugar;
use crate::error::Result;
use crate::torchscript::cleanup;
use crate::torchscript::code::ast::{Expr, Span};

impl Emitter<'_, '_> {
    /// `fork(f)`: a future of what the nested function `f` returns.
    pub(super) fn fork(&mut self, body: &Expr, span: Span) -> Result<ValueId> {
        let Sugar::Closure(function) = self.expr(body, None)? else {
            return Err(self.fail(span, "a fork of what is no nested function"));
        };
        // The body is emitted where it stands, as it sees the variables around it, and lifted out then.
        let place = self.insert(Op::of("prim::Closure"), &[], [], span);
        let around = self.block;
        self.block = self.graph.add_block(place);
        self.scope.open();
        let returned = self.body(&function.body);
        self.scope.close();
        let block = std::mem::replace(&mut self.block, around);
        let returned = match returned? {
            Some((value, _)) => value,
            None => self.constant(Literal::None),
        };
        let future = Type::Future(self.ty(returned).clone().into());
        self.graph.push_result(block, returned);
        let (mut graph, mut captured) = self.graph.outlined(block);
        self.graph.erase(place);
        self.keep_constants(&mut graph, &mut captured);
        cleanup::run(&mut graph);
        let fork = self.insert(Op::of("prim::fork"), &captured, [future], span);
        self.graph
            .set_attr(fork, "Subgraph", Attr::Graph(graph.into()));
        Ok(self.graph.output(fork))
    }

    /// Constants are no captured variables: the graph has its own.
    fn keep_constants(&self, graph: &mut Graph, captured: &mut Vec<ValueId>) {
        let entry = graph.entry();
        for at in (0..captured.len()).rev() {
            let Some(literal) = self.graph.constant(captured[at]) else {
                continue;
            };
            let ty = self.ty(captured[at]).clone();
            let constant = graph.insert_typed_constant(At::Start(entry), literal.clone(), ty);
            let param = graph.params()[at];
            graph.replace_all_uses(param, constant);
            graph.remove_param(entry, at);
            captured.remove(at);
        }
    }
}
