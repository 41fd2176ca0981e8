//! What stands behind the `?`: strict, so that a misspelt filter is not taken for none.

use http::header::ACCEPT;
use http::{HeaderMap, Uri};

use super::{Misasked, Viewer};
use crate::history::query::filter::{Filter, Status};

/// Filters of calls, by their names.
const FILTERS: [&str; 8] = [
    "connection",
    "consumer",
    "provider",
    "method",
    "endpoint",
    "status",
    "upstream_status",
    "refused_by",
];

/// The parameters of a question, and whose numbers its answer is made of: this consumer's, or everybody's.
pub(super) struct Parameters(Vec<(String, String)>, Option<String>);

impl Parameters {
    /// Reads them; there are none but filters and `own`.
    pub(super) fn read(uri: &Uri, own: &[&str], viewer: &Viewer) -> Result<Self, Misasked> {
        let only = viewer.only();
        let query = uri.query().unwrap_or_default().as_bytes();
        let mut found = Vec::new();
        for (name, value) in url::form_urlencoded::parse(query) {
            if !FILTERS.contains(&&*name) && !own.contains(&&*name) {
                let all: Vec<_> = own.iter().chain(&FILTERS).map(|one| quoted(one)).collect();
                return Err(Misasked(format!(
                    "There is no parameter {}: there are {}.",
                    quoted(&name),
                    all.join(", ")
                )));
            }
            if value.is_empty() {
                return Err(Misasked(format!(
                    "The parameter {} says nothing: give it a value or leave it out.",
                    quoted(&name)
                )));
            }
            if let Some(only) = only
                && name == "consumer"
                && value != only
            {
                return Err(Misasked(format!(
                    "`consumer` cannot be {} with this key, which shows the calls of `{only}` alone: leave it out.",
                    quoted(&value)
                )));
            }
            found.push((name.into_owned(), value.into_owned()));
        }
        Ok(Self(found, only.map(str::to_owned)))
    }

    /// All values of a parameter.
    fn all(&self, name: &str) -> Vec<String> {
        let of_name = self.0.iter().filter(|(one, _)| one == name);
        of_name.map(|(_, value)| value.clone()).collect()
    }

    /// The value of a parameter that may be there once.
    pub(super) fn one(&self, name: &str) -> Result<Option<&str>, Misasked> {
        let mut values = self.0.iter().filter(|(one, _)| one == name);
        let first = values.next().map(|(_, value)| value.as_str());
        match values.next() {
            None => Ok(first),
            Some(_) => Err(Misasked(format!(
                "The parameter {} is there twice.",
                quoted(name)
            ))),
        }
    }

    /// Whether one of these is there, and which.
    pub(super) fn first_of(&self, names: &[&str]) -> Option<&str> {
        let mut found = self.0.iter().map(|(name, _)| name.as_str());
        found.find(|name| names.contains(name))
    }

    /// Which calls are meant.
    pub(super) fn filter(&self) -> Result<Filter, Misasked> {
        let statuses = |name: &str| {
            let read = |text: String| {
                Status::parse(&text).ok_or_else(|| {
                    let (name, text) = (quoted(name), quoted(&text));
                    Misasked(format!(
                        "{name} cannot be {text}: write 429, 4xx for all of a class, or `none`."
                    ))
                })
            };
            self.all(name)
                .into_iter()
                .map(read)
                .collect::<Result<Vec<_>, _>>()
        };
        let mut refused_by = self.all("refused_by");
        for refuser in &mut refused_by {
            match refuser.as_str() {
                "headroom" | "provider" => {}
                "none" => refuser.clear(),
                other => {
                    return Err(Misasked(format!(
                        "`refused_by` cannot be {}: write `headroom`, `provider` or `none`.",
                        quoted(other)
                    )));
                }
            }
        }
        Ok(Filter {
            consumer: match &self.1 {
                Some(only) => vec![only.clone()],
                None => self.all("consumer"),
            },
            connection: self.all("connection"),
            provider: self.all("provider"),
            method: self.all("method"),
            endpoint: self.all("endpoint"),
            status: statuses("status")?,
            upstream_status: statuses("upstream_status")?,
            refused_by,
            policy: self.all("policy"),
        })
    }
}

/// A word of the caller's in a sentence of headroom's, not longer than a sentence may be.
pub(super) fn quoted(text: &str) -> String {
    const MOST: usize = 60;
    let mut short: String = text.chars().take(MOST).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    format!("`{short}`")
}

/// Whether `Accept` names a type of itself. What accepts anything does not ask for this.
pub(super) fn accepts(headers: &HeaderMap, wanted: &str) -> bool {
    let lines = headers.get_all(ACCEPT).iter();
    let ranges = lines.flat_map(|line| line.to_str().unwrap_or_default().split(','));
    let mut types = ranges.map(|range| {
        let mut parts = range.split(';').map(str::trim);
        let name = parts.next().unwrap_or_default();
        let refused = parts.any(|part| part.strip_prefix("q=").is_some_and(is_zero));
        (name, refused)
    });
    types.any(|(name, refused)| name.eq_ignore_ascii_case(wanted) && !refused)
}

fn is_zero(weight: &str) -> bool {
    weight.parse() == Ok(0.0_f32)
}
