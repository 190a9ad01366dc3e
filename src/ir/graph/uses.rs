//! Who reads what: the operands of nodes and the results of blocks, and the use lists that mirror them.

use smallvec::SmallVec;

use crate::{BlockId, Graph, NodeId, Use, ValueId};

impl Graph {
    /// Adds an input at the end of a node's inputs.
    pub fn push_input(&mut self, node: NodeId, value: ValueId) {
        let index = self.nodes.operands[node].inputs.len() as u32;
        let slot = self.add_use(value, Use::Input(node, index));
        let nodes = &mut self.nodes;
        nodes.lists.push(&mut nodes.operands[node].inputs, value);
        nodes.slots.push(&mut nodes.margins[node].slots, slot);
    }

    /// Replaces one input of a node.
    pub fn set_input(&mut self, node: NodeId, index: usize, value: ValueId) {
        let (old, slot) = (
            self.nodes.inputs(node)[index],
            self.nodes.slots(node)[index],
        );
        self.remove_use(old, slot);
        let slot = self.add_use(value, Use::Input(node, index as u32));
        let inputs = self.nodes.operands[node].inputs;
        self.nodes.lists.get_mut(inputs)[index] = value;
        self.nodes.set_slot(node, index, slot);
    }

    /// Replaces all inputs of a node.
    pub fn set_inputs(&mut self, node: NodeId, inputs: &[ValueId]) {
        self.drop_inputs(node);
        self.add_inputs(node, inputs);
    }

    /// Replaces the results of a block.
    pub fn set_results(&mut self, block: BlockId, results: &[ValueId]) {
        // From the last: a removal may move the slot of an earlier result, never of a removed one.
        while let Some(value) = self.blocks[block].results.last().copied() {
            let slot = self.blocks[block].result_slots[self.blocks[block].results.len() - 1];
            self.remove_use(value, slot);
            self.blocks[block].results.pop();
            self.blocks[block].result_slots.pop();
        }
        for value in results {
            self.push_result(block, *value);
        }
    }

    /// Adds a result at the end of a block's results.
    pub fn push_result(&mut self, block: BlockId, value: ValueId) {
        let index = self.blocks[block].results.len() as u32;
        let slot = self.add_use(value, Use::Result(block, index));
        self.blocks[block].results.push(value);
        self.blocks[block].result_slots.push(slot);
    }

    /// Makes one use read another value.
    pub fn set_use(&mut self, at: Use, value: ValueId) {
        match at {
            Use::Input(node, index) => self.set_input(node, index as usize, value),
            Use::Result(block, index) => {
                let index = index as usize;
                let (old, slot) = (
                    self.blocks[block].results[index],
                    self.blocks[block].result_slots[index],
                );
                self.remove_use(old, slot);
                let slot = self.add_use(value, at);
                self.blocks[block].results[index] = value;
                self.blocks[block].result_slots[index] = slot;
            }
        }
    }

    /// Makes every use of `old` read `new`.
    pub fn replace_all_uses(&mut self, old: ValueId, new: ValueId) {
        if old == new {
            return;
        }
        while let Some(at) = self.values.uses(old).last().copied() {
            self.set_use(at, new);
        }
    }

    /// Removes one result of a block.
    pub fn remove_result(&mut self, block: BlockId, index: usize) {
        let mut results = self.blocks[block].results.clone();
        results.remove(index);
        self.set_results(block, &results);
    }

    /// Removes one input of a node.
    pub fn remove_input(&mut self, node: NodeId, index: usize) {
        let mut inputs = self.nodes.inputs(node).to_vec();
        inputs.remove(index);
        self.set_inputs(node, &inputs);
    }

    /// Gives a node without inputs these.
    pub(super) fn add_inputs(&mut self, node: NodeId, inputs: &[ValueId]) {
        let slots: SmallVec<[u32; 8]> = (0..)
            .zip(inputs)
            .map(|(index, input)| self.add_use(*input, Use::Input(node, index)))
            .collect();
        self.nodes.operands[node].inputs = self.nodes.lists.list(inputs);
        self.nodes.margins[node].slots = self.nodes.slots.list(&slots);
    }

    pub(super) fn drop_inputs(&mut self, node: NodeId) {
        // From the last: a removal may move the slot of an earlier input, never of a removed one.
        for index in (0..self.nodes.inputs(node).len()).rev() {
            let (value, slot) = (
                self.nodes.inputs(node)[index],
                self.nodes.slots(node)[index],
            );
            self.remove_use(value, slot);
        }
        let nodes = &mut self.nodes;
        nodes.lists.clear(&mut nodes.operands[node].inputs);
        nodes.slots.clear(&mut nodes.margins[node].slots);
    }

    fn add_use(&mut self, value: ValueId, at: Use) -> u32 {
        let uses = &mut self.values.uses[value];
        self.values.lists.push(uses, at);
        (uses.len() - 1) as u32
    }

    /// Constant time: the last use takes the place of the removed one and is told of its new slot.
    fn remove_use(&mut self, value: ValueId, slot: u32) {
        let uses = &mut self.values.uses[value];
        self.values.lists.swap_remove(uses, slot as usize);
        if let Some(moved) = self.values.uses(value).get(slot as usize).copied() {
            match moved {
                Use::Input(node, index) => self.nodes.set_slot(node, index as usize, slot),
                Use::Result(block, index) => self.blocks[block].result_slots[index as usize] = slot,
            }
        }
    }
}
