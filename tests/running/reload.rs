//! Files with mistakes while it runs: nothing stops for them, and whoever watches sees them.

use std::collections::BTreeMap;
use std::fs;

use crate::exchange::{OK, body, status};
use crate::metrics::page::Page;
use crate::running::tls::POLICY;
use crate::support::program::{Program, stub};
use crate::support::upstream::Upstream;

async fn ready(program: &Program, lines: &str) -> String {
    let answer = program.get("/-/readyz", lines).await;
    assert_eq!(status(&answer), 200, "{answer}");
    body(&answer).to_owned()
}

/// What the metrics say: whether the last reading worked, and when one did.
async fn told(program: &Program) -> (f64, f64) {
    let answer = program.get("/-/metrics", "").await;
    let page = Page::read(body(&answer));
    let sample = |name: &str| {
        let name = format!("headroom_config_last_reload_{name}");
        page.samples[&(name, BTreeMap::new())]
    };
    (sample("successful"), sample("success_timestamp_seconds"))
}

#[tokio::test]
async fn a_file_with_mistakes_shows_until_it_is_right_again() {
    let upstream = Upstream::answering(OK).await;
    let (folder, config) = stub(&upstream, POLICY, "credential = \"file:secret\"");
    fs::write(folder.path().join("secret"), "first").unwrap();
    let program = Program::start(folder.path(), &config);
    assert_eq!(ready(&program, "").await, "ready\n");
    let (successful, started) = told(&program).await;
    assert_eq!(successful, 1.0);
    assert!(started > 1.7e9, "{started}");
    let file = folder.path().join("headroom.toml");
    fs::write(&file, format!("max_wait = \"soon\"\n{config}")).unwrap();
    program.wait_for_line("what runs stays");
    assert_eq!(
        ready(&program, "").await,
        "ready\nconfiguration: error[bad-duration]: \"soon\" is not a length of time, headroom.toml:1:12\n"
    );
    // Who is not the operator hears that much.
    let strange = "X-Forwarded-For: 192.0.2.1\r\n";
    assert_eq!(
        ready(&program, strange).await,
        "ready\nconfiguration: not read again\n"
    );
    assert_eq!(told(&program).await, (0.0, started));
    assert_eq!(status(&program.get("/stub/", "").await), 200);
    fs::write(&file, &config).unwrap();
    program.wait_for_line("was read again");
    assert_eq!(ready(&program, "").await, "ready\n");
    let (successful, now) = told(&program).await;
    assert!(successful == 1.0 && now >= started, "{now} {started}");
    // A secret in a file of its own.
    fs::write(folder.path().join("secret"), "second").unwrap();
    program.wait_for(|lines| {
        let read = lines.iter().filter(|line| line.contains("was read again"));
        (read.count() == 2).then_some(())
    });
    program.get("/stub/", "").await;
    let last = upstream.requests().pop().unwrap();
    assert!(
        last.contains("Bearer second") && !last.contains("first"),
        "{last}"
    );
    // Then it cannot be read.
    fs::remove_file(folder.path().join("secret")).unwrap();
    program.wait_for_line("unresolved-reference");
    assert!(
        ready(&program, "")
            .await
            .contains("configuration: error[unresolved-reference]")
    );
    assert_eq!(status(&program.get("/stub/", "").await), 200);
}
