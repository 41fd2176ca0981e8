//! Nobody opens headroom to a network by accident.

use super::run_in;
use crate::support::program::{Program, headroom};

const CONSUMER: &str = "[consumers.reports]\nkey_hash = \"0000000000000000000000000000000000000000000000000000000000000000\"\n";

/// Starts it and gives what it says before it ends by itself.
fn serve(folder: &std::path::Path, arguments: &[&str]) -> (i32, String) {
    let output = headroom(folder)
        .arg("serve")
        .args(arguments)
        .output()
        .unwrap();
    (
        output.status.code().unwrap(),
        String::from_utf8(output.stderr).unwrap(),
    )
}

#[test]
fn an_address_that_others_reach_is_refused_without_consumers() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("headroom.toml");
    for address in ["0.0.0.0:0", "[::]:0", "192.0.2.7:0"] {
        // On the command line.
        let (code, told) = serve(folder.path(), &["--listen", address]);
        assert_eq!(code, 1, "{told}");
        for words in [
            address,
            "no consumers",
            "headroom key new NAME",
            "--open-to-all",
        ] {
            assert!(told.contains(words), "{told}");
        }
    }
    for config in [
        "listen = \"0.0.0.0:0\"\n",
        "[connections.crm]\nprovider = \"hubspot\"\nlisten = \"[::]:0\"\n",
        "listen = \"0.0.0.0:0\"\nopen_to_all = false\n",
    ] {
        std::fs::write(&file, config).unwrap();
        let checked = run_in(folder.path(), &["check"], b"");
        assert_eq!(checked.code, 1, "{config}");
        assert!(
            checked.stdout.contains("open_to_all = true"),
            "{}",
            checked.stdout
        );
        let (code, told) = serve(folder.path(), &[]);
        assert_eq!(code, 1, "{told}");
        assert!(told.contains("open_to_all = true"), "{told}");
        let allowed = [
            (
                format!(
                    "open_to_all = true\n{}",
                    config.replace("open_to_all = false\n", "")
                ),
                &["check"][..],
            ),
            (format!("{config}{CONSUMER}"), &["check"]),
            (config.to_owned(), &["check", "--open-to-all"]),
        ];
        for (config, arguments) in allowed {
            std::fs::write(&file, &config).unwrap();
            let checked = run_in(folder.path(), arguments, b"");
            assert_eq!(
                checked.code, 0,
                "{config}: {}{}",
                checked.stdout, checked.stderr
            );
        }
    }
}

#[tokio::test]
async fn what_is_said_twice_holds() {
    let folder = tempfile::tempdir().unwrap();
    for (config, arguments) in [
        ("", &["--listen", "0.0.0.0:0", "--open-to-all"][..]),
        ("open_to_all = true\n", &["--listen", "0.0.0.0:0"]),
        (CONSUMER, &["--listen", "0.0.0.0:0"]),
        // The command line goes before the file.
        ("listen = \"0.0.0.0:0\"\n", &["--listen", "127.0.0.1:0"]),
    ] {
        let folder = folder.path();
        let program = Program::with_listen(folder, config, arguments);
        drop(program);
    }
}

/// A reload that would leave headroom open keeps what runs.
#[tokio::test]
async fn a_reload_does_not_open_what_was_closed() {
    let folder = tempfile::tempdir().unwrap();
    let program = Program::with_listen(folder.path(), CONSUMER, &["--listen", "0.0.0.0:0"]);
    let port = program.address().port();
    let address = std::net::SocketAddr::from(([127, 0, 0, 1], port));
    // Who answers looks at the files, too.
    crate::support::program::get(address, "/-/healthz", "").await;
    std::fs::write(
        folder.path().join("headroom.toml"),
        "listen = \"127.0.0.1:1\"\n",
    )
    .unwrap();
    let hangup = std::process::Command::new("kill")
        .args(["-HUP", &program.id().to_string()])
        .status();
    assert!(hangup.unwrap().success());
    program.wait_for_line("no consumers");
    let answer = crate::support::program::get(address, "/toggl/", "").await;
    assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
}
