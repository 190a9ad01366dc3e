//! From bytes to a library of kernels in this process.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::sync::Arc;

use libloading::os::unix::{self, RTLD_LOCAL, RTLD_NOW};
use memmap2::MmapOptions;
use planish_kernels::Kernel;
use planish_kernels::abi::Args;
use rustix::fs::{MemfdFlags, SealFlags};

use crate::{Entry, Error, elf};

/// What every kernel exports.
pub(crate) type Function = unsafe extern "C" fn(*const Args) -> i32;

/// A loaded shared object. It stays loaded while it or any [`Entry`] of it lives.
#[derive(Clone, Debug)]
pub struct Library {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    // Dropped in this order: the linker knows a library by its path, so the descriptor's number must stay taken until it is unloaded.
    library: unix::Library,
    _file: OwnedFd,
}

impl Library {
    /// Loads the object `bytes`, which must have the digest `expected` and export exactly the symbols of `kernels`.
    ///
    /// The digest is the caller's word that these bytes are the compiler's output for these kernels: calling them is running that code
    /// with this process' rights.
    pub fn load(bytes: &[u8], expected: &blake3::Hash, kernels: &[Kernel]) -> Result<Self, Error> {
        let file = sealed(bytes)?;
        // SAFETY: the file is sealed, so no one can write to it or shorten it, not even this process.
        let mapping =
            unsafe { MmapOptions::new().map_copy_read_only(&file) }.map_err(memory("map it"))?;
        let found = blake3::hash(&mapping);
        if found != *expected {
            return Err(Error::Digest {
                found,
                expected: *expected,
            });
        }
        let symbols: Vec<String> = kernels.iter().map(Kernel::symbol).collect();
        let symbols: Vec<&str> = symbols.iter().map(String::as_str).collect();
        elf::check(&mapping, &symbols)?;
        let path = format!("/proc/self/fd/{}", file.as_raw_fd());
        // SAFETY: the object was checked to have neither constructors nor destructors, to need no other object's symbols, and to be the
        // bytes that the caller vouches for; loading and unloading it runs no code of its own.
        let library = unsafe { unix::Library::open(Some(path), RTLD_NOW | RTLD_LOCAL) }?;
        Ok(Self {
            inner: Arc::new(Inner {
                library,
                _file: file,
            }),
        })
    }

    /// The entry of a kernel in this library, if this processor can run it.
    pub fn entry(&self, kernel: Kernel) -> Result<Entry, Error> {
        if !kernel.isa().is_supported() {
            return Err(Error::Isa {
                kernel: kernel.to_string(),
                isa: kernel.isa(),
            });
        }
        let symbol = kernel.symbol();
        // SAFETY: the symbol is a function (checked at load), and objects that export a kernel's symbol are compiled from its source,
        // where the entry has this signature: that is what the caller of `load` vouches for.
        let function = unsafe { self.inner.library.get::<Function>(symbol.as_bytes()) }?;
        Ok(Entry::new(kernel, *function, self.clone()))
    }
}

/// A memory file with these bytes that can no longer change.
fn sealed(bytes: &[u8]) -> Result<OwnedFd, Error> {
    const NAME: &CStr = c"planish-kernel";
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    // Systems that refuse executable memory files by default must be asked; kernels before 6.3 do not know the question.
    let file = rustix::fs::memfd_create(NAME, flags | MemfdFlags::EXEC)
        .or_else(|error| {
            if error == rustix::io::Errno::INVAL {
                rustix::fs::memfd_create(NAME, flags)
            } else {
                Err(error)
            }
        })
        .map_err(|error| memory("create a memory file")(error.into()))?;
    let mut rest = bytes;
    while !rest.is_empty() {
        let written = rustix::io::retry_on_intr(|| rustix::io::write(&file, rest))
            .map_err(|error| memory("write to a memory file")(error.into()))?;
        rest = &rest[written..];
    }
    let seals = SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL;
    rustix::fs::fcntl_add_seals(&file, seals)
        .map_err(|error| memory("seal a memory file")(error.into()))?;
    Ok(file)
}

fn memory(doing: &'static str) -> impl FnOnce(io::Error) -> Error {
    move |source| Error::Memory { doing, source }
}
