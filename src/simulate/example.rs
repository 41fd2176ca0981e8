//! A short text that fits a pattern of an adapter: where a provider knows an answer by its words, the simulator has to say
//! some of them. No I/O.

use regex_syntax::ParserBuilder;
use regex_syntax::hir::{Class, Hir, HirKind};

/// The longest example: a pattern that needs more is not a provider's word.
const LONGEST: usize = 256;

/// A text that fits. Where the pattern has a group `label`, `label` stands for it. `None`: none is found this simply.
pub(super) fn text(pattern: &str, label: Option<&str>) -> Option<String> {
    let hir = ParserBuilder::new()
        .utf8(false)
        .build()
        .parse(pattern)
        .ok()?;
    let mut out = Vec::new();
    spell(&hir, label, &mut out)?;
    let text = String::from_utf8(out).ok()?;
    let fits = regex::Regex::new(pattern).ok()?.is_match(&text);
    fits.then_some(text)
}

fn spell(hir: &Hir, label: Option<&str>, out: &mut Vec<u8>) -> Option<()> {
    match hir.kind() {
        // What stands around the text is checked at the end.
        HirKind::Empty | HirKind::Look(_) => {}
        HirKind::Literal(literal) => out.extend_from_slice(&literal.0),
        HirKind::Class(class) => out.extend_from_slice(plainest(class)?.to_string().as_bytes()),
        HirKind::Repetition(repetition) => {
            for _ in 0..repetition.min {
                spell(&repetition.sub, label, out)?;
            }
        }
        HirKind::Capture(capture) => {
            match label.filter(|_| capture.name.as_deref() == Some("label")) {
                Some(label) => out.extend_from_slice(label.as_bytes()),
                None => spell(&capture.sub, label, out)?,
            }
        }
        HirKind::Concat(parts) => {
            for part in parts {
                spell(part, label, out)?;
            }
        }
        HirKind::Alternation(ways) => spell(ways.first()?, label, out)?,
    }
    (out.len() <= LONGEST).then_some(())
}

/// Lower-case letters before digits before anything visible: `(?i)s` also holds the long s.
fn plainest(class: &Class) -> Option<char> {
    let holds = |wanted: char| match class {
        Class::Unicode(class) => class
            .ranges()
            .iter()
            .any(|range| (range.start()..=range.end()).contains(&wanted)),
        Class::Bytes(class) => u8::try_from(wanted).is_ok_and(|wanted| {
            class
                .ranges()
                .iter()
                .any(|range| (range.start()..=range.end()).contains(&wanted))
        }),
    };
    ('a'..='z')
        .chain('0'..='9')
        .chain(' '..='~')
        .find(|wanted| holds(*wanted))
}

#[cfg(test)]
mod tests {
    use super::text;

    #[test]
    fn examples_are_the_words_of_the_pattern() {
        for (pattern, example) in [
            ("(?i)secondary rate limit", "secondary rate limit"),
            (r"^\s*Retry later", "Retry later"),
            (
                "More than 1200 requests per 300 seconds",
                "More than 1200 requests per 300 seconds",
            ),
            (
                r"^Concurrent(?:Requests|PerOrgLongTxn)\b",
                "ConcurrentRequests",
            ),
            ("^800(0[0-9]|1[0-4])$", "80000"),
            ("(?i)^(day|dai)", "dai"),
        ] {
            assert_eq!(text(pattern, None).as_deref(), Some(example), "{pattern}");
        }
    }

    #[test]
    fn a_label_stands_for_its_group() {
        let pattern = "^zendesk-ratelimit-(?<label>[^i].*|i[^n].*)$";
        assert_eq!(
            text(pattern, Some("search-index")).as_deref(),
            Some("zendesk-ratelimit-search-index")
        );
        assert_eq!(text(pattern, Some("inflight")), None);
    }
}
