//! `headroom new`: an adapter to start from, with a comment for each key, and a first case.

use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;

use super::{Failure, print};
use crate::adapter::catalog::shipped;
use crate::adapter::language;
use crate::adapter::parse::unfit_id;
use crate::document::schema::schema;
use crate::document::{Key, Shape};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The provider's id: lower-case letters, digits and `-`
    id: String,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let id = &arguments.id;
    if let Some((problem, help)) = unfit_id(id) {
        return Err(Failure::unreadable(format!("headroom: {problem}; {help}")));
    }
    let adapter = PathBuf::from("providers").join(format!("{id}.toml"));
    let case = PathBuf::from("snapshots")
        .join(id)
        .join("with-quota-left.http");
    for path in [&adapter, &case] {
        if path.exists() {
            return Err(Failure::unreadable(format!(
                "headroom: {} is there already; nothing was written",
                path.display()
            )));
        }
    }
    // The case first: an adapter alone would stand in the way of the next try.
    write(&case, FIRST_CASE)?;
    write(&adapter, &template(id))?;
    let beside = PathBuf::from("providers").join("adapter.schema.json");
    if !beside.exists() {
        // Editors read it: the adapter's first line names it.
        let schema = schema(&language::ADAPTER, "headroom adapter");
        write(&beside, &format!("{schema:#}\n"))?;
    }
    let replaces = if shipped().iter().any(|(known, _)| known == id) {
        format!("It goes before the built-in adapter `{id}`.\n")
    } else {
        String::new()
    };
    print(&format!(
        "wrote {} and {}\n{replaces}next:\n  headroom check {}\n  headroom translate --providers providers {id} < {}\n  headroom serve --providers providers\n",
        adapter.display(),
        case.display(),
        adapter.display(),
        case.display(),
    ))
}

fn write(path: &Path, text: &str) -> Result<(), Failure> {
    let failure = |error: std::io::Error| {
        Failure::unreadable(format!(
            "headroom: cannot write {}: {error}",
            path.display()
        ))
    };
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(failure)?;
    }
    fs::write(path, text).map_err(failure)
}

/// A working adapter of the commonest scheme; every other key stands beside it as a comment.
#[must_use]
pub(crate) fn template(id: &str) -> String {
    let written = [
        ("name", format!("name = \"{id}\"")),
        (
            "base_url",
            "base_url = \"https://api.example.com\"".to_owned(),
        ),
        (
            "docs",
            "docs = [\"https://example.com/docs/rate-limits\"]".to_owned(),
        ),
    ];
    let policy = [
        ("quota", "# quota = 1000".to_owned()),
        ("window", "window = \"1h\"".to_owned()),
        ("limit", "limit = \"X-RateLimit-Limit\"".to_owned()),
        (
            "remaining",
            "remaining = \"X-RateLimit-Remaining\"".to_owned(),
        ),
        (
            "reset",
            "reset = { header = \"X-RateLimit-Reset\", form = \"epoch-seconds\" }".to_owned(),
        ),
    ];
    let mut text = format!(
        "#:schema ./adapter.schema.json\n\
         # What headroom has to know of {id}. Keep what the provider documents, delete the rest: nothing is invented.\n\
         # Then: headroom check providers/{id}.toml\n\n"
    );
    keys(
        &mut text,
        &language::ADAPTER,
        &written,
        &["policy", "exhausted", "uncounted", "refusal"],
    );
    text.push_str("# A quota policy. The name is the provider's own where it has one; the main policy comes first.\n[policy.requests]\n");
    keys(&mut text, &language::POLICY, &policy, &[]);
    section(
        &mut text,
        "[[exhausted]]",
        "What says that a quota is exhausted, beside status 429. A rule for another status:",
        &language::EXHAUSTED,
    );
    section(
        &mut text,
        "[[uncounted]]",
        "Requests that use no quota:",
        &language::REQUEST,
    );
    section(
        &mut text,
        "[refusal]",
        "How a refusal must look for this provider's SDKs to understand it:",
        &language::REFUSAL,
    );
    text.push_str("# A reading is a header's name, or a table with these keys:\n");
    comments(&mut text, &language::READING);
    text.push_str("#\n# `read` takes a value apart that tells several quantities:\n");
    comments(&mut text, &language::READ);
    text.push_str(
        "#\n# The whole language, with its forms: providers/README.md in headroom's repository.\n",
    );
    text
}

/// Each key with its comment: written where there is a value for it, else commented out.
fn keys(text: &mut String, shape: &'static Shape, written: &[(&str, String)], skip: &[&str]) {
    for key in shape.keys {
        if skip.contains(&key.name) {
            continue;
        }
        comment(text, key);
        match written.iter().find(|(name, _)| *name == key.name) {
            Some((_, line)) => text.push_str(line),
            None => text.push_str(&format!("# {} =", key.name)),
        }
        text.push_str("\n\n");
    }
}

fn section(text: &mut String, head: &str, title: &str, shape: &'static Shape) {
    text.push_str(&format!("# {title}\n# {head}\n"));
    comments(text, shape);
    text.push('\n');
}

fn comments(text: &mut String, shape: &'static Shape) {
    for key in shape.keys {
        text.push_str(&format!("#   {:14} {}\n", key.name, key.doc));
    }
}

fn comment(text: &mut String, key: &Key) {
    text.push_str(&format!("# {}\n", key.doc));
}

const FIRST_CASE: &str = "\
# source: https://example.com/docs/rate-limits
# now: 2026-11-21T12:00:00Z
# method: GET
# path: /v1/items
# note: Replace this with an answer that the provider really sent.
HTTP/1.1 200 OK
Content-Type: application/json
X-RateLimit-Limit: 1000
X-RateLimit-Remaining: 999
X-RateLimit-Reset: 1795265400

";
