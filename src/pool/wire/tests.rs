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
    let mut frame = failure();
    frame.payload.push(0);
    assert!(matches!(
        frame.message::<Failure>("a failure"),
        Err(WireError::Payload { .. })
    ));
}

#[test]
fn a_payload_that_claims_a_huge_vector_allocates_nothing() {
    // Variant 1 (Echo) with a payload length of 2^63.
    let payload = vec![1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f];
    let frame = Frame::new(FrameKind::Job, 1, payload);
    assert!(matches!(
        frame.message::<JobKind>("a job"),
        Err(WireError::Payload { .. })
    ));
}

proptest! {
    #[test]
    fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..256)) {
        let mut decoder = Decoder::default();
        decoder.push(&bytes);
        while let Ok(Some(_)) = decoder.next_frame() {}
        let frame = Frame::new(FrameKind::Job, 1, bytes);
        let _ = frame.message::<Order>("an order");
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
