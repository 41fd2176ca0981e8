//! The configuration is read again while calls wait.

use tokio::task::JoinHandle;

use super::*;

impl House {
    /// The same connection as a configuration that is read later has it. Nobody is told of it yet.
    fn later(&self, policies: &str, mode: Mode) -> Arc<Self> {
        let generation = 1 + self.account.rules[0].generation;
        let wishes = Wishes {
            mode: Some(mode),
            generation,
            ..Wishes::default()
        };
        let later = Self::with(policies, wishes, Settings::default());
        let ledger = Arc::clone(&self.ledger);
        Arc::new(Self { ledger, ..later })
    }

    /// Puts it in place.
    fn reload(&self, later: &Self) {
        let accounts = self.ledger.accounts();
        assert_eq!(accounts.len(), 1);
        later.account.succeed(&accounts[0]);
        let renewed = [Arc::clone(&later.account)];
        self.ledger.renew(&renewed, clock::moment());
    }

    /// A call that begins to wait.
    async fn wait(self: &Arc<Self>, call: Call) -> JoinHandle<Result<Ticket, Refused>> {
        let house = Arc::clone(self);
        let waits = tokio::spawn(async move { house.call(call).await });
        settle().await;
        assert!(!waits.is_finished());
        waits
    }
}

/// Everything that can go on without time passing does.
async fn settle() {
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
}

fn hourly(quota: u64) -> String {
    format!("[policy.hour]\nquota = {quota}\nwindow = \"1h\"\nkind = \"fixed\"\n")
}

#[tokio::test(start_paused = true)]
async fn a_raised_quota_lets_those_who_wait_go_at_once_and_no_more_of_them() {
    let house = Arc::new(House::new(&hourly(1)));
    house.call(CALL).await.ok().unwrap();
    let begun = clock::monotonic();
    let mut waits = Vec::new();
    for _ in 0..4 {
        waits.push(house.wait(waiting(7_200)).await);
    }
    house.reload(&house.later(&hourly(3), Mode::Enforce));
    settle().await;
    let went: Vec<_> = waits.iter().map(JoinHandle::is_finished).collect();
    assert_eq!(went, [true, true, false, false]);
    assert_eq!(clock::monotonic(), begun);
    // The others wait for the window, as before.
    for one in waits {
        one.await.unwrap().ok().unwrap();
    }
    assert!(clock::monotonic() - begun < SECOND * 3_601);
}

#[tokio::test(start_paused = true)]
async fn a_mode_that_only_observes_holds_nobody_who_waited() {
    let house = Arc::new(House::new(&hourly(1)));
    house.call(CALL).await.ok().unwrap();
    let first = house.wait(waiting(7_200)).await;
    let second = house.wait(waiting(7_200)).await;
    house.reload(&house.later(&hourly(1), Mode::Observe));
    settle().await;
    assert!(first.is_finished() && second.is_finished());
    assert_eq!(house.used("hour"), 3);
}

#[tokio::test(start_paused = true)]
async fn who_waits_only_by_the_mode_is_refused_when_the_mode_is_another() {
    let patience = SECOND * 7_200;
    let house = House::new(&hourly(1)).later(&hourly(1), Mode::Wait);
    house.call(CALL).await.ok().unwrap();
    let call = Call {
        mode_patience: patience,
        ..CALL
    };
    // The first in the queue is not the one that gives up.
    let asked = house.wait(waiting(7_200)).await;
    let held = house.wait(call).await;
    house.reload(&house.later(&hourly(1), Mode::Enforce));
    settle().await;
    assert!(!asked.is_finished());
    let refused = held.await.unwrap().err().unwrap();
    assert_eq!(refused.policy, Some(0));
}

#[tokio::test(start_paused = true)]
async fn a_policy_that_is_gone_stops_nobody() {
    let house = Arc::new(House::new(&hourly(1)));
    house.call(CALL).await.ok().unwrap();
    let waits = house.wait(waiting(7_200)).await;
    house.reload(&house.later(TWO_A_MINUTE, Mode::Enforce));
    settle().await;
    assert!(waits.is_finished());
}

#[tokio::test(start_paused = true)]
async fn a_call_that_came_in_before_is_judged_by_what_holds_when_it_asks() {
    let house = House::new(&hourly(9));
    house.call(CALL).await.ok().unwrap();
    let later = house.later(&hourly(2), Mode::Enforce);
    house.reload(&later);
    // It was on its way with the old configuration, and brings nothing of it back.
    house.call(CALL).await.ok().unwrap();
    assert!(house.call(CALL).await.is_err());
    assert!(later.call(CALL).await.is_err());
    assert_eq!(house.used("hour"), 2);
}

#[tokio::test(start_paused = true)]
async fn nobody_who_comes_after_a_reload_overtakes_who_came_before() {
    let house = Arc::new(House::new(ONE_A_SECOND));
    let (gone, mut order) = tokio::sync::mpsc::unbounded_channel();
    house.call(CALL).await.ok().unwrap();
    let later = house.later(ONE_A_SECOND, Mode::Enforce);
    for number in 0..6 {
        if number == 3 {
            tokio::time::sleep(SECOND * 2).await;
            house.reload(&later);
        }
        let of = if number < 3 { &house } else { &later };
        let (of, gone) = (Arc::clone(of), gone.clone());
        tokio::spawn(async move {
            of.call(waiting(60)).await.ok().unwrap();
            gone.send(number).unwrap();
        });
        settle().await;
    }
    drop(gone);
    assert_eq!(later.account.waiting(), 4);
    let mut went = Vec::new();
    while let Some(number) = order.recv().await {
        went.push(number);
    }
    assert_eq!(went, [0, 1, 2, 3, 4, 5]);
}
