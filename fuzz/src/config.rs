//! A text is a configuration or has mistakes that point into it, and neither shows a secret.

use headroom::adapter::catalog::Catalog;
use headroom::config::{Outside, parse};

use super::adapter::check_mistakes;

/// Stands in secrets, and nowhere else.
const PLANTED: &str = "q7Zv0planted0Xj3";

/// Keys whose values are secrets.
const SECRET: [&str; 4] = ["credential", "client_secret", "refresh_token", "secret"];

pub(crate) fn run(data: &[u8]) {
    let Ok(source) = std::str::from_utf8(data) else {
        return;
    };
    // The fuzzer reads the word off the comparisons below and writes it anywhere.
    if source.contains(PLANTED) {
        return;
    }
    check(source, &|_| None);
    // What a reference stands for may be a secret. A configuration has it where it is none.
    let (told, _) = check(source, &|_| Some(PLANTED.to_owned()));
    assert!(!told.contains(PLANTED), "{told}");
    // So may what is written out.
    let planted = planted(source);
    let (told, config) = check(&planted, &|_| None);
    assert!(!told.contains(PLANTED), "{told}");
    // One with mistakes is not used: there, keys may have become values.
    assert!(!told.is_empty() || !config.contains(PLANTED), "{config}");
    let (_, mistakes) = parse(&planted, &World(&|_| None));
    let shown = mistakes.shown(&planted);
    assert!(!shown.contains(PLANTED), "{shown}");
}

/// All that is told of a configuration, nothing where it has no mistakes, and what `Debug` shows of it.
fn check(source: &str, outside: &dyn Fn(&str) -> Option<String>) -> (String, String) {
    let (config, mut mistakes) = parse(source, &World(outside));
    mistakes.append(config.check(&Catalog::default()));
    let shown = mistakes.shown(source);
    assert_eq!(shown.len(), source.len());
    assert_eq!(shown.lines().count(), source.lines().count());
    check_mistakes(&shown, &mistakes);
    let told = mistakes.render("headroom.toml", source, false);
    let places = if mistakes.is_empty() {
        String::new()
    } else {
        format!("{mistakes:?}")
    };
    (told + &places, format!("{config:?}"))
}

struct World<'a>(&'a dyn Fn(&str) -> Option<String>);

impl Outside for World<'_> {
    fn variable(&self, name: &str) -> Option<String> {
        (self.0)(name)
    }

    fn file(&self, path: &str) -> Result<String, String> {
        (self.0)(path).ok_or_else(|| "there is no such file".to_owned())
    }
}

/// With a secret in every line that begins with the key of one. A string of several lines may have such lines in it that are
/// no keys, so a text with one stays as it is.
fn planted(source: &str) -> String {
    if source.contains("\"\"\"") || source.contains("'''") {
        return source.to_owned();
    }
    let line = |line: &str| {
        let opened = line.find(['"', '\'']).map(|at| line.split_at(at + 1));
        let key = opened.and_then(|(before, _)| {
            before
                .trim_end_matches(['"', '\''])
                .trim()
                .strip_suffix('=')
        });
        match (opened, key.map(str::trim)) {
            (Some((before, after)), Some(key)) if SECRET.contains(&key) => {
                format!("{before}{PLANTED}{after}")
            }
            _ => line.to_owned(),
        }
    };
    source.split_inclusive('\n').map(line).collect()
}
