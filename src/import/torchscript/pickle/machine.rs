//! The opcodes.

use super::{Global, Pickled, ValueId};
use crate::error::{Error, Result};

/// Most values, and most entries of the stack and of the memo. A value takes some forty times the
/// room of the byte that makes it.
const MAX_VALUES: usize = 1 << 24;

/// PyTorch names that a stream may mention. `__torch__.…` and `torch.…Storage` come on top.
const ALLOWED: &[&str] = &[
    "collections.OrderedDict",
    "torch._utils._rebuild_qtensor",
    "torch._utils._rebuild_tensor_v2",
    "torch.device",
    "torch.jit._pickle.build_boollist",
    "torch.jit._pickle.build_doublelist",
    "torch.jit._pickle.build_intlist",
    "torch.jit._pickle.build_tensorlist",
    "torch.jit._pickle.restore_type_tag",
    "torch.per_channel_affine",
    "torch.per_channel_affine_float_qparams",
    "torch.per_tensor_affine",
];

/// The state of reading one stream.
pub(super) struct Machine<'a> {
    entry: &'a str,
    stream: &'a [u8],
    at: usize,
    op_at: usize,
    values: Vec<Pickled>,
    stack: Vec<ValueId>,
    marks: Vec<usize>,
    memo: Vec<Option<ValueId>>,
}

impl<'a> Machine<'a> {
    pub(super) fn new(entry: &'a str, stream: &'a [u8]) -> Self {
        Self {
            entry,
            stream,
            at: 0,
            op_at: 0,
            values: Vec::new(),
            stack: Vec::new(),
            marks: Vec::new(),
            memo: Vec::new(),
        }
    }

    /// Runs to `STOP`; returns all values and the id of the one that the stream stands for.
    pub(super) fn run(mut self) -> Result<(Vec<Pickled>, ValueId)> {
        loop {
            self.op_at = self.at;
            let most = self
                .values
                .len()
                .max(self.stack.len())
                .max(self.marks.len());
            if most >= MAX_VALUES {
                return Err(self.fail(format!("the stream makes more than {MAX_VALUES} values")));
            }
            let op = self.byte()?;
            match op {
                0x80 => self.protocol()?,
                b'.' => {
                    let root = self.stop()?;
                    return Ok((self.values, root));
                }
                b'N' => self.push(Pickled::None),
                0x88 => self.push(Pickled::Bool(true)),
                0x89 => self.push(Pickled::Bool(false)),
                b'K' => {
                    let value = i64::from(self.byte()?);
                    self.push(Pickled::Int(value));
                }
                b'M' => {
                    let value = i64::from(u16::from_le_bytes(self.array()?));
                    self.push(Pickled::Int(value));
                }
                b'J' => {
                    let value = i64::from(i32::from_le_bytes(self.array()?));
                    self.push(Pickled::Int(value));
                }
                0x8a => self.long1()?,
                b'G' => {
                    let value = f64::from_be_bytes(self.array()?);
                    self.push(Pickled::Float(value));
                }
                b'X' => self.unicode()?,
                b'c' => self.global()?,
                b')' => self.push(Pickled::Tuple(Vec::new())),
                b']' => self.push(Pickled::List(Vec::new())),
                b'}' => self.push(Pickled::Dict(Vec::new())),
                b'(' => self.marks.push(self.stack.len()),
                b't' => {
                    let items = self.above_mark("TUPLE")?;
                    self.push(Pickled::Tuple(items));
                }
                0x85..=0x87 => {
                    let count = usize::from(op - 0x84);
                    let items = self.take(count, "TUPLE1 to TUPLE3")?;
                    self.push(Pickled::Tuple(items));
                }
                b'a' => {
                    let items = self.take(1, "APPEND")?;
                    self.append(&items, "APPEND")?;
                }
                b'e' => {
                    let items = self.above_mark("APPENDS")?;
                    self.append(&items, "APPENDS")?;
                }
                b's' => {
                    let items = self.take(2, "SETITEM")?;
                    self.set_items(&items, "SETITEM")?;
                }
                b'u' => {
                    let items = self.above_mark("SETITEMS")?;
                    self.set_items(&items, "SETITEMS")?;
                }
                b'q' => {
                    let slot = usize::from(self.byte()?);
                    self.put(slot)?;
                }
                b'r' => {
                    let slot = u32::from_le_bytes(self.array()?) as usize;
                    self.put(slot)?;
                }
                b'h' => {
                    let slot = usize::from(self.byte()?);
                    self.get(slot)?;
                }
                b'j' => {
                    let slot = u32::from_le_bytes(self.array()?) as usize;
                    self.get(slot)?;
                }
                b'Q' => {
                    let inner = self.pop("BINPERSID")?;
                    self.push(Pickled::Persistent(inner));
                }
                b'R' => {
                    let arg = self.pop("REDUCE")?;
                    let callee = self.pop_global("REDUCE")?;
                    self.push(Pickled::Call { callee, arg });
                }
                0x81 => self.new_object()?,
                b'b' => self.build()?,
                other => return Err(self.fail(format!("opcode {other:#04x} is not supported"))),
            }
        }
    }

    fn protocol(&mut self) -> Result<()> {
        match self.byte()? {
            2 => Ok(()),
            other => Err(self.fail(format!("PROTO {other} is not supported (2 is)"))),
        }
    }

    fn stop(&mut self) -> Result<ValueId> {
        let root = self.pop("STOP")?;
        if !self.stack.is_empty() || !self.marks.is_empty() {
            return Err(self.fail("STOP leaves values on the stack"));
        }
        Ok(root)
    }

    fn long1(&mut self) -> Result<()> {
        let len = usize::from(self.byte()?);
        let bytes = self.bytes(len)?;
        if len > 8 {
            return Err(self.fail("LONG1 holds an integer of more than 64 bits"));
        }
        let negative = bytes.last().is_some_and(|b| b & 0x80 != 0);
        let mut wide = if negative { [0xff; 8] } else { [0; 8] };
        wide[..len].copy_from_slice(bytes);
        self.push(Pickled::Int(i64::from_le_bytes(wide)));
        Ok(())
    }

    fn unicode(&mut self) -> Result<()> {
        let len = u32::from_le_bytes(self.array()?) as usize;
        let bytes = self.bytes(len)?;
        let text = std::str::from_utf8(bytes)
            .map_err(|_| self.fail("BINUNICODE holds bytes that are not UTF-8"))?;
        self.push(Pickled::Str(text.into()));
        Ok(())
    }

    fn global(&mut self) -> Result<()> {
        let module = self.line()?;
        let name = self.line()?;
        let full = format!("{module}.{name}");
        let global = if module == "__torch__" || module.starts_with("__torch__.") {
            Global::Class(full.into())
        } else if let Some(known) = ALLOWED.iter().find(|known| **known == full) {
            Global::Torch(known)
        } else if let (true, Some(element)) = (module == "torch", name.strip_suffix("Storage")) {
            Global::Storage(element.into())
        } else {
            return Err(self.fail(format!("GLOBAL `{full}` is not on the allow-list")));
        };
        self.push(Pickled::Global(global));
        Ok(())
    }

    fn new_object(&mut self) -> Result<()> {
        let args = self.pop("NEWOBJ")?;
        let class = self.pop_global("NEWOBJ")?;
        match self.value(args) {
            Pickled::Tuple(items) if items.is_empty() => {}
            _ => return Err(self.fail("NEWOBJ with arguments is not supported")),
        }
        self.push(Pickled::Object { class, state: None });
        Ok(())
    }

    fn build(&mut self) -> Result<()> {
        let new = self.pop("BUILD")?;
        let object = self.top("BUILD")?;
        match &mut self.values[object.0 as usize] {
            Pickled::Object { state, .. } if state.is_none() => *state = Some(new),
            Pickled::Object { .. } => return Err(self.fail("BUILD on an object that has a state")),
            _ => return Err(self.fail("BUILD on a value that is no object")),
        }
        Ok(())
    }

    fn append(&mut self, new: &[ValueId], op: &str) -> Result<()> {
        let list = self.top(op)?;
        match &mut self.values[list.0 as usize] {
            Pickled::List(items) => items.extend(new),
            _ => return Err(self.fail(format!("{op} on a value that is no list"))),
        }
        Ok(())
    }

    fn set_items(&mut self, new: &[ValueId], op: &str) -> Result<()> {
        let dict = self.top(op)?;
        if !new.len().is_multiple_of(2) {
            return Err(self.fail(format!("{op} with a key that has no value")));
        }
        match &mut self.values[dict.0 as usize] {
            Pickled::Dict(pairs) => pairs.extend(new.chunks_exact(2).map(|p| (p[0], p[1]))),
            _ => return Err(self.fail(format!("{op} on a value that is no dict"))),
        }
        Ok(())
    }

    fn put(&mut self, slot: usize) -> Result<()> {
        let top = self.top("BINPUT")?;
        // Writers number the memo densely, so a slot far beyond the stream's length is an attack
        // on memory.
        if slot > self.stream.len().min(MAX_VALUES) {
            return Err(self.fail(format!("BINPUT to memo slot {slot} is out of range")));
        }
        if slot >= self.memo.len() {
            self.memo.resize(slot + 1, None);
        }
        self.memo[slot] = Some(top);
        Ok(())
    }

    fn get(&mut self, slot: usize) -> Result<()> {
        let value = self.memo.get(slot).copied().flatten();
        let value = value.ok_or_else(|| self.fail(format!("BINGET of empty memo slot {slot}")))?;
        self.stack.push(value);
        Ok(())
    }

    fn push(&mut self, value: Pickled) {
        // One opcode makes one value at most, so `MAX_VALUES` holds, and `u32` holds every index.
        let id = ValueId(self.values.len() as u32);
        self.values.push(value);
        self.stack.push(id);
    }

    fn value(&self, id: ValueId) -> &Pickled {
        &self.values[id.0 as usize]
    }

    /// The stack's top; values below an open mark belong to an outer collection.
    fn top(&self, op: &str) -> Result<ValueId> {
        let floor = self.marks.last().copied().unwrap_or(0);
        match self.stack.last() {
            Some(id) if self.stack.len() > floor => Ok(*id),
            _ => Err(self.fail(format!("{op} on an empty stack"))),
        }
    }

    fn pop(&mut self, op: &str) -> Result<ValueId> {
        let top = self.top(op)?;
        self.stack.pop();
        Ok(top)
    }

    fn pop_global(&mut self, op: &str) -> Result<ValueId> {
        let id = self.pop(op)?;
        match self.value(id) {
            Pickled::Global(_) => Ok(id),
            _ => Err(self.fail(format!("{op} of a value that is no global"))),
        }
    }

    fn take(&mut self, count: usize, op: &str) -> Result<Vec<ValueId>> {
        let floor = self.marks.last().copied().unwrap_or(0);
        if self.stack.len() < floor + count {
            return Err(self.fail(format!("{op} on a stack that is too short")));
        }
        Ok(self.stack.split_off(self.stack.len() - count))
    }

    fn above_mark(&mut self, op: &str) -> Result<Vec<ValueId>> {
        match self.marks.pop() {
            Some(mark) => Ok(self.stack.split_off(mark)),
            None => Err(self.fail(format!("{op} without a MARK"))),
        }
    }

    fn byte(&mut self) -> Result<u8> {
        Ok(self.array::<1>()?[0])
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let mut out = [0; N];
        out.copy_from_slice(self.bytes(N)?);
        Ok(out)
    }

    fn bytes(&mut self, len: usize) -> Result<&'a [u8]> {
        let rest = &self.stream[self.at..];
        if rest.len() < len {
            return Err(self.fail("the stream ends inside an opcode or before STOP"));
        }
        self.at += len;
        Ok(&rest[..len])
    }

    fn line(&mut self) -> Result<&'a str> {
        let rest = &self.stream[self.at..];
        let Some(len) = rest.iter().position(|b| *b == b'\n') else {
            return Err(self.fail("GLOBAL without a line end"));
        };
        self.at += len + 1;
        std::str::from_utf8(&rest[..len]).map_err(|_| self.fail("GLOBAL is not UTF-8"))
    }

    fn fail(&self, what: impl Into<String>) -> Error {
        Error::Pickle {
            entry: self.entry.to_owned(),
            offset: self.op_at,
            what: what.into(),
        }
    }
}
