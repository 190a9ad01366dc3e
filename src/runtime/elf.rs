//! What a shared object must be, and must not be, before the dynamic linker sees it.
//!
//! The lists below say what is allowed, never what is forbidden: an entry of a kind that no compile job makes is refused by its number.

use object::LittleEndian as Le;
use object::elf;
use object::read::elf::{
    Dyn as _, FileHeader as _, ProgramHeader as _, SectionHeader as _, Sym as _,
};

/// Why a shared object is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ElfError {
    /// The headers or tables cannot be read.
    #[error("it is not a readable ELF file: {0}")]
    Unreadable(String),
    /// It is for another machine, or not a shared object.
    #[error("it is not a shared object for x86-64 Linux")]
    Kind,
    /// A segment that asks for more than kernels need.
    #[error("a segment {0}")]
    Segment(String),
    /// An entry of the dynamic table that kernels do not need.
    #[error("its dynamic table has {0}")]
    Dynamic(String),
    /// The section table and the dynamic table disagree, so that what was checked is not what would be used.
    #[error("its sections and its dynamic table disagree about the {0}")]
    Disagree(&'static str),
    /// A library other than libc and libm.
    #[error("it needs the library `{0}`")]
    Needs(String),
    /// A symbol that another object would have to define.
    #[error("it imports the symbol `{0}`")]
    Import(String),
    /// A symbol that was not expected, or is no plain function.
    #[error("it exports `{0}`, which was not expected or is no function")]
    Export(String),
    /// A symbol that was expected and is missing.
    #[error("it does not export `{0}`")]
    Missing(String),
    /// A relocation that runs code, copies data or names a symbol.
    #[error("it has a relocation of type {0}")]
    Relocation(u32),
}

/// Entries of the dynamic table that describe symbols, strings and relocations, and so run no code.
const ALLOWED: [elf::DynamicTag; 17] = [
    elf::DT_NULL,
    elf::DT_NEEDED,
    elf::DT_SONAME,
    elf::DT_HASH,
    elf::DT_GNU_HASH,
    elf::DT_STRTAB,
    elf::DT_STRSZ,
    elf::DT_SYMTAB,
    elf::DT_SYMENT,
    elf::DT_RELAENT,
    elf::DT_RELACOUNT,
    elf::DT_FLAGS,
    elf::DT_FLAGS_1,
    elf::DT_VERSYM,
    elf::DT_VERNEED,
    elf::DT_VERNEEDNUM,
    elf::DT_BIND_NOW,
];

/// Bits of `DT_FLAGS` and `DT_FLAGS_1` that only ask for symbols to be bound at once.
const ALLOWED_FLAGS: u64 = elf::DF_BIND_NOW.0;
const ALLOWED_FLAGS_1: u64 = elf::DF_1_NOW.0;

/// Libraries that a kernel may name, though it imports nothing from them.
const LIBRARIES: [&[u8]; 2] = [b"libc.so.6", b"libm.so.6"];

/// Checks that `data` is a shared object for x86-64 that exports exactly `symbols` and runs no code when it is loaded or unloaded.
pub(crate) fn check(data: &[u8], symbols: &[&str]) -> Result<(), ElfError> {
    let header = elf::FileHeader64::<Le>::parse(data).map_err(unreadable)?;
    let endian = header.endian().map_err(unreadable)?;
    let little = header.is_little_endian()
        && matches!(
            header.e_ident().os_abi,
            elf::ELFOSABI_SYSV | elf::ELFOSABI_GNU
        );
    if !little || header.e_type(endian) != elf::ET_DYN || header.e_machine(endian) != elf::EM_X86_64
    {
        return Err(ElfError::Kind);
    }
    let dynamic = check_segments(header, endian, data)?;
    let sections = header.sections(endian, data).map_err(unreadable)?;
    let table = sections
        .symbols(endian, data, elf::SHT_DYNSYM)
        .map_err(unreadable)?;
    let strings = table.strings();

    // The linker follows the dynamic table; the names and symbols that are checked must be those.
    let address = |section: object::SectionIndex| {
        sections
            .section(section)
            .map(|section| section.sh_addr(endian))
            .map_err(unreadable)
    };
    let mut relocations = (0, 0);
    for entry in dynamic {
        let (tag, value) = (entry.tag(endian), entry.val(endian));
        match tag {
            elf::DT_NULL => break,
            elf::DT_SYMTAB if value != address(table.section())? => {
                return Err(ElfError::Disagree("symbols"));
            }
            elf::DT_STRTAB if value != address(table.string_section())? => {
                return Err(ElfError::Disagree("names"));
            }
            elf::DT_FLAGS if value & !ALLOWED_FLAGS != 0 => {
                return Err(ElfError::Dynamic(format!("DT_FLAGS {value:#x}")));
            }
            elf::DT_FLAGS_1 if value & !ALLOWED_FLAGS_1 != 0 => {
                return Err(ElfError::Dynamic(format!("DT_FLAGS_1 {value:#x}")));
            }
            elf::DT_NEEDED => {
                let name = entry.string(endian, strings).map_err(unreadable)?;
                if !LIBRARIES.contains(&name) {
                    return Err(ElfError::Needs(String::from_utf8_lossy(name).into_owned()));
                }
            }
            elf::DT_RELA => relocations.0 = value,
            elf::DT_RELASZ => relocations.1 = value,
            _ if ALLOWED.contains(&tag) => {}
            _ => return Err(ElfError::Dynamic(dynamic_name(tag))),
        }
    }

    if relocations != (0, 0) {
        check_relocations(&sections, endian, data, relocations)?;
    }

    let mut missing: Vec<&str> = symbols.to_vec();
    for (_, symbol) in table.enumerate().filter(|(index, _)| index.0 != 0) {
        let name =
            String::from_utf8_lossy(symbol.name(endian, strings).map_err(unreadable)?).into_owned();
        if symbol.is_undefined(endian) {
            return Err(ElfError::Import(name));
        }
        if symbol.is_local() {
            continue;
        }
        let expected = missing.iter().position(|symbol| *symbol == name);
        match expected {
            Some(at) if symbol.st_type() == elf::STT_FUNC => missing.swap_remove(at),
            _ => return Err(ElfError::Export(name)),
        };
    }
    missing
        .first()
        .map_or(Ok(()), |name| Err(ElfError::Missing((*name).to_owned())))
}

/// Checks the segments and returns the entries of the one dynamic table.
fn check_segments<'data>(
    header: &elf::FileHeader64<Le>,
    endian: Le,
    data: &'data [u8],
) -> Result<&'data [elf::Dyn64<Le>], ElfError> {
    let (mut dynamic, mut stack) = (None, false);
    for segment in header.program_headers(endian, data).map_err(unreadable)? {
        let flags = segment.p_flags(endian);
        let executable = flags.0 & elf::PF_X.0 != 0;
        let refuse = |why: &str| Err(ElfError::Segment(why.to_owned()));
        match segment.p_type(endian) {
            elf::PT_LOAD if executable && flags.0 & elf::PF_W.0 != 0 => {
                return refuse("is both writable and executable");
            }
            elf::PT_GNU_STACK if executable => return refuse("asks for an executable stack"),
            elf::PT_GNU_STACK => stack = true,
            elf::PT_DYNAMIC if dynamic.is_some() => return refuse("holds a second dynamic table"),
            elf::PT_DYNAMIC => dynamic = segment.dynamic(endian, data).map_err(unreadable)?,
            elf::PT_LOAD
            | elf::PT_NOTE
            | elf::PT_PHDR
            | elf::PT_GNU_RELRO
            | elf::PT_GNU_PROPERTY
            | elf::PT_GNU_EH_FRAME => {}
            other => return refuse(&format!("has the unknown type {:#x}", other.0)),
        }
    }
    // Without this segment the linker would make the stack executable.
    if !stack {
        return Err(ElfError::Segment(
            "that keeps the stack from being executable is missing".to_owned(),
        ));
    }
    dynamic.ok_or_else(|| ElfError::Segment("with the dynamic table is missing".to_owned()))
}

/// Kernels may hold tables of their own addresses, nothing else that must be relocated.
fn check_relocations(
    sections: &object::read::elf::SectionTable<'_, elf::FileHeader64<Le>>,
    endian: Le,
    data: &[u8],
    (address, size): (u64, u64),
) -> Result<(), ElfError> {
    let section = sections
        .iter()
        .find(|section| {
            section.sh_type(endian) == elf::SHT_RELA && section.sh_addr(endian) == address
        })
        .filter(|section| section.sh_size(endian) == size)
        .ok_or(ElfError::Disagree("relocations"))?;
    let Some((relocations, _)) = section.rela(endian, data).map_err(unreadable)? else {
        return Err(ElfError::Disagree("relocations"));
    };
    for relocation in relocations {
        let kind = relocation.r_type(endian, false);
        if kind != elf::R_X86_64_RELATIVE {
            return Err(ElfError::Relocation(kind.0));
        }
    }
    Ok(())
}

fn dynamic_name(tag: elf::DynamicTag) -> String {
    let name = match tag {
        elf::DT_INIT => "DT_INIT",
        elf::DT_FINI => "DT_FINI",
        elf::DT_INIT_ARRAY => "DT_INIT_ARRAY",
        elf::DT_FINI_ARRAY => "DT_FINI_ARRAY",
        elf::DT_PREINIT_ARRAY => "DT_PREINIT_ARRAY",
        elf::DT_RPATH => "DT_RPATH",
        elf::DT_RUNPATH => "DT_RUNPATH",
        elf::DT_TEXTREL => "DT_TEXTREL",
        elf::DT_JMPREL => "DT_JMPREL",
        other => return format!("an entry {:#x}", other.0),
    };
    name.to_owned()
}

fn unreadable(error: object::Error) -> ElfError {
    ElfError::Unreadable(error.to_string())
}
