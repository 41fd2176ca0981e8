//! The program itself: what stands on stdin, what comes out, and the exit code.

mod exposure;
mod hostile;
mod keys;
mod schema;
mod stopping;

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

/// The program in a folder, without the environment of whoever runs the tests.
fn headroom(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_headroom"));
    for (name, _) in std::env::vars() {
        if name.starts_with("HEADROOM_") {
            command.env_remove(name);
        }
    }
    command
        .args(arguments)
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

struct Ran {
    code: i32,
    stdout: String,
    stderr: String,
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        Self {
            // A signal has no code.
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

fn run_in(folder: &Path, arguments: &[&str], input: &[u8]) -> Ran {
    let mut child = headroom(folder, arguments).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    let writer = std::thread::spawn(move || {
        // Who does not read to the end may close before.
        let _ = stdin.write_all(&input);
    });
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    output.into()
}

fn run(arguments: &[&str], input: &str) -> Ran {
    let folder = tempfile::tempdir().unwrap();
    run_in(folder.path(), arguments, input.as_bytes())
}

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Contract, section 5.
#[test]
fn the_example_of_the_contract() {
    let ran = run(
        &[
            "translate",
            "toggl",
            "--plan",
            "starter",
            "--path",
            "/api/v9/workspaces/1/projects",
            "--json",
        ],
        "HTTP/1.1 402 Payment Required\r\nX-Toggl-Quota-Remaining: 0\r\nX-Toggl-Quota-Resets-In: 900\r\n\r\n",
    );
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
    let mut found: Value = serde_json::from_str(&ran.stdout).unwrap();
    let keys: Vec<&String> = found.as_object().unwrap().keys().collect();
    let order = [
        "provider",
        "status",
        "upstream_status",
        "retry_after",
        "binding",
        "limits",
        "headers",
        "notes",
    ];
    assert_eq!(keys, order);
    // The example leaves out what a client of the bare numbers does not look at.
    let headers = found["headers"].as_object_mut().unwrap();
    for (name, value) in [
        ("ratelimit-policy", "\"organization\";q=240;w=3600"),
        ("ratelimit", "\"organization\";r=0;t=900"),
        ("headroom-source", "provider"),
        ("headroom-upstream-status", "402"),
    ] {
        assert_eq!(headers.shift_remove(name), Some(value.into()), "{name}");
    }
    assert_eq!(
        found,
        json!({"provider": "toggl", "status": 429, "upstream_status": 402, "retry_after": 900, "binding": "organization",
            "limits": [{"policy": "organization", "unit": "requests", "limit": 240, "remaining": 0, "reset": 900, "window": 3600, "source": "provider"}],
            "headers": {"ratelimit-limit": "240;w=3600", "ratelimit-remaining": "0", "ratelimit-reset": "900", "retry-after": "900"},
            "notes": []})
    );
}

#[test]
fn a_head_is_printed_without_json_and_notes_go_to_stderr() {
    let ran = run(
        &["translate", "toggl", "--plan", "starter"],
        "HTTP/1.1 200 OK\nX-Toggl-Quota-Remaining: 7\nX-Toggl-Quota-Resets-In: soon\n\nbody",
    );
    assert_eq!(ran.code, 0);
    assert_eq!(
        ran.stdout.lines().take(3).collect::<Vec<_>>(),
        [
            "HTTP/1.1 200 OK",
            "ratelimit-limit: 240;w=3600",
            "ratelimit-remaining: 7"
        ]
    );
    assert!(
        ran.stderr
            .starts_with("note: x-toggl-quota-resets-in: \"soon\""),
        "{}",
        ran.stderr
    );
}

/// `--now` beats the recording's own word, and then no clock is read.
#[test]
fn the_moment_is_an_argument() {
    let input = "# now: 2026-11-21T12:00:00Z\nHTTP/1.1 200 OK\nX-RateLimit-Remaining: 1\nX-RateLimit-Reset: 1795262430\n\n";
    for (arguments, reset) in [
        (vec![], "ratelimit-reset: 30\n"),
        (
            vec!["--now", "2026-11-21T12:00:20Z"],
            "ratelimit-reset: 10\n",
        ),
        (
            vec!["--now", "2026-11-21T12:01:00Z"],
            "ratelimit-reset: 0\n",
        ),
    ] {
        let ran = run(
            &[&["translate", "generic"], arguments.as_slice()].concat(),
            input,
        );
        assert!(ran.stdout.contains(reset), "{arguments:?}: {}", ran.stdout);
    }
}

/// Every draft, and the forms before them: the limit header, what is left, when it resets.
#[test]
fn generic_reads_every_draft() {
    for (name, lines, expected) in [
        (
            "draft 3",
            "RateLimit-Limit: 100, 100;w=60\nRateLimit-Remaining: 50\nRateLimit-Reset: 30",
            ["100;w=60", "50", "30"],
        ),
        (
            "draft 6",
            "RateLimit-Limit: 100\nRateLimit-Policy: 100;w=60\nRateLimit-Remaining: 50\nRateLimit-Reset: 30",
            ["100;w=60", "50", "30"],
        ),
        (
            "draft 7",
            "RateLimit: limit=100, remaining=50, reset=30\nRateLimit-Policy: 100;w=60",
            ["100;w=60", "50", "30"],
        ),
        (
            "draft 3 with comments",
            "RateLimit-Limit: 100, 100;w=60;comment=\"sliding window\", 5000;w=3600;comment=\"fixed window\"\nRateLimit-Remaining: 50\nRateLimit-Reset: 30",
            ["100;w=60, 5000;w=3600", "50", "30"],
        ),
        (
            "draft 6 with two policies, the second of which counts",
            "RateLimit-Limit: 5000\nRateLimit-Policy: 100;w=60, 5000;w=3600\nRateLimit-Remaining: 50\nRateLimit-Reset: 30",
            ["5000;w=3600, 100;w=60", "50", "30"],
        ),
        (
            "draft 7 with two policies",
            "RateLimit: limit=10, remaining=5, reset=1\nRateLimit-Policy: 10;w=1, 1000;w=86400",
            ["10;w=1, 1000;w=86400", "5", "1"],
        ),
        (
            "draft 11",
            "RateLimit-Policy: \"a\";q=100;w=60, \"b\";q=900;w=86400\nRateLimit: \"a\";r=50;t=30, \"b\";r=70;t=600",
            ["100;w=60, 900;w=86400", "50", "30"],
        ),
        (
            "polli",
            "RateLimit-Limit: 10, 10;w=1, 50;w=60, 1000;w=3600\nRateLimit-Remaining: 9\nRateLimit-Reset: 1",
            ["10;w=1, 50;w=60, 1000;w=3600", "9", "1"],
        ),
        (
            "epoch",
            "X-RateLimit-Limit: 60\nX-RateLimit-Remaining: 59\nX-RateLimit-Reset: 1795262430",
            ["60", "59", "30"],
        ),
        (
            "epoch in milliseconds",
            "X-RateLimit-Limit: 60\nX-RateLimit-Remaining: 59\nX-RateLimit-Reset: 1795262429001",
            ["60", "59", "30"],
        ),
        (
            "delta",
            "X-RateLimit-Limit: 60\nX-RateLimit-Remaining: 59\nX-RateLimit-Reset: 29.2",
            ["60", "59", "30"],
        ),
        (
            "date",
            "X-Rate-Limit-Limit: 60\nX-Rate-Limit-Remaining: 59\nX-Rate-Limit-Reset: 2026-11-21T12:00:30Z",
            ["60", "59", "30"],
        ),
    ] {
        let ran = run(
            &[
                "translate",
                "generic",
                "--now",
                "2026-11-21T12:00:00Z",
                "--json",
            ],
            &format!("HTTP/1.1 200 OK\n{lines}\n\n"),
        );
        let found: Value = serde_json::from_str(&ran.stdout).unwrap();
        let headers = &found["headers"];
        for (header, expected) in ["ratelimit-limit", "ratelimit-remaining", "ratelimit-reset"]
            .iter()
            .zip(expected)
        {
            assert_eq!(headers[*header], expected, "{name}: {header} in {found:#}");
        }
        let guessed = found["notes"]
            .as_array()
            .unwrap()
            .iter()
            .any(|note| note.as_str().unwrap().contains("was taken for"));
        assert_eq!(
            guessed,
            name.starts_with("epoch") || name == "delta",
            "{name}: {found:#}"
        );
    }
}

#[test]
fn a_time_to_wait_in_any_form_is_whole_seconds() {
    for (line, expected) in [
        ("Retry-After: 7", "7"),
        ("Retry-After: 6.2", "7"),
        ("Retry-After: Sat, 21 Nov 2026 12:00:07 GMT", "7"),
        ("Retry-After: 2026-11-21T12:00:07Z", "7"),
        ("Retry-After: 0", "1"),
    ] {
        let ran = run(
            &["translate", "generic", "--now", "2026-11-21T12:00:00Z"],
            &format!("HTTP/1.1 429 Too Many Requests\n{line}\n\n"),
        );
        assert!(
            ran.stdout.contains(&format!("\nretry-after: {expected}\n")),
            "{line}: {}",
            ran.stdout
        );
    }
}

/// Two policies never go by one name: who reads `binding` must know which it is.
#[test]
fn names_of_policies_are_unique() {
    let ran = run(
        &[
            "translate",
            "linear",
            "--json",
            "--now",
            "2026-11-21T12:00:00Z",
        ],
        "HTTP/1.1 200 OK\nX-RateLimit-Requests-Limit: 2500\nX-RateLimit-Requests-Remaining: 9\nX-RateLimit-Requests-Reset: 1795264800000\nX-RateLimit-Endpoint-Name: requests\nX-RateLimit-Endpoint-Requests-Limit: 20\nX-RateLimit-Endpoint-Requests-Remaining: 5\nX-RateLimit-Endpoint-Requests-Reset: 1795264800000\n\n",
    );
    let found: Value = serde_json::from_str(&ran.stdout).unwrap();
    let names: Vec<&str> = found["limits"]
        .as_array()
        .unwrap()
        .iter()
        .map(|limit| limit["policy"].as_str().unwrap())
        .collect();
    let unique: std::collections::BTreeSet<_> = names.iter().collect();
    assert!(names.len() >= 2, "{names:?}");
    assert_eq!(unique.len(), names.len(), "{names:?}");
}

/// A provider's 429 that asks for no wait would be tried again at once, for ever.
#[test]
fn a_429_asks_for_a_second_at_least() {
    for provider in ["hubspot", "github", "toggl", "slack", "generic"] {
        let ran = run(
            &[
                "translate",
                provider,
                "--json",
                "--now",
                "2026-11-21T12:00:00Z",
            ],
            "HTTP/1.1 429 Too Many Requests\nRetry-After: 0\n\n",
        );
        let found: Value = serde_json::from_str(&ran.stdout).unwrap();
        assert_eq!(found["retry_after"], 1, "{provider}");
    }
}

/// However far away, a date is answered as whole seconds.
#[test]
fn a_far_date_to_wait_for_becomes_seconds() {
    let ran = run(
        &[
            "translate",
            "slack",
            "--json",
            "--now",
            "2026-11-21T12:00:00Z",
        ],
        "HTTP/1.1 503 Service Unavailable\nRetry-After: Tue, 18 Nov 2036 21:20:38 GMT\n\n",
    );
    let found: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(found["headers"]["retry-after"], "315393638");
}

#[test]
fn check_tells_place_and_exit_code() {
    let folder = tempfile::tempdir().unwrap();
    let check = |paths: &[&str]| run_in(folder.path(), &[&["check"], paths].concat(), b"");
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write(
        "good.toml",
        "name = \"Good\"\ndocs = \"https://example.com\"\n[policy.daily]\nremaining = \"X-Left\"\n",
    );
    write(
        "bad.toml",
        "name = \"Bad\"\ndocs = \"https://example.com\"\n[policy.daily]\nremaning = \"X-Left\"\nwindow = \"1 day\"\n",
    );
    write("headroom.toml", "listn = \"127.0.0.1:8080\"\n");

    let good = check(&["good.toml"]);
    assert_eq!((good.code, good.stderr.as_str()), (0, ""));
    let bad = check(&["good.toml", "bad.toml"]);
    assert_eq!(bad.code, 1);
    for shown in ["bad.toml:4:1", "did you mean `remaining`?", "bad.toml:5:10"] {
        assert!(bad.stdout.contains(shown), "{shown}: {}", bad.stdout);
    }
    assert!(bad.stderr.contains("2 mistakes found"), "{}", bad.stderr);
    assert!(!bad.stdout.contains('\x1b'), "no colours into a pipe");
    // Without a name, the configuration of this folder.
    let config = check(&[]);
    assert_eq!(config.code, 1);
    assert!(
        config.stdout.contains("headroom.toml:1:1"),
        "{}",
        config.stdout
    );
    assert!(
        config.stdout.contains("did you mean `listen`?"),
        "{}",
        config.stdout
    );
    // A configuration is one by any key that only configurations have, whatever the file is called and wherever it breaks off.
    for text in [
        "[history]\nmax_age = 1\n",
        "[telemetry]\nx = 1\n",
        "[[webhooks]]\nurl = 1\n",
        "[warnings]\nx = 1\n",
        "ca_file = 1\n",
        "via = 1\n",
        "[[webhooks]\n",
        "[connection.crm]\n",
        "max_wait = \"2m\n",
    ] {
        write("mine.toml", text);
        let mine = check(&["mine.toml"]);
        assert_eq!(mine.code, 1, "{text}");
        let is_adapter = mine.stdout.contains("docs");
        assert!(!is_adapter, "{text}: {}", mine.stdout);
    }
    // What cannot be read is another matter, and the mistakes of the others are told all the same.
    let missing = check(&["missing.toml", "bad.toml"]);
    assert_eq!(missing.code, 2);
    assert!(
        missing.stderr.contains("cannot read missing.toml"),
        "{}",
        missing.stderr
    );
    assert!(
        missing.stdout.contains("bad.toml:4:1"),
        "{}",
        missing.stdout
    );
    std::fs::write(folder.path().join("binary.toml"), b"\xff\xfe\x00").unwrap();
    assert_eq!(check(&["binary.toml"]).code, 2);
    let nothing = run(&["check"], "");
    assert_eq!(nothing.code, 2, "{}", nothing.stderr);
    let shipped = run_in(repository(), &["check", "providers"], b"");
    assert_eq!(shipped.code, 0, "{}", shipped.stderr);
}

#[test]
fn an_unknown_provider_names_the_closest() {
    for arguments in [
        ["translate", "togl"].as_slice(),
        ["providers", "togl"].as_slice(),
        ["simulate", "togl"].as_slice(),
    ] {
        let ran = run(arguments, "HTTP/1.1 200 OK\n\n");
        assert_eq!((ran.code, ran.stdout.as_str()), (2, ""), "{arguments:?}");
        assert!(
            ran.stderr.contains("Did you mean `toggl`?"),
            "{}",
            ran.stderr
        );
    }
    let plan = run(
        &["translate", "toggl", "--plan", "startr"],
        "HTTP/1.1 200 OK\n\n",
    );
    assert_eq!(plan.code, 2);
    assert!(plan.stderr.contains("`starter`"), "{}", plan.stderr);
}

#[test]
fn a_fault_that_is_none_names_those_that_are() {
    for (fault, told) in [
        (
            "lat",
            "there is no fault `lat`; there are late, drop, reorder, lie, mute, others. Did you mean `late`?",
        ),
        (
            "late,drop=2s",
            "drop=2s: write how often it happens, as in drop=10%",
        ),
        ("lie=200%", "lie=200%: `200%` is not between 0% and 100%"),
    ] {
        let ran = run(&["simulate", "toggl", "--fault", fault], "");
        assert_eq!((ran.code, ran.stdout.as_str()), (2, ""), "{fault}");
        assert_eq!(ran.stderr.trim_end(), format!("headroom: --fault {told}"));
    }
}

/// The way of somebody who adds a provider.
#[test]
fn a_new_adapter_can_be_checked_and_tried_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str], input: &[u8]| run_in(folder.path(), arguments, input);
    let new = run(&["new", "my-provider"], b"");
    assert_eq!(new.code, 0, "{}", new.stderr);
    assert_eq!(run(&["check"], b"").code, 0);
    assert_eq!(run(&["check", "providers/my-provider.toml"], b"").code, 0);
    let case = std::fs::read(
        folder
            .path()
            .join("snapshots/my-provider/with-quota-left.http"),
    )
    .unwrap();
    let ran = run(
        &["translate", "--providers", "providers", "my-provider"],
        &case,
    );
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
    assert!(
        ran.stdout
            .contains("ratelimit-limit: 1000;w=3600\nratelimit-remaining: 999\n"),
        "{}",
        ran.stdout
    );
    let mut by_environment = headroom(folder.path(), &["providers", "my-provider"]);
    by_environment.env("HEADROOM_PROVIDERS", "providers");
    assert_eq!(Ran::from(by_environment.output().unwrap()).code, 0);
    let again = run(&["new", "my-provider"], b"");
    assert_eq!(again.code, 2);
    assert!(
        again.stderr.contains("nothing was written"),
        "{}",
        again.stderr
    );
    for id in ["My Provider", "../up", "", "-x"] {
        let ran = run(&["new", "--", id], b"");
        assert_eq!(ran.code, 2, "{id}");
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2);
}

/// A commented-out line of the template is a key of the language with its comment; each can be uncommented.
#[test]
fn a_new_adapter_explains_every_key() {
    let folder = tempfile::tempdir().unwrap();
    run_in(folder.path(), &["new", "some"], b"");
    let text = std::fs::read_to_string(folder.path().join("providers/some.toml")).unwrap();
    for shape in [
        &headroom::adapter::language::ADAPTER,
        &headroom::adapter::language::POLICY,
        &headroom::adapter::language::READING,
        &headroom::adapter::language::READ,
        &headroom::adapter::language::EXHAUSTED,
        &headroom::adapter::language::REFUSAL,
    ] {
        // These four are sections of their own.
        let sections = ["policy", "exhausted", "uncounted", "refusal"];
        let keys = shape
            .keys
            .iter()
            .filter(|key| !sections.contains(&key.name) || shape.title != "an adapter");
        for key in keys {
            assert!(text.contains(key.doc), "`{}` of {}", key.name, shape.title);
        }
    }
}

#[test]
fn a_missing_folder_of_adapters_is_an_error_before_the_port_opens() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let folder = tempfile::tempdir().unwrap();
    for arguments in [
        ["serve", "--listen", &address, "--providers", "nowhere"].as_slice(),
        &["translate", "toggl", "--providers", "nowhere"],
        &["providers", "--providers", "nowhere"],
    ] {
        let ran = run_in(folder.path(), arguments, b"HTTP/1.1 200 OK\n\n");
        assert_eq!(ran.code, 2, "{arguments:?}: {}", ran.stderr);
        // The port is taken: had it been asked for, that would be the complaint.
        assert!(
            ran.stderr
                .contains("cannot read the folder of adapters nowhere"),
            "{}",
            ran.stderr
        );
    }
    std::fs::create_dir(folder.path().join("mine")).unwrap();
    std::fs::write(folder.path().join("mine/bad.toml"), "nam = 1\n").unwrap();
    let ran = run_in(
        folder.path(),
        &["serve", "--listen", &address, "--providers", "mine"],
        b"",
    );
    assert_eq!(ran.code, 1);
    assert!(ran.stderr.contains("mine/bad.toml:1:1"), "{}", ran.stderr);
    std::fs::remove_file(folder.path().join("mine/bad.toml")).unwrap();
    let ran = run_in(
        folder.path(),
        &["serve", "--listen", &address, "--providers", "mine"],
        b"",
    );
    assert_eq!(ran.code, 2);
    assert!(ran.stderr.contains("cannot listen"), "{}", ran.stderr);
    let ran = run_in(folder.path(), &["serve", "--config", "nowhere.toml"], b"");
    assert_eq!(ran.code, 2);
}

#[test]
fn the_catalogue_is_listed_whole() {
    let list = run(&["providers"], "");
    let json = run(&["providers", "--json"], "");
    assert_eq!((list.code, json.code), (0, 0));
    let found: Value = serde_json::from_str(&json.stdout).unwrap();
    let ids: Vec<&str> = found
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["id"].as_str().unwrap())
        .collect();
    let shipped: Vec<&str> = headroom::adapter::catalog::shipped()
        .iter()
        .map(|(id, _)| *id)
        .collect();
    assert_eq!(ids, shipped);
    assert_eq!(list.stdout.lines().count(), shipped.len());
    for (line, id) in list.stdout.lines().zip(&shipped) {
        assert!(line.starts_with(id), "{line}");
    }
    let one = run(&["providers", "toggl"], "");
    assert!(one.stdout.contains("240 (starter)"), "{}", one.stdout);
    assert!(one.stdout.contains("https://"), "{}", one.stdout);
}

#[test]
fn arguments_that_mean_nothing_are_explained() {
    for arguments in [
        ["serv"].as_slice(),
        &["translate"],
        &["translate", "toggl", "--now", "soon"],
        &["providers", "--jsn"],
    ] {
        let ran = run(arguments, "");
        assert_eq!((ran.code, ran.stdout.as_str()), (2, ""), "{arguments:?}");
        assert!(!ran.stderr.is_empty());
    }
}
