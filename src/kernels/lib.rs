//! Kernel specifications and the C that is generated from them.
//!
//! A [`KernelSpec`] says what a kernel computes: operator and geometry. A [`Kernel`] adds the numeric [`Contract`] and the instruction
//! set ([`Isa`]): that is its identity, and [`Kernel::source`] is a pure function of it. Everything else (batch, height, width, scales,
//! zero points, clamp bounds) is an argument of the call, so layers of equal geometry share one kernel.
//!
//! ```
//! use planish_kernels::{Contract, Isa, Kernel, KernelSpec, Linear};
//!
//! let spec = KernelSpec::Linear(Linear { inputs: 512, outputs: 10 });
//! let kernel = Kernel::new(spec, Contract::Fbgemm, Isa::Portable)?;
//! assert_eq!(kernel.to_string(), "linear_u8s8u8 i512 o10 fbgemm portable");
//! assert_eq!(kernel.symbol(), "planish_linear_u8s8u8_i512_o10_fbgemm_portable");
//! assert!(kernel.source().contains("int ENTRY(const struct planish_args *a)"));
//! # Ok::<(), planish_kernels::Error>(())
//! ```
//!
//! # Laws
//! - **Activations** are dense NHWC codes of type `u8`; **weights** are `s8` with zero point 0; **bias** is `f32`.
//! - **Accumulation** is exact in `i32` and never saturates: `Σ q_x·q_w − z_x·Σ q_w`, where a padding tap reads as code `z_x`.
//! - **Output stage**, one form for every contract: `clamp(rint(fma(bias, inv, float(acc)) * mult) + z_y, lo, hi)`, see [`Epilogue`].
//!   A fused relu is nothing but `lo = z_y`.
//! - All instruction sets give the **same bytes**.
//! - The C includes nothing and calls nothing: the shared object has no undefined symbol and runs no code when it is loaded.

pub mod abi;
mod emit;
mod epilogue;
mod error;
mod isa;
mod kernel;
pub mod lower;
mod pack;
pub mod reference;
mod spec;
mod triton;
mod unit;

pub use epilogue::{Affine, Codes, Epilogue, WeightScales, mul_multiplier, requantize_table};
pub use error::Error;
pub use isa::Isa;
pub use kernel::{Contract, Kernel};
pub use pack::{Packing, pack};
pub use spec::{AvgPool2d, Code, Conv2d, Divisor, KernelSpec, Layout, Linear, MaxPool2d};
pub use triton::TritonKernel;
pub use unit::Unit;
