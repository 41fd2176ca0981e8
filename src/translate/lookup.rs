//! Where an answer is looked up: the readings of each policy, and the time to wait.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use smallvec::{SmallVec, smallvec};

use super::facts::{Facts, MAX_LINES, MAX_WAIT_SECS, shown};
use super::reader::Reader;
use crate::adapter::condition::Body;
use crate::adapter::reading::{Extract, Reading, Spelling};
use crate::adapter::{Answer, Call, Policy};
use crate::fields::Fields;
use crate::form::{Moment, NumberForm, read_retry_after};

/// One answer, while its values are looked up.
pub(super) struct Lookup<'a> {
    pub(super) call: &'a Call<'a>,
    pub(super) answer: &'a Answer<'a>,
    pub(super) body: &'a Body<'a>,
    pub(super) now: Timestamp,
    pub(super) notes: &'a mut Vec<String>,
    /// Headers that no pattern fitted so far; one that fits takes its header out again.
    pub(super) unfit: SmallVec<[(&'a str, bool); 2]>,
}

impl<'a> Lookup<'a> {
    /// Everything that the answer tells of a policy, into `all`: itself first, then what goes by names of its own.
    pub(super) fn gather(
        &mut self,
        policy: &'a Policy,
        account: Option<&TimeZone>,
        all: &mut SmallVec<[Facts; 1]>,
    ) {
        all.clear();
        all.push(Facts::default());
        for reading in &policy.readings {
            let window = match reading.extract {
                // A rate is a limit for the documented window.
                Extract::One(_, _, Spelling::Number(NumberForm::PerSecond)) => {
                    super::window::length_secs(policy, account, self.now)
                }
                _ => None,
            };
            self.reader(reading, window).read(all);
        }
    }

    fn reader<'r>(&'r mut self, reading: &'a Reading, window: Option<u64>) -> Reader<'r, 'a> {
        Reader {
            reading,
            window,
            lookup: self,
        }
    }

    /// Values of patterns that fitted none of them: several policies may share a header, so one pattern that does not fit
    /// means nothing.
    pub(super) fn note_unfit(&mut self) {
        for (header, fitted) in std::mem::take(&mut self.unfit) {
            if !fitted && let Some(value) = self.answer.headers.get(header) {
                self.notes.push(format!(
                    "{header}: {} is not of the documented form; ignored",
                    shown(value.as_bytes())
                ));
            }
        }
    }

    /// Seconds to wait after `Retry-After` and the adapter's own readings: the latest of all, rounded up.
    pub(super) fn retry_after(&mut self, readings: &'a [Reading]) -> Option<u64> {
        let now = self.now;
        let mut latest = latest_retry_after(self.answer.headers, now, self.notes);
        for reading in readings {
            let mut all: SmallVec<[Facts; 1]> = smallvec![Facts::default()];
            self.reader(reading, None).read(&mut all);
            // A number of another form (an epoch taken for seconds) is not believed.
            let believed = |moment: &Moment| moment.seconds_from(now) <= MAX_WAIT_SECS;
            if let Some(moment) = all.first().and_then(|facts| facts.reset).filter(believed)
                && latest.is_none_or(|old| moment.duration_from(now) > old.duration_from(now))
            {
                latest = Some(moment);
            }
        }
        Some(seconds_to_wait(latest?, now, self.notes))
    }
}

/// `Retry-After` in any form; of several lines the latest.
pub(super) fn latest_retry_after(
    headers: &Fields,
    now: Timestamp,
    notes: &mut Vec<String>,
) -> Option<Moment> {
    let mut latest: Option<Moment> = None;
    for value in headers.get_all(http::header::RETRY_AFTER).take(MAX_LINES) {
        let told = value.text().and_then(read_retry_after);
        match told.filter(|moment| !matches!(moment, Moment::In(wait) if wait.is_negative())) {
            Some(moment)
                if latest.is_none_or(|old| moment.duration_from(now) > old.duration_from(now)) =>
            {
                latest = Some(moment);
            }
            Some(_) => {}
            None => notes.push(format!(
                "retry-after: {} is neither seconds nor a date; ignored",
                shown(value.as_bytes())
            )),
        }
    }
    latest
}

/// A time to wait in whole seconds, rounded up. `Retry-After` has one meaning, so however long it is, it is the provider's
/// word; it is only remarked upon.
pub(super) fn seconds_to_wait(moment: Moment, now: Timestamp, notes: &mut Vec<String>) -> u64 {
    let secs = moment.seconds_from(now);
    if secs > MAX_WAIT_SECS {
        notes.push(format!("a wait of {secs} seconds is beyond any window"));
    }
    u64::try_from(secs).unwrap_or(0)
}
