//! Any entries as an archive: import ends, and what it makes is valid, prints, and reads back.

#![no_main]

use libfuzzer_sys::{Corpus, fuzz_target};
use planish_ir::text::{Printer, Style, parse_module};

fuzz_target!(|data: &[u8]| -> Corpus {
    let archive = planish_fuzz::pack(data);
    let Ok(module) = planish_import::read(archive.into(), "m.pt") else { return Corpus::Keep };
    if let Err(breaches) = planish_ir::verify(&module) {
        panic!("import makes an invalid module: {}", breaches[0]);
    }
    let printed = Printer::new(Style::Canonical).module(&module);
    let again = match parse_module(&printed) {
        Ok(again) => again,
        Err(faults) => panic!("it does not read back: {faults}\n{printed}"),
    };
    let reprinted = Printer::new(Style::Canonical).module(&again);
    assert!(printed == reprinted, "it changes:\n{printed}\nto:\n{reprinted}");
    Corpus::Keep
});
