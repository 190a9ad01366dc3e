//! Finds the C compiler and says which one it is.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use crate::cache::{Cache, Lookup};
use crate::error::Error;
use crate::hash::{Digest, Fields, JobKey};
use crate::question;

/// Where to look for the compiler. The library reads no environment; the program passes it in.
#[derive(Clone, Debug, Default)]
pub struct ToolchainSearch {
    /// The user's explicit choice: a path, or a name to look up in `path`.
    pub explicit: Option<PathBuf>,
    /// The value of `CC`: one program, without arguments. Used if there is no explicit choice.
    pub cc: Option<OsString>,
    /// The value of `PATH`.
    pub path: Option<OsString>,
}

/// A C compiler that answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Toolchain {
    compiler: PathBuf,
    version: String,
    machine: String,
    fingerprint: Digest,
}

impl ToolchainSearch {
    /// Look for `cc`, `gcc` and `clang` in this `PATH` value.
    pub fn in_path(path: impl Into<OsString>) -> Self {
        Self {
            path: Some(path.into()),
            ..Self::default()
        }
    }

    /// Use this compiler and no other.
    pub fn explicit(compiler: impl Into<PathBuf>) -> Self {
        Self {
            explicit: Some(compiler.into()),
            ..Self::default()
        }
    }
}

impl Toolchain {
    /// Finds the compiler and asks it for version and machine. An answer is kept for the life of
    /// the process, and asked for again only if the compiler's file changes.
    pub fn find(search: &ToolchainSearch) -> Result<Self, Error> {
        Self::find_or_recall(search, None)
    }

    /// Finds the compiler, and asks it only if `cache` has no answer of this very file. So a program
    /// that takes all its artefacts from the cache starts no compiler at all.
    pub fn find_with(search: &ToolchainSearch, cache: &Cache) -> Result<Self, Error> {
        Self::find_or_recall(search, Some(cache))
    }

    /// The compiler's absolute path.
    pub fn compiler(&self) -> &Path {
        &self.compiler
    }

    /// Its version, as it says it.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The machine it compiles for, as it says it.
    pub fn machine(&self) -> &str {
        &self.machine
    }

    /// Digest of the compiler's bytes, its version and its machine. Part of every job's key.
    pub fn fingerprint(&self) -> Digest {
        self.fingerprint
    }

    fn find_or_recall(search: &ToolchainSearch, cache: Option<&Cache>) -> Result<Self, Error> {
        static KNOWN: Mutex<BTreeMap<JobKey, Toolchain>> = Mutex::new(BTreeMap::new());
        let compiler = locate(search)?;
        let broken = |reason: String| Error::BrokenCompiler {
            path: compiler.clone(),
            reason,
        };
        let metadata = fs::metadata(&compiler).map_err(|error| broken(error.to_string()))?;
        let stamp = stamp(&compiler, &metadata);
        if let Some(known) = KNOWN
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&stamp)
        {
            return Ok(known.clone());
        }
        if metadata.mode() & 0o002 != 0 {
            return Err(broken("everybody may write to it".to_owned()));
        }
        let recalled = cache.and_then(|cache| match cache.get(&stamp) {
            Lookup::Found(entry) => Self::recall(&compiler, &entry.bytes),
            _ => None,
        });
        let toolchain = if let Some(toolchain) = recalled {
            toolchain
        } else {
            let toolchain = Self::ask(&compiler)?;
            // Only a convenience: without it the next program asks again.
            let _ = cache.map(|cache| cache.put(&stamp, toolchain.memo().as_bytes()));
            toolchain
        };
        KNOWN
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(stamp, toolchain.clone());
        Ok(toolchain)
    }

    /// What [`Toolchain::recall`] reads.
    fn memo(&self) -> String {
        format!("{}\n{}\n{}", self.version, self.machine, self.fingerprint)
    }

    fn recall(compiler: &Path, memo: &[u8]) -> Option<Self> {
        let mut lines = std::str::from_utf8(memo).ok()?.lines();
        let mut next = || lines.next().map(str::to_owned);
        let (version, machine) = (next()?, next()?);
        let fingerprint = Digest::from_hex(&next()?)?;
        Some(Self {
            compiler: compiler.to_owned(),
            version,
            machine,
            fingerprint,
        })
    }

    fn ask(compiler: &Path) -> Result<Self, Error> {
        let broken = |reason: String| Error::BrokenCompiler {
            path: compiler.to_owned(),
            reason,
        };
        let bytes = fs::read(compiler).map_err(|error| broken(error.to_string()))?;
        let machine = answer(compiler, "-dumpmachine").map_err(broken)?;
        // Not every compiler knows the first of the two.
        let version = answer(compiler, "-dumpfullversion")
            .or_else(|_| answer(compiler, "-dumpversion"))
            .map_err(|reason| Error::BrokenCompiler {
                path: compiler.to_owned(),
                reason,
            })?;
        let mut fields = Fields::new("planish toolchain 1");
        fields.add(Digest::of(&bytes).as_bytes());
        fields.add(version.as_bytes());
        fields.add(machine.as_bytes());
        Ok(Self {
            compiler: compiler.to_owned(),
            version,
            machine,
            fingerprint: Digest::from_bytes(fields.finish()),
        })
    }

    #[cfg(test)]
    pub(crate) fn for_tests(compiler: &str, fingerprint: Digest) -> Self {
        Self {
            compiler: compiler.into(),
            version: "1".into(),
            machine: "test".into(),
            fingerprint,
        }
    }
}

/// The identity of the compiler's file: while it is unchanged, an answer holds.
fn stamp(compiler: &Path, metadata: &fs::Metadata) -> JobKey {
    let mut fields = Fields::new("planish toolchain stamp 1");
    add_file(&mut fields, compiler, metadata);
    JobKey::from_bytes(fields.finish())
}

/// Adds everything about a file that changes when its bytes do.
pub(crate) fn add_file(fields: &mut Fields, path: &Path, metadata: &fs::Metadata) {
    fields.add(path.as_os_str().as_encoded_bytes());
    for number in [metadata.dev(), metadata.ino(), metadata.len()] {
        fields.add(&number.to_le_bytes());
    }
    // The change time too, which nobody can set back.
    for number in [
        metadata.mtime(),
        metadata.mtime_nsec(),
        metadata.ctime(),
        metadata.ctime_nsec(),
    ] {
        fields.add(&number.to_le_bytes());
    }
}

fn locate(search: &ToolchainSearch) -> Result<PathBuf, Error> {
    let path = search.path.as_deref().unwrap_or_default();
    let named = search.explicit.as_ref().map(|path| path.as_os_str());
    let chosen = named.or(search.cc.as_deref().filter(|cc| !cc.is_empty()));
    let Some(chosen) = chosen else {
        return ["cc", "gcc", "clang"]
            .into_iter()
            .find_map(|name| in_path(OsStr::new(name), path))
            .ok_or_else(|| Error::NoCompiler {
                searched: format!(
                    "neither cc nor gcc nor clang is in the PATH `{}`",
                    path.display()
                ),
            });
    };
    if Path::new(chosen).components().count() == 1 && !chosen.as_encoded_bytes().contains(&b'/') {
        return in_path(chosen, path).ok_or_else(|| Error::NoCompiler {
            searched: format!(
                "`{}` is not in the PATH `{}`",
                chosen.display(),
                path.display()
            ),
        });
    }
    let compiler = std::path::absolute(chosen).map_err(|error| Error::BrokenCompiler {
        path: chosen.into(),
        reason: error.to_string(),
    })?;
    match fs::metadata(&compiler) {
        Ok(metadata) if metadata.is_file() && metadata.permissions().mode() & 0o111 != 0 => {
            Ok(compiler)
        }
        Ok(_) => Err(Error::BrokenCompiler {
            path: compiler,
            reason: "it is not an executable file".to_owned(),
        }),
        Err(error) => Err(Error::BrokenCompiler {
            path: compiler,
            reason: error.to_string(),
        }),
    }
}

/// The first executable of that name. Relative entries of `PATH` are passed over: they would make
/// the compiler depend on the current directory.
pub(crate) fn in_path(name: &OsStr, path: &OsStr) -> Option<PathBuf> {
    std::env::split_paths(path)
        .filter(|directory| directory.is_absolute())
        .map(|directory| directory.join(name))
        .find(|candidate| {
            fs::metadata(candidate).is_ok_and(|metadata| {
                metadata.is_file() && metadata.permissions().mode() & 0o111 != 0
            })
        })
}

/// The first line the compiler prints for `flag`.
fn answer(compiler: &Path, flag: &str) -> Result<String, String> {
    let text = question::ask(compiler, &[flag], flag, &environment(compiler))?;
    match text.lines().next().unwrap_or_default().trim() {
        "" => Err(format!("it answered {flag} with nothing")),
        line => Ok(line.to_owned()),
    }
}

/// The environment a compiler gets, built from nothing: where its own tools are, and English
/// messages.
pub(crate) fn environment(compiler: &Path) -> Vec<(&'static str, OsString)> {
    let mut path = compiler.parent().map(OsString::from).unwrap_or_default();
    path.push(":/usr/local/bin:/usr/bin:/bin");
    vec![
        ("PATH", path),
        ("LC_ALL", "C".into()),
        ("SOURCE_DATE_EPOCH", "0".into()),
    ]
}
