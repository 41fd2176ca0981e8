//! The dashboard at `/-/`: one page with its scripts and its style, built into the program. It needs no other network.
//!
//! The page is made for each request, because it holds the names of the connections; so it also works, in a way, without
//! JavaScript. Its parts have the hash of all of them in their URL and may be kept for ever.

use std::fmt::Write as _;
use std::sync::LazyLock;

use axum::Router;
use axum::body::Body;
use axum::extract::Path;
use axum::response::{Html, IntoResponse as _, Response};
use axum::routing::get;
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, IF_NONE_MATCH, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderName, StatusCode};
use ring::digest::{Context, SHA256};

const PAGE: &str = include_str!("dashboard/index.html");

/// What stands in the page for the place of its parts, and for the connections.
const ASSETS: &str = "{{assets}}";
const CONNECTIONS: &str = "{{connections}}";

const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";

/// The parts of the page: name, media type, content.
const PARTS: &[(&str, &str, &str)] = &[
    (
        "dashboard.css",
        CSS,
        include_str!("dashboard/dashboard.css"),
    ),
    ("advice.js", SCRIPT, include_str!("dashboard/advice.js")),
    (
        "dashboard.js",
        SCRIPT,
        include_str!("dashboard/dashboard.js"),
    ),
    ("dom.js", SCRIPT, include_str!("dashboard/dom.js")),
    ("events.js", SCRIPT, include_str!("dashboard/events.js")),
    ("format.js", SCRIPT, include_str!("dashboard/format.js")),
    ("health.js", SCRIPT, include_str!("dashboard/health.js")),
    ("live.js", SCRIPT, include_str!("dashboard/live.js")),
    ("memory.js", SCRIPT, include_str!("dashboard/memory.js")),
    ("meter.js", SCRIPT, include_str!("dashboard/meter.js")),
    ("panel.js", SCRIPT, include_str!("dashboard/panel.js")),
    ("plot.js", SCRIPT, include_str!("dashboard/plot.js")),
    ("poll.js", SCRIPT, include_str!("dashboard/poll.js")),
    ("quotas.js", SCRIPT, include_str!("dashboard/quotas.js")),
    ("week.js", SCRIPT, include_str!("dashboard/week.js")),
];

/// Nothing but what this server sends, and nobody may frame it.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const SAME_SITE: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

/// The scripts name each other by their names alone, so all parts share one hash.
static VERSION: LazyLock<String> = LazyLock::new(|| {
    let mut hash = Context::new(&SHA256);
    for (name, _, content) in PARTS {
        // With lengths, so that no two sets of parts are the same bytes.
        hash.update(&name.len().to_le_bytes());
        hash.update(name.as_bytes());
        hash.update(&content.len().to_le_bytes());
        hash.update(content.as_bytes());
    }
    let mut text = String::new();
    for byte in hash.finish().as_ref().iter().take(8) {
        // Writing into a string does not fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
});

/// The parts of the page.
pub fn routes<S: Clone + Send + Sync + 'static>() -> Router<S> {
    Router::new().route("/-/assets/{version}/{name}", get(part))
}

/// The page, with the names of these connections.
pub fn page(connections: &[String]) -> Response {
    let mut list = String::new();
    for name in connections {
        list.push_str("<li><code>/");
        escape(name, &mut list);
        list.push_str("/</code></li>\n");
    }
    let page = PAGE
        .replace(ASSETS, &format!("assets/{}", *VERSION))
        .replace(CONNECTIONS, &list);
    let headers = [
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
        (CACHE_CONTROL, "no-store"),
        (SAME_SITE, "same-origin"),
    ];
    (headers, Html(page)).into_response()
}

async fn part(Path((version, name)): Path<(String, String)>, headers: HeaderMap) -> Response {
    let found = PARTS.iter().find(|(part, _, _)| *part == name);
    // Of another version headroom has nothing, and must not say so under a URL that is kept for ever.
    let Some((_, kind, content)) = found.filter(|_| version == *VERSION) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let tag = format!("\"{version}\"");
    let kept = headers
        .get_all(IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|one| one.trim().trim_start_matches("W/") == tag);
    let headers = [
        (CONTENT_TYPE, *kind),
        (CACHE_CONTROL, "public, max-age=31536000, immutable"),
        (ETAG, tag.as_str()),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
        (SAME_SITE, "same-origin"),
    ];
    if kept {
        (StatusCode::NOT_MODIFIED, headers).into_response()
    } else {
        (headers, Body::from(*content)).into_response()
    }
}

/// Names come from configuration files, which are not HTML.
fn escape(text: &str, into: &mut String) {
    for character in text.chars() {
        match character {
            '&' => into.push_str("&amp;"),
            '<' => into.push_str("&lt;"),
            '>' => into.push_str("&gt;"),
            '"' => into.push_str("&quot;"),
            '\'' => into.push_str("&#39;"),
            other => into.push(other),
        }
    }
}
