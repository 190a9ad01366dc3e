//! What is refused before any code runs, and what is refused before a kernel is called.

use planish_kernels::{Codes, Contract, Conv2d, Epilogue, Isa, KernelSpec, Linear, WeightScales};
use planish_runtime::{Call, ElfError, Error, Library};

use crate::compile::{compile, entry, kernel};

const SPEC: KernelSpec = KernelSpec::Lut;

/// Compiles the table kernel with other text or flags and says why it is refused.
fn refusal(more_source: &str, change: impl Fn(&mut Vec<&str>)) -> ElfError {
    let kernel = kernel(SPEC, Isa::Portable);
    let mut flags = Isa::Portable.flags().to_vec();
    change(&mut flags);
    let object = compile(&format!("{}\n{more_source}", kernel.source()), &flags);
    match Library::load(&object, &blake3::hash(&object), &[kernel]) {
        Err(Error::Elf(error)) => error,
        other => panic!("{other:?}"),
    }
}

fn keep(_: &mut Vec<&str>) {}

fn without(unwanted: &'static str) -> impl Fn(&mut Vec<&str>) {
    move |flags| flags.retain(|flag| *flag != unwanted)
}

#[test]
fn the_digest_is_that_of_the_loaded_bytes() {
    let kernel = kernel(SPEC, Isa::Portable);
    let mut object = compile(&kernel.source(), &kernel.flags());
    let digest = blake3::hash(&object);
    assert!(Library::load(&object, &digest, &[kernel]).is_ok());
    let last = object.len() - 1;
    object[last] ^= 1;
    let error = Library::load(&object, &digest, &[kernel]).unwrap_err();
    assert!(
        error.to_string().contains(digest.to_hex().as_str()),
        "{error}"
    );
}

#[test]
fn objects_that_run_code_when_loaded_are_refused() {
    let constructor = refusal(
        "int n; __attribute__((constructor)) static void run(void) { n = 1; }",
        keep,
    );
    assert_eq!(constructor, ElfError::Dynamic("DT_INIT_ARRAY".to_owned()));
    let destructor = refusal(
        "int n; __attribute__((destructor)) static void run(void) { n = 1; }",
        keep,
    );
    assert_eq!(destructor, ElfError::Dynamic("DT_FINI_ARRAY".to_owned()));
    let start_files = refusal("", |flags| {
        flags.retain(|flag| !["-nostartfiles", "-nostdlib", "-Wl,-z,defs"].contains(flag));
    });
    assert!(matches!(start_files, ElfError::Dynamic(_)), "{start_files}");
    let resolver = refusal(
        "typedef void function(void); static void f(void) {} static function *choose(void) { return f; }
         static function g __attribute__((ifunc(\"choose\"))); function *volatile hook = g;",
        keep,
    );
    assert!(
        matches!(resolver, ElfError::Relocation(_) | ElfError::Dynamic(_)),
        "{resolver}"
    );
}

#[test]
fn objects_with_other_symbols_are_refused() {
    let export = refusal(
        "__attribute__((visibility(\"default\"))) int more(void) { return 0; }",
        keep,
    );
    assert_eq!(export, ElfError::Export("more".to_owned()));
    let import = refusal(
        "int system(const char *); int (*volatile hook)(const char *) = system;",
        without("-Wl,-z,defs"),
    );
    assert!(
        matches!(import, ElfError::Import(_) | ElfError::Relocation(_)),
        "{import}"
    );
    let needed = refusal(
        "int system(const char *); int (*volatile hook)(const char *) = system;",
        without("-nostdlib"),
    );
    assert!(
        matches!(
            needed,
            ElfError::Import(_) | ElfError::Relocation(_) | ElfError::Dynamic(_)
        ),
        "{needed}"
    );

    let (one, other) = (
        kernel(SPEC, Isa::Portable),
        kernel(KernelSpec::Add, Isa::Portable),
    );
    let object = compile(&one.source(), &one.flags());
    let error = Library::load(&object, &blake3::hash(&object), &[one, other]).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("does not export `planish_add_u8_fbgemm_portable`"),
        "{error}"
    );
    let error = Library::load(&object, &blake3::hash(&object), &[other]).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("exports `planish_lut_u8_fbgemm_portable`"),
        "{error}"
    );
}

#[test]
fn objects_with_loose_pages_are_refused() {
    assert!(matches!(
        refusal("", |flags| flags.push("-Wl,-z,execstack")),
        ElfError::Segment(_)
    ));
    assert!(matches!(
        refusal("int table[4] = { 1 }; int *hook = table;", |flags| flags
            .push("-Wl,--omagic")),
        ElfError::Segment(_)
    ));
    assert_eq!(
        refusal("", |flags| flags.push("-Wl,-rpath,/elsewhere")),
        ElfError::Dynamic("DT_RUNPATH".to_owned())
    );
}

#[test]
fn damaged_objects_are_refused_or_load() {
    let kernel = kernel(SPEC, Isa::Portable);
    let object = compile(&kernel.source(), &kernel.flags());
    for length in (0..object.len()).step_by(97) {
        let cut = &object[..length];
        assert!(
            Library::load(cut, &blake3::hash(cut), &[kernel]).is_err(),
            "{length}"
        );
    }
    let mut other_machine = object;
    other_machine[18] = 0xb7;
    let error =
        Library::load(&other_machine, &blake3::hash(&other_machine), &[kernel]).unwrap_err();
    assert!(matches!(error, Error::Elf(ElfError::Kind)), "{error}");
}

/// The linker takes two libraries of one path for the same; paths here are descriptors, whose numbers are used again.
#[test]
fn libraries_that_follow_each_other_are_not_confused() {
    let table: [u8; 256] = std::array::from_fn(|code| 255 - code as u8);
    for _ in 0..3 {
        let lut = entry(SPEC, Isa::Portable);
        let mut out = [0; 2];
        lut.call(Call::Table {
            x: &[0, 9],
            table: &table,
            out: &mut out,
        })
        .unwrap();
        assert_eq!(out, [255, 246]);
        drop(lut);
        let max = entry(KernelSpec::AdaptiveAvgPool2d, Isa::Portable);
        let mut out = [0; 1];
        max.call(Call::Pool {
            x: &[2, 4],
            size: [1, 1, 2, 1],
            zero: 0,
            out_size: [1, 1],
            out: &mut out,
        })
        .unwrap();
        assert_eq!(out, [3]);
    }
}

#[test]
fn arguments_that_do_not_fit_are_refused() {
    let spec = KernelSpec::Conv2d(Conv2d::new(2, 3, [3, 3]).padded([1, 1]));
    let entry = entry(spec, Isa::Portable);
    let epilogue = Epilogue::new(
        &spec,
        Contract::Fbgemm,
        1.0,
        WeightScales::PerTensor(1.0),
        None,
        1.0,
    )
    .unwrap();
    let linear = KernelSpec::Linear(Linear {
        inputs: 1,
        outputs: 33,
    });
    let other_epilogue = Epilogue::new(
        &linear,
        Contract::Fbgemm,
        1.0,
        WeightScales::PerTensor(1.0),
        None,
        1.0,
    )
    .unwrap();
    let weights = vec![0; spec.packing().unwrap().packed_len(Isa::Portable)];
    let scratch_len = entry.kernel().scratch_len([4, 5]);
    struct Case<'a> {
        size: [usize; 3],
        x: usize,
        weights: &'a [u8],
        epilogue: &'a Epilogue,
        codes: Codes,
        scratch: usize,
        out: usize,
    }
    let good = || Case {
        size: [1, 4, 5],
        x: 40,
        weights: &weights,
        epilogue: &epilogue,
        codes: Codes::u8(3),
        scratch: scratch_len,
        out: 60,
    };
    let call = |case: Case<'_>| {
        entry.call(Call::Weighted {
            x: &vec![0; case.x],
            size: case.size,
            zero: 0,
            weights: case.weights,
            epilogue: case.epilogue,
            codes: case.codes,
            scratch: &mut vec![0; case.scratch],
            out: &mut vec![0; case.out],
        })
    };
    call(good()).unwrap();
    let huge = usize::MAX / 2;
    for (case, word) in [
        (
            Case { x: 39, ..good() },
            "the input has 39 values, expected 40",
        ),
        (Case { out: 59, ..good() }, "the output has 59"),
        (
            Case {
                weights: &weights[1..],
                ..good()
            },
            "the packed weight",
        ),
        (
            Case {
                epilogue: &other_epilogue,
                ..good()
            },
            "the output stage",
        ),
        (
            Case {
                codes: Codes {
                    zero: 0,
                    lo: 9,
                    hi: 8,
                },
                ..good()
            },
            "the smallest code 9",
        ),
        (
            Case {
                codes: Codes::u8(256),
                ..good()
            },
            "256 is no code",
        ),
        (
            Case {
                scratch: scratch_len - 1,
                ..good()
            },
            "the working memory",
        ),
        (
            Case {
                size: [1, 0, 0],
                x: 0,
                ..good()
            },
            "does not fit an image",
        ),
        (
            Case {
                size: [0, huge, huge],
                x: 0,
                out: 0,
                ..good()
            },
            "more than a kernel can address",
        ),
        (
            Case {
                size: [0, 1 << 30, 1 << 30],
                x: 0,
                out: 0,
                ..good()
            },
            "the working memory",
        ),
    ] {
        let error = call(case).unwrap_err().to_string();
        assert!(
            error.contains(word) && error.contains("conv2d_u8s8u8 i2 o3"),
            "{error}"
        );
    }
    let error = entry
        .call(Call::Table {
            x: &[],
            table: &[0; 256],
            out: &mut [],
        })
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("not the arguments of conv2d_u8s8u8"),
        "{error}"
    );
}
