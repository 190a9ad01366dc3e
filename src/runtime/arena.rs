//! Buffers that are reused from call to call.

use std::sync::Arc;

use planish_eval::Storage;

/// The buffers of one running call, by the numbers of the plan.
#[derive(Debug, Default)]
pub(crate) struct Arena {
    buffers: Vec<Option<Arc<Storage>>>,
    scratch: Vec<u8>,
    allocations: usize,
}

impl Arena {
    pub(crate) fn new(buffers: usize) -> Self {
        Self {
            buffers: vec![None; buffers],
            scratch: Vec::new(),
            allocations: 0,
        }
    }

    /// A buffer of at least `len` bytes that nobody else holds; its bytes are whatever was left in it.
    pub(crate) fn take(
        &mut self,
        buffer: Option<usize>,
        len: usize,
    ) -> Result<Arc<Storage>, planish_eval::Error> {
        let slot = buffer.and_then(|buffer| self.buffers.get_mut(buffer));
        if let Some(Some(storage)) = &slot
            && Arc::strong_count(storage) == 1
            && storage.len() >= len
        {
            return Ok(Arc::clone(storage));
        }
        self.allocations += 1;
        let storage = Storage::zeroed(len)?;
        if let Some(slot) = slot {
            *slot = Some(Arc::clone(&storage));
        }
        Ok(storage)
    }

    /// Working memory of at least `len` bytes.
    pub(crate) fn scratch(&mut self, len: usize) -> &mut [u8] {
        if self.scratch.len() < len {
            self.scratch.resize(len, 0);
        }
        &mut self.scratch[..len]
    }

    /// How many buffers were allocated since the arena was made.
    pub(crate) fn allocations(&self) -> usize {
        self.allocations
    }
}
