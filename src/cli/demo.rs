//! `headroom demo`: simulated providers, the gateway before them, and live calls, so that a newcomer sees the main job
//! without any account and without any network.
//!
//! In reading order: [`stage`] opens the sockets, [`caller`] makes the calls, [`report`] shows one exchange, [`meters`]
//! remembers the last of each provider. The bars are those of `headroom quota`.

mod caller;
mod meters;
mod report;
mod stage;

use std::io::{self, IsTerminal};
use std::time::Duration;

use clap::Args;

use super::ink::{self, Ink};
use super::quota::draw_over;
use super::quota::view::{Detail, table};
use super::{Failure, is_read, print, tell};
use crate::ledger::report::MeterReport;
use caller::Caller;
use meters::Row;
use stage::{Scene, Stage};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// One round, then the end
    #[arg(long)]
    once: bool,
}

/// The widest that is written for: longer lines are hard to read.
const WIDEST: usize = 100;

/// The pace of the live calls.
const PACE: Duration = Duration::from_millis(500);

/// Who makes the first calls, and whose quota at Toggl is used up: each has an account of its own.
const VISITOR: &str = "visitor";
const GREEDY: &str = "greedy";

/// What the calls say that may be held.
const WAIT: &str = "wait=5";

/// How long each of those runs.
const RUNS_SECS: u64 = 1;

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
        tell(&format!(
            "{taken} is taken, so the gateway listens on {}",
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
        use_up(&caller, scene, width, ink).await?;
    }
    if let Some(scene) = stage.scenes.last() {
        hold(&caller, scene, width, ink).await?;
    }
    print(&report::summary(&rows, width, ink))?;
    print(&report::counted(width, ink))?;
    print(&table(&known(&caller).await?, width, Detail::Full, ink))?;
    if once {
        return print(&report::closing(width, ink));
    }
    tokio::select! {
        result = keep_calling(&stage, &caller, rows, width, ink) => result,
        _ = tokio::signal::ctrl_c() => {
            tell("");
            Ok(())
        }
    }
}

/// Another program uses the quota up, past the gateway. Then the provider refuses a call through it, and the next one
/// headroom itself.
async fn use_up(caller: &Caller, scene: &Scene, width: usize, ink: Ink) -> Result<(), Failure> {
    for _ in 0..scene.quota {
        caller.get_past(scene, GREEDY).await?;
    }
    let first = caller.get(scene, GREEDY).await?;
    if first.status == http::StatusCode::OK {
        return Err(Failure::unreadable(format!(
            "headroom: the simulated {} did not refuse",
            scene.name
        )));
    }
    print(&report::used_up(scene, &first, width, ink))?;
    let second = caller.get(scene, GREEDY).await?;
    print(&report::suspended(scene, &second, width, ink))
}

/// More calls at a time than may run: one is held until another is done.
async fn hold(caller: &Caller, scene: &Scene, width: usize, ink: Ink) -> Result<(), Failure> {
    let call = || caller.get_patiently(scene, VISITOR, RUNS_SECS, WAIT);
    let (a, b, c, d) = tokio::join!(call(), call(), call(), call());
    let mut calls = [a?, b?, c?, d?];
    calls.sort_by_key(|(_, took)| *took);
    print(&report::held(scene, WAIT, &calls, width, ink))
}

/// The gateway's meters, without those of limits that no simulated account has.
async fn known(caller: &Caller) -> Result<Vec<MeterReport>, Failure> {
    let mut meters = caller.meters().await?.meters;
    meters.retain(|meter| meter.limit.is_some() || meter.remaining.is_some());
    Ok(meters)
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
            if !redraw && !is_read(&row.line())? {
                return Ok(());
            }
        }
        if redraw {
            let text = table(&known(caller).await?, width, Detail::Brief, ink);
            let text = text + &report::counts(&rows, ink);
            drawn = draw_over(
                &text,
                drawn,
                ink::size().map_or(usize::MAX, |(_, lines)| lines),
            )?;
        }
    }
    Ok(())
}

/// How wide stdout is, within what is written for.
fn width() -> usize {
    ink::size().map_or(ink::NARROW, |(columns, _)| columns.min(WIDEST))
}
