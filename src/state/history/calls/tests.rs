//! What is written is what is read, and damage is told.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

const TEXTS: [&str; 4] = ["", "complete", "daily", "[{\"policy\":\"täglich\"}]"];

fn call() -> impl Strategy<Value = EventLine<'static>> {
    let text = || (0..TEXTS.len()).prop_map(|at| TEXTS[at]);
    let number = || prop_oneof![0..300_u64, any::<u64>()];
    (
        (any::<i64>(), any::<i64>(), any::<i64>()),
        (text(), text(), text()),
        (number(), number(), number(), number(), number()),
    )
        .prop_map(|(numbers, texts, sums)| EventLine {
            id: numbers.0,
            at_ms: numbers.1,
            series: numbers.2,
            outcome: texts.0,
            policy: texts.1,
            spent: texts.2,
            waited_us: sums.0,
            duration_us: sums.1,
            upstream_us: sums.2,
            bytes_in: sums.3,
            bytes_out: sums.4,
        })
}

proptest! {
    #[test]
    fn calls_come_back(calls in vec(call(), 0..40)) {
        let data = encode(&calls);
        prop_assert_eq!(decode(&data), Ok(calls));
    }

    #[test]
    fn a_part_of_them_is_none(calls in vec(call(), 0..20), end in any::<prop::sample::Index>()) {
        let data = encode(&calls);
        prop_assert_eq!(decode(&data[..end.index(data.len())]), Err(Damaged));
    }

    #[test]
    fn damage_never_panics(calls in vec(call(), 1..20), at in any::<prop::sample::Index>(), byte in any::<u8>(), mut noise in vec(any::<u8>(), 1..200)) {
        let mut data = encode(&calls);
        let at = at.index(data.len());
        data[at] = byte;
        let _whatever = decode(&data);
        noise[0] = VERSION;
        let _whatever = decode(&noise);
    }
}
