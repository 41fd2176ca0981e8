//! A provider that looks like api.github.com as far as its clients care: addresses of its own in bodies and heads, pages,
//! a redirection, limits.

use std::collections::{BTreeSet, HashMap};
use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use flate2::Compression;
use flate2::write::GzEncoder;
use headroom::clock;
use serde_json::{Value, json};

use crate::exchange::{body, fields};
use crate::support::upstream::Upstream;

/// What an account has left, and what was refused once.
#[derive(Default)]
struct Account {
    used: u32,
    refused: BTreeSet<String>,
}

pub(crate) async fn upstream() -> Upstream {
    let account = Arc::new(Mutex::new(Account::default()));
    Upstream::scripted(move |mut peer, _| {
        let account = Arc::clone(&account);
        async move {
            let address = peer.stream.local_addr()?;
            loop {
                let request = peer.request().await?;
                let answer = account.lock().unwrap().answer(&request, address);
                peer.write(answer).await?;
            }
        }
    })
    .await
}

/// An answer before its numbers are written.
struct Answer {
    status: &'static str,
    fields: Vec<(&'static str, String)>,
    body: Value,
    /// Nothing is left of the quota.
    exhausted: bool,
}

impl Answer {
    const fn new(status: &'static str, body: Value) -> Self {
        Self {
            status,
            fields: Vec::new(),
            body,
            exhausted: false,
        }
    }

    fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.fields.push((name, value.into()));
        self
    }
}

impl Account {
    fn answer(&mut self, request: &str, address: SocketAddr) -> Vec<u8> {
        self.used += 1;
        let base = format!("http://{address}");
        let mut answer = if fields(request, "authorization") == ["token secret"] {
            self.find(request, &base)
        } else {
            Answer::new(
                "401 Unauthorized",
                json!({"message": "Requires authentication"}),
            )
        };
        let content = answer.body.to_string().into_bytes();
        let takes_gzip = fields(request, "accept-encoding")
            .join(",")
            .contains("gzip");
        let content = if takes_gzip {
            answer = answer.with("content-encoding", "gzip");
            let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
            encoder.write_all(&content).unwrap();
            encoder.finish().unwrap()
        } else {
            content
        };
        let (left, reset) = if answer.exhausted {
            (0, 1)
        } else {
            (5000 - self.used, 3600)
        };
        let reset = clock::now().as_second() + reset;
        let mut head = format!("HTTP/1.1 {}\r\n", answer.status);
        for (name, value) in answer
            .with("content-type", "application/json; charset=utf-8")
            .with("content-length", content.len().to_string())
            .with("x-ratelimit-limit", "5000")
            .with("x-ratelimit-remaining", left.to_string())
            .with("x-ratelimit-used", (5000 - left).to_string())
            .with("x-ratelimit-reset", reset.to_string())
            .with("x-ratelimit-resource", "core")
            .fields
        {
            head += &format!("{name}: {value}\r\n");
        }
        head += "\r\n";
        [head.into_bytes(), content].concat()
    }

    fn find(&mut self, request: &str, base: &str) -> Answer {
        let mut words = request.split(' ');
        let (method, target) = (words.next().unwrap(), words.next().unwrap());
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let found = |body| Answer::new("200 OK", body);
        match (method, path) {
            ("GET", "/orgs/acme") => found(json!({
                "login": "acme",
                "id": 7,
                "url": format!("{base}/orgs/acme"),
                "repos_url": format!("{base}/orgs/acme/repos"),
                "html_url": "https://github.com/acme",
            })),
            ("GET", "/orgs/acme/repos") => pages(
                &format!("{base}{path}"),
                query,
                ["one", "two", "three"].map(|name| repository(base, name)),
            ),
            ("GET", "/repos/acme/one/issues") => pages(
                &format!("{base}{path}"),
                query,
                [(1, "first"), (2, "second"), (3, "third")]
                    .map(|(number, title)| issue(base, number, title)),
            ),
            ("GET", "/repos/acme/one/issues/1") => found(issue(base, 1, "first")),
            ("POST", "/repos/acme/one/issues") => {
                let sent: Value = serde_json::from_str(body(request)).unwrap();
                let url = format!("{base}{path}/4");
                let created = issue(base, 4, sent["title"].as_str().unwrap());
                Answer::new("201 Created", created).with("location", url)
            }
            ("GET", "/repos/acme/moved") => {
                let url = format!("{base}/repositories/1");
                let body = json!({"message": "Moved Permanently", "url": url});
                Answer::new("301 Moved Permanently", body).with("location", url)
            }
            ("GET", "/repositories/1") => found(whole(base, "one")),
            // The secondary limit: another field, other words, and quota left.
            ("GET", "/repos/acme/busy") if self.refused.insert(path.to_owned()) => Answer::new(
                "403 Forbidden",
                json!({"message": "You have exceeded a secondary rate limit. Please wait a few minutes."}),
            )
            .with("retry-after", "1"),
            ("GET", "/repos/acme/limited") if self.refused.insert(path.to_owned()) => {
                let message = "API rate limit exceeded for user ID 1.";
                let mut answer = Answer::new("403 Forbidden", json!({"message": message}));
                answer.exhausted = true;
                answer
            }
            ("GET", "/rate_limit") => {
                let core = json!({"limit": 5000, "used": self.used, "remaining": 5000 - self.used, "reset": 2_000_000_000});
                found(json!({"resources": {"core": core, "search": core}, "rate": core}))
            }
            ("GET", _) => match path.strip_prefix("/repos/acme/") {
                Some(name) if !name.contains('/') => found(whole(base, name)),
                _ => Answer::new("404 Not Found", json!({"message": "Not Found"})),
            },
            _ => Answer::new("404 Not Found", json!({"message": "Not Found"})),
        }
    }
}

/// A repository as a list has it.
fn repository(base: &str, name: &str) -> Value {
    let url = format!("{base}/repos/acme/{name}");
    json!({
        "id": 1,
        "name": name,
        "full_name": format!("acme/{name}"),
        "url": url,
        "issues_url": format!("{url}/issues{{/number}}"),
        "html_url": format!("https://github.com/acme/{name}"),
    })
}

/// A repository by itself has more.
fn whole(base: &str, name: &str) -> Value {
    let mut repository = repository(base, name);
    repository["subscribers_count"] = 42.into();
    repository
}

fn issue(base: &str, number: u32, title: &str) -> Value {
    json!({
        "id": number,
        "number": number,
        "title": title,
        "url": format!("{base}/repos/acme/one/issues/{number}"),
        "repository_url": format!("{base}/repos/acme/one"),
    })
}

/// Two of three on the first page, one on the second; each names the other.
fn pages<const N: usize>(url: &str, query: &str, items: [Value; N]) -> Answer {
    let query: HashMap<&str, &str> = query
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .collect();
    let size: usize = query
        .get("per_page")
        .map_or(30, |size| size.parse().unwrap());
    let page: usize = query.get("page").map_or(1, |page| page.parse().unwrap());
    let of =
        |page: usize, relation| format!("<{url}?per_page={size}&page={page}>; rel=\"{relation}\"");
    let last = N.div_ceil(size);
    let links = if page < last {
        [of(page + 1, "next"), of(last, "last")]
    } else {
        [of(page - 1, "prev"), of(1, "first")]
    };
    let shown: Vec<Value> = items
        .into_iter()
        .skip((page - 1) * size)
        .take(size)
        .collect();
    Answer::new("200 OK", shown.into()).with("link", links.join(", "))
}
