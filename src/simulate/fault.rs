//! What goes wrong on purpose: each request's share of it is a function of a seed, the provider and the request's number,
//! so that a run can be repeated. Pure: no clock, no randomness of its own.

use std::fmt;
use std::hash::Hasher;
use std::time::Duration;

use siphasher::sip::SipHasher13;

use super::native::State;
use crate::diagnostic::closest;

/// How an answer can go wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It takes its time, and tells the state from before that.
    Late,
    /// It never comes: the connection ends after the request was counted.
    Drop,
    /// It is sent after answers to requests that were counted later.
    Reorder,
    /// It tells that more is left than there is, or less.
    Lie,
    /// It tells nothing of limits.
    Mute,
    /// Somebody else has just used the same account.
    Others,
}

/// A kind with its word, how often it happens (in percent) and how long it takes, unless the user says otherwise.
const KINDS: [(Kind, &str, f64, Option<Duration>); 6] = [
    (Kind::Late, "late", 10.0, Some(Duration::from_secs(2))),
    (Kind::Drop, "drop", 5.0, None),
    (
        Kind::Reorder,
        "reorder",
        50.0,
        Some(Duration::from_millis(300)),
    ),
    (Kind::Lie, "lie", 10.0, None),
    (Kind::Mute, "mute", 10.0, None),
    (Kind::Others, "others", 10.0, None),
];

/// Longer than any client waits.
const LONGEST: Duration = Duration::from_secs(600);

/// The most answers that overtake one that is held back.
const OVERTAKERS: u64 = 8;

/// One way to go wrong.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Fault {
    kind: Kind,
    percent: f64,
    time: Option<Duration>,
}

/// All that goes wrong in one simulation.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Faults {
    list: Vec<Fault>,
    seed: u64,
}

/// What goes wrong with one request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mischief {
    /// Its answer is sent so much later.
    pub late: Option<Duration>,
    /// Its answer is not sent at all.
    pub drop: bool,
    /// Its answer is held back until that of this request has gone, but not longer than so.
    pub behind: Option<(u64, Duration)>,
    /// Its answer does not tell the truth; a random number for what it tells.
    pub lie: Option<u64>,
    /// Its answer tells nothing of limits.
    pub mute: bool,
    /// Somebody else made the same request before.
    pub others: bool,
}

impl Faults {
    /// Reads `late`, `drop=10%`, `late=2s`, `reorder=500ms@25%`.
    ///
    /// # Errors
    /// One of the words is none of these; the message says what would be.
    pub fn parse<'a>(words: impl IntoIterator<Item = &'a str>, seed: u64) -> Result<Self, String> {
        let mut list: Vec<Fault> = Vec::new();
        for word in words {
            let fault = fault(word)?;
            if list.iter().any(|known| known.kind == fault.kind) {
                return Err(format!("{word}: {} is there twice", fault.kind));
            }
            list.push(fault);
        }
        Ok(Self { list, seed })
    }

    /// Nothing goes wrong.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// What goes wrong with the `n`th request to this provider.
    #[must_use]
    pub fn of(&self, provider: &str, n: u64) -> Mischief {
        let mut mischief = Mischief::default();
        for fault in &self.list {
            let mut dice = SipHasher13::new_with_keys(self.seed, fault.kind as u64);
            dice.write(provider.as_bytes());
            dice.write_u64(n);
            let dice = dice.finish();
            // 2^32 sides for whether, the others for how.
            let (whether, how) = (dice >> 32, dice & 0xffff_ffff);
            if !happens(whether, fault.percent) {
                continue;
            }
            let time = fault.time.unwrap_or_default();
            match fault.kind {
                Kind::Late => mischief.late = Some(time),
                Kind::Drop => mischief.drop = true,
                Kind::Reorder => {
                    mischief.behind = Some((n.saturating_add(1 + how % OVERTAKERS), time));
                }
                Kind::Lie => mischief.lie = Some(how),
                Kind::Mute => mischief.mute = true,
                Kind::Others => mischief.others = true,
            }
        }
        mischief
    }
}

#[expect(clippy::cast_precision_loss, reason = "32 bits fit exactly")]
fn happens(whether: u64, percent: f64) -> bool {
    (whether as f64) < percent / 100.0 * 4_294_967_296.0
}

/// What the answer tells, changed: every other lie makes it more than there is. A limit of which nothing was used, or
/// nothing is left, leaves one way to lie.
pub fn lie(states: &mut [State], random: u64) {
    for state in states {
        let (Some(limit), Some(left)) = (state.limit, state.remaining) else {
            continue;
        };
        let used = limit.saturating_sub(left);
        let more = if used == 0 || left == 0 {
            used > 0
        } else {
            random.is_multiple_of(2)
        };
        let room = if more { used } else { left };
        if room == 0 {
            continue;
        }
        let step = 1 + (random / 2) % room;
        state.remaining = Some(if more { left + step } else { left - step });
    }
}

fn fault(text: &str) -> Result<Fault, String> {
    let (word, value) = match text.split_once('=') {
        Some((word, value)) => (word.trim(), Some(value.trim())),
        None => (text.trim(), None),
    };
    let words = || KINDS.iter().map(|(_, word, ..)| *word);
    let Some((kind, _, percent, time)) = KINDS.into_iter().find(|(_, known, ..)| *known == word)
    else {
        let list: Vec<&str> = words().collect();
        let near = closest(word, words())
            .map_or_else(String::new, |near| format!(". Did you mean `{near}`?"));
        return Err(format!(
            "there is no fault `{word}`; there are {}{near}",
            list.join(", ")
        ));
    };
    let mut fault = Fault {
        kind,
        percent,
        time,
    };
    for part in value.into_iter().flat_map(|value| value.split('@')) {
        let part = part.trim();
        if let Some(number) = part.strip_suffix('%') {
            let percent = number.trim().parse().ok();
            fault.percent = percent
                .filter(|percent| (0.0..=100.0).contains(percent))
                .ok_or_else(|| format!("{text}: `{part}` is not between 0% and 100%"))?;
        } else if time.is_none() {
            return Err(format!(
                "{text}: write how often it happens, as in {word}=10%"
            ));
        } else {
            let time = duration(part).filter(|time| *time <= LONGEST);
            fault.time = Some(time.ok_or_else(|| {
                format!(
                    "{text}: write a time up to 10m, how often it happens, or both, as in {word}=500ms@10%"
                )
            })?);
        }
    }
    Ok(fault)
}

/// `150ms`, `2s`, `1.5s`, `1m`.
fn duration(text: &str) -> Option<Duration> {
    let digits = text.find(|c: char| c.is_ascii_alphabetic())?;
    let (number, unit) = text.split_at_checked(digits)?;
    let unit = match unit {
        "ms" => 0.001,
        "s" => 1.0,
        "m" => 60.0,
        _ => return None,
    };
    let number: f64 = number.parse().ok()?;
    Duration::try_from_secs_f64(number * unit).ok()
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = KINDS.iter().find(|(kind, ..)| kind == self);
        f.write_str(kind.map_or("", |(_, word, ..)| word))
    }
}

impl fmt::Display for Faults {
    /// `late=2s@10%, drop=5%, with the seed 7`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for fault in &self.list {
            match fault.time {
                Some(time) => write!(f, "{}={time:?}@{}%, ", fault.kind, fault.percent)?,
                None => write!(f, "{}={}%, ", fault.kind, fault.percent)?,
            }
        }
        write!(f, "with the seed {}", self.seed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Faults, String> {
        Faults::parse(text.split(','), 7)
    }

    #[test]
    fn words_are_read_and_written() {
        for (text, written) in [
            ("late", "late=2s@10%, with the seed 7"),
            ("drop=2.5%", "drop=2.5%, with the seed 7"),
            (
                "late=150ms,reorder=1m@100%,lie",
                "late=150ms@10%, reorder=60s@100%, lie=10%, with the seed 7",
            ),
            ("late=20%@1.5s", "late=1.5s@20%, with the seed 7"),
        ] {
            assert_eq!(parse(text).unwrap().to_string(), written);
        }
    }

    #[test]
    fn mistakes_are_told() {
        for (text, told) in [
            (
                "lat",
                "there is no fault `lat`; there are late, drop, reorder, lie, mute, others. Did you mean `late`?",
            ),
            (
                "",
                "there is no fault ``; there are late, drop, reorder, lie, mute, others",
            ),
            ("drop=101%", "drop=101%: `101%` is not between 0% and 100%"),
            ("drop=NaN%", "drop=NaN%: `NaN%` is not between 0% and 100%"),
            (
                "drop=2s",
                "drop=2s: write how often it happens, as in drop=10%",
            ),
            (
                "late=2",
                "late=2: write a time up to 10m, how often it happens, or both, as in late=500ms@10%",
            ),
            (
                "late=-1s",
                "late=-1s: write a time up to 10m, how often it happens, or both, as in late=500ms@10%",
            ),
            (
                "late=11m",
                "late=11m: write a time up to 10m, how often it happens, or both, as in late=500ms@10%",
            ),
            ("late,drop,late", "late: late is there twice"),
        ] {
            assert_eq!(parse(text).unwrap_err(), told);
        }
    }

    #[test]
    fn a_seed_decides_and_a_rate_is_kept() {
        let faults = parse("late=1s@30%,drop=0%,lie=100%").unwrap();
        let run = |faults: &Faults, provider: &str| -> Vec<Mischief> {
            (0..10_000).map(|n| faults.of(provider, n)).collect()
        };
        let first = run(&faults, "toggl");
        assert_eq!(first, run(&faults, "toggl"));
        assert_ne!(first, run(&faults, "hubspot"));
        let other = Faults::parse(["late=1s@30%", "lie=100%"], 8).unwrap();
        assert_ne!(first, run(&other, "toggl"));
        let late = first.iter().filter(|one| one.late.is_some()).count();
        assert!((2_700..3_300).contains(&late), "{late}");
        assert!(first.iter().all(|one| !one.drop && one.lie.is_some()));
    }

    #[test]
    fn a_lie_is_never_the_truth_and_stays_within_the_limit() {
        for random in 0..100 {
            for left in 0..=5 {
                let mut states = [State {
                    policy: 0,
                    label: None,
                    limit: Some(5),
                    remaining: Some(left),
                    reset: None,
                    window: None,
                    cost: None,
                }];
                lie(&mut states, random);
                let told = states[0].remaining.unwrap();
                assert!(told <= 5 && told != left, "{told} of {left}");
            }
        }
    }
}
