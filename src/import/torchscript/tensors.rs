//! Pickled tensors: views of storages that stay where they are in the archive.

use std::collections::HashMap;

use bytes::Bytes;
use planish_ir::{DType, Element, QParams, Tensor};

use super::pickle::{Global, Pickle, Pickled, ValueId};
use super::zip::Archive;
use crate::error::{Error, Result};

/// Bytes that the tensors of one pickle may have beyond those of the file: views that repeat their
/// storage, scales and zero points.
const MAX_MADE: u64 = 1 << 30;

/// Bytes below which a storage is copied. A slice, however short, keeps the whole file in memory: what
/// is left of a model once its large weights are quantized and packed should not.
const COPIED: usize = 1 << 16;

/// The storages that the tensors of one pickle refer to.
#[derive(Debug)]
pub(super) struct Storages<'a> {
    archive: &'a Archive,
    folder: &'static str,
    /// Storages read so far, by key: many tensors may share one, and its CRC is checked once.
    read: HashMap<Box<str>, Bytes>,
    /// How much of [`MAX_MADE`] is left.
    left: u64,
}

/// A storage and the element type its tensors have.
struct Storage {
    dtype: DType,
    bytes: Bytes,
}

impl<'a> Storages<'a> {
    /// The storages below `folder`: `data` for `data.pkl`, `constants` for `constants.pkl`.
    pub(super) fn new(archive: &'a Archive, folder: &'static str) -> Self {
        Self {
            archive,
            folder,
            read: HashMap::new(),
            left: MAX_MADE,
        }
    }

    /// The tensor that `callee(args)` rebuilds, or `None` if the callee rebuilds no tensor.
    pub(super) fn tensor(
        &mut self,
        pickle: &Pickle,
        callee: &Global,
        args: ValueId,
        path: &str,
    ) -> Result<Option<Tensor>> {
        let fail = |what: &str| Error::object(path, what);
        let quantized = match callee {
            Global::Torch("torch._utils._rebuild_tensor_v2") => false,
            Global::Torch("torch._utils._rebuild_qtensor") => true,
            _ => return Ok(None),
        };
        let Some([storage, offset, shape, strides, rest @ ..]) = pickle.items(args) else {
            return Err(fail("the tensor has too few arguments"));
        };
        let storage = self.storage(pickle, *storage, path)?;
        let offset = pickle
            .int(*offset)
            .ok_or_else(|| fail("the tensor's offset is no int"))?;
        let shape = ints(pickle, *shape).ok_or_else(|| fail("the tensor's sizes are no ints"))?;
        let strides =
            ints(pickle, *strides).ok_or_else(|| fail("the tensor's strides are no ints"))?;
        let size = storage.dtype.size() as i128;
        let logical = shape
            .iter()
            .fold(size, |n, d| n.saturating_mul(i128::from(*d)));
        if logical > storage.bytes.len() as i128 {
            self.charge(logical, path)?;
        }
        if storage.dtype.is_quantized() != quantized {
            return Err(fail("the tensor's storage and its rebuild function differ"));
        }
        let tensor = Tensor::strided(storage.dtype, &shape, &strides, offset, storage.bytes)
            .map_err(|e| Error::object(path, e.to_string()))?;
        if !quantized {
            return Ok(Some(tensor));
        }
        let qparams = rest
            .first()
            .and_then(|id| pickle.items(*id))
            .ok_or_else(|| fail("the tensor has no quantization parameters"))?;
        let qparams = self.qparams(pickle, qparams, path)?;
        let tensor = tensor
            .with_qparams(qparams)
            .map_err(|e| Error::object(path, e.to_string()))?;
        Ok(Some(tensor))
    }

    fn qparams(&mut self, pickle: &Pickle, items: &[ValueId], path: &str) -> Result<QParams> {
        let fail = |what: &str| Error::object(path, what);
        let Some(Pickled::Global(Global::Torch(scheme))) = items.first().map(|id| pickle.get(*id))
        else {
            return Err(fail("the tensor's quantization scheme is no global"));
        };
        match (*scheme, items) {
            ("torch.per_tensor_affine", [_, scale, zero_point]) => {
                let (Pickled::Float(scale), Some(zero_point)) =
                    (pickle.get(*scale), pickle.int(*zero_point))
                else {
                    return Err(fail("the tensor's scale or zero point has a wrong type"));
                };
                Ok(QParams::PerTensor {
                    scale: *scale,
                    zero_point,
                })
            }
            ("torch.per_channel_affine", [_, scales, zero_points, axis]) => {
                let scales = self
                    .list::<f64>(pickle, *scales, path)?
                    .ok_or_else(|| fail("the tensor's scales are no float64 tensor"))?;
                let zero_points = self
                    .list::<i64>(pickle, *zero_points, path)?
                    .ok_or_else(|| fail("the tensor's zero points are no int64 tensor"))?;
                let axis = pickle
                    .int(*axis)
                    .and_then(|axis| usize::try_from(axis).ok())
                    .ok_or_else(|| fail("the tensor's quantized axis is no index"))?;
                Ok(QParams::PerChannel {
                    scales: scales.into(),
                    zero_points: zero_points.into(),
                    axis,
                })
            }
            ("torch.per_channel_affine_float_qparams", [_, scales, zero_points, axis]) => {
                let mut floats = |id: ValueId, what: &str| {
                    let values = self.nested(pickle, id, path)?;
                    let values = values.and_then(|tensor| tensor.values::<f32>());
                    values.ok_or_else(|| fail(what))
                };
                let scales = floats(*scales, "the tensor's scales are no float32 tensor")?;
                let zero_points = floats(
                    *zero_points,
                    "the tensor's zero points are no float32 tensor",
                )?;
                let axis = pickle
                    .int(*axis)
                    .and_then(|axis| usize::try_from(axis).ok())
                    .ok_or_else(|| fail("the tensor's quantized axis is no index"))?;
                Ok(QParams::PerChannelFloat {
                    scales: scales.into(),
                    zero_points: zero_points.into(),
                    axis,
                })
            }
            (scheme, _) => {
                let what = format!("quantization scheme `{scheme}` is not supported");
                Err(Error::object(path, what))
            }
        }
    }

    /// The elements of a tensor of scales or zero points.
    fn list<T: Element>(
        &mut self,
        pickle: &Pickle,
        id: ValueId,
        path: &str,
    ) -> Result<Option<Vec<T>>> {
        let Some(tensor) = self.nested(pickle, id, path)? else {
            return Ok(None);
        };
        self.charge((tensor.numel() * tensor.dtype().size()) as i128, path)?;
        Ok(tensor.values())
    }

    /// Takes from what the tensors may have beyond the bytes of the file.
    fn charge(&mut self, bytes: i128, path: &str) -> Result<()> {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        self.left = self.left.checked_sub(bytes).ok_or_else(|| {
            let what = "views that repeat their storage, and scales, take more than 1 GiB with this one; save expanded tensors with `contiguous()`";
            Error::object(path, what)
        })?;
        Ok(())
    }

    fn nested(&mut self, pickle: &Pickle, id: ValueId, path: &str) -> Result<Option<Tensor>> {
        let Pickled::Call { callee, arg } = pickle.get(id) else {
            return Ok(None);
        };
        match pickle.get(*callee) {
            Pickled::Global(callee @ Global::Torch("torch._utils._rebuild_tensor_v2")) => {
                self.tensor(pickle, callee, *arg, path)
            }
            _ => Ok(None),
        }
    }

    fn storage(&mut self, pickle: &Pickle, id: ValueId, path: &str) -> Result<Storage> {
        let fail = |what: String| Error::object(path, what);
        let parts = match pickle.get(id) {
            Pickled::Persistent(inner) => pickle.items(*inner),
            _ => None,
        };
        let Some([tag, element, key, _device, numel]) = parts else {
            return Err(fail("the tensor has no storage".into()));
        };
        // The device says where the tensor lived when it was saved; the bytes are the same.
        let (Some("storage"), Pickled::Global(Global::Storage(element)), Some(key)) =
            (pickle.str(*tag), pickle.get(*element), pickle.str(*key))
        else {
            return Err(fail("the tensor's storage has a wrong layout".into()));
        };
        let dtype = DType::from_name(element)
            .ok_or_else(|| fail(format!("storages of `{element}` are not supported")))?;
        let bytes = if let Some(known) = self.read.get(key) {
            known.clone()
        } else {
            let mut bytes = self.archive.read(&format!("{}/{key}", self.folder))?;
            if bytes.len() < COPIED {
                bytes = Bytes::copy_from_slice(&bytes);
            }
            self.read.insert(key.into(), bytes.clone());
            bytes
        };
        let wanted = pickle
            .int(*numel)
            .and_then(|numel| usize::try_from(numel).ok())
            .and_then(|numel| numel.checked_mul(dtype.size()))
            .ok_or_else(|| fail("the tensor's storage has no size".into()))?;
        if wanted > bytes.len() {
            let what = format!(
                "storage `{}/{key}` has {} bytes, {wanted} are asked for",
                self.folder,
                bytes.len()
            );
            return Err(fail(what));
        }
        Ok(Storage { dtype, bytes })
    }
}

/// The ints of a tuple or list.
fn ints(pickle: &Pickle, id: ValueId) -> Option<Vec<i64>> {
    pickle.items(id)?.iter().map(|id| pickle.int(*id)).collect()
}
