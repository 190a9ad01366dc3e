//! What a node does besides computing its outputs.
//!
//! An operator's declaration holds for all its inputs. Of a node more is known: dropout that does not train is no longer random, and
//! a batch normalization that does not train writes to nothing.

use crate::ops::{training_flag, undeclared_writes};
use crate::{Effects, Graph, Literal, NodeId};

impl Graph {
    /// What running the node does besides computing its outputs, with all that is nested in it.
    pub fn effects(&self, node: NodeId) -> Effects {
        if self.node(node).blocks().is_empty() {
            return self.own_effects(node);
        }
        let mut nodes = vec![node];
        for block in self.node(node).blocks() {
            nodes.extend(self.walk_block(*block));
        }
        let effects = nodes.into_iter().map(|node| self.own_effects(node));
        effects.max().unwrap_or(Effects::Pure)
    }

    /// Whether the node itself (not what is nested in it) may write to what this input refers to.
    pub fn writes(&self, node: NodeId, input: usize) -> bool {
        let op = self.node(node).op();
        if !op.writes(input) {
            return false;
        }
        match undeclared_writes(op.name().as_str()) {
            Some((_, flag)) => !self.is_false(node, flag),
            None => true,
        }
    }

    fn own_effects(&self, node: NodeId) -> Effects {
        let op = self.node(node).op();
        let declared = op.info().effects;
        let flag = match declared {
            Effects::Nondeterministic => training_flag(op.name().as_str()),
            Effects::Writes => undeclared_writes(op.name().as_str()).map(|(_, flag)| flag),
            _ => None,
        };
        match flag {
            Some(flag) if self.is_false(node, flag) => Effects::Pure,
            _ => declared,
        }
    }

    fn is_false(&self, node: NodeId, input: usize) -> bool {
        let value = self.node(node).inputs().get(input);
        value.is_some_and(|value| {
            matches!(
                self.constant(*value),
                Some(Literal::Bool(false) | Literal::Int(0))
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{At, Op, Type};

    #[test]
    fn a_constant_flag_takes_randomness_and_writes_away() {
        for (name, count, flag, writes) in [
            ("aten::dropout", 3, 2, None),
            ("aten::batch_norm", 9, 5, Some(3)),
        ] {
            for (training, expected) in [(false, true), (true, false)] {
                let mut graph = Graph::new();
                let entry = graph.entry();
                let x = graph.add_param(entry, Type::TENSOR);
                let train = graph.insert_constant(At::End(entry), Literal::Bool(training));
                let mut inputs = vec![x; count];
                inputs[flag] = train;
                let node = graph.insert(At::End(entry), Op::of(name), &inputs, [Type::TENSOR]);
                assert_eq!(graph.effects(node) == Effects::Pure, expected, "{name}");
                if let Some(input) = writes {
                    assert_eq!(graph.writes(node, input), training);
                }
            }
        }
    }

    #[test]
    fn a_block_node_has_the_effects_of_what_is_nested() {
        let mut graph = Graph::new();
        let entry = graph.entry();
        let cond = graph.add_param(entry, Type::Bool);
        let branch = graph.insert(At::End(entry), Op::of("prim::If"), &[cond], []);
        let (then, _) = (graph.add_block(branch), graph.add_block(branch));
        assert_eq!(graph.effects(branch), Effects::Pure);
        let text = graph.insert_constant(At::End(then), Literal::str("no"));
        let none = graph.insert_constant(At::End(then), Literal::None);
        graph.insert(
            At::End(then),
            Op::of("prim::RaiseException"),
            &[text, none],
            [],
        );
        assert_eq!(graph.effects(branch), Effects::SideEffects);
    }
}
