use super::*;

fn read(stream: &[u8]) -> Result<Pickle> {
    Pickle::read("data.pkl", stream)
}

fn error(stream: &[u8]) -> String {
    read(stream).unwrap_err().to_string()
}

/// An object with one attribute of every scalar kind, a list, and one shared submodule.
const MODULE: &[u8] = b"\x80\x02c__torch__\nTop\nq\x00)\x81}(\
    X\x01\x00\x00\x00aq\x01K\x07X\x01\x00\x00\x00bJ\xfe\xff\xff\xffX\x01\x00\x00\x00c\x88\
    X\x01\x00\x00\x00dG\x3f\xf8\x00\x00\x00\x00\x00\x00X\x01\x00\x00\x00eN\
    X\x01\x00\x00\x00f](K\x01M\x00\x01eX\x01\x00\x00\x00g\x8a\x05\x00\x00\x00\x00\x02\
    X\x01\x00\x00\x00hc__torch__\nSub\n)\x81}bq\x02X\x01\x00\x00\x00ih\x02ub.";

#[test]
fn reads_a_module() {
    let pickle = read(MODULE).unwrap();
    let Pickled::Object { class, state } = pickle.get(pickle.root()) else {
        panic!("{pickle:?}")
    };
    let class = pickle.get(*class);
    assert_eq!(
        *class,
        Pickled::Global(Global::Class("__torch__.Top".into()))
    );
    let Pickled::Dict(pairs) = pickle.get(state.unwrap()) else {
        panic!("{pickle:?}")
    };
    let names: String = pairs.iter().map(|(k, _)| pickle.str(*k).unwrap()).collect();
    assert_eq!(names, "abcdefghi");
    let value = |i: usize| pickle.get(pairs[i].1);
    assert_eq!(*value(0), Pickled::Int(7));
    assert_eq!(*value(1), Pickled::Int(-2));
    assert_eq!(*value(2), Pickled::Bool(true));
    assert_eq!(*value(3), Pickled::Float(1.5));
    assert_eq!(*value(4), Pickled::None);
    let items = pickle.items(pairs[5].1).unwrap();
    assert_eq!(
        items
            .iter()
            .map(|i| pickle.int(*i).unwrap())
            .collect::<Vec<_>>(),
        [1, 256]
    );
    assert_eq!(*value(6), Pickled::Int(1 << 33));
    assert_eq!(pairs[7].1, pairs[8].1, "a shared submodule stays one value");
}

#[test]
fn every_truncation_is_an_error() {
    for cut in 0..MODULE.len() {
        read(&MODULE[..cut]).unwrap_err();
    }
}

#[test]
fn no_flipped_byte_panics() {
    for at in 0..MODULE.len() {
        for value in 0..=255 {
            let mut flipped = MODULE.to_vec();
            flipped[at] = value;
            let _: Result<Pickle> = read(&flipped);
        }
    }
}

#[test]
fn errors_name_entry_offset_and_opcode() {
    assert_eq!(
        error(b"\x80\x02cos\nsystem\n."),
        "read pickle `data.pkl` at byte 2: GLOBAL `os.system` is not on the allow-list"
    );
    assert_eq!(
        error(b"\x80\x02\x95."),
        "read pickle `data.pkl` at byte 2: opcode 0x95 is not supported"
    );
    assert_eq!(
        error(b"\x80\x04N."),
        "read pickle `data.pkl` at byte 0: PROTO 4 is not supported (2 is)"
    );
    for (stream, part) in [
        (&b"\x80\x02NN."[..], "STOP leaves values"),
        (b"\x80\x02(N.", "STOP leaves values"),
        (b"\x80\x02(t(.", "STOP on an empty stack"),
        (b"\x80\x02h\x05.", "empty memo slot 5"),
        (
            b"\x80\x02Nr\xff\xff\xff\xff.",
            "memo slot 4294967295 is out of range",
        ),
        (b"\x80\x02K\x01K\x02R.", "no global"),
        (b"\x80\x02X\xff\xff\xff\xff", "the stream ends"),
        (b"\x80\x02X\x01\x00\x00\x00\xff.", "not UTF-8"),
        (
            b"\x80\x02\x8a\x09\0\0\0\0\0\0\0\0\x01.",
            "more than 64 bits",
        ),
        (b"\x80\x02}(Nu.", "no value"),
        (b"\x80\x02NNa.", "no list"),
        (b"\x80\x02NNb.", "no object"),
        (b"\x80\x02e", "without a MARK"),
    ] {
        let error = error(stream);
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn what_contains_itself_is_named() {
    assert_eq!(
        error(b"\x80\x02]q\x00h\x00a."),
        "rebuild `[0]`: this is `<root>` itself, and nothing may contain itself"
    );
    let through_objects = b"\x80\x02c__torch__\nA\n)\x81q\x00}(X\x01\x00\x00\x00a\
        c__torch__\nB\n)\x81q\x01}(X\x01\x00\x00\x00bh\x01ubub.";
    assert_eq!(
        error(through_objects),
        "rebuild `a.b`: this is `a` itself, and nothing may contain itself"
    );
}

#[test]
fn depth_and_size_are_bounded() {
    let mut deep = b"\x80\x02N".to_vec();
    deep.resize(100_000, 0x85);
    deep.push(b'.');
    let deep = error(&deep);
    assert!(deep.contains("nest deeper than 256 levels"), "{deep}");
    assert!(deep.len() < 400, "{deep}");

    let doubled = |mut stream: Vec<u8>| {
        for _ in 0..40 {
            stream.extend(b"q\x00h\x00\x86");
        }
        stream.push(b'.');
        error(&stream)
    };
    let what = "this has more than 8388608 parts";
    assert!(doubled(b"\x80\x02N".to_vec()).ends_with(what));
    // An object counts wherever it stands, too: who prints or finalizes a module visits every path.
    let object = doubled(b"\x80\x02c__torch__\nA\n)\x81".to_vec());
    assert!(object.ends_with(what), "{object}");

    let mut text = b"\x80\x02(X\x00\x00\x10\x00".to_vec();
    text.resize(text.len() + (1 << 20), b'a');
    text.extend(b"q\x00");
    for _ in 0..200 {
        text.extend(b"h\x00");
    }
    text.extend(b"t.");
    assert!(error(&text).ends_with(what));

    let many = [&b"\x80\x02"[..], &vec![b'N'; (1 << 24) + 1]].concat();
    assert_eq!(
        error(&many),
        "read pickle `data.pkl` at byte 16777218: the stream makes more than 16777216 values"
    );
}

#[test]
fn a_value_shared_by_two_owners_is_no_cycle() {
    let pickle = read(b"\x80\x02]q\x00h\x00\x86.").unwrap();
    let items = pickle.items(pickle.root()).unwrap();
    assert_eq!(items[0], items[1]);
}
