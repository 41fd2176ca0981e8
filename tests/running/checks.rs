//! What `headroom serve` refuses, `headroom check` finds.

use std::fs;
use std::path::Path;

use crate::support::program::headroom;

/// What a command tells of `headroom.toml`, and its exit code.
fn told(folder: &Path, command: &str) -> (String, Option<i32>) {
    let mut program = headroom(folder);
    match command {
        "check" => program.args([command, "headroom.toml"]),
        _ => program.args([command, "--listen", "127.0.0.1:0"]),
    };
    let output = program.output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (String::from_utf8(text).unwrap(), output.status.code())
}

#[test]
fn a_file_that_is_refused_is_found_by_the_check() {
    let pem = |name: &str| fs::read_to_string(format!("tests/support/tls/{name}")).unwrap();
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
    ] {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in [
            ("cert.pem", pem("server.pem")),
            ("key.pem", pem("server.key")),
            ("other.pem", pem("other.key")),
            ("empty.pem", String::new()),
            ("headroom.toml", format!("{config}\n")),
        ] {
            fs::write(folder.path().join(name), text).unwrap();
        }
        for command in ["check", "serve"] {
            let (text, code) = told(folder.path(), command);
            assert_eq!(code, Some(1), "{command} {config}: {text}");
            assert!(text.contains(expected), "{command} {config}: {text}");
            assert!(!text.contains("PRIVATE KEY"), "{text}");
        }
    }
}
