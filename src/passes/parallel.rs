//! Work on many nodes at once, answered in their order.

use rayon::prelude::*;

/// Elements from which computing outweighs handing work to another thread, where the graph is in no cache.
const LARGE: usize = 1 << 12;

/// Computes every job: those that read many elements in parallel, the others where they are.
pub(crate) fn compute_all<J: Sync, R: Send>(
    jobs: &[J],
    elements: impl Fn(&J) -> usize,
    compute: impl Fn(&J) -> R + Sync,
) -> Vec<R> {
    let is_large: Vec<bool> = jobs.iter().map(|job| elements(job) >= LARGE).collect();
    let large: Vec<&J> = jobs
        .iter()
        .zip(&is_large)
        .filter_map(|(job, large)| large.then_some(job))
        .collect();
    let mut large = large
        .into_par_iter()
        .map(&compute)
        .collect::<Vec<R>>()
        .into_iter();
    let results = jobs.iter().zip(is_large);
    results
        .filter_map(|(job, is_large)| {
            if is_large {
                large.next()
            } else {
                Some(compute(job))
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_stand_in_the_order_of_the_jobs() {
        let jobs = [1, LARGE, 2, LARGE + 1, 3];
        assert_eq!(
            compute_all(&jobs, |job| *job, |job| job * 2),
            jobs.map(|job| job * 2)
        );
    }
}
