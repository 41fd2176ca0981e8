//! What a store has kept never says that more is left than there is.

use headroom::adapter::WindowLength;
use headroom::ledger::meter::Meter;
use headroom::ledger::rule::Motion;
use headroom::ledger::time::Nanos;
use proptest::prelude::*;

use super::{Clock, MS, SEC, aligned, caller, each_schedule, lengths, rule};

fn motions() -> impl Strategy<Value = (Motion, u64)> {
    lengths().prop_flat_map(|length| {
        let secs = length.0.div_ceil(SEC);
        let unit = Some(Nanos(length.0 / 100));
        prop_oneof![
            Just((Motion::Fixed(Some(length)), length.0)),
            Just((Motion::Rolling(length), length.0)),
            Just((
                Motion::Bucket {
                    unit,
                    whole: Nanos(0)
                },
                length.0
            )),
            Just((
                Motion::Bucket {
                    unit: None,
                    whole: length
                },
                length.0
            )),
            Just((aligned(WindowLength::Seconds(secs), "UTC"), secs * SEC)),
            Just((aligned(WindowLength::Day, "Europe/Berlin"), 86_400 * SEC)),
            Just((
                aligned(WindowLength::Month, "America/New_York"),
                2_592_000 * SEC
            )),
        ]
    })
}

#[test]
fn a_restored_meter_never_believes_more_and_at_most_the_block_less() {
    let block = (0_u64..40, 0_u64..=1_000, 0_u64..3_000);
    let settings = (motions(), 1_u64..=2_000, block, any::<bool>());
    each_schedule(
        1_500,
        40,
        settings,
        |((motion, length), quota, (ahead, used, down), set_back), steps| {
            let rule = rule(motion, Some(quota));
            let (mut meter, mut clock) = (Meter::default(), Clock::at(1_774_720_800_000));
            for mut dice in steps.iter().copied() {
                clock.pass(dice.roll(1_000) * (length / 10_000));
                let cost = 1 + dice.roll(5);
                let who = caller(1 + dice.roll(3));
                if meter.check(&rule, cost, who, clock.now()).is_ok() {
                    let taken = meter.take(&rule, cost, who, clock.now());
                    if dice.one_in(6) {
                        meter.refund(&rule, &taken, clock.now());
                    }
                }
            }
            let snapshot = meter.snapshot(&rule, clock.now());
            let text = serde_json::to_string(&snapshot).unwrap();
            let snapshot = serde_json::from_str(&text).unwrap();
            let mut without = meter.clone();
            // Part of what was counted ahead is used before the process dies.
            let used = ahead * used / 1_000;
            if used > 0 {
                let _ = meter.take(&rule, used, caller(1), clock.now());
            }
            clock.pass(down * (length / 2_000));
            let mut anew = Clock::at(0);
            anew.wall = clock.wall;
            if set_back {
                let back = i64::try_from(length / 3_000 * down).unwrap();
                anew.wall -= back;
                clock.wall -= back;
            }
            let mut restored = Meter::restore(&rule, &snapshot, ahead, anew.now());
            for part in [0, 1, 10, 100, 400, 900, 1_200] {
                let wait = length / 1_000 * part;
                let (truth, now) = (clock.later(wait), anew.later(wait));
                let truly = meter.standing(&rule, truth.now()).remaining.unwrap();
                let said = restored.standing(&rule, now.now()).remaining.unwrap();
                prop_assert!(said <= truly, "{said} believed, {truly} left after {part}");
                if !set_back {
                    // The wall clock is told in milliseconds, so everything may come so much later.
                    let said = restored
                        .clone()
                        .standing(&rule, now.later(3 * MS).now())
                        .remaining
                        .unwrap();
                    let most = without.standing(&rule, truth.now()).remaining.unwrap();
                    prop_assert!(
                        said + ahead >= most,
                        "{said} believed, {most} left, {ahead} ahead"
                    );
                }
            }
            Ok(())
        },
    );
}
