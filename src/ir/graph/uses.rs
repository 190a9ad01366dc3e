//! Who reads what: the operands of nodes and the results of blocks, and the use lists that mirror them.

use crate::{BlockId, Graph, NodeId, Use, ValueId};

impl Graph {
    /// Adds an input at the end of a node's inputs.
    pub fn push_input(&mut self, node: NodeId, value: ValueId) {
        let index = self.nodes.operands[node].inputs.len() as u32;
        let slot = self.add_use(value, Use::Input(node, index));
        self.nodes.operands[node].inputs.push(value);
        self.nodes.margins[node].slots.push(slot);
    }

    /// Replaces one input of a node.
    pub fn set_input(&mut self, node: NodeId, index: usize, value: ValueId) {
        let (old, slot) = (
            self.nodes.operands[node].inputs[index],
            self.nodes.margins[node].slots[index],
        );
        self.remove_use(old, slot);
        let slot = self.add_use(value, Use::Input(node, index as u32));
        self.nodes.operands[node].inputs[index] = value;
        self.nodes.margins[node].slots[index] = slot;
    }

    /// Replaces all inputs of a node.
    pub fn set_inputs(&mut self, node: NodeId, inputs: &[ValueId]) {
        self.drop_inputs(node);
        for input in inputs {
            self.push_input(node, *input);
        }
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
        while let Some(at) = self.values.uses[old].last().copied() {
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
        let mut inputs = self.nodes.operands[node].inputs.clone();
        inputs.remove(index);
        self.set_inputs(node, &inputs);
    }

    pub(super) fn drop_inputs(&mut self, node: NodeId) {
        // From the last: a removal may move the slot of an earlier input, never of a removed one.
        while let Some(value) = self.nodes.operands[node].inputs.last().copied() {
            let slot = self.nodes.margins[node].slots[self.nodes.operands[node].inputs.len() - 1];
            self.remove_use(value, slot);
            self.nodes.operands[node].inputs.pop();
            self.nodes.margins[node].slots.pop();
        }
    }

    fn add_use(&mut self, value: ValueId, at: Use) -> u32 {
        let uses = &mut self.values.uses[value];
        uses.push(at);
        (uses.len() - 1) as u32
    }

    /// Constant time: the last use takes the place of the removed one and is told of its new slot.
    fn remove_use(&mut self, value: ValueId, slot: u32) {
        let uses = &mut self.values.uses[value];
        uses.swap_remove(slot as usize);
        if let Some(moved) = uses.get(slot as usize).copied() {
            match moved {
                Use::Input(node, index) => self.nodes.margins[node].slots[index as usize] = slot,
                Use::Result(block, index) => self.blocks[block].result_slots[index as usize] = slot,
            }
        }
    }
}
