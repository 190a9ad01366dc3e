//! Models that are no models.

use std::fs;
use std::io::Write as _;

use rawzip::{CompressionMethod, DataDescriptorOutput, ZipArchiveWriter, crc32};

use crate::command::{Room, digits};

/// The pickle of an object of `__torch__.M` without attributes.
const OBJECT: &[u8] = b"\x80\x02c__torch__\nM\n)\x81}b.";

const RELU: &str = "class M(Module):
  def forward(self: __torch__.M, x: Tensor) -> Tensor:
    return torch.relu(x)
";

/// An archive of a root object and its code.
fn archive(pickle: &[u8], code: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut zip = ZipArchiveWriter::new(&mut out);
    let entries: [(&str, &[u8]); 3] = [
        ("data.pkl", pickle),
        ("code/__torch__.py", code.as_bytes()),
        ("version", b"3"),
    ];
    for (name, content) in entries {
        let builder = zip.new_file(format!("m/{name}"));
        let stored = builder.compression_method(CompressionMethod::STORE);
        let (mut entry, _) = stored.start().expect("start an entry");
        entry.write_all(content).expect("write");
        let about = DataDescriptorOutput::new(crc32(content), content.len() as u64);
        entry.finish(about).expect("finish an entry");
    }
    zip.finish().expect("finish the archive");
    out
}

#[test]
fn a_model_made_on_the_spot_is_imported() {
    let room = Room::new();
    let model = room.file("m.pt", archive(OBJECT, RELU));
    let printed = room.planish("import").arg(&model).succeeds().stdout;
    assert!(printed.contains("aten::relu"), "{printed}");
}

#[test]
fn what_is_no_model_is_named() {
    let room = Room::new();
    let text = room.file("notes.pt", "hello\n");
    let empty = room.file("empty.pt", "");
    for verb in ["import", "opt", "finalize"] {
        room.planish(verb)
            .arg(&text)
            .fails(1, &["failed to import `notes.pt`", "no zip archive"]);
        room.planish(verb).arg(&empty).fails(1, &["empty.pt"]);
        room.planish(verb)
            .arg(room.path("missing.pt"))
            .fails(1, &["failed to read", "missing.pt: No such file"]);
        room.planish(verb)
            .arg(room.path(""))
            .fails(1, &["is a directory"]);
    }
}

#[test]
fn a_truncated_model_is_refused() {
    let room = Room::new();
    let whole = fs::read(digits()).expect("read");
    for length in [
        1,
        4,
        30,
        100,
        whole.len() / 2,
        whole.len() - 30,
        whole.len() - 1,
    ] {
        let cut = room.file("cut.pt", &whole[..length]);
        let artefact = room.path("cut.planish");
        room.planish("finalize")
            .arg(&cut)
            .arg("-o")
            .arg(&artefact)
            .fails(1, &["failed to import", "cut.pt"]);
    }
    assert_eq!(room.names(), ["cut.pt"]);
}

#[test]
fn a_flipped_bit_is_found() {
    let room = Room::new();
    let whole = fs::read(digits()).expect("read");
    let weights = whole.len() / 2;
    let small = archive(OBJECT, RELU);
    let relu = small.windows(4).position(|found| found == b"relu");
    for (mut bytes, at, entry) in [
        (whole, weights, "data/"),
        (small, relu.expect("it has code"), "code/__torch__.py"),
    ] {
        bytes[at] ^= 0x10;
        let flipped = room.file("flipped.pt", bytes);
        room.planish("import")
            .arg(&flipped)
            .fails(1, &["flipped.pt: read entry `", entry, "checksum"]);
    }
}

#[test]
fn no_flipped_bit_does_harm() {
    let room = Room::new();
    let whole = fs::read(digits()).expect("read");
    // Many are in bytes that mean nothing, such as the padding of entries.
    for at in (0..whole.len()).step_by(whole.len() / 61) {
        let mut bytes = whole.clone();
        bytes[at] ^= 1 << (at % 8);
        let flipped = room.file("flipped.pt", bytes);
        let outcome = room.planish("import").arg(&flipped).outcome();
        assert!(matches!(outcome.code, Some(0 | 1)), "{at}: {outcome:?}");
        assert!(
            outcome.code == Some(0) || outcome.stderr.contains("flipped.pt"),
            "{at}: {outcome:?}"
        );
    }
}

#[test]
fn an_unknown_global_is_refused_and_never_called() {
    let room = Room::new();
    let called = room.path("called");
    let command = format!("touch {}", called.display());
    let mut pickle = b"\x80\x02cposix\nsystem\nX".to_vec();
    pickle.extend((command.len() as u32).to_le_bytes());
    pickle.extend(command.as_bytes());
    pickle.extend(b"\x85R.");
    let model = room.file("m.pt", archive(&pickle, RELU));
    room.planish("import").arg(&model).fails(
        1,
        &["m.pt: read pickle `data.pkl` at byte 2", "posix", "system"],
    );
    assert!(!called.exists());
}

#[test]
fn an_unknown_construct_is_refused_with_its_place() {
    let room = Room::new();
    for (line, named) in [
        ("import os", "import"),
        ("return [y for y in x]", "for"),
        ("return lambda: x", "lambda"),
        ("return torch.no_such_operator(x)", "no_such_operator"),
        ("return ops.mine.unheard_of(x)", "mine::unheard_of"),
    ] {
        let code = RELU.replace("return torch.relu(x)", line);
        let model = room.file("m.pt", archive(OBJECT, &code));
        room.planish("import")
            .arg(&model)
            .fails(1, &["m.pt: read code at code/__torch__.py:3:", named]);
    }
}
