//! The layers only look down. The tables are the architecture; each exception carries its reason.

use std::collections::BTreeSet;

use crate::support::sources::{Source, sources};

/// Each module with those that it may use, lowest first: no module may name one that stands below it in this table.
const LAYERS: &[(&str, &[&str])] = &[
    ("quota", &[]),
    ("diagnostic", &[]),
    ("document", &["diagnostic"]),
    ("form", &[]),
    ("fields", &[]),
    (
        "adapter",
        &["quota", "diagnostic", "document", "form", "fields"],
    ),
    ("translate", &["quota", "form", "fields", "adapter"]),
    ("charge", &["quota", "fields", "adapter", "translate"]),
    ("emit", &["quota", "fields", "translate"]),
    ("dress", &["adapter"]),
    ("rewrite", &[]),
    ("recording", &[]),
    ("origin", &[]),
    ("outbound", &[]),
    ("address", &[]),
    ("time", &[]),
    ("limits", &[]),
    ("identity", &[]),
    ("secret", &[]),
    ("state", &[]),
    (
        "ledger",
        &["quota", "adapter", "translate", "charge", "time", "state"],
    ),
    ("history", &["quota", "time", "state"]),
    ("clock", &["time"]),
    ("warn", &["outbound", "state", "ledger", "time", "clock"]),
    ("consumer", &["adapter"]),
    ("credential", &["fields", "adapter", "consumer", "secret"]),
    (
        "oauth",
        &[
            "outbound",
            "adapter",
            "credential",
            "secret",
            "state",
            "time",
            "clock",
        ],
    ),
    ("guard", &["fields", "address", "consumer"]),
    (
        "config",
        &[
            "quota",
            "diagnostic",
            "document",
            "adapter",
            "emit",
            "origin",
            "limits",
            "identity",
            "ledger",
            "history",
            "warn",
            "address",
            "consumer",
            "credential",
            "oauth",
            "secret",
            "guard",
        ],
    ),
    ("advice", &["ledger", "state"]),
    ("trace", &["fields", "outbound", "time", "history", "clock"]),
    (
        "admin",
        &[
            "time", "state", "ledger", "history", "advice", "warn", "clock", "trace",
        ],
    ),
    (
        "gateway",
        &[
            "quota",
            "diagnostic",
            "fields",
            "adapter",
            "translate",
            "charge",
            "emit",
            "dress",
            "rewrite",
            "origin",
            "time",
            "limits",
            "identity",
            "ledger",
            "history",
            "admin",
            "clock",
            "trace",
            "address",
            "consumer",
            "credential",
            "oauth",
            "guard",
        ],
    ),
    (
        "simulate",
        &[
            "quota",
            "diagnostic",
            "form",
            "fields",
            "adapter",
            "translate",
            "dress",
            "charge",
            "time",
            "ledger",
            "clock",
        ],
    ),
    (
        "cli",
        &[
            "quota",
            "diagnostic",
            "document",
            "form",
            "fields",
            "adapter",
            "translate",
            "charge",
            "emit",
            "dress",
            "rewrite",
            "recording",
            "origin",
            "time",
            "limits",
            "identity",
            "state",
            "ledger",
            "history",
            "admin",
            "clock",
            "trace",
            "address",
            "consumer",
            "guard",
            "config",
            "gateway",
            "simulate",
            "warn",
            "credential",
            "oauth",
            "secret",
        ],
    ),
];

/// The layer of a source file: `src/adapter/parse.rs` is of `adapter`.
fn layer(source: &Source) -> &str {
    let path = source.path.strip_prefix("src/").unwrap();
    path.split(['/', '.']).next().unwrap()
}

/// The code without comments, with the lines where they were.
fn code(source: &Source) -> Vec<(usize, &str)> {
    source
        .text
        .lines()
        .enumerate()
        .map(|(index, line)| (index + 1, line.split("//").next().unwrap()))
        .collect()
}

/// The modules of the crate's root that a line names: `crate::emit`, `crate::{emit, quota}`, or `super::emit` where
/// `super` is the root.
fn named(line: &str, super_is_root: bool) -> Vec<&str> {
    let prefixes: &[&str] = if super_is_root {
        &["crate::", "super::"]
    } else {
        &["crate::"]
    };
    let word = |text: &'_ str| {
        text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
            .unwrap_or(text.len())
    };
    let mut found = Vec::new();
    for prefix in prefixes {
        for (at, _) in line.match_indices(prefix) {
            let rest = &line[at + prefix.len()..];
            match rest.strip_prefix('{') {
                Some(list) => found.extend(list.split(',').map(|one| {
                    let one = one.trim();
                    &one[..word(one)]
                })),
                None => found.push(&rest[..word(rest)]),
            }
        }
    }
    found.retain(|name| !name.is_empty() && *name != "self" && *name != "super");
    found
}

#[test]
fn modules_use_only_those_below_them() {
    let modules: BTreeSet<&str> = LAYERS.iter().map(|(name, _)| *name).collect();
    let sources = sources();
    let mut wrong = Vec::new();
    let mut used: BTreeSet<(&str, &str)> = BTreeSet::new();
    for source in &sources {
        let own = layer(source);
        if matches!(own, "lib" | "main") {
            continue;
        }
        let Some((_, allowed)) = LAYERS.iter().find(|(name, _)| *name == own) else {
            wrong.push(format!(
                "{}: the layer `{own}` is not in the table",
                source.path
            ));
            continue;
        };
        let at_root = source.path.matches('/').count() == 1;
        for (line, text) in code(source) {
            for name in named(text, at_root) {
                let Some(name) = modules.get(name) else {
                    continue;
                };
                used.insert((own, name));
                if *name != own && !allowed.contains(name) {
                    wrong.push(format!("{}:{line}: {own} uses {name}", source.path));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    for (own, allowed) in LAYERS {
        for name in *allowed {
            assert!(
                *own == "cli" || used.contains(&(own, name)),
                "the arrow from {own} to {name} is not used: take it out of the table"
            );
        }
    }
}

/// An arrow against the order would be a circle.
#[test]
fn the_table_itself_only_looks_down() {
    for (index, (own, allowed)) in LAYERS.iter().enumerate() {
        for name in *allowed {
            let below = LAYERS[..index].iter().any(|(known, _)| known == name);
            assert!(below, "{own} may use {name}, which does not stand above it");
        }
    }
}

#[test]
fn every_module_is_in_the_code_map() {
    let sources = sources();
    let map = sources
        .iter()
        .find(|source| source.path == "src/lib.rs")
        .unwrap();
    for (name, _) in LAYERS {
        assert!(
            map.text.contains(&format!("[`{name}`]")),
            "src/lib.rs does not tell of {name}"
        );
        assert!(
            map.text.contains(&format!("pub mod {name};")),
            "{name} is gone"
        );
    }
}

/// Lines of the sources that contain one of the texts, outside the files that may and outside unit tests.
fn lines_with(texts: &[&str], may: &dyn Fn(&str) -> bool) -> Vec<String> {
    let mut found = Vec::new();
    for source in sources().iter().filter(|source| !may(&source.path)) {
        let unit_tests = source.path.ends_with("tests.rs");
        for (line, text) in code(source) {
            if text.contains("#[cfg(test)]") || unit_tests {
                break;
            }
            if texts.iter().any(|wanted| text.contains(wanted)) {
                found.push(format!("{}:{line}: {}", source.path, text.trim()));
            }
        }
    }
    found
}

#[test]
fn only_the_clock_reads_the_clock() {
    let clocks = [
        "Timestamp::now(",
        "Zoned::now(",
        "SystemTime::now(",
        "Instant::now(",
        ".elapsed(",
    ];
    let found = lines_with(&clocks, &|path| path == "src/clock.rs");
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn only_the_command_line_reads_files_and_the_environment() {
    let doors = [
        "std::fs",
        "std::env",
        "tokio::fs",
        "env::var",
        "fs::read",
        "File::open",
        "std::process",
        "std::io::stdin",
    ];
    let may = |path: &str| {
        path == "src/cli.rs"
            || path.starts_with("src/cli/")
            // The exit code of the process.
            || path == "src/main.rs"
            // The folder that is the state's own: its lock, and what a broken file becomes.
            || path == "src/state/folder.rs"
            // Whether its file is as it was left.
            || path == "src/state/seal.rs"
    };
    let found = lines_with(&doors, &may);
    assert!(found.is_empty(), "{}", found.join("\n"));
}

/// One concept a file.
#[test]
fn no_file_is_longer_than_500_lines() {
    let mut wrong = Vec::new();
    for source in sources() {
        let lines = source.text.lines().count();
        if lines > 500 {
            wrong.push(format!("{}:500: {lines} lines", source.path));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A module's beginning says what it is for.
#[test]
fn every_module_says_what_it_is_for() {
    for source in sources() {
        assert!(
            source.text.starts_with("//! "),
            "{}:1: no `//!`",
            source.path
        );
    }
}
