//! What stands in a source for one kernel, and sources of several.
//!
//! Parts that know no geometry are shared: they stand once, before all kernels, where no constant is defined yet. All else of a kernel
//! stands between its constants and the end of them, under names that no other kernel of the source has.

use std::fmt::{Arguments, Display, Write as _};

use crate::{Kernel, abi};

const TYPES: &str = include_str!("c/types.c");

/// What stands in a source for one kernel.
pub(super) struct Text {
    title: String,
    shared: Vec<&'static str>,
    body: String,
    /// Constants that end with the kernel.
    constants: Vec<String>,
    /// Functions and structs that it defines.
    names: Vec<String>,
}

impl Text {
    /// A kernel's text without its operator.
    pub(super) fn new(kernel: &Kernel) -> Self {
        let mut text = Self {
            title: kernel.to_string(),
            shared: Vec::new(),
            body: String::new(),
            constants: Vec::new(),
            names: Vec::new(),
        };
        text.constant("ENTRY", kernel.symbol());
        text.part(
            "__attribute__((visibility(\"default\"))) int ENTRY(const struct planish_args *a);\n",
        );
        text
    }

    /// A part that knows no geometry.
    pub(super) fn shared(&mut self, part: &'static str) {
        self.shared.push(part);
    }

    /// A part of this kernel.
    pub(super) fn part(&mut self, part: &str) {
        self.gap();
        self.body.push_str(part);
    }

    /// A part of this kernel that defines these functions and structs.
    pub(super) fn own(&mut self, part: &str, names: &[&str]) {
        self.part(part);
        self.names
            .extend(names.iter().map(|name| (*name).to_owned()));
    }

    /// A function or struct of this kernel. From the second kernel of a source on, the kernel's number is added to it.
    pub(super) fn name(&mut self, name: String) {
        self.names.push(name);
    }

    /// An empty line.
    pub(super) fn gap(&mut self) {
        self.body.push('\n');
    }

    /// A constant of this kernel, or a macro if arguments stand behind its name.
    pub(super) fn constant(&mut self, name: &str, value: impl Display) {
        line(&mut self.body, format_args!("#define {name} {value}"));
        let bare = name.split('(').next().unwrap_or(name);
        self.constants.push(bare.to_owned());
    }
}

/// The source of these kernels.
pub(super) fn source(texts: &[Text]) -> String {
    let titles: Vec<&str> = texts.iter().map(|text| text.title.as_str()).collect();
    let titles = titles.join(",\n   ");
    let mut source = format!("/* {titles}, interface {} */\n\n{TYPES}\n", abi::VERSION);
    source.push_str(&abi::declaration());
    let mut shared = Vec::new();
    for part in texts.iter().flat_map(|text| &text.shared) {
        if !shared.contains(&part) {
            shared.push(part);
            source.push('\n');
            source.push_str(part);
        }
    }
    for (number, text) in texts.iter().enumerate() {
        source.push('\n');
        // The first keeps the names as they are, and behind the last nothing is in the way.
        let names = if number > 0 { &text.names[..] } else { &[] };
        for name in names {
            line(&mut source, format_args!("#define {name} {name}_{number}"));
        }
        source.push_str(&text.body);
        if number + 1 < texts.len() {
            source.push('\n');
            for name in text.constants.iter().chain(names) {
                line(&mut source, format_args!("#undef {name}"));
            }
        }
    }
    source
}

fn line(text: &mut String, line: Arguments<'_>) {
    // Writing to a `String` cannot fail.
    let _ = writeln!(text, "{line}");
}
