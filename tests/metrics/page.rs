//! A strict reader of Prometheus' text format, with its conventions.

use std::collections::{BTreeMap, BTreeSet};

/// What was scraped.
pub(crate) struct Page {
    /// By whole name and labels.
    pub(crate) samples: BTreeMap<(String, BTreeMap<String, String>), f64>,
    /// The kind of each family.
    pub(crate) families: BTreeMap<String, String>,
}

/// Every label that there may be.
pub(crate) const LABELS: &[&str] = &[
    "connection",
    "provider",
    "consumer",
    "status",
    "refused_by",
    "policy",
    "partition",
    "unit",
    "store",
    "version",
    "le",
    "kind",
    "threshold",
    "outcome",
];

impl Page {
    /// Reads, and insists on the conventions.
    pub(crate) fn read(text: &str) -> Self {
        let mut page = Self {
            samples: BTreeMap::new(),
            families: BTreeMap::new(),
        };
        let mut helped = BTreeSet::new();
        let mut family = String::new();
        for line in text.lines() {
            if let Some(help) = line.strip_prefix("# HELP ") {
                let (name, help) = help.split_once(' ').unwrap();
                assert!(!help.is_empty() && helped.insert(name.to_owned()), "{line}");
            } else if let Some(announced) = line.strip_prefix("# TYPE ") {
                let (name, kind) = announced.split_once(' ').unwrap();
                assert!(helped.contains(name), "{name} has no help");
                check_name(name, kind);
                let again = page.families.insert(name.to_owned(), kind.to_owned());
                assert!(again.is_none(), "{name} is there twice");
                name.clone_into(&mut family);
            } else {
                let (name, labels, value) = sample(line);
                let kind = &page.families[&family];
                let fits = match kind.as_str() {
                    "histogram" => ["_bucket", "_sum", "_count"]
                        .iter()
                        .any(|suffix| name == format!("{family}{suffix}")),
                    _ => name == family,
                };
                assert!(fits, "{line} is of {family}, a {kind}");
                assert!(value.is_finite() && value >= 0.0, "{line}");
                let again = page.samples.insert((name, labels), value);
                assert!(again.is_none(), "{line} is there twice");
            }
        }
        page.check_histograms();
        page
    }

    fn check_histograms(&self) {
        for ((name, labels), count) in &self.samples {
            let Some(name) = name.strip_suffix("_count") else {
                continue;
            };
            let mut buckets: Vec<(f64, f64)> = self
                .samples
                .iter()
                .filter(|((of, _), _)| *of == format!("{name}_bucket"))
                .filter_map(|((_, all), count)| {
                    let mut rest = all.clone();
                    let end = rest.remove("le").unwrap();
                    let end = if end == "+Inf" {
                        f64::INFINITY
                    } else {
                        end.parse().unwrap()
                    };
                    (rest == *labels).then_some((end, *count))
                })
                .collect();
            buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
            assert_eq!(buckets.last().unwrap(), &(f64::INFINITY, *count), "{name}");
            assert!(
                buckets.is_sorted_by(|a, b| a.1 <= b.1),
                "{name}: {buckets:?}"
            );
        }
    }

    /// All samples of this name with these labels, added.
    pub(crate) fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let has = |all: &BTreeMap<String, String>| {
            labels
                .iter()
                .all(|(name, value)| all.get(*name).is_some_and(|is| is == value))
        };
        let samples = self.samples.iter();
        samples
            .filter(|((of, all), _)| of == name && has(all))
            .map(|(_, value)| value)
            .sum()
    }

    /// Counters and classes are at least what they were, and none is gone.
    pub(crate) fn has_not_fallen_below(&self, earlier: &Self) {
        let mut compared = 0;
        for (key, before) in &earlier.samples {
            let rises = ["_total", "_bucket", "_count", "_sum"];
            if rises.iter().any(|suffix| key.0.ends_with(suffix)) {
                assert!(self.samples[key] >= *before, "{key:?}");
                compared += 1;
            }
        }
        assert!(compared > 50);
    }
}

fn check_name(name: &str, kind: &str) {
    assert!(
        name.starts_with("headroom_") || name.starts_with("process_"),
        "{name}"
    );
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte == b'_';
    assert!(name.bytes().all(plain), "{name}");
    assert_eq!(
        kind == "counter",
        name.ends_with("_total"),
        "{name} is a {kind}"
    );
    for word in name.split('_') {
        let not_base = [
            "ms",
            "milliseconds",
            "microseconds",
            "minutes",
            "hours",
            "kilobytes",
            "percent",
        ];
        assert!(!not_base.contains(&word), "{name}: base units only");
    }
    let base = name.strip_suffix("_total").unwrap_or(name);
    for unit in ["seconds", "bytes", "ratio"] {
        let has = base.split('_').any(|word| word == unit);
        assert!(!has || base.ends_with(unit), "{name}: the unit is last");
    }
}

fn sample(line: &str) -> (String, BTreeMap<String, String>, f64) {
    let (head, value) = line.rsplit_once(' ').unwrap();
    let value = value.parse().unwrap();
    let Some((name, rest)) = head.split_once('{') else {
        return (head.to_owned(), BTreeMap::new(), value);
    };
    let mut labels = BTreeMap::new();
    let mut rest = rest.strip_suffix('}').unwrap();
    while !rest.is_empty() {
        let (label, after) = rest.split_once("=\"").unwrap();
        assert!(LABELS.contains(&label), "{label} in {line}");
        let mut text = String::new();
        let mut characters = after.char_indices();
        let end = loop {
            match characters.next().unwrap() {
                (_, '\\') => match characters.next().unwrap().1 {
                    'n' => text.push('\n'),
                    other => text.push(other),
                },
                (at, '"') => break at,
                (_, other) => text.push(other),
            }
        };
        let again = labels.insert(label.to_owned(), text);
        assert!(again.is_none(), "{label} twice in {line}");
        rest = after[end + 1..].trim_start_matches(',');
    }
    (name.to_owned(), labels, value)
}
