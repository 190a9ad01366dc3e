//! The pickle machine: protocol 2 as `torch.jit.save` writes it, and nothing else.
//!
//! It executes nothing. A `GLOBAL` must be on the allow-list and stays a name; `REDUCE` and `BUILD`
//! become values for the reader of objects to interpret. What comes out is an arena of values:
//! objects that the stream shares stay shared, a value that contains itself is an error, and depth
//! and unfolded size are bounded, so that readers may recurse.

use crate::error::{Error, Result};

/// Deepest nesting of values. A submodule costs two levels.
pub const MAX_DEPTH: u32 = 256;
/// Most values one object's state may unfold to when shared lists and tuples are copied.
pub const MAX_UNFOLDED: u64 = 1 << 26;
/// Most entries of the memo: one for each byte of a stream would be more than any writer needs.
const MAX_MEMO: usize = 1 << 24;

/// Index of a value in its [`Pickle`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ValueId(u32);

/// One value of a stream.
#[derive(Debug, Clone, PartialEq)]
pub enum Pickled {
    /// `None`.
    None,
    /// `True` or `False`.
    Bool(bool),
    /// An integer of at most 64 bits.
    Int(i64),
    /// A floating-point number.
    Float(f64),
    /// A string.
    Str(Box<str>),
    /// The name of a class or function on the allow-list.
    Global(Global),
    /// A tuple.
    Tuple(Vec<ValueId>),
    /// A list.
    List(Vec<ValueId>),
    /// A dictionary, in the order of the stream.
    Dict(Vec<(ValueId, ValueId)>),
    /// A persistent reference: for TorchScript, the tuple that names a storage.
    Persistent(ValueId),
    /// `callee` applied to `arg`: a tuple of arguments, or the bare value of an enum.
    Call {
        /// A global.
        callee: ValueId,
        /// The argument tuple or the bare value.
        arg: ValueId,
    },
    /// An instance of a class, with the state that `BUILD` gave it.
    Object {
        /// A global.
        class: ValueId,
        /// The state, once built.
        state: Option<ValueId>,
    },
}

/// A name from the allow-list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Global {
    /// A class of the archive itself, by qualified name (`__torch__.…`).
    Class(Box<str>),
    /// A function or class of PyTorch, as `module.name`.
    Torch(&'static str),
    /// A storage of PyTorch, by element name: `Float` for `torch.FloatStorage`.
    Storage(Box<str>),
}

/// A whole stream, read.
#[derive(Debug)]
pub struct Pickle {
    values: Vec<Pickled>,
    root: ValueId,
}

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

impl Pickle {
    /// Reads the stream of `entry`; the name is used in errors only.
    pub fn read(entry: &str, stream: &[u8]) -> Result<Self> {
        let mut machine = Machine {
            entry,
            stream,
            at: 0,
            op_at: 0,
            values: Vec::new(),
            stack: Vec::new(),
            marks: Vec::new(),
            memo: Vec::new(),
        };
        let root = machine.run()?;
        let pickle = Self {
            values: machine.values,
            root,
        };
        pickle.check_shape().map_err(|what| Error::Pickle {
            entry: entry.to_owned(),
            offset: stream.len(),
            what,
        })?;
        Ok(pickle)
    }

    /// The value the stream stands for.
    pub fn root(&self) -> ValueId {
        self.root
    }

    /// The value behind an id of this pickle.
    pub fn get(&self, id: ValueId) -> &Pickled {
        &self.values[id.0 as usize]
    }

    /// The string behind an id, if it is one.
    pub fn str(&self, id: ValueId) -> Option<&str> {
        match self.get(id) {
            Pickled::Str(text) => Some(text),
            _ => None,
        }
    }

    /// The integer behind an id, if it is one.
    pub fn int(&self, id: ValueId) -> Option<i64> {
        match self.get(id) {
            Pickled::Int(value) => Some(*value),
            _ => None,
        }
    }

    /// The elements of a tuple or list, if it is one.
    pub fn items(&self, id: ValueId) -> Option<&[ValueId]> {
        match self.get(id) {
            Pickled::Tuple(items) | Pickled::List(items) => Some(items),
            _ => None,
        }
    }

    /// One walk over everything reachable: no value contains itself, none is too deep, and copying
    /// shared lists and tuples stays affordable.
    fn check_shape(&self) -> Result<(), String> {
        #[derive(Clone, Copy)]
        enum Seen {
            Not,
            Open,
            Done { depth: u32, unfolded: u64 },
        }
        let mut seen = vec![Seen::Not; self.values.len()];
        let mut todo = vec![(self.root, false)];
        let mut children = Vec::new();
        while let Some((id, leaving)) = todo.pop() {
            let slot = id.0 as usize;
            self.children(id, &mut children);
            if !leaving {
                if !matches!(seen[slot], Seen::Not) {
                    // Two owners asked for it; the first to be served was enough.
                    continue;
                }
                seen[slot] = Seen::Open;
                todo.push((id, true));
                for child in &children {
                    match seen[child.0 as usize] {
                        Seen::Not => todo.push((*child, false)),
                        Seen::Open => return Err("a value contains itself".into()),
                        Seen::Done { .. } => {}
                    }
                }
                continue;
            }
            let (mut depth, mut unfolded) = (0, 1u64);
            for child in &children {
                let Seen::Done {
                    depth: below,
                    unfolded: size,
                } = seen[child.0 as usize]
                else {
                    return Err("a value contains itself".into());
                };
                depth = depth.max(below + 1);
                unfolded = unfolded.saturating_add(size);
            }
            if depth > MAX_DEPTH {
                return Err(format!("values nest deeper than {MAX_DEPTH} levels"));
            }
            if unfolded > MAX_UNFOLDED {
                return Err(format!("a value unfolds to more than {MAX_UNFOLDED} parts"));
            }
            if matches!(self.get(id), Pickled::Object { .. }) {
                // Objects have identity: they are never copied into their owners.
                unfolded = 1;
            }
            seen[slot] = Seen::Done { depth, unfolded };
        }
        Ok(())
    }

    fn children(&self, id: ValueId, out: &mut Vec<ValueId>) {
        out.clear();
        match self.get(id) {
            Pickled::Tuple(items) | Pickled::List(items) => out.extend(items),
            Pickled::Dict(pairs) => out.extend(pairs.iter().flat_map(|(k, v)| [*k, *v])),
            Pickled::Persistent(inner) => out.push(*inner),
            Pickled::Call { callee, arg } => out.extend([*callee, *arg]),
            Pickled::Object { class, state } => {
                out.push(*class);
                out.extend(*state);
            }
            Pickled::None
            | Pickled::Bool(_)
            | Pickled::Int(_)
            | Pickled::Float(_)
            | Pickled::Str(_)
            | Pickled::Global(_) => {}
        }
    }
}

struct Machine<'a> {
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
    fn run(&mut self) -> Result<ValueId> {
        loop {
            self.op_at = self.at;
            let op = self.byte()?;
            match op {
                0x80 => self.protocol()?,
                b'.' => return self.stop(),
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
        if slot > self.stream.len().min(MAX_MEMO) {
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
        // A stream pushes at most one value for each of its bytes, and entries are far below 4 GiB
        // of opcodes: `u32` holds every index that fits in memory.
        let id = ValueId(u32::try_from(self.values.len()).unwrap_or(u32::MAX));
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

#[cfg(test)]
mod tests;
