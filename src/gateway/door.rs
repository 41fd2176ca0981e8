//! Who may look at headroom's own pages, and which calls of browsers must not get a credential of headroom's.

use http::header::ACCEPT;

use super::connection::Catalogue;
use super::error::Problem;
use super::fields;
use super::heads::RequestHead;
use super::route::{self, Entrance};
use crate::admin::Viewer;
use crate::guard::{self, Admin};

/// Pages that a consumer may look at: each shows it its own numbers.
const OF_CONSUMERS: [&str; 3] = ["/-/quota", "/-/usage", "/-/events"];

/// Pages that say nothing of anybody.
const OPEN: [&str; 4] = ["/", "/-", "/-/healthz", "/-/readyz"];

const METRICS: &str = "/-/metrics";

/// Who looks at a page, if they may.
pub(super) fn viewer(
    head: &RequestHead,
    entrance: &Entrance,
    catalogue: &dyn Catalogue,
) -> Result<Viewer, Problem> {
    let (path, admin) = (head.uri.path(), catalogue.admin());
    let is_open = OPEN.contains(&path) || (path == METRICS && admin.has_open_metrics);
    let is_consumers = OF_CONSUMERS.contains(&path);
    let viewer = match identify(head, entrance, catalogue) {
        Err(_) if is_open => Viewer::Stranger,
        // Who has no key cannot be told to make the admin's where a consumer's would do.
        Err(Problem::NoAdminKey) if is_consumers && !catalogue.consumers().is_empty() => {
            return Err(no_key(head));
        }
        viewer => viewer?,
    };
    match viewer {
        Viewer::Consumer(_) if !is_open && !is_consumers => Err(Problem::ForbiddenPage),
        viewer => Ok(viewer),
    }
}

fn identify(
    head: &RequestHead,
    entrance: &Entrance,
    catalogue: &dyn Catalogue,
) -> Result<Viewer, Problem> {
    let (headers, admin) = (&head.headers, catalogue.admin());
    let host = route::host(head)?;
    let is_foreign =
        guard::is_cross_site(headers, host) && !guard::is_navigation(&head.method, headers);
    let shown = guard::shown_key(headers);
    if is_foreign && shown.as_ref().is_none_or(|shown| shown.is_ambient) {
        return Err(Problem::CrossSite);
    }
    if let Some(shown) = shown {
        if admin.is_key(&shown.key) {
            return Ok(Viewer::Operator);
        }
        let consumer = catalogue.consumers().by_key(&shown.key);
        let viewer = consumer.map(|consumer| Viewer::Consumer(consumer.name.clone()));
        return viewer.ok_or(Problem::PageKey {
            is_unknown: true,
            is_for_people: is_for_people(head),
        });
    }
    let is_near = entrance.is_near && !guard::came_through_proxy(headers);
    let is_known = admin.knows(host, entrance.own);
    match (is_near, is_known, admin.key_hash) {
        (true, true, _) => Ok(Viewer::Operator),
        (_, _, Some(_)) => Err(no_key(head)),
        (true, false, None) => Err(unknown_host(host)),
        (false, _, None) => Err(Problem::NoAdminKey),
    }
}

/// A call that gets a credential of headroom's although nobody had to say who calls: a page of another site must not make a
/// browser send it.
pub(super) fn check_browser(
    head: &RequestHead,
    host: Option<&str>,
    entrance: &Entrance,
    admin: &Admin,
) -> Result<(), Problem> {
    if !admin.knows(host, entrance.own) {
        return Err(unknown_host(host));
    }
    if guard::is_cross_site(&head.headers, host) {
        return Err(Problem::CrossSite);
    }
    Ok(())
}

fn unknown_host(host: Option<&str>) -> Problem {
    const MOST: usize = 64;
    Problem::UnknownHost(host.unwrap_or_default().chars().take(MOST).collect())
}

fn no_key(head: &RequestHead) -> Problem {
    Problem::PageKey {
        is_unknown: false,
        is_for_people: is_for_people(head),
    }
}

/// A browser asks people for a password where it opens a page, and must not where a script of a page asks.
fn is_for_people(head: &RequestHead) -> bool {
    if head.headers.contains_key("sec-fetch-mode") {
        return guard::is_navigation(&head.method, &head.headers);
    }
    fields::tokens(&head.headers, &ACCEPT).any(|range| {
        let kind = range.split(';').next().unwrap_or_default();
        kind.trim().eq_ignore_ascii_case("text/html")
    })
}
