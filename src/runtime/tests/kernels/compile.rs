//! From a specification to an entry that can be called.

use std::process::Command;

use planish_kernels::{Contract, Isa, Kernel, KernelSpec};
use planish_runtime::{Entry, Library};

/// The instruction sets that this processor can run; the others are named on stderr.
pub(crate) fn isas() -> impl Iterator<Item = Isa> {
    Isa::ALL.into_iter().filter(|isa| {
        if !isa.is_supported() {
            say(&format!(
                "SKIPPED: this processor does not have the instruction set {isa}"
            ));
        }
        isa.is_supported()
    })
}

#[expect(
    clippy::print_stderr,
    reason = "a test that checks less than its name says must say so"
)]
fn say(text: &str) {
    eprintln!("{text}");
}

pub(crate) fn kernel(spec: KernelSpec, isa: Isa) -> Kernel {
    Kernel::new(spec, Contract::Fbgemm, isa).unwrap()
}

/// Compiles and loads the kernel.
pub(crate) fn entry(spec: KernelSpec, isa: Isa) -> Entry {
    let kernel = kernel(spec, isa);
    let object = compile(&kernel.source(), &kernel.flags());
    Library::load(&object, &blake3::hash(&object), &[kernel])
        .unwrap()
        .entry(kernel)
        .unwrap()
}

/// The shared object that the system's C compiler makes of `source`.
pub(crate) fn compile(source: &str, flags: &[&str]) -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    let (c, so) = (dir.path().join("kernel.c"), dir.path().join("kernel.so"));
    std::fs::write(&c, source).unwrap();
    let output = Command::new("cc")
        .args(flags)
        .arg("-o")
        .args([&so, &c])
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}\n{source}",
        String::from_utf8_lossy(&output.stderr)
    );
    std::fs::read(so).unwrap()
}
