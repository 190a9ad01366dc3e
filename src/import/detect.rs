//! What kind of model file some bytes are.

use crate::torchscript::zip::Archive;

/// What a file is that is no TorchScript archive, in words that say what to do; `None` for an
/// archive with code.
pub(crate) fn foreign(bytes: &[u8], archive: Option<&Archive>) -> Option<String> {
    let Some(archive) = archive else {
        return Some(unzipped(bytes).to_owned());
    };
    if archive.contains("data.pkl") && archive.names().any(|name| name.starts_with("code/")) {
        return None;
    }
    let exported = ["models/model.json", "serialized_exported_program.json"];
    Some(
        if exported.into_iter().any(|name| archive.contains(name))
            || archive.contains("archive_format")
        {
            "an exported program (.pt2), which is not supported; save it with `torch.jit.save`"
        } else if archive.contains("data.pkl") {
            "a checkpoint of `torch.save`, which holds no code; save it with `torch.jit.save`"
        } else {
            "a zip archive without a model"
        }
        .to_owned(),
    )
}

fn unzipped(bytes: &[u8]) -> &'static str {
    match bytes {
        [] => "empty",
        [0x80, 2..=5, ..] => {
            "a bare pickle, an old checkpoint of `torch.save`; save it with `torch.jit.save`"
        }
        // Field 1 of ONNX's ModelProto, the version of the format, as a small varint.
        [
            0x08,
            1..=20,
            0x12 | 0x1a | 0x22 | 0x2a | 0x32 | 0x3a | 0x42,
            ..,
        ] => "an ONNX model, which is not supported yet",
        _ => "no zip archive",
    }
}
