//! Any entries as an archive: import ends, and what it makes can be verified and printed, and what is printed reads back as the same.

#![no_main]

use libfuzzer_sys::{Corpus, fuzz_target};
use planish_ir::text::{Printer, Style, parse_module};

fuzz_target!(|data: &[u8]| -> Corpus {
    let archive = planish_fuzz::pack(data);
    let Ok(module) = planish_import::read(archive.into(), "m.pt") else {
        return Corpus::Keep;
    };
    let valid = planish_ir::verify(&module).is_ok();
    let printed = Printer::new(Style::Canonical).module(&module);
    let again = match parse_module(&printed) {
        Ok(again) => again,
        Err(faults) => panic!("it does not read back: {faults}\n{printed}"),
    };
    let reprinted = Printer::new(Style::Canonical).module(&again);
    assert!(
        printed == reprinted,
        "it changes:\n{printed}\nto:\n{reprinted}"
    );
    if let (true, Err(breaches)) = (valid, planish_ir::verify(&again)) {
        panic!("it is no longer valid: {}\n{printed}", breaches[0]);
    }
    Corpus::Keep
});
