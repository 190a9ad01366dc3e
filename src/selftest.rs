//! Whether a compiled kernel computes what its specification says, tried before anybody else runs it.
//!
//! A worker has this done by a process that is thrown away ([`planish_pool::Handlers::with_prover`]), so that a
//! kernel which crashes takes nothing with it. Each kernel is called with a small problem that has every kind of
//! border (a full tile and a rest of it, windows over the edge, lengths that fill no register) and the values at
//! which rounding and saturation show, and is compared with [`planish_kernels::reference`] byte by byte.

mod elementwise;
mod values;
mod weighted;
mod windows;

use planish_kernels::{Isa, Kernel, KernelSpec};
use planish_pool::Handlers;
use planish_runtime::{Call, Entry, Library};

/// What a worker of planish can do: the jobs of the pool, and trying what they made.
pub fn handlers() -> Handlers {
    Handlers::standard().with_prover(prove)
}

/// The claim that an object holds these kernels and nothing else.
pub fn claim(kernels: &[Kernel]) -> String {
    let lines: Vec<String> = kernels.iter().map(Kernel::to_string).collect();
    lines.join("\n")
}

/// Tries the kernels of a shared object; `claim` names them, one in each line. The instruction set of this processor
/// if all of them are right, and otherwise what the first one did wrong.
pub fn prove(object: &[u8], claim: &str) -> Result<String, String> {
    let kernels: Vec<Kernel> = claim
        .lines()
        .map(|line| line.parse().map_err(|error| format!("{line}: {error}")))
        .collect::<Result<_, String>>()?;
    let library = Library::load(object, &blake3::hash(object), &kernels)
        .map_err(|error| error.to_string())?;
    for kernel in kernels {
        let entry = library.entry(kernel).map_err(|error| error.to_string())?;
        try_one(&kernel, &entry).map_err(|fault| format!("{kernel}: {fault}"))?;
    }
    Ok(Isa::host().to_string())
}

fn try_one(kernel: &Kernel, entry: &Entry) -> Result<(), String> {
    match kernel.spec() {
        KernelSpec::Conv2d(_) | KernelSpec::Linear(_) => weighted::compute(kernel, entry),
        KernelSpec::PackConv | KernelSpec::PackLinear => weighted::pack(kernel, entry),
        KernelSpec::Add | KernelSpec::Mul => elementwise::binary(kernel, entry),
        KernelSpec::Cat => elementwise::part(entry),
        KernelSpec::Lut => elementwise::table(entry),
        KernelSpec::Quantize(code) => elementwise::quantize(*code, entry),
        KernelSpec::Dequantize(code) => elementwise::dequantize(*code, entry),
        KernelSpec::MaxPool2d(_) | KernelSpec::AvgPool2d(_) | KernelSpec::AdaptiveAvgPool2d => {
            windows::pool(kernel.spec(), entry)
        }
        KernelSpec::Relayout(layout) => windows::relayout(*layout, entry),
        other => Err(format!("nothing is known to try {} with", other.operator())),
    }
}

fn call(entry: &Entry, call: Call<'_>) -> Result<(), String> {
    entry.call(call).map_err(|error| error.to_string())
}

/// Compares what a kernel wrote with what it should have written.
fn same<T: PartialEq + std::fmt::Debug>(found: &[T], expected: &[T]) -> Result<(), String> {
    if found.len() != expected.len() {
        return Err(format!(
            "{} values, expected {}",
            found.len(),
            expected.len()
        ));
    }
    let differ = found
        .iter()
        .zip(expected)
        .filter(|(found, expected)| found != expected)
        .count();
    let first = found
        .iter()
        .zip(expected)
        .position(|(found, expected)| found != expected);
    match first {
        None => Ok(()),
        Some(at) => Err(format!(
            "value {at} is {:?}, expected {:?} ({differ} of {} differ)",
            found[at],
            expected[at],
            found.len()
        )),
    }
}
