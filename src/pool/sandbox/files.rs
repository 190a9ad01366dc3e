//! Landlock: which files there are.

use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, LandlockStatus, Ruleset,
    RulesetAttr, RulesetCreatedAttr, RulesetError, Scope, path_beneath_rules,
};

use super::Room;

/// What is asked for; older kernels give less.
const WANTED: ABI = ABI::V7;
/// Where programs and what belongs to them lie under an installation's prefix.
const PARTS: [&str; 6] = ["bin", "lib", "lib32", "lib64", "libexec", "include"];
/// Prefixes of what every program may need: its interpreter and libraries, and the assembler and linker of a compiler
/// that brings none.
const PREFIXES: [&str; 3] = ["/", "/usr", "/usr/local"];
/// Read-only collections of packages, where a compiler's parts lie in directories of their own.
const STORES: [&str; 2] = ["/nix/store", "/gnu/store"];
/// Files that programs read before they do anything.
const FILES: [&str; 5] = [
    "/etc/ld.so.cache",
    "/etc/ld.so.preload",
    "/dev/urandom",
    "/dev/random",
    "/sys/devices/system/cpu/online",
];

/// Takes all other files away. The version in force; `None` without Landlock.
pub(super) fn restrict(room: &Room<'_>) -> Result<Option<u32>, String> {
    let status = ruleset(room).map_err(|error| format!("restrict files: {error}"))?;
    Ok(match status {
        LandlockStatus::Available { effective_abi, .. } => Some(effective_abi as u32),
        _ => None,
    })
}

fn ruleset(room: &Room<'_>) -> Result<LandlockStatus, RulesetError> {
    let read = AccessFs::from_read(WANTED);
    let all = AccessFs::from_all(WANTED);
    let (programs, files, null) = match room.program {
        Some(program) => (toolchain(program), &FILES[..], &["/dev/null"][..]),
        None => Default::default(),
    };
    let status = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(all)?
        .handle_access(AccessNet::from_all(WANTED))?
        .scope(Scope::from_all(WANTED))?
        .create()?
        .add_rules(path_beneath_rules(programs, read))?
        .add_rules(path_beneath_rules(room.files, read))?
        .add_rules(path_beneath_rules(files, AccessFs::ReadFile))?
        .add_rules(path_beneath_rules(
            null,
            AccessFs::ReadFile | AccessFs::WriteFile,
        ))?
        // What the compiler makes there is not for executing.
        .add_rules(path_beneath_rules(room.directory, all & !AccessFs::Execute))?
        .restrict_self()?;
    Ok(status.landlock)
}

/// What a program may read and execute: itself, its installation, and the system's. Never the whole prefix: that of
/// a program in `~/bin` is the home directory.
fn toolchain(program: &Path) -> Vec<PathBuf> {
    let mut allowed: Vec<PathBuf> = STORES.iter().map(PathBuf::from).collect();
    for prefix in PREFIXES {
        allowed.extend(PARTS.iter().map(|part| Path::new(prefix).join(part)));
    }
    let Ok(real) = program.canonicalize() else {
        return allowed;
    };
    let directory = real.parent().filter(|directory| directory.ends_with("bin"));
    if let Some(prefix) = directory.and_then(Path::parent) {
        // Of a cross compiler: `<prefix>/<machine>/bin/as`.
        let name = real.file_name().unwrap_or_default().to_string_lossy();
        let machine = name
            .rsplit_once('-')
            .map(|(machine, _)| prefix.join(machine));
        if PREFIXES.iter().all(|known| prefix != Path::new(known)) {
            allowed.extend(PARTS.iter().map(|part| prefix.join(part)));
        }
        allowed.extend(machine);
    }
    allowed.push(real);
    allowed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_brings_its_installation_and_not_its_home() {
        let home = tempfile::tempdir().expect("a directory");
        let home = home.path().canonicalize().expect("it is there");
        std::fs::create_dir(home.join("bin")).expect("create");
        let program = home.join("bin/arm-none-cc");
        std::fs::write(&program, "").expect("write");
        let allowed = toolchain(&program);
        for path in ["bin", "lib", "libexec", "bin/arm-none-cc", "arm-none"] {
            assert!(allowed.contains(&home.join(path)), "{path}: {allowed:?}");
        }
        assert!(!allowed.contains(&home));
        let system = toolchain(Path::new("/bin/sh"));
        assert!(system.contains(&PathBuf::from("/usr/lib")));
        assert!(
            !system
                .iter()
                .any(|path| path == Path::new("/") || path == Path::new("/etc"))
        );
    }
}
