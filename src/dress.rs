//! A refusal in the provider's dress: the templates of `[refusal]` filled in. The gateway's own refusals and the simulator's
//! wear the same. Pure: no clock, no I/O.

use std::time::{Duration, UNIX_EPOCH};

use http::{HeaderMap, HeaderValue, StatusCode};

use crate::adapter::Refusal;

/// What the placeholders of a template stand for.
#[derive(Debug, Clone, Copy)]
pub struct Words<'a> {
    /// `{detail}`: a sentence.
    pub detail: &'a str,
    /// `{policy}`: its name.
    pub policy: &'a str,
    /// `{limit}`: its quota, where it is known.
    pub limit: Option<u64>,
    /// `{retry_after}`: seconds.
    pub retry_after: u64,
    /// `{reset_epoch}`: seconds since 1970; as a date `{reset_http_date}`.
    pub reset_epoch: i64,
}

/// A refusal as the provider would have sent it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dress {
    /// The status of `[refusal]`, as the provider would send it.
    pub status: StatusCode,
    /// The media type of the body.
    pub content_type: Option<HeaderValue>,
    /// Its other headers. One whose value cannot stand in a header is left out.
    pub headers: HeaderMap,
    /// Its body.
    pub body: String,
}

impl Dress {
    /// Fills a refusal's templates.
    #[must_use]
    pub fn new(refusal: &Refusal, words: &Words<'_>) -> Self {
        let headers = refusal.headers.iter().filter_map(|(name, template)| {
            let value = HeaderValue::try_from(fill(template, words, Syntax::Plain)).ok()?;
            Some((name.clone(), value))
        });
        Self {
            status: refusal.status,
            content_type: refusal.content_type.clone(),
            headers: headers.collect(),
            body: fill(
                &refusal.body,
                words,
                Syntax::of(refusal.content_type.as_ref()),
            ),
        }
    }
}

/// How a value has to be written to stay a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Syntax {
    Plain,
    Json,
    /// Also HTML: where both differ, entities of XML are understood in HTML.
    Xml,
}

impl Syntax {
    fn of(content_type: Option<&HeaderValue>) -> Self {
        let text = content_type.and_then(|value| value.to_str().ok());
        let essence = text.unwrap_or_default().split(';').next();
        let essence = essence.unwrap_or_default().trim().to_ascii_lowercase();
        let subtype = essence.split_once('/').map_or("", |(_, subtype)| subtype);
        if subtype == "json" || subtype.ends_with("+json") {
            Self::Json
        } else if matches!(subtype, "xml" | "html") || subtype.ends_with("+xml") {
            Self::Xml
        } else {
            Self::Plain
        }
    }
}

/// A template with its placeholders filled in, in one pass: a value that looks like a placeholder stays what it is.
fn fill(template: &str, words: &Words<'_>, syntax: Syntax) -> String {
    let mut filled = String::with_capacity(template.len() + words.detail.len());
    let mut in_string = false;
    let mut rest = template;
    while let Some(start) = rest.find('{') {
        let (before, after) = rest.split_at(start);
        filled.push_str(before);
        in_string = ends_in_string(before, in_string);
        match placeholder(after, words) {
            Some((length, value)) => {
                write(&mut filled, &value, syntax, in_string);
                rest = &after[length..];
            }
            None => {
                filled.push('{');
                rest = &after[1..];
            }
        }
    }
    filled.push_str(rest);
    filled
}

/// What a placeholder stands for.
enum Value<'a> {
    Text(&'a str),
    Number(Option<String>),
}

/// A moment as RFC 9110, section 5.6.7, writes it. It knows none before 1970.
fn http_date(epoch: i64) -> Option<String> {
    let since = Duration::from_secs(u64::try_from(epoch).ok()?);
    let is_known = since < Duration::from_secs(253_402_300_800);
    is_known.then(|| httpdate::fmt_http_date(UNIX_EPOCH + since))
}

/// The placeholder that a text begins with: its length and its value.
fn placeholder<'a>(text: &str, words: &Words<'a>) -> Option<(usize, Value<'a>)> {
    let (name, _) = text.strip_prefix('{')?.split_once('}')?;
    let value = match name {
        "detail" => Value::Text(words.detail),
        "policy" => Value::Text(words.policy),
        "limit" => Value::Number(words.limit.map(|limit| limit.to_string())),
        "retry_after" => Value::Number(Some(words.retry_after.to_string())),
        "reset_epoch" => Value::Number(Some(words.reset_epoch.to_string())),
        "reset_http_date" => Value::Number(http_date(words.reset_epoch)),
        _ => return None,
    };
    Some((name.len() + 2, value))
}

fn write(filled: &mut String, value: &Value<'_>, syntax: Syntax, in_string: bool) {
    match (value, syntax) {
        (Value::Number(Some(number)), _) => filled.push_str(number),
        // `"limit":` with nothing behind it would be no JSON.
        (Value::Number(None), Syntax::Json) if !in_string => filled.push_str("null"),
        (Value::Number(None), _) => {}
        (Value::Text(text), Syntax::Plain) => filled.push_str(text),
        (Value::Text(text), Syntax::Xml) => {
            for character in text.chars() {
                match character {
                    '&' => filled.push_str("&amp;"),
                    '<' => filled.push_str("&lt;"),
                    '>' => filled.push_str("&gt;"),
                    '"' => filled.push_str("&quot;"),
                    '\'' => filled.push_str("&#39;"),
                    other => filled.push(other),
                }
            }
        }
        (Value::Text(text), Syntax::Json) => {
            let quoted = serde_json::Value::from(*text).to_string();
            // The template has the quotes already where the placeholder stands between some.
            filled.push_str(if in_string {
                &quoted[1..quoted.len() - 1]
            } else {
                &quoted
            });
        }
    }
}

/// Whether JSON that began inside or outside a string ends inside one.
fn ends_in_string(json: &str, mut in_string: bool) -> bool {
    let mut escaped = false;
    for byte in json.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = in_string,
            b'"' => in_string = !in_string,
            _ => {}
        }
    }
    in_string
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(detail: &str) -> Words<'_> {
        Words {
            detail,
            policy: "daily",
            limit: None,
            retry_after: 7,
            reset_epoch: 1_800_000_007,
        }
    }

    #[test]
    fn a_date_is_one_that_can_be_written() {
        for (epoch, expected) in [
            (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
            (-1, ""),
            (i64::MAX, ""),
        ] {
            let words = Words {
                reset_epoch: epoch,
                ..words("")
            };
            assert_eq!(body(None, "{reset_http_date}", &words), expected);
        }
    }

    fn body(content_type: Option<&'static str>, template: &str, words: &Words<'_>) -> String {
        let refusal = Refusal {
            policy: None,
            status: StatusCode::FORBIDDEN,
            content_type: content_type.map(HeaderValue::from_static),
            body: template.to_owned(),
            headers: Vec::new(),
        };
        Dress::new(&refusal, words).body
    }

    #[test]
    fn a_value_is_escaped_as_its_place_demands() {
        let nasty = "\"a\\b\"\n<{policy}> & {";
        for (content_type, template, expected) in [
            (
                Some("application/json; charset=utf-8"),
                r#"{"m":"{detail}","p":{policy},"q":"{policy}"}"#,
                r#"{"m":"\"a\\b\"\n<{policy}> & {","p":"daily","q":"daily"}"#,
            ),
            (
                Some("application/vnd.api+json"),
                r#"[{detail}]"#,
                r#"["\"a\\b\"\n<{policy}> & {"]"#,
            ),
            (
                Some("text/html"),
                "<p>{detail}</p>",
                "<p>&quot;a\\b&quot;\n&lt;{policy}&gt; &amp; {</p>",
            ),
            (Some("text/plain"), "{detail}", nasty),
            (
                None,
                "{reset_epoch} {reset_http_date}",
                "1800000007 Fri, 15 Jan 2027 08:00:07 GMT",
            ),
            (None, "{detail}", nasty),
        ] {
            assert_eq!(body(content_type, template, &words(nasty)), expected);
        }
    }

    #[test]
    fn numbers_stay_numbers_and_an_unknown_one_leaves_valid_json() {
        let template = r#"{"a":{retry_after},"b":"{reset_epoch}","c":{limit},"d":"{limit}","e\"{x}":{"{limit":{}}}"#;
        let json = "application/json";
        assert_eq!(
            body(Some(json), template, &words("-")),
            r#"{"a":7,"b":"1800000007","c":null,"d":"","e\"{x}":{"{limit":{}}}"#
        );
        let known = Words {
            limit: Some(250),
            ..words("-")
        };
        assert_eq!(body(Some(json), "[{limit}]", &known), "[250]");
        assert_eq!(body(None, "of {limit}", &words("-")), "of ");
    }

    #[test]
    fn a_header_that_cannot_be_written_is_left_out() {
        let header = |name, value: &str| (http::HeaderName::from_static(name), value.to_owned());
        let refusal = Refusal {
            policy: None,
            status: StatusCode::TOO_MANY_REQUESTS,
            content_type: None,
            body: String::new(),
            headers: vec![
                header("x-why", "{detail}"),
                header("x-left", "0"),
                header("x-reset", "{retry_after}"),
            ],
        };
        let dress = Dress::new(&refusal, &words("two\nlines"));
        assert_eq!(dress.headers.len(), 2);
        assert_eq!(dress.headers["x-left"], "0");
        assert_eq!(dress.headers["x-reset"], "7");
    }
}
