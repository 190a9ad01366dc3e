//! What a compiler may touch: its own files, its private directory, and nothing else.
//!
//! Taken by a program on itself, before it turns into the compiler ([`crate::shim`]), from the outermost
//! layer to the innermost:
//!
//! | layer | what it takes away | needs |
//! | --- | --- | --- |
//! | namespaces | the network, System V memory, the rights of root | unprivileged user namespaces |
//! | Landlock | files but the toolchain's (to read and execute) and the private directory (to read and write); TCP; signals to processes outside | Linux 5.13, enabled |
//! | seccomp | system calls that no compiler needs; see [`calls`] | Linux 3.5 |
//!
//! Limits, the built environment and closed descriptors are not part of it: they are always in force.

mod calls;
mod files;
mod namespaces;

use std::ffi::OsString;
use std::fmt;
use std::path::Path;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The least of Landlock's versions that strict confinement takes: before it, a file that cannot be opened for
/// writing can still be truncated.
const LEAST_LANDLOCK: u32 = 3;

/// How much of the sandbox is asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Sandbox {
    /// Landlock and seccomp, or nothing is run. Namespaces where they are permitted.
    Strict,
    /// What this system has.
    #[default]
    BestEffort,
    /// Nothing.
    Off,
}

/// What of the sandbox is in force.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Confinement {
    /// The version of Landlock.
    pub landlock: Option<u32>,
    /// System calls are filtered.
    pub seccomp: bool,
    /// User, network and IPC namespaces of its own.
    pub namespaces: bool,
}

/// What a confined program may still touch.
pub(crate) struct Room<'a> {
    /// The program to execute, with its installation.
    pub program: Option<&'a Path>,
    /// What else it may read and execute.
    pub files: &'a [OsString],
    /// The directory that it may change.
    pub directory: Option<&'a Path>,
}

impl Room<'_> {
    /// No file at all.
    pub(crate) const EMPTY: Self = Self {
        program: None,
        files: &[],
        directory: None,
    };
}

impl Sandbox {
    /// Confines this process for good.
    pub(crate) fn enter(self, room: &Room<'_>) -> Result<Confinement, String> {
        if self == Self::Off {
            return Ok(Confinement::default());
        }
        let namespaces = namespaces::leave().is_ok();
        let landlock = files::restrict(room)?;
        if self == Self::Strict && landlock.is_none_or(|version| version < LEAST_LANDLOCK) {
            return Err(match landlock {
                None => "this system has no Landlock".to_owned(),
                Some(version) => {
                    format!(
                        "Landlock is version {version} here, at least {LEAST_LANDLOCK} is needed"
                    )
                }
            });
        }
        let seccomp = match calls::restrict() {
            Ok(()) => true,
            Err(_) if self == Self::BestEffort => false,
            Err(error) => return Err(format!("filter system calls: {error}")),
        };
        Ok(Confinement {
            landlock,
            seccomp,
            namespaces,
        })
    }
}

impl Confinement {
    const NOTHING: &str = "nothing";
    const SECCOMP: &str = "seccomp";
    const NAMESPACES: &str = "namespaces";
    const LANDLOCK: &str = "landlock ";
}

impl fmt::Display for Sandbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Strict => "strict",
            Self::BestEffort => "best-effort",
            Self::Off => "off",
        })
    }
}

impl FromStr for Sandbox {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        [Self::Strict, Self::BestEffort, Self::Off]
            .into_iter()
            .find(|level| level.to_string() == text)
            .ok_or_else(|| format!("expected strict, best-effort or off, got `{text}`"))
    }
}

/// The layers, as `landlock 7, seccomp, namespaces`.
impl fmt::Display for Confinement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let landlock = self
            .landlock
            .map(|version| format!("{}{version}", Self::LANDLOCK));
        let seccomp = self.seccomp.then(|| Self::SECCOMP.to_owned());
        let namespaces = self.namespaces.then(|| Self::NAMESPACES.to_owned());
        let layers: Vec<String> = [landlock, seccomp, namespaces]
            .into_iter()
            .flatten()
            .collect();
        match layers.as_slice() {
            [] => f.write_str(Self::NOTHING),
            layers => f.write_str(&layers.join(", ")),
        }
    }
}

impl FromStr for Confinement {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut confinement = Self::default();
        for layer in text.split(", ") {
            match layer {
                Self::NOTHING => {}
                Self::SECCOMP => confinement.seccomp = true,
                Self::NAMESPACES => confinement.namespaces = true,
                other => {
                    let version = other.strip_prefix(Self::LANDLOCK);
                    let version = version.and_then(|version| version.parse().ok());
                    confinement.landlock =
                        Some(version.ok_or_else(|| format!("expected a layer, got `{other}`"))?);
                }
            }
        }
        Ok(confinement)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_round_trip() {
        for level in [Sandbox::Strict, Sandbox::BestEffort, Sandbox::Off] {
            assert_eq!(level.to_string().parse(), Ok(level));
        }
        assert!("Off".parse::<Sandbox>().is_err());
        for landlock in [None, Some(7)] {
            for (seccomp, namespaces) in [(false, false), (true, false), (true, true)] {
                let confinement = Confinement {
                    landlock,
                    seccomp,
                    namespaces,
                };
                assert_eq!(confinement.to_string().parse(), Ok(confinement));
            }
        }
        assert!("landlock x".parse::<Confinement>().is_err());
    }
}
