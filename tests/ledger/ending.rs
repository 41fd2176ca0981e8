//! The end of the process, while calls wait.

use headroom::ledger::Why;

use super::*;

#[tokio::test(start_paused = true)]
async fn nobody_waits_at_the_end_and_who_has_room_goes() {
    let house = House::new(TWO_A_MINUTE);
    let elsewhere = Call {
        partition: 2,
        ..CALL
    };
    for _ in 0..2 {
        house.call(CALL).await.ok().unwrap();
    }
    let begun = clock::monotonic();
    let end = async {
        tokio::time::sleep(SECOND).await;
        house.ledger.end_waits();
    };
    let (first, second, ()) = tokio::join!(house.call(waiting(100)), house.call(waiting(100)), end);
    for refused in [first, second] {
        assert_eq!(refused.err().unwrap().why, Why::Ending);
    }
    assert_eq!(
        house.call(waiting(100)).await.err().unwrap().why,
        Why::Ending
    );
    // Who would not have waited is told what it is told always.
    assert_eq!(house.call(CALL).await.err().unwrap().why, Why::NoRoom);
    assert_eq!(clock::monotonic() - begun, SECOND);
    assert_eq!(house.account.waiting(), 0);
    assert!(house.call(elsewhere).await.is_ok());
}
