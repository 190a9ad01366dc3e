//! What a rewrite may rely on besides the graph's shape: which values are constant, and what may be written to when.
//!
//! The alias analysis is made once: before the first rewrite where anything writes, else when a rule first asks what is shared. It stays
//! true: a rewrite only replaces values that nobody writes to and nobody shares by fresh ones, and the value that takes a root's place is
//! written to and shared exactly as the root's was. Two values that become one are written to by nobody.

use std::cell::OnceCell;
use std::collections::{HashMap, HashSet};

use foldhash::fast::FixedState;
use planish_ir::entity::EntityId;
use planish_ir::{
    DType, Effects, Graph, GraphModule, Literal, ModuleId, NodeId, Sym, Type, ValueId,
};
use smallvec::{SmallVec, smallvec};

use crate::analysis::alias::{Aliases, is_mutable};
use crate::analysis::grid::{Grid, codes, is_per_tensor};
use crate::analysis::objects::{Objects, attribute_read, attribute_value, objects};

/// Attributes that some method assigns or writes to.
pub(crate) type Written = HashSet<(ModuleId, Sym)>;

/// What shares storage with what, and what is written to.
struct Sharing {
    aliases: Aliases,
    /// Values with ids from here on are newer than the analysis.
    known: usize,
}

/// What is known of a graph while it is rewritten.
pub(crate) struct Facts<'m> {
    model: &'m GraphModule,
    objects: Objects,
    written: &'m Written,
    /// What is known from the beginning, if anything writes to anything.
    writes: Option<Sharing>,
    /// What was found when it was asked for, if nothing does.
    asked: OnceCell<Sharing>,
    /// For the result of a rewrite, the value whose place it took.
    in_place_of: HashMap<ValueId, ValueId, FixedState>,
}

impl<'m> Facts<'m> {
    /// Analyses a graph that is a method of the root of `model`.
    pub(crate) fn new(model: &'m GraphModule, graph: &Graph, written: &'m Written) -> Self {
        let objects = root_objects(model, graph);
        let aliases = Aliases::of_writes(graph, &objects);
        Self::of(model, graph, (objects, aliases), written)
    }

    /// The same of a graph whose writes have just been looked for.
    pub(crate) fn of(
        model: &'m GraphModule,
        graph: &Graph,
        (objects, aliases): (Objects, Aliases),
        written: &'m Written,
    ) -> Self {
        let writes = !aliases.nothing_is_written();
        let known = graph.value_capacity();
        Self {
            model,
            written,
            writes: writes.then_some(Sharing { aliases, known }),
            asked: OnceCell::new(),
            objects,
            in_place_of: HashMap::default(),
        }
    }

    /// What is known of a graph that was made of the one that was analysed.
    pub(crate) fn again(&self, graph: &Graph) -> Self {
        Self::new(self.model, graph, self.written)
    }

    /// How the elements of a tensor are quantized, as far as it is the same on every run.
    pub(crate) fn grid(&self, graph: &Graph, value: ValueId) -> Option<Grid> {
        Grid::of(graph, &|value| self.literal(graph, value), value)
    }

    /// Whether one scale and one zero point stand for all elements of a tensor of codes.
    pub(crate) fn is_per_tensor(&self, graph: &Graph, value: ValueId) -> bool {
        is_per_tensor(graph, &|value| self.literal(graph, value), value)
    }

    /// The type of a tensor's codes, as far as it is told near by.
    pub(crate) fn codes(&self, graph: &Graph, value: ValueId) -> Option<DType> {
        codes(graph, &|value| self.literal(graph, value), value)
    }

    /// The grid that a quantize operator is told.
    pub(super) fn grid_told(&self, graph: &Graph, operands: [ValueId; 3]) -> Option<Grid> {
        Grid::told(graph, &|value| self.literal(graph, value), operands)
    }

    /// Takes note of a rewrite.
    pub(super) fn replaced(&mut self, old: ValueId, new: ValueId) {
        self.in_place_of.insert(new, old);
    }

    /// The constant that a value is, also when it is read from an attribute that nothing changes.
    pub(crate) fn literal<'a>(&'a self, graph: &'a Graph, value: ValueId) -> Option<&'a Literal> {
        if let Some(literal) = graph.constant(value) {
            return (!literal.is_opaque()).then_some(literal);
        }
        let key = attribute_read(graph, &self.objects, graph.producer(value)?)?;
        if self.written.contains(&key) {
            return None;
        }
        let constant = || {
            self.model
                .classes
                .get(&self.model.module(key.0).class)?
                .constants
                .get(&key.1)
        };
        attribute_value(self.model, graph, &self.objects, value).or_else(constant)
    }

    /// Whether a value is the same on every run: a constant, an attribute that nothing changes, or computed from such alone.
    pub(crate) fn constant(&self, graph: &Graph, value: ValueId) -> Result<(), String> {
        let mut stack: SmallVec<[ValueId; 8]> = smallvec![value];
        let mut seen = HashSet::with_hasher(FixedState::default());
        while let Some(at) = stack.pop() {
            // Most are constants: behind them there is nothing to meet twice.
            let is_leaf = |node| graph.node(node).inputs().is_empty();
            if !graph.producer(at).is_some_and(is_leaf) && !seen.insert(at) {
                continue;
            }
            if is_mutable(graph.ty(at)) && self.is_written(at) {
                return Err("something writes to it".to_owned());
            }
            let Some(node) = graph.producer(at) else {
                return Err("it depends on an input".to_owned());
            };
            if graph.constant(at).is_some() {
                continue;
            }
            if let Some(key) = attribute_read(graph, &self.objects, node) {
                if !self.written.is_empty() && self.written.contains(&key) {
                    return Err(format!("attribute {} is assigned or written to", key.1));
                }
                continue;
            }
            let blocks = graph.node(node).blocks();
            let branches = graph.node(node).op().is("prim::If");
            if graph.effects(node) != Effects::Pure || !(branches || blocks.is_empty()) {
                return Err(format!(
                    "it is computed by {}",
                    graph.node(node).op().name()
                ));
            }
            // Whichever branch is taken is taken on every run.
            for block in blocks {
                stack.extend_from_slice(graph.block(*block).results());
            }
            stack.extend_from_slice(graph.node(node).inputs());
        }
        Ok(())
    }

    /// The shape of a tensor that is constant up to quantization.
    pub(crate) fn shape(&self, graph: &Graph, value: ValueId) -> Option<Vec<i64>> {
        let mut at = value;
        loop {
            if let Some(Literal::Tensor(tensor)) = self.literal(graph, at) {
                return Some(tensor.shape().to_vec());
            }
            let node = graph.node(graph.producer(at)?);
            let keeps_shape = [
                "aten::dequantize",
                "aten::quantize_per_tensor",
                "aten::quantize_per_channel",
            ];
            if !keeps_shape.iter().any(|op| node.op().is(op)) {
                return None;
            }
            at = *node.inputs().first()?;
        }
    }

    /// Whether running a node, with all that is nested in it, may change what one of these values refers to.
    pub(crate) fn may_write(&self, graph: &Graph, node: NodeId, values: &[ValueId]) -> bool {
        let mut nested = Vec::new();
        for block in graph.node(node).blocks() {
            nested.extend(graph.walk_block(*block));
        }
        let mut nodes = std::iter::once(node).chain(nested);
        nodes.any(|id| self.may_itself_write(graph, id, values))
    }

    fn may_itself_write(&self, graph: &Graph, id: NodeId, values: &[ValueId]) -> bool {
        let node = graph.node(id);
        match node.op().info().effects {
            Effects::Unknown => return true,
            Effects::Writes => {}
            // An attribute that is assigned is another one from then on: what was read before stays what it was.
            _ => return false,
        }
        let mut written = node
            .inputs()
            .iter()
            .enumerate()
            .filter(|(at, _)| graph.writes(id, *at));
        let sharing = self.sharing(graph);
        let shared = |a, b| self.may_alias(sharing, a, b);
        written.any(|(_, written)| values.iter().any(|value| shared(*written, *value)))
    }

    /// Whether what a value refers to may be written to anywhere.
    pub(crate) fn is_written(&self, value: ValueId) -> bool {
        let Some(sharing) = &self.writes else {
            return false;
        };
        self.class(sharing, value)
            .is_some_and(|value| sharing.aliases.is_written(value))
    }

    /// Whether a value comes from outside, and what a node computes goes there.
    pub(super) fn is_handed_through(&self, graph: &Graph, value: ValueId, node: NodeId) -> bool {
        let (sharing, output) = (self.sharing(graph), graph.output(node));
        let from_outside = self.class(sharing, value);
        let from_outside = from_outside.is_some_and(|class| sharing.aliases.is_outside(class));
        let mut results = graph.results().iter();
        from_outside && results.any(|result| self.may_alias(sharing, *result, output))
    }

    fn sharing(&self, graph: &Graph) -> &Sharing {
        let made = || Sharing {
            aliases: Aliases::new(graph, &self.objects),
            known: graph.value_capacity(),
        };
        let known = self.writes.as_ref();
        known.unwrap_or_else(|| self.asked.get_or_init(made))
    }

    fn may_alias(&self, sharing: &Sharing, a: ValueId, b: ValueId) -> bool {
        match (self.class(sharing, a), self.class(sharing, b)) {
            (Some(a), Some(b)) => sharing.aliases.may_alias(a, b),
            _ => a == b,
        }
    }

    /// The value that stands for this one in the analysis; `None` when it is new and nobody shares it.
    fn class(&self, sharing: &Sharing, value: ValueId) -> Option<ValueId> {
        let mut at = value;
        while at.index() >= sharing.known {
            at = *self.in_place_of.get(&at)?;
        }
        Some(at)
    }
}

/// Which values of a method of the root are modules; none when the graph does not take the module.
pub(crate) fn root_objects(model: &GraphModule, graph: &Graph) -> Objects {
    match graph.params().first().map(|this| graph.ty(*this)) {
        Some(Type::Class(_)) => objects(model, model.root(), graph),
        _ => Objects::new(),
    }
}
