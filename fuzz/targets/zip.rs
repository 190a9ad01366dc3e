//! Any bytes as an archive: opening it and reading every entry ends, in bounded memory.

#![no_main]

use libfuzzer_sys::fuzz_target;
use planish_import::torchscript::zip::{Archive, Limits};

fuzz_target!(|data: &[u8]| {
    let limits = Limits {
        entries: 1000,
        inflated_bytes: 1 << 24,
    };
    let Ok(archive) = Archive::open(data.to_vec().into(), limits) else {
        return;
    };
    let _ = archive.version();
    let _ = archive.check_byte_order();
    for name in archive.names() {
        let _ = archive.read(name);
    }
});
