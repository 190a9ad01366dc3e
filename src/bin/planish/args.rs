//! What can be asked for.

use std::path::PathBuf;

use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum};
use planish::kernels::Isa;
use planish::pool::{Arch, Sandbox};
use tracing_subscriber::filter::LevelFilter;

/// Finishes quantized neural networks.
#[derive(Debug, Parser)]
#[command(name = "planish", version, about, arg_required_else_help = true)]
pub struct Args {
    /// Say on standard error what is done, and how long it took: error, warn, info, debug, trace
    #[arg(long, global = true, value_name = "LEVEL")]
    pub log: Option<LevelFilter>,
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Run the Finalize passes over a model and compile its kernels
    Finalize(Finalize),
    /// Run a finalized model
    Run(Run),
    /// Run passes over a module in text form and print what comes out
    Opt(Opt),
    /// Print a model in text form
    Import(Import),
    /// List the passes
    Passes,
    /// List and explain the rewrite rules, and say why none matches
    Rules(Rules),
    /// Look after the compiled kernels that are kept
    Cache(Cache),
    /// Compile a kernel for devices, without one
    Triton(Triton),
    /// Say what is there and whether it works: compilers, instruction set, workers, cache, Triton
    Doctor(Doctor),
}

/// Arguments of `finalize`.
#[derive(Debug, ClapArgs)]
pub struct Finalize {
    /// The quantized model, a TorchScript archive (.pt)
    pub model: PathBuf,
    /// Write the artefact here
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Run `input.0`, `input.1`, … of this file and compare with `expected.0`, …, bit for bit
    #[arg(long, value_name = "FILE.safetensors")]
    pub check: Option<PathBuf>,
    /// Write a report (JSON) here
    #[arg(long, value_name = "FILE")]
    pub report: Option<PathBuf>,
    /// Do all of it in a child process, which cannot harm this one; needs -o
    #[arg(long, conflicts_with_all = ["check", "report", "prove"])]
    pub in_child: bool,
    /// Write a trace of the run (JSON that Perfetto and Chrome show) here, also when it fails
    #[arg(long, value_name = "FILE")]
    pub trace: Option<PathBuf>,
    /// Write what the pool of compilers counted (JSON) here, also when the model is refused
    #[arg(long, value_name = "FILE")]
    pub counters: Option<PathBuf>,
    /// Keep this attribute, submodule or method (dotted path; may be given several times)
    #[arg(long, value_name = "NAME")]
    pub preserve: Vec<String>,
    /// How activations were quantized
    #[arg(long, value_enum, default_value_t = QuantType::Static)]
    pub quant_type: QuantType,
    /// Refuse the model when a smaller share (0 to 1) of what multiplies weights or matrices is computed on codes
    #[arg(long, value_name = "SHARE", default_value_t = 0.0, hide_default_value = true, value_parser = share)]
    pub min_coverage: f64,
    /// Instruction set of the kernels: portable, avx512vnni, or host
    #[arg(long, default_value = "host", value_name = "ISA", value_parser = isa)]
    pub isa: Isa,
    /// Print every rewrite that was made or declined
    #[arg(long)]
    pub remarks: bool,
    /// Prove every rewrite and every pass on `input.0`, `input.1`, … of this file and on variations of them
    #[arg(long, value_name = "FILE.safetensors")]
    pub prove: Option<PathBuf>,
    /// Write what disproves a rewrite into this folder
    #[arg(long, value_name = "DIR", default_value = "counterexample")]
    pub counterexample: PathBuf,
    /// The compiler.
    #[command(flatten)]
    pub compiler: Compiler,
}

/// How activations were quantized.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum QuantType {
    /// Scales were observed beforehand
    Static,
    /// Scales are computed on each run
    Dynamic,
}

/// Where kernels are compiled.
#[derive(Debug, ClapArgs)]
pub struct Compiler {
    /// The C compiler [default: $CC, else cc, gcc or clang in $PATH]
    #[arg(long, value_name = "PATH")]
    pub cc: Option<PathBuf>,
    /// Compile threads; 1 compiles directly, without worker processes [default: the processors, at most 8]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub jobs: Option<u16>,
    /// Directory of compiled kernels [default: `$XDG_CACHE_HOME/planish`, else `~/.cache/planish`]
    #[arg(long, value_name = "DIR")]
    pub cache: Option<PathBuf>,
    /// Keep no compiled kernels
    #[arg(long, conflicts_with = "cache")]
    pub no_cache: bool,
    /// How compilers are confined: strict (or not at all), best-effort, off
    #[arg(long, value_name = "LEVEL", default_value_t)]
    pub sandbox: Sandbox,
}

/// Arguments of `triton`.
#[derive(Debug, ClapArgs)]
pub struct Triton {
    /// A kernel of planish (`linear_u8s8u8 i512 o256`, `linear_s8s8s8 i512 o256`, `add_relu_u8`), or a Python file
    pub kernel: String,
    /// Compile for this device (may be given several times) [default: `sm_80`, `sm_90`, `sm_100`]
    #[arg(long, value_name = "ARCH", value_parser = arch)]
    pub arch: Vec<Arch>,
    /// Write cubins, launch records, PTX and the source into this folder
    #[arg(short, long, value_name = "DIR")]
    pub output: Option<PathBuf>,
    /// The function in the Python file [default: the file's name]
    #[arg(long, value_name = "NAME")]
    pub function: Option<String>,
    /// Its parameters: `x: *u8@16, rows: i32, BLOCK: 64` (type, and what divides it; constants by their values)
    #[arg(long, value_name = "TEXT")]
    pub signature: Option<String>,
    /// The programs of a launch: `cdiv(rows, BLOCK) * 4`
    #[arg(long, value_name = "TEXT")]
    pub grid: Option<String>,
    /// Warps of a program
    #[arg(long, value_name = "N", default_value_t = 4)]
    pub warps: u32,
    /// Blocks of a program
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub ctas: u32,
    /// Depth of the loops' pipelines
    #[arg(long, value_name = "N", default_value_t = 3)]
    pub stages: u32,
    /// Let products be contracted with sums, which changes results
    #[arg(long)]
    pub fp_fusion: bool,
    /// The Python that has Triton [default: `$PLANISH_TRITON_PYTHON`, else python3 in $PATH]
    #[arg(long, value_name = "PATH")]
    pub python: Option<PathBuf>,
    /// The pool.
    #[command(flatten)]
    pub compiler: Compiler,
}

/// Arguments of `doctor`.
#[derive(Debug, ClapArgs)]
pub struct Doctor {
    /// Print it as JSON
    #[arg(long)]
    pub json: bool,
    /// The Python that has Triton [default: `$PLANISH_TRITON_PYTHON`, else python3 in $PATH]
    #[arg(long, value_name = "PATH")]
    pub python: Option<PathBuf>,
    /// The compiler.
    #[command(flatten)]
    pub compiler: Compiler,
}

/// Arguments of `cache`.
#[derive(Debug, ClapArgs)]
pub struct Cache {
    /// What to do
    #[command(subcommand)]
    pub verb: CacheVerb,
    /// Directory of compiled kernels [default: `$XDG_CACHE_HOME/planish`, else `~/.cache/planish`]
    #[arg(long, value_name = "DIR", global = true)]
    pub cache: Option<PathBuf>,
}

/// What to do with the cache.
#[derive(Debug, Subcommand)]
pub enum CacheVerb {
    /// Say how much there is
    Stats,
    /// Remove what was not used for longest, until the rest fits
    Gc {
        /// Bytes that may stay; K, M and G are powers of 1024
        #[arg(long, value_name = "SIZE", default_value = "1G", value_parser = size)]
        max_size: u64,
    },
    /// Check every entry, and set aside those that are damaged
    Verify,
    /// Remove everything
    Clear,
}

/// Arguments of `run`.
#[derive(Debug, ClapArgs)]
pub struct Run {
    /// The artefact
    pub artefact: PathBuf,
    /// Tensors `input.0`, `input.1`, …; outputs are compared with `expected.0`, … if the file has them
    #[arg(long, value_name = "FILE.safetensors")]
    pub inputs: PathBuf,
    /// Write the outputs here, as `output.0`, `output.1`, …
    #[arg(short, long, value_name = "FILE.safetensors")]
    pub output: Option<PathBuf>,
}

/// Arguments of `opt`.
#[derive(Debug, ClapArgs)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
pub struct Opt {
    /// A module in text form (.ir), or a model (.pt)
    #[arg(required_unless_present = "replay")]
    pub input: Option<PathBuf>,
    /// Passes, separated by commas [default: those of Finalize]
    #[arg(long, value_name = "PASSES")]
    pub passes: Option<String>,
    /// Print the module after this pass as well (to standard error)
    #[arg(long, value_name = "PASS")]
    pub print_after: Vec<String>,
    /// Print the module after every pass that changed it (to standard error)
    #[arg(long)]
    pub print_changed: bool,
    /// Verify the module after every pass, not only before the first and after the last
    #[arg(long)]
    pub verify_each: bool,
    /// Print how long each pass took (to standard error)
    #[arg(long)]
    pub timing: bool,
    /// Write a trace of the passes (JSON that Perfetto and Chrome show) here, also when one fails
    #[arg(long, value_name = "FILE")]
    pub trace: Option<PathBuf>,
    /// How the module is printed.
    #[command(flatten)]
    pub print: Print,
    /// Make at most this many rewrites
    #[arg(long, value_name = "N")]
    pub fuel: Option<u64>,
    /// Print every rewrite that was made or declined (to standard error)
    #[arg(long)]
    pub remarks: bool,
    /// Prove every rewrite and every pass on `input.0`, `input.1`, … of this file and on variations of them
    #[arg(long, value_name = "FILE.safetensors")]
    pub prove: Option<PathBuf>,
    /// Write what disproves a rewrite into this folder
    #[arg(long, value_name = "DIR", default_value = "counterexample")]
    pub counterexample: PathBuf,
    /// Run a counter-example again, and nothing else
    #[arg(long, value_name = "DIR", conflicts_with_all = ["input", "prove"])]
    pub replay: Option<PathBuf>,
    /// Keep this attribute, submodule or method (dotted path; may be given several times)
    #[arg(long, value_name = "NAME")]
    pub preserve: Vec<String>,
    /// How activations were quantized
    #[arg(long, value_enum, default_value_t = QuantType::Static)]
    pub quant_type: QuantType,
}

/// Arguments of `rules`.
#[derive(Debug, ClapArgs)]
pub struct Rules {
    /// What to do.
    #[command(subcommand)]
    pub verb: RulesVerb,
}

/// What to do with rules.
#[derive(Debug, Subcommand)]
pub enum RulesVerb {
    /// List the rules by number and name
    List,
    /// Print a rule: its text, its source, what keeps it right
    Explain(Explain),
    /// Say which rules came near to fusing what computes a value, and what kept them off
    WhyNot(WhyNot),
}

/// Arguments of `rules explain`.
#[derive(Debug, ClapArgs)]
pub struct Explain {
    /// The rule's number or name
    pub rule: String,
}

/// Arguments of `rules why-not`.
#[derive(Debug, ClapArgs)]
pub struct WhyNot {
    /// A module in text form (.ir), or a model (.pt)
    pub input: PathBuf,
    /// The value, by its name in the text (`%x.6`)
    pub value: String,
    /// Run the passes of Finalize that stand before this one first [default: quant-fusion for a model, none for a text]
    #[arg(long, value_name = "PASS")]
    pub before: Option<String>,
    /// Keep this attribute, submodule or method (dotted path; may be given several times)
    #[arg(long, value_name = "NAME")]
    pub preserve: Vec<String>,
    /// How activations were quantized
    #[arg(long, value_enum, default_value_t = QuantType::Static)]
    pub quant_type: QuantType,
}

/// Arguments of `import`.
#[derive(Debug, ClapArgs)]
pub struct Import {
    /// The model, a TorchScript archive (.pt)
    pub model: PathBuf,
    /// How it is printed.
    #[command(flatten)]
    pub print: Print,
}

/// How a module is printed.
#[derive(Clone, Copy, Debug, ClapArgs)]
pub struct Print {
    /// Print the elements of every tensor, so that the text can be read back
    #[arg(long)]
    pub elements: bool,
    /// Print values by the names that remarks give them, and the place of each operation in the source
    #[arg(long)]
    pub names: bool,
}

/// Reads a number of bytes.
fn size(text: &str) -> Result<u64, String> {
    let (digits, shift) = match text.as_bytes().last() {
        Some(b'K' | b'k') => (&text[..text.len() - 1], 10),
        Some(b'M' | b'm') => (&text[..text.len() - 1], 20),
        Some(b'G' | b'g') => (&text[..text.len() - 1], 30),
        _ => (text, 0),
    };
    let number = digits.parse::<u64>().ok();
    number
        .and_then(|number| number.checked_mul(1 << shift))
        .ok_or_else(|| "expected a number of bytes such as 4096, 512M or 2G".to_owned())
}

/// Reads a share of a whole.
fn share(text: &str) -> Result<f64, String> {
    let share = text
        .parse()
        .ok()
        .filter(|share| (0.0..=1.0).contains(share));
    share.ok_or_else(|| "expected a number from 0 to 1".to_owned())
}

/// Reads the name of an instruction set.
fn isa(name: &str) -> Result<Isa, String> {
    if name == "host" {
        return Ok(Isa::host());
    }
    name.parse().map_err(|_| {
        let known = Isa::ALL.map(|isa| isa.to_string());
        format!("expected host, {}", known.join(", "))
    })
}

/// Reads the name of a device.
fn arch(name: &str) -> Result<Arch, String> {
    name.parse()
        .map_err(|_| "expected a device such as sm_80, sm_90 or sm_100".to_owned())
}

impl From<QuantType> for planish::passes::QuantType {
    fn from(quant_type: QuantType) -> Self {
        match quant_type {
            QuantType::Static => Self::Static,
            QuantType::Dynamic => Self::Dynamic,
        }
    }
}
