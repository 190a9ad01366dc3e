//! Tensors for a program that are not those that it takes.

use std::path::PathBuf;

use planish::check::Samples;
use planish::ir::{DType, Tensor};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors, serialize};

use crate::command::{Room, samples};

/// Tensors by name, as a file of samples. A shape stands for a tensor of zeros.
fn write(room: &Room, name: &str, tensors: &[(&str, Dtype, &[usize])]) -> PathBuf {
    let zeros = vec![0; 1 << 20];
    let views = tensors.iter().map(|(name, dtype, shape)| {
        let length = shape.iter().product::<usize>() * dtype.bitsize() / 8;
        let view = TensorView::new(*dtype, shape.to_vec(), &zeros[..length]).expect("a view");
        ((*name).to_owned(), view)
    });
    room.file(name, serialize(views, None).expect("serialize"))
}

#[test]
fn tensors_that_do_not_fit_are_refused() {
    let room = Room::new();
    let artefact = room.finalized();
    let refused = |tensors: &[(&str, Dtype, &[usize])], parts: &[&str]| {
        let inputs = write(&room, "in.safetensors", tensors);
        room.planish("run")
            .arg(&artefact)
            .arg("--inputs")
            .arg(inputs)
            .args(&["-o", "out.safetensors"])
            .fails(1, parts);
    };
    let image = ("input.0", Dtype::F32, &[1, 1, 8, 8][..]);
    refused(&[("input.0", Dtype::F32, &[1, 3, 8, 8])], &["conv2d"]);
    refused(&[("input.0", Dtype::F32, &[64])], &["64"]);
    refused(&[("input.0", Dtype::F32, &[1, 1, 0, 8])], &["failed to"]);
    refused(
        &[("input.0", Dtype::I64, &[1, 1, 8, 8])],
        &["quantize_per_tensor"],
    );
    refused(
        &[image, ("input.1", Dtype::F32, &[1])],
        &["it takes 1 inputs and is given 2"],
    );
    refused(
        &[("image", Dtype::F32, &[1, 1, 8, 8])],
        &["no tensor input.0", "image"],
    );
    refused(
        &[image, ("input.2", Dtype::F32, &[1])],
        &["no tensor input.1", "input.2"],
    );
    refused(
        &[image, ("expected.1", Dtype::F32, &[1, 10])],
        &["no tensor expected.0"],
    );
    refused(
        &[("input.0", Dtype::U16, &[1, 1, 8, 8])],
        &["input.0", "U16"],
    );
    refused(
        &[image, ("expected.0", Dtype::F32, &[2, 10])],
        &["output 0", "Float[1, 10]", "Float[2, 10]"],
    );
    refused(
        &[image, ("expected.0", Dtype::I32, &[1, 10])],
        &["output 0", "Int[1, 10]"],
    );
    refused(
        &[
            image,
            ("expected.0", Dtype::F32, &[1, 10]),
            ("expected.1", Dtype::F32, &[1]),
        ],
        &["there are 1, and 2 were expected"],
    );
    refused(
        &[
            image,
            ("expected.0", Dtype::F32, &[1, 10]),
            ("labels", Dtype::I64, &[3]),
        ],
        &["3 labels"],
    );
    refused(&[image, ("labels", Dtype::F32, &[1])], &["labels", "Float"]);
    assert_eq!(room.names(), ["digits.planish", "in.safetensors"]);
}

#[test]
fn samples_that_are_none_are_named() {
    let room = Room::new();
    let artefact = room.finalized();
    let text = room.file("notes.safetensors", "hello");
    for (path, part) in [
        (text, "failed to read the samples"),
        (room.path("missing"), "No such file"),
    ] {
        let name = path.display().to_string();
        room.planish("run")
            .arg(&artefact)
            .arg("--inputs")
            .arg(&path)
            .fails(1, &[&name, part]);
        room.planish("finalize")
            .arg("missing.pt")
            .arg("--check")
            .arg(&path)
            .fails(1, &[&name, part]);
    }
    let unchecked = write(
        &room,
        "in.safetensors",
        &[("input.0", Dtype::F32, &[1, 1, 8, 8])],
    );
    room.planish("finalize")
        .arg("missing.pt")
        .arg("--check")
        .arg(unchecked)
        .fails(1, &["in.safetensors", "no tensor expected.0"]);
}

#[test]
fn values_that_differ_are_counted() {
    let room = Room::new();
    let artefact = room.finalized();
    let file = std::fs::read(samples()).expect("read");
    let stored = SafeTensors::deserialize(&file).expect("samples");
    let mut expected = stored
        .tensor("expected.0")
        .expect("outputs")
        .data()
        .to_vec();
    // The last bit of one value, and another one that is no number.
    expected[0] ^= 1;
    expected[40..44].copy_from_slice(&f32::NAN.to_le_bytes());
    let views = stored.tensors().into_iter().map(|(name, view)| {
        if name != "expected.0" {
            return (name, view);
        }
        let changed = TensorView::new(view.dtype(), view.shape().to_vec(), &expected);
        (name, changed.expect("a view"))
    });
    let path = room.file("in.safetensors", serialize(views, None).expect("serialize"));
    room.planish("run")
        .arg(&artefact)
        .arg("--inputs")
        .arg(path)
        .fails(1, &["2 of 5,000 values differ from those expected"])
        .prints(&["500 inputs, 5,000 values, 2 mismatches (largest difference inf)"]);
}

#[test]
fn outputs_are_written_under_their_numbers() {
    let room = Room::new();
    let artefact = room.finalized();
    room.planish("run")
        .arg(artefact)
        .arg("--inputs")
        .arg(samples())
        .args(&["-o", "out.safetensors"])
        .succeeds()
        .prints(&["output.0: Float[500, 10]", "wrote out.safetensors"]);
    let file = std::fs::read(room.path("out.safetensors")).expect("read");
    let stored = SafeTensors::deserialize(&file).expect("outputs");
    let output = stored.tensor("output.0").expect("an output");
    let wanted = Samples::open(&samples())
        .expect("samples")
        .expected
        .remove(0);
    let found = Tensor::new(DType::Float, wanted.shape(), output.data().to_vec());
    assert_eq!(found.expect("a tensor"), wanted);
}
