//! Any text as a module: what is read can be verified and printed, and what is printed reads back as the same.

#![no_main]

use libfuzzer_sys::fuzz_target;
use planish_ir::text::{Printer, Style, parse_module};

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let Ok(module) = parse_module(text) else {
        return;
    };
    let verified = planish_ir::verify(&module).is_ok();
    for style in [Style::Canonical, Style::Faithful] {
        let printed = Printer::new(style).module(&module);
        let again = match parse_module(&printed) {
            Ok(again) => again,
            Err(faults) => panic!("{style:?} does not read back: {faults}\n{printed}"),
        };
        let reprinted = Printer::new(style).module(&again);
        assert!(
            printed == reprinted,
            "{style:?} changes:\n{printed}\nto:\n{reprinted}"
        );
        if let (true, Err(breaches)) = (verified, planish_ir::verify(&again)) {
            panic!("{style:?} is no longer valid: {}\n{printed}", breaches[0]);
        }
    }
});
