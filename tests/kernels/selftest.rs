//! What a worker tries of a kernel before it is used: every kind of kernel is right, and one that is not is found.

use planish::kernels::{
    AvgPool2d, Code, Contract, Conv2d, Divisor, Kernel, KernelSpec, Layout, Linear, MaxPool2d, Unit,
};
use planish::pool::JobError;
use planish::selftest;

use crate::bench::{isas, job, unit_job, wait};

fn specs() -> Vec<KernelSpec> {
    let conv = KernelSpec::Conv2d;
    let linear = |inputs, outputs| KernelSpec::Linear(Linear { inputs, outputs });
    let max = |kernel, stride, padding, dilation| {
        KernelSpec::MaxPool2d(MaxPool2d {
            kernel,
            stride,
            padding,
            dilation,
        })
    };
    let mean = |kernel, stride, padding, divisor| {
        KernelSpec::AvgPool2d(AvgPool2d {
            kernel,
            stride,
            padding,
            divisor,
        })
    };
    vec![
        conv(Conv2d::new(3, 64, [7, 7]).padded([3, 3])),
        conv(Conv2d {
            stride: [2, 2],
            ..Conv2d::new(64, 130, [1, 1])
        }),
        conv(Conv2d::new(512, 512, [3, 3]).padded([1, 1])),
        conv(Conv2d {
            groups: 40,
            stride: [2, 1],
            ..Conv2d::new(40, 40, [3, 3]).padded([1, 1])
        }),
        conv(Conv2d {
            groups: 4,
            dilation: [2, 3],
            ..Conv2d::new(20, 12, [3, 2])
        }),
        conv(Conv2d::new(1, 1, [1, 1])),
        linear(1, 1),
        linear(129, 10),
        linear(2048, 1000),
        KernelSpec::Add,
        KernelSpec::Mul,
        KernelSpec::Cat,
        KernelSpec::Lut,
        max([3, 3], [2, 2], [1, 1], [1, 1]),
        max([1, 5], [1, 3], [0, 2], [2, 2]),
        mean([2, 2], [2, 2], [0, 0], Divisor::Valid),
        mean([3, 4], [1, 2], [1, 2], Divisor::Padded),
        mean([3, 3], [2, 2], [1, 1], Divisor::Valid),
        mean([2, 3], [1, 1], [0, 1], Divisor::Fixed(7)),
        KernelSpec::AdaptiveAvgPool2d,
        KernelSpec::Quantize(Code::U8),
        KernelSpec::Quantize(Code::S8),
        KernelSpec::Dequantize(Code::U8),
        KernelSpec::Dequantize(Code::S8),
        KernelSpec::PackConv,
        KernelSpec::PackLinear,
        KernelSpec::Relayout(Layout::NchwToNhwc),
        KernelSpec::Relayout(Layout::NhwcToNchw),
    ]
}

#[test]
fn every_kind_of_kernel_is_proven() {
    for isa in isas() {
        for spec in specs() {
            let kernel = Kernel::new(spec, Contract::Fbgemm, *isa).expect("it makes sense");
            let claim = selftest::claim(&[kernel]);
            let artefact = wait(job(&kernel, kernel.source()).claiming(claim));
            let artefact = artefact.unwrap_or_else(|error| panic!("failed to {error}"));
            assert!(artefact.proven.is_some(), "{kernel}");
        }
    }
}

#[test]
fn every_kind_of_kernel_is_proven_beside_others() {
    for isa in isas() {
        let kernels = specs().into_iter();
        let kernels = kernels.map(|spec| Kernel::new(spec, Contract::Fbgemm, *isa));
        let kernels: Result<Vec<_>, _> = kernels.collect();
        let units = Unit::join(&kernels.expect("they make sense"));
        assert!(units.len() < specs().len());
        for unit in units {
            let claim = selftest::claim(unit.kernels());
            let artefact = wait(unit_job(&unit).claiming(claim));
            let artefact = artefact.unwrap_or_else(|error| panic!("failed to {error}"));
            assert!(artefact.proven.is_some(), "{unit}");
        }
    }
}

#[test]
fn a_kernel_that_computes_something_else_is_found() {
    let add = KernelSpec::Add;
    let conv = KernelSpec::Conv2d(Conv2d::new(512, 512, [3, 3]).padded([1, 1]));
    for isa in isas() {
        for (spec, from, to) in [
            (add, "a->zo", "(a->zo ^ 1)"),
            (conv, "a->hi", "(a->hi - 1)"),
        ] {
            let kernel = Kernel::new(spec, Contract::Fbgemm, *isa).expect("it makes sense");
            let source = kernel.source();
            assert!(source.contains(from), "{source}");
            let claim = selftest::claim(&[kernel]);
            let found = wait(job(&kernel, source.replace(from, to)).claiming(claim));
            assert!(
                matches!(
                    found,
                    Err(JobError::Wrong { .. } | JobError::GivenUp { .. })
                ),
                "{found:?}"
            );
        }
    }
}
