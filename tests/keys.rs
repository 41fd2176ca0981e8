//! Consumers and credentials over real sockets: who may call what, and what the provider gets to see of it.

mod credentials;
mod limits;
mod secrets;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use headroom::consumer::{hash_key, key_of, to_hex};
use tempfile::TempDir;

use crate::exchange::{OK, body, fields, status};
use crate::support::program::Program;
use crate::support::upstream::Upstream;

/// The key of the consumer `reports`.
pub(crate) fn reports() -> String {
    key_of(&[7; 32])
}

/// The key of the consumer `billing`.
fn billing() -> String {
    key_of(&[0xfb; 32])
}

/// A consumer's table.
pub(crate) fn consumer(name: &str, key: &str, more: &str) -> String {
    let hash = to_hex(&hash_key(key));
    format!("[consumers.{name}]\nkey_hash = \"{hash}\"\n{more}\n")
}

/// The program before one provider, with an adapter for each place of a credential: `bearer`, `basic`, `header`, `token`,
/// `query`. They are connections of the same name.
pub(crate) struct Site {
    pub(crate) upstream: Upstream,
    pub(crate) program: Program,
    pub(crate) folder: TempDir,
}

const PLACES: [(&str, &str); 6] = [
    ("bearer", "\"bearer\""),
    ("basic", "\"basic\""),
    ("toggl", "{ basic = \"{credential}:api_token\" }"),
    ("header", "{ header = \"X-Api-Key\" }"),
    (
        "token",
        "{ header = \"Authorization\", format = \"Token token={credential}\" }",
    ),
    ("query", "{ query = \"access_token\" }"),
];

/// The folder with the adapters, and the beginning of a configuration.
pub(crate) fn places(upstream: &Upstream) -> (TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("adapters")).unwrap();
    for (id, place) in PLACES {
        let adapter = format!(
            "name = \"{id}\"\nbase_url = \"{}\"\ndocs = [\"https://example.com\"]\ncredential = {place}\n[policy.daily]\nquota = 1000\nwindow = \"24h\"\n",
            upstream.base_url()
        );
        std::fs::write(folder.path().join(format!("adapters/{id}.toml")), adapter).unwrap();
    }
    (folder, "providers = [\"adapters\"]\n".to_owned())
}

impl Site {
    pub(crate) async fn new(config: &str) -> Self {
        Self::before(Upstream::answering(OK).await, config)
    }

    pub(crate) fn before(upstream: Upstream, config: &str) -> Self {
        let (folder, beginning) = places(&upstream);
        let program = Program::start(folder.path(), &format!("{beginning}{config}"));
        Self {
            upstream,
            program,
            folder,
        }
    }

    pub(crate) async fn get(&self, target: &str, lines: &str) -> String {
        self.program.get(target, lines).await
    }

    /// The last request that the provider got.
    pub(crate) fn last(&self) -> String {
        self.upstream.requests().pop().unwrap_or_default()
    }
}

pub(crate) fn code(answer: &str) -> String {
    let problem: serde_json::Value = serde_json::from_str(body(answer)).unwrap();
    problem["code"].as_str().unwrap().to_owned()
}

fn basic(pair: &str) -> String {
    format!("Basic {}", STANDARD.encode(pair))
}

/// What the provider gets of a key in all the places where an SDK can put one: nothing.
#[tokio::test]
async fn a_key_is_known_wherever_an_sdk_puts_it_and_goes_no_further() {
    let key = reports();
    let consumers = consumer("reports", &key, "") + &consumer("billing", &billing(), "");
    let site = Site::new(&consumers).await;
    let encoded = key.replace('_', "%5f");
    for (target, line) in [
        ("/bearer/a", format!("headroom-key: {key}")),
        ("/bearer/a", format!("Authorization: Bearer {key}")),
        ("/bearer/a", format!("Authorization: bearer   {key}")),
        (
            "/bearer/a",
            format!("Authorization: {}", basic(&format!("{key}:"))),
        ),
        (
            "/basic/a",
            format!("Authorization: {}", basic(&format!("{key}:x"))),
        ),
        (
            "/basic/a",
            format!(
                "Authorization: {}",
                basic(&format!("a@b.example/token:{key}"))
            ),
        ),
        (
            "/toggl/a",
            format!("Authorization: {}", basic(&format!("{key}:api_token"))),
        ),
        ("/header/a", format!("X-Api-Key: {key}")),
        ("/token/a", format!("Authorization: Token token={key}")),
        ("/token/a", format!("Authorization: SSWS {key}")),
        (&format!("/query/a?access_token={key}"), String::new()),
        (&format!("/query/a?access_token={encoded}"), String::new()),
        // Twice the same is one.
        (
            "/bearer/a",
            format!("headroom-key: {key}\r\nAuthorization: Bearer {key}"),
        ),
    ] {
        let lines = if line.is_empty() { line } else { line + "\r\n" };
        let answer = site.get(target, &lines).await;
        assert_eq!(status(&answer), 200, "{target} {lines}{answer}");
        let request = site.last();
        assert!(request.starts_with("GET /a HTTP/1.1\r\n"), "{request}");
        for name in ["authorization", "headroom-key", "x-api-key"] {
            assert!(fields(&request, name).is_empty(), "{lines}{request}");
        }
    }
    let usage = site
        .get("/-/usage?by=consumer", "Accept: application/json\r\n")
        .await;
    assert!(
        usage.contains("reports") && !usage.contains(&key),
        "{usage}"
    );
}

#[tokio::test]
async fn who_shows_no_key_or_two_is_refused() {
    let (key, other) = (reports(), billing());
    let consumers = consumer("reports", &key, "") + &consumer("billing", &other, "");
    let site = Site::new(&consumers).await;
    let unknown = key_of(&[9; 32]);
    for (target, lines, expected, word) in [
        ("/bearer/", String::new(), 401, "no-key"),
        (
            "/bearer/",
            format!("headroom-key: {unknown}\r\n"),
            401,
            "unknown-key",
        ),
        (
            "/bearer/",
            format!("Authorization: Bearer {}\r\n", &key[..45]),
            401,
            "unknown-key",
        ),
        (
            "/bearer/",
            format!("headroom-key: {key}\r\nAuthorization: Bearer {other}\r\n"),
            400,
            "several-keys",
        ),
        (
            "/bearer/",
            format!("headroom-key: {key}\r\nheadroom-key: {other}\r\n"),
            400,
            "several-keys",
        ),
        (
            "/basic/",
            format!("Authorization: {}\r\n", basic(&format!("{key}:{other}"))),
            400,
            "several-keys",
        ),
        (
            &format!("/query/?access_token={key}&access_token={other}"),
            String::new(),
            400,
            "several-keys",
        ),
        // Nobody looks there for a key.
        (
            &format!("/bearer/?access_token={key}"),
            String::new(),
            401,
            "no-key",
        ),
        ("/header/", format!("X-Other: {key}\r\n"), 401, "no-key"),
    ] {
        let answer = site.get(target, &lines).await;
        assert_eq!(status(&answer), expected, "{lines}{answer}");
        assert_eq!(code(&answer), word, "{lines}{answer}");
        assert!(
            !answer.contains("hr_A") && !answer.contains(&key[3..]),
            "{answer}"
        );
    }
    assert!(site.upstream.requests().is_empty());
}

#[tokio::test]
async fn a_key_that_would_reach_the_provider_stops_the_call() {
    let key = reports();
    let encoded: String = key.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let twice = encoded.replace('%', "%25");
    let stray = [
        (
            "/header/a",
            format!("X-Other: {key}"),
            "the header `x-other`",
        ),
        (
            "/header/a",
            format!("Referer: http://localhost/?a={key}"),
            "the header `referer`",
        ),
        (
            "/header/a",
            format!("Cookie: a=b; key={encoded}"),
            "the header `cookie`",
        ),
        (
            "/header/a",
            format!("X-Other: {}", basic(&format!("a:{key}"))),
            "the header `x-other`",
        ),
        (&format!("/header/{key}/a"), String::new(), "the path"),
        (&format!("/header/a?b={key}"), String::new(), "the query"),
        (
            &format!("/header/a?b={encoded}"),
            String::new(),
            "the query",
        ),
        (&format!("/header/a?b={twice}"), String::new(), "the query"),
    ];
    for consumers in [consumer("reports", &key, ""), String::new()] {
        let site = Site::new(&consumers).await;
        for (target, line, place) in &stray {
            let lines = format!("X-Api-Key: {key}\r\n{line}");
            let lines = format!("{}\r\n", lines.trim_end());
            let answer = site.get(target, &lines).await;
            assert_eq!(status(&answer), 400, "{lines}{answer}");
            assert_eq!(code(&answer), "stray-key");
            assert!(body(&answer).contains(place), "{answer}");
            assert!(!answer.contains(&key), "{answer}");
        }
        assert!(site.upstream.requests().is_empty());
        // What ends here does not count, nor what only begins like one.
        let lines = format!(
            "headroom-key: {key}\r\nProxy-Authorization: Bearer {key}\r\nX-Hop: {key}\r\nConnection: x-hop\r\nX-Forwarded-Uri: /{key}\r\nX-Id: hr_1\r\n"
        );
        let answer = site.get("/header/a", &lines).await;
        assert_eq!(status(&answer), 200, "{answer}");
        let request = site.last();
        assert!(
            !request.contains(&key) && request.contains("x-id: hr_1"),
            "{request}"
        );
    }
}
