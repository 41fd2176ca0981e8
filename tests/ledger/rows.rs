//! Which rows are written anew. The store is a true one, so time is not virtual here: it is given.

use headroom::state::{MeterRow, State};

use super::*;

const HOURLY: &str = "[policy.hour]\nquota = 6400\nwindow = \"1h\"\nkind = \"fixed\"\n";

/// A ledger whose only meter was asked for once, and was flushed.
struct Stored {
    house: House,
    state: State,
    folder: tempfile::TempDir,
    now: Now,
}

impl Stored {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let now = clock::moment();
        let (state, loaded) = State::open(folder.path(), now.wall_ms).unwrap();
        let ledger = Ledger::new(Settings::default(), Some((state.clone(), loaded)));
        let stored = Self {
            house: House {
                ledger: Arc::new(ledger),
                ..House::new(HOURLY)
            },
            state,
            folder,
            now,
        };
        stored.call().await;
        stored.house.ledger.flush(now).await;
        stored
    }

    async fn call(&self) {
        let mut ticket = self.house.call(CALL).await.ok().unwrap();
        self.house.answered(&mut ticket, &Translation::default());
    }

    /// What somebody else finds in the file.
    fn query<T: rusqlite::types::FromSql>(&self, sql: &str) -> T {
        let path = self.folder.path().join("headroom.db");
        let file = rusqlite::Connection::open(path).unwrap();
        file.query_row(sql, [], |row| row.get(0)).unwrap()
    }

    /// The row as a process that is killed now leaves it.
    fn killed(self) -> (MeterRow, serde_json::Value) {
        self.state.close().unwrap();
        let (state, mut loaded) = State::open(self.folder.path(), self.now.wall_ms).unwrap();
        state.close().unwrap();
        assert_eq!(loaded.meters.len(), 1);
        let row = loaded.meters.remove(0);
        let data = serde_json::from_slice(&row.data).unwrap();
        (row, data)
    }
}

#[tokio::test]
async fn a_row_counts_every_call_and_at_rest_says_whose_they_were() {
    for sweeps in [0, 19, 20] {
        let stored = Stored::new().await;
        for _ in 0..3 {
            stored.call().await;
            stored.house.ledger.flush(stored.now).await;
        }
        for _ in 0..sweeps {
            stored.house.ledger.sweep(stored.now);
        }
        stored.house.ledger.flush(stored.now).await;
        let (row, data) = stored.killed();
        let used = if sweeps < 20 { 1 } else { 4 };
        assert_eq!(data["used"], used);
        assert_eq!(data["who"], serde_json::json!([[1, used]]));
        // A block is 64, of which the first call was one.
        assert_eq!(row.reserved + used, 64);
    }
}

#[tokio::test]
async fn where_the_clock_is_set_rows_say_when_their_windows_end_by_the_new_one() {
    const HOUR_MS: i64 = 3_600_000;
    for (set_ms, moves) in [
        // Clocks are put right by some milliseconds all the time.
        (1_000, false),
        (-1_000, false),
        (1_001, true),
        (HOUR_MS, true),
        (-HOUR_MS, true),
    ] {
        let stored = Stored::new().await;
        let ends_ms = || {
            let data = stored.query::<Vec<u8>>("SELECT data FROM meters");
            let data: serde_json::Value = serde_json::from_slice(&data).unwrap();
            data["ends_ms"].as_i64().unwrap()
        };
        let before_ms = ends_ms();
        let set = Now {
            wall_ms: stored.now.wall_ms + set_ms,
            ..stored.now
        };
        stored.house.ledger.flush(set).await;
        let moved_ms = if moves { set_ms } else { 0 };
        assert_eq!(ends_ms(), before_ms + moved_ms, "{set_ms}");
    }
}

#[tokio::test]
async fn rows_that_ended_are_looked_for_once_an_hour() {
    let stored = Stored::new().await;
    let rows = || stored.query::<i64>("SELECT count(*) FROM meters");
    let sweep = async |minutes: u64| {
        let later = Nanos::from_secs(60 * minutes);
        let now = Now {
            steady: stored.now.steady.after(later),
            // Whatever is stored has ended long ago.
            wall_ms: stored.now.wall_ms + 7 * 86_400_000,
        };
        stored.house.ledger.sweep(now);
        stored.state.write(Vec::new(), Vec::new()).await.unwrap();
        rows()
    };
    assert_eq!(rows(), 1);
    let into_the_hour = stored.now.steady.0 / 1_000_000_000 % 3_600 / 60;
    assert_eq!(sweep(0).await, 1);
    assert_eq!(sweep(59 - into_the_hour).await, 1);
    assert_eq!(sweep(60 - into_the_hour).await, 0);
}

/// Before a meter is forgotten that has nothing used, its row is put right: it counts a whole block ahead.
#[tokio::test]
async fn of_calls_that_never_reached_the_provider_nothing_is_left_behind() {
    let folder = tempfile::tempdir().unwrap();
    let now = clock::moment();
    let (state, loaded) = State::open(folder.path(), now.wall_ms).unwrap();
    let ledger = Ledger::new(Settings::default(), Some((state.clone(), loaded)));
    let house = House {
        ledger: Arc::new(ledger),
        ..House::new(HOURLY)
    };
    let mut ticket = house.call(CALL).await.ok().unwrap();
    ticket.unsent(now);
    drop(ticket);
    let meters = || house.ledger.report(&Filter::default(), now).total;
    for sweeps in 0..3 {
        assert_eq!(meters(), usize::from(sweeps < 2), "after {sweeps} sweeps");
        house.ledger.flush(now).await;
        house.ledger.sweep(now);
    }
    state.close().unwrap();
    let (state, loaded) = State::open(folder.path(), now.wall_ms).unwrap();
    state.close().unwrap();
    for row in loaded.meters {
        let data: serde_json::Value = serde_json::from_slice(&row.data).unwrap();
        assert_eq!((row.reserved, data["used"].as_u64()), (0, Some(0)));
    }
}
