//! Whole exchanges, as snapshots in `snapshots/_exchange/`.

use crate::support::harness::Harness;
use crate::support::upstream::Upstream;

/// One exchange: what the caller sends, what reaches the provider, what it answers, what comes back.
async fn transcript(name: &str, request: &str, answer: &str) {
    let told = answer.to_owned();
    let upstream = Upstream::scripted(move |mut peer, _| {
        let told = told.clone();
        async move {
            peer.request().await?;
            let address = peer.stream.local_addr()?.to_string();
            peer.write(told.replace("UPSTREAM", &address)).await
        }
    })
    .await;
    let gateway = Harness::new(&upstream.base_url()).await;
    let request = request
        .replace("GATEWAY", &gateway.address.to_string())
        .replace('\n', "\r\n");
    let got = gateway.send(&request).await;
    let forwarded = upstream.requests().join("\n");
    let parts = [
        ("the caller sends", request),
        ("the provider gets", forwarded),
        ("the provider answers", answer.to_owned()),
        ("the caller gets", got),
    ];
    let mut text = String::new();
    for (title, part) in parts {
        let part = if part.is_empty() {
            "(nothing)"
        } else {
            part.as_str()
        };
        text.push_str(&format!(
            "==== {title} ====\n{}\n",
            part.replace("\r\n", "\n").trim_end()
        ));
    }
    let text = text
        .replace(&gateway.address.to_string(), "GATEWAY")
        .replace(&upstream.address.to_string(), "UPSTREAM");
    let text: Vec<_> = text
        .lines()
        .map(|line| {
            if line.starts_with("date: ") {
                "date: DATE"
            } else {
                line
            }
        })
        .collect();
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path("../../snapshots/_exchange");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!(name, text.join("\n")));
}

#[tokio::test]
async fn hop_by_hop_fields_end_here() {
    transcript(
        "hop-by-hop-fields-end-here",
        "GET /crm/v3/contacts?limit=10 HTTP/1.1\nHost: GATEWAY\nConnection: close, X-Hop\nKeep-Alive: timeout=5\n\
         Proxy-Connection: keep-alive\nProxy-Authorization: Basic x\nTE: gzip, trailers\nX-Hop: 1\nForwarded: for=1.2.3.4\n\
         X-Forwarded-For: 1.2.3.4\nX-Forwarded-Proto: https\nVia: 1.1 fred\nAuthorization: Bearer token\nAccept: application/json\n\
         User-Agent: curl/8\nCookie: a=b\nCookie: c=d\n\n",
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\nconnection: x-hop\r\nx-hop: 1\r\n\
         keep-alive: timeout=5\r\nproxy-authenticate: Basic\r\nupgrade: h2c\r\nvia: 1.1 vegur\r\nset-cookie: a=b\r\n\
         set-cookie: c=d\r\nx-ratelimit-remaining: 9\r\n\r\n{}",
    )
    .await;
}

/// Also those of one name among others; what is written anew stays where it was, and what is added comes last (RFC 9110,
/// section 5.3).
#[tokio::test]
async fn fields_keep_their_order() {
    transcript(
        "fields-keep-their-order",
        "POST /crm/v3/contacts HTTP/1.1\nX-B: 1\nHost: GATEWAY\nCookie: a=b\nContent-Length: 2\nX-A: 2\nACCEPT-ENCODING: br\n\
         x-b: 3\nCookie: c=d\nConnection: close\nX-A:4\n\n{}",
        "HTTP/1.1 200 OK\r\nSet-Cookie: a=b\r\nX-Ratelimit-Remaining: 9\r\nCONTENT-LENGTH: 2\r\nRetry-After: 7\r\n\
         set-cookie:c=d\r\nRateLimit-Remaining: 8\r\nX-Empty:\r\nX-Ratelimit-Limit: 10\r\nset-cookie: e=f\r\n\r\n{}",
    )
    .await;
}

#[tokio::test]
async fn a_provider_that_exhausts_in_its_own_dress_is_429() {
    transcript(
        "exhaustion-in-the-providers-own-dress",
        "GET /crm/ HTTP/1.1\nHost: GATEWAY\nConnection: close\n\n",
        "HTTP/1.1 402 Payment Required\r\ncontent-type: application/json\r\ncontent-length: 17\r\n\r\n{\"error\":\"quota\"}",
    )
    .await;
}

#[tokio::test]
async fn an_unknown_connection_names_the_closest() {
    transcript(
        "unknown-connection",
        "GET /cmr/ HTTP/1.1\nHost: GATEWAY\nConnection: close\n\n",
        "",
    )
    .await;
}

#[tokio::test]
async fn a_dot_segment_is_refused() {
    transcript(
        "dot-segment",
        "GET /crm/%2e%2e/x HTTP/1.1\nHost: GATEWAY\nConnection: close\n\n",
        "",
    )
    .await;
}

#[tokio::test]
async fn nonsense_from_the_provider() {
    transcript(
        "nonsense-from-the-provider",
        "POST /crm/ HTTP/1.1\nHost: GATEWAY\nContent-Length: 2\nConnection: close\n\nhi",
        "SMTP ready\r\n\r\n",
    )
    .await;
}

#[tokio::test]
async fn an_upgrade_is_refused() {
    transcript(
        "upgrade",
        "GET /crm/ HTTP/1.1\nHost: GATEWAY\nConnection: Upgrade, close\nUpgrade: websocket\n\n",
        "",
    )
    .await;
}

#[tokio::test]
async fn links_lead_back() {
    transcript(
        "links-lead-back",
        "POST /crm/items HTTP/1.1\nHost: GATEWAY\nContent-Length: 0\nConnection: close\n\n",
        "HTTP/1.1 201 Created\r\nlocation: http://UPSTREAM/items/7?a=%2F\r\ncontent-location: /items/7\r\n\
         link: <http://UPSTREAM/items?page=2>; rel=\"next\", <https://elsewhere.example/>; rel=\"help\"\r\n\
         content-length: 0\r\n\r\n",
    )
    .await;
}

#[tokio::test]
async fn json_bodies_lead_back_where_the_adapter_says_so() {
    transcript(
        "json-bodies-lead-back",
        "GET /repos HTTP/1.1\nHost: hub.localhost\nAccept-Encoding: gzip\nConnection: close\n\n",
        "HTTP/1.1 200 OK\r\ncontent-type: application/json; charset=utf-8\r\netag: W/\"1\"\r\n\
         connection: close\r\n\r\n{\"url\":\"http://UPSTREAM/repos/1\"}",
    )
    .await;
}
