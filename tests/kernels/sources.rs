//! The C of kernels of each kind, as snapshots: what changes in it is seen.

use std::path::Path;

use planish::kernels::{Contract, Isa, Kernel, KernelSpec};

/// Kernels that between them have every part of what is generated.
const KERNELS: [&str; 6] = [
    "conv2d_u8s8u8 i16 o24 k3x3 s2x2 p1x1 d1x1 g1",
    "conv2d_u8s8u8 i24 o24 k3x3 s1x1 p1x1 d1x1 g24",
    "linear_u8s8u8 i33 o10",
    "add_u8",
    "lut_u8",
    "avg_pool2d_u8 k3x3 s2x2 p1x1 by_valid",
];

#[test]
fn sources_are_what_they_were() {
    let mut settings = insta::Settings::clone_current();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/snapshots/kernels");
    settings.set_snapshot_path(folder);
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    for text in KERNELS {
        let spec: KernelSpec = text.parse().expect("a kernel's text");
        for isa in Isa::ALL {
            let kernel = Kernel::new(spec, Contract::Fbgemm, isa).expect("a kernel");
            let name = format!("{}@{isa}.c", text.replace(' ', "_"));
            settings.bind(|| insta::assert_snapshot!(name, kernel.source()));
        }
    }
}
