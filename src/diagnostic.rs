//! Mistakes in files, collected and shown as `file:line:column`, the line, a caret and what to write instead.
//! No I/O: the caller has read the file.

use std::borrow::Cow;
use std::ops::Range;

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};

/// One mistake in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// Stable, in kebab case: `unknown-key`. Documented in `providers/README.md`.
    pub code: &'static str,
    /// Bytes of the source that it is about.
    pub span: Range<usize>,
    /// What is wrong, in one sentence without a full stop.
    pub message: String,
    /// What to write instead.
    pub help: String,
}

/// All mistakes of one file, in the order of the file, and which of its bytes are secrets.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mistakes(Vec<Mistake>, Vec<Range<usize>>);

impl Mistakes {
    /// Adds one.
    pub fn push(
        &mut self,
        code: &'static str,
        span: Range<usize>,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.0.push(Mistake {
            code,
            span,
            message: message.into(),
            help: help.into(),
        });
    }

    /// Takes in those of another check of the same file.
    pub fn append(&mut self, other: Self) {
        self.0.extend(other.0);
        self.1.extend(other.1);
    }

    /// These bytes are a secret: whatever is wrong in their line, they are not shown.
    pub fn hide(&mut self, span: Range<usize>) {
        self.1.push(span);
    }

    /// Where the TOML itself is broken, what else seems wrong in that table, and what the file seems to lack, is its echo:
    /// only the rest is worth telling.
    pub fn drop_echoes(&mut self, source: &str) {
        let is_syntax = |mistake: &Mistake| mistake.code == "syntax";
        let is_header = |mistake: &Mistake| {
            let section = section(source, mistake.span.start);
            // The name in a header stands before any line of its table.
            mistake.code == "duplicate-key"
                && !source
                    .get(section.start..mistake.span.start)
                    .unwrap_or_default()
                    .contains('\n')
                && section.start > 0
        };
        let broken: Vec<Range<usize>> = self
            .0
            .iter()
            .filter(|mistake| is_syntax(mistake) || is_header(mistake))
            .map(|mistake| section(source, mistake.span.start))
            .collect();
        let syntax = self.0.iter().any(is_syntax);
        self.0.retain(|mistake| {
            let whole_file = syntax && mistake.span == (0..0);
            let echo = whole_file
                || broken
                    .iter()
                    .any(|section| section.contains(&mistake.span.start));
            is_syntax(mistake) || is_header(mistake) || !echo
        });
    }

    /// Writes the texts of those that touch a place anew.
    pub(crate) fn rewrite(&mut self, span: &Range<usize>, rewrite: impl Fn(&str) -> String) {
        let touches = |one: &Range<usize>| one.start < span.end && span.start < one.end;
        for mistake in self.0.iter_mut().filter(|one| touches(&one.span)) {
            mistake.message = rewrite(&mistake.message);
            mistake.help = rewrite(&mistake.help);
        }
    }

    /// No mistake.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// In the order of the file, each once: two checks may stumble over the same value.
    #[must_use]
    pub fn sorted(&self) -> Vec<Mistake> {
        let mut sorted = self.0.clone();
        sorted.sort_by_key(|mistake| (mistake.span.start, mistake.span.end));
        sorted.dedup();
        sorted
    }

    /// The text for people: every mistake with its place, line, caret and advice.
    #[must_use]
    pub fn render(&self, path: &str, source: &str, colour: bool) -> String {
        let renderer = if colour {
            Renderer::styled()
        } else {
            Renderer::plain()
        };
        let hidden = self.shown(source);
        let source = &*hidden;
        let mut text = String::new();
        for mistake in self.sorted() {
            let start = floor_boundary(source, mistake.span.start);
            let end = floor_boundary(source, mistake.span.end).max(start);
            let report = [Level::ERROR
                .primary_title(&mistake.message)
                .id(mistake.code)
                .element(
                    Snippet::source(source)
                        .path(path)
                        .annotation(AnnotationKind::Primary.span(start..end)),
                )
                .element(Level::HELP.message(&mistake.help))];
            text.push_str(&renderer.render(&report));
            text.push_str("\n\n");
        }
        text
    }

    /// The source as it may be shown: with a mark for each letter of a secret, as long as the letter is in bytes, so that all
    /// places stay where they are, counted in either.
    #[must_use]
    pub fn shown<'a>(&self, source: &'a str) -> Cow<'a, str> {
        if self.1.is_empty() {
            return Cow::Borrowed(source);
        }
        let mut hidden = vec![false; source.len()];
        for span in &self.1 {
            let of_secret = hidden.iter_mut().take(span.end).skip(span.start);
            of_secret.for_each(|hidden| *hidden = true);
        }
        let mut shown = String::with_capacity(source.len());
        for (at, letter) in source.char_indices() {
            let is_hidden = hidden.get(at) == Some(&true);
            if is_hidden && !matches!(letter, '"' | '\'' | '\r' | '\n') {
                shown.push(match letter.len_utf8() {
                    1 => '*',
                    2 => '\u{d7}',
                    3 => '\u{2022}',
                    _ => '\u{1f512}',
                });
            } else {
                shown.push(letter);
            }
        }
        Cow::Owned(shown)
    }
}

/// The table around a byte: from its header, or the beginning of the file, to the next header.
fn section(source: &str, offset: usize) -> Range<usize> {
    let mut start = 0;
    let mut line_start = 0;
    for line in source.split_inclusive('\n') {
        if line.trim_start().starts_with('[') {
            if line_start > offset {
                return start..line_start;
            }
            start = line_start;
        }
        line_start += line.len();
    }
    start..source.len().max(offset + 1)
}

fn floor_boundary(source: &str, offset: usize) -> usize {
    source.floor_char_boundary(offset.min(source.len()))
}

/// How many slips a misspelling may have: one for every three letters. A word of one or two letters is one slip away from
/// every other.
fn slips(word: &str, candidate: &str) -> usize {
    match word.chars().count() {
        0..3 => 0,
        length => length.max(candidate.chars().count()) / 3,
    }
}

/// The candidate that was probably meant: near enough in letters, or the same but for case and separators.
#[must_use]
pub fn closest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let plain = |text: &str| text.to_ascii_lowercase().replace(['-', '_', ' '], "");
    let wanted = plain(word);
    candidates
        .into_iter()
        .map(|candidate| {
            let distance = if plain(candidate) == wanted {
                0
            } else {
                strsim::damerau_levenshtein(word, candidate)
            };
            (distance, candidate)
        })
        .filter(|(distance, candidate)| *distance <= slips(word, candidate))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_hidden_whatever_is_wrong_beside_it() {
        let source = "a = { url = 1, secret = \"ge\u{2764}e\u{ef}m\u{1f600}\", more = 2 }\n";
        let mut mistakes = Mistakes::default();
        let start = source.find("\"ge").unwrap();
        mistakes.hide(start..source.find(", more").unwrap());
        mistakes.push(
            "wrong-type",
            12..13,
            "this is wrong",
            "write something else",
        );
        let more = source.find("more").unwrap();
        mistakes.push("wrong-type", more..more + 4, "so is this", "leave it out");
        let text = mistakes.render("a.toml", source, false);
        assert!(!text.contains("ge\u{2764}"), "{text}");
        let shown = "secret = \"**\u{2022}*\u{d7}*\u{1f512}\", more";
        assert_eq!(text.matches(shown).count(), 2, "{text}");
        // The column is that of the file as it is.
        let column = source[..more].chars().count() + 1;
        assert!(text.contains(&format!("a.toml:1:{column}\n")), "{text}");
    }

    #[test]
    fn short_words_suggest_nothing_else() {
        let known = ["x", "s3", "github", "git-lab"];
        for (word, meant) in [
            ("", None),
            (".", None),
            ("y", None),
            ("s4", None),
            ("S-3", Some("s3")),
            ("X", Some("x")),
            ("gihtub", Some("github")),
            ("GitLab", Some("git-lab")),
            ("other", None),
        ] {
            assert_eq!(closest(word, known), meant, "{word}");
        }
    }
}
