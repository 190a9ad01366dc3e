//! Bytes under tensors: shared, read-only until they are written to.

use std::ops::{Deref, DerefMut};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use bytes::Bytes;

use crate::limits::{self, Charge};
use crate::{Error, Result};

/// Buffers start at a multiple of this, which is the width of the widest vector register.
pub const ALIGNMENT: usize = 64;

/// A buffer of bytes that tensors view.
///
/// Tensors that share a storage see each other's writes. A storage that was made from [`Bytes`] (a mapped file, a constant), or of which
/// a snapshot was taken, is copied by the next write, so that what others hold never changes.
#[derive(Debug)]
pub struct Storage {
    data: RwLock<Data>,
    len: usize,
    _charge: Charge,
}

#[derive(Debug)]
enum Data {
    Shared(Bytes),
    Owned(Aligned),
}

/// Bytes that start at a multiple of [`ALIGNMENT`].
#[derive(Debug, Default)]
struct Aligned {
    buffer: Vec<u8>,
    start: usize,
    len: usize,
}

impl Storage {
    /// `len` zero bytes.
    pub fn zeroed(len: usize) -> Result<Arc<Self>> {
        let charge = limits::charge(len as u64)?;
        Ok(Arc::new(Self {
            data: RwLock::new(Data::Owned(Aligned::zeroed(len)?)),
            len,
            _charge: charge,
        }))
    }

    /// A copy of `bytes`.
    pub fn copied(bytes: &[u8]) -> Result<Arc<Self>> {
        let storage = Self::zeroed(bytes.len())?;
        storage.write()?.copy_from_slice(bytes);
        Ok(storage)
    }

    /// The given bytes, without a copy.
    pub fn shared(bytes: Bytes) -> Arc<Self> {
        Arc::new(Self {
            len: bytes.len(),
            data: RwLock::new(Data::Shared(bytes)),
            _charge: Charge::default(),
        })
    }

    /// Number of bytes.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are no bytes.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The bytes, to read. Writers wait until the guard is dropped.
    pub fn read(&self) -> BytesRef<'_> {
        BytesRef(self.data.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The bytes, to change. Everybody else waits until the guard is dropped.
    ///
    /// # Errors
    /// When the bytes are shared and there is no room for a copy.
    pub fn write(&self) -> Result<BytesMut<'_>> {
        let mut data = self.data.write().unwrap_or_else(PoisonError::into_inner);
        if let Data::Shared(bytes) = &*data {
            let mut own = Aligned::zeroed(bytes.len())?;
            own.copy_from_slice(bytes);
            *data = Data::Owned(own);
        }
        Ok(BytesMut(data))
    }

    /// The bytes as they are now; later writes do not show. Nothing is copied: from now on they are shared, and the next write copies.
    pub fn snapshot(&self) -> Bytes {
        let mut data = self.data.write().unwrap_or_else(PoisonError::into_inner);
        let bytes = match &mut *data {
            Data::Shared(bytes) => return bytes.clone(),
            Data::Owned(own) => Bytes::from_owner(std::mem::take(own)),
        };
        *data = Data::Shared(bytes.clone());
        bytes
    }
}

/// Bytes of a storage, to read.
pub struct BytesRef<'a>(RwLockReadGuard<'a, Data>);

/// Bytes of a storage, to change.
pub struct BytesMut<'a>(RwLockWriteGuard<'a, Data>);

impl Deref for BytesRef<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.0.bytes()
    }
}

impl Deref for BytesMut<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.0.bytes()
    }
}

impl DerefMut for BytesMut<'_> {
    fn deref_mut(&mut self) -> &mut [u8] {
        match &mut *self.0 {
            Data::Owned(own) => own,
            Data::Shared(_) => unreachable!("a storage is owned before it is lent for writing"),
        }
    }
}

impl Data {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Shared(bytes) => bytes,
            Self::Owned(own) => own,
        }
    }
}

impl Aligned {
    fn zeroed(len: usize) -> Result<Self> {
        let no_memory = |_| Error::Limit {
            what: "bytes of memory",
            limit: len as u64,
        };
        let room = len.saturating_add(ALIGNMENT - 1);
        // Asking first turns a refusal into an error; memory that comes zeroed is then not touched until it is used.
        Vec::<u8>::new()
            .try_reserve_exact(room)
            .map_err(no_memory)?;
        let buffer = vec![0u8; room];
        // The buffer never grows, so its address stays.
        let start = buffer.as_ptr().align_offset(ALIGNMENT);
        Ok(Self { buffer, start, len })
    }
}

impl Deref for Aligned {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.buffer[self.start..self.start + self.len]
    }
}

impl AsRef<[u8]> for Aligned {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl DerefMut for Aligned {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.buffer[self.start..self.start + self.len]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_leaves_the_source_alone() {
        let source = Bytes::from_static(b"abc");
        let storage = Storage::shared(source.clone());
        storage.write().unwrap()[0] = b'x';
        assert_eq!(
            (&storage.read()[..], &source[..]),
            (&b"xbc"[..], &b"abc"[..])
        );
    }

    #[test]
    fn a_snapshot_is_no_copy_and_keeps_what_it_shows() {
        let storage = Storage::copied(b"abc").unwrap();
        let before = storage.read().as_ptr();
        let snapshot = storage.snapshot();
        assert_eq!(
            (snapshot.as_ptr(), storage.read().as_ptr()),
            (before, before)
        );
        storage.write().unwrap()[0] = b'x';
        assert_eq!(
            (&storage.read()[..], &snapshot[..]),
            (&b"xbc"[..], &b"abc"[..])
        );
        assert_eq!(&storage.snapshot()[..], b"xbc");
    }

    #[test]
    fn buffers_are_aligned() {
        for len in [1, 63, 4096] {
            assert_eq!(
                Storage::zeroed(len).unwrap().read().as_ptr() as usize % ALIGNMENT,
                0
            );
        }
    }
}
