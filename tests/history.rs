//! Each call through the gateway is in the history, once, as it was.

use std::collections::BTreeMap;
use std::time::Duration;

use headroom::clock;
use headroom::consumer::{hash_key, to_hex};
use headroom::state::history::{Series, Snapshot, Sums};
use tokio::task::JoinSet;

use crate::exchange::{OK, body, status};
use crate::support::harness::{Caller, Harness};
use crate::support::program::{Program, stub};
use crate::support::upstream::Upstream;

/// What was called, by all that tells series apart.
async fn calls(gateway: &Harness) -> BTreeMap<String, Sums> {
    let read = |snapshot: &Snapshot<'_>| {
        let names: BTreeMap<i64, Series> =
            snapshot.dictionary()?.series().iter().cloned().collect();
        let mut found: BTreeMap<String, Sums> = BTreeMap::new();
        snapshot.totals(60, i64::MIN, i64::MAX, |_, series, sums| {
            let series = &names[&series];
            let name = if series.policy.is_empty() {
                format!(
                    "{} {} {} {} {} {}",
                    series.connection,
                    series.method,
                    series.endpoint,
                    series.status,
                    series.upstream_status,
                    series.refused_by
                )
            } else {
                format!("{} {} {}", series.connection, series.policy, series.unit)
            };
            found.entry(name).or_default().add(sums);
        })?;
        Ok(found)
    };
    gateway.history.read(read).await.unwrap()
}

async fn post(gateway: &Harness, target: &str, body: &str) {
    let length = body.len();
    let request = format!(
        "POST {target} HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    );
    gateway.send(request).await;
}

#[tokio::test]
async fn a_call_is_one_record_however_it_ends() {
    let upstream = crate::metrics::upstream().await;
    let gateway = Harness::new(&upstream.base_url()).await;
    gateway.get("/crm/v3/contacts/17?token=secret").await;
    gateway.get("/crm/v3/contacts/18").await;
    post(&gateway, "/hub/v3/contacts", "hello").await;
    gateway.get("/crm/broken").await;
    gateway.get("/crm/../etc").await;
    let mut caller = Caller::connect(gateway.address).await;
    caller
        .write("GET /crm/never HTTP/1.1\r\nHost: a\r\n\r\n")
        .await;
    while upstream.requests().len() < 5 {
        tokio::task::yield_now().await;
    }
    drop(caller);
    gateway.get("/crm/used-up").await;
    // Now the provider's word stands, and headroom refuses.
    gateway.get("/crm/v3/contacts/19").await;

    let length = OK.rsplit("\r\n\r\n").next().unwrap().len() as u64;
    let found = loop {
        let found = calls(&gateway).await;
        // Whoever goes away is noticed a moment later.
        if found.contains_key("crm GET /never 0 0 ") {
            break found;
        }
        tokio::task::yield_now().await;
    };
    let told: Vec<(&str, u64)> = found
        .iter()
        .map(|(name, sums)| (&**name, sums.calls))
        .collect();
    assert_eq!(
        told,
        [
            ("crm GET /../etc 400 0 ", 1),
            ("crm GET /broken 200 0 ", 1),
            ("crm GET /never 0 0 ", 1),
            ("crm GET /used-up 429 402 provider", 1),
            ("crm GET /v3/contacts/* 200 0 ", 2),
            ("crm GET /v3/contacts/* 429 0 headroom", 1),
            // The one that was refused used nothing.
            ("crm stub requests", 6),
            ("hub POST /v3/contacts 200 0 ", 1),
            ("hub stub requests", 1),
        ]
    );
    let of = |name: &str| found[name];
    assert_eq!(of("crm GET /v3/contacts/* 200 0 ").bytes_out, 2 * length);
    assert_eq!(of("hub POST /v3/contacts 200 0 ").bytes_in, 5);
    assert_eq!(of("crm GET /broken 200 0 ").broken, 1);
    assert_eq!(of("crm GET /used-up 429 402 provider").exhausted, 1);
    assert_eq!(of("crm GET /v3/contacts/* 429 0 headroom").refused, 1);
    let policy = of("crm stub requests");
    assert_eq!((policy.cost, policy.refused, policy.exhausted), (5, 1, 1));

    // The same for people.
    let usage = json(&gateway.get("/-/usage?by=connection,endpoint").await);
    assert_eq!(usage["by"], serde_json::json!(["connection", "endpoint"]));
    let row = |number: usize| {
        let row = &usage["rows"][number];
        [
            "calls",
            "ok",
            "failed",
            "refused",
            "exhausted",
            "unanswered",
        ]
        .map(|name| row[name].as_u64().unwrap())
    };
    assert_eq!(usage["rows"][0]["endpoint"], "/v3/contacts/*");
    assert_eq!(row(0), [3, 2, 0, 1, 0, 0]);
    let rows: Vec<_> = (1..6)
        .map(|number| {
            (
                usage["rows"][number]["endpoint"].as_str().unwrap(),
                row(number),
            )
        })
        .collect();
    assert_eq!(
        rows,
        [
            ("/../etc", [1, 0, 1, 0, 0, 0]),
            ("/broken", [1, 0, 1, 0, 0, 0]),
            ("/never", [1, 0, 0, 0, 0, 1]),
            ("/used-up", [1, 0, 0, 0, 1, 0]),
            ("/v3/contacts", [1, 1, 0, 0, 0, 0]),
        ]
    );
    assert_eq!(usage["totals"]["calls"], 8);
    let usage = json(&gateway.get("/-/usage?by=policy&connection=crm").await);
    assert_eq!(
        usage["rows"],
        serde_json::json!([{"policy": "stub", "unit": "requests", "calls": 6, "cost": 5, "refused": 1, "exhausted": 1}])
    );

    let events = json(&gateway.get("/-/events?limit=2").await);
    let first = &events["events"][0];
    assert_eq!(first["endpoint"], "/v3/contacts/*");
    assert_eq!(
        (first["refused_by"].as_str(), first["policy"].as_str()),
        (Some("headroom"), Some("stub"))
    );
    assert_eq!(
        first["costs"],
        serde_json::json!([{"policy": "stub", "unit": "requests", "cost": 0}])
    );
    let mut found = 2;
    let mut next = events["next"].as_str().map(str::to_owned);
    while let Some(cursor) = next {
        let page = json(
            &gateway
                .get(&format!("/-/events?limit=2&before={cursor}"))
                .await,
        );
        found += page["events"].as_array().unwrap().len();
        next = page["next"].as_str().map(str::to_owned);
    }
    assert_eq!(found, 8);
    let events = json(&gateway.get("/-/events?status=none").await);
    assert_eq!(events["events"][0]["status"], serde_json::Value::Null);
    assert_eq!(events["events"][0]["outcome"], "left");
    assert_eq!(events["next"], serde_json::Value::Null);
    let text = gateway.get("/-/events").await;
    assert!(!text.contains("secret"), "{text}");
}

/// The document of an answer.
fn json(answer: &str) -> serde_json::Value {
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    serde_json::from_str(answer.split("\r\n\r\n").nth(1).unwrap()).unwrap()
}

#[tokio::test]
async fn the_same_answer_again_is_seen() {
    let upstream = Upstream::answering(OK).await;
    let gateway = Harness::new(&upstream.base_url()).await;
    for _ in 0..3 {
        gateway.get("/crm/list?page=1").await;
    }
    gateway.get("/crm/list?page=2").await;
    let found = calls(&gateway).await;
    let sums = found["crm GET /list 200 0 "];
    assert_eq!((sums.calls, sums.polls, sums.same), (4, 2, 2));
}

/// A provider with an answer for each path.
async fn mixed() -> Upstream {
    Upstream::scripted(|mut peer, _| async move {
        loop {
            let request = peer.request().await?;
            let answer = match request.split(' ').nth(1).unwrap() {
                "/good" | "/during" => OK,
                "/gone" => "HTTP/1.1 410 Gone\r\nContent-Length: 0\r\n\r\n",
                other => panic!("nobody calls {other}"),
            };
            peer.write(answer).await?;
        }
    })
    .await
}

/// A known mixture of calls of two consumers: 7 and 3 good ones, and 5 of what is gone.
async fn mixture(program: &Program, keys: [&str; 2]) {
    for (key, good) in keys.into_iter().zip([7, 3]) {
        let key = format!("headroom-key: {key}\r\n");
        for _ in 0..good {
            assert_eq!(status(&program.get("/stub/good", &key).await), 200);
        }
    }
    let key = format!("headroom-key: {}\r\n", keys[0]);
    for _ in 0..5 {
        assert_eq!(status(&program.get("/stub/gone", &key).await), 410);
    }
}

#[tokio::test]
async fn a_kill_loses_no_call_but_those_of_the_last_second() {
    let upstream = mixed().await;
    let policies = "[policy.all]\nquota = 1000000\nwindow = \"1d\"\nkind = \"rolling\"\n";
    let keys = ["hr_reports", "hr_billing"];
    let (folder, config) = stub(&upstream, policies, "mode = \"enforce\"");
    let config = config
        + &["reports", "billing"]
            .into_iter()
            .zip(keys)
            .map(|(name, key)| {
                let hash = to_hex(&hash_key(key));
                format!("\n[consumers.{name}]\nkey_hash = \"{hash}\"\n")
            })
            .collect::<String>();
    let program = Program::start(folder.path(), &config);
    mixture(&program, keys).await;

    // In the middle of calls, it is killed.
    let mut answered = Vec::new();
    let started = clock::monotonic();
    let mut sent = 0_usize;
    let mut callers = JoinSet::new();
    for _ in 0..4 {
        callers.spawn(hammer(program.address(), keys[1]));
    }
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    let killed = clock::monotonic();
    program.kill();
    for (times, more) in callers.join_all().await {
        sent += times.len() + more;
        answered.extend(times);
    }
    assert!(
        answered.len() > 50,
        "{} in {:?}",
        answered.len(),
        killed - started
    );
    let second = Duration::from_secs(1);
    let safe = answered.iter().filter(|at| **at + second < killed).count();

    let program = Program::start(folder.path(), &config);
    mixture(&program, keys).await;
    let usage = usage(&program, "by=consumer,endpoint,status&last=24h").await;
    let mut counted = BTreeMap::new();
    for row in usage["rows"].as_array().unwrap() {
        let name = format!(
            "{} {} {}",
            row["consumer"].as_str().unwrap(),
            row["endpoint"].as_str().unwrap(),
            row["status"]
        );
        counted.insert(name, row["calls"].as_u64().unwrap());
    }
    let during: u64 = counted
        .iter()
        .filter(|(name, _)| name.contains("/during"))
        .map(|(_, calls)| calls)
        .sum();
    counted.retain(|name, _| !name.contains("/during"));
    let expected = [
        ("billing /good 200", 6),
        ("reports /gone 410", 10),
        ("reports /good 200", 14),
    ];
    let mut counted: Vec<_> = counted
        .iter()
        .map(|(name, calls)| (name.as_str(), *calls))
        .collect();
    counted.sort_by_key(|(_, calls)| *calls);
    assert_eq!(counted, expected);
    assert!(
        (safe..=sent).contains(&usize::try_from(during).unwrap()),
        "{during} calls, {safe} before the last second, {sent} altogether"
    );

    // The two reports that famously do not add up.
    let day = self::usage(&program, "by=connection&last=24h").await;
    let week = self::usage(&program, "by=consumer,day&last=7d").await;
    let all = 30 + during;
    assert_eq!(day["totals"]["calls"], all);
    assert_eq!(week["totals"]["calls"], all);
    assert_eq!(week["last_24h"]["calls"], all);
    let within = |name: &str| {
        let days = week["last_24h"]["days"].as_array().unwrap();
        days.iter()
            .map(|day| day[name].as_u64().unwrap())
            .sum::<u64>()
    };
    assert_eq!((within("within_last_24h"), within("before")), (all, 0));
    assert_eq!(within("calls"), all);
}

/// A report of the program.
async fn usage(program: &Program, question: &str) -> serde_json::Value {
    json(&program.get(&format!("/-/usage?{question}"), "").await)
}

/// Calls one after the other on one connection, until it breaks: when each was answered, and how many were not.
async fn hammer(address: std::net::SocketAddr, key: &str) -> (Vec<tokio::time::Instant>, usize) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut caller = Caller::connect(address).await;
    let request = format!("GET /stub/during HTTP/1.1\r\nHost: a\r\nheadroom-key: {key}\r\n\r\n");
    let mut answered = Vec::new();
    loop {
        if caller.stream.write_all(request.as_bytes()).await.is_err() {
            return (answered, 0);
        }
        let mut answer = vec![0; 4096];
        match caller.stream.read(&mut answer).await {
            Ok(length) if answer[..length].starts_with(b"HTTP/1.1 200") => {
                answered.push(clock::monotonic());
            }
            _ => return (answered, 1),
        }
    }
}

/// Somebody holds the file so that nothing can be written, as when there is no room.
#[tokio::test]
async fn a_store_that_cannot_be_written_stops_nothing_and_loses_nothing() {
    let upstream = mixed().await;
    let policies = "[policy.all]\nquota = 1000000\nwindow = \"1d\"\nkind = \"rolling\"\n";
    let (folder, config) = stub(&upstream, policies, "mode = \"enforce\"");
    let program = Program::start(folder.path(), &config);
    assert_eq!(status(&program.get("/stub/good", "").await), 200);
    let before = usage(&program, "by=endpoint").await;
    assert_eq!(before["totals"]["calls"], 1);

    let file = folder.path().join("home/headroom/headroom.db");
    let other = rusqlite::Connection::open(&file).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let mut calls = 1;
    loop {
        assert_eq!(status(&program.get("/stub/good", "").await), 200);
        calls += 1;
        let ready = program.get("/-/readyz", "").await;
        assert_eq!(status(&ready), 200);
        if ready.contains("\nhistory: ") {
            break;
        }
        assert!(calls < 10_000, "nobody tells: {ready}");
    }
    let told = program.get("/-/usage", "").await;
    assert_eq!(status(&told), 200, "{told}");
    assert!(told.contains("The last calls may be missing"), "{told}");
    // There is no place for that sentence in a table.
    let refused = program.get("/-/usage?format=csv", "").await;
    assert_eq!(status(&refused), 503, "{refused}");
    assert!(refused.contains("\"code\":\"unavailable\""), "{refused}");

    other.execute_batch("ROLLBACK").unwrap();
    while !program.get("/-/readyz", "").await.ends_with("ready\n") {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let after = usage(&program, "by=endpoint").await;
    assert_eq!(after["totals"]["calls"], calls);
    let events = json(&program.get("/-/events?limit=1000", "").await);
    let kept = events["events"].as_array().unwrap().len();
    assert_eq!(u64::try_from(kept).unwrap(), calls.min(1_000));
}

#[tokio::test]
async fn a_question_that_makes_no_sense_is_told_what_to_write() {
    let upstream = Upstream::answering(OK).await;
    let gateway = Harness::new(&upstream.base_url()).await;
    for (page, words) in [
        ("usage?by=user", "`user`: write `consumer`, `connection`"),
        ("usage?by=day,hour", "one of `minute`, `hour` and `day`"),
        ("usage?by=consumer,consumer", "write each word once"),
        ("usage?by=", "`by` says nothing"),
        ("usage?by=policy,status", "leave out `status` or `policy`"),
        (
            "usage?by=policy&endpoint=/a",
            "leave out `endpoint` or `policy`",
        ),
        ("usage?policy=daily", "write `policy` in `by` too"),
        ("usage?last=7", "write `24h`, `90m`, or `7d`"),
        ("usage?last=0d", "write `24h`, `90m`, or `7d`"),
        ("usage?last=%2B7d", "write `24h`, `90m`, or `7d`"),
        ("usage?last=99999999999d", "write `24h`, `90m`, or `7d`"),
        ("usage?last=7d&from=2026-01-01", "leave one of them out"),
        ("usage?to=2026-01-01", "write `from` too"),
        ("usage?from=yesterday", "write a date such as 2026-11-22"),
        (
            "usage?from=2026-01-01T12",
            "write a date such as 2026-11-22",
        ),
        (
            "usage?from=2026-01-02&to=2026-01-01",
            "`from` must be before `to`",
        ),
        (
            "usage?from=2026-01-01T00:00:00.9Z&to=2026-01-01T00:00:00.1Z",
            "The range begins and ends at 2026-01-01T00:00:00Z",
        ),
        ("usage?from=9998-01-01", "`from` must be before now"),
        ("usage?tz=Oslo", "such as `UTC` or `Europe/Oslo`"),
        ("usage?tz=UTC&tz=UTC", "`tz` is there twice"),
        ("usage?format=xml", "write `json` or `csv`"),
        (
            "usage?status=4",
            "write 429, 4xx for all of a class, or `none`",
        ),
        (
            "usage?refused_by=me",
            "write `headroom`, `provider` or `none`",
        ),
        ("usage?conection=crm", "There is no parameter `conection`"),
        (
            "usage?by=minute&from=2026-01-01&to=2026-12-31",
            "longer steps",
        ),
        ("events?limit=0", "a number from 1 to 1000"),
        ("events?limit=1001", "a number from 1 to 1000"),
        ("events?before=soon", "write the `next` of the page before"),
        ("events?by=day", "There is no parameter `by`"),
    ] {
        let answer = gateway.get(&format!("/-/{page}")).await;
        assert_eq!(status(&answer), 400, "{page}: {answer}");
        assert!(answer.contains("\"code\":\"bad-parameter\""), "{answer}");
        assert!(answer.contains(words), "{page}: {answer}");
    }
}

#[tokio::test]
async fn a_table_for_spreadsheets_has_no_formulas() {
    let upstream = Upstream::answering(OK).await;
    let gateway = Harness::new(&upstream.base_url()).await;
    gateway.get("/crm/=cmd").await;
    gateway.get("/crm/words").await;
    let csv = gateway
        .get("/-/usage?by=connection,endpoint,refused_by&format=csv")
        .await;
    assert!(
        csv.contains("\r\ncontent-type: text/csv; charset=utf-8; header=present\r\n"),
        "{csv}"
    );
    let body = csv.split("\r\n\r\n").nth(1).unwrap();
    let lines: Vec<_> = body.lines().collect();
    assert_eq!(
        lines[0],
        "connection,endpoint,refused_by,calls,ok,failed,refused,exhausted,unanswered,waited,waited_ms,duration_ms,upstream_ms,bytes_in,bytes_out"
    );
    assert!(lines[1].starts_with("crm,/*,,1,1,0,0,0,0,0,0,"), "{body}");
    assert!(lines[2].starts_with("crm,/words,,1,1,0,"), "{body}");
    assert_eq!(lines.len(), 3);
    let accepted = gateway
        .send("GET /-/usage HTTP/1.1\r\nHost: localhost\r\nAccept: text/csv\r\nConnection: close\r\n\r\n")
        .await;
    assert!(accepted.contains("\r\nconnection,calls,ok,"), "{accepted}");
}

#[tokio::test]
async fn who_leaves_in_the_middle_of_an_answer_is_told_from_a_provider_that_breaks_off() {
    let upstream = crate::metrics::upstream().await;
    let gateway = Harness::new(&upstream.base_url()).await;
    gateway.get("/crm/broken").await;
    let mut caller = Caller::connect(gateway.address).await;
    caller
        .write("GET /crm/half HTTP/1.1\r\nHost: a\r\n\r\n")
        .await;
    caller.until("half").await;
    drop(caller);
    let events = loop {
        let page = json(&gateway.get("/-/events").await);
        let events = page["events"].as_array().unwrap().clone();
        if events.len() == 2 {
            break events;
        }
        tokio::task::yield_now().await;
    };
    let told = |event: &serde_json::Value| {
        let outcome = event["outcome"].as_str().unwrap().to_owned();
        (outcome, event["status"].as_u64())
    };
    assert_eq!(told(&events[0]), ("left".to_owned(), Some(200)));
    assert_eq!(told(&events[1]), ("broken".to_owned(), Some(200)));
    // The sums have one number for both.
    let usage = json(&gateway.get("/-/usage").await);
    assert_eq!(usage["totals"]["failed"], 2);
}

#[tokio::test]
async fn who_listens_hears_of_a_call_within_a_second_and_does_not_hold_up_the_end() {
    let upstream = Upstream::answering(OK).await;
    let mut gateway = Harness::new(&upstream.base_url()).await;
    let mut listener = Caller::connect(gateway.address).await;
    listener
        .write(
            "GET /-/events?connection=crm HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n",
        )
        .await;
    let head = listener.until("retry: 2000\n\n").await;
    assert!(
        head.contains("content-type: text/event-stream\r\n"),
        "{head}"
    );
    gateway.get("/hub/other").await;
    gateway.get("/crm/one").await;
    let started = clock::monotonic();
    let heard = listener.until("event: call\n").await;
    assert!(
        started.elapsed() < Duration::from_secs(5),
        "{:?}",
        started.elapsed()
    );
    let rest = listener.until("event: meters\ndata: {}\n\n").await;
    let heard = heard + &rest;
    assert!(heard.contains("\"endpoint\":\"/one\""), "{heard}");
    assert!(!heard.contains("/other"), "{heard}");
    let _ = gateway.stop.take().unwrap().send(());
    let ended = tokio::time::timeout(Duration::from_secs(5), listener.rest()).await;
    assert!(ended.is_ok(), "the stream goes on");
}

/// Quarter hours that were taken out are not there to advise on.
#[tokio::test]
async fn advice_says_from_when_on_there_is_something_to_advise_on() {
    let upstream = mixed().await;
    let policies = "[policy.all]\nquota = 1000000\nwindow = \"1d\"\nkind = \"rolling\"\n";
    let (folder, config) = stub(&upstream, policies, "mode = \"enforce\"");
    let program = Program::start(folder.path(), &config);
    let page = async || -> serde_json::Value {
        let answer = program.get("/-/advice?last=24h", "").await;
        assert_eq!(status(&answer), 200, "{answer}");
        serde_json::from_str(body(&answer)).unwrap()
    };
    let whole = page().await;
    assert_eq!(whole["notes"], serde_json::json!([]));
    let end: jiff::Timestamp = whole["to"].as_str().unwrap().parse().unwrap();
    // Not at the edge of a quarter hour: the one that it cuts is not whole.
    let edge = end.as_second() - end.as_second().rem_euclid(900) - 3_600;
    let file = folder.path().join("home/headroom/headroom.db");
    let other = rusqlite::Connection::open(&file).unwrap();
    let insert = "INSERT INTO forgotten (level, until) VALUES (900, ?1)";
    other.execute(insert, [edge - 300]).unwrap();
    let part = page().await;
    let begins = jiff::Timestamp::from_second(edge).unwrap().to_string();
    assert_eq!(part["from"], begins);
    let note = part["notes"][0].as_str().unwrap();
    let expected = format!("The range begins at {begins}, not at ");
    assert!(note.starts_with(&expected), "{note}");
}

#[tokio::test]
async fn the_configuration_bounds_what_is_kept() {
    let upstream = Upstream::answering(OK).await;
    let (folder, connections) = stub(
        &upstream,
        "[policy.all]\nquota = 1000\nwindow = \"1h\"\nkind = \"fixed\"\n",
        "",
    );
    let of = |most| format!("{connections}\n[history]\nmax_events = {most}\n");
    let program = Program::start(folder.path(), &of(3));
    for _ in 0..8 {
        assert_eq!(status(&program.get("/stub/", "").await), 200);
    }
    let kept = async || {
        let events = json(&program.get("/-/events", "").await);
        events["events"].as_array().unwrap().len()
    };
    let bounded = async {
        while kept().await > 3 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), bounded)
        .await
        .unwrap();
    // The totals have them all.
    let usage = json(&program.get("/-/usage", "").await);
    assert_eq!(usage["rows"][0]["calls"], 8, "{usage}");
    std::fs::write(folder.path().join("headroom.toml"), of(5)).unwrap();
    program.wait_for_line("or `history` takes effect after a restart");
}
