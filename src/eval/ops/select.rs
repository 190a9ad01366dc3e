//! The first few of a row in order, as the standard library of C++ picks them.
//!
//! Which of equal elements come first is left open by the algorithms, and PyTorch's `topk` gives their places: so these are the same steps in
//! the same order. Few elements of a long row are kept in a heap; otherwise the row is parted around the last place that is asked for, and
//! what stands before it is sorted.

use std::cmp::Ordering;

/// An element, and where it stood.
pub(super) type Item = (f64, usize);

/// Rows of at most so many elements are sorted by insertion.
const SHORT: usize = 16;

/// The first `count` of `row` in the order of `before`, the rest behind them.
pub(super) fn first(
    row: &mut [Item],
    count: usize,
    sorted: bool,
    before: &impl Fn(&Item, &Item) -> bool,
) {
    if count == 0 || row.is_empty() {
        return;
    }
    if count * 64 <= row.len() {
        sort_in_heap(row, count, before);
        return;
    }
    part(row, count - 1, before);
    if sorted {
        sort(&mut row[..count - 1], before);
    }
}

/// The order in which the largest come first, or the smallest; what is not a number is the largest.
pub(super) fn order(largest: bool) -> impl Fn(&Item, &Item) -> bool {
    move |a, b| {
        let order =
            a.0.partial_cmp(&b.0)
                .unwrap_or(a.0.is_nan().cmp(&b.0.is_nan()));
        order
            == if largest {
                Ordering::Greater
            } else {
                Ordering::Less
            }
    }
}

/// Puts what belongs there at place `at`, what is before it in front, and the rest behind.
fn part(row: &mut [Item], at: usize, before: &impl Fn(&Item, &Item) -> bool) {
    let (mut low, mut high, mut rounds) = (0, row.len(), 2 * row.len().ilog2());
    while high - low > 3 {
        if rounds == 0 {
            keep_in_heap(&mut row[low..high], at + 1 - low, before);
            row.swap(low, at);
            return;
        }
        rounds -= 1;
        let cut = low + split(&mut row[low..high], before);
        if cut <= at {
            low = cut;
        } else {
            high = cut;
        }
    }
    insert_all(&mut row[low..high], before);
}

/// All of `row` in the order of `before`.
pub(super) fn sort(row: &mut [Item], before: &impl Fn(&Item, &Item) -> bool) {
    if row.is_empty() {
        return;
    }
    split_all(row, 2 * row.len().ilog2(), before);
    let guarded = row.len().min(SHORT);
    insert_all(&mut row[..guarded], before);
    for at in guarded..row.len() {
        insert(row, at, before);
    }
}

/// Splits until pieces are short.
fn split_all(mut row: &mut [Item], mut rounds: u32, before: &impl Fn(&Item, &Item) -> bool) {
    while row.len() > SHORT {
        if rounds == 0 {
            sort_in_heap(row, row.len(), before);
            return;
        }
        rounds -= 1;
        let cut = split(row, before);
        let (low, high) = row.split_at_mut(cut);
        split_all(high, rounds, before);
        row = low;
    }
}

/// Splits a row around the middle one of three of its elements; the place where the second part begins.
fn split(row: &mut [Item], before: &impl Fn(&Item, &Item) -> bool) -> usize {
    let (a, b, c) = (1, row.len() / 2, row.len() - 1);
    let (ab, bc, ac) = (
        before(&row[a], &row[b]),
        before(&row[b], &row[c]),
        before(&row[a], &row[c]),
    );
    let middle = match (ab, bc, ac) {
        (true, true, _) | (false, false, false) => b,
        (true, false, true) | (false, true, false) => c,
        (true, false, false) | (false, _, true) => a,
    };
    row.swap(0, middle);
    let pivot = row[0];
    let (mut low, mut high) = (1, row.len());
    loop {
        while before(&row[low], &pivot) {
            low += 1;
        }
        high -= 1;
        while before(&pivot, &row[high]) {
            high -= 1;
        }
        if low >= high {
            return low;
        }
        row.swap(low, high);
        low += 1;
    }
}

fn insert_all(row: &mut [Item], before: &impl Fn(&Item, &Item) -> bool) {
    for at in 1..row.len() {
        if before(&row[at], &row[0]) {
            row[..=at].rotate_right(1);
        } else {
            insert(row, at, before);
        }
    }
}

/// Moves an element in front of all that it is before.
fn insert(row: &mut [Item], mut at: usize, before: &impl Fn(&Item, &Item) -> bool) {
    let item = row[at];
    while at > 0 && before(&item, &row[at - 1]) {
        row[at] = row[at - 1];
        at -= 1;
    }
    row[at] = item;
}

/// The first `count` in order, by a heap.
fn sort_in_heap(row: &mut [Item], count: usize, before: &impl Fn(&Item, &Item) -> bool) {
    keep_in_heap(row, count, before);
    for end in (1..count).rev() {
        let item = row[end];
        row[end] = row[0];
        sift(&mut row[..end], 0, item, before);
    }
}

/// Makes the first `count` elements a heap of the first ones in order, its last one on top.
fn keep_in_heap(row: &mut [Item], count: usize, before: &impl Fn(&Item, &Item) -> bool) {
    for parent in (0..count / 2).rev() {
        let item = row[parent];
        sift(&mut row[..count], parent, item, before);
    }
    for at in count..row.len() {
        if before(&row[at], &row[0]) {
            let item = row[at];
            row[at] = row[0];
            sift(&mut row[..count], 0, item, before);
        }
    }
}

/// Fills the hole in a heap from below, down to a leaf, and lets `item` rise from there.
fn sift(heap: &mut [Item], top: usize, item: Item, before: &impl Fn(&Item, &Item) -> bool) {
    let mut hole = top;
    loop {
        let (left, right) = (2 * hole + 1, 2 * hole + 2);
        let child = match (left < heap.len(), right < heap.len()) {
            (_, true) if before(&heap[right], &heap[left]) => left,
            (_, true) => right,
            (true, false) => left,
            _ => break,
        };
        heap[hole] = heap[child];
        hole = child;
    }
    while hole > top {
        let parent = (hole - 1) / 2;
        if !before(&heap[parent], &item) {
            break;
        }
        heap[hole] = heap[parent];
        hole = parent;
    }
    heap[hole] = item;
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A row with many equal elements.
    fn row(len: usize) -> Vec<Item> {
        (0..len).map(|at| ((at * 7 % 5) as f64, at)).collect()
    }

    #[test]
    fn every_way_gives_the_first_in_order() {
        for len in [1, 2, 3, 4, 17, 40, 300] {
            for count in [1, 2, len / 2, len] {
                for largest in [false, true] {
                    let mut picked = row(len);
                    first(&mut picked, count.clamp(1, len), true, &order(largest));
                    let mut values: Vec<f64> = row(len).iter().map(|item| item.0).collect();
                    values.sort_by(f64::total_cmp);
                    if largest {
                        values.reverse();
                    }
                    let picked = picked.iter().map(|item| item.0);
                    assert!(
                        picked
                            .take(count.clamp(1, len))
                            .eq(values.into_iter().take(count.clamp(1, len)))
                    );
                }
            }
        }
    }

    #[test]
    fn equal_elements_come_as_pytorch_gives_them() {
        // torch.topk of these rows, with PyTorch 2.15.
        for (values, count, places) in TOPK {
            let mut row: Vec<Item> = values
                .iter()
                .enumerate()
                .map(|(at, x)| (f64::from(*x), at))
                .collect();
            first(&mut row, places.len().min(*count), true, &order(true));
            let found: Vec<usize> = row[..*count].iter().map(|item| item.1).collect();
            assert_eq!(found, *places, "{values:?}");
        }
    }

    const TOPK: &[(&[u8], usize, &[usize])] = &[
        (&[2, 0, 1, 3], 2, &[3, 0]),
        (&[0, 0, 0, 1, 1, 3], 4, &[5, 3, 4, 0]),
        (
            &[2, 3, 1, 1, 2, 1, 3, 2, 0, 0, 0, 1, 3, 2, 0, 2, 1, 2, 2, 2],
            18,
            &[
                1, 12, 6, 18, 17, 15, 0, 13, 19, 7, 4, 2, 11, 3, 5, 16, 14, 9,
            ],
        ),
        (
            &[
                2, 3, 0, 1, 3, 2, 1, 0, 2, 1, 1, 2, 0, 3, 2, 3, 0, 3, 1, 3, 3, 0, 1, 0, 2, 1, 1, 3,
                2, 0,
            ],
            5,
            &[19, 13, 15, 17, 1],
        ),
        (
            &[
                0, 3, 2, 0, 0, 1, 2, 0, 3, 1, 0, 0, 3, 1, 1, 2, 1, 1, 1, 1, 1, 3, 2, 3, 0, 0, 3, 3,
                0, 3, 0, 0, 0, 2, 2, 3, 3, 0, 3, 1, 1, 2, 0, 1, 1, 0, 1, 0, 2, 2, 0, 0, 2, 0, 0, 0,
                3, 2, 2, 0, 0, 3, 1, 1, 1, 0, 0, 3, 1, 0, 0, 1, 1, 3, 3, 0, 0, 3, 3, 0, 2, 0, 0, 0,
                0, 0, 0, 3, 3, 0, 0, 2, 3, 2, 1, 3, 1, 2, 0, 1, 2, 3, 2, 3, 3, 0, 2, 1, 2, 0, 3, 3,
                1, 1, 3, 0, 0, 0, 0, 0, 3, 1, 3, 0, 0, 0, 0, 2, 0, 3,
            ],
            2,
            &[8, 1],
        ),
        (
            &[
                0, 1, 2, 2, 0, 1, 0, 3, 3, 1, 2, 1, 1, 0, 1, 2, 0, 3, 0, 0, 1, 2, 0, 0, 2, 0, 0, 2,
                0, 2, 1, 0, 0, 1, 2, 3, 0, 3, 0, 3,
            ],
            40,
            &[
                39, 17, 37, 35, 7, 8, 10, 21, 15, 24, 27, 29, 34, 3, 2, 11, 1, 14, 9, 5, 12, 30,
                33, 20, 23, 31, 22, 13, 26, 25, 28, 16, 6, 0, 36, 4, 38, 19, 32, 18,
            ],
        ),
    ];
}
