//! The rules of structural operators: what takes the place of a schema for `prim::If`, `prim::Constant` and their kin.

use crate::{Attr, BlockId, Literal, Node, NodeId, Type, ValueId};

use super::Report;
use super::types::may_be;

pub(super) fn check(report: &mut Report<'_>, id: NodeId) {
    let graph = report.graph;
    let rule = Rule { report, id };
    let node = graph.node(id);
    match node.op().name().as_str() {
        "prim::Constant" => rule.constant(),
        "prim::If" => rule.branch(),
        "prim::Loop" => rule.repeat(),
        "prim::GetAttr" => rule.attribute(1, 1),
        "prim::SetAttr" => rule.attribute(2, 0),
        "prim::CallMethod" => rule.named(node.inputs().len().max(1), 1),
        "prim::CallFunction" => rule.counts(node.inputs().len().max(1), 1),
        "prim::Enter" | "prim::Exit" => rule.counts(1, 1),
        "prim::ListConstruct" => rule.list(),
        "prim::ListUnpack" => rule.list_unpack(),
        "prim::TupleConstruct" => rule.tuple(),
        "prim::TupleUnpack" => rule.tuple_unpack(),
        "prim::TupleIndex" => rule.counts(2, 1),
        "prim::TupleSlice" | "prim::unchecked_cast" => rule.counts(1, 1),
        "prim::DictConstruct" => rule.dict(),
        "prim::isinstance" => rule.isinstance(),
        "prim::CreateObject" | "prim::Uninitialized" => rule.counts(0, 1),
        _ => {}
    }
}

/// One node under its rule.
struct Rule<'r, 'a> {
    report: &'r mut Report<'a>,
    id: NodeId,
}

impl<'a> Rule<'_, 'a> {
    fn constant(mut self) {
        self.no_blocks();
        if !self.has(0, 1) {
            return;
        }
        let found = self.ty(self.node().outputs()[0]);
        // Without a value it is None, or a function, which its type names.
        let value = self.node().literal("value").unwrap_or(&Literal::None);
        let is_function = matches!(value, Literal::None) && matches!(found, Type::Function(_));
        if !is_function && !fits(value, found) {
            self.wrong(format!("the value must be {}, not {found}", value.ty()));
        }
    }

    fn branch(mut self) {
        let outputs = self.node().outputs();
        if self.node().blocks().len() != 2 {
            let count = self.node().blocks().len();
            self.wrong(format!("it must have 2 blocks, not {count}"));
            return;
        }
        if self.has(1, outputs.len()) {
            self.is(self.node().inputs()[0], &Type::Bool, "the condition");
        }
        for block in self.node().blocks() {
            if self.block_counts(*block, 0, outputs.len()) {
                self.results(*block, 0, outputs);
            }
        }
    }

    fn repeat(mut self) {
        let (inputs, outputs) = (self.node().inputs(), self.node().outputs());
        let &[body] = self.node().blocks() else {
            let count = self.node().blocks().len();
            self.wrong(format!("it must have 1 block, not {count}"));
            return;
        };
        if !self.has(outputs.len() + 2, outputs.len())
            || !self.block_counts(body, outputs.len() + 1, outputs.len() + 1)
        {
            return;
        }
        self.is(inputs[0], &Type::Int, "the trip count");
        self.is(inputs[1], &Type::Bool, "the first condition");
        let block = self.report.graph.block(body);
        self.is(block.results()[0], &Type::Bool, "the next condition");
        self.is(block.params()[0], &Type::Int, "the counter");
        for (param, input) in block.params()[1..].iter().zip(&inputs[2..]) {
            self.is(*input, self.ty(*param), "a carried value");
        }
        self.results(body, 1, outputs);
        self.results(body, 1, &block.params()[1..]);
    }

    fn attribute(mut self, inputs: usize, outputs: usize) {
        let object = self.node().inputs().first().map(|object| self.ty(*object));
        if let Some(found) = object
            && !matches!(found, Type::Class(_) | Type::Any | Type::Named(_))
        {
            self.wrong(format!("the object must be of a class, not {found}"));
        }
        self.named(inputs, outputs);
    }

    fn named(mut self, inputs: usize, outputs: usize) {
        self.counts_of(inputs, outputs);
        if self.node().name_attr().is_none() {
            self.wrong("it has no attribute `name`");
        }
    }

    fn list(mut self) {
        if !self.has(self.node().inputs().len(), 1) {
            return;
        }
        match self.ty(self.node().outputs()[0]) {
            Type::List(element) => {
                for input in self.node().inputs() {
                    self.is(*input, element, "an element");
                }
            }
            found => self.wrong(format!("the output must be a list, not {found}")),
        }
    }

    fn list_unpack(mut self) {
        if !self.has(1, self.node().outputs().len()) {
            return;
        }
        match self.ty(self.node().inputs()[0]) {
            Type::List(element) => self.outputs_are(|_| Some(element)),
            found => self.wrong(format!("the input must be a list, not {found}")),
        }
    }

    fn tuple(mut self) {
        if !self.has(self.node().inputs().len(), 1) {
            return;
        }
        let found = self.ty(self.node().outputs()[0]);
        match found.elements() {
            Some(elements) if elements.len() == self.node().inputs().len() => {
                for (input, element) in self.node().inputs().iter().zip(&elements) {
                    self.is(*input, element, "an element");
                }
            }
            _ => {
                let count = self.node().inputs().len();
                self.wrong(format!(
                    "the output must be a tuple of {count}, not {found}"
                ));
            }
        }
    }

    fn tuple_unpack(mut self) {
        if !self.has(1, self.node().outputs().len()) {
            return;
        }
        let found = self.ty(self.node().inputs()[0]);
        match found.elements() {
            Some(elements) if elements.len() == self.node().outputs().len() => {
                self.outputs_are(|index| elements.get(index));
            }
            _ => {
                let count = self.node().outputs().len();
                self.wrong(format!("the input must be a tuple of {count}, not {found}"));
            }
        }
    }

    fn dict(mut self) {
        if !self.has(self.node().inputs().len(), 1) {
            return;
        }
        match self.ty(self.node().outputs()[0]) {
            Type::Dict(entry) if self.node().inputs().len().is_multiple_of(2) => {
                for pair in self.node().inputs().chunks(2) {
                    self.is(pair[0], &entry.0, "a key");
                    self.is(pair[1], &entry.1, "a value");
                }
            }
            Type::Dict(_) => self.wrong("a key has no value"),
            found => self.wrong(format!("the output must be a dict, not {found}")),
        }
    }

    fn isinstance(mut self) {
        if self.has(1, 1) {
            self.is(self.node().outputs()[0], &Type::Bool, "the output");
        }
        if !matches!(self.node().attr("types"), Some(Attr::Types(_))) {
            self.wrong("it has no attribute `types`");
        }
    }

    fn counts(mut self, inputs: usize, outputs: usize) {
        self.counts_of(inputs, outputs);
    }

    fn counts_of(&mut self, inputs: usize, outputs: usize) {
        self.no_blocks();
        self.has(inputs, outputs);
    }

    fn has(&mut self, inputs: usize, outputs: usize) -> bool {
        let found = (self.node().inputs().len(), self.node().outputs().len());
        if found != (inputs, outputs) {
            self.wrong(format!(
                "it must have {inputs} inputs and {outputs} outputs, not {} and {}",
                found.0, found.1
            ));
        }
        found == (inputs, outputs)
    }

    fn no_blocks(&mut self) {
        if !self.node().blocks().is_empty() {
            self.wrong("it must have no blocks");
        }
    }

    fn block_counts(&mut self, block: BlockId, params: usize, results: usize) -> bool {
        let found = self.report.graph.block(block);
        let found = (found.params().len(), found.results().len());
        if found != (params, results) {
            let mut blocks = self.node().blocks().iter();
            let index = blocks.position(|nested| *nested == block).unwrap_or(0);
            self.wrong(format!(
                "block{index} must have {params} parameters and {results} results, not {} and {}",
                found.0, found.1
            ));
        }
        found == (params, results)
    }

    /// The results of a block from `skip` on become `values`.
    fn results(&mut self, block: BlockId, skip: usize, values: &[ValueId]) {
        let results = &self.report.graph.block(block).results()[skip..];
        for (result, value) in results.iter().zip(values) {
            self.is(*result, self.ty(*value), "a result");
        }
    }

    fn outputs_are<'t>(&mut self, expected: impl Fn(usize) -> Option<&'t Type>) {
        for (index, output) in self.node().outputs().iter().enumerate() {
            let found = self.ty(*output);
            if let Some(expected) = expected(index)
                && !may_be(found, expected)
            {
                self.wrong(format!("output {index} must be {expected}, not {found}"));
            }
        }
    }

    fn is(&mut self, value: ValueId, expected: &Type, what: &str) {
        let found = self.ty(value);
        if !is_kind_of(found, expected) {
            self.wrong(format!("{what} must be {expected}, not {found}"));
        }
    }

    fn wrong(&mut self, message: impl Into<String>) {
        self.report.node(self.id, message);
    }

    fn node(&self) -> Node<'a> {
        self.report.graph.node(self.id)
    }

    fn ty(&self, value: ValueId) -> &'a Type {
        self.report.graph.ty(value)
    }
}

/// Whether a constant may be typed like this.
fn fits(value: &Literal, ty: &Type) -> bool {
    match (value, ty.unwrap_optional()) {
        // Nobody knows the payload.
        (Literal::Opaque, _) => true,
        (Literal::List(_, elements), Type::List(element)) => {
            elements.iter().all(|value| fits(value, element))
        }
        (Literal::Tuple(values), Type::Tuple(elements)) => {
            values.len() == elements.len()
                && values.iter().zip(elements.iter()).all(|(v, t)| fits(v, t))
        }
        (Literal::Tuple(values), Type::NamedTuple(named)) => values.len() == named.fields.len(),
        (Literal::Dict(_, entries), Type::Dict(types)) => entries
            .iter()
            .all(|(key, value)| fits(key, &types.0) && fits(value, &types.1)),
        (Literal::Function(_), Type::Function(_)) => true,
        (value, _) => is_kind_of(&value.ty(), ty),
    }
}

/// Whether a value of type `found` may stand where `expected` is asked for, whatever is known of a tensor.
fn is_kind_of(found: &Type, expected: &Type) -> bool {
    match expected {
        Type::Tensor(_) => found.is_subtype_of(&Type::TENSOR),
        _ => found.is_subtype_of(expected),
    }
}
