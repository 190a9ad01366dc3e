//! A finalized module as a file: its text, its weights and its kernels in a [`Package`].

use std::collections::HashMap;
use std::fmt;
use std::path::Path;

use bytes::Bytes;
use indexmap::IndexMap;
use planish_ir::text::{self, Blobs, Printer, Style};
use planish_ir::{GraphModule, Sym};
use planish_kernels::{Kernel, KernelSpec};
use planish_runtime::{Entry, Library, Parts, Program, RunError, map_file};

use crate::finalize::Finalized;
use crate::package::{
    Blob, DegradedEntry, Manifest, Package, PackageError, PackedEntry, UnitEntry,
};
use crate::{RequestReport, Rung};

const MODULE: &str = "module.ir";

/// Tensors of at most this many elements stand in the text.
const INLINE: usize = 16;

/// A finalized module as a file.
#[derive(Clone, Debug)]
pub struct Artefact {
    /// What messages call it: the file, or the model when it was not written yet.
    name: String,
    package: Package,
}

/// Why an artefact could not be written, read or run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ArtefactError {
    /// The file.
    #[error(transparent)]
    Package(#[from] PackageError),
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
    #[error("prepare {name}")]
    Run {
        /// The file.
        name: String,
        /// Why.
        #[source]
        source: RunError,
    },
}

impl DegradedEntry {
    fn new(request: &RequestReport) -> Self {
        let because = request.because.as_deref().unwrap_or_default();
        Self {
            kernel: request.kernel.to_string(),
            rung: request.rung.to_string(),
            // What follows the first line differs from run to run: what was used, and what was written.
            because: because.lines().next().unwrap_or_default().to_owned(),
        }
    }
}

impl Artefact {
    /// The artefact of a finalized module.
    pub fn new(finalized: &Finalized) -> Self {
        let mut payloads = Blobs::new();
        let text = Printer::new(Style::Canonical)
            .blobs(&mut payloads, INLINE)
            .module(&finalized.module);
        let mut blobs = IndexMap::from([(MODULE.to_owned(), Bytes::from(text).into())]);
        blobs.extend(
            payloads
                .iter()
                .map(|(name, payload)| (name.to_owned(), payload.clone().into())),
        );
        let mut kernels = Vec::new();
        for (at, unit) in finalized.kernels.iter().enumerate() {
            let blob = format!("kernels{at}.so");
            blobs.insert(blob.clone(), unit.artefact.bytes.clone().into());
            kernels.push(UnitEntry {
                kernels: unit.kernels.iter().map(Kernel::to_string).collect(),
                blob,
            });
        }
        let mut packed = Vec::new();
        for (at, (name, kernel, bytes)) in finalized.packed.iter().enumerate() {
            let blob = format!("packed{at}");
            blobs.insert(blob.clone(), bytes.clone().into());
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
            degraded: finalized.degraded().map(DegradedEntry::new).collect(),
        };
        Self {
            name: finalized.module.origin.clone(),
            package: Package { manifest, blobs },
        }
    }

    /// Writes the file, all of it or nothing.
    pub fn write(&self, path: &Path) -> Result<(), ArtefactError> {
        Ok(self.package.write(path)?)
    }

    /// The bytes that [`write`](Self::write) writes.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.package.to_bytes()
    }

    /// Maps a file and checks every digest in it.
    pub fn open(path: &Path) -> Result<Self, ArtefactError> {
        let name = path.display().to_string();
        let bytes = map_file(path).map_err(|source| PackageError::Io {
            verb: "read",
            path: path.to_owned(),
            source,
        })?;
        let package = Package::read(&bytes, &name)?;
        Ok(Self { name, package })
    }

    /// What the file says of itself.
    pub fn manifest(&self) -> &Manifest {
        &self.package.manifest
    }

    /// The finalized module.
    pub fn module(&self) -> Result<GraphModule, ArtefactError> {
        const PART: &str = "module text";
        let blob = self.blob(PART, &self.package.manifest.module)?;
        let text = std::str::from_utf8(blob.bytes()).map_err(|error| self.bad(PART, &error))?;
        let mut payloads = Blobs::new();
        for (name, blob) in &self.package.blobs {
            payloads.insert(name, blob.bytes().clone());
        }
        text::parse_verified(text, &payloads)
            .map_err(|errors| self.bad(PART, &errors.in_file(&self.package.manifest.module)))
    }

    /// The program, ready to run. No compiler is needed.
    pub fn program(&self) -> Result<Program, ArtefactError> {
        let module = self.module()?;
        let manifest = &self.package.manifest;
        let contract = manifest
            .contract
            .parse()
            .map_err(|error| self.bad("contract", &error))?;
        let parts = Parts {
            module: &module,
            contract,
            kernels: self.kernels()?,
            evaluated: self.evaluated()?,
            packed: self.packed()?,
        };
        Program::new(parts).map_err(|error| self.cannot_run(error))
    }

    /// The kernels that could not be compiled.
    fn evaluated(&self) -> Result<Vec<KernelSpec>, ArtefactError> {
        let entries = self.package.manifest.degraded.iter();
        let missing = entries.filter(|entry| entry.rung == Rung::Eval.to_string());
        let specs = missing.map(|entry| {
            let kernel: Kernel = entry
                .kernel
                .parse()
                .map_err(|error| self.bad("kernels", &error))?;
            Ok(*kernel.spec())
        });
        specs.collect()
    }

    fn kernels(&self) -> Result<Vec<Entry>, ArtefactError> {
        const PART: &str = "kernels";
        let mut entries = Vec::new();
        for unit in &self.package.manifest.kernels {
            let kernels = unit.kernels.iter().map(|kernel| kernel.parse());
            let kernels: Vec<Kernel> = kernels
                .collect::<Result<_, _>>()
                .map_err(|error: planish_kernels::Error| self.bad(PART, &error))?;
            let blob = self.blob(PART, &unit.blob)?;
            let library = Library::load(blob.bytes(), blob.digest(), &kernels)
                .map_err(|error| self.cannot_run(error.into()))?;
            for kernel in kernels {
                let entry = library.entry(kernel);
                entries.push(entry.map_err(|error| self.cannot_run(error.into()))?);
            }
        }
        Ok(entries)
    }

    fn packed(&self) -> Result<HashMap<Sym, Bytes>, ArtefactError> {
        const PART: &str = "packed weights";
        let entries = self.package.manifest.packed.iter().map(|entry| {
            let kernel: Kernel = entry
                .kernel
                .parse()
                .map_err(|error| self.bad(PART, &error))?;
            let wanted = kernel
                .spec()
                .packing()
                .map(|packing| packing.packed_len(kernel.isa()));
            let bytes = self.blob(PART, &entry.blob)?.bytes();
            if wanted != Some(bytes.len()) {
                let attribute = &entry.attribute;
                let reason = format!(
                    "{attribute} has {} bytes, which {kernel} does not read",
                    bytes.len()
                );
                return Err(self.bad(PART, &reason));
            }
            Ok((Sym::new(&entry.attribute), bytes.clone()))
        });
        entries.collect()
    }

    fn blob(&self, part: &str, name: &str) -> Result<&Blob, ArtefactError> {
        let missing = || self.bad(part, &format!("there is no blob {name}"));
        self.package.blobs.get(name).ok_or_else(missing)
    }

    fn bad(&self, part: &str, reason: &dyn fmt::Display) -> ArtefactError {
        ArtefactError::Content {
            name: self.name.clone(),
            what: part.to_owned(),
            reason: reason.to_string(),
        }
    }

    fn cannot_run(&self, source: RunError) -> ArtefactError {
        ArtefactError::Run {
            name: self.name.clone(),
            source,
        }
    }
}
