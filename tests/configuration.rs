//! What a configuration becomes: modes, waiting, reserves and consumers, with their defaults.

use std::time::Duration;

use headroom::adapter::catalog::Catalog;
use headroom::config::{self, Config, Outside, Reserve, Waiting};
use headroom::consumer::{hash_key, to_hex};
use headroom::emit::LimitStyle;
use headroom::history::Settings;
use headroom::limits::Limits;
use headroom::quota::{Mode, Share};

/// An environment with some variables and one file.
struct Environment;

impl Outside for Environment {
    fn variable(&self, name: &str) -> Option<String> {
        match name {
            "REPORTS_HASH" => Some(to_hex(&hash_key("reports"))),
            "MODE" => Some("wait".to_owned()),
            "NO_MODE" => Some("swordfish".to_owned()),
            _ => None,
        }
    }

    fn file(&self, path: &str) -> Result<String, String> {
        (path == "billing.hash")
            .then(|| format!("{}\n", to_hex(&hash_key("billing"))))
            .ok_or_else(|| "there is no such file".to_owned())
    }
}

fn read(source: &str) -> Config {
    let (config, mut mistakes) = config::parse(source, &Environment);
    mistakes.append(config.check(&Catalog::default()));
    assert!(
        mistakes.is_empty(),
        "{}",
        mistakes.render("headroom.toml", source, false)
    );
    config
}

#[test]
fn everything_has_a_default() {
    let config = read("[connections.toggl]\n");
    assert_eq!(config.state_dir, None);
    assert_eq!(config.count_block, 64);
    let waiting = Waiting {
        max_waiting: 1_000,
        max_wait: Duration::from_secs(60),
    };
    assert_eq!(config.waiting, waiting);
    assert!(config.consumers.is_empty());
    let [toggl] = config.connections.as_slice() else {
        panic!("{config:?}");
    };
    assert_eq!((toggl.modes.of("burst"), toggl.pace), (None, false));
    assert_eq!(toggl.waiting, waiting);
    assert_eq!(toggl.reserve, None);
    // Nothing written at all is the same.
    let empty = (Config::default(), read(""));
    assert_eq!(empty.0.count_block, empty.1.count_block);
    assert_eq!(empty.0.waiting, empty.1.waiting);
    assert_eq!(empty.1.history, Settings::default());
    assert_eq!(read("[history]\n").history, Settings::default());
}

#[test]
fn a_connection_goes_before_the_whole_file() {
    let config = read(
        r#"
        state_dir = "${HEADROOM_STATE:-state}"
        max_waiting = 50
        max_wait = "2m"
        count_block = 1

        [connections.crm]
        provider = "hubspot"
        mode = "wait"
        pace = true
        max_waiting = 0

        [connections.time]
        provider = "toggl"
        mode = { organization = "wait", burst = "observe" }
        max_wait = "10s"
        "#,
    );
    assert_eq!(config.state_dir.as_deref(), Some("state"));
    assert_eq!(config.count_block, 1);
    let [crm, time] = config.connections.as_slice() else {
        panic!("{config:?}");
    };
    assert_eq!(crm.modes.of("daily"), Some(Mode::Wait));
    assert!(crm.pace && !time.pace);
    assert_eq!(
        (crm.waiting.max_waiting, crm.waiting.max_wait.as_secs()),
        (0, 120)
    );
    assert_eq!(
        (time.waiting.max_waiting, time.waiting.max_wait.as_secs()),
        (50, 10)
    );
    assert_eq!(time.modes.of("organization"), Some(Mode::Wait));
    assert_eq!(time.modes.of("burst"), Some(Mode::Observe));
    assert_eq!(time.modes.of("user"), None);
}

/// What may only be one of some words may stand elsewhere as other text may.
#[test]
fn words_can_be_references() {
    let config = read(
        r#"
        headers = { limit = "${LIMIT:-plain}", structured = "${STRUCTURED:-off}" }
        connections.crm = { provider = "hubspot", mode = "${MODE}" }
        connections.time = { provider = "toggl", mode = { burst = "${MODE:-observe}" } }
        "#,
    );
    assert_eq!(config.style.limit, LimitStyle::Plain);
    assert!(!config.style.structured);
    let [crm, time] = config.connections.as_slice() else {
        panic!("{config:?}");
    };
    assert_eq!(crm.modes.of("daily"), Some(Mode::Wait));
    assert_eq!(time.modes.of("burst"), Some(Mode::Wait));
    for (mode, expected) in [
        ("${NO_MODE}", "`mode` cannot be \"${NO_MODE}\""),
        ("${NOTHING}", "the environment has no variable NOTHING"),
        ("${MODE", "has no end"),
    ] {
        let source = format!("[connections.crm]\nprovider = \"hubspot\"\nmode = \"{mode}\"\n");
        let (_, mistakes) = config::parse(&source, &Environment);
        assert_eq!(mistakes.len(), 1);
        let text = mistakes.render("headroom.toml", &source, false);
        assert!(text.contains(expected), "{text}");
        assert!(!text.contains("swordfish"), "{text}");
    }
}

#[test]
fn consumers_have_keys_shares_and_caps() {
    let config = read(
        r#"
        [connections.crm]
        provider = "hubspot"
        reserve = { share = "10%", consumers = ["billing"] }

        [consumers.reports]
        key_hash = "${REPORTS_HASH}"
        connections = ["crm", "toggl"]
        share = "30%"
        cap = { daily = 100, organization = 0 }

        [consumers.billing]
        key_hash = "file:billing.hash"
        share = "60%"
        "#,
    );
    let tenth = Share::from_percent("10%").unwrap();
    let reserve = Reserve {
        share: tenth,
        consumers: vec!["billing".to_owned()],
    };
    assert_eq!(config.connections[0].reserve, Some(reserve));
    let [reports, billing] = config.consumers.as_slice() else {
        panic!("{config:?}");
    };
    assert_eq!(reports.key_hash, hash_key("reports"));
    assert_eq!(billing.key_hash, hash_key("billing"));
    assert_eq!(reports.share.map(Share::millionths), Some(300_000));
    assert_eq!(
        reports.cap.iter().collect::<Vec<_>>(),
        [
            (&"daily".to_owned(), &100),
            (&"organization".to_owned(), &0)
        ]
    );
    for (consumer, connection, may) in [
        (reports, "crm", true),
        (reports, "toggl", true),
        (reports, "github", false),
        (billing, "github", true),
    ] {
        assert_eq!(consumer.may_use(connection), may, "{connection}");
    }
}

/// Consumers that do not meet share nothing.
#[test]
fn shares_add_up_by_connection() {
    let key = |text: &str| to_hex(&hash_key(text));
    let source = |third: &str| {
        format!(
            "[consumers.a]\nkey_hash = \"{}\"\nconnections = [\"toggl\"]\nshare = \"100%\"\n\
             [consumers.b]\nkey_hash = \"{}\"\nconnections = [\"github\"]\nshare = \"99.9999%\"\n\
             [consumers.c]\nkey_hash = \"{}\"\nconnections = [{third}]\nshare = \"0.0001%\"\n",
            key("a"),
            key("b"),
            key("c")
        )
    };
    read(&source("\"github\""));
    let (config, mut mistakes) = config::parse(&source("\"github\", \"toggl\""), &Environment);
    mistakes.append(config.check(&Catalog::default()));
    let codes: Vec<&str> = mistakes.sorted().iter().map(|one| one.code).collect();
    assert_eq!(codes, ["shares-exceed-whole"]);
}

#[test]
fn the_history_keeps_what_it_is_told_to() {
    let hours = |hours: u64| Duration::from_secs(hours * 3_600);
    let config = read(
        "[history]\nkeep_events = \"2h\"\nmax_events = 1\nkeep_minutes = \"26h\"\nkeep_hours = \"8d\"\n\
         keep_days = \"3660d\"\nmax_size = 16_777_216\n",
    );
    let told = Settings {
        keep_events: hours(2),
        max_events: 1,
        keep_minutes: hours(26),
        keep_hours: hours(8 * 24),
        keep_days: hours(3_660 * 24),
        max_bytes: 16 << 20,
    };
    assert_eq!(config.history, told);
    // What is the default may be written, and totals of all lengths may be kept as long.
    let written = "[history]\nkeep_events = \"24h\"\nmax_events = 1_000_000\nkeep_minutes = \"36h\"\n\
                   keep_hours = \"35d\"\nkeep_days = \"400d\"\nmax_size = 943_718_400\n";
    assert_eq!(read(written).history, Settings::default());
    read("[history]\nkeep_minutes = \"8d\"\nkeep_hours = \"8d\"\nkeep_days = \"8d\"\n");
    for (wrong, codes) in [
        ("keep_minutes = \"93599s\"", vec!["kept-too-short"]),
        ("keep_hours = \"191h\"", vec!["kept-too-short"]),
        ("keep_minutes = \"36d\"", vec!["kept-too-short"]),
        ("keep_days = \"34d\"", vec!["kept-too-short"]),
        ("keep_days = \"3661d\"", vec!["bad-duration"]),
        ("keep_events = \"0s\"", vec!["bad-duration"]),
        ("max_size = 16777215", vec!["number-out-of-range"]),
    ] {
        let (_, mistakes) = config::parse(&format!("[history]\n{wrong}\n"), &Environment);
        let found: Vec<&str> = mistakes.sorted().iter().map(|one| one.code).collect();
        assert_eq!(found, codes, "{wrong}");
    }
}

#[test]
fn limits_are_read_and_nonsense_is_refused() {
    let seconds = Duration::from_secs;
    let config = read(
        "[limits]\nheader_bytes = 8192\nheader_fields = 32\nbody_bytes = 1\nhead_timeout = \"1s\"\nbody_timeout = \"2s\"\n\
         send_timeout = \"3s\"\nidle_timeout = \"4s\"\nconnect_timeout = \"5s\"\nanswer_timeout = \"6s\"\n\
         silence_timeout = \"24h\"\nconcurrent_calls = 1000000\nconnections_per_origin = 1\ndrain_delay = \"0s\"\ndrain_timeout = \"1m\"\n",
    );
    let told = Limits {
        header_bytes: 8_192,
        header_fields: 32,
        body_bytes: Some(1),
        head_timeout: seconds(1),
        body_timeout: seconds(2),
        send_timeout: seconds(3),
        idle_timeout: seconds(4),
        connect_timeout: seconds(5),
        answer_timeout: seconds(6),
        silence_timeout: seconds(86_400),
        concurrent_calls: 1_000_000,
        connections_per_origin: 1,
        drain_delay: seconds(0),
        drain_timeout: seconds(60),
    };
    assert_eq!(config.limits, told);
    assert_eq!(read("").limits, Limits::default());
    // What the documentation says is the default may be written.
    let written = "[limits]\nheader_bytes = 65536\nheader_fields = 512\nhead_timeout = \"10s\"\nbody_timeout = \"30s\"\n\
                   send_timeout = \"60s\"\nidle_timeout = \"75s\"\nconnect_timeout = \"10s\"\nanswer_timeout = \"120s\"\n\
                   silence_timeout = \"300s\"\nconcurrent_calls = 10000\nconnections_per_origin = 1000\n\
                   drain_delay = \"0s\"\ndrain_timeout = \"30s\"\n";
    assert_eq!(read(written).limits, Limits::default());
    let range = "number-out-of-range";
    for (wrong, code) in [
        ("header_bytes = 0", range),
        ("header_bytes = 8191", range),
        ("header_bytes = 1048577", range),
        ("header_fields = 0", range),
        ("header_fields = 8193", range),
        ("body_bytes = 0", range),
        ("concurrent_calls = 0", range),
        ("concurrent_calls = 1000001", range),
        ("connections_per_origin = 0", range),
        ("connections_per_origin = 60001", range),
        ("head_timeout = \"0s\"", "bad-duration"),
        ("idle_timeout = \"25h\"", "bad-duration"),
        ("answer_timeout = \"soon\"", "bad-duration"),
        ("drain_timeout = 5", "wrong-type"),
        ("patience = \"5s\"", "unknown-key"),
    ] {
        let (_, mistakes) = config::parse(&format!("[limits]\n{wrong}\n"), &Environment);
        let found: Vec<&str> = mistakes.sorted().iter().map(|one| one.code).collect();
        assert_eq!(found, [code], "{wrong}");
    }
}
