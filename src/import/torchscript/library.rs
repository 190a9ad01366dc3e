//! The code of an archive, parsed file by file when a name of it is first asked for.
//!
//! Class `__torch__.a.b.C` and function `__torch__.a.b.f` stand in `code/__torch__/a/b.py`. Mangled
//! segments (`___torch_mangle_7`) are part of a name and of its file.

use std::collections::HashMap;
use std::rc::Rc;

use indexmap::IndexMap;
use planish_ir::{Literal, Type};

use super::code::ast::{Class, File, Function, Item};
use super::code::parse;
use super::zip::Archive;
use crate::error::{Error, Result};

/// Most bytes of code in an archive. The largest models have a megabyte; parsed, code takes a hundred
/// times its room.
const MAX_CODE: usize = 16 << 20;

/// The parsed code files of an archive.
#[derive(Debug)]
pub(super) struct Library<'a> {
    archive: &'a Archive,
    /// Bytes of code parsed so far.
    parsed: usize,
    files: IndexMap<String, Option<Rc<Code>>>,
    /// The archive's constants, once they are read.
    pub(super) constants: Vec<Literal>,
    /// The types of named tuples, once their fields are read.
    pub(super) named_tuples: HashMap<String, Type>,
    /// Named tuples whose fields are being read: one that contains itself has no type.
    pub(super) open: Vec<String>,
}

/// One file and what it defines.
#[derive(Debug)]
struct Code {
    name: Rc<str>,
    classes: IndexMap<String, Rc<Class>>,
    functions: IndexMap<String, Rc<Function>>,
}

impl<'a> Library<'a> {
    pub(super) fn new(archive: &'a Archive) -> Self {
        Self {
            archive,
            parsed: 0,
            files: IndexMap::new(),
            constants: Vec::new(),
            named_tuples: HashMap::new(),
            open: Vec::new(),
        }
    }

    /// What `CONSTANTS.cN` stands for, asked for by its `cN`.
    pub(super) fn constant(&self, name: &str) -> Option<&Literal> {
        let number = name.strip_prefix('c')?.parse::<usize>().ok()?;
        self.constants.get(number)
    }

    /// The class of this qualified name and its file, if the archive has code for it.
    pub(super) fn class(&mut self, qualified: &str) -> Result<Option<(Rc<str>, Rc<Class>)>> {
        let Some((code, name)) = self.find(qualified)? else {
            return Ok(None);
        };
        let class = code.classes.get(name).cloned();
        Ok(class.map(|class| (Rc::clone(&code.name), class)))
    }

    /// The free function of this qualified name and its file, if the archive has code for it.
    pub(super) fn function(&mut self, qualified: &str) -> Result<Option<(Rc<str>, Rc<Function>)>> {
        let Some((code, name)) = self.find(qualified)? else {
            return Ok(None);
        };
        let function = code.functions.get(name).cloned();
        Ok(function.map(|function| (Rc::clone(&code.name), function)))
    }

    fn find<'n>(&mut self, qualified: &'n str) -> Result<Option<(Rc<Code>, &'n str)>> {
        let Some((path, name)) = qualified.rsplit_once('.') else {
            return Ok(None);
        };
        if let Some(known) = self.files.get(path) {
            return Ok(known.clone().map(|code| (code, name)));
        }
        let entry = format!("code/{}.py", path.replace('.', "/"));
        let code = if self.archive.contains(&entry) {
            let text = self.archive.read_text(&entry)?;
            self.parsed = self.parsed.saturating_add(text.len());
            if self.parsed > MAX_CODE {
                let what = format!("brings the archive's code beyond {MAX_CODE} bytes");
                return Err(Error::entry(entry, what));
            }
            Some(Rc::new(Code::new(parse(&entry, &text)?)))
        } else {
            None
        };
        self.files.insert(path.to_owned(), code.clone());
        Ok(code.map(|code| (code, name)))
    }
}

impl Code {
    fn new(file: File) -> Self {
        let mut code = Self {
            name: file.name.into(),
            classes: IndexMap::new(),
            functions: IndexMap::new(),
        };
        for item in file.items {
            match item {
                Item::Class(class) => {
                    code.classes.insert(class.name.clone(), Rc::new(class));
                }
                Item::Function(function) => {
                    code.functions
                        .insert(function.name.clone(), Rc::new(function));
                }
            }
        }
        code
    }
}
