//! Any text as a code file: parsing ends.

#![no_main]

use libfuzzer_sys::fuzz_target;
use planish_import::torchscript::code::parse;

fuzz_target!(|data: &[u8]| {
    if let Ok(text) = std::str::from_utf8(data) {
        let _ = parse("code/__torch__.py", text);
    }
});
