//! Small archives, made on the spot.

use std::io::Write;

use bytes::Bytes;
use rawzip::{CompressionMethod, DataDescriptorOutput, ZipArchiveWriter, crc32};

/// A value to be pickled.
#[derive(Clone)]
pub(crate) enum P {
    None,
    Bool(bool),
    Int(i32),
    Float(f64),
    Str(&'static str),
    Text(String),
    Tuple(Vec<P>),
    List(Vec<P>),
    Dict(Vec<(&'static str, P)>),
    /// Class, without `__torch__.`, and state.
    Object(&'static str, Box<P>),
    /// Module and name of a global, and the argument.
    Call(&'static str, &'static str, Box<P>),
    Global(&'static str, &'static str),
    Persistent(Box<P>),
    /// A value that is memoised under a number where it first stands.
    Memo(u8, Box<P>),
    /// An object that is memoised before its state is built, as PyTorch writes it.
    MemoObject(u8, &'static str, Box<P>),
    Recall(u8),
}

pub(crate) fn object(class: &'static str, attrs: Vec<(&'static str, P)>) -> P {
    P::Object(class, Box::new(P::Dict(attrs)))
}

pub(crate) fn call(module: &'static str, name: &'static str, args: Vec<P>) -> P {
    P::Call(module, name, Box::new(P::Tuple(args)))
}

pub(crate) fn ints(values: &[i32]) -> P {
    P::Tuple(values.iter().map(|value| P::Int(*value)).collect())
}

/// A contiguous tensor over a storage of the archive.
pub(crate) fn tensor(element: &'static str, key: &'static str, shape: &[i32]) -> P {
    let (storage, strides) = storage(element, key, shape);
    let last = [P::Bool(false), call("collections", "OrderedDict", vec![])];
    let args = [storage, P::Int(0), ints(shape), strides];
    let args = args.into_iter().chain(last).collect();
    call("torch._utils", "_rebuild_tensor_v2", args)
}

/// A contiguous tensor of codes with one scale.
pub(crate) fn codes(key: &'static str, shape: &[i32], scale: f64) -> P {
    let (storage, strides) = storage("QInt8", key, shape);
    let scheme = P::Global("torch", "per_tensor_affine");
    let qparams = P::Tuple(vec![scheme, P::Float(scale), P::Int(0)]);
    let last = [P::Bool(false), call("collections", "OrderedDict", vec![])];
    let args = [storage, P::Int(0), ints(shape), strides, qparams];
    let args = args.into_iter().chain(last).collect();
    call("torch._utils", "_rebuild_qtensor", args)
}

pub(crate) fn storage(element: &'static str, key: &'static str, shape: &[i32]) -> (P, P) {
    let numel = shape.iter().product();
    let class: &'static str = match element {
        "Float" => "FloatStorage",
        "Short" => "ShortStorage",
        "Double" => "DoubleStorage",
        "Long" => "LongStorage",
        _ => "QInt8Storage",
    };
    let parts = vec![
        P::Str("storage"),
        P::Global("torch", class),
        P::Str(key),
        P::Str("cpu"),
        P::Int(numel),
    ];
    let mut strides = vec![1; shape.len()];
    for at in (0..shape.len().saturating_sub(1)).rev() {
        strides[at] = strides[at + 1] * shape[at + 1];
    }
    (P::Persistent(Box::new(P::Tuple(parts))), ints(&strides))
}

/// The stream of a value.
pub(crate) fn pickle(value: &P) -> Vec<u8> {
    let mut out = vec![0x80, 2];
    write(value, &mut out);
    out.push(b'.');
    out
}

fn write(value: &P, out: &mut Vec<u8>) {
    match value {
        P::None => out.push(b'N'),
        P::Bool(value) => out.push(if *value { 0x88 } else { 0x89 }),
        P::Int(value) => {
            out.push(b'J');
            out.extend(value.to_le_bytes());
        }
        P::Float(value) => {
            out.push(b'G');
            out.extend(value.to_be_bytes());
        }
        P::Str(text) => string(text, out),
        P::Text(text) => string(text, out),
        P::Tuple(items) => {
            out.push(b'(');
            write_all(items, out);
            out.push(b't');
        }
        P::List(items) => {
            out.extend(b"](");
            write_all(items, out);
            out.push(b'e');
        }
        P::Dict(pairs) => {
            out.extend(b"}(");
            for (name, value) in pairs {
                string(name, out);
                write(value, out);
            }
            out.push(b'u');
        }
        P::Object(class, state) => {
            instance(class, out);
            write(state, out);
            out.push(b'b');
        }
        P::MemoObject(slot, class, state) => {
            instance(class, out);
            out.extend([b'q', *slot]);
            write(state, out);
            out.push(b'b');
        }
        P::Call(module, name, arg) => {
            global(module, name, out);
            write(arg, out);
            out.push(b'R');
        }
        P::Global(module, name) => global(module, name, out),
        P::Persistent(inner) => {
            write(inner, out);
            out.push(b'Q');
        }
        P::Memo(slot, inner) => {
            write(inner, out);
            out.extend([b'q', *slot]);
        }
        P::Recall(slot) => out.extend([b'h', *slot]),
    }
}

fn instance(class: &str, out: &mut Vec<u8>) {
    let (module, name) = class.rsplit_once('.').unwrap_or(("", class));
    let module = format!("__torch__.{module}");
    global(module.trim_end_matches('.'), name, out);
    out.extend(b")\x81");
}

fn write_all(items: &[P], out: &mut Vec<u8>) {
    for item in items {
        write(item, out);
    }
}

fn string(text: &str, out: &mut Vec<u8>) {
    out.push(b'X');
    out.extend(u32::try_from(text.len()).unwrap().to_le_bytes());
    out.extend(text.as_bytes());
}

fn global(module: &str, name: &str, out: &mut Vec<u8>) {
    out.extend(format!("c{module}\n{name}\n").as_bytes());
}

/// An archive of these entries, stored, and a version.
pub(crate) fn pack(version: &str, entries: &[(&str, &[u8])]) -> Bytes {
    let mut out = Vec::new();
    let mut zip = ZipArchiveWriter::new(&mut out);
    for (name, content) in entries
        .iter()
        .copied()
        .chain([("version", version.as_bytes())])
    {
        let builder = zip.new_file(format!("m/{name}"));
        let (mut entry, _) = builder
            .compression_method(CompressionMethod::STORE)
            .start()
            .unwrap();
        entry.write_all(content).unwrap();
        let size = content.len() as u64;
        entry
            .finish(DataDescriptorOutput::new(crc32(content), size))
            .unwrap();
    }
    zip.finish().unwrap();
    out.into()
}

/// An archive whose root is an object of class `__torch__.M` without attributes and with this code.
pub(crate) fn of_code(version: &str, code: &str) -> Bytes {
    let root = pickle(&object("M", vec![]));
    pack(
        version,
        &[("data.pkl", &root), ("code/__torch__.py", code.as_bytes())],
    )
}
