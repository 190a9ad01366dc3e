//! Buffers that are reused from call to call.

use std::sync::Arc;

use bytemuck::{Pod, Zeroable};
use planish_eval::Storage;

/// The buffers of one running call, by the numbers of the plan.
#[derive(Debug, Default)]
pub(crate) struct Arena {
    buffers: Vec<Option<Arc<Storage>>>,
    image: Vec<Line>,
    frame: Vec<Line>,
    allocations: usize,
}

/// Bytes of a cache line, at a multiple of its size.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C, align(64))]
struct Line([u8; 64]);

impl Arena {
    pub(crate) fn new(buffers: usize) -> Self {
        Self {
            buffers: vec![None; buffers],
            ..Self::default()
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

    /// Working memory of one step: room for an image in another layout, and for what its kernel asks for.
    pub(crate) fn scratch(&mut self, image: usize, frame: usize) -> (&mut [u8], &mut [u8]) {
        self.allocations += grow(&mut self.image, image) + grow(&mut self.frame, frame);
        let bytes = bytemuck::cast_slice_mut::<Line, u8>;
        (
            &mut bytes(&mut self.image)[..image],
            &mut bytes(&mut self.frame)[..frame],
        )
    }

    /// How many buffers were allocated since the arena was made.
    pub(crate) fn allocations(&self) -> usize {
        self.allocations
    }
}

/// Makes room for `len` bytes; returns how many buffers were allocated.
fn grow(lines: &mut Vec<Line>, len: usize) -> usize {
    let needed = len.div_ceil(size_of::<Line>());
    if lines.len() >= needed {
        return 0;
    }
    *lines = vec![Line::zeroed(); needed];
    1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_that_somebody_holds_is_left_to_them() {
        let mut arena = Arena::new(1);
        let first = arena.take(Some(0), 10).unwrap();
        let second = arena.take(Some(0), 10).unwrap();
        assert!(!Arc::ptr_eq(&first, &second));
        let kept = Arc::as_ptr(&second);
        drop(second);
        assert_eq!(Arc::as_ptr(&arena.take(Some(0), 8).unwrap()), kept);
        assert_eq!(arena.allocations(), 2);
    }

    #[test]
    fn working_memory_grows_once_and_is_aligned() {
        let mut arena = Arena::new(0);
        for _ in 0..2 {
            let (image, frame) = arena.scratch(100, 1);
            assert_eq!((image.len(), frame.len()), (100, 1));
            assert!(image.as_ptr().addr().is_multiple_of(64));
        }
        assert_eq!(arena.allocations(), 2);
    }
}
