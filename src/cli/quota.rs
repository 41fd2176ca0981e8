//! `headroom quota` and `headroom top`: the meters of a running gateway.
//!
//! [`fetch`] asks the gateway, [`view`] makes bars of its answer, [`screen`] is the terminal of the live view.

pub(super) mod fetch;
mod screen;
pub(super) mod view;

use std::io::{IsTerminal, stdout};
use std::time::Duration;

use clap::Args;

use super::ink::{self, Ink};
use super::orders::Orders;
use super::{Failure, is_read, print, tell};
use crate::clock;
use crate::ledger::report::Report;
use fetch::{Meters, Question};
use screen::Screen;
use view::{Detail, by_urgency, table};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    question: Question,
    /// Again every second, until Ctrl-C
    #[arg(long)]
    watch: bool,
    /// The JSON of /-/quota as it came
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(super) struct TopArguments {
    #[command(flatten)]
    question: Question,
}

const EVERY: Duration = Duration::from_secs(1);

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let gateway = Meters::new(&arguments.question)?;
    let Arguments { watch, json, .. } = *arguments;
    runtime()?.block_on(async {
        let mut orders = Orders::new();
        if watch {
            tokio::select! {
                outcome = keep_showing(&gateway, json) => outcome,
                () = orders.next() => Ok(()),
            }
        } else if json {
            print(&document(gateway.json().await?))
        } else {
            show(&gateway.report().await?)
        }
    })
}

pub(super) fn top(arguments: &TopArguments) -> Result<(), Failure> {
    let gateway = Meters::new(&arguments.question)?;
    runtime()?.block_on(async {
        let mut report = gateway.report().await?;
        by_urgency(&mut report.meters);
        if !stdout().is_terminal() {
            return show(&report);
        }
        let mut orders = Orders::new();
        let mut screen = Screen::open()?;
        let mut trouble = String::new();
        loop {
            let (width, lines) = size();
            draw(&screen, &report, &trouble, width, lines)?;
            tokio::select! {
                () = tokio::time::sleep(EVERY) => {}
                () = screen.left() => return Ok(()),
                () = orders.next() => return Ok(()),
            }
            (report, trouble) = match gateway.report().await {
                Ok(mut report) => {
                    by_urgency(&mut report.meters);
                    (report, String::new())
                }
                // It may be starting again.
                Err(failure) => (report, failure.message),
            };
        }
    })
}

/// One thread is enough for one question.
pub(super) fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::unreadable(format!("headroom: cannot start: {error}")))
}

/// Columns and lines, also where stdout is no terminal.
pub(super) fn size() -> (usize, usize) {
    ink::size().unwrap_or((ink::NARROW, usize::MAX))
}

fn show(report: &Report) -> Result<(), Failure> {
    if report.meters.is_empty() {
        tell("headroom: nothing is counted yet; the first call makes a meter.");
        return Ok(());
    }
    print(&text(report, size().0, Ink::for_stdout()))
}

/// The meters, and how many are not among them.
fn text(report: &Report, width: usize, ink: Ink) -> String {
    let mut text = table(&report.meters, width, Detail::Full, ink);
    let hidden = report.total.saturating_sub(report.meters.len());
    if hidden > 0 {
        text.push_str(&format!(
            "  and {hidden} more: --connection, --consumer and --policy choose\n"
        ));
    }
    text
}

/// A JSON document is a line.
pub(super) fn document(mut json: String) -> String {
    if !json.ends_with('\n') {
        json.push('\n');
    }
    json
}

/// Shows them every second. On a terminal each round is drawn over the last one.
async fn keep_showing(gateway: &Meters, json: bool) -> Result<(), Failure> {
    let ink = Ink::for_stdout();
    let over = stdout().is_terminal() && !json;
    let mut report = Report::default();
    let mut drawn = 0;
    for round in 0_u64.. {
        if json {
            if !is_read(&document(gateway.json().await?))? {
                return Ok(());
            }
        } else {
            let mut trouble = String::new();
            match gateway.report().await {
                Ok(new) => report = new,
                // It may be starting again. The first time, it is not there.
                Err(failure) if round > 0 => trouble = failure.message,
                Err(failure) => return Err(failure),
            }
            let (width, lines) = size();
            let text = text(&report, width, ink);
            if over {
                let text = text + &warning(&trouble, width, ink);
                drawn = draw_over(&text, drawn, lines)?;
            } else {
                if !trouble.is_empty() {
                    tell(&trouble);
                }
                if !is_read(&format!("{text}\n"))? {
                    return Ok(());
                }
            }
        }
        tokio::time::sleep(EVERY).await;
    }
    Ok(())
}

/// Draws over the lines of the last round. Tells how many there are now.
pub(super) fn draw_over(text: &str, drawn: usize, lines: usize) -> Result<usize, Failure> {
    let mut round = if drawn > 0 {
        format!("\x1b[{drawn}A\r")
    } else {
        String::new()
    };
    let mut count = 0;
    // What has been pushed out at the top could not be drawn over.
    for line in text.lines().take(lines.saturating_sub(1).max(1)) {
        round.push_str(&format!("{line}\x1b[K\n"));
        count += 1;
    }
    round.push_str("\x1b[J");
    print(&round)?;
    Ok(count)
}

fn draw(
    screen: &Screen,
    report: &Report,
    trouble: &str,
    width: usize,
    lines: usize,
) -> Result<(), Failure> {
    let ink = Ink::for_stdout();
    let now = clock::now().to_string();
    let now = now.get(11..19).unwrap_or_default();
    let title = format!(
        "  {}  {}\n\n",
        ink.bold("headroom top"),
        ink.dim(&format!("{} meters · {now} UTC · q leaves", report.total))
    );
    let meters = if report.meters.is_empty() {
        "  Nothing is counted yet; the first call makes a meter.\n".to_owned()
    } else {
        text(report, width, ink)
    };
    screen.draw(&(title + &warning(trouble, width, ink) + &meters), lines)
}

/// Why the numbers are old.
fn warning(trouble: &str, width: usize, ink: Ink) -> String {
    let Some(first) = trouble.lines().next() else {
        return String::new();
    };
    format!("  {}\n", ink.bad(&ink::cut(first, width - 2)))
}
