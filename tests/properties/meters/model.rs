//! The naive model: a list of requests, and each kind of window by its definition.

use headroom::adapter::WindowLength;
use headroom::ledger::meter::Taken;
use headroom::ledger::time::Nanos;
use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::Clock;

#[derive(Debug, Clone)]
pub(super) enum Kind {
    Fixed(Nanos),
    Aligned(WindowLength, TimeZone),
    Rolling(Nanos),
    Bucket(Nanos),
    InFlight(Nanos),
}

#[derive(Debug, Clone)]
pub(super) struct Request {
    at: u64,
    /// Which window of the calendar it was in.
    label: i64,
    pub(super) cost: u64,
    /// It used nothing after all.
    void: bool,
    /// It can open a window.
    opens: bool,
    /// It is over.
    over: bool,
    pub(super) taken: Taken,
}

#[derive(Debug, Clone)]
pub(super) struct Model {
    pub(super) kind: Kind,
    quota: u64,
    pub(super) requests: Vec<Request>,
    /// The latest window of the calendar that the clock has shown.
    label: i64,
    /// The last one before it in which something was used, and how much that was when it was over.
    closed: Option<(i64, u64)>,
    /// Of a bucket: units that were given back late are less than they were.
    pub(super) refunded: u64,
}

impl Model {
    pub(super) fn new(kind: Kind, quota: u64) -> Self {
        Self {
            kind,
            quota,
            requests: Vec::new(),
            label: i64::MIN,
            closed: None,
            refunded: 0,
        }
    }

    /// The clock shows this.
    pub(super) fn see(&mut self, clock: Clock) {
        if let Kind::Aligned(length, zone) = &self.kind {
            let shown = label(*length, zone, clock);
            // Before the first call there is nothing to remember.
            let is_new = self.requests.iter().all(|request| request.cost == 0);
            let used = self.labelled();
            if !is_new && shown > self.label && used > 0 {
                self.closed = Some((self.label, used));
            }
            self.label = if is_new { shown } else { self.label.max(shown) };
        }
        // Nothing looks back so far: the list stays short enough for a million decisions.
        if self.requests.len() > 2_000 {
            self.requests.drain(..500);
        }
    }

    pub(super) fn add(&mut self, cost: u64, taken: Taken, clock: Clock) {
        self.requests.push(Request {
            at: clock.steady,
            label: self.label,
            cost,
            void: false,
            opens: cost > 0,
            over: false,
            taken,
        });
    }

    /// Where the fixed window began that is open now.
    fn begun(&self, length: Nanos, now: u64) -> Option<usize> {
        let mut begun: Option<(usize, u64)> = None;
        for (index, request) in self.requests.iter().enumerate() {
            if request.opens && begun.is_none_or(|(_, at)| request.at >= at + length.0) {
                begun = Some((index, request.at));
            }
        }
        begun
            .filter(|(_, at)| now < at + length.0)
            .map(|(index, _)| index)
    }

    /// The request used nothing. What its window did not wait for is too late.
    pub(super) fn refund(&mut self, index: usize, clock: Clock) {
        let now = clock.steady;
        let label = self.label;
        let began = match &self.kind {
            Kind::Fixed(length) => self.begun(*length, now),
            _ => None,
        };
        let request = &self.requests[index];
        let in_time = match &self.kind {
            Kind::Fixed(_) => began.is_some_and(|began| index >= began),
            Kind::Aligned(..) => request.label == label,
            Kind::Rolling(length) => now < request.at + length.0,
            Kind::Bucket(_) => true,
            Kind::InFlight(_) => false,
        };
        if !in_time || request.void || request.cost == 0 {
            return;
        }
        self.refunded += request.cost;
        self.requests[index].void = true;
        if let Some(began) = began {
            if self.used(clock) == 0 {
                self.requests[began..]
                    .iter_mut()
                    .for_each(|request| request.opens = false);
            } else if self.requests[index].at <= self.requests[began].at {
                // Nobody saw which call opened the provider's window: it may have been as late as now.
                self.requests[began].at = now;
            }
        }
    }

    pub(super) fn release(&mut self, index: usize) {
        self.requests[index].over = true;
    }

    /// Requests that can be given back or end.
    pub(super) fn open(&self) -> Vec<usize> {
        let all = self.requests.iter().enumerate();
        let open = all
            .rev()
            .take(60)
            .filter(|(_, request)| !request.void && !request.over);
        open.map(|(index, _)| index).collect()
    }

    pub(super) fn open_calls(&self) -> Vec<usize> {
        let all = self.requests.iter().enumerate();
        all.filter(|(_, request)| !request.over)
            .map(|(index, _)| index)
            .collect()
    }

    /// What was used in the window of the calendar that is open.
    fn labelled(&self) -> u64 {
        let own = self.requests.iter();
        own.filter(|request| !request.void && request.label == self.label)
            .map(|request| request.cost)
            .sum()
    }

    /// What is used now.
    pub(super) fn used(&self, clock: Clock) -> u64 {
        self.used_of(clock, 0)
    }

    /// What is used now, if everything of a rolling window came back so much later.
    pub(super) fn used_of(&self, clock: Clock, late: u64) -> u64 {
        let now = clock.steady;
        let counted = self.requests.iter().filter(|request| !request.void);
        match &self.kind {
            Kind::Fixed(length) => self.begun(*length, now).map_or(0, |begun| {
                let window = self.requests[begun..].iter();
                window
                    .filter(|request| !request.void)
                    .map(|request| request.cost)
                    .sum()
            }),
            Kind::Aligned(length, zone) => {
                let shown = label(*length, zone, clock);
                // A clock that was set back is in a window that was used already.
                let again = self.closed.filter(|(closed, _)| shown <= *closed);
                self.labelled() + again.map_or(0, |(_, used)| used)
            }
            Kind::Rolling(length) => counted
                .rev()
                .take_while(|request| now < request.at + length.0 + late)
                .map(|request| request.cost)
                .sum(),
            Kind::Bucket(unit) => {
                let full = self.quota * unit.0;
                let (mut level, mut at) = (full, 0);
                for request in counted {
                    level = full.min(level.saturating_add(request.at - at));
                    level -= level.min(request.cost * unit.0);
                    at = request.at;
                }
                level = full.min(level.saturating_add(now - at));
                self.quota - level / unit.0
            }
            Kind::InFlight(slow) => self
                .requests
                .iter()
                .filter(|request| !request.over && request.at + slow.0 <= now)
                .map(|request| request.cost)
                .sum(),
        }
    }
}

/// A number for the window of the calendar in which the wall clock is.
pub(super) fn label(length: WindowLength, zone: &TimeZone, clock: Clock) -> i64 {
    let wall = Timestamp::from_millisecond(clock.now().wall_ms).unwrap();
    if let WindowLength::Seconds(secs) = length {
        return wall.as_second().div_euclid(i64::try_from(secs).unwrap());
    }
    let date = wall.to_zoned(zone.clone()).date();
    let days = date.to_datetime(jiff::civil::Time::midnight());
    let days = days
        .to_zoned(TimeZone::UTC)
        .unwrap()
        .timestamp()
        .as_second()
        / 86_400;
    match length {
        WindowLength::Month => i64::from(date.year()) * 12 + i64::from(date.month()),
        // The first of January 1970 was a Thursday.
        WindowLength::Week => (days + 3).div_euclid(7),
        _ => days,
    }
}
