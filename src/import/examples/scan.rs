fn main() {
    let mut files = 0;
    for path in std::env::args().skip(1) {
        let bytes = bytes::Bytes::from(std::fs::read(&path).unwrap());
        let a = planish_import::torchscript::zip::Archive::open(bytes, Default::default()).unwrap();
        a.version().unwrap();
        for n in a.names() {
            let c = a.read(n).unwrap();
            if n.ends_with(".py") {
                files += 1;
                if let Err(e) =
                    planish_import::torchscript::code::parse(n, std::str::from_utf8(&c).unwrap())
                {
                    println!("{path}: {e}");
                }
            }
            if n.ends_with(".pkl") {
                if let Err(e) = planish_import::torchscript::pickle::Pickle::read(n, &c) {
                    println!("{path}: {e}");
                }
            }
        }
    }
    println!("{files} files");
}
