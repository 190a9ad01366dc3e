//! The ladder that a kernel goes down when its compiler fails: slower at each step, and just as right.

use std::fmt;

use planish_kernels::{Isa, Kernel, Unit};
use planish_pool::{Job, JobError, Toolchain};

/// How a kernel is had.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rung {
    /// Compiled with all optimisations, for the target's instruction set.
    Optimised,
    /// Compiled for it with few optimisations.
    Plain,
    /// Compiled with few optimisations for any processor.
    Portable,
    /// Not at all: the reference evaluator computes it.
    Eval,
}

impl Rung {
    /// The next one down for a kernel of this instruction set.
    pub(crate) fn below(self, isa: Isa) -> Self {
        match self {
            Self::Optimised => Self::Plain,
            Self::Plain if isa != Isa::Portable => Self::Portable,
            Self::Plain | Self::Portable | Self::Eval => Self::Eval,
        }
    }

    /// The kernel that is compiled on this rung in the place of `kernel`.
    pub(crate) fn kernel(self, kernel: Kernel) -> Kernel {
        if self < Self::Portable {
            return kernel;
        }
        // A geometry makes sense for every instruction set or for none.
        Kernel::new(*kernel.spec(), kernel.contract(), Isa::Portable).unwrap_or(kernel)
    }

    /// The job that compiles these kernels, which are those of this rung.
    pub(crate) fn job(self, unit: &Unit, toolchain: &Toolchain) -> Job {
        let flags = unit.flags().into_iter().map(|flag| match (self, flag) {
            (Self::Plain | Self::Portable, "-O3") => "-O1",
            (Self::Plain | Self::Portable, "-O") => "-O0",
            (_, flag) => flag,
        });
        let job = Job::cc(toolchain, unit.source(), flags).named(unit.to_string());
        let mut isas = unit.kernels().iter().map(Kernel::isa);
        // What is compiled for another processor cannot be tried on this one.
        if isas.all(Isa::is_supported) {
            job.claiming(crate::selftest::claim(unit.kernels()))
        } else {
            job
        }
    }
}

impl fmt::Display for Rung {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Optimised => "optimised",
            Self::Plain => "plain",
            Self::Portable => "portable",
            Self::Eval => "eval",
        })
    }
}

/// Whether another way of compiling may go better: the compiler crashed, ran out of something, or made something
/// wrong. A source that it refuses, and a pool that cannot work, are mistakes that must be seen.
pub(crate) fn is_the_compilers_fault(error: &JobError) -> bool {
    matches!(
        error,
        JobError::Crashed { .. }
            | JobError::GivenUp { .. }
            | JobError::OverLimit { .. }
            | JobError::Wrong { .. }
            | JobError::Protocol { .. }
    )
}

#[cfg(test)]
mod tests {
    use planish_kernels::{Contract, KernelSpec};

    use super::*;

    #[test]
    fn every_kernel_ends_at_the_evaluator() {
        let ladder = |isa| {
            let mut rungs = vec![Rung::Optimised];
            while rungs.last() != Some(&Rung::Eval) {
                rungs.extend(rungs.last().map(|rung| rung.below(isa)));
            }
            rungs
        };
        assert_eq!(
            ladder(Isa::Portable),
            [Rung::Optimised, Rung::Plain, Rung::Eval]
        );
        assert_eq!(
            ladder(Isa::Avx512Vnni),
            [Rung::Optimised, Rung::Plain, Rung::Portable, Rung::Eval]
        );
    }

    #[test]
    fn from_portable_on_the_kernel_is_for_any_processor() {
        let kernel = Kernel::new(KernelSpec::Add, Contract::Fbgemm, Isa::Avx512Vnni)
            .expect("it has no geometry");
        assert_eq!(Rung::Plain.kernel(kernel), kernel);
        assert_eq!(Rung::Portable.kernel(kernel).isa(), Isa::Portable);
    }
}
