//! `planish triton`: compiles a kernel for devices, without one.

use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::{env, fs};

use planish::file;
use planish::kernels::TritonKernel;
use planish::pool::{Arch, Cache, Job, Ptxas, Triton, TritonArtefact, TritonSearch, TritonSource};

use crate::args::Triton as Args;
use crate::diagnose::{Failure, failed};
use crate::environment;
use crate::progress::Progress;

/// The devices that a kernel is compiled for if none is named.
pub const ARCHS: [Arch; 3] = [Arch::SM_80, Arch::SM_90, Arch::SM_100];

/// Compiles one kernel for each device, and prints the digests of what comes out.
pub fn triton(args: &Args, out: &mut impl Write) -> Result<(), Failure> {
    if args.compiler.cc.is_some() {
        return Err(Failure::usage(
            "--cc names a C compiler, and kernels for devices have none; Triton is named with --python",
        ));
    }
    let source = source(args)?;
    let name = source.name();
    let triton = find(args.python.as_deref(), environment::cache(&args.compiler)?)?;
    let archs = if args.arch.is_empty() {
        &ARCHS[..]
    } else {
        &args.arch
    };
    let pool = environment::pool(&args.compiler, None::<Progress>)?;
    let tickets: Vec<_> = archs
        .iter()
        .map(|arch| {
            let job = Job::triton(&triton, source.clone(), *arch);
            pool.submit(job.named(format!("{} for {arch}", args.kernel)))
        })
        .collect();
    if let Some(directory) = &args.output {
        fs::create_dir_all(directory).map_err(|error| Failure::file("make", directory, &error))?;
        let path = directory.join(format!("{name}.py"));
        write(&path, source.text().as_bytes())?;
    }
    for (arch, ticket) in archs.iter().zip(tickets) {
        let artefact = ticket.wait().map_err(|error| failed(&error))?;
        let kernel = TritonArtefact::read(&artefact.bytes).map_err(|error| failed(&error))?;
        let from = if artefact.from_cache {
            "from the cache".to_owned()
        } else {
            format!("{:.2} s", artefact.seconds)
        };
        writeln!(
            out,
            "{arch:<6}  {}  {} bytes, {} of shared memory, {from}",
            kernel.digest(),
            kernel.cubin.len(),
            kernel.record.shared
        )?;
        if let Some(directory) = &args.output {
            let stem = format!("{name}.{arch}");
            write(&directory.join(format!("{stem}.cubin")), &kernel.cubin)?;
            write(
                &directory.join(format!("{stem}.ptx")),
                kernel.ptx.as_bytes(),
            )?;
            let record = kernel.record.to_json();
            write(&directory.join(format!("{stem}.json")), record.as_bytes())?;
        }
    }
    Ok(())
}

/// Whether the user has said where Triton is.
pub fn is_named(python: Option<&Path>) -> bool {
    python.is_some() || named("PLANISH_TRITON_PYTHON").is_some()
}

/// The variables that name assemblers instead of Triton's own, for all devices and for later ones.
const ASSEMBLERS: [&str; 2] = ["TRITON_PTXAS_PATH", "TRITON_PTXAS_BLACKWELL_PATH"];

/// Fails if the environment names an assembler that does not work: whoever names one needs it, also where no Python is found that would use it.
pub fn check_assemblers(cache: Option<PathBuf>) -> Result<(), Failure> {
    let cache = open(cache)?;
    for path in ASSEMBLERS.into_iter().filter_map(named) {
        Ptxas::find(Path::new(&path), cache.as_ref()).map_err(|error| failed(&error))?;
    }
    Ok(())
}

/// The Triton that is asked for on the command line or by the environment.
pub fn find(python: Option<&Path>, cache: Option<PathBuf>) -> Result<Triton, Failure> {
    let path_of = |variable: &str| named(variable).map(PathBuf::from);
    let [ptxas, ptxas_blackwell] = ASSEMBLERS.map(path_of);
    let search = TritonSearch {
        python: python
            .map(Path::to_owned)
            .or_else(|| path_of("PLANISH_TRITON_PYTHON")),
        path: env::var_os("PATH"),
        ptxas,
        ptxas_blackwell,
    };
    let cache = open(cache)?;
    Triton::find(&search, cache.as_ref()).map_err(|error| {
        failed(&error).hint(
            "kernels for devices are compiled by a Python that has Triton (pip install triton); \
             name it with --python or $PLANISH_TRITON_PYTHON",
        )
    })
}

fn open(cache: Option<PathBuf>) -> Result<Option<Cache>, Failure> {
    let cache = cache.map(Cache::open).transpose();
    cache.map_err(|error| failed(&error))
}

fn source(args: &Args) -> Result<TritonSource, Failure> {
    let path = Path::new(&args.kernel);
    if path.extension().is_none_or(|extension| extension != "py") {
        if args.function.is_some() || args.signature.is_some() || args.grid.is_some() {
            return Err(Failure::usage(
                "--function, --signature and --grid describe a Python file, and the kernel is one of planish's own",
            ));
        }
        let kernel: TritonKernel = args.kernel.parse().map_err(|error| failed(&error))?;
        let source = planish::triton::source(&kernel).map_err(|error| failed(&error))?;
        return Ok(options(source, args));
    }
    let (Some(signature), Some(grid)) = (&args.signature, &args.grid) else {
        return Err(Failure::usage(
            "a Python file needs --signature and --grid: nothing in it says how it is launched",
        ));
    };
    let text = fs::read_to_string(path).map_err(|error| Failure::file("read", path, &error))?;
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let function = args.function.as_deref().unwrap_or(&stem);
    let signature = signature.parse().map_err(|error| failed(&error))?;
    let grid = grid.parse().map_err(|error| failed(&error))?;
    let source =
        TritonSource::new(text, function, signature, &grid).map_err(|error| failed(&error))?;
    Ok(options(source, args))
}

fn options(source: TritonSource, args: &Args) -> TritonSource {
    source
        .warps(args.warps)
        .ctas(args.ctas)
        .stages(args.stages)
        .fp_fusion(args.fp_fusion)
}

fn named(variable: &str) -> Option<OsString> {
    env::var_os(variable).filter(|value| !value.is_empty())
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    file::write_whole(path, bytes).map_err(|error| Failure::file("write", path, &error))
}
