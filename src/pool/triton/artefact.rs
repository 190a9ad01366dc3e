//! The bytes of a compiled Triton kernel: record, cubin and PTX, one after the other.

use crate::error::Error;
use crate::hash::Digest;
use crate::triton::record::LaunchRecord;

/// How the bytes begin; the digits are the version.
const MAGIC: [u8; 8] = *b"PLNTRI01";
/// `e_machine` of a file for a device of NVIDIA.
const MACHINE: [u8; 2] = [190, 0];

/// A compiled Triton kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TritonArtefact {
    /// How to launch it.
    pub record: LaunchRecord,
    /// The code, an ELF file that the device's driver loads.
    pub cubin: Vec<u8>,
    /// The assembly text that it was made from. To be read: for `sm_90` and later it is no more
    /// portable than the cubin.
    pub ptx: String,
}

impl TritonArtefact {
    /// Reads the bytes of an artefact of a Triton job.
    pub fn read(bytes: &[u8]) -> Result<Self, Error> {
        let wrong = |reason: &str| Error::Triton {
            what: "read a Triton artefact".to_owned(),
            reason: reason.to_owned(),
        };
        let mut rest = bytes
            .strip_prefix(&MAGIC)
            .ok_or_else(|| wrong("it does not begin as one"))?;
        let mut section = || {
            let (length, after) = rest.split_first_chunk::<8>()?;
            let length = usize::try_from(u64::from_le_bytes(*length)).ok()?;
            let (section, after) = after.split_at_checked(length)?;
            rest = after;
            Some(section)
        };
        let (Some(record), Some(cubin), Some(ptx)) = (section(), section(), section()) else {
            return Err(wrong("it is cut short"));
        };
        if !rest.is_empty() {
            return Err(wrong("it goes on behind its end"));
        }
        if !is_cubin(cubin) {
            return Err(wrong("its code is for no device"));
        }
        Ok(Self {
            record: LaunchRecord::from_json(record)?,
            cubin: cubin.to_vec(),
            ptx: String::from_utf8_lossy(ptx).into_owned(),
        })
    }

    /// The digest of the cubin.
    pub fn digest(&self) -> Digest {
        Digest::of(&self.cubin)
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        let record = self.record.to_json();
        for section in [record.as_bytes(), &self.cubin, self.ptx.as_bytes()] {
            bytes.extend_from_slice(&(section.len() as u64).to_le_bytes());
            bytes.extend_from_slice(section);
        }
        bytes
    }
}

/// Whether these bytes are an ELF64 little-endian file for a device.
pub(crate) fn is_cubin(bytes: &[u8]) -> bool {
    bytes.starts_with(&[0x7f, b'E', b'L', b'F', 2, 1]) && bytes.get(18..20) == Some(&MACHINE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::triton::record::tests::record;

    #[test]
    fn an_artefact_reads_back_and_a_part_of_one_does_not() {
        let mut cubin = vec![0; 64];
        cubin[..6].copy_from_slice(&[0x7f, b'E', b'L', b'F', 2, 1]);
        cubin[18..20].copy_from_slice(&MACHINE);
        let artefact = TritonArtefact {
            record: record(),
            cubin,
            ptx: ".version 9.4\n".to_owned(),
        };
        let bytes = artefact.bytes();
        assert_eq!(TritonArtefact::read(&bytes).expect("it reads"), artefact);
        for length in 0..bytes.len() {
            assert!(TritonArtefact::read(&bytes[..length]).is_err(), "{length}");
        }
        let longer = [&bytes[..], &[0]].concat();
        assert!(TritonArtefact::read(&longer).is_err());
        let mut damaged = bytes;
        let at = damaged.windows(4).position(|four| four == b"\x7fELF");
        damaged[at.expect("the cubin") + 18] = 62;
        let error = TritonArtefact::read(&damaged).expect_err("no device");
        assert!(error.to_string().contains("its code is for no device"));
    }
}
