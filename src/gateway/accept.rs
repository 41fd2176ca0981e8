//! Whether a caller would rather have a problem (RFC 9457) than the provider's dress (RFC 9110, section 12.5.1).

use http::HeaderValue;
use http::header::ACCEPT;

use super::fields;

use crate::fields::Fields;

/// A media type, or a range of them: `application/json;charset=utf-8`, `application/*`.
struct Media<'a> {
    main: &'a str,
    sub: &'a str,
    parameters: Vec<(&'a str, &'a str)>,
}

/// How well a range fits, the better the greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Fit {
    Anything,
    MainType,
    /// With how many parameters.
    Named(usize),
}

/// How much a media type is wanted, in thousandths, by the range that fits best.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Wanted {
    fit: Fit,
    quality: u16,
}

/// Whether `Accept` asks for a problem rather than for `dress`, the media type of the provider's refusal. `None`: it has no
/// body, so that there is nothing to accept.
///
/// A caller has to name a problem type to get one. Whoever says `*/*`, `application/*` or nothing is most likely the
/// provider's own SDK, which knows its provider's refusal and nothing else. Where both are wanted as much, the dress goes
/// first too, unless only the problem is named.
pub(super) fn prefers_problem(headers: &Fields, dress: Option<&HeaderValue>) -> bool {
    let mut ranges = Vec::new();
    for value in headers.get_all(ACCEPT) {
        for element in fields::unquoted_parts(value.as_bytes(), b',') {
            ranges.extend(range(element));
        }
    }
    let json = wanted(&ranges, &PROBLEM_JSON).filter(Wanted::is_named);
    // A problem is written in JSON only, but who asks for one in XML knows what a problem is.
    let problem = json.or_else(|| wanted(&ranges, &PROBLEM_XML).filter(Wanted::is_named));
    let Some(problem) = problem.filter(|problem| problem.quality > 0) else {
        return false;
    };
    let Some(dress) = dress.and_then(|value| media(value.as_bytes())) else {
        return true;
    };
    wanted(&ranges, &dress).is_none_or(|dress| {
        problem.quality > dress.quality || (problem.quality == dress.quality && !dress.is_named())
    })
}

static PROBLEM_JSON: Media<'static> = Media {
    main: "application",
    sub: "problem+json",
    parameters: Vec::new(),
};

static PROBLEM_XML: Media<'static> = Media {
    main: "application",
    sub: "problem+xml",
    parameters: Vec::new(),
};

impl Wanted {
    const fn is_named(&self) -> bool {
        matches!(self.fit, Fit::Named(_))
    }
}

fn wanted(ranges: &[(Media<'_>, u16)], media: &Media<'_>) -> Option<Wanted> {
    let fitting = ranges.iter().filter_map(|(range, quality)| {
        Some(Wanted {
            fit: range.fit(media)?,
            quality: *quality,
        })
    });
    fitting.max()
}

impl Media<'_> {
    /// How this range fits a media type; `None`: not at all.
    fn fit(&self, media: &Media<'_>) -> Option<Fit> {
        let same = str::eq_ignore_ascii_case;
        let has = |(name, value): &(&str, &str)| {
            let mut parameters = media.parameters.iter();
            parameters.any(|(other, text)| same(name, other) && same(value, text))
        };
        if !self.parameters.iter().all(has) {
            return None;
        }
        match (self.main, self.sub) {
            ("*", "*") => Some(Fit::Anything),
            (main, "*") if same(main, media.main) => Some(Fit::MainType),
            (main, sub) if same(main, media.main) && same(sub, media.sub) => {
                Some(Fit::Named(self.parameters.len()))
            }
            _ => None,
        }
    }
}

fn media(text: &[u8]) -> Option<Media<'_>> {
    let mut parts = fields::unquoted_parts(text, b';').map(|part| {
        let part = std::str::from_utf8(part).ok();
        part.map(|part| part.trim_matches([' ', '\t']))
    });
    let (main, sub) = parts.next()??.split_once('/')?;
    let mut parameters = Vec::new();
    for part in parts {
        let part = part?;
        if !part.is_empty() {
            let (name, value) = part.split_once('=')?;
            parameters.push((name, value.trim_matches('"')));
        }
    }
    Some(Media {
        main,
        sub,
        parameters,
    })
}

/// A range and how much it is wanted. One that cannot be read is none.
fn range(text: &[u8]) -> Option<(Media<'_>, u16)> {
    let mut range = media(text)?;
    let weight = range
        .parameters
        .iter()
        .position(|(name, _)| name.eq_ignore_ascii_case("q"));
    let quality = match weight {
        Some(index) => {
            let (_, text) = range.parameters.get(index)?;
            let quality = thousandths(text)?;
            // What stands behind the weight was never a parameter of the media type.
            range.parameters.truncate(index);
            quality
        }
        None => 1_000,
    };
    Some((range, quality))
}

/// `0`, `0.5`, `1.000`: at most three decimals, at most one.
fn thousandths(text: &str) -> Option<u16> {
    let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if !matches!(whole, "0" | "1") || decimals.len() > 3 || !digits(decimals) {
        return None;
    }
    let whole: u16 = whole.parse().ok()?;
    let decimals: u16 = format!("{decimals:0<3}").parse().ok()?;
    Some(whole * 1_000 + decimals).filter(|quality| *quality <= 1_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefers(lines: &[&'static str], dress: Option<&'static str>) -> bool {
        let mut headers = Fields::new();
        for line in lines {
            headers.append(ACCEPT, HeaderValue::from_static(line));
        }
        prefers_problem(&headers, dress.map(HeaderValue::from_static).as_ref())
    }

    #[test]
    fn who_does_not_name_a_problem_gets_the_dress() {
        for lines in [
            &[][..],
            &[""],
            &["*/*"],
            &["application/*"],
            &["application/json"],
            &["application/json;q=0.1, */*"],
            &["text/html"],
            &["application/vnd.github+json"],
            &["garbage, ;, /, =;q=1"],
        ] {
            for dress in [
                Some("application/json; charset=utf-8"),
                Some("text/plain"),
                None,
            ] {
                assert!(!prefers(lines, dress), "{lines:?} {dress:?}");
            }
        }
    }

    #[test]
    fn a_problem_that_is_wanted_more_is_given() {
        let json = Some("application/json; charset=utf-8");
        for lines in [
            &["application/problem+json"][..],
            &["Application/Problem+JSON"],
            &["application/problem+xml"],
            &["application/problem+json, application/json;q=0.9"],
            &["application/json;q=0.9", "application/problem+json"],
            &["application/problem+json, */*"],
            &["application/problem+json;q=0.5, application/json;q=0.499"],
            &["application/problem+json ; q=0.5 ; x=\"a, b\", application/json;Q=0"],
            // The more specific range counts.
            &[
                "application/problem+json;q=0.5, application/json, application/json;charset=\"UTF-8\";q=0.2",
            ],
            // A range of another form of it does not fit.
            &["application/problem+json;q=0.5, application/json;charset=ascii"],
        ] {
            assert!(prefers(lines, json), "{lines:?}");
        }
        assert!(prefers(
            &["application/problem+json;q=0.1, application/json"],
            None
        ));
    }

    #[test]
    fn a_problem_that_is_wanted_less_or_as_much_is_not() {
        let json = Some("application/json");
        for lines in [
            "application/problem+json;q=0",
            "application/problem+json;q=0, application/problem+xml",
            "application/problem+json, application/json",
            "application/problem+json;q=0.5, application/json;q=0.6",
            "application/problem+json;q=0.5, */*",
            "application/problem+json;q=0.5, application/*;q=0.6",
            "application/problem+json;q=2",
            "application/problem+json;q=0.1234",
            "application/problem+json;q=1.001",
            "application/problem+json;profile=x",
        ] {
            assert!(!prefers(&[lines], json), "{lines}");
        }
        assert!(!prefers(
            &["application/problem+json"],
            Some("application/problem+json")
        ));
        assert!(!prefers(&["application/problem+json;q=0"], None));
    }
}
