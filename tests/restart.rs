//! What survives the process: counts of long windows, what providers said, what answers taught.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tempfile::TempDir;
use tokio::task::JoinSet;

use crate::exchange::{OK, body, fields, status};
use crate::support::harness::Caller;
use crate::support::program::{Program, get, stub};
use crate::support::upstream::Upstream;
use crate::waiting::{assert_refused, retry_after};

/// A folder with an adapter of these policies, and the configuration of its one connection.
struct Site {
    folder: TempDir,
    config: String,
}

impl Site {
    fn new(upstream: &Upstream, policies: &str, connection: &str) -> Self {
        let (folder, config) = stub(upstream, policies, connection);
        Self { folder, config }
    }

    fn start(&self) -> Program {
        Program::start(self.folder.path(), &self.config)
    }
}

/// A shipped provider as the only connection.
fn shipped(upstream: &Upstream, provider: &str) -> (TempDir, String) {
    let config = format!(
        "[connections.{provider}]\nbase_url = \"{}\"\n",
        upstream.base_url()
    );
    (tempfile::tempdir().unwrap(), config)
}

fn remaining(answer: &str) -> u64 {
    let values = fields(answer, "ratelimit-remaining");
    assert_eq!(values.len(), 1, "{answer}");
    values[0].parse().unwrap()
}

const HOURLY: &str = "[policy.hourly]\nquota = 20\nwindow = \"1h\"\nkind = \"fixed\"\n";
/// A month, because a test can run over midnight.
const MONTHLY: &str =
    "[policy.monthly]\nquota = 20\nwindow = \"month\"\nkind = \"clock\"\ntime_zone = \"UTC\"\n";
const ROLLING: &str = "[policy.rolling]\nquota = 20\nwindow = \"1h\"\nkind = \"rolling\"\n";
const BUCKET: &str = "[policy.bucket]\nquota = 20\nwindow = \"2h\"\nkind = \"bucket\"\n";

#[tokio::test]
async fn counts_of_long_windows_survive_a_stop() {
    for policies in [HOURLY, MONTHLY, ROLLING, BUCKET] {
        let upstream = Upstream::answering(OK).await;
        let site = Site::new(&upstream, policies, "mode = \"enforce\"");
        let mut expected = 20;
        for _ in 0..3 {
            let program = site.start();
            for _ in 0..3 {
                let answer = program.get("/stub/", "").await;
                assert_eq!(status(&answer), 200, "{answer}");
                expected -= 1;
                assert_eq!(remaining(&answer), expected, "{policies}{answer}");
            }
            assert!(program.terminate().success());
        }
    }
}

#[tokio::test]
async fn a_short_window_begins_anew() {
    let upstream = Upstream::answering(OK).await;
    let policy = HOURLY.replace("1h", "60s");
    let site = Site::new(&upstream, &policy, "mode = \"enforce\"");
    for _ in 0..2 {
        let program = site.start();
        let answer = program.get("/stub/", "").await;
        assert_eq!(remaining(&answer), 19, "{answer}");
        assert!(program.terminate().success());
    }
}

/// A provider that counts what it serves.
async fn counting() -> (Upstream, Arc<AtomicU64>) {
    let served = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&served);
    let upstream = Upstream::scripted(move |mut peer, _| {
        let served = Arc::clone(&counter);
        async move {
            loop {
                peer.request().await?;
                served.fetch_add(1, Ordering::SeqCst);
                peer.write(OK).await?;
            }
        }
    })
    .await;
    (upstream, served)
}

/// Calls one after the other on one connection, until it breaks or is refused.
async fn hammer(address: std::net::SocketAddr) {
    let mut caller = Caller::connect(address).await;
    let request = "GET /stub/ HTTP/1.1\r\nHost: a\r\n\r\n";
    loop {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        if caller.stream.write_all(request.as_bytes()).await.is_err() {
            return;
        }
        let mut answer = vec![0; 4096];
        match caller.stream.read(&mut answer).await {
            Ok(0) | Err(_) => return,
            Ok(length) if answer[..length].starts_with(b"HTTP/1.1 200") => {}
            Ok(_) => return,
        }
    }
}

#[tokio::test]
async fn a_kill_never_makes_it_believe_in_more_than_there_is() {
    const CALLERS: u64 = 8;
    let (quota, block) = (1_000, 10);
    for policies in [HOURLY, ROLLING] {
        let (upstream, served) = counting().await;
        let policy = policies.replace("quota = 20", &format!("quota = {quota}"));
        let site = Site::new(&upstream, &policy, "mode = \"enforce\"");
        let config = format!("count_block = {block}\n{}", site.config);
        let site = Site { config, ..site };
        // What it may believe to be used that was not: a block at each kill, and calls that it let through and that never
        // arrived.
        let mut lost = 0;
        for until in [1, 120, 500] {
            let program = site.start();
            let mut callers = JoinSet::new();
            for _ in 0..CALLERS {
                callers.spawn(hammer(program.address()));
            }
            while served.load(Ordering::SeqCst) < until {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            program.kill();
            callers.join_all().await;
            lost += block + CALLERS;
            let truth = quota - served.load(Ordering::SeqCst);

            let program = site.start();
            let answer = program.get("/stub/", "").await;
            let left = remaining(&answer) + 1;
            assert!(
                left <= truth && left + lost >= truth,
                "it believes in {left}, there are {truth}: {policies}"
            );
            program.kill();
            lost += block;
        }
        // To the end.
        let program = site.start();
        let mut callers = JoinSet::new();
        for _ in 0..CALLERS {
            callers.spawn(hammer(program.address()));
        }
        callers.join_all().await;
        assert_refused(&program.get("/stub/", "").await);
        let used = served.load(Ordering::SeqCst);
        assert!(used <= quota, "{used} calls were served: {policies}");
        assert!(used + lost >= quota, "{used} calls were served: {policies}");
    }
}

/// Toggl, with nothing left in an organization for an hour.
const EXHAUSTED: &str = "HTTP/1.1 402 Payment Required\r\nx-toggl-quota-remaining: 0\r\nx-toggl-quota-resets-in: 3600\r\ncontent-length: 0\r\n\r\n";

#[tokio::test]
async fn what_the_provider_suspended_stays_suspended() {
    for kill in [false, true] {
        let upstream = Upstream::answering(EXHAUSTED).await;
        let (folder, config) = shipped(&upstream, "toggl");
        let program = Program::start(folder.path(), &config);
        let path = "/toggl/api/v9/organizations/1/users";
        let lines = "Authorization: Basic eDphcGlfdG9rZW4=\r\n";
        let answer = program.get(path, lines).await;
        assert_eq!(status(&answer), 429, "{answer}");
        assert_eq!(
            fields(&answer, "headroom-upstream-status"),
            ["402"],
            "{answer}"
        );
        if kill {
            // A suspension is written at once.
            tokio::time::sleep(Duration::from_millis(300)).await;
            program.kill();
        } else {
            assert!(program.terminate().success());
        }
        let program = Program::start(folder.path(), &config);
        let answer = program.get(path, lines).await;
        assert_refused(&answer);
        assert!((3_500..=3_600).contains(&retry_after(&answer)), "{answer}");
        assert_eq!(upstream.requests().len(), 1);
        // Another organization is another budget.
        let other = program
            .get("/toggl/api/v9/organizations/2/users", lines)
            .await;
        assert_eq!(
            fields(&other, "headroom-upstream-status"),
            ["402"],
            "{other}"
        );
        // And so is another credential.
        let other = program
            .get(path, "Authorization: Basic eTphcGlfdG9rZW4=\r\n")
            .await;
        assert_eq!(
            fields(&other, "headroom-upstream-status"),
            ["402"],
            "{other}"
        );
    }
}

#[tokio::test]
async fn a_long_suspension_of_a_short_window_survives() {
    let short = "[policy.short]\nquota = 5\nwindow = \"1s\"\nkind = \"rolling\"\n";
    let parallel = "[policy.parallel]\nunit = \"concurrent-requests\"\nkind = \"concurrent\"\n";
    for policy in [short, parallel] {
        let refusal =
            "HTTP/1.1 429 Too Many Requests\r\nretry-after: 900\r\ncontent-length: 0\r\n\r\n";
        let upstream = Upstream::answering(refusal).await;
        let site = Site::new(&upstream, policy, "");
        let program = site.start();
        assert_eq!(status(&program.get("/stub/", "").await), 429);
        tokio::time::sleep(Duration::from_millis(300)).await;
        program.kill();
        for _ in 0..2 {
            let program = site.start();
            let answer = program.get("/stub/", "").await;
            assert_refused(&answer);
            assert!((800..=900).contains(&retry_after(&answer)), "{answer}");
            assert!(program.terminate().success());
        }
        assert_eq!(upstream.requests().len(), 1);
    }
}

/// Toggl, which tells to which organization workspaces 1 and 2 belong, and that workspace 1 has nothing left.
async fn workspaces() -> Upstream {
    Upstream::scripted(move |mut peer, _| async move {
        loop {
            let request = peer.request().await?;
            let path = request.split(' ').nth(1).unwrap().to_owned();
            let json = |number: u64| {
                let body = format!("{{\"id\": {number}, \"organization_id\": 7}}");
                let mut answer = String::new();
                write!(
                    answer,
                    "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nx-toggl-quota-remaining: 20\r\nx-toggl-quota-resets-in: 3000\r\ncontent-length: {}\r\n\r\n{body}",
                    body.len()
                )
                .unwrap();
                answer
            };
            let answer = match path.as_str() {
                "/api/v9/workspaces/1" => json(1),
                "/api/v9/workspaces/2" => json(2),
                "/api/v9/workspaces/1/tags" => EXHAUSTED.to_owned(),
                _ => OK.to_owned(),
            };
            peer.write(answer).await?;
        }
    })
    .await
}

#[tokio::test]
async fn learned_partitions_survive() {
    let upstream = workspaces().await;
    let (folder, config) = shipped(&upstream, "toggl");
    let lines = "Authorization: Basic eDphcGlfdG9rZW4=\r\n";
    let program = Program::start(folder.path(), &config);
    for number in [1, 2] {
        let path = format!("/toggl/api/v9/workspaces/{number}");
        assert_eq!(status(&program.get(&path, lines).await), 200);
    }
    // What was learned is written at once.
    tokio::time::sleep(Duration::from_millis(300)).await;
    program.kill();

    let program = Program::start(folder.path(), &config);
    let answer = program.get("/toggl/api/v9/workspaces/1/tags", lines).await;
    assert_eq!(
        fields(&answer, "headroom-upstream-status"),
        ["402"],
        "{answer}"
    );
    // Workspace 2 is of the same organization, and headroom knew it.
    let answer = program.get("/toggl/api/v9/workspaces/2/tags", lines).await;
    assert_refused(&answer);
    assert_eq!(upstream.requests().len(), 3);
}

#[tokio::test]
async fn a_second_program_runs_without_the_store_and_says_so() {
    let upstream = Upstream::answering(OK).await;
    let site = Site::new(&upstream, HOURLY, "mode = \"enforce\"");
    let first = site.start();
    assert_eq!(remaining(&first.get("/stub/", "").await), 19);
    let second = site.start();
    let line = second.wait_for_line("Counts are not kept");
    assert!(line.contains("restart forgets them"), "{line}");
    // It serves and counts all the same, by itself.
    assert_eq!(remaining(&second.get("/stub/", "").await), 19);
    assert!(second.terminate().success());
    assert_eq!(remaining(&first.get("/stub/", "").await), 18);
    assert!(first.terminate().success());
    let third = site.start();
    assert_eq!(remaining(&third.get("/stub/", "").await), 17);
}

/// Calls that the history knows of.
async fn calls(program: &Program) -> u64 {
    let answer = program.get("/-/usage?by=connection", "").await;
    let usage: serde_json::Value = serde_json::from_str(body(&answer)).unwrap();
    let rows = usage["rows"].as_array().unwrap();
    rows.iter().map(|row| row["calls"].as_u64().unwrap()).sum()
}

/// What is not ready, in the words of the page.
async fn troubles(program: &Program) -> Vec<String> {
    let answer = program.get("/-/readyz", "").await;
    let lines = body(&answer).lines().filter(|line| line.contains(": "));
    lines.map(str::to_owned).collect()
}

#[tokio::test]
async fn a_store_that_another_program_lets_go_is_taken_over() {
    let upstream = Upstream::answering(OK).await;
    for (policies, lines) in [
        (HOURLY, ""),
        (ROLLING, ""),
        (BUCKET, ""),
        (
            "[policy.own]\nquota = 20\nwindow = \"1h\"\nkind = \"fixed\"\npartition = [\"credential\"]\n",
            "Authorization: Bearer secret\r\n",
        ),
    ] {
        let site = Site::new(&upstream, policies, "mode = \"enforce\"");
        let first = site.start();
        for left in [19, 18] {
            assert_eq!(remaining(&first.get("/stub/", lines).await), left);
        }
        let second = site.start();
        second.wait_for_line("Counts are not kept");
        for left in [19, 18, 17] {
            assert_eq!(remaining(&second.get("/stub/", lines).await), left);
        }
        let told = troubles(&second).await;
        assert!(
            told.iter()
                .any(|line| line.contains("in use by another headroom")),
            "{told:?}"
        );
        assert_eq!(calls(&second).await, 3);
        assert!(first.terminate().success());

        second.wait_for_line("The state is open now");
        // Two and three, and this one.
        assert_eq!(
            remaining(&second.get("/stub/", lines).await),
            14,
            "{policies}"
        );
        while !troubles(&second).await.is_empty() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert_eq!(calls(&second).await, 6);
        let metrics = second.get("/-/metrics", "").await;
        assert!(
            metrics.contains("headroom_store_up{store=\"state\"} 1"),
            "{metrics}"
        );
        assert!(second.terminate().success());

        let third = site.start();
        assert_eq!(
            remaining(&third.get("/stub/", lines).await),
            13,
            "{policies}"
        );
        assert_eq!(calls(&third).await, 7);
    }
}

#[tokio::test]
async fn a_folder_that_can_be_made_later_is_written_into() {
    let upstream = Upstream::answering(OK).await;
    let site = Site::new(&upstream, HOURLY, "mode = \"enforce\"");
    let place = site.folder.path().join("place");
    std::fs::write(&place, "a file").unwrap();
    let arguments = ["--state-dir", place.to_str().unwrap()];
    let start = || Program::with(site.folder.path(), &site.config, &arguments);
    let program = start();
    for left in [19, 18] {
        assert_eq!(remaining(&program.get("/stub/", "").await), left);
    }
    std::fs::remove_file(&place).unwrap();
    program.wait_for_line("The state is open now");
    assert_eq!(remaining(&program.get("/stub/", "").await), 17);
    assert_eq!(calls(&program).await, 3);
    program.kill();
    let program = start();
    assert_eq!(troubles(&program).await, [""; 0]);
    // A block of one was counted ahead.
    assert_eq!(remaining(&program.get("/stub/", "").await), 16);
    assert_eq!(calls(&program).await, 4);
}

#[tokio::test]
async fn without_state_a_restart_forgets() {
    let upstream = Upstream::answering(OK).await;
    let site = Site::new(&upstream, HOURLY, "mode = \"enforce\"");
    for _ in 0..2 {
        let program = Program::with(site.folder.path(), &site.config, &["--no-state"]);
        let answer = get(program.address(), "/stub/", "").await;
        assert_eq!(remaining(&answer), 19, "{answer}");
        assert!(program.terminate().success());
    }
    assert!(!Path::new(&site.folder.path().join("home")).exists());
}

/// Whoever takes the file away loses what was in it; what the process knows is written into the new one.
#[tokio::test]
async fn a_file_that_was_taken_away_is_written_anew() {
    let upstream = Upstream::answering(OK).await;
    let site = Site::new(&upstream, HOURLY, "mode = \"enforce\"");
    let program = site.start();
    for _ in 0..20 {
        assert_eq!(status(&program.get("/stub/", "").await), 200);
    }
    let state = site.folder.path().join("home/headroom");
    for name in ["headroom.db", "headroom.db-wal", "headroom.db-shm"] {
        // Not each of them has to be there.
        let _gone = std::fs::remove_file(state.join(name));
    }
    assert_refused(&program.get("/stub/", "").await);
    program.wait_for_line("was taken away");
    let file = state.join("headroom.db");
    let written = || {
        let other = rusqlite::Connection::open(&file).ok()?;
        let meters = other.query_row("SELECT COUNT(*) FROM meters", [], |row| row.get(0));
        meters.ok().filter(|meters: &i64| *meters > 0)
    };
    while written().is_none() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    program.kill();
    assert_refused(&site.start().get("/stub/", "").await);
}

#[tokio::test]
async fn a_store_that_cannot_be_opened_is_told() {
    let upstream = Upstream::answering(OK).await;
    let site = Site::new(&upstream, HOURLY, "mode = \"enforce\"");
    let place = site.folder.path().join("no-folder");
    std::fs::write(&place, "a file").unwrap();
    let place = place.to_str().unwrap();
    let arguments = ["--state-dir", place];
    let program = Program::with(site.folder.path(), &site.config, &arguments);
    assert_eq!(status(&program.get("/stub/", "").await), 200);
    let ready = program.get("/-/readyz", "").await;
    assert_eq!(status(&ready), 200);
    assert!(ready.contains("\nstate: "), "{ready}");
    assert!(ready.contains("\nhistory: "), "{ready}");
    let metrics = program.get("/-/metrics", "").await;
    assert!(
        metrics.contains("headroom_store_up{store=\"state\"} 0"),
        "{metrics}"
    );
}
