//! Artefacts that are not what was written.

use std::fs;

use bytes::Bytes;
use planish::package::{FORMAT, Package};

use crate::command::{Room, samples};

/// Runs an artefact, which must fail.
fn refused(room: &Room, content: &[u8], parts: &[&str]) {
    let path = room.file("bad.planish", content);
    room.planish("run")
        .arg(path)
        .arg("--inputs")
        .arg(samples())
        .args(&["-o", "out.safetensors"])
        .fails(1, parts);
    assert!(!room.path("out.safetensors").exists());
}

#[test]
fn a_changed_artefact_is_refused() {
    let room = Room::new();
    let good = fs::read(room.finalized()).expect("read");
    let changed = |at: usize| {
        let mut bytes = good.clone();
        bytes[at] ^= 1;
        bytes
    };
    refused(&room, b"", &["bad.planish", "it does not begin like one"]);
    refused(
        &room,
        b"hello\n",
        &["bad.planish", "it does not begin like one"],
    );
    let mut other = good.clone();
    other[8] = 7;
    let versions = format!("version 7, and this planish reads version {FORMAT}");
    refused(
        &room,
        &other,
        &["bad.planish", &versions, "finalize the model again"],
    );
    refused(
        &room,
        &changed(60),
        &["failed to read the manifest of", "bad.planish", "BLAKE3"],
    );
    refused(
        &room,
        &changed(good.len() - 9),
        &["failed to read the blob packed", "bad.planish", "BLAKE3"],
    );
    refused(
        &room,
        &good[..good.len() - 1],
        &["bad.planish", "ends within the blob packed"],
    );
    refused(
        &room,
        &good[..100],
        &["bad.planish", "ends within its manifest"],
    );
    refused(
        &room,
        &[&good, &b"more"[..]].concat(),
        &["bad.planish", "4 bytes follow"],
    );
    room.planish("run")
        .args(&["missing.planish", "--inputs", "missing"])
        .fails(1, &["failed to read missing.planish: No such file"]);
    room.planish("run")
        .args(&[".", "--inputs", "missing"])
        .fails(1, &["failed to read .: is a directory"]);
}

/// What is whole and wrong: every digest is that of what it stands for.
#[test]
fn a_forged_artefact_is_refused() {
    let room = Room::new();
    let good = Bytes::from(fs::read(room.finalized()).expect("read"));
    let package = Package::read(&good, "digits").expect("an artefact");
    let forge = |change: &dyn Fn(&mut Package)| {
        let mut package = package.clone();
        change(&mut package);
        package.to_bytes()
    };
    let isa = package.manifest.isa.clone();

    let unknown = forge(&|package| {
        let kernel = &mut package.manifest.kernels[0].kernels[0];
        *kernel = kernel.replace(&isa, "amx");
    });
    refused(
        &room,
        &unknown,
        &["failed to read the kernels of", "bad.planish", "amx"],
    );

    let missing = forge(&|package| drop(package.manifest.kernels.pop()));
    refused(
        &room,
        &missing,
        &["failed to prepare", "bad.planish", "it needs the kernel"],
    );

    let swapped = forge(&|package| {
        let other = package.manifest.kernels[1].blob.clone();
        package.manifest.kernels[0].blob = other;
    });
    refused(
        &room,
        &swapped,
        &["bad.planish", "it exports", "not expected"],
    );

    let no_blob = forge(&|package| package.manifest.module = "nowhere".to_owned());
    refused(
        &room,
        &no_blob,
        &[
            "the module text of",
            "bad.planish",
            "there is no blob nowhere",
        ],
    );

    let short = forge(&|package| {
        let weight = package.manifest.packed[0].blob.clone();
        package.blobs[&weight] = Bytes::from_static(b"short").into();
    });
    refused(
        &room,
        &short,
        &["the packed weights of", "bad.planish", "has 5 bytes"],
    );

    let garbage = forge(&|package| {
        package.blobs["module.ir"] = Bytes::from_static(b"module {").into();
    });
    refused(
        &room,
        &garbage,
        &["the module text of", "bad.planish", "module.ir:1:8"],
    );

    let invalid = forge(&|package| {
        let text = "graph(%x : int):\n  %y : Tensor = aten::relu(%x)\n  return (%y)\n";
        package.blobs["module.ir"] = Bytes::from(text).into();
    });
    refused(
        &room,
        &invalid,
        &[
            "the module text of",
            "bad.planish",
            "module.ir:2:3: `self` must be Tensor",
        ],
    );

    let code = forge(&|package| {
        let kernel = package.manifest.kernels[0].blob.clone();
        let elf = fs::read("/bin/true").expect("a program");
        package.blobs[&kernel] = Bytes::from(elf).into();
    });
    refused(&room, &code, &["bad.planish", "refused the shared object"]);
}

#[test]
fn a_processor_without_the_instruction_set_is_told_which() {
    let missing = planish::kernels::Isa::ALL
        .into_iter()
        .find(|isa| !isa.is_supported());
    let Some(isa) = missing else {
        // This processor has all that kernels are written for: there is nothing to refuse. Another one has this test.
        return;
    };
    let room = Room::new();
    let good = Bytes::from(fs::read(room.finalized()).expect("read"));
    let mut package = Package::read(&good, "digits").expect("an artefact");
    let own = package.manifest.isa.clone();
    for kernel in &mut package.manifest.kernels[0].kernels {
        *kernel = kernel.replace(&own, &isa.to_string());
    }
    refused(
        &room,
        &package.to_bytes(),
        &[
            "bad.planish",
            "does not have the instruction set",
            &isa.to_string(),
        ],
    );
}
