//! Files and recordings: whatever stands in them, headroom reads on and says what is wrong.

use std::fmt::Write as _;

use headroom::adapter::catalog::{Catalog, shipped};
use headroom::adapter::parse::parse;
use headroom::config::{self, Outside};
use headroom::diagnostic::Mistakes;
use headroom::recording::Recording;
use proptest::prelude::*;
use proptest::sample::Index;

use crate::support::answers::text;

struct Nothing;

impl Outside for Nothing {
    fn variable(&self, _: &str) -> Option<String> {
        None
    }

    fn file(&self, _: &str) -> Result<String, String> {
        Err("no file".to_owned())
    }
}

/// Every mistake points into the file and is told with its place.
fn check(source: &str, mistakes: &Mistakes) -> Result<(), TestCaseError> {
    for colour in [false, true] {
        let text = mistakes.render("some.toml", source, colour);
        for mistake in mistakes.sorted() {
            prop_assert!(mistake.span.start <= mistake.span.end);
            prop_assert!(mistake.span.end <= source.len(), "{mistake:?}");
            prop_assert!(!mistake.message.is_empty() && !mistake.help.is_empty());
            let (line, column) = line_and_column(source, mistake.span.start);
            // What is missing at the end of the file is shown at the end of its last line.
            let at_end = source[mistake.span.start..].trim().is_empty();
            if !colour && !at_end {
                let place = format!("some.toml:{line}:{column}\n");
                prop_assert!(text.contains(&place), "{place} is not in\n{text}");
            }
        }
    }
    Ok(())
}

/// Line and column, both from 1, columns in characters.
fn line_and_column(source: &str, offset: usize) -> (usize, usize) {
    let before = &source[..source.floor_char_boundary(offset)];
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap().chars().count() + 1;
    (line, column)
}

fn adapter(source: &str) -> Result<(), TestCaseError> {
    match parse("some", source) {
        Ok(_) => Ok(()),
        Err(mistakes) => {
            prop_assert!(!mistakes.is_empty());
            check(source, &mistakes)
        }
    }
}

fn configuration(source: &str) -> Result<(), TestCaseError> {
    let (config, mut mistakes) = config::parse(source, &Nothing);
    mistakes.append(config.check(&Catalog::default()));
    check(source, &mistakes)
}

#[derive(Debug, Clone)]
enum Edit {
    Delete(Index, usize),
    Replace(Index, u8),
    Insert(Index, String),
    /// Lines change places, or stand there twice.
    Copy(Index, Index),
    Cut(Index),
}

fn edit() -> impl Strategy<Value = Edit> {
    let token = prop_oneof![
        text("[ -~]{1,6}"),
        text("\\PC{1,3}"),
        proptest::sample::select(vec![
            "\"",
            "'",
            "'''",
            "[",
            "]",
            "{",
            "}",
            "=",
            "\n",
            "\r\n",
            "\t",
            "\u{0}",
            "[[",
            "# ",
            "-1",
            "1e9",
            "true",
            "{}",
            "[]",
            "1979-05-27",
            "\u{feff}",
            "é",
        ])
        .prop_map(str::to_owned),
    ];
    prop_oneof![
        (any::<Index>(), 1_usize..20).prop_map(|(at, length)| Edit::Delete(at, length)),
        (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Edit::Replace(at, byte)),
        (any::<Index>(), token).prop_map(|(at, text)| Edit::Insert(at, text)),
        (any::<Index>(), any::<Index>()).prop_map(|(from, to)| Edit::Copy(from, to)),
        any::<Index>().prop_map(Edit::Cut),
    ]
}

fn edited(source: &str, edits: &[Edit]) -> String {
    let mut text = source.as_bytes().to_vec();
    for edit in edits {
        if text.is_empty() {
            break;
        }
        match edit {
            Edit::Delete(at, length) => {
                let at = at.index(text.len());
                text.drain(at..text.len().min(at + length));
            }
            Edit::Replace(at, byte) => {
                let at = at.index(text.len());
                text[at] = *byte;
            }
            Edit::Insert(at, token) => {
                let at = at.index(text.len() + 1);
                text.splice(at..at, token.bytes());
            }
            Edit::Copy(from, to) => {
                let mut lines: Vec<Vec<u8>> = text
                    .split_inclusive(|b| *b == b'\n')
                    .map(<[u8]>::to_vec)
                    .collect();
                let line = lines[from.index(lines.len())].clone();
                let to = to.index(lines.len());
                lines.insert(to, line);
                text = lines.concat();
            }
            Edit::Cut(at) => text.truncate(at.index(text.len())),
        }
    }
    String::from_utf8_lossy(&text).into_owned()
}

/// What an adapter could be made of.
fn fragments() -> impl Strategy<Value = String> {
    let key = proptest::sample::select(vec![
        "name",
        "docs",
        "base_url",
        "limit",
        "remaining",
        "used",
        "reset",
        "read",
        "window",
        "kind",
        "quota",
        "header",
        "body",
        "pattern",
        "form",
        "each",
        "json",
        "item",
        "when",
        "status",
        "path",
        "applies",
        "partition",
        "learn",
        "weights",
        "cost",
        "policy",
        "retry_after",
        "[policy.a]",
        "[policy.b]",
        "[[exhausted]]",
        "[refusal]",
        "[[uncounted]]",
        "time_zone",
        "structured_fields",
        "credential",
        "sent_when",
        "headers",
    ]);
    let value = proptest::sample::select(vec![
        "\"X-A\"",
        "\"/a/{b}\"",
        "'(?<used>\\d+)'",
        "\"seconds\"",
        "\"%Y\"",
        "{ header = \"X-A\" }",
        "{}",
        "[]",
        "[{}]",
        "429",
        "-1",
        "0.5",
        "true",
        "\"day\"",
        "\"clock\"",
        "{ a = 1 }",
        "\"1h\"",
        "{ header = \"X-A\", form = \"unit\", unit_header = \"X-U\" }",
        "[[1]]",
        "\"UTC\"",
        "\"\"",
        "{ \"/a\" = { not = \"b\" } }",
        "{ path = \"/{a}\", cost = 3 }",
        "\"{a}\"",
        "'''\n\n'''",
    ]);
    prop::collection::vec((key, value), 0..14).prop_map(|lines| {
        let mut text = String::new();
        for (key, value) in lines {
            if key.starts_with('[') {
                writeln!(text, "{key}").unwrap();
            } else {
                writeln!(text, "{key} = {value}").unwrap();
            }
        }
        text
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn any_text_is_an_adapter_or_has_mistakes(text in text("\\PC{0,80}")) {
        adapter(&text)?;
        configuration(&text)?;
    }

    #[test]
    fn any_keys_are_an_adapter_or_have_mistakes(text in fragments()) {
        adapter(&text)?;
        configuration(&text)?;
    }

    #[test]
    fn a_damaged_adapter_has_mistakes_that_point_into_it(
        index in any::<Index>(),
        edits in prop::collection::vec(edit(), 1..6),
    ) {
        let (_, source) = index.get(shipped());
        adapter(&edited(source, &edits))?;
    }

    #[test]
    fn a_damaged_configuration_has_mistakes_that_point_into_it(edits in prop::collection::vec(edit(), 1..6)) {
        configuration(&edited(CONFIGURATION, &edits))?;
    }

    #[test]
    fn any_bytes_are_a_recording_or_have_no_status_line(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = Recording::parse(&bytes);
        let with_status = [b"HTTP/1.1 200 OK\r\n".as_slice(), &bytes].concat();
        let recording = Recording::parse(&with_status).unwrap();
        prop_assert_eq!(recording.status, 200);
        prop_assert!(recording.notes.len() <= 21);
        prop_assert!(recording.body.len() <= bytes.len());
    }

    /// Every line is a header or a note, and the body comes through byte for byte.
    #[test]
    fn headers_and_body_of_a_recording_come_through(
        lines in prop::collection::vec((text("[A-Za-z-]{1,10}"), text("[!-~]([ -~]{0,20}[!-~])?")), 0..20),
        body in prop::collection::vec(any::<u8>(), 0..100),
        newline in proptest::sample::select(vec!["\n", "\r\n"]),
    ) {
        let mut text = format!("# now: 2026-11-21T12:00:00Z{newline}HTTP/2 429{newline}");
        for (name, value) in &lines {
            write!(text, "{name}: {value}{newline}").unwrap();
        }
        text.push_str(newline);
        let recording = Recording::parse(&[text.as_bytes(), &body].concat()).unwrap();
        prop_assert_eq!(recording.status, 429);
        prop_assert_eq!(recording.circumstance("now"), Some("2026-11-21T12:00:00Z"));
        prop_assert_eq!(recording.headers.len(), lines.len());
        prop_assert!(recording.notes.is_empty());
        prop_assert_eq!(recording.body, body);
    }
}

/// RFC 9112, section 5.2.
#[test]
fn a_folded_line_continues_the_line_before_it() {
    let text = b"HTTP/1.1 200 OK\nA: 1\nA: 2\n 3\nB: 4\n\n";
    let recording = Recording::parse(text).unwrap();
    let lines: Vec<&[u8]> = recording
        .headers
        .get_all("a")
        .iter()
        .map(|value| value.as_bytes())
        .collect();
    assert_eq!(lines, [b"1".as_slice(), b"2 3"]);
}

const CONFIGURATION: &str = r#"
listen = "127.0.0.1:8080"
providers = ["./my-providers"]
ca_file = "ca.pem"

[headers]
limit = "plain"
structured = "off"

[connections.crm]
provider = "hubspot"
base_url = "https://api.hubapi.com"
plan = "professional"
time_zone = "Europe/Oslo"
quotas = { daily = 500 }
listen = "127.0.0.1:8081"

[connections.toggl]
plan = "${PLAN:-starter}"
"#;
