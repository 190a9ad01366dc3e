//! Packing kernels against the function that says what they write.

use planish::kernels::{Contract, Conv2d, Kernel, KernelSpec, Linear, pack};
use planish::runtime::Call;

use crate::bench::{compile, isas};
use crate::chance::Chance;

fn conv(
    inputs: usize,
    outputs: usize,
    kernel: [usize; 2],
    groups: usize,
    dilation: usize,
) -> KernelSpec {
    KernelSpec::Conv2d(Conv2d {
        groups,
        dilation: [dilation; 2],
        ..Conv2d::new(inputs, outputs, kernel)
    })
}

#[test]
fn packing_kernels_write_what_the_reference_writes() {
    let linear = |inputs, outputs| KernelSpec::Linear(Linear { inputs, outputs });
    let specs = [
        conv(3, 64, [7, 7], 1, 1),
        conv(16, 24, [1, 1], 1, 1),
        conv(17, 33, [3, 3], 1, 1),
        conv(6, 9, [3, 2], 1, 2),
        conv(8, 12, [3, 3], 2, 1),
        conv(8, 16, [3, 3], 8, 1),
        conv(40, 40, [5, 5], 40, 1),
        conv(7, 7, [3, 3], 7, 2),
        conv(1, 1, [1, 1], 1, 1),
        linear(1, 1),
        linear(5, 3),
        linear(64, 40),
        linear(129, 10),
    ];
    let mut chance = Chance::new(41);
    for isa in isas() {
        let packer =
            |spec| compile(Kernel::new(spec, Contract::Fbgemm, *isa).expect("a packing kernel"));
        let (convs, linears) = (packer(KernelSpec::PackConv), packer(KernelSpec::PackLinear));
        for spec in specs {
            let packing = spec.packing().expect("it reads weights");
            let weights: Vec<i8> = (0..packing.weights())
                .map(|_| chance.next() as i8)
                .collect();
            let expected = pack(&spec, *isa, &weights).expect("the weights fit");
            let mut out = vec![0xa5; expected.len()];
            let packer = if matches!(spec, KernelSpec::Linear(_)) {
                &linears
            } else {
                &convs
            };
            let call = Call::Pack {
                packing,
                weights: &weights,
                out: &mut out,
            };
            packer.call(call).expect("the arguments fit");
            assert!(out == expected, "{spec} {isa}");
        }
    }
}
