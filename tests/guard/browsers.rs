//! What pages of other sites can make a browser on this machine do: nothing.

use headroom::adapter::CredentialPlace;
use headroom::credential::Credential;
use headroom::gateway::{Access, Connection, Settings};
use headroom::secret::Secret;

use crate::exchange::{OK, body, status};
use crate::support::harness::{Harness, connection};
use crate::support::program::Program;
use crate::support::upstream::Upstream;

fn request(target: &str, host: &str, lines: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n{lines}Connection: close\r\n\r\n")
}

/// Status and code of a refusal; `None`: it is let through.
type Wanted = Option<(u16, &'static str)>;

/// Hosts and fields.
const CASES: [(&str, &str, Wanted); 16] = [
    ("localhost:8080", "", None),
    ("LOCALHOST.:8080", "", None),
    ("127.0.0.1:1", "", None),
    ("[::1]:8080", "", None),
    ("evil.example:8080", "", Some((421, "unknown-host"))),
    ("127.0.0.1.evil.example", "", Some((421, "unknown-host"))),
    ("0.0.0.0:8080", "", Some((421, "unknown-host"))),
    ("192.168.0.1", "", Some((421, "unknown-host"))),
    ("localhost", "Sec-Fetch-Site: same-origin\r\n", None),
    ("localhost", "Sec-Fetch-Site: none\r\n", None),
    (
        "localhost",
        "Sec-Fetch-Site: cross-site\r\n",
        Some((403, "cross-site")),
    ),
    (
        "localhost",
        "Sec-Fetch-Site: same-site\r\n",
        Some((403, "cross-site")),
    ),
    ("localhost:80", "Origin: http://localhost:80\r\n", None),
    (
        "localhost:80",
        "Origin: http://localhost:81\r\n",
        Some((403, "cross-site")),
    ),
    ("localhost", "Origin: null\r\n", Some((403, "cross-site"))),
    (
        "localhost",
        "Origin: https://evil.example\r\n",
        Some((403, "cross-site")),
    ),
];

fn assert_case(answer: &str, wanted: Wanted, case: &str) {
    let Some((wanted, code)) = wanted else {
        return assert_eq!(status(answer), 200, "{case}: {answer}");
    };
    assert_eq!(status(answer), wanted, "{case}: {answer}");
    let problem: serde_json::Value = serde_json::from_str(body(answer)).unwrap();
    assert_eq!(problem["code"], code, "{case}");
    if wanted == 421 {
        assert!(answer.contains("`[admin] hosts`"), "{answer}");
    }
}

#[tokio::test]
async fn pages_are_not_for_other_sites() {
    let upstream = Upstream::answering(OK).await;
    let gateway = Harness::new(&upstream.base_url()).await;
    for (host, lines, wanted) in CASES {
        let answer = gateway.send(request("/-/quota", host, lines)).await;
        assert_case(&answer, wanted, &format!("{host} {lines}"));
    }
    // Whoever follows a link from elsewhere sees the page; who put the link there sees nothing of it.
    let opened =
        "Sec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: document\r\n";
    assert_eq!(
        status(&gateway.send(request("/-/", "localhost", opened)).await),
        200
    );
    let framed = opened.replace("document", "iframe");
    assert_eq!(
        status(&gateway.send(request("/-/", "localhost", &framed)).await),
        403
    );
    // The target outranks the field.
    let absolute = request("http://evil.example/-/quota", "localhost", "");
    assert_eq!(status(&gateway.send(absolute).await), 421);
}

#[tokio::test]
async fn a_name_of_the_operators_is_known() {
    let upstream = Upstream::answering(OK).await;
    let folder = tempfile::tempdir().unwrap();
    let config = format!(
        "[connections.crm]\nprovider = \"hubspot\"\nbase_url = \"{}\"\n[admin]\nhosts = [\"Headroom.Example\"]\n",
        upstream.base_url()
    );
    let program = Program::start(folder.path(), &config);
    for (host, wanted) in [("headroom.example:8080", 200), ("other.example", 421)] {
        let mut caller = crate::support::harness::Caller::connect(program.address()).await;
        caller.write(request("/-/quota", host, "")).await;
        assert_eq!(status(&caller.rest().await), wanted, "{host}");
    }
}

/// Where headroom adds the credential, whoever sends the call has it; where callers bring their own, a page of another site
/// has none to bring.
#[tokio::test]
async fn a_credential_of_headrooms_is_not_for_other_sites() {
    let upstream = Upstream::answering(OK).await;
    let credential = Credential::new(&CredentialPlace::Bearer, &Secret::from("hush"));
    let credential = credential.ok().unwrap();
    let with = Connection {
        access: Access::Own(credential),
        ..connection("with", false, &upstream.base_url())
    };
    let without = connection("without", false, &upstream.base_url());
    let connections = [with, without].into_iter().collect();
    let gateway = Harness::of(connections, Settings::default()).await;
    let mut calls = 0;
    for (host, lines, wanted) in CASES {
        let case = format!("{host} {lines}");
        let answer = gateway.send(request("/with/a", host, lines)).await;
        assert_case(&answer, wanted, &case);
        calls += usize::from(wanted.is_none());
        assert_eq!(upstream.requests().len(), calls, "{case}");
        let answer = gateway.send(request("/without/a", host, lines)).await;
        assert_eq!(status(&answer), 200, "{case}");
        calls += 1;
    }
    // Also what a page opens: it would be sent.
    let opened =
        "Sec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: document\r\n";
    let answer = gateway.send(request("/with/a", "localhost", opened)).await;
    assert_eq!(status(&answer), 403);
    let answer = gateway.send(request("/a", "with.localhost", "")).await;
    assert_eq!(status(&answer), 200);
}
