//! `planish run`: runs an artefact.

use std::borrow::Cow;

use planish::Artefact;
use planish::check::{Samples, compare, tensors};
use planish::ir::{DType, Tensor};
use planish::runtime::Stats;
use safetensors::{Dtype, View};

use crate::args;
use crate::diagnose::{Failure, failed};
use crate::finalize::{print_check, print_fallbacks, write};

/// Runs an artefact.
pub fn run(args: &args::Run) -> Result<(), Failure> {
    let artefact = Artefact::open(&args.artefact).map_err(|error| failed(&error))?;
    let program = artefact.program().map_err(|error| failed(&error))?;
    let samples = Samples::open(&args.inputs).map_err(|error| failed(&error))?;
    let mut stats = Stats::default();
    let answer = program
        .call_with(&samples.values(), &mut stats)
        .map_err(|error| failed(&error))?;
    let outputs = tensors(&answer).map_err(|error| failed(&error))?;
    for (at, output) in outputs.iter().enumerate() {
        println!("output.{at}: {}{:?}", output.dtype(), output.shape());
    }
    if let Some(path) = &args.output {
        let named = outputs
            .iter()
            .enumerate()
            .map(|(at, tensor)| (format!("output.{at}"), Stored(tensor)));
        let bytes = safetensors::serialize(named, None).map_err(|error| failed(&error))?;
        write(path, &bytes)?;
    }
    let fallbacks = program.fallbacks();
    print_fallbacks(fallbacks.iter().map(|fallback| {
        (
            fallback.node.as_str(),
            fallback.op.as_str(),
            fallback.reason.as_str(),
        )
    }));
    if samples.expected.is_empty() {
        return Ok(());
    }
    let check = compare(&outputs, &samples).map_err(|error| failed(&error))?;
    print_check(&check);
    if check.mismatches > 0 {
        return Err(Failure::input(format!(
            "{} of {} values differ",
            check.mismatches, check.values
        )));
    }
    Ok(())
}

/// A tensor as it is stored.
struct Stored<'a>(&'a Tensor);

impl View for Stored<'_> {
    fn dtype(&self) -> Dtype {
        match self.0.dtype() {
            DType::Bool => Dtype::BOOL,
            DType::Byte | DType::QUInt8 => Dtype::U8,
            DType::Char | DType::QInt8 => Dtype::I8,
            DType::Short => Dtype::I16,
            DType::Int | DType::QInt32 => Dtype::I32,
            DType::Half => Dtype::F16,
            DType::BFloat16 => Dtype::BF16,
            DType::Float => Dtype::F32,
            DType::Double => Dtype::F64,
            _ => Dtype::I64,
        }
    }

    fn shape(&self) -> &[usize] {
        // Sizes of a tensor are never negative, and a usize has as many bits.
        bytemuck::cast_slice(self.0.shape())
    }

    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Owned(self.0.bytes().to_vec())
    }

    fn data_len(&self) -> usize {
        self.0.numel() * self.0.dtype().size()
    }
}
