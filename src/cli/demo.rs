//! `headroom demo`: simulated providers, the gateway before them, and live calls, so that a newcomer sees the main job
//! without any account and without any network.
//!
//! In reading order: [`stage`] opens the sockets, [`caller`] makes the calls, [`report`] shows one exchange, [`meters`]
//! keeps showing them; `ink` is colour where it is welcome.

mod caller;
mod ink;
mod meters;
mod report;
mod stage;

use std::io::{self, IsTerminal, Write as _};
use std::time::Duration;

use clap::Args;

use super::{Failure, print};
use caller::{Caller, Exchange};
use ink::Ink;
use meters::Row;
use stage::{Scene, Stage};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// One round, then the end
    #[arg(long)]
    once: bool,
}

/// The narrowest and the widest that is written for.
const WIDTHS: (usize, usize) = (80, 100);

/// The pace of the live calls.
const PACE: Duration = Duration::from_millis(500);

/// Who makes the first calls, and who uses Toggl up: each has an account of its own.
const VISITOR: &str = "visitor";
const GREEDY: &str = "greedy";

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::unreadable(format!("headroom: cannot start: {error}")))?;
    runtime.block_on(demo(arguments.once))
}

async fn demo(once: bool) -> Result<(), Failure> {
    let ink = Ink::for_stdout();
    let width = width();
    let stage = Stage::open().await?;
    if let Some(taken) = stage.taken {
        say(&format!(
            "{taken} is taken, so the gateway listens on {}\n",
            stage.gateway
        ));
    }
    let caller = Caller::new(stage.gateway)?;
    print(&report::opening(stage.gateway, width, ink))?;
    let mut rows = Vec::new();
    for scene in &stage.scenes {
        let exchange = caller.get(scene, VISITOR).await?;
        print(&report::scene(scene, &exchange, width, ink))?;
        rows.push(Row::new(scene, &exchange));
    }
    if let Some(scene) = stage.scenes.first() {
        let (calls, exchange) = use_up(&caller, scene).await?;
        print(&report::used_up(scene, calls, &exchange, width, ink))?;
    }
    print(&report::summary(&rows, width, ink))?;
    if once {
        return print(&report::closing(ink));
    }
    tokio::select! {
        result = keep_calling(&stage, &caller, rows, width, ink) => result,
        _ = tokio::signal::ctrl_c() => {
            say("\n");
            Ok(())
        }
    }
}

/// Calls until the provider refuses.
async fn use_up(caller: &Caller, scene: &Scene) -> Result<(u64, Exchange), Failure> {
    // More calls than its quota: it refuses, or the demo is wrong.
    for calls in 1..=scene.quota.saturating_add(1) {
        let exchange = caller.get(scene, GREEDY).await?;
        if exchange.status != http::StatusCode::OK {
            return Ok((calls, exchange));
        }
    }
    Err(Failure::unreadable(format!(
        "headroom: the simulated {} did not refuse",
        scene.name
    )))
}

/// Calls at a gentle pace and shows what comes back, until somebody ends it.
async fn keep_calling(
    stage: &Stage,
    caller: &Caller,
    mut rows: Vec<Row>,
    width: usize,
    ink: Ink,
) -> Result<(), Failure> {
    let redraw = io::stdout().is_terminal();
    print(&report::live(&stage.scenes, stage.gateway, ink))?;
    let mut drawn = 0;
    let mut ticks = tokio::time::interval(PACE);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    for tick in 0_u64.. {
        ticks.tick().await;
        let turns = stage.scenes.iter().zip(&mut rows);
        for (scene, row) in turns.filter(|(scene, _)| tick.is_multiple_of(scene.every)) {
            for _ in 0..scene.at_once {
                row.update(&caller.get(scene, VISITOR).await?);
            }
            if !redraw {
                print(&row.line())?;
            }
        }
        if redraw {
            let text = meters::bars(&rows, width, ink);
            // Up to the first line again; every line is written over whole.
            let up = if drawn > 0 {
                format!("\x1b[{drawn}A")
            } else {
                String::new()
            };
            drawn = text.lines().count();
            print(&(up + &text))?;
        }
    }
    Ok(())
}

/// How wide stdout is, within what is written for.
fn width() -> usize {
    let (narrowest, widest) = WIDTHS;
    let terminal = terminal_size::terminal_size_of(io::stdout());
    terminal.map_or(widest, |(terminal_size::Width(columns), _)| {
        usize::from(columns).clamp(narrowest, widest)
    })
}

/// A message for people; a closed stderr leaves nobody to tell.
fn say(text: &str) {
    let _ = io::stderr().write_all(text.as_bytes());
}
