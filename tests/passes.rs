//! Snapshots of passes: `tests/cases/<pass>/<case>.ir` → `tests/snapshots/<pass>/<case>.snap`.
//!
//! A case is a module in text form with a header of comments:
//!
//! ```text
//! # What the case shows, in a sentence.
//! # preserve: scale, info          names to keep
//! # quant-type: dynamic            how activations were quantized (static without it)
//! # input: random<Float(1, 3, 8, 8), seed=1, low=-1., high=1.>
//! # not-run: why                   the module cannot be run before and after
//! # error                          the pass must refuse the module
//! ```
//!
//! The snapshot is the difference between the module before and after, and the remarks. Besides, the module is run before and after on
//! the inputs: outputs must be the same to the bit; and every single rewrite is proven, on these and on other inputs. `forward` gets one input for each `# input:` line.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use libtest_mimic::{Arguments, Failed, Trial};
use planish::eval::{Contract, Interpreter, Value, run_graph, to_literal};
use planish::ir::GraphModule;
use planish::ir::text::{Blobs, Printer, Style, parse_graph, parse_module};
use planish::passes::{
    Fuel, NoKernels, Observer, Options, PassCx, Pipeline, Prover, QuantType, RemarkKind, Remarks,
};
use similar::TextDiff;

fn main() {
    let args = Arguments::from_args();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    let mut trials = Vec::new();
    for pass in planish::passes::passes() {
        let folder = pass.name().replace('-', "_");
        for path in cases(&root.join(&folder)) {
            let case = path
                .file_stem()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            let name = pass.name();
            trials.push(Trial::test(format!("{folder}::{case}"), move || {
                run(name, &path)
            }));
        }
    }
    libtest_mimic::run(&args, trials).exit();
}

fn cases(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Vec::new();
    };
    let mut paths: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "ir"));
    paths.sort();
    paths
}

/// What a case's header says.
#[derive(Default)]
struct Header {
    about: String,
    preserved: Vec<String>,
    quant_type: Option<String>,
    inputs: Vec<Value>,
    not_run: bool,
    error: bool,
}

fn run(pass: &str, path: &Path) -> Result<(), Failed> {
    let text = fs::read_to_string(path)?;
    let header = header(&text)?;
    let before = parse_module(&text).map_err(|errors| format!("{}:\n{errors}", path.display()))?;
    let mut after = before.clone();
    let mut remarks = Remarks::default();
    let ran = apply(pass, &header, &mut after, (&mut remarks, None));
    let mut body = match (&ran, header.error) {
        (Ok(()), false) => {
            // One set of payloads: a tensor has the same name before and after.
            let mut blobs = Blobs::new();
            let before = printed(&before, &mut blobs);
            diff(&before, &printed(&after, &mut blobs))
        }
        (Err(error), true) => format!("error: {error}\n"),
        (Ok(()), true) => return Err("the pass should have refused the module".into()),
        (Err(error), false) => return Err(error.into()),
    };
    for remark in remarks
        .of(RemarkKind::Missed)
        .chain(remarks.of(RemarkKind::Analysis))
    {
        let _ = writeln!(body, "# {remark}");
    }
    if ran.is_ok() && !header.not_run {
        same_meaning(&before, &after, &header.inputs)?;
        prove(pass, &header, before)?;
    }
    let folder = pass.replace('-', "_");
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path(
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/snapshots")
            .join(&folder),
    );
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.set_description(&header.about);
    settings.set_input_file(format!(
        "tests/cases/{folder}/{}",
        path.file_name().unwrap_or_default().to_string_lossy()
    ));
    let name = path
        .file_stem()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    settings.bind(|| insta::assert_snapshot!(name, body));
    Ok(())
}

/// Proves every single rewrite that the pass makes.
fn prove(pass: &str, header: &Header, mut module: GraphModule) -> Result<(), Failed> {
    let inputs: Result<_, _> = header.inputs.iter().map(to_literal).collect();
    let mut prover = Prover::new(&options(header), inputs.map_err(|error| error.to_string())?);
    let told = &mut Remarks::default();
    apply(pass, header, &mut module, (told, Some(&mut prover)))?;
    let unreached = &prover.proof().unreached;
    if !unreached.is_empty() {
        return Err(format!("no input reaches {unreached:?}").into());
    }
    Ok(())
}

fn options(header: &Header) -> Options {
    let dynamic = header.quant_type.as_deref() == Some("dynamic");
    Options {
        quant_type: if dynamic {
            QuantType::Dynamic
        } else {
            QuantType::Static
        },
        preserved: header.preserved.clone(),
        ..Options::default()
    }
}

fn apply(
    pass: &str,
    header: &Header,
    module: &mut GraphModule,
    (remarks, prover): (&mut Remarks, Option<&mut Prover>),
) -> Result<(), String> {
    let options = options(header);
    let mut cx = PassCx {
        remarks,
        kernels: &mut NoKernels,
        fuel: &mut Fuel::unlimited(),
        options: &options,
        observer: prover.map(|prover| prover as &mut dyn Observer),
    };
    // A case shows one pass on its own, whatever came before it.
    let pipeline = Pipeline::parse(pass)
        .map_err(|error| error.to_string())?
        .verify_each();
    module.phase = module.phase.max(pipeline.passes()[0].requires());
    pipeline
        .run(module, &mut cx, &mut ())
        .map(drop)
        .map_err(|error| {
            let mut text = error.to_string();
            let mut cause = std::error::Error::source(&error);
            while let Some(inner) = cause {
                let _ = write!(text, ": {inner}");
                cause = inner.source();
            }
            text
        })
}

fn header(text: &str) -> Result<Header, Failed> {
    let mut header = Header::default();
    for line in text.lines().map_while(|line| line.strip_prefix('#')) {
        let line = line.trim();
        match line.split_once(':') {
            Some(("preserve", names)) => {
                header.preserved = names
                    .split(',')
                    .map(|name| name.trim().to_owned())
                    .collect();
            }
            Some(("quant-type", kind)) => header.quant_type = Some(kind.trim().to_owned()),
            Some(("input", literal)) => header.inputs.push(value(literal.trim())?),
            Some(("not-run", _)) => header.not_run = true,
            _ if line == "error" => header.error = true,
            _ => header.about.extend([" ", line]),
        }
    }
    header.about = header.about.trim().to_owned();
    if header.about.is_empty() {
        return Err("the case does not say what it shows".into());
    }
    Ok(header)
}

/// A value in the spelling of constants.
fn value(literal: &str) -> Result<Value, Failed> {
    let (ty, literal) = literal
        .split_once(" = ")
        .map_or(("Tensor", literal), |(ty, literal)| (ty, literal));
    let text =
        format!("graph():\n  %0 : {ty} = prim::Constant[value={literal}]()\n  return (%0)\n");
    let graph = parse_graph(&text).map_err(|errors| errors.to_string())?;
    let constant = graph
        .constant(graph.results()[0])
        .ok_or("the input is not a constant")?;
    Ok(Value::from(constant))
}

fn same_meaning(before: &GraphModule, after: &GraphModule, inputs: &[Value]) -> Result<(), Failed> {
    let run = |module: &GraphModule, when: &str| {
        let alone = module
            .root_method("forward")
            .map(|id| &module.method(id).graph)
            .filter(|graph| graph.params().len() == inputs.len());
        let answer = match alone {
            Some(graph) => run_graph(graph, inputs, Contract::Fbgemm).map(Value::tuple),
            None => Interpreter::new(module, Contract::Fbgemm).call_method("forward", inputs),
        };
        let answer =
            answer.map_err(|error| format!("the module cannot be run {when} the pass: {error}"))?;
        planish::check::tensors(&answer).map_err(|error| error.to_string())
    };
    let (expected, found) = (run(before, "before")?, run(after, "after")?);
    if expected != found {
        return Err(format!("the outputs differ: {expected:?} before and {found:?} after").into());
    }
    Ok(())
}

/// With the names that the case gives its values, so that only what changed differs; a lone graph without its module.
fn printed(module: &GraphModule, blobs: &mut Blobs) -> String {
    /// Tensors of at most this many elements are printed whole.
    const SMALL: usize = 16;
    let mut printer = Printer::new(Style::Faithful).blobs(blobs, SMALL);
    let root = module.module(module.root());
    let class = &module.classes[&root.class];
    match module.root_method("forward") {
        Some(forward)
            if root.attrs.is_empty()
                && class.methods.len() == 1
                && module.classes.len() == 1
                && module.functions.is_empty() =>
        {
            printer.graph(&module.method(forward).graph)
        }
        _ => printer.module(module),
    }
}

fn diff(before: &str, after: &str) -> String {
    // Wide enough to show the whole module; the library multiplies it.
    const CONTEXT: usize = 100_000;
    if before == after {
        return format!("unchanged\n\n{before}");
    }
    TextDiff::from_lines(before, after)
        .unified_diff()
        .context_radius(CONTEXT)
        .header("before", "after")
        .to_string()
}
