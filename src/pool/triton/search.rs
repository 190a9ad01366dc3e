//! Finds the Python that has Triton, and the assemblers it uses, and says which they are.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::cache::{Cache, Lookup};
use crate::error::Error;
use crate::hash::{Digest, Fields, JobKey};
use crate::question;
use crate::toolchain::{add_file, in_path};
use crate::triton::source::Arch;
use crate::wire::TritonTools;

/// From this device on, Triton uses the second assembler.
const SECOND: Arch = Arch::SM_90;
/// The oldest version that has the two assemblers this way.
const OLDEST: (u32, u32) = (3, 9);

/// Prints what a Python is, without importing Triton.
const PROBE: &str = "
import sys, json
from importlib import metadata, util
spec = util.find_spec('triton')
if spec is None or not spec.origin:
    sys.exit('it has no module named triton')
print(json.dumps({
    'python': '%d.%d.%d' % sys.version_info[:3],
    'triton': metadata.version('triton'),
    'package': spec.submodule_search_locations[0],
}))
";

/// Where to look for Triton. The library reads no environment; the program passes it in.
#[derive(Clone, Debug, Default)]
pub struct TritonSearch {
    /// The Python that has Triton: a path, or a name to look up in `path`. `python3` without it.
    pub python: Option<PathBuf>,
    /// The value of `PATH`.
    pub path: Option<OsString>,
    /// The `ptxas` for all devices, as `TRITON_PTXAS_PATH` names it. Triton's own without it.
    pub ptxas: Option<PathBuf>,
    /// The `ptxas` for `sm_90` and later, as `TRITON_PTXAS_BLACKWELL_PATH` names it. Without it the
    /// one for all devices: Triton itself would pass that over and use its own.
    pub ptxas_blackwell: Option<PathBuf>,
}

/// A Triton that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Triton {
    python: PathBuf,
    package: Package,
    ptxas: Ptxas,
    ptxas_blackwell: Ptxas,
}

/// An assembler that answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ptxas {
    path: PathBuf,
    told: Told,
}

/// Triton as its Python has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Package {
    python: String,
    triton: String,
    directory: PathBuf,
    digest: String,
}

/// What an assembler is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Told {
    version: String,
    digest: String,
}

/// What [`PROBE`] prints.
#[derive(Deserialize)]
struct Probed {
    python: String,
    triton: String,
    package: PathBuf,
}

impl TritonSearch {
    /// Use this Python, and Triton's own assemblers.
    pub fn python(python: impl Into<PathBuf>) -> Self {
        Self {
            python: Some(python.into()),
            ..Self::default()
        }
    }
}

impl Triton {
    /// Finds Triton and asks what it is. What is kept in `cache` of files that have not changed is
    /// not asked again: it takes a second, for the compiler's half gigabyte is read and hashed.
    pub fn find(search: &TritonSearch, cache: Option<&Cache>) -> Result<Self, Error> {
        let python = locate(search)?;
        let package = package(&python, cache)?;
        let own = package.directory.join("backends/nvidia/bin");
        let first = search.ptxas.as_deref();
        let second = search.ptxas_blackwell.as_deref().or(first);
        let ptxas = Ptxas::find(first.unwrap_or(&own.join("ptxas")), cache)?;
        let ptxas_blackwell = Ptxas::find(second.unwrap_or(&own.join("ptxas-blackwell")), cache)?;
        Ok(Self {
            python,
            package,
            ptxas,
            ptxas_blackwell,
        })
    }

    /// The Python, by its absolute path.
    pub fn python(&self) -> &Path {
        &self.python
    }

    /// The version of that Python.
    pub fn python_version(&self) -> &str {
        &self.package.python
    }

    /// The version of Triton.
    pub fn version(&self) -> &str {
        &self.package.triton
    }

    /// The digest of Triton's files and versions.
    pub fn digest(&self) -> &str {
        &self.package.digest
    }

    /// The assembler for a device.
    pub fn ptxas(&self, arch: Arch) -> &Ptxas {
        if arch < SECOND {
            &self.ptxas
        } else {
            &self.ptxas_blackwell
        }
    }

    pub(crate) fn tools(&self) -> TritonTools {
        TritonTools {
            python: self.python.clone().into(),
            package: self.package.directory.clone().into(),
            ptxas: self.ptxas.path.clone().into(),
            ptxas_blackwell: self.ptxas_blackwell.path.clone().into(),
        }
    }

    /// Digest of everything that decides what a source becomes for this device. No path is in it.
    pub fn fingerprint(&self, arch: Arch) -> Digest {
        let mut fields = Fields::new("planish triton 1");
        fields.add(self.package.digest.as_bytes());
        fields.add(self.ptxas(arch).told.digest.as_bytes());
        Digest::from_bytes(fields.finish())
    }
}

impl Ptxas {
    /// Asks the assembler at this path what it is; what is kept in `cache` of a file that has not changed is not asked again.
    pub fn find(path: &Path, cache: Option<&Cache>) -> Result<Self, Error> {
        let path = std::path::absolute(path)
            .map_err(|error| unusable("the ptxas", path, error.to_string()))?;
        let wrong = |reason: String| unusable("the ptxas", &path, reason);
        let metadata = executable(&path).map_err(wrong)?;
        let mut stamp = Fields::new("planish ptxas stamp 1");
        add_file(&mut stamp, &path, &metadata);
        let told = remembered(cache, stamp, || {
            let text = question::ask(&path, &["--version"], "--version", &environment())?;
            let release = text.lines().find(|line| line.contains("release "));
            let release = release.ok_or("it answered --version without a release")?;
            // "Cuda compilation tools, release 12.9, V12.9.86"
            let version = release.rsplit([',', ' ']).next().unwrap_or(release);
            let bytes = fs::read(&path).map_err(|error| error.to_string())?;
            Ok(Told {
                version: version.trim().trim_start_matches('V').to_owned(),
                digest: Digest::of(&bytes).to_string(),
            })
        });
        Ok(Self {
            told: told.map_err(wrong)?,
            path,
        })
    }

    /// Its absolute path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its version, as it says it.
    pub fn version(&self) -> &str {
        &self.told.version
    }

    /// The digest of its bytes.
    pub fn digest(&self) -> &str {
        &self.told.digest
    }
}

/// The environment of everything that is asked or started here, built from nothing.
pub(crate) fn environment() -> Vec<(&'static str, OsString)> {
    vec![
        ("PATH", "/usr/local/bin:/usr/bin:/bin".into()),
        ("LC_ALL", "C.UTF-8".into()),
        // Iterating over a set of texts must not differ between two runs.
        ("PYTHONHASHSEED", "0".into()),
        ("PYTHONDONTWRITEBYTECODE", "1".into()),
        ("PYTHONNOUSERSITE", "1".into()),
    ]
}

fn locate(search: &TritonSearch) -> Result<PathBuf, Error> {
    let name = search.python.as_deref().unwrap_or(Path::new("python3"));
    let python = if name.as_os_str().as_encoded_bytes().contains(&b'/') {
        std::path::absolute(name)
            .map_err(|error| unusable("the Python", name, error.to_string()))?
    } else {
        let path = search.path.as_deref().unwrap_or(OsStr::new(""));
        in_path(name.as_os_str(), path).ok_or_else(|| {
            let reason = format!("it is not in the PATH `{}`", path.display());
            unusable("the Python", name, reason)
        })?
    };
    // The path stays as it was given: a virtual environment is found by the link that is followed.
    executable(&python).map_err(|reason| unusable("the Python", &python, reason))?;
    Ok(python)
}

fn package(python: &Path, cache: Option<&Cache>) -> Result<Package, Error> {
    let wrong = |reason: String| unusable("the Python", python, reason);
    let question = "which Triton it has";
    let text = question::ask(python, &["-s", "-c", PROBE], question, &environment());
    let text = text.map_err(wrong)?;
    let probed: Probed = serde_json::from_str(text.lines().next_back().unwrap_or_default())
        .map_err(|error| wrong(format!("it answered with something else ({error})")))?;
    let mut numbers = probed.triton.split('.').map(|part| part.parse().ok());
    let version = (numbers.next().flatten(), numbers.next().flatten());
    if version < (Some(OLDEST.0), Some(OLDEST.1)) {
        let (major, minor) = OLDEST;
        return Err(wrong(format!(
            "it has Triton {}, and {major}.{minor} is the oldest that is known to work",
            probed.triton
        )));
    }
    let files = files_of(&probed.package).map_err(|error| wrong(error.to_string()))?;
    let mut stamp = Fields::new("planish triton stamp 1");
    stamp.add(probed.python.as_bytes());
    for (path, metadata) in &files {
        add_file(&mut stamp, path, metadata);
    }
    let mut package: Package = remembered(cache, stamp, || {
        let mut fields = Fields::new("planish triton package 1");
        fields.add(probed.python.as_bytes());
        fields.add(probed.triton.as_bytes());
        for (path, _) in &files {
            let name = path.strip_prefix(&probed.package).unwrap_or(path);
            fields.add(name.as_os_str().as_encoded_bytes());
            let digest = digest_of(path).map_err(|error| format!("{}: {error}", path.display()))?;
            fields.add(digest.as_bytes());
        }
        Ok(Package {
            python: probed.python,
            triton: probed.triton,
            directory: probed.package.clone(),
            digest: Digest::from_bytes(fields.finish()).to_string(),
        })
    })
    .map_err(wrong)?;
    package.directory = probed.package;
    Ok(package)
}

/// The files that decide what Triton makes: Python, its compiler, and the libraries of device code.
/// Profilers, headers, debuggers and the assemblers are not among them.
fn files_of(package: &Path) -> io::Result<Vec<(PathBuf, fs::Metadata)>> {
    const PASSED_OVER: [&str; 4] = ["__pycache__", "amd", "cupti", "cupti-blackwell"];
    let mut files = Vec::new();
    let mut open = vec![package.to_owned()];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(&directory)? {
            let path = entry?.path();
            let metadata = fs::metadata(&path)?;
            let name = path.file_name().unwrap_or_default();
            let ends = |extension| path.extension().is_some_and(|found| found == extension);
            if metadata.is_dir() {
                if !PASSED_OVER.iter().any(|passed| name == *passed) {
                    open.push(path);
                }
            } else if ["py", "bc", "ll"].into_iter().any(ends)
                || (ends("so") && name.as_encoded_bytes().starts_with(b"libtriton"))
            {
                files.push((path, metadata));
            }
        }
    }
    files.sort_by(|(one, _), (other, _)| one.cmp(other));
    Ok(files)
}

fn digest_of(path: &Path) -> io::Result<Digest> {
    let mut file = fs::File::open(path)?;
    let mut hasher = blake3::Hasher::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(Digest::from_bytes(*hasher.finalize().as_bytes())),
            count => hasher.update(&buffer[..count]),
        };
    }
}

/// What is known of files that have not changed, in this process or in the cache, or what `ask` says.
fn remembered<T: Serialize + DeserializeOwned>(
    cache: Option<&Cache>,
    stamp: Fields,
    ask: impl FnOnce() -> Result<T, String>,
) -> Result<T, String> {
    static KNOWN: Mutex<BTreeMap<JobKey, Vec<u8>>> = Mutex::new(BTreeMap::new());
    let known = || KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    let stamp = JobKey::from_bytes(stamp.finish());
    let read = |bytes: &[u8]| serde_json::from_slice(bytes).ok();
    if let Some(value) = known().get(&stamp).and_then(|bytes| read(bytes)) {
        return Ok(value);
    }
    if let Some(Lookup::Found(entry)) = cache.map(|cache| cache.get(&stamp))
        && let Some(value) = read(&entry.bytes)
    {
        known().insert(stamp, entry.bytes);
        return Ok(value);
    }
    let value = ask()?;
    let bytes = serde_json::to_vec(&value).map_err(|error| error.to_string())?;
    // Only a convenience: without it the next program asks again.
    let _ = cache.map(|cache| cache.put(&stamp, &bytes));
    known().insert(stamp, bytes);
    Ok(value)
}

fn executable(path: &Path) -> Result<fs::Metadata, String> {
    let metadata = fs::metadata(path).map_err(|error| error.to_string())?;
    let mode = metadata.permissions().mode();
    if !metadata.is_file() || mode & 0o111 == 0 {
        Err("it is not an executable file".to_owned())
    } else if mode & 0o002 != 0 {
        Err("everybody may write to it".to_owned())
    } else {
        Ok(metadata)
    }
}

fn unusable(what: &str, path: &Path, reason: String) -> Error {
    Error::Triton {
        what: format!("use {what} {}", path.display()),
        reason,
    }
}
