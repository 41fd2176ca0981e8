//! The dashboard at `/-/`: what is served, and what a real browser makes of it before the program itself.
//!
//! `tests/dashboard/install` puts what drives the browser into `target/dashboard`; the browser is the system's Chromium.
//! Where they are missing, these tests say so and pass, unless `HEADROOM_CLIENTS` is `required`.

use std::fmt::Write as _;
use std::fs::File;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use crate::clients::{direct, is_installed, run};
use crate::exchange::{OK, body, fields, status};
use crate::support::harness::Harness;
use crate::support::program::{Program, stub};
use crate::support::upstream::Upstream;

/// What each call of the browser tests is counted by.
const LIMIT: u32 = 100;

#[tokio::test]
async fn the_page_and_its_parts_are_safe_to_show_and_to_keep() {
    let gateway = Harness::new("http://127.0.0.1:1").await;
    let page = gateway.get("/-/").await;
    let field = |answer: &str, name: &str| fields(answer, name).join(" and ");
    assert_eq!(field(&page, "content-type"), "text/html; charset=utf-8");
    assert_eq!(
        field(&page, "content-security-policy"),
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    assert_eq!(field(&page, "x-content-type-options"), "nosniff");
    assert_eq!(field(&page, "referrer-policy"), "no-referrer");
    assert_eq!(field(&page, "cache-control"), "no-store");
    assert!(!body(&page).contains("{{"), "{page}");

    // Each part that the page or another part names is there, and may be kept for ever.
    let mut wanted: Vec<String> = body(&page)
        .split('"')
        .filter(|text| text.starts_with("assets/"))
        .map(str::to_owned)
        .collect();
    let folder = wanted[0].rsplit_once('/').unwrap().0.to_owned();
    let mut next = 0;
    while let Some(part) = wanted.get(next).cloned() {
        let answer = gateway.get(&format!("/-/{part}")).await;
        assert_eq!(status(&answer), 200, "{part}");
        let kind = match part.rsplit_once('.').unwrap().1 {
            "css" => "text/css; charset=utf-8",
            _ => "text/javascript; charset=utf-8",
        };
        assert_eq!(field(&answer, "content-type"), kind);
        assert_eq!(field(&answer, "x-content-type-options"), "nosniff");
        assert_eq!(
            field(&answer, "cache-control"),
            "public, max-age=31536000, immutable"
        );
        let tag = field(&answer, "etag");
        let again = gateway
            .send(format!(
                "GET /-/{part} HTTP/1.1\r\nHost: localhost\r\nIf-None-Match: \"other\", W/{tag}\r\nConnection: close\r\n\r\n"
            ))
            .await;
        assert_eq!((status(&again), body(&again)), (304, ""), "{part}");
        for import in body(&answer).split("from \"./").skip(1) {
            let name = import.split('"').next().unwrap();
            let part = format!("{folder}/{name}");
            if !wanted.contains(&part) {
                wanted.push(part);
            }
        }
        next += 1;
    }
    let shipped = assets().len() - 1;
    assert_eq!(wanted.len(), shipped, "no part is left over: {wanted:?}");

    // Of another version there is nothing, and nobody keeps that.
    let stale = gateway.get("/-/assets/0123456789abcdef/dashboard.js").await;
    assert_eq!(status(&stale), 404);
    assert_eq!(field(&stale, "cache-control"), "no-store");
    let unknown = gateway.get(&format!("/-/{folder}/../dashboard.rs")).await;
    assert_eq!(status(&unknown), 400);
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The files of the dashboard: their names and what is in them.
fn assets() -> Vec<(String, String)> {
    let folder = root().join("src/admin/dashboard");
    let files = std::fs::read_dir(folder).unwrap().map(|entry| {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        (name, std::fs::read_to_string(entry.path()).unwrap())
    });
    files.collect()
}

/// The page would be no safer than its least careful line.
#[test]
fn no_part_parses_markup_or_goes_elsewhere() {
    let forbidden = [
        "innerHTML",
        "outerHTML",
        "insertAdjacentHTML",
        "createContextualFragment",
        "DOMParser",
        "document.write",
        "eval(",
        "new Function",
        " style=",
        " onclick=",
        "https://",
        "//cdn",
    ];
    let parts = assets();
    assert!(parts.len() > 10);
    for (name, content) in parts {
        for word in forbidden {
            assert!(!content.contains(word), "{name} has {word}");
        }
        for (number, line) in content.lines().enumerate() {
            let addresses = line.matches("http://").count();
            let names = line.matches("http://www.w3.org/2000/svg").count();
            assert_eq!(addresses, names, "{name}:{}: {line}", number + 1);
        }
    }
}

/// The program before a provider, for a browser.
struct Site {
    program: Program,
    _folder: TempDir,
    _upstream: Upstream,
}

impl Site {
    /// Serves the connection `stub`, whose calls are counted, and more lines of configuration.
    async fn new(more: impl FnOnce(&Upstream) -> String) -> Self {
        let upstream = Upstream::answering(OK).await;
        let policies =
            format!("[policy.hourly]\nquota = {LIMIT}\nwindow = \"1h\"\nkind = \"fixed\"");
        // Of a quota that is only documented nobody is warned.
        let own = format!("quotas = {{ hourly = {LIMIT} }}");
        let (folder, config) = stub(&upstream, &policies, &own);
        let config = format!("{config}{}", more(&upstream));
        Self {
            program: Program::start(folder.path(), &config),
            _folder: folder,
            _upstream: upstream,
        }
    }

    /// Runs one of the scripts beside this file, which must end well.
    async fn browse(&self, script: &str, arguments: &[&str]) {
        let _turn = turn().await;
        let mut command = node();
        command
            .arg(root().join("tests/dashboard").join(script))
            .arg(format!("http://{}", self.program.address()))
            .args(arguments);
        run(command, b"").await;
    }
}

/// Browsers take turns, also those of other processes: one alone keeps a small machine busy, and a test looks at the clock.
async fn turn() -> File {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("browser.lock");
    let lock = move || {
        let file = File::create(path).unwrap();
        file.lock().unwrap();
        file
    };
    tokio::task::spawn_blocking(lock).await.unwrap()
}

/// Where `tests/dashboard/install` puts its packages, which scripts look for in the working folder.
fn node() -> Command {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    let mut command = direct("node");
    command.current_dir(target.join("dashboard"));
    command
}

fn has_browser() -> bool {
    let how = "run tests/dashboard/install";
    let mut packages = node();
    packages.args(["--eval", "require('playwright-core'), require('axe-core')"]);
    let mut chromium = direct("/usr/bin/chromium");
    chromium.arg("--version");
    // A folder that is not there fails before node does.
    is_installed("playwright-core with axe-core", how, &mut packages)
        && is_installed("Chromium", how, &mut chromium)
}

#[tokio::test]
async fn it_shows_traffic_within_a_second() {
    if has_browser() {
        let site = Site::new(|_| String::new()).await;
        let limit = LIMIT.to_string();
        site.browse("traffic.mjs", &["stub", &limit]).await;
    }
}

#[tokio::test]
async fn it_is_accessible_and_fits_from_a_phone_to_4k() {
    if has_browser() {
        let site = Site::new(|_| String::new()).await;
        site.browse("looks.mjs", &["/stub/a", "/stub/b/1234"]).await;
    }
}

#[tokio::test]
async fn it_needs_no_mouse() {
    if has_browser() {
        let site = Site::new(|_| String::new()).await;
        site.browse("keyboard.mjs", &["/stub/a"]).await;
    }
}

#[tokio::test]
async fn it_shows_hostile_names_as_text_and_says_whose_numbers_they_are() {
    if has_browser() {
        let site = Site::new(|_| String::new()).await;
        site.browse("hostile.mjs", &[]).await;
    }
}

#[tokio::test]
async fn it_tells_what_does_not_work() {
    if has_browser() {
        let site = Site::new(|_| String::new()).await;
        site.browse("trouble.mjs", &["/stub/a"]).await;
    }
}

#[tokio::test]
async fn it_shows_two_hundred_connections() {
    if has_browser() {
        let connections = |upstream: &Upstream| {
            let mut config = String::new();
            for number in 0..200 {
                writeln!(
                    config,
                    "[connections.c{number:03}]\nprovider = \"stub\"\nbase_url = \"{}\"",
                    upstream.base_url()
                )
                .unwrap();
            }
            config
        };
        let site = Site::new(connections).await;
        site.browse("many.mjs", &["200", "c150"]).await;
    }
}
