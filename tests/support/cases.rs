//! The cases under `snapshots/`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use headroom::adapter::catalog::Catalog;
use headroom::adapter::parse::read_zone;
use headroom::adapter::terms::Terms;
use headroom::adapter::{Adapter, Answer, Call};
use headroom::emit::{Style, standard_headers};
use headroom::fields::Fields;
use headroom::recording::Recording;
use headroom::translate::{Translation, translate};
use http::Method;
use jiff::Timestamp;

pub(crate) struct Case {
    pub(crate) provider: String,
    pub(crate) situation: String,
    pub(crate) recording: Recording,
}

pub(crate) fn snapshots() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("snapshots")
}

/// All cases, sorted by provider and situation.
pub(crate) fn all() -> Vec<Case> {
    let mut cases = Vec::new();
    let mut folders: Vec<PathBuf> = fs::read_dir(snapshots())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_dir() && !name(path).starts_with('_'))
        .collect();
    folders.sort();
    for folder in folders {
        let mut files: Vec<PathBuf> = fs::read_dir(&folder)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| {
                path.extension()
                    .is_some_and(|extension| extension == "http")
            })
            .collect();
        files.sort();
        cases.extend(files.iter().map(|path| Case::read(path)));
    }
    assert!(!cases.is_empty());
    cases
}

pub(crate) fn name(path: &Path) -> String {
    path.file_name().unwrap().to_str().unwrap().to_owned()
}

impl Case {
    pub(crate) fn read(path: &Path) -> Self {
        let bytes = fs::read(path).unwrap();
        Self {
            provider: name(path.parent().unwrap()),
            situation: path.file_stem().unwrap().to_str().unwrap().to_owned(),
            recording: Recording::parse(&bytes).unwrap(),
        }
    }

    /// Translates with the shipped adapter.
    pub(crate) fn translate(&self) -> Translation {
        let adapter = Catalog::default()
            .get(&self.provider)
            .unwrap_or_else(|| panic!("there is no adapter {}", self.provider));
        self.translate_with(&adapter)
    }

    pub(crate) fn translate_with(&self, adapter: &Adapter) -> Translation {
        let told = |name: &str| self.recording.circumstance(name);
        let now: Timestamp = told("now").unwrap().parse().unwrap();
        let zone = told("time_zone").map(|name| read_zone(name).unwrap());
        let terms = Terms::new(adapter, told("plan"), zone.as_ref(), &BTreeMap::new()).unwrap();
        let method: Method = told("method").unwrap_or("GET").parse().unwrap();
        let path = told("path").map(|path| path.split('?').next().unwrap());
        let call = Call {
            method: &method,
            path,
            headers: None,
            body: None,
        };
        let body = self.recording.body.as_slice();
        let headers = Fields::from(&self.recording.headers);
        let mut answer = Answer {
            status: self.recording.status,
            headers: &headers,
            body: None,
        };
        // The gateway reads a body only where the adapter asks for it; so do the cases.
        answer.body = adapter.reads_body(&call, &answer).then_some(body);
        translate(adapter, &terms, &call, &answer, now)
    }

    /// The result as it is reviewed.
    pub(crate) fn describe(&self) -> String {
        let translation = self.translate();
        let upstream = self.recording.status;
        let status = translation.status.unwrap_or(upstream);
        let mut text = format!("{status}\n");
        for (name, value) in standard_headers(&translation, upstream, &Style::default()) {
            writeln!(text, "{name}: {}", value.to_str().unwrap()).unwrap();
        }
        let shown = |number: Option<u64>| number.map_or("?".to_owned(), |n| n.to_string());
        for (index, limit) in translation.limits.iter().enumerate() {
            let mark = if Some(index) == translation.binding {
                "> "
            } else {
                "  "
            };
            write!(
                text,
                "\n{mark}{}: {} of {} {} left, resets in {} s, window {} s ({})",
                limit.policy,
                shown(limit.remaining),
                shown(limit.limit),
                limit.unit,
                shown(limit.reset),
                shown(limit.window),
                limit.source,
            )
            .unwrap();
        }
        if translation.exhausted {
            text.push_str("\n\nexhausted");
        }
        if let Some(cost) = translation.cost {
            write!(text, "\n\ncost {cost}").unwrap();
        }
        for note in &translation.notes {
            write!(text, "\n\nnote: {note}").unwrap();
        }
        text
    }
}
