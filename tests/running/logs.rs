//! Logs for machines: `--log-format json`.

use serde_json::Value;

use crate::exchange::{OK, status};
use crate::running::tls::POLICY;
use crate::support::program::{Program, headroom, stub};
use crate::support::upstream::Upstream;

#[tokio::test]
async fn each_line_of_a_log_in_json_is_one_object() {
    let upstream = Upstream::answering(OK).await;
    let (folder, config) = stub(&upstream, POLICY, "");
    let mut command = headroom(folder.path());
    command.args(["serve", "--listen", "127.0.0.1:0", "--log-format", "json"]);
    command.env("HEADROOM_LOG", "headroom=debug");
    let program = Program::launch(command, folder.path(), &config);
    let answer = program.get("/stub/", "").await;
    assert_eq!(status(&answer), 200, "{answer}");
    let answer = program.get("/nobody/", "").await;
    assert_eq!(status(&answer), 404, "{answer}");
    program.wait_for_line("unknown-connection");
    let lines = program.wait_for(|lines| Some(lines.to_vec()));
    let lines: Vec<Value> = lines
        .iter()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect();
    for line in &lines {
        let keys: Vec<_> = line.as_object().unwrap().keys().take(4).collect();
        assert_eq!(keys, ["time", "level", "target", "message"], "{line}");
        line["time"]
            .as_str()
            .unwrap()
            .parse::<jiff::Timestamp>()
            .unwrap();
    }
    let told = |message: &str| {
        let found = lines.iter().find(|line| line["message"] == message);
        found.unwrap_or_else(|| panic!("{message}: {lines:#?}"))
    };
    let call = told("A call was answered.");
    assert_eq!(call["level"], "DEBUG");
    assert_eq!(call["connection"], "stub");
    assert_eq!(call["upstream.status"], 200);
}

#[tokio::test]
async fn the_lines_of_a_call_have_its_name() {
    let upstream = Upstream::answering(OK).await;
    let (folder, config) = stub(&upstream, POLICY, "");
    for format in ["text", "json"] {
        let mut command = headroom(folder.path());
        command.args(["serve", "--listen", "127.0.0.1:0"]);
        command.env("HEADROOM_LOG", "headroom=debug");
        command.env("HEADROOM_LOG_FORMAT", format);
        let program = Program::launch(command, folder.path(), &config);
        program.get("/stub/", "X-Request-Id: order-4711\r\n").await;
        let line = program.wait_for_line("A call was answered.");
        let expected = match format {
            "json" => "\"request.id\":\"order-4711\"",
            _ => "request.id=order-4711",
        };
        assert!(line.contains(expected), "{line}");
    }
    for request in upstream.requests() {
        assert!(
            request.contains("x-request-id: order-4711\r\n"),
            "{request}"
        );
    }
}
