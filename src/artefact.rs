//! A finalized module as a file: its text, its weights and its kernels in a [`Package`].

use std::path::Path;

use bytes::Bytes;
use indexmap::IndexMap;
use planish_ir::text::{self, Blobs, Printer, Style};
use planish_ir::{GraphModule, Sym};
use planish_kernels::Kernel;
use planish_runtime::{Entry, Library, Parts, Program, RunError};

use crate::finalize::Finalized;
use crate::package::{KernelEntry, Manifest, Package, PackageError, PackedEntry};

const MODULE: &str = "module.ir";

/// Tensors of at most this many elements stand in the text.
const INLINE: usize = 16;

/// A finalized module as a file.
#[derive(Clone, Debug, PartialEq)]
pub struct Artefact {
    package: Package,
}

/// Why an artefact could not be written, read or run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ArtefactError {
    /// The file.
    #[error(transparent)]
    Package(#[from] PackageError),
    /// The file could not be opened.
    #[error(transparent)]
    Map(#[from] planish_runtime::Error),
    /// What the file holds.
    #[error("read the {what} of {name}: {reason}")]
    Content {
        /// The file.
        name: String,
        /// The part of it.
        what: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The program cannot run here.
    #[error(transparent)]
    Run(#[from] RunError),
}

impl Artefact {
    /// The artefact of a finalized module.
    pub fn new(finalized: &Finalized) -> Self {
        let mut payloads = Blobs::new();
        let text = Printer::new(Style::Canonical)
            .blobs(&mut payloads, INLINE)
            .module(&finalized.module);
        let mut blobs = IndexMap::from([(MODULE.to_owned(), Bytes::from(text))]);
        blobs.extend(
            payloads
                .iter()
                .map(|(name, payload)| (name.to_owned(), payload.clone())),
        );
        let mut kernels = Vec::new();
        for (at, compiled) in finalized.kernels.iter().enumerate() {
            let blob = format!("kernel{at}.so");
            blobs.insert(
                blob.clone(),
                Bytes::copy_from_slice(&compiled.artefact.bytes),
            );
            kernels.push(KernelEntry {
                kernel: compiled.kernel.to_string(),
                blob,
            });
        }
        let mut packed = Vec::new();
        for (at, (name, kernel, bytes)) in finalized.packed.iter().enumerate() {
            let blob = format!("packed{at}");
            blobs.insert(blob.clone(), bytes.clone());
            packed.push(PackedEntry {
                attribute: name.to_string(),
                kernel: kernel.to_string(),
                blob,
            });
        }
        let manifest = Manifest {
            planish: env!("CARGO_PKG_VERSION").to_owned(),
            origin: finalized.module.origin.clone(),
            contract: finalized.target.contract.to_string(),
            isa: finalized.target.isa.to_string(),
            module: MODULE.to_owned(),
            kernels,
            packed,
        };
        Self {
            package: Package { manifest, blobs },
        }
    }

    /// Writes the file, all of it or nothing.
    pub fn write(&self, path: &Path) -> Result<(), ArtefactError> {
        Ok(self.package.write(path)?)
    }

    /// Maps a file and checks every digest in it.
    pub fn open(path: &Path) -> Result<Self, ArtefactError> {
        let name = path.display().to_string();
        Ok(Self {
            package: Package::read(&planish_runtime::map_file(path)?, &name)?,
        })
    }

    /// What the file says of itself.
    pub fn manifest(&self) -> &Manifest {
        &self.package.manifest
    }

    /// The finalized module.
    pub fn module(&self) -> Result<GraphModule, ArtefactError> {
        let bytes = self.package.blob(&self.package.manifest.module)?;
        let text = std::str::from_utf8(bytes).map_err(|error| self.bad("module text", &error))?;
        let mut payloads = Blobs::new();
        for (name, blob) in &self.package.blobs {
            payloads.insert(name, blob.clone());
        }
        text::parse_module_with(text, &payloads).map_err(|errors| self.bad("module text", &errors))
    }

    /// The program, ready to run. No compiler is needed.
    pub fn program(&self) -> Result<Program, ArtefactError> {
        let manifest = &self.package.manifest;
        let contract = manifest
            .contract
            .parse()
            .map_err(|error| self.bad("contract", &error))?;
        let mut kernels: Vec<Entry> = Vec::new();
        for entry in &manifest.kernels {
            let kernel: Kernel = entry
                .kernel
                .parse()
                .map_err(|error| self.bad("kernels", &error))?;
            let bytes = self.package.blob(&entry.blob)?;
            // The package's own digests were checked when it was read; this is the digest of these very bytes.
            let library = Library::load(bytes, &blake3::hash(bytes), &[kernel])?;
            kernels.push(library.entry(kernel)?);
        }
        let mut packed = std::collections::HashMap::new();
        for entry in &manifest.packed {
            packed.insert(
                Sym::new(&entry.attribute),
                self.package.blob(&entry.blob)?.clone(),
            );
        }
        let module = self.module()?;
        Ok(Program::new(Parts {
            module: &module,
            contract,
            kernels,
            packed,
        })?)
    }

    fn bad(&self, what: &str, reason: &dyn std::fmt::Display) -> ArtefactError {
        let name = self.package.manifest.origin.clone();
        ArtefactError::Content {
            name,
            what: what.to_owned(),
            reason: reason.to_string(),
        }
    }
}
