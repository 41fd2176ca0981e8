//! One HTTP response as text: what `headroom translate` reads and what `snapshots/<id>/*.http` hold. Odd lines are notes,
//! not errors; only a missing status line is one. No I/O.

use http::header::Entry;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

/// The longest value onto which lines are folded, in bytes.
const LONGEST_FOLDED: usize = 8 * 1024;

/// A recorded response and its circumstances.
#[derive(Debug, Default)]
pub struct Recording {
    /// `# name: value` lines before the status line, in order.
    pub circumstances: Vec<(String, String)>,
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// What follows the empty line.
    pub body: Vec<u8>,
    /// Lines that could not be read.
    pub notes: Vec<String>,
}

impl Recording {
    /// A circumstance by its name.
    #[must_use]
    pub fn circumstance(&self, name: &str) -> Option<&str> {
        self.circumstances
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }

    /// Reads a recording.
    ///
    /// # Errors
    /// There is no status line; the message says what is there instead.
    pub fn parse(input: &[u8]) -> Result<Self, String> {
        let mut recording = Self::default();
        let mut rest = input;
        let status_line = loop {
            if rest.is_empty() {
                return Err(
                    "there is no status line; write a response such as \"HTTP/1.1 200 OK\", its headers, an empty line and the body"
                        .to_owned(),
                );
            }
            let line = next_line(&mut rest);
            if line.trim_ascii().is_empty() {
                continue;
            }
            let Some(comment) = line.strip_prefix(b"#") else {
                break line;
            };
            let comment = String::from_utf8_lossy(comment);
            if let Some((name, value)) = comment.split_once(':') {
                recording
                    .circumstances
                    .push((name.trim().to_owned(), value.trim().to_owned()));
            }
        };
        recording.status = status(status_line)?;
        let mut last: Option<HeaderName> = None;
        while !rest.is_empty() {
            let line = next_line(&mut rest);
            if line.is_empty() {
                recording.body = rest.to_vec();
                break;
            }
            recording.header(line, &mut last);
        }
        Ok(recording)
    }

    fn header(&mut self, line: &[u8], last: &mut Option<HeaderName>) {
        if line
            .first()
            .is_some_and(|byte| matches!(byte, b' ' | b'\t'))
        {
            // An obsolete line folding (RFC 9112, section 5.2) is a blank of the value before it.
            if let Some(name) = last
                && let Entry::Occupied(mut lines) = self.headers.entry(&*name)
                && let Some(value) = lines.iter_mut().next_back()
                // Joining copies: a million folds would cost their square.
                && value.len() < LONGEST_FOLDED
            {
                let joined = [value.as_bytes(), b" ", line.trim_ascii()].concat();
                if let Ok(joined) = HeaderValue::from_bytes(&joined) {
                    *value = joined;
                    return;
                }
            }
            self.note(line, "is folded onto no header");
            return;
        }
        let Some(colon) = line.iter().position(|byte| *byte == b':') else {
            self.note(line, "has no colon");
            return;
        };
        let (name, value) = line.split_at(colon);
        let name = HeaderName::from_bytes(name);
        let value = HeaderValue::from_bytes(value.get(1..).unwrap_or_default().trim_ascii());
        match (name, value) {
            (Ok(name), Ok(value)) => {
                // The map refuses more than 32,768 lines; headroom's server takes far fewer.
                match self.headers.try_append(name.clone(), value) {
                    Ok(_) => *last = Some(name),
                    Err(_) => self.note(line, "is one header too many"),
                }
            }
            _ => self.note(line, "is not a header"),
        }
    }

    fn note(&mut self, line: &[u8], reason: &str) {
        // A flood of bad lines is one problem, not a million.
        if self.notes.len() < 20 {
            let shown = line.get(..40).unwrap_or(line).escape_ascii();
            self.notes
                .push(format!("the line \"{shown}\" {reason}; ignored"));
        }
    }
}

fn next_line<'i>(rest: &mut &'i [u8]) -> &'i [u8] {
    let (line, after) = match rest.iter().position(|byte| *byte == b'\n') {
        Some(end) => (rest.get(..end), rest.get(end + 1..)),
        None => (Some(*rest), None),
    };
    *rest = after.unwrap_or_default();
    let line = line.unwrap_or_default();
    line.strip_suffix(b"\r").unwrap_or(line)
}

fn status(line: &[u8]) -> Result<StatusCode, String> {
    let text = String::from_utf8_lossy(line);
    let mut words = text.split_ascii_whitespace();
    let version = words.next().unwrap_or_default();
    let code = words.next().unwrap_or_default();
    let status = version
        .starts_with("HTTP/")
        .then(|| StatusCode::from_bytes(code.as_bytes()).ok())
        .flatten();
    status.ok_or_else(|| {
        let shown: String = text.chars().take(60).collect();
        format!(
            "\"{}\" is not a status line; write one such as \"HTTP/1.1 200 OK\"",
            shown.escape_debug()
        )
    })
}
