//! The meters of the live demo. Answers in, text out; no I/O.

use http::HeaderName;

use super::caller::{Exchange, Gauge};
use super::ink::Ink;
use super::stage::Scene;
use crate::emit::{RATELIMIT_LIMIT, RATELIMIT_REMAINING, RATELIMIT_RESET};
use crate::simulate::provider::thousands;

/// What is known of one provider.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) name: String,
    /// The three headers of the last answer, as they were written.
    pub(super) limit: String,
    pub(super) left: String,
    pub(super) reset: String,
    id: &'static str,
    calls: u64,
    refused: u64,
    status: u16,
    gauges: Vec<Gauge>,
}

impl Row {
    pub(super) fn new(scene: &Scene, exchange: &Exchange) -> Self {
        let mut row = Self {
            name: scene.name.clone(),
            limit: String::new(),
            left: String::new(),
            reset: String::new(),
            id: scene.id,
            calls: 0,
            refused: 0,
            status: 0,
            gauges: Vec::new(),
        };
        row.update(exchange);
        row
    }

    /// Takes an answer in.
    pub(super) fn update(&mut self, exchange: &Exchange) {
        let shown = |name: &HeaderName| exchange.get(name).unwrap_or("unknown").to_owned();
        self.limit = shown(&RATELIMIT_LIMIT);
        self.left = shown(&RATELIMIT_REMAINING);
        self.reset = shown(&RATELIMIT_RESET);
        self.calls += 1;
        self.refused += u64::from(!exchange.status.is_success());
        self.status = exchange.status.as_u16();
        // The order is that of the first answer, so that lines do not jump when another policy binds.
        for gauge in &exchange.gauges {
            match self
                .gauges
                .iter_mut()
                .find(|known| known.policy == gauge.policy)
            {
                Some(known) => *known = gauge.clone(),
                None => self.gauges.push(gauge.clone()),
            }
        }
    }

    /// One line where nothing can be drawn over.
    pub(super) fn line(&self) -> String {
        format!(
            "{:<16} {}  ratelimit-limit: {}  ratelimit-remaining: {}  ratelimit-reset: {}\n",
            self.id, self.status, self.limit, self.left, self.reset
        )
    }
}

/// Every meter as a bar, one line each; each line ends with what wipes the rest of an older one.
pub(super) fn bars(rows: &[Row], width: usize, ink: Ink) -> String {
    // At the narrowest, names give way to the bars.
    let room = if width < 96 { 14 } else { 22 };
    let length = width.saturating_sub(room + POLICY + NUMBERS + RESET + 5);
    let gap = 2 + room + POLICY + length + 1;
    let titles = format!("{:gap$}{:>NUMBERS$}  reset in", "", "left");
    let mut text = format!("{}\x1b[K\n", ink.dim(&titles));
    for row in rows {
        for (index, gauge) in row.gauges.iter().enumerate() {
            let name = if index == 0 { row.name.as_str() } else { "" };
            text.push_str(&bar((name, room), gauge, length, ink));
            text.push_str("\x1b[K\n");
        }
    }
    let calls: u64 = rows.iter().map(|row| row.calls).sum();
    let refused: u64 = rows.iter().map(|row| row.refused).sum();
    let counts = format!(
        "  {} calls, {} of them refused with 429",
        thousands(calls),
        thousands(refused)
    );
    text.push_str(&format!("{}\x1b[K\n", ink.dim(&counts)));
    text
}

const POLICY: usize = 13;
const NUMBERS: usize = 18;
const RESET: usize = 11;

fn bar((name, room): (&str, usize), gauge: &Gauge, length: usize, ink: Ink) -> String {
    let name = format!("  {:<room$}", cut(name, room - 1));
    let policy = format!("{:<POLICY$}", cut(&gauge.policy, POLICY - 1));
    let quota = gauge.quota.unwrap_or(0);
    let (drawn, numbers, reset) = match gauge.left {
        Some(left) if quota > 0 => {
            let share = left.min(quota);
            let filled = usize::try_from(share.saturating_mul(length as u64).div_ceil(quota))
                .unwrap_or(length)
                .min(length);
            let full = "█".repeat(filled);
            let full = match (left, left.saturating_mul(4) < quota) {
                (0, _) => full,
                (_, true) => ink.warn(&full),
                _ => ink.good(&full),
            };
            let numbers = format!("{} of {}", thousands(left), thousands(quota));
            let numbers = format!("{numbers:>NUMBERS$}");
            let numbers = if left == 0 {
                ink.bad(&numbers)
            } else {
                numbers
            };
            let reset = gauge.reset.map_or_else(String::new, self::length);
            (
                format!("{full}{}", ink.dim(&"░".repeat(length - filled))),
                numbers,
                reset,
            )
        }
        _ => (
            ink.dim(&"·".repeat(length)),
            format!("{:>NUMBERS$}", format!("? of {}", thousands(quota))),
            "not counted".to_owned(),
        ),
    };
    format!(
        "{}{}{drawn} {numbers}  {}",
        ink.bold(&name),
        ink.dim(&policy),
        ink.dim(&reset)
    )
}

/// A text that is not wider than this.
pub(super) fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let short: String = text.chars().take(width - 1).collect();
    format!("{short}…")
}

/// `59 min 58 s`.
fn length(secs: u64) -> String {
    match secs {
        0..60 => format!("{secs} s"),
        60..3_600 => format!("{} min {} s", secs / 60, secs % 60),
        _ if (secs / 60).is_multiple_of(60) => format!("{} h", secs / 3_600),
        _ => format!("{} h {} min", secs / 3_600, secs / 60 % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gauge(left: Option<u64>) -> Gauge {
        Gauge {
            policy: "organization".to_owned(),
            quota: Some(30),
            left,
            reset: Some(3_598),
            ..Gauge::default()
        }
    }

    #[test]
    fn a_bar_is_as_long_as_what_is_left() {
        for (left, bar_of) in [
            (Some(30), "██████████"),
            (Some(1), "█░░░░░░░░░"),
            (Some(0), "░░░░░░░░░░"),
            (None, "··········"),
        ] {
            let text = bar(("Toggl Track", 14), &gauge(left), 10, Ink::none());
            assert!(text.contains(bar_of), "{text}");
        }
    }

    #[test]
    fn times_are_for_people() {
        assert_eq!(length(59), "59 s");
        assert_eq!(length(3_598), "59 min 58 s");
        assert_eq!(length(50_400), "14 h");
    }
}
