//! The softmax of a row.

use super::sum::folded;
use super::{SINGLE, VECTOR};

/// Floats in a vector.
const LANES: usize = 16;

/// The softmax of rows of memory.
pub(crate) fn softmax(row: &mut [f32]) {
    let most = most(row);
    for x in row.iter_mut() {
        *x = (VECTOR.exp)(*x - most);
    }
    let share = 1.0 / folded(row);
    for x in row {
        *x *= share;
    }
}

/// The softmax of a column, at some place among `width` columns.
pub(crate) fn softmax_column(column: &mut [f32], at: usize, width: usize) {
    let most = most(column);
    let sum = grow(column, most, at, width);
    for x in column {
        *x /= sum;
    }
}

/// The logarithm of the softmax of rows of memory.
pub(crate) fn log_softmax(row: &mut [f32]) {
    let most = most(row);
    let grown: Vec<f32> = row.iter().map(|x| (VECTOR.exp)(x - most)).collect();
    let shift = (VECTOR.log)(folded(&grown));
    for x in row {
        *x = *x - most - shift;
    }
}

/// The logarithm of the softmax of a column, at some place among `width` columns.
pub(crate) fn log_softmax_column(column: &mut [f32], at: usize, width: usize) {
    let most = most(column);
    let shift = (VECTOR.log)(grow(&mut column.to_vec(), most, at, width));
    for x in column {
        *x = *x - most - shift;
    }
}

/// Takes the exponential of each element less the largest; gives their sum. Columns in whole vectors are computed together, the others one
/// at a time.
fn grow(column: &mut [f32], most: f32, at: usize, width: usize) -> f32 {
    let functions = if at < width / LANES * LANES {
        &VECTOR
    } else {
        &SINGLE
    };
    let mut sum = 0.0;
    for x in column {
        *x = (functions.exp)(*x - most);
        sum += *x;
    }
    sum
}

fn most(row: &[f32]) -> f32 {
    row.iter().copied().fold(f32::NEG_INFINITY, f32::max)
}
