//! Replaces the provider's origin in the URLs of a JSON body with the gateway's, while the body streams in chunks of any
//! size. Bytes in, bytes out: no parsing into values, no I/O.
//!
//! Only a string that *begins* with the origin is a URL of the API: the origin within a sentence is text. The pieces that
//! stay as they are share the memory of the chunk that they came in.

use std::sync::Arc;

use bytes::Bytes;
use memchr::{memchr, memchr2};
use smallvec::SmallVec;

/// What is looked for and what is put in its place; made once for each origin, cheap to clone.
#[derive(Debug, Clone)]
pub struct Rewriter {
    rule: Arc<Rule>,
}

#[derive(Debug)]
struct Rule {
    /// The origin in lower case without a default port; empty matches nothing.
    origin: Box<[u8]>,
    /// The default port as it may be spelled out after the origin (`:443`); empty if there is none.
    port: &'static [u8],
    /// The replacement for URLs with plain slashes.
    plain: Bytes,
    /// The replacement for URLs with escaped slashes (`https:\/\/`).
    escaped: Bytes,
}

impl Rewriter {
    /// `origin` is scheme, host and perhaps port (`https://api.github.com`), `replacement` what URLs shall begin with
    /// instead (`http://127.0.0.1:8080/github`). A slash at the end of either is ignored. What is no origin matches
    /// nothing.
    #[must_use]
    pub fn new(origin: &str, replacement: &str) -> Self {
        let mut origin = origin.trim_end_matches('/').to_ascii_lowercase();
        let port: &[u8] = match origin.split_once("://") {
            Some(("https", _)) => b":443",
            Some(("http", _)) => b":80",
            Some((scheme, _)) if !scheme.is_empty() => b"",
            _ => {
                origin.clear();
                b""
            }
        };
        // The default port may be left out and may be spelled out, whichever way the adapter says it.
        if !port.is_empty() && origin.as_bytes().ends_with(port) {
            origin.truncate(origin.len() - port.len());
        }
        // Such a byte never stands in an origin; in a JSON string it would be escaped, and the match would be wrong.
        if origin
            .bytes()
            .any(|byte| byte <= b' ' || byte == b'"' || byte == b'\\')
        {
            origin.clear();
        }
        let plain = escape(replacement.trim_end_matches('/'));
        let escaped = plain.replace('/', "\\/");
        let rule = Rule {
            origin: origin.into_bytes().into_boxed_slice(),
            port,
            plain: Bytes::from(plain),
            escaped: Bytes::from(escaped),
        };
        Self {
            rule: Arc::new(rule),
        }
    }

    /// The state for one body.
    #[must_use]
    pub fn stream(&self) -> RewriteStream {
        RewriteStream {
            rule: Arc::clone(&self.rule),
            place: Place::Outside,
            held: SmallVec::new(),
        }
    }
}

/// As the inside of a JSON string (RFC 8259, section 7).
fn escape(text: &str) -> String {
    use std::fmt::Write as _;
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '"' | '\\' => {
                escaped.push('\\');
                escaped.push(character);
            }
            control if control < ' ' => {
                // Writing into a string cannot fail.
                let _ = write!(escaped, "\\u{:04x}", u32::from(control));
            }
            _ => escaped.push(character),
        }
    }
    escaped
}

/// The rewriting of one body: [`RewriteStream::push`] for every chunk, then [`RewriteStream::finish`].
#[derive(Debug)]
pub struct RewriteStream {
    rule: Arc<Rule>,
    place: Place,
    /// The beginning of a string that may become a match, from earlier chunks. Never longer than the origin with its
    /// slashes escaped, its port and one backslash.
    held: SmallVec<[Bytes; 2]>,
}

/// Where in the document the next byte stands.
#[derive(Debug, Clone, Copy)]
enum Place {
    Outside,
    /// In a string that is no match; `escape` says that a backslash came just before.
    Inside {
        escape: bool,
    },
    /// In a string that has been like the origin so far.
    Matching(Match),
}

/// How far a string is like the origin.
#[derive(Debug, Clone, Copy, Default)]
struct Match {
    /// Bytes of the origin seen.
    origin: usize,
    /// Bytes of the default port seen.
    port: usize,
    /// A backslash came just before.
    backslash: bool,
    /// A slash was escaped, so those of the replacement will be.
    escaped: bool,
}

enum Step {
    More,
    Mismatch,
    /// The byte, and a backslash before it, come after the match.
    Matched,
}

impl Match {
    fn step(&mut self, byte: u8, rule: &Rule) -> Step {
        let Some(expected) = rule.origin.get(self.origin) else {
            return self.step_after_origin(byte, rule);
        };
        let slash = *expected == b'/';
        if self.backslash {
            if !(slash && byte == b'/') {
                return Step::Mismatch;
            }
            self.backslash = false;
            self.escaped = true;
        } else if slash && byte == b'\\' {
            self.backslash = true;
            return Step::More;
        } else if byte.to_ascii_lowercase() != *expected {
            return Step::Mismatch;
        }
        self.origin += 1;
        Step::More
    }

    /// What may follow an origin: the default port, then the end of the authority (RFC 3986, section 3.2) or the brace
    /// of a template. Anything else is another host, another port or a user's name.
    fn step_after_origin(&mut self, byte: u8, rule: &Rule) -> Step {
        if rule.origin.is_empty() {
            return Step::Mismatch;
        }
        if self.backslash {
            return if byte == b'/' {
                Step::Matched
            } else {
                Step::Mismatch
            };
        }
        let port_complete = self.port == 0 || self.port == rule.port.len();
        match byte {
            b'/' | b'?' | b'#' | b'{' | b'"' if port_complete => Step::Matched,
            b'\\' if port_complete => {
                self.backslash = true;
                Step::More
            }
            _ if rule.port.get(self.port) == Some(&byte) => {
                self.port += 1;
                Step::More
            }
            _ => Step::Mismatch,
        }
    }
}

impl RewriteStream {
    /// Takes the next chunk and gives out what is decided, never an empty piece.
    pub fn push(&mut self, chunk: Bytes, output: &mut impl Extend<Bytes>) {
        let bytes: &[u8] = &chunk;
        // Up to here the chunk has been given out, or is part of a match.
        let mut start = 0;
        // Where the string that may become a match began, if it began in this chunk.
        let mut candidate = 0;
        let mut at = 0;
        while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
            match &mut self.place {
                Place::Outside => {
                    let Some(quote) = memchr(b'"', rest) else {
                        break;
                    };
                    at += quote + 1;
                    candidate = at;
                    self.place = Place::Matching(Match::default());
                }
                Place::Inside { escape: true } => {
                    at += 1;
                    self.place = Place::Inside { escape: false };
                }
                Place::Inside { escape: false } => {
                    let Some(found) = memchr2(b'"', b'\\', rest) else {
                        break;
                    };
                    at += found + 1;
                    self.place = if rest.get(found) == Some(&b'"') {
                        Place::Outside
                    } else {
                        Place::Inside { escape: true }
                    };
                }
                Place::Matching(progress) => {
                    match rest.first().map(|byte| progress.step(*byte, &self.rule)) {
                        None | Some(Step::More) => at += 1,
                        Some(Step::Mismatch) => {
                            // The byte is looked at again: it may be the string's end.
                            self.place = Place::Inside {
                                escape: progress.backslash,
                            };
                            output.extend(self.held.drain(..));
                        }
                        Some(Step::Matched) => {
                            let Match {
                                escaped, backslash, ..
                            } = *progress;
                            emit(output, chunk.slice(start..candidate));
                            self.held.clear();
                            let replacement = if escaped {
                                &self.rule.escaped
                            } else {
                                &self.rule.plain
                            };
                            emit(output, replacement.clone());
                            // The backslash of `\/` may have come in an earlier chunk.
                            if backslash {
                                emit(output, Bytes::from_static(b"\\"));
                            }
                            start = at;
                            self.place = Place::Inside { escape: backslash };
                        }
                    }
                }
            }
        }
        if matches!(self.place, Place::Matching(_)) {
            emit(output, chunk.slice(start..candidate));
            if candidate < bytes.len() {
                self.held.push(chunk.slice(candidate..));
            }
        } else {
            emit(output, chunk.slice(start..));
        }
    }

    /// The end of the body: gives out what was held back, as it came.
    pub fn finish(&mut self, output: &mut impl Extend<Bytes>) {
        output.extend(self.held.drain(..));
        self.place = Place::Outside;
    }
}

fn emit(output: &mut impl Extend<Bytes>, piece: Bytes) {
    if !piece.is_empty() {
        output.extend(std::iter::once(piece));
    }
}

#[cfg(test)]
mod tests;
