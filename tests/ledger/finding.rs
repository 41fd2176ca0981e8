//! Meters are found by the whole of their key, and each is made once.

use super::*;

#[tokio::test(start_paused = true)]
async fn meters_whose_keys_are_alike_in_one_half_are_two() {
    let house = House::new(TWO_A_MINUTE);
    let partitions = [1, 1 | 1 << 64, 2 | 1 << 64];
    for partition in partitions {
        for _ in 0..2 {
            let call = Call { partition, ..CALL };
            assert!(house.call(call).await.is_ok(), "{partition:x}");
        }
    }
    for partition in partitions {
        let call = Call { partition, ..CALL };
        assert!(house.call(call).await.is_err(), "{partition:x}");
    }
}

#[test]
fn calls_that_come_first_at_once_make_one_meter() {
    const THREADS: usize = 4;
    let house = House::new("[policy.minute]\nquota = 100\nwindow = \"60s\"\nkind = \"fixed\"\n");
    for partition in 1..=200 {
        let start = std::sync::Barrier::new(THREADS);
        let call = || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_time()
                .build()
                .unwrap();
            start.wait();
            let ticket = runtime.block_on(house.call(Call { partition, ..CALL }));
            std::mem::forget(ticket.unwrap());
        };
        std::thread::scope(|scope| (0..THREADS).for_each(|_| drop(scope.spawn(call))));
    }
    let report = house.ledger.report(&Filter::default(), clock::moment());
    assert_eq!(report.total, 200);
    assert_eq!(house.used("minute"), 200 * THREADS as u64);
}
