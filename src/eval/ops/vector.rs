//! Which elements PyTorch's element-wise kernels compute in vectors, and which one at a time.
//!
//! Two ways to compute an element may differ in the last bit, so the place of an element in memory is a part of what an operator means.

/// For each element in logical order, whether PyTorch's vector units compute it.
///
/// The dimensions are taken in the order of the output's strides and merged as long as every operand stays describable by one stride.
/// Within each run of the innermost merged dimension whole blocks are taken, provided that the output and every operand step by one
/// element (or an operand stays where it is).
pub(super) fn in_vectors(block: i64, shape: &[i64], out: &[i64], inputs: &[&[i64]]) -> Vec<bool> {
    let numel: i64 = shape.iter().product();
    let mut order: Vec<usize> = (0..shape.len()).filter(|dim| shape[*dim] != 1).collect();
    order.sort_by_key(|dim| out[*dim]);
    let mut vector = vec![false; numel as usize];
    let steps = |dim: usize| std::iter::once(out[dim]).chain(inputs.iter().map(move |s| s[dim]));
    let Some(first) = order.first().copied() else {
        return vector;
    };
    if out[first] != 1 || inputs.iter().any(|s| !matches!(s[first], 0 | 1)) {
        return vector;
    }
    let mut run = shape[first];
    let mut merged = vec![first];
    for dim in order[1..].iter().copied() {
        if !steps(dim)
            .zip(steps(first))
            .all(|(outer, inner)| outer == inner * run)
        {
            break;
        }
        run *= shape[dim];
        merged.push(dim);
    }
    let whole = run / block * block;
    if whole == 0 {
        return vector;
    }
    let mut index = vec![0i64; shape.len()];
    for element in &mut vector {
        let place: i64 = merged.iter().map(|dim| index[*dim] * out[*dim]).sum();
        *element = place < whole;
        for dim in (0..shape.len()).rev() {
            index[dim] += 1;
            if index[dim] < shape[dim] {
                break;
            }
            index[dim] = 0;
        }
    }
    vector
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(shape: &[i64], out: &[i64], inputs: &[&[i64]]) -> usize {
        in_vectors(64, shape, out, inputs)
            .into_iter()
            .filter(|vector| *vector)
            .count()
    }

    #[test]
    fn whole_blocks_of_the_innermost_run_are_vectors() {
        // Dense operands of one layout are one run.
        let rows = [105, 21, 7, 1];
        assert_eq!(count(&[2, 5, 3, 7], &rows, &[&rows, &rows]), 192);
        let last = [105, 1, 35, 5];
        assert_eq!(count(&[2, 5, 3, 7], &last, &[&last, &last]), 192);
        // Operands of different layouts share no run.
        assert_eq!(count(&[2, 5, 3, 7], &[105, 21, 7, 1], &[&rows, &last]), 0);
        // A value for each channel: runs of H·W.
        let flat = [210 * 3, 210, 14, 1];
        assert_eq!(
            count(&[2, 3, 15, 14], &flat, &[&flat, &[0, 1, 0, 0]]),
            6 * 192
        );
    }

    #[test]
    fn the_end_of_a_channels_last_tensor_is_counted_in_memory() {
        let last = [66, 1, 33, 33];
        let vector = in_vectors(64, &[1, 33, 1, 2], &last, &[&last]);
        let rest: Vec<usize> = (0..66).filter(|at| !vector[*at]).collect();
        // The last two elements in memory are channels 31 and 32 of the second pixel.
        assert_eq!(rest, [63, 65]);
    }
}
