//! What `headroom serve` refuses, `headroom check` finds.

use std::fs;
use std::path::Path;

use tempfile::TempDir;

use crate::support::program::{Program, headroom};

/// What a command tells of `headroom.toml`, and its exit code.
fn told(folder: &Path, command: &str) -> (String, Option<i32>) {
    match command {
        "check" => told_with(folder, &[command, "headroom.toml"], &[]),
        _ => told_with(folder, &[command, "--listen", "127.0.0.1:0"], &[]),
    }
}

/// The same with these arguments and variables.
fn told_with(
    folder: &Path,
    arguments: &[&str],
    variables: &[(&str, &str)],
) -> (String, Option<i32>) {
    let mut program = headroom(folder);
    program.args(arguments).envs(variables.iter().copied());
    let output = program.output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (String::from_utf8(text).unwrap(), output.status.code())
}

/// A folder with this configuration, and files that it may name.
fn folder(config: &str) -> TempDir {
    let pem = |name: &str| fs::read_to_string(format!("tests/support/tls/{name}")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    for (name, text) in [
        ("cert.pem", pem("server.pem")),
        ("key.pem", pem("server.key")),
        ("other.pem", pem("other.key")),
        ("expired.pem", pem("expired.pem")),
        ("empty.pem", String::new()),
        ("broken.pem", broken.to_owned()),
        ("headroom.toml", format!("{config}\n")),
        ("bad/acme.toml", "nonsense".to_owned()),
    ] {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    folder
}

#[test]
fn a_file_that_is_refused_is_found_by_the_check() {
    for (config, expected) in [
        ("listen = \"nowhere\"", "bad-address"),
        ("ca_file = \"absent.pem\"", "bad-certificate"),
        ("ca_file = \"empty.pem\"", "bad-certificate"),
        ("via = \"a b\"", "bad-pseudonym"),
        ("[telemetry]\notlp_endpoint = \"nowhere\"", "bad-url"),
        ("[tls]\ncertificate = \"cert.pem\"", "missing-key"),
        (
            "[tls]\ncertificate = \"absent.pem\"\nkey = \"key.pem\"",
            "the file cannot be read",
        ),
        (
            "[tls]\ncertificate = \"empty.pem\"\nkey = \"key.pem\"",
            "there is no certificate in it",
        ),
        (
            "[tls]\ncertificate = \"cert.pem\"\nkey = \"other.pem\"",
            "it is the key of another certificate",
        ),
        (
            "[tls]\ncertificate = \"cert.pem\"\nkey = \"file:key.pem\"",
            "the path of a file stands here",
        ),
        ("[connections.nobody]\n", "unknown-provider"),
        ("state_dir = \"\"", "no-state-dir"),
        ("[limits]\nhead_timeout = \"soon\"", "bad-duration"),
        ("[limits]\ndrain_delay = \"25h\"", "bad-duration"),
        (
            "ca_file = \"broken.pem\"",
            "certificate 1 in it cannot be read",
        ),
        ("providers = [\"bad\"]", "error[syntax]"),
        ("providers = [\"absent\"]", "cannot read the folder"),
        (
            "[connections.github]\nclient_certificate = \"cert.pem\"",
            "`client_certificate` is there without `client_key`",
        ),
        (
            "[connections.github]\nclient_certificate = \"cert.pem\"\nclient_key = \"other.pem\"",
            "it is the key of another certificate",
        ),
        (
            "[connections.github]\nbase_url = \"HTTP://127.0.0.1:1\"\nclient_certificate = \"cert.pem\"\nclient_key = \"key.pem\"",
            "over http nobody asks for a certificate",
        ),
        (
            "[connections.github]\ncredential = \"file:absent\"",
            "cannot read the file absent",
        ),
        (
            "[connections.github]\ncredential = \"${HEADROOM_ABSENT}\"",
            "the environment has no variable HEADROOM_ABSENT",
        ),
    ] {
        let folder = folder(config);
        let [check, serve] = ["check", "serve"].map(|command| told(folder.path(), command));
        for (text, code) in [&check, &serve] {
            let expected_code = if expected.starts_with("cannot read the folder") {
                2
            } else {
                1
            };
            assert_eq!(*code, Some(expected_code), "{config}: {text}");
            assert!(text.contains(expected), "{config}: {text}");
            assert!(!text.contains("PRIVATE KEY"), "{text}");
        }
        assert!(check.0.contains(serve.0.trim()), "{} {}", check.0, serve.0);
    }
}

#[test]
fn what_is_said_outside_of_the_file_is_checked_too() {
    let none: &[(&str, &str)] = &[];
    for (arguments, variables, expected, code) in [
        (
            &["--ca-file", "absent.pem"][..],
            none,
            "cannot read absent.pem",
            2,
        ),
        (
            &["--ca-file", "empty.pem"],
            none,
            "there is no certificate in it",
            2,
        ),
        (
            &[],
            &[("HEADROOM_CA_FILE", "broken.pem")],
            "certificate 1 in it cannot be read",
            2,
        ),
        (&["--otlp-endpoint", "nowhere"], none, "headroom: ", 2),
        (
            &[],
            &[("HEADROOM_OTLP_ENDPOINT", "nowhere")],
            "headroom: ",
            2,
        ),
        (
            &[],
            &[("OTEL_EXPORTER_OTLP_ENDPOINT", "nowhere")],
            "headroom: ",
            2,
        ),
        (&["--listen", "0.0.0.0:1"], none, "make keys", 1),
        (&[], &[("HEADROOM_LISTEN", "[::]:1")], "make keys", 1),
        (&["--providers", "absent"], none, "folder of adapters", 2),
        (&["--providers", "bad"], none, "error[syntax]", 1),
        (
            &["--config", "absent.toml"],
            none,
            "cannot read absent.toml",
            2,
        ),
        (&[], &[("HEADROOM_CONFIG", "absent.toml")], "absent.toml", 2),
    ] {
        let folder = folder("");
        let tell = |command: &str| {
            let arguments = [&[command], arguments].concat();
            told_with(folder.path(), &arguments, variables)
        };
        let [check, serve] = ["check", "serve"].map(tell);
        let context = format!("{arguments:?} {variables:?}: {check:?} {serve:?}");
        assert_eq!([check.1, serve.1], [Some(code); 2], "{context}");
        assert!(serve.0.contains(expected), "{context}");
        assert!(check.0.contains(serve.0.trim()), "{context}");
    }
}

/// What a gateway starts with all the same, and both say.
#[test]
fn what_does_not_keep_it_from_starting_is_told() {
    let expired = "[tls]\ncertificate = \"expired.pem\"\nkey = \"key.pem\"\n";
    let client =
        "[connections.github]\nclient_certificate = \"expired.pem\"\nclient_key = \"key.pem\"\n";
    for (config, state, expected) in [
        (
            expired,
            "state",
            "[tls]: the certificate expired on 2021-01-01T00:00:00Z",
        ),
        (
            client,
            "state",
            "[connections.github]: the certificate expired on 2021-01-01T00:00:00Z",
        ),
        ("", "key.pem/state", "key.pem/state"),
    ] {
        let folder = folder(config);
        let arguments = ["--state-dir", state];
        let (text, code) = told_with(folder.path(), &[&["check"], &arguments[..]].concat(), &[]);
        assert_eq!(code, Some(0), "{text}");
        let warnings = text.lines().filter(|line| line.starts_with("warning: "));
        let warnings: Vec<_> = warnings.collect();
        assert!(
            matches!(warnings[..], [one] if one.contains(expected)),
            "{text}"
        );
        // It has looked, and made nothing.
        assert!(!folder.path().join(state).exists());
        let program = Program::with(folder.path(), config, &arguments);
        program.wait_for_line(expected);
    }
    let folder = folder("");
    // A file that a newer headroom has left, with its log and without.
    let state = folder.path().join("state");
    std::fs::create_dir(&state).unwrap();
    let newer = rusqlite::Connection::open(state.join("headroom.db")).unwrap();
    newer.pragma_update(None, "journal_mode", "wal").unwrap();
    newer.pragma_update(None, "user_version", 999).unwrap();
    let mut newer = Some(newer);
    for _ in 0..2 {
        let arguments = ["--state-dir", "state"];
        let (text, code) = told_with(folder.path(), &[&["check"], &arguments[..]].concat(), &[]);
        let expected = "is of a newer headroom (version 999, ";
        assert_eq!(code, Some(0), "{text}");
        assert!(text.contains(expected), "{text}");
        assert!(
            text.starts_with("warning: ") || text.contains("\nwarning: "),
            "{text}"
        );
        assert_eq!(state.join("headroom.db-wal").exists(), newer.is_some());
        let program = Program::with(folder.path(), "", &arguments);
        program.wait_for_line(expected);
        newer = None;
    }
    let (text, code) = told_with(folder.path(), &["check", "--state-dir", "a/b"], &[]);
    assert_eq!((&*text, code), ("1 file, no mistakes\n", Some(0)));
}
