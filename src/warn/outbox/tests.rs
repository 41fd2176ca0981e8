//! Letters that are sent, tried again, dropped and stored.

use super::*;

fn at(ms: i64) -> Now {
    Now {
        steady: Steady(1 << 56).after(Nanos::from_millis(u64::try_from(ms).unwrap())),
        wall_ms: 1_800_000_000_000 + ms,
    }
}

fn address(id: &str, endpoint: &str) -> Address {
    Address {
        id: Arc::from(id),
        endpoint: Arc::from(endpoint),
    }
}

fn body() -> Arc<str> {
    Arc::from("{}")
}

fn due(outbox: &mut Outbox, ms: i64) -> Vec<String> {
    let due = outbox.due(at(ms)).into_iter();
    due.map(|(address, _)| address.key()).collect()
}

#[test]
fn a_letter_is_tried_as_the_specification_recommends_and_then_given_up() {
    for (random, extra) in [(0, 0), (u64::MAX, 20)] {
        let mut outbox = Outbox::default();
        let letter = address("a", "x");
        outbox.add(letter.clone(), &body(), at(0));
        let mut now = 0;
        let mut delays = Vec::new();
        loop {
            assert_eq!(due(&mut outbox, now), ["a x"]);
            // It is on its way.
            assert_eq!(due(&mut outbox, now), [""; 0]);
            match outbox.failed(&letter, random, at(now)).unwrap() {
                Next::At(next) => {
                    let later = next.since(at(now).steady).0 / 1_000_000;
                    let next = now + i64::try_from(later).unwrap();
                    assert_eq!(due(&mut outbox, next - 1), [""; 0]);
                    delays.push((next - now) / 1_000);
                    // Rounded down to the millisecond.
                    now = next + 1;
                }
                Next::GivenUp => break,
            }
        }
        let secs: [i64; 9] = [5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400];
        // Less than a fifth is added: the last millisecond is never reached.
        let expected =
            secs.map(|secs| (secs * 1_000 * (100 + extra) / 100 - extra.signum()) / 1_000);
        assert_eq!(delays, expected);
        assert_eq!(outbox.len(), 0);
        assert_eq!(due(&mut outbox, i64::MAX / 1_000_000), [""; 0]);
    }
}

#[test]
fn a_receiver_that_hangs_holds_up_only_itself() {
    let mut outbox = Outbox::default();
    for number in 0..6 {
        outbox.add(address(&number.to_string(), "slow"), &body(), at(0));
    }
    assert_eq!(
        due(&mut outbox, 0),
        ["0 slow", "1 slow", "2 slow", "3 slow"]
    );
    outbox.add(address("6", "quick"), &body(), at(1));
    assert_eq!(due(&mut outbox, 1), ["6 quick"]);
    outbox.taken(&address("2", "slow"));
    assert_eq!(due(&mut outbox, 2), ["4 slow"]);
}

#[test]
fn the_oldest_go_when_there_are_too_many() {
    let mut outbox = Outbox::default();
    let name = |number: usize| address(&format!("{number:06}"), "x");
    for number in 0..MOST {
        assert_eq!(outbox.add(name(number), &body(), at(0)), 0);
    }
    assert_eq!(outbox.add(name(MOST), &body(), at(0)), 1);
    assert_eq!(outbox.len(), MOST);
    let changes = outbox.changes(at(0));
    assert_eq!(changes[0], (name(0), None));
    assert!(changes[1..].iter().all(|(_, row)| row.is_some()));
}

#[test]
fn what_is_stored_goes_on_in_the_next_process() {
    let mut outbox = Outbox::default();
    let letter = address("a", "x");
    outbox.add(letter.clone(), &body(), at(0));
    due(&mut outbox, 0);
    outbox.failed(&letter, 0, at(0));
    let [(key, Some(row))] = &outbox.changes(at(0))[..] else {
        panic!("{outbox:?}");
    };
    assert_eq!(outbox.changes(at(0)).len(), 0);
    let json = serde_json::to_vec(row).unwrap();

    let restored = |now: i64| {
        let mut next = Outbox::default();
        let address = Address::from_key(&key.key()).unwrap();
        next.restore(address, serde_json::from_slice(&json).unwrap(), at(now));
        next
    };
    assert_eq!(due(&mut restored(4_999), 4_999), [""; 0]);
    let mut next = restored(5_000);
    assert_eq!(due(&mut next, 5_000), ["a x"]);
    assert_eq!(
        next.failed(&letter, 0, at(5_000)),
        Some(Next::At(at(305_000).steady))
    );
    // Taken, it goes from the store.
    next.changes(at(0));
    next.taken(&letter);
    assert_eq!(next.changes(at(0)), [(letter, None)]);
}

/// The clock was set back by a year: the letter is not a year late.
#[test]
fn a_clock_that_is_set_back_holds_nothing_up_for_long() {
    let mut outbox = Outbox::default();
    let row = Stored {
        failures: 1,
        due_ms: at(0).wall_ms + 365 * 86_400_000,
        body: "{}".to_owned(),
    };
    outbox.restore(address("a", "x"), row, at(0));
    assert_eq!(due(&mut outbox, 86_400_000 * 12 / 10), ["a x"]);
}

#[test]
fn what_could_not_be_stored_is_still_to_be_stored() {
    let mut outbox = Outbox::default();
    outbox.add(address("a", "x"), &body(), at(0));
    let changes = outbox.changes(at(0));
    outbox.not_stored(changes.into_iter().map(|(address, _)| address));
    assert_eq!(outbox.changes(at(0)).len(), 1);
}

#[test]
fn letters_of_others_go() {
    let mut outbox = Outbox::default();
    outbox.add(address("a", "x"), &body(), at(0));
    outbox.add(address("a", "y"), &body(), at(0));
    outbox.changes(at(0));
    assert_eq!(outbox.keep_for(|endpoint| endpoint == "y"), 1);
    assert_eq!(outbox.changes(at(0)), [(address("a", "x"), None)]);
    assert_eq!(due(&mut outbox, 0), ["a y"]);
}
