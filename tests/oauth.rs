//! Tokens of OAuth 2 over real sockets: the program between callers, a provider and its token endpoint.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use headroom::clock;
use serde_json::json;
use tokio::task::JoinSet;

use crate::exchange::{OK, body, fields, status};
use crate::keys::{Site, code, places};
use crate::support::harness::Caller;
use crate::support::program::Program;
use crate::support::upstream::Upstream;

/// A token endpoint that answers as told: the number of the request, from 0, and its text.
async fn endpoint(answer: impl Fn(usize, &str) -> String + Send + Sync + 'static) -> Upstream {
    let (calls, answer) = (Arc::new(AtomicUsize::new(0)), Arc::new(answer));
    Upstream::scripted(move |mut peer, _| {
        let (calls, answer) = (Arc::clone(&calls), Arc::clone(&answer));
        async move {
            loop {
                let request = peer.request().await?;
                let number = calls.fetch_add(1, Ordering::SeqCst);
                peer.write(answer(number, &request)).await?;
            }
        }
    })
    .await
}

fn answer(status: &str, body: &serde_json::Value) -> String {
    let body = body.to_string();
    format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
}

fn token(number: usize, more: &serde_json::Value) -> String {
    let mut body = json!({"access_token": format!("pl4nted-{number}"), "token_type": "Bearer", "expires_in": 3600});
    for (name, value) in more.as_object().unwrap() {
        body[name] = value.clone();
    }
    answer("200 OK", &body)
}

fn config(endpoint: &Upstream, provider: &str, more: &str) -> String {
    format!(
        "[connections.crm]\nprovider = \"{provider}\"\n[connections.crm.oauth2]\ntoken_url = \"{}/token\"\nclient_id = \"a client\"\n{more}\n",
        endpoint.base_url()
    )
}

const SECRET: &str = "client_secret = \"pl4nted:secret\"";

/// What the provider was shown, call by call.
fn shown(upstream: &Upstream) -> Vec<String> {
    let one = |request: &String| fields(request, "authorization").join(", ");
    upstream.requests().iter().map(one).collect()
}

#[tokio::test]
async fn many_callers_one_request_for_a_token() {
    let endpoint = endpoint(|number, _| token(number, &json!({}))).await;
    let more = format!(
        "{SECRET}\nscopes = [\"a\", \"b c\"]\naudience = \"https://crm\"\nparameters = {{ resource = \"x&y\" }}"
    );
    let site = Arc::new(Site::new(&config(&endpoint, "bearer", &more)).await);
    let mut calls = JoinSet::new();
    for _ in 0..20 {
        let site = Arc::clone(&site);
        calls.spawn(async move {
            site.get("/crm/a", "Authorization: Bearer callers\r\n")
                .await
        });
    }
    while let Some(call) = calls.join_next().await {
        let call = call.unwrap();
        assert_eq!(status(&call), 200, "{call}");
    }
    assert_eq!(shown(&site.upstream), vec!["Bearer pl4nted-0"; 20]);
    let request = endpoint.request();
    assert!(request.starts_with("POST /token HTTP/1.1\r\n"), "{request}");
    // RFC 6749, section 2.3.1: both are encoded before they are put together.
    assert_eq!(
        fields(&request, "authorization"),
        ["Basic YStjbGllbnQ6cGw0bnRlZCUzQXNlY3JldA=="]
    );
    assert_eq!(
        body(&request),
        "grant_type=client_credentials&scope=a+b+c&audience=https%3A%2F%2Fcrm&resource=x%26y"
    );
}

#[tokio::test]
async fn a_client_can_stand_in_the_body_and_a_token_in_the_providers_place() {
    let endpoint = endpoint(|number, _| token(number, &json!({}))).await;
    let more = format!("{SECRET}\nclient_auth = \"body\"\nplace = \"provider\"");
    let site = Site::new(&config(&endpoint, "query", &more)).await;
    let answer = site
        .get("/crm/a?b", "Authorization: Bearer callers\r\n")
        .await;
    assert_eq!(status(&answer), 200, "{answer}");
    let request = site.last();
    assert!(
        request.starts_with("GET /a?b&access_token=pl4nted-0 "),
        "{request}"
    );
    assert!(fields(&request, "authorization").is_empty(), "{request}");
    let request = endpoint.request();
    assert!(fields(&request, "authorization").is_empty(), "{request}");
    assert_eq!(
        body(&request),
        "grant_type=client_credentials&client_id=a+client&client_secret=pl4nted%3Asecret"
    );
}

/// A provider that takes only these tokens.
async fn provider(good: &Arc<Mutex<Vec<&'static str>>>) -> Upstream {
    let good = Arc::clone(good);
    Upstream::scripted(move |mut peer, _| {
        let good = Arc::clone(&good);
        async move {
            loop {
                let request = peer.request().await?;
                let known = good.lock().unwrap().clone();
                let is_good = known.iter().any(|token| request.contains(token));
                let refusal = "HTTP/1.1 401 Unauthorized\r\ncontent-length: 2\r\n\r\nno";
                peer.write(if is_good { OK } else { refusal }).await?;
            }
        }
    })
    .await
}

async fn post(site: &Site) -> String {
    let mut caller = Caller::connect(site.program.address()).await;
    let request = "POST /crm/a HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 1\r\n\r\nx";
    caller.write(request).await;
    caller.rest().await
}

#[tokio::test]
async fn a_token_that_was_good_is_renewed_when_it_is_refused() {
    let good = Arc::new(Mutex::new(vec!["pl4nted-0"]));
    let endpoint = endpoint(|number, _| token(number, &json!({}))).await;
    let site = Site::before(provider(&good).await, &config(&endpoint, "bearer", SECRET));
    assert_eq!(status(&site.get("/crm/a", "").await), 200);
    *good.lock().unwrap() = vec!["pl4nted-1"];
    // What is safe goes again, once.
    assert_eq!(status(&site.get("/crm/a", "").await), 200);
    assert_eq!(
        shown(&site.upstream),
        ["Bearer pl4nted-0", "Bearer pl4nted-0", "Bearer pl4nted-1"]
    );
    assert_eq!(endpoint.requests().len(), 2);
    // One that is refused again soon after means something else; nobody asks each time, and nothing goes twice.
    good.lock().unwrap().clear();
    for _ in 0..3 {
        assert_eq!(status(&site.get("/crm/a", "").await), 401);
    }
    assert_eq!(site.upstream.requests().len(), 6);
    assert_eq!(endpoint.requests().len(), 2);
}

#[tokio::test]
async fn a_call_that_goes_again_needs_no_second_connection() {
    let good = Arc::new(Mutex::new(vec!["pl4nted-0"]));
    let endpoint = endpoint(|number, _| token(number, &json!({}))).await;
    let more = format!("{SECRET}\n[limits]\nconnections_per_origin = 1\nconnect_timeout = \"1s\"");
    let site = Site::before(provider(&good).await, &config(&endpoint, "bearer", &more));
    assert_eq!(status(&site.get("/crm/a", "").await), 200);
    *good.lock().unwrap() = vec!["pl4nted-1"];
    let answer = site.get("/crm/a", "").await;
    assert_eq!(status(&answer), 200, "{answer}");
}

#[tokio::test]
async fn a_call_with_a_body_is_not_sent_again() {
    let good = Arc::new(Mutex::new(vec!["pl4nted-0"]));
    let endpoint = endpoint(|number, _| token(number, &json!({}))).await;
    let site = Site::before(provider(&good).await, &config(&endpoint, "bearer", SECRET));
    assert_eq!(status(&post(&site).await), 200);
    *good.lock().unwrap() = vec!["pl4nted-1"];
    assert_eq!(status(&post(&site).await), 401);
    assert_eq!(site.upstream.requests().len(), 2);
    // The next one has the new token: it waits for it, if it has to.
    let answer = site.get("/crm/a", "").await;
    assert_eq!(status(&answer), 200, "{answer}");
    assert_eq!(endpoint.requests().len(), 2);
}

#[tokio::test]
async fn a_token_that_was_never_good_is_passed_on_as_it_was_refused() {
    let good = Arc::new(Mutex::new(Vec::new()));
    let endpoint = endpoint(|number, _| token(number, &json!({}))).await;
    let site = Site::before(provider(&good).await, &config(&endpoint, "bearer", SECRET));
    for _ in 0..3 {
        assert_eq!(status(&site.get("/crm/a", "").await), 401);
    }
    assert_eq!(site.upstream.requests().len(), 3);
    assert_eq!(endpoint.requests().len(), 1);
}

#[tokio::test]
async fn without_a_token_callers_get_a_clear_answer_and_the_log_one_line() {
    for (told, expected, words) in [
        (
            answer(
                "400 Bad Request",
                &json!({"error": "invalid_grant", "error_description": "pl4nted-description"}),
            ),
            502,
            "answers `invalid_grant`",
        ),
        (
            answer("401 Unauthorized", &json!({"error": "pl4nted-code"})),
            502,
            "answers 401",
        ),
        (
            "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 11\r\n\r\npl4nted-503".to_owned(),
            503,
            "answers 503",
        ),
        (
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 26\r\n\r\n{\"access_token\":\"pl4nted-1".to_owned(),
            502,
            "something else than a bearer token",
        ),
        (
            answer(
                "200 OK",
                &json!({"access_token": "pl4nted-mac", "token_type": "mac"}),
            ),
            502,
            "something else than a bearer token",
        ),
        (
            answer(
                "200 OK",
                &json!({"access_token": "pl4nted\r\nx: y", "token_type": "bearer"}),
            ),
            502,
            "cannot stand where",
        ),
        (
            "HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n".to_owned(),
            502,
            "answers 302",
        ),
    ] {
        let endpoint = endpoint(move |_, _| told.clone()).await;
        let more = "refresh_token = \"pl4nted-refresh\"\nclient_secret = \"pl4nted-secret\"";
        let site = Site::new(&config(&endpoint, "bearer", more)).await;
        let begun = clock::monotonic();
        for _ in 0..3 {
            let answer = site.get("/crm/a", "").await;
            assert_eq!(status(&answer), expected, "{answer}");
            assert_eq!(code(&answer), "no-credential");
            assert!(body(&answer).contains(words), "{answer}");
            let retry_after: u64 = fields(&answer, "retry-after")[0].parse().unwrap();
            assert!((1..=2).contains(&retry_after), "{answer}");
            assert!(!answer.contains("pl4nted"), "{answer}");
        }
        assert!(site.upstream.requests().is_empty());
        // Once, and again when the back-off of a second is over: this machine may be slow.
        let most = 1 + begun.elapsed().as_secs();
        let asked = endpoint.requests().len() as u64;
        assert!((1..=most).contains(&asked), "{words}: {asked} of {most}");
        let log = site.program.wait_for(|lines| Some(lines.join("\n")));
        assert_eq!(log.matches("There is no new token").count(), 1, "{log}");
        assert!(!log.contains("pl4nted"), "{log}");
    }
}

#[tokio::test]
async fn an_endpoint_that_is_not_there_is_503() {
    let endpoint = Upstream::answering("").await;
    let more = config(&endpoint, "bearer", SECRET);
    let address = endpoint.address;
    drop(endpoint);
    // Until the socket is closed.
    while tokio::net::TcpStream::connect(address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    let site = Site::new(&more).await;
    let answer = site.get("/crm/a", "").await;
    assert_eq!(status(&answer), 503, "{answer}");
    assert!(body(&answer).contains("cannot be reached"), "{answer}");
}

/// Each answer has another refresh token, and the one before is good no more.
async fn rotating() -> Upstream {
    endpoint(|number, request| {
        let expected = match number {
            0 => "refresh_token=first".to_owned(),
            _ => format!("refresh_token=rotated-{}", number - 1),
        };
        if !body(request).contains(&expected) {
            return answer("400 Bad Request", &json!({"error": "invalid_grant"}));
        }
        let more = json!({"refresh_token": format!("rotated-{number}"), "expires_in": 1});
        token(number, &more)
    })
    .await
}

#[tokio::test]
async fn a_rotated_refresh_token_survives_a_reload_and_kill_9() {
    let endpoint = rotating().await;
    let upstream = Upstream::answering(OK).await;
    let (folder, beginning) = places(&upstream);
    let more = "client_secret = \"s\"\nrefresh_token = \"first\"";
    let config = beginning + &config(&endpoint, "bearer", more);
    let program = Program::start(folder.path(), &config);
    let get = async |program: &Program| {
        let answer = program.get("/crm/a", "").await;
        assert_eq!(status(&answer), 200, "{answer}");
    };
    get(&program).await;
    let file = folder.path().join("headroom.toml");
    std::fs::write(&file, format!("{config}\n# read again\n")).unwrap();
    program.wait_for_line("The configuration was read again");
    // A token of one second is asked for anew.
    tokio::time::sleep(std::time::Duration::from_millis(1_100)).await;
    get(&program).await;
    program.kill();
    let program = Program::start(folder.path(), &config);
    get(&program).await;
    let asked = endpoint.requests().len();
    assert!(asked >= 3, "{asked}");
    let state = folder.path().join("home/headroom");
    for entry in std::fs::read_dir(state).unwrap() {
        use std::os::unix::fs::PermissionsExt;
        let entry = entry.unwrap();
        let mode = entry.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{:?}", entry.path());
    }
    // Another one in the configuration begins anew.
    assert!(program.terminate().success());
    let program = Program::start(folder.path(), &config.replace("first", "other"));
    let answer = program.get("/crm/a", "").await;
    assert_eq!(status(&answer), 502, "{answer}");
    let last = endpoint.requests().pop().unwrap();
    assert!(body(&last).contains("refresh_token=other"), "{last}");
}

/// Tokens come and go; the budget is the connection's.
#[tokio::test]
async fn another_token_is_the_same_account() {
    let endpoint = endpoint(|number, _| token(number, &json!({"expires_in": 1}))).await;
    let site = Site::new(&config(&endpoint, "bearer", SECRET)).await;
    site.get("/crm/a", "").await;
    tokio::time::sleep(std::time::Duration::from_millis(1_100)).await;
    site.get("/crm/a", "").await;
    assert_eq!(
        shown(&site.upstream),
        ["Bearer pl4nted-0", "Bearer pl4nted-1"]
    );
    let quota = site.get("/-/quota", "").await;
    let quota: serde_json::Value = serde_json::from_str(body(&quota)).unwrap();
    let meters = quota["meters"].as_array().unwrap();
    assert_eq!(
        (meters.len(), &meters[0]["used"]),
        (1, &json!(2)),
        "{quota}"
    );
}
