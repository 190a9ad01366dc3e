//! Any bytes as frames, arriving in pieces of any size: each is a whole frame or named as wrong, what is read is written as it was, and
//! the pieces make no difference.

#![no_main]

use libfuzzer_sys::fuzz_target;
use planish_pool::wire::{Decoder, Failure, Frame, FrameKind, Hello, Region, Welcome, WireError};

fuzz_target!(|data: &[u8]| {
    let Some((piece, bytes)) = data.split_first() else {
        return;
    };
    let whole = read(bytes, bytes.len().max(1));
    assert_eq!(whole, read(bytes, usize::from(*piece).max(1)));
    let mut written = Vec::new();
    for frame in &whole.0 {
        let encoded = frame.encode(&mut written);
        encoded.expect("what was read is not too long");
        read_message(frame);
    }
    assert!(bytes.starts_with(&written));
});

fn read(bytes: &[u8], piece: usize) -> (Vec<Frame>, WireError) {
    let mut decoder = Decoder::default();
    let mut frames = Vec::new();
    for piece in bytes.chunks(piece) {
        decoder.push(piece);
        loop {
            match decoder.next_frame() {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => break,
                // How much of a wrong beginning had arrived is told, and depends on the pieces.
                Err(WireError::Magic { .. }) => {
                    return (frames, WireError::Magic { got: String::new() });
                }
                Err(error) => return (frames, error),
            }
        }
    }
    (frames, decoder.end())
}

fn read_message(frame: &Frame) {
    match frame.kind {
        FrameKind::Hello => {
            let _ = frame.message::<Hello>("a hello");
            let _ = frame.message::<Welcome>("a welcome");
        }
        FrameKind::Job => drop(frame.order()),
        FrameKind::Failed => drop(frame.message::<Failure>("a failure")),
        FrameKind::Placed => drop(frame.message::<Region>("a place")),
        _ => {}
    }
}
