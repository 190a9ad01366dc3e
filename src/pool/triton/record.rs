//! What another program needs to launch a cubin, and nothing that ties it to this machine.
//!
//! The order of a launch's parameters is: the record's arguments, then one pointer for each of the
//! two scratch memories, which may be null where its size is 0. A launch that leaves the two out
//! makes the kernel read behind its parameters.

use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::hash::Digest;
use crate::triton::grid::Grid;
use crate::triton::signature::{Kind, Value};
use crate::triton::source::TritonSource;

/// Threads of a warp.
const WARP: u32 = 32;
/// The format of the record.
const FORMAT: u32 = 1;

/// How to launch a kernel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LaunchRecord {
    format: u32,
    /// The kernel's name in the cubin.
    pub entry: String,
    /// What the cubin runs on: `sm_80`; `sm_90a` runs on devices of capability 9.0 and no others.
    pub target: String,
    /// What a launch passes first, in this order.
    pub arguments: Vec<Argument>,
    /// What it passes after them: the memory shared by all programs, then the profiler's.
    pub scratch: [Scratch; 2],
    /// What was known when the kernel was compiled.
    pub constants: Vec<Constant>,
    /// The number of programs, as a formula over the arguments.
    pub grid: Grid,
    /// Warps of a program's block: it has 32 times as many threads.
    pub warps: u32,
    /// Blocks of a program; above 1 they are launched as clusters.
    pub ctas: u32,
    /// Bytes of dynamic shared memory. Above 48 KiB the function's limit must be raised first.
    pub shared: u32,
    /// Columns of tensor memory that the kernel takes, on devices that have it.
    pub tensor_memory: u32,
    /// Whether all programs must run at once.
    pub cooperative: bool,
    /// Whether the launch may overlap the one before it (programmatic dependent launch).
    pub overlapping: bool,
    /// Whether products were contracted with sums.
    pub fp_fusion: bool,
    /// The version of Triton.
    pub triton: String,
    /// The version of the `ptxas` that made the cubin.
    pub ptxas: String,
    /// BLAKE3 of the source text.
    pub source: String,
}

/// One argument of a launch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Argument {
    /// Its name in the source.
    pub name: String,
    /// Its type as Triton spells it: `*u8`, `i32`.
    #[serde(rename = "type")]
    pub ty: String,
    /// Bytes that are passed.
    pub bytes: u32,
    /// The kernel relies on it being a multiple of this.
    pub divisor: u32,
}

/// A memory that the kernel uses besides its arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scratch {
    /// Bytes for each block of each program.
    pub bytes: u64,
    /// Alignment of its address.
    pub align: u64,
}

/// A constant that the kernel was compiled with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Constant {
    /// Its name in the source.
    pub name: String,
    /// Its value.
    pub value: Value,
}

/// What the compiler tells of a kernel, as the worker's Python writes it.
#[derive(Debug, Deserialize)]
pub(crate) struct Metadata {
    name: String,
    shared: u32,
    num_warps: u32,
    num_ctas: u32,
    launch_cooperative_grid: bool,
    launch_pdl: bool,
    tmem_size: u32,
    global_scratch: Scratch,
    profile_scratch: Scratch,
    triton: String,
    ptxas: String,
}

impl LaunchRecord {
    /// Joins what was asked for with what the compiler tells. The kernel's parameters as its PTX
    /// declares them must be those that a launch by this record passes: Triton's own record does
    /// not say what they are, and nothing else would notice.
    pub(crate) fn new(
        source: &TritonSource,
        metadata: Metadata,
        ptx: &str,
    ) -> Result<Self, String> {
        let mut arguments = Vec::new();
        let mut constants = Vec::new();
        for parameter in source.signature().parameters() {
            let name = parameter.name.clone();
            let (star, of, bytes, divisor) = match parameter.kind {
                Kind::Constant(value) => {
                    constants.push(Constant { name, value });
                    continue;
                }
                Kind::Pointer { of, divisor } => ("*", of, 8, divisor),
                Kind::Scalar { of, divisor } => ("", of, of.bytes(), divisor),
            };
            arguments.push(Argument {
                name,
                ty: format!("{star}{}", of.name()),
                bytes,
                divisor,
            });
        }
        let expected: Vec<u32> = arguments
            .iter()
            .map(|argument| argument.bytes)
            .chain([8, 8])
            .collect();
        let declared = declared(ptx, &metadata.name)?;
        if declared != expected {
            return Err(format!(
                "a kernel whose parameters have {declared:?} bytes instead of {expected:?}"
            ));
        }
        let target = ptx
            .lines()
            .find_map(|line| line.strip_prefix(".target "))
            .and_then(|target| target.split(',').next())
            .ok_or("PTX without a target")?;
        Ok(Self {
            format: FORMAT,
            entry: metadata.name,
            target: target.trim().to_owned(),
            arguments,
            scratch: [metadata.global_scratch, metadata.profile_scratch],
            constants,
            grid: source.grid().clone(),
            warps: metadata.num_warps,
            ctas: metadata.num_ctas,
            shared: metadata.shared,
            tensor_memory: metadata.tmem_size,
            cooperative: metadata.launch_cooperative_grid,
            overlapping: metadata.launch_pdl,
            fp_fusion: source.options.fp_fusion,
            triton: metadata.triton,
            ptxas: metadata.ptxas,
            source: Digest::of(source.text().as_bytes()).to_string(),
        })
    }

    /// Threads of a block.
    pub fn threads(&self) -> u32 {
        self.warps * WARP
    }

    /// Bytes of the two scratch memories for a launch of so many programs.
    pub fn scratch_bytes(&self, programs: [u32; 3]) -> [u64; 2] {
        let blocks = programs.into_iter().map(u64::from).product::<u64>() * u64::from(self.ctas);
        self.scratch.map(|scratch| scratch.bytes * blocks)
    }

    /// The record as JSON.
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).unwrap_or_default()
    }

    pub(super) fn from_json(text: &[u8]) -> Result<Self, Error> {
        let wrong = |reason: String| Error::Triton {
            what: "read a launch record".to_owned(),
            reason,
        };
        let record: Self =
            serde_json::from_slice(text).map_err(|error| wrong(error.to_string()))?;
        if record.format == FORMAT {
            Ok(record)
        } else {
            Err(wrong(format!(
                "it has format {}, and this program reads {FORMAT}",
                record.format
            )))
        }
    }
}

/// Bytes of each parameter that the entry declares.
fn declared(ptx: &str, entry: &str) -> Result<Vec<u32>, String> {
    let missing = || format!("PTX without the entry `{entry}`");
    let (_, rest) = ptx
        .split_once(&format!(".entry {entry}("))
        .ok_or_else(missing)?;
    let (list, _) = rest.split_once(')').ok_or_else(missing)?;
    let parameters = list
        .split(',')
        .map(str::trim)
        .filter(|text| !text.is_empty());
    parameters
        .map(|parameter| {
            let mut words = parameter.split_whitespace();
            let bits = (words.next() == Some(".param"))
                .then(|| words.next())
                .flatten()
                .and_then(|ty| ty.get(2..))
                .and_then(|bits| bits.parse::<u32>().ok());
            bits.map(|bits| bits / 8)
                .ok_or_else(|| format!("the parameter `{parameter}` in the PTX"))
        })
        .collect()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    const PTX: &str = "\
.version 9.4
.target sm_90a
.visible .entry scale(
\t.param .u64 .ptr .global .align 1 scale_param_0,
\t.param .u32 scale_param_1,
\t.param .u64 .ptr .global .align 1 scale_param_2,
\t.param .u64 .ptr .global .align 1 scale_param_3
)
";

    fn metadata() -> Metadata {
        let none = Scratch { bytes: 0, align: 1 };
        Metadata {
            name: "scale".to_owned(),
            shared: 1024,
            num_warps: 4,
            num_ctas: 1,
            launch_cooperative_grid: false,
            launch_pdl: false,
            tmem_size: 0,
            global_scratch: Scratch {
                bytes: 16,
                align: 8,
            },
            profile_scratch: none,
            triton: "3.9.0".to_owned(),
            ptxas: "V13.4.59".to_owned(),
        }
    }

    fn source(signature: &str) -> TritonSource {
        let signature = signature.parse().expect("signature");
        let grid = "cdiv(n, BLOCK)".parse().expect("grid");
        TritonSource::new("text", "scale", signature, &grid).expect("source")
    }

    pub(in crate::triton) fn record() -> LaunchRecord {
        let source = source("x: *u8@16, n: i32, BLOCK: 256");
        LaunchRecord::new(&source, metadata(), PTX).expect("a record")
    }

    #[test]
    fn a_record_says_what_a_launch_passes() {
        let record = record();
        let text = record.to_json();
        assert_eq!(
            LaunchRecord::from_json(text.as_bytes()).expect("it reads back"),
            record
        );
        assert_eq!(record.target, "sm_90a");
        assert_eq!(record.threads(), 128);
        assert_eq!(record.scratch_bytes([3, 2, 1]), [96, 0]);
        assert!(text.contains(r#""grid": "cdiv(n, 256), 1, 1""#), "{text}");
        assert!(text.contains(r#""type": "*u8""#), "{text}");
        assert!(LaunchRecord::from_json(text.replace(": 1,", ": 9,").as_bytes()).is_err());
    }

    #[test]
    fn parameters_that_the_kernel_does_not_have_are_noticed() {
        for signature in [
            "x: *u8@16, n: i32, m: i32, BLOCK: 1",
            "x: *u8@16, n: i64, BLOCK: 1",
            "n: i32, x: *u8@16, BLOCK: 1",
        ] {
            let error = LaunchRecord::new(&source(signature), metadata(), PTX).expect_err("no");
            assert!(error.contains("[8, 4, 8, 8] bytes instead of"), "{error}");
        }
        let source = source("x: *u8@16, n: i32, BLOCK: 1");
        let error = LaunchRecord::new(&source, metadata(), "").expect_err("no");
        assert_eq!(error, "PTX without the entry `scale`");
    }
}
