//! A Triton job as it travels.

use std::ffi::OsString;

use serde::{Deserialize, Serialize};

use crate::triton::{Arch, TritonSource};

/// A Triton source, for which device, and by what it is compiled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CompileTriton {
    /// The kernel.
    pub source: TritonSource,
    /// The device.
    pub arch: Arch,
    /// The compiler.
    pub tools: TritonTools,
}

/// The programs of Triton, by their absolute paths.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TritonTools {
    /// The Python that has Triton.
    pub python: OsString,
    /// The directory of Triton's files.
    pub package: OsString,
    /// The assembler for devices before `sm_90`.
    pub ptxas: OsString,
    /// The assembler for the others.
    pub ptxas_blackwell: OsString,
}

impl TritonTools {
    /// The assembler for a device.
    pub(crate) fn ptxas(&self, arch: Arch) -> &OsString {
        if arch < Arch::SM_90 {
            &self.ptxas
        } else {
            &self.ptxas_blackwell
        }
    }
}
