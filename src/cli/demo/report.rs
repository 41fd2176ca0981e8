//! The demo on paper: what a provider says beside what headroom answers. Text in, text out; no I/O.

use std::net::SocketAddr;
use std::time::Duration;

use http::StatusCode;

use super::caller::Exchange;
use super::meters::Row;
use super::stage::Scene;
use crate::cli::ink::{Ink, cut};
use crate::emit::{RATELIMIT_LIMIT, RATELIMIT_REMAINING, RATELIMIT_RESET};
use crate::simulate::provider::thousands;

/// What the demo is.
pub(super) fn opening(gateway: SocketAddr, width: usize, ink: Ink) -> String {
    let about = "Five providers with five schemes, simulated from what they document. The calls are real: they go over sockets through the gateway. No network is needed.";
    let about: String = wrapped(about, width.saturating_sub(2))
        .iter()
        .map(|line| format!("  {line}\n"))
        .collect();
    format!(
        "\n{}: one endpoint for third-party APIs, the same rate-limit headers on all.\n\n{about}\n  gateway    {}\n  dashboard  {}  (as long as the demo runs)\n",
        ink.bold("headroom"),
        ink.bold(&format!("http://{gateway}/")),
        ink.bold(&format!("http://{gateway}/-/")),
    )
}

/// One call to a provider.
pub(super) fn scene(scene: &Scene, exchange: &Exchange, width: usize, ink: Ink) -> String {
    let mut text = heading(&scene.name, &scene.account, width, ink);
    text.push_str(&sides(scene, exchange, width, ink));
    let tells_reset = exchange
        .native
        .iter()
        .any(|(name, _)| name.contains("reset"));
    let note = match (exchange.is_silent(), tells_reset) {
        (true, _) => {
            "Not one header tells of its limits: headroom counts. `estimated`, because it is the documented quota, and nobody has said that this account has it."
        }
        (false, false) => {
            "No header tells when quota comes back: headroom knows from its own count."
        }
        (false, true) => "",
    };
    text.push_str(&remark(note, width, ink));
    text
}

/// The call that found the quota used up.
pub(super) fn used_up(scene: &Scene, exchange: &Exchange, width: usize, ink: Ink) -> String {
    let title = format!("{}, used up", scene.name);
    let about = format!("{} calls of another program before", scene.quota);
    let mut text = heading(&title, &about, width, ink);
    text.push_str(&sides(scene, exchange, width, ink));
    if exchange.status != exchange.native_status {
        let note = format!(
            "HTTP clients take a {} for a final answer. On a {} with Retry-After nearly all of them wait and try again by themselves. (The simulated {} skips its limit of one request a second here.)",
            exchange.native_status.as_u16(),
            exchange.status.as_u16(),
            scene.name,
        );
        text.push_str(&remark(&note, width, ink));
    }
    text
}

/// The call after that one.
pub(super) fn suspended(scene: &Scene, exchange: &Exchange, width: usize, ink: Ink) -> String {
    let title = format!("{}, once more", scene.name);
    let mut text = heading(&title, "the next call with this credential", width, ink);
    text.push_str(&sides(scene, exchange, width, ink));
    let note = format!(
        "The call has not left the gateway: {} wants none before its quota is back. Everything else goes on, other accounts at {} too.",
        scene.name, scene.name,
    );
    text.push_str(&remark(&note, width, ink));
    text
}

/// Calls of which one was held.
pub(super) fn held(
    scene: &Scene,
    wait: &str,
    calls: &[(Exchange, Duration)],
    width: usize,
    ink: Ink,
) -> String {
    let title = format!("{}, waiting in order", scene.name);
    let about = format!("{} calls at once, and one too many", calls.len());
    let mut text = heading(&title, &about, width, ink);
    let request = format!("GET /{}{}  prefer: {wait}", scene.id, scene.path);
    text.push_str(&format!("  {}\n", ink.dim(&request)));
    for (exchange, took) in calls {
        let status = status(exchange.status).show(ink);
        let took = format!("after {:.1} s", took.as_secs_f64());
        text.push_str(&format!("  {status}  {}\n", ink.bold(&took)));
    }
    let note = format!(
        "Each of them runs for a second. {} would have refused the last one; headroom held it until another was done, because it said that it can wait.",
        scene.name
    );
    text.push_str(&remark(&note, width, ink));
    text
}

/// Above the meters.
pub(super) fn counted(width: usize, ink: Ink) -> String {
    heading(
        "What headroom counts",
        "`headroom quota` shows it of a running gateway",
        width,
        ink,
    )
}

/// Below the live meters.
pub(super) fn counts(rows: &[Row], ink: Ink) -> String {
    let calls: u64 = rows.iter().map(|row| row.calls).sum();
    let refused: u64 = rows.iter().map(|row| row.refused).sum();
    let counts = format!(
        "  {} calls, {} of them refused with 429",
        thousands(calls),
        thousands(refused)
    );
    format!("{}\n", ink.dim(&counts))
}

/// All providers by the same three headers.
pub(super) fn summary(rows: &[Row], width: usize, ink: Ink) -> String {
    let mut text = heading(
        "Five schemes, three headers",
        "after the first call",
        width,
        ink,
    );
    // What the three columns of headers leave.
    let room = width.saturating_sub(62).min(24);
    let line = |cells: [&str; 4]| {
        let [name, limit, left, reset] = cells;
        let name = cut(name, room - 1);
        format!("  {name:<room$}{limit:<24}{left:>20}{reset:>16}\n")
    };
    let names = [&RATELIMIT_LIMIT, &RATELIMIT_REMAINING, &RATELIMIT_RESET];
    let [limit, left, reset] = names.map(|name| name.as_str().to_owned());
    text.push_str(&ink.dim(&line(["", &limit, &left, &reset])));
    for row in rows {
        text.push_str(&line([&row.name, &row.limit, &row.left, &row.reset]));
    }
    text
}

/// What to do next.
pub(super) fn closing(width: usize, ink: Ink) -> String {
    let next = "Without --once the demo goes on, with live meters. With your own credentials: start `headroom serve`, and call http://127.0.0.1:8080/toggl/api/v9/me instead of https://api.track.toggl.com/api/v9/me.";
    let lines = wrapped(next, width);
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    format!(
        "\n{}\n",
        text.replace("headroom serve", &ink.bold("headroom serve"))
    )
}

/// Above the live meters.
pub(super) fn live(scenes: &[Scene], gateway: SocketAddr, ink: Ink) -> String {
    let example = scenes.iter().find(|scene| scene.id == "hubspot");
    let example = example.map_or_else(String::new, |scene| {
        let call = format!("curl -i http://{gateway}/{}{}", scene.id, scene.path);
        format!("\nTry it from another terminal:\n\n  {}\n", ink.bold(&call))
    });
    format!("{example}\nThe calls go on until Ctrl-C.\n\n")
}

fn heading(title: &str, about: &str, width: usize, ink: Ink) -> String {
    let used = title.chars().count() + about.chars().count() + 8;
    let rule = "─".repeat(width.saturating_sub(used));
    format!(
        "\n{} {} {} {} {}\n",
        ink.dim("──"),
        ink.bold(title),
        ink.dim("─"),
        about,
        ink.dim(&rule)
    )
}

fn remark(text: &str, width: usize, ink: Ink) -> String {
    let lines = wrapped(text, width.saturating_sub(2));
    let lines = lines.iter().map(|line| format!("  {}\n", ink.warn(line)));
    lines.collect()
}

/// The least that headroom's side needs.
const STANDARD_SIDE: usize = 40;

/// Provider and headroom, side by side; one above the other where that is too wide.
fn sides(scene: &Scene, exchange: &Exchange, width: usize, ink: Ink) -> String {
    let needed = exchange
        .native
        .iter()
        .map(|(name, value)| name.len() + value.len() + 2);
    let needed = needed.max().unwrap_or(0).max(32);
    // What cannot be broken stands below its name, indented.
    let words = exchange
        .standard
        .iter()
        .flat_map(|(_, value)| value.split_whitespace());
    let widest = words.map(|word| word.len() + 2).max().unwrap_or(0);
    let stacked = needed + widest.max(STANDARD_SIDE) + 4 > width;
    let (left, right) = if stacked {
        (width - 2, width - 2)
    } else {
        (needed, width - needed - 4)
    };
    let mut native = vec![Cell::plain("the provider says", Look::Dim)];
    if exchange.is_own {
        native.push(Cell::plain("(it is not asked)", Look::Dim));
    } else {
        native.push(status(exchange.native_status));
        native.extend(headers(&exchange.native, left));
    }
    if exchange.is_silent() && !exchange.is_own {
        native.push(Cell::plain("(nothing of its limits)", Look::Dim));
    }
    let mut standard = vec![Cell::plain("headroom answers", Look::Dim)];
    standard.push(status(exchange.status));
    if exchange.is_own {
        // In the provider's dress, for whoever reads only that.
        standard.extend(headers(&exchange.native, right));
    }
    standard.extend(headers(&exchange.standard, right));
    let request = format!("GET /{}{}", scene.id, scene.path);
    let mut text = format!("  {}\n", ink.dim(&request));
    if stacked {
        for cell in native.iter().chain(&standard) {
            text.push_str(&format!("  {}\n", cell.show(ink)));
        }
        return text;
    }
    for row in 0..native.len().max(standard.len()) {
        let empty = Cell::plain("", Look::Dim);
        let native = native.get(row).unwrap_or(&empty);
        let standard = standard.get(row).unwrap_or(&empty);
        let gap = " ".repeat(left.saturating_sub(native.len()));
        let line = format!("  {}{gap}  {}", native.show(ink), standard.show(ink));
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// How a cell looks.
#[derive(Debug, Clone, Copy)]
enum Look {
    Dim,
    Good,
    Bad,
    Header,
}

/// A line of one side: what is dim, and what is not.
#[derive(Debug)]
struct Cell {
    name: String,
    value: String,
    look: Look,
}

impl Cell {
    fn plain(text: &str, look: Look) -> Self {
        Self {
            name: String::new(),
            value: text.to_owned(),
            look,
        }
    }

    fn header(name: &str, value: &str) -> Self {
        Self {
            name: name.to_owned(),
            value: value.to_owned(),
            look: Look::Header,
        }
    }

    fn len(&self) -> usize {
        self.name.chars().count() + self.value.chars().count()
    }

    fn show(&self, ink: Ink) -> String {
        let value = match self.look {
            Look::Dim => ink.dim(&self.value),
            Look::Good => ink.good(&self.value),
            Look::Bad => ink.bad(&self.value),
            Look::Header => ink.bold(&self.value),
        };
        format!("{}{value}", self.name)
    }
}

fn status(status: StatusCode) -> Cell {
    let text = format!(
        "{} {}",
        status.as_u16(),
        status.canonical_reason().unwrap_or("")
    );
    let look = if status.is_success() {
        Look::Good
    } else {
        Look::Bad
    };
    Cell::plain(text.trim_end(), look)
}

/// Headers, broken between the members of a list where they are too long.
fn headers(headers: &[(String, String)], width: usize) -> Vec<Cell> {
    let mut cells = Vec::new();
    for (name, value) in headers {
        let mut name = format!("{name}: ");
        let first = value.split_whitespace().next().unwrap_or("");
        let mut value = value.as_str();
        if name.len() + first.len() <= width {
            // As many members as fit beside the name.
            let beside = wrapped(value, width - name.len());
            let line = beside.first().map_or("", String::as_str);
            let (line, rest) = value.split_at(line.len().min(value.len()));
            cells.push(Cell::header(&name, line));
            value = rest;
        } else {
            name.truncate(name.trim_end().len());
            cells.push(Cell::header(&name, ""));
        }
        let below = wrapped(value, width.saturating_sub(2));
        cells.extend(below.iter().map(|line| Cell::header("  ", line)));
    }
    cells
}

/// Breaks a text between words.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}
