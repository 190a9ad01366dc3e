//! Calls of kernels.
//!
//! A kernel trusts its arguments. So each call is described by slices and sizes, [`Entry::call`] checks them against the kernel's
//! geometry and against each other, and only then turns them into pointers.

use std::fmt;

use planish_kernels::abi::{Args, DONE};
use planish_kernels::{Affine, Code, Codes, Epilogue, Kernel, KernelSpec, Packing};

use crate::load::Function;
use crate::{Error, Library};

/// No size may exceed this; with it no address that a kernel computes leaves 64 bits.
const LARGEST: usize = i32::MAX as usize;

/// A kernel that can be called.
#[derive(Clone)]
pub struct Entry {
    kernel: Kernel,
    function: Function,
    /// Keeps the code in memory.
    _library: Library,
}

/// The arguments of one call. Images are dense NHWC; their sizes are `[images, height, width]`, with channels as a fourth where the
/// kernel's geometry does not say them.
#[derive(Debug)]
pub enum Call<'a> {
    /// For [`KernelSpec::Conv2d`]; for [`KernelSpec::Linear`] the size is `[1, 1, rows]`.
    Weighted {
        /// Input.
        x: &'a [u8],
        /// Size of the input.
        size: [usize; 3],
        /// Zero point of the input.
        zero: u8,
        /// Packed weights.
        weights: &'a [u8],
        /// Output stage.
        epilogue: &'a Epilogue,
        /// Codes of the output.
        codes: Codes,
        /// Working memory, at least [`Kernel::scratch_len`] bytes.
        scratch: &'a mut [u8],
        /// Output.
        out: &'a mut [u8],
    },
    /// For [`KernelSpec::Add`] and [`KernelSpec::Mul`].
    Binary {
        /// First input.
        x: &'a [u8],
        /// Quantization of the first input.
        x_quant: Affine,
        /// Second input.
        y: &'a [u8],
        /// Quantization of the second input.
        y_quant: Affine,
        /// Scale of the output.
        scale: f32,
        /// Codes of the output.
        codes: Codes,
        /// Output.
        out: &'a mut [u8],
    },
    /// For [`KernelSpec::Cat`]: one input, in pieces of `inner` bytes that go to every `step` bytes of the output, the first to `offset`.
    Part {
        /// Input.
        x: &'a [u8],
        /// From codes of the input to codes of the output.
        table: &'a [u8; 256],
        /// Bytes of a piece.
        inner: usize,
        /// Bytes from one piece to the next in the output.
        step: usize,
        /// Bytes before the first piece in the output.
        offset: usize,
        /// The whole output.
        out: &'a mut [u8],
    },
    /// For [`KernelSpec::Lut`].
    Table {
        /// Input.
        x: &'a [u8],
        /// From codes of the input to codes of the output.
        table: &'a [u8; 256],
        /// Output.
        out: &'a mut [u8],
    },
    /// For the pools.
    Pool {
        /// Input.
        x: &'a [u8],
        /// Size of the input, with channels.
        size: [usize; 4],
        /// Zero point of input and output (of no consequence to a max pool).
        zero: u8,
        /// Height and width of the output.
        out_size: [usize; 2],
        /// Output.
        out: &'a mut [u8],
    },
    /// For [`KernelSpec::Quantize`].
    Quantize {
        /// Input.
        x: &'a [f32],
        /// Scale of the output.
        scale: f32,
        /// Codes of the output.
        codes: Codes,
        /// Output; codes of type `s8` in two's complement.
        out: &'a mut [u8],
    },
    /// For [`KernelSpec::Dequantize`].
    Dequantize {
        /// Input; codes of type `s8` in two's complement.
        x: &'a [u8],
        /// Quantization of the input.
        quant: Affine,
        /// Output.
        out: &'a mut [f32],
    },
    /// For [`KernelSpec::PackConv`] and [`KernelSpec::PackLinear`].
    Pack {
        /// The kernel's logical weights, as the packing sees them.
        packing: Packing,
        /// Logical weights.
        weights: &'a [i8],
        /// Packed weights.
        out: &'a mut [u8],
    },
    /// For [`KernelSpec::Relayout`].
    Relayout {
        /// Input.
        x: &'a [u8],
        /// Images, channels, height, width, in this order for both layouts.
        size: [usize; 4],
        /// Output.
        out: &'a mut [u8],
    },
}

impl Entry {
    pub(crate) fn new(kernel: Kernel, function: Function, library: Library) -> Self {
        Self {
            kernel,
            function,
            _library: library,
        }
    }

    /// The kernel.
    pub fn kernel(&self) -> &Kernel {
        &self.kernel
    }

    /// Runs the kernel. Arguments that do not fit its geometry or each other are an error, and nothing has run then.
    pub fn call(&self, call: Call<'_>) -> Result<(), Error> {
        let args = arguments(&self.kernel, call).map_err(|Unfit(why)| Error::Arguments {
            kernel: self.kernel.to_string(),
            why,
        })?;
        // SAFETY: `arguments` has checked that every slice is as long as this kernel reads or writes for these sizes. The lifetime in
        // `Call<'_>` outlasts this function, and `out` and `scratch` are borrowed mutably for it, so nothing else touches them. The code
        // is there, since the entry holds its library, and can run here, since no entry is given for a missing instruction set.
        let answer = unsafe { (self.function)(&raw const args) };
        if answer == DONE {
            Ok(())
        } else {
            Err(Error::Interface {
                kernel: self.kernel.to_string(),
                answer,
            })
        }
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Entry({})", self.kernel)
    }
}

/// Why arguments do not fit.
struct Unfit(String);

/// The arguments in the form that the kernel takes, after all checks.
fn arguments(kernel: &Kernel, call: Call<'_>) -> Result<Args, Unfit> {
    let mut args = Args::EMPTY;
    match (kernel.spec(), call) {
        (
            spec @ (KernelSpec::Conv2d(_) | KernelSpec::Linear(_)),
            Call::Weighted {
                x,
                size,
                zero,
                weights,
                epilogue,
                codes,
                scratch,
                out,
            },
        ) => {
            let [images, height, width] = size;
            let (inputs, outputs, [out_height, out_width]) = match spec {
                KernelSpec::Conv2d(conv) => {
                    let out_size = conv.output_size([height, width]);
                    let narrow = || {
                        Unfit(format!(
                            "the window does not fit an image of {height} x {width}"
                        ))
                    };
                    (conv.inputs, conv.outputs, out_size.ok_or_else(narrow)?)
                }
                KernelSpec::Linear(linear) => (linear.inputs, linear.outputs, [height, width]),
                _ => return Err(Unfit("its specification has no weights".to_owned())),
            };
            length(
                "the input",
                x.len(),
                volume(&[images, height, width, inputs])?,
            )?;
            length(
                "the output",
                out.len(),
                volume(&[images, out_height, out_width, outputs])?,
            )?;
            let packing = spec
                .packing()
                .ok_or_else(|| Unfit("its specification has no weights".to_owned()))?;
            length(
                "the packed weight",
                weights.len(),
                packing.packed_len(kernel.isa()),
            )?;
            length(
                "the output stage",
                epilogue.values().len(),
                packing.slots() * 3,
            )?;
            let needed = kernel.scratch_len([height, width]);
            if scratch.len() < needed {
                return Err(Unfit(format!(
                    "the working memory has {} bytes, expected at least {needed}",
                    scratch.len()
                )));
            }
            bounds(codes, Code::U8)?;
            args.x = x.as_ptr();
            [args.n, args.h, args.w, args.c] =
                [images, height, width, inputs].map(|size| size as i64);
            [args.oh, args.ow] = [out_height, out_width].map(|size| size as i64);
            args.zx = i32::from(zero);
            args.weights = weights.as_ptr();
            args.epilogue = epilogue.values().as_ptr();
            args.scratch = scratch.as_mut_ptr();
            args.out = out.as_mut_ptr();
            set_codes(&mut args, codes);
        }
        (
            spec @ (KernelSpec::Add | KernelSpec::Mul),
            Call::Binary {
                x,
                x_quant,
                y,
                y_quant,
                scale,
                codes,
                out,
            },
        ) => {
            length("the first input", x.len(), out.len())?;
            length("the second input", y.len(), out.len())?;
            bounds(codes, Code::U8)?;
            zero_point(x_quant.zero, Code::U8)?;
            zero_point(y_quant.zero, Code::U8)?;
            (args.x, args.y, args.out) = (x.as_ptr(), y.as_ptr(), out.as_mut_ptr());
            args.n = out.len() as i64;
            (args.sx, args.zx, args.sy, args.zy) =
                (x_quant.scale, x_quant.zero, y_quant.scale, y_quant.zero);
            args.multiplier = match spec {
                KernelSpec::Add => 1.0 / scale,
                _ => planish_kernels::mul_multiplier(x_quant.scale, y_quant.scale, scale),
            };
            set_codes(&mut args, codes);
        }
        (
            KernelSpec::Cat,
            Call::Part {
                x,
                table,
                inner,
                step,
                offset,
                out,
            },
        ) => {
            if offset.checked_add(inner).is_none_or(|end| end > step) {
                return Err(Unfit(format!(
                    "a piece of {inner} bytes at {offset} does not fit a step of {step}"
                )));
            }
            // A step of 0 leaves nothing to copy.
            let pieces = out.len().checked_div(step).unwrap_or(0);
            length("the output", out.len(), pieces * step)?;
            length("the input", x.len(), volume(&[pieces, inner])?)?;
            (args.x, args.table, args.out) = (x.as_ptr(), table.as_ptr(), out.as_mut_ptr());
            args.n = pieces as i64;
            [args.inner, args.step, args.offset] = [inner, step, offset].map(|size| size as i64);
        }
        (KernelSpec::Lut, Call::Table { x, table, out }) => {
            length("the input", x.len(), out.len())?;
            (args.x, args.table, args.out) = (x.as_ptr(), table.as_ptr(), out.as_mut_ptr());
            args.n = out.len() as i64;
        }
        (
            KernelSpec::MaxPool2d(_) | KernelSpec::AvgPool2d(_) | KernelSpec::AdaptiveAvgPool2d,
            Call::Pool {
                x,
                size,
                zero,
                out_size,
                out,
            },
        ) => {
            length("the input", x.len(), volume(&size)?)?;
            length(
                "the output",
                out.len(),
                volume(&[size[0], out_size[0], out_size[1], size[3]])?,
            )?;
            args.x = x.as_ptr();
            [args.n, args.h, args.w, args.c] = size.map(|size| size as i64);
            [args.oh, args.ow] = out_size.map(|size| size as i64);
            args.zx = i32::from(zero);
            args.out = out.as_mut_ptr();
        }
        (
            KernelSpec::Quantize(code),
            Call::Quantize {
                x,
                scale,
                codes,
                out,
            },
        ) => {
            length("the input", x.len(), out.len())?;
            bounds(codes, *code)?;
            (args.x, args.out) = (x.as_ptr().cast(), out.as_mut_ptr());
            args.n = out.len() as i64;
            args.multiplier = 1.0 / scale;
            set_codes(&mut args, codes);
        }
        (KernelSpec::Dequantize(code), Call::Dequantize { x, quant, out }) => {
            length("the input", x.len(), out.len())?;
            zero_point(quant.zero, *code)?;
            (args.x, args.out) = (x.as_ptr(), out.as_mut_ptr().cast());
            args.n = out.len() as i64;
            (args.sx, args.zx) = (quant.scale, quant.zero);
        }
        (
            KernelSpec::PackConv | KernelSpec::PackLinear,
            Call::Pack {
                packing,
                weights,
                out,
            },
        ) => {
            let Packing {
                groups,
                outputs,
                inputs,
                taps,
                runs,
                depthwise,
            } = packing;
            let walk = volume(&[inputs, taps])?;
            if runs == 0 || walk == 0 || walk % runs != 0 {
                return Err(Unfit(format!(
                    "{walk} weights of an output do not fall into {runs} runs"
                )));
            }
            length(
                "the weight",
                weights.len(),
                volume(&[groups, outputs, walk])?,
            )?;
            // The longest layout has 64 bytes for a weight: one output in a block, one weight in a quad.
            volume(&[groups, outputs, walk, 64])?;
            length(
                "the packed weight",
                out.len(),
                packing.packed_len(kernel.isa()),
            )?;
            args.weights = weights.as_ptr().cast();
            args.out = out.as_mut_ptr();
            [args.groups, args.outputs, args.inputs] =
                [groups, outputs, inputs].map(|size| size as i64);
            [args.taps, args.runs, args.depthwise] =
                [taps, runs, usize::from(depthwise)].map(|size| size as i64);
        }
        (KernelSpec::Relayout(_), Call::Relayout { x, size, out }) => {
            length("the input", x.len(), volume(&size)?)?;
            length("the output", out.len(), x.len())?;
            (args.x, args.out) = (x.as_ptr(), out.as_mut_ptr());
            [args.n, args.c, args.h, args.w] = size.map(|size| size as i64);
        }
        (spec, _) => {
            return Err(Unfit(format!(
                "these are not the arguments of {}",
                spec.operator()
            )));
        }
    }
    Ok(args)
}

fn set_codes(args: &mut Args, codes: Codes) {
    (args.zo, args.lo, args.hi) = (codes.zero, codes.lo, codes.hi);
}

/// The product of sizes, each of which a kernel can count and whose product it can address.
fn volume(sizes: &[usize]) -> Result<usize, Unfit> {
    let too_large = || {
        Unfit(format!(
            "sizes {sizes:?} are more than a kernel can address"
        ))
    };
    let mut product = 1_usize;
    for &size in sizes {
        if size > LARGEST {
            return Err(too_large());
        }
        // A size of 0 must not hide that the others are too large.
        product = product.checked_mul(size.max(1)).ok_or_else(too_large)?;
    }
    Ok(if sizes.contains(&0) { 0 } else { product })
}

fn length(what: &str, found: usize, expected: usize) -> Result<(), Unfit> {
    if found == expected {
        Ok(())
    } else {
        Err(Unfit(format!(
            "{what} has {found} values, expected {expected}"
        )))
    }
}

fn bounds(codes: Codes, code: Code) -> Result<(), Unfit> {
    zero_point(codes.zero, code)?;
    zero_point(codes.lo, code)?;
    zero_point(codes.hi, code)?;
    if codes.lo > codes.hi {
        return Err(Unfit(format!(
            "the smallest code {} is above the largest {}",
            codes.lo, codes.hi
        )));
    }
    Ok(())
}

fn zero_point(zero: i32, code: Code) -> Result<(), Unfit> {
    let range = match code {
        Code::U8 => 0..=255,
        Code::S8 => -128..=127,
    };
    if range.contains(&zero) {
        Ok(())
    } else {
        Err(Unfit(format!("{zero} is no code of type {code:?}")))
    }
}
