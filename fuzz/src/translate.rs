//! An answer of a provider becomes well-formed headers, the same ones each time.
//!
//! An input is the adapter's id in a line, and behind it a recording as in `snapshots/`. Other ids are no adapter's.

use std::collections::BTreeMap;

use headroom::adapter::catalog::Catalog;
use headroom::adapter::parse::read_zone;
use headroom::adapter::terms::Terms;
use headroom::adapter::{Answer, Call};
use headroom::emit::{Style, standard_headers, write_headers};
use headroom::fields::Fields;
use headroom::recording::Recording;
use headroom::translate::{Translation, generic, translate};
use http::Method;
use jiff::Timestamp;

use super::emitted;

pub(crate) fn run(data: &[u8]) {
    let end = data.iter().position(|byte| *byte == b'\n');
    let (id, rest) = data.split_at(end.unwrap_or_default());
    let Ok(recording) = Recording::parse(rest.trim_ascii_start()) else {
        return;
    };
    let translation = translated(id, &recording);
    emitted::check(&translation, recording.status);
    let again = translated(id, &recording);
    let style = Style::default();
    let headers = standard_headers(&translation, recording.status, &style);
    assert_eq!(headers, standard_headers(&again, recording.status, &style));
    assert_eq!(translation.notes, again.notes);
    // What the provider sends under the same names does not stand beside them.
    let mut written = Fields::from(&recording.headers);
    write_headers(&mut written, &translation, recording.status, &style);
    for (name, value) in headers {
        let lines: Vec<_> = written.get_all(&name).map(|line| line.as_bytes()).collect();
        assert_eq!(lines, [value.as_bytes()], "{name}");
    }
}

fn translated(id: &[u8], recording: &Recording) -> Translation {
    let told = |name: &str| recording.circumstance(name);
    let now: Option<Timestamp> = told("now").and_then(|now| now.parse().ok());
    let now = now.unwrap_or(Timestamp::UNIX_EPOCH);
    let method: Option<Method> = told("method").and_then(|method| method.parse().ok());
    let none = Fields::new();
    let call = Call {
        method: &method.unwrap_or_default(),
        path: told("path").and_then(|path| path.split('?').next()),
        headers: Some(&none),
        body: None,
    };
    let headers = Fields::from(&recording.headers);
    let answer = Answer {
        status: recording.status,
        headers: &headers,
        body: Some(&recording.body),
    };
    let adapter = std::str::from_utf8(id)
        .ok()
        .and_then(|id| Catalog::default().get(id.trim()));
    let Some(adapter) = adapter else {
        return generic::translate(&answer, now);
    };
    let zone = told("time_zone").and_then(read_zone);
    // The user's own quota, of every policy.
    let own: Option<u64> = told("own").and_then(|own| own.parse().ok());
    let quotas: BTreeMap<String, u64> = own.map_or_else(BTreeMap::new, |own| {
        adapter
            .policies
            .iter()
            .map(|policy| (policy.name.to_string(), own))
            .collect()
    });
    let terms = Terms::new(&adapter, told("plan"), zone.as_ref(), &quotas)
        .or_else(|_| Terms::new(&adapter, None, zone.as_ref(), &BTreeMap::new()));
    let Ok(terms) = terms else {
        return Translation::default();
    };
    translate(&adapter, &terms, &call, &answer, now)
}
