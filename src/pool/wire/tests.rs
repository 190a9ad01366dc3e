//! Frames that are whole, torn, damaged, foreign or random.

use proptest::prelude::*;

use super::*;

fn encoded(frame: &Frame) -> Vec<u8> {
    let mut bytes = Vec::new();
    frame.encode(&mut bytes).expect("the payload is short");
    bytes
}

fn decoded(bytes: &[u8]) -> Result<Option<Frame>, WireError> {
    let mut decoder = Decoder::default();
    decoder.push(bytes);
    decoder.next_frame()
}

fn failure() -> Frame {
    let failure = Failure::Compile {
        code: 1,
        remains: crate::remains::Remains::words("no"),
    };
    Frame::with(FrameKind::Failed, 7, &failure).expect("it encodes")
}

#[test]
fn a_frame_survives_the_way_in_single_bytes() {
    let frame = failure();
    let mut decoder = Decoder::default();
    let bytes = encoded(&frame);
    for (at, byte) in bytes.iter().enumerate() {
        assert_eq!(decoder.next_frame(), Ok(None), "after {at} bytes");
        decoder.push(&[*byte]);
    }
    let back = decoder.next_frame().expect("valid").expect("whole");
    assert_eq!(back, frame);
    assert!(matches!(
        back.message::<Failure>("a failure"),
        Ok(Failure::Compile { code: 1, .. })
    ));
    assert_eq!(decoder.end(), WireError::Closed);
}

#[test]
fn every_truncation_is_named() {
    let bytes = encoded(&failure());
    for length in 1..bytes.len() {
        let mut decoder = Decoder::default();
        decoder.push(&bytes[..length]);
        assert_eq!(decoder.next_frame(), Ok(None));
        assert_eq!(decoder.end(), WireError::Truncated { got: length });
    }
}

#[test]
fn every_flipped_bit_is_found() {
    let bytes = encoded(&failure());
    for bit in 0..bytes.len() * 8 {
        let mut damaged = bytes.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        // A longer length only asks for more bytes, and the end of the stream tells.
        assert!(
            !matches!(decoded(&damaged), Ok(Some(_))),
            "bit {bit} went unnoticed"
        );
    }
}

#[test]
fn another_version_is_refused_by_its_number() {
    let mut bytes = encoded(&failure());
    bytes[4..6].copy_from_slice(&9_u16.to_le_bytes());
    assert_eq!(decoded(&bytes), Err(WireError::Version { got: 9 }));
}

#[test]
fn an_oversized_length_is_refused_before_its_bytes_come() {
    let mut bytes = encoded(&failure());
    bytes[16..20].copy_from_slice(&u32::MAX.to_le_bytes());
    let length = WireError::Length {
        got: u32::MAX as usize,
    };
    assert_eq!(decoded(&bytes[..HEADER]), Err(length));
}

#[test]
fn text_is_recognised_from_its_first_bytes() {
    assert_eq!(decoded(b"hi"), Err(WireError::Magic { got: "hi".into() }));
    assert_eq!(decoded(b""), Ok(None));
}

#[test]
fn bytes_after_a_message_are_an_error() {
    let mut payload = failure().payload.to_vec();
    payload.push(0);
    let frame = Frame::new(FrameKind::Failed, 7, payload);
    assert!(matches!(
        frame.message::<Failure>("a failure"),
        Err(WireError::Payload { .. })
    ));
}

#[test]
fn a_payload_that_claims_a_huge_vector_allocates_nothing() {
    // Variant 0 (CompileC) with a source length of 2^63.
    let payload = vec![0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f];
    let frame = Frame::new(FrameKind::Job, 1, payload);
    assert!(matches!(frame.order(), Err(WireError::Payload { .. })));
}

#[test]
fn the_payload_of_a_job_follows_its_order_and_is_not_copied_from_the_frame() {
    for length in [0, 5, 100_000] {
        let order = Order {
            kind: JobKind::Task(Task {
                name: "take".to_owned(),
                payload: vec![7; length].into(),
            }),
            bounds: Bounds::none(),
            environment: Vec::new(),
            region: None,
        };
        let mut sent = Vec::new();
        let parts = OrderRef {
            kind: &order.kind,
            bounds: order.bounds,
            environment: &order.environment,
            region: None,
        };
        Frame::encode_order(&mut sent, 3, parts).expect("it encodes");
        sent.extend_from_slice(order.kind.payload());
        let frame = Frame::ordering(3, &order).expect("it encodes");
        assert_eq!(sent, encoded(&frame));
        let frame = decoded(&sent).expect("valid").expect("whole");
        let back = frame.order().expect("an order");
        assert_eq!(back, order);
        assert!(
            back.kind.payload().is_empty()
                || frame.payload.as_ptr_range().end == back.kind.payload().as_ptr_range().end
        );
    }
}

#[test]
fn a_large_payload_comes_back_whatever_pieces_it_and_what_follows_come_in() {
    let large = Frame::new(FrameKind::Done, 1, vec![9; 300_000]);
    let frames = [large.clone(), failure(), large, failure()];
    let bytes: Vec<u8> = frames.iter().flat_map(encoded).collect();
    for piece in [1_000, 65_536, 70_000, 300_024, 301_000, 2_000_000] {
        let mut decoder = Decoder::default();
        let mut back = Vec::new();
        for piece in bytes.chunks(piece) {
            decoder.push(piece);
            while let Some(frame) = decoder.next_frame().expect("valid") {
                back.push(frame);
            }
        }
        assert!(back == frames, "{} frames in pieces of {piece}", back.len());
        assert_eq!(decoder.end(), WireError::Closed);
    }
}

proptest! {
    #[test]
    fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..256)) {
        let mut decoder = Decoder::default();
        decoder.push(&bytes);
        while let Ok(Some(_)) = decoder.next_frame() {}
        let frame = Frame::new(FrameKind::Job, 1, bytes);
        let _ = frame.order();
        let _ = frame.message::<Hello>("a hello");
        let _ = frame.message::<Failure>("a failure");
    }

    #[test]
    fn random_payloads_come_back(job in any::<u64>(), payload in proptest::collection::vec(any::<u8>(), 0..512), split in 0_usize..600) {
        let frame = Frame::new(FrameKind::Done, job, payload);
        let bytes = encoded(&frame);
        let split = split.min(bytes.len());
        let mut decoder = Decoder::default();
        decoder.push(&bytes[..split]);
        let first = decoder.next_frame().expect("valid");
        decoder.push(&bytes[split..]);
        let back = match first {
            Some(frame) => Some(frame),
            None => decoder.next_frame().expect("valid"),
        };
        prop_assert_eq!(back, Some(frame));
    }
}
