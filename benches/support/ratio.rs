//! What is measured beside its floor. Rounds of both are interleaved, and what counts is the median of their ratios: a noisy
//! machine moves both.

use std::time::Duration;

use headroom::clock;

pub(crate) const ROUNDS: usize = 31;

/// How long something takes.
pub(crate) fn took(work: impl FnOnce()) -> Duration {
    let begun = clock::monotonic();
    work();
    clock::monotonic().duration_since(begun)
}

/// The one in the middle.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Both of them, in nanoseconds for one of whatever they do.
pub(crate) fn ratio(name: &str, wanted: &str, floor: impl Fn() -> f64, own: impl Fn() -> f64) {
    let (mut floors, mut owns, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let (a, b) = (floor(), own());
        floors.push(a);
        owns.push(b);
        ratios.push(b / a);
    }
    let (floor, own, ratio) = (median(floors), median(owns), median(ratios));
    println!("{name:<44} floor {floor:>7.0} ns  own {own:>7.0} ns  ratio {ratio:>5.2}  ({wanted})");
}
