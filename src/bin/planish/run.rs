//! `planish run`: runs an artefact.

use std::borrow::Cow;
use std::io::Write;

use planish::check::{Samples, compare, tensors};
use planish::ir::{DType, Tensor};
use planish::report::FallbackEntry;
use planish::runtime::Stats;
use planish::{Artefact, file};
use safetensors::{Dtype, View};

use crate::args;
use crate::diagnose::{Failure, failed};
use crate::finalize::{judge, print_check, print_coverage, print_fallbacks, print_written};

/// Runs an artefact.
pub fn run(args: &args::Run, out: &mut impl Write) -> Result<(), Failure> {
    if let Some(path) = &args.output {
        file::check_place(path).map_err(|error| Failure::file("write", path, &error))?;
    }
    let artefact = Artefact::open(&args.artefact).map_err(|error| failed(&error))?;
    let samples = Samples::open(&args.inputs).map_err(|error| failed(&error))?;
    let program = artefact.program().map_err(|error| failed(&error))?;
    let mut stats = Stats::default();
    let answer = program
        .call_with(&samples.values(), &mut stats)
        .map_err(|error| failed(&error))?;
    let outputs = tensors(&answer).map_err(|error| failed(&error))?;
    let check = if samples.expected.is_empty() {
        None
    } else {
        Some(compare(&outputs, &samples).map_err(|error| failed(&error))?)
    };
    if let Some(path) = &args.output {
        let named = outputs
            .iter()
            .enumerate()
            .map(|(at, tensor)| (format!("output.{at}"), Stored(tensor)));
        let bytes = safetensors::serialize(named, None).map_err(|error| failed(&error))?;
        file::write_whole(path, &bytes).map_err(|error| Failure::file("write", path, &error))?;
    }
    for (at, output) in outputs.iter().enumerate() {
        writeln!(out, "output.{at}: {}{:?}", output.dtype(), output.shape())?;
    }
    if let Some(check) = &check {
        print_check(check, out)?;
    }
    print_coverage(stats.coverage(), out)?;
    print_fallbacks(&FallbackEntry::all(program.fallbacks(), &stats), out)?;
    if let Some(path) = &args.output {
        print_written(path, out)?;
    }
    check.as_ref().map_or(Ok(()), judge)
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
