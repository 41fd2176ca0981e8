//! Everything that the task of warnings knows: the meters that took a step, what was told of them, and the letters.

use std::collections::{BTreeSet, HashMap};
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::timeout;

use super::client::Refusal;
use super::episode::{self, Episode, Finding, Pace, View};
use super::outbox::{Address, Next, Outbox, Stored};
use super::warning::{Data, Kind, Warning, log};
use super::{Attempt, Counters, Endpoint, Warnings};
use crate::clock;
use crate::ledger::cell::Cell;
use crate::ledger::lookout::{self, Sight};
use crate::state::{State, WarningRow, Written};
use crate::time::{Nanos, Now};

/// The kinds of rows in the store.
const EPISODE: &str = "episode";
const LETTER: &str = "letter";

/// Looks between two at meters that nothing was told of.
const CALM: u64 = 15;

/// Meters that nothing was told of and that are looked at for their pace, at the most.
const MOST: usize = 100_000;

/// How long warnings wait for the store. A disk may hang without failing; they are told all the same.
const PATIENCE: Duration = Duration::from_secs(1);

/// A meter that took a step.
struct Entry {
    /// `None`: it is of an earlier process, and nobody has found it yet.
    cell: Option<Arc<Cell>>,
    /// The last sight of it.
    number: u64,
    episode: Episode,
    /// The meter when it was last told of.
    data: Option<Data>,
}

/// What is stored of it.
#[derive(Serialize, Deserialize)]
struct Kept {
    episode: episode::Stored,
    data: Data,
}

pub(super) struct Keeper {
    warnings: Arc<Warnings>,
    entries: HashMap<String, Entry>,
    outbox: Outbox,
    endpoints: Arc<[Arc<Endpoint>]>,
    /// Those that have said that they are gone.
    gone: BTreeSet<Arc<str>>,
    /// Entries that the store does not know yet.
    changed: BTreeSet<String>,
    /// A write that was not answered in time. Nothing more is handed over before it is.
    hanging: Option<Written>,
    looks: u64,
    /// Files that the store has begun, as of the last look: in a new one nothing is.
    files: u64,
}

impl Keeper {
    /// With what an earlier process left.
    pub(super) fn new(warnings: Arc<Warnings>, rows: Vec<WarningRow>, now: Now) -> Self {
        let endpoints = warnings.endpoints();
        let mut keeper = Self {
            warnings,
            entries: HashMap::new(),
            outbox: Outbox::default(),
            endpoints,
            gone: BTreeSet::new(),
            changed: BTreeSet::new(),
            hanging: None,
            looks: 0,
            files: 0,
        };
        keeper.restore_all(&rows, now);
        keeper
    }

    fn restore_all(&mut self, rows: &[WarningRow], now: Now) {
        for row in rows {
            if let Err(error) = self.restore(row, now) {
                tracing::warn!(error = %error, "A stored warning could not be read.");
            }
        }
        self.drop_strays();
    }

    /// The same, from a store that was opened later. What is known of a meter since goes on.
    pub(super) fn restore_late(&mut self, mut rows: Vec<WarningRow>, now: Now) {
        rows.retain(|row| row.kind != EPISODE || !self.entries.contains_key(&row.key));
        self.restore_all(&rows, now);
    }

    fn restore(&mut self, row: &WarningRow, now: Now) -> Result<(), serde_json::Error> {
        let data = row.data.as_deref().unwrap_or_default();
        if row.kind == EPISODE {
            let kept: Kept = serde_json::from_slice(data)?;
            let entry = Entry {
                cell: None,
                number: 0,
                episode: Episode::restore(&kept.episode, now),
                data: Some(kept.data),
            };
            self.entries.insert(row.key.clone(), entry);
        } else if let Some(address) = Address::from_key(&row.key) {
            let letter: Stored = serde_json::from_slice(data)?;
            self.outbox.restore(address, letter, now);
        }
        Ok(())
    }

    /// The meters that an earlier process has told of.
    pub(super) fn known(&self) -> BTreeSet<String> {
        self.entries.keys().cloned().collect()
    }

    /// Goes on with the meters of an earlier process.
    pub(super) fn resume(&mut self, sights: Vec<Sight>, now: Now) {
        for sight in sights {
            self.judge(key(&sight), &sight, now);
        }
        self.end_lost(now);
    }

    /// Meters of an earlier process that are not there: their connection is gone, or nobody has called yet. When their
    /// window is over, so much is known that they have recovered.
    fn end_lost(&mut self, now: Now) {
        let lost = self.entries.iter().filter(|(_, entry)| {
            entry.cell.is_none() && (entry.episode.is_over(now) || !entry.episode.has_end())
        });
        let lost: Vec<String> = lost.map(|(key, _)| key.clone()).collect();
        for key in lost {
            let Some(entry) = self.entries.remove(&key) else {
                continue;
            };
            self.changed.insert(key);
            let told = entry.episode.has_end();
            if let Some(data) = entry.data.filter(|_| told) {
                self.tell(Kind::Recovered, data.unknown(), now);
            }
        }
    }

    /// Other receivers, if they are others.
    pub(super) fn put_endpoints(&mut self, endpoints: Arc<[Arc<Endpoint>]>) {
        if !Arc::ptr_eq(&self.endpoints, &endpoints) {
            self.endpoints = endpoints;
            self.gone.clear();
            self.drop_strays();
        }
    }

    fn drop_strays(&mut self) {
        let (endpoints, gone) = (&self.endpoints, &self.gone);
        let dropped = self.outbox.keep_for(|id| {
            endpoints.iter().any(|one| **one.id() == *id) && !gone.iter().any(|one| **one == *id)
        });
        if dropped > 0 {
            Counters::add(&self.warnings.counters.dropped, dropped);
            tracing::warn!(
                webhooks = dropped,
                "Webhooks that waited were dropped: their receiver is not configured any more, or is gone."
            );
        }
    }

    /// Meters that took a step just now.
    pub(super) fn notice(&mut self, sights: Vec<Sight>, now: Now) {
        for sight in sights {
            self.judge(key(&sight), &sight, now);
        }
    }

    /// Looks at the meters that were told of, and now and then at the others.
    pub(super) fn look(&mut self, now: Now) {
        self.looks = self.looks.wrapping_add(1);
        let all = self.looks.is_multiple_of(CALM);
        let due: Vec<(String, Arc<Cell>)> = self
            .entries
            .iter()
            .filter(|(_, entry)| all || entry.episode.warned != 0)
            .filter_map(|(key, entry)| Some((key.clone(), Arc::clone(entry.cell.as_ref()?))))
            .collect();
        for (key, cell) in due {
            let sight = lookout::look(&cell, now);
            self.judge(key, &sight, now);
        }
        self.end_lost(now);
    }

    fn judge(&mut self, key: String, sight: &Sight, now: Now) {
        let is_new = !self.entries.contains_key(&key);
        let thresholds = sight
            .watch
            .as_ref()
            .map_or(&[][..], |watch| watch.thresholds());
        let is_calm = sight
            .percent
            .is_none_or(|percent| thresholds.iter().all(|one| *one > percent));
        if is_new && is_calm && self.entries.len() >= MOST {
            return;
        }
        let entry = self.entries.entry(key.clone()).or_insert_with(|| Entry {
            cell: None,
            number: 0,
            episode: Episode::default(),
            data: None,
        });
        let is_same = entry
            .cell
            .as_ref()
            .is_some_and(|cell| Arc::ptr_eq(cell, &sight.cell));
        if is_same && sight.number < entry.number {
            // Somebody has looked at it since it was put into the queue.
            return;
        }
        if entry.cell.is_none() {
            entry.episode.resume(sight.window, now);
        }
        entry.cell = Some(Arc::clone(&sight.cell));
        entry.number = sight.number;
        let before = entry.episode.clone();
        let view = view(sight, thresholds);
        let crossing = entry.episode.crossing(&view, now);
        let forecasts = sight.watch.as_ref().is_some_and(|watch| watch.forecasts());
        let too_fast = forecasts && entry.episode.forecast(&view, now);
        // What was told stands in the meter, so that its next call is not told of again.
        let percent = sight.percent.unwrap_or(0).max(entry.episode.warned);
        lookout::remember(sight, percent);
        let mut told = Vec::new();
        let data = Data::of(sight, now);
        if let Some(finding) = crossing {
            let (kind, threshold) = match finding {
                Finding::Crossed(threshold) => (Kind::Threshold, Some(threshold)),
                Finding::Recovered => (Kind::Recovered, thresholds.first().copied()),
            };
            told.push((
                kind,
                Data {
                    threshold,
                    ..data.clone()
                },
            ));
        }
        if too_fast {
            let runs_out_at = sight.forecast.as_ref().map(|one| one.runs_out_at.clone());
            told.push((
                Kind::Forecast,
                Data {
                    runs_out_at,
                    ..data.clone()
                },
            ));
        }
        if entry.episode.is_changed(&before) {
            entry.data = Some(data);
            self.changed.insert(key.clone());
        }
        let is_over = entry.episode.is_idle(now)
            && (sight.is_forgotten || sight.percent.is_none_or(|p| p < lookout::FORECAST_FROM));
        if is_over {
            if entry.episode.is_kept() || before.is_kept() {
                self.changed.insert(key.clone());
            }
            self.entries.remove(&key);
        }
        for (kind, data) in told {
            self.tell(kind, data, now);
        }
    }

    /// Tells everybody.
    fn tell(&mut self, kind: Kind, data: Data, now: Now) {
        let warning = Warning::new(kind, data, now);
        log(&warning);
        self.warnings.counters.count(&warning);
        let wanted = self.endpoints.iter().filter(|one| one.wants(&warning));
        let wanted = wanted.filter(|one| !self.gone.contains(one.id()));
        match serde_json::to_string(&warning) {
            Ok(body) => {
                let (id, body) = (message_id(now), Arc::from(body));
                let mut dropped = 0;
                for endpoint in wanted {
                    let address = Address {
                        id: Arc::clone(&id),
                        endpoint: Arc::clone(endpoint.id()),
                    };
                    dropped += self.outbox.add(address, &body, now);
                }
                if dropped > 0 {
                    Counters::add(&self.warnings.counters.dropped, dropped);
                    tracing::warn!(
                        webhooks = dropped,
                        "Too many webhooks wait; the oldest were dropped."
                    );
                }
            }
            Err(error) => tracing::error!(error = %error, "A warning could not be written."),
        }
        // Nobody may be listening.
        let _nobody = self.warnings.told.send(Arc::new(warning));
    }

    /// What is to be sent now.
    pub(super) fn due(&mut self, now: Now) -> Vec<(Address, Attempt)> {
        let due = self.outbox.due(now).into_iter();
        let waiting = self.outbox.len() as u64;
        self.warnings
            .counters
            .waiting
            .store(waiting, Ordering::Relaxed);
        due.filter_map(|(address, body)| {
            let endpoint = self
                .endpoints
                .iter()
                .find(|one| *one.id() == address.endpoint)?;
            let attempt = Attempt {
                endpoint: Arc::clone(endpoint),
                id: Arc::clone(&address.id),
                timestamp: now.wall_ms.div_euclid(1_000),
                body,
            };
            Some((address, attempt))
        })
        .collect()
    }

    /// What became of a letter.
    pub(super) fn sent(
        &mut self,
        address: &Address,
        result: Result<(), Refusal>,
        random: u64,
        now: Now,
    ) {
        let counters = &self.warnings.counters;
        let Err(refusal) = result else {
            Counters::add(&counters.delivered, 1);
            self.outbox.taken(address);
            return;
        };
        Counters::add(&counters.failed, 1);
        let endpoint = self
            .endpoints
            .iter()
            .find(|one| *one.id() == address.endpoint);
        let receiver = endpoint.map_or_else(String::new, |one| one.origin());
        let reason = refusal.reason;
        if refusal.is_gone {
            tracing::error!(
                webhook.receiver = receiver,
                "The receiver of webhooks says that it is gone; it gets no more until the configuration is read again."
            );
            self.gone.insert(Arc::clone(&address.endpoint));
            self.drop_strays();
            return;
        }
        match self.outbox.failed(address, random, now) {
            Some(Next::At(at)) => tracing::warn!(
                webhook.id = &*address.id,
                webhook.receiver = receiver,
                retry_in_s = at.since(now.steady).ceil_secs(),
                "A webhook was not taken: {reason}."
            ),
            Some(Next::GivenUp) => {
                Counters::add(&counters.given_up, 1);
                tracing::error!(
                    webhook.id = &*address.id,
                    webhook.receiver = receiver,
                    "A webhook was given up: {reason}."
                );
            }
            None => {}
        }
    }

    /// Stores what changed. What cannot be stored, or not soon, is tried again with the next change, and at the latest in a
    /// second, but not before the store has answered.
    pub(super) async fn save(&mut self, state: Option<&State>, now: Now) {
        if let Some(hanging) = &mut self.hanging {
            let answer = poll_fn(|context| Poll::Ready(Pin::new(&mut *hanging).poll(context)));
            if answer.await.is_pending() {
                return;
            }
            // Whatever the answer: all of it is still among what changed, as it is now.
            self.hanging = None;
        }
        let files = state.map_or(0, State::files);
        if std::mem::replace(&mut self.files, files) != files {
            let kept = self.entries.iter();
            let kept = kept.filter(|(_, entry)| entry.episode.is_kept());
            self.changed.extend(kept.map(|(key, _)| key.clone()));
            self.outbox.store_all();
        }
        let letters = self.outbox.changes(now);
        let changed = std::mem::take(&mut self.changed);
        let Some(state) = state.filter(|_| !letters.is_empty() || !changed.is_empty()) else {
            return;
        };
        let mut rows = Vec::with_capacity(letters.len() + changed.len());
        for (address, letter) in &letters {
            rows.push(row(LETTER, address.key(), letter.as_ref()));
        }
        for key in &changed {
            let kept = self
                .entries
                .get(key)
                .filter(|entry| entry.episode.is_kept());
            let kept = kept.and_then(|entry| {
                Some(Kept {
                    episode: entry.episode.stored(now),
                    data: entry.data.clone()?,
                })
            });
            rows.push(row(EPISODE, key.clone(), kept.as_ref()));
        }
        let mut written = state.write_warnings(rows);
        match timeout(PATIENCE, &mut written).await {
            Ok(Ok(())) => return,
            Ok(Err(error)) => tracing::debug!(
                error = %error,
                "Warnings could not be stored; they are kept in memory."
            ),
            Err(_) => {
                tracing::debug!("The store does not answer; warnings are kept in memory.");
                state.gave_up(&written);
                self.hanging = Some(written);
            }
        }
        self.outbox
            .not_stored(letters.into_iter().map(|(address, _)| address));
        self.changed.extend(changed);
    }
}

fn row<T: Serialize>(kind: &'static str, key: String, value: Option<&T>) -> WarningRow {
    WarningRow {
        kind: kind.to_owned(),
        key,
        data: value.and_then(|value| serde_json::to_vec(value).ok()),
    }
}

/// Names a meter, in this process and the next one.
pub(super) fn key(sight: &Sight) -> String {
    let cell = &sight.cell;
    format!(
        "{}\n{}\n{}",
        cell.account.identity,
        sight.limit.policy,
        cell.label()
    )
}

fn view<'a>(sight: &Sight, thresholds: &'a [u8]) -> View<'a> {
    let pace = sight.forecast.as_ref().and_then(|forecast| {
        Some(Pace {
            runs_out: Nanos::from_secs(forecast.runs_out_in),
            reset: Nanos::from_secs(sight.limit.reset?),
            window: Nanos::from_secs(sight.limit.window?),
        })
    });
    View {
        percent: sight.percent,
        thresholds,
        window: sight.window,
        ends: sight.ends,
        pace,
    }
}

/// Rises with time, and no two are the same.
fn message_id(now: Now) -> Arc<str> {
    let ms = now.wall_ms.max(0);
    Arc::from(format!(
        "msg_{ms:012x}{:016x}{:016x}",
        clock::random(),
        clock::random()
    ))
}
