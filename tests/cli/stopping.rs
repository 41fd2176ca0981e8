//! Signals to `headroom serve`.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command};

use super::headroom;

fn terminate(child: &Child) {
    let sent = Command::new("kill")
        .args(["-TERM", &child.id().to_string()])
        .status();
    assert!(sent.unwrap().success());
}

#[test]
fn a_second_signal_does_not_wait_for_the_calls_in_flight() {
    let folder = tempfile::tempdir().unwrap();
    // It takes a call and never answers.
    let provider = TcpListener::bind("127.0.0.1:0").unwrap();
    let base_url = format!("http://{}", provider.local_addr().unwrap());
    std::fs::write(
        folder.path().join("headroom.toml"),
        format!("[connections.t]\nprovider = \"toggl\"\nbase_url = \"{base_url}\"\n"),
    )
    .unwrap();
    let mut child = headroom(folder.path(), &["serve", "--listen", "127.0.0.1:0"])
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let mut line_with = |words: &str| {
        lines
            .by_ref()
            .map(Result::unwrap)
            .find(|line| line.contains(words))
            .unwrap_or_else(|| panic!("no line with {words:?}"))
    };
    let listens = line_with("http://");
    let address = listens.split("http://").nth(1).unwrap();
    let address = address.split_whitespace().next().unwrap();
    let mut caller = TcpStream::connect(address).unwrap();
    caller
        .write_all(b"GET /t/ HTTP/1.1\r\nHost: a\r\n\r\n")
        .unwrap();
    let call = provider.accept().unwrap();

    terminate(&child);
    line_with("finishes the calls in flight");
    assert_eq!(child.try_wait().unwrap(), None);
    terminate(&child);
    line_with("are cut");
    assert!(child.wait().unwrap().success());
    drop(call);
}
