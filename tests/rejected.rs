//! Files with one mistake each, beside the diagnostic that a user sees: `snapshots/_rejected/<code>[-<situation>].toml`
//! for adapters, `snapshots/_rejected/config/` for configurations. Files named `many-…` have several.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use crate::support::cases::{name, snapshots};
use crate::support::sources::sources;
use headroom::adapter::catalog::Catalog;
use headroom::adapter::parse::parse;
use headroom::config::{self, Outside};
use headroom::diagnostic::Mistakes;

/// An environment without variables, a disk without files.
struct Nothing;

impl Outside for Nothing {
    fn variable(&self, _: &str) -> Option<String> {
        None
    }

    fn file(&self, _: &str) -> Result<String, String> {
        Err("there is no such file".to_owned())
    }
}

/// Beside the shipped adapters, which change, two that do not.
fn catalog() -> Catalog {
    let mut catalog = Catalog::default();
    for (id, source) in [
        (
            "acme",
            r#"
            name = "Acme"
            base_url = "https://api.acme.example"
            docs = ["https://acme.example/docs"]
            [policy.daily]
            quota = { free = 100, premium = 1000 }
            [policy.hourly]
            remaining = "X-Hourly-Remaining"
            "#,
        ),
        (
            "tenants",
            r#"
            name = "Tenants"
            base_url = "https://{tenant}.tenants.example"
            docs = ["https://tenants.example/docs"]
            [policy.daily]
            remaining = "X-Remaining"
            "#,
        ),
    ] {
        catalog.add(id, source).unwrap();
    }
    catalog
}

fn mistakes(path: &Path) -> (String, Mistakes) {
    let source = fs::read_to_string(path).unwrap();
    if name(path.parent().unwrap()) == "config" {
        let (config, mut mistakes) = config::parse(&source, &Nothing);
        mistakes.append(config.check(&catalog()));
        mistakes.append(config.check_exposure(false));
        (source, mistakes)
    } else {
        // Whose name is the mistake.
        let stem = stem(path);
        let is_name = stem.starts_with("bad-id");
        let mistakes = parse(if is_name { &stem } else { "example" }, &source);
        let mistakes = mistakes.map_or_else(|mistakes| mistakes, |_| Mistakes::default());
        (source, mistakes)
    }
}

fn stem(path: &Path) -> String {
    path.file_stem().unwrap().to_str().unwrap().to_owned()
}

fn snapshot(path: &Path) {
    let (source, mistakes) = mistakes(path);
    let rendered = mistakes.render(&name(path), &source, false);
    assert!(!rendered.is_empty(), "{} has no mistake", path.display());
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path(path.parent().unwrap());
    settings.set_prepend_module_to_snapshot(false);
    settings.remove_snapshot_suffix();
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!(stem(path).as_str(), rendered));
}

#[test]
fn rejected_adapters_are_explained_as_reviewed() {
    insta::glob!("../snapshots/_rejected", "*.toml", snapshot);
}

#[test]
fn rejected_configurations_are_explained_as_reviewed() {
    insta::glob!("../snapshots/_rejected/config", "*.toml", snapshot);
}

/// All files with that extension in both folders.
fn files(extension: &str) -> Vec<PathBuf> {
    let folder = snapshots().join("_rejected");
    let mut found: Vec<PathBuf> = [folder.clone(), folder.join("config")]
        .iter()
        .flat_map(|folder| fs::read_dir(folder).unwrap())
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|found| found == extension))
        .collect();
    found.sort();
    found
}

#[test]
fn every_rejected_file_has_the_one_mistake_that_it_is_named_after() {
    let mut wrong = Vec::new();
    for path in files("toml") {
        let codes: Vec<&str> = mistakes(&path).1.sorted().iter().map(|m| m.code).collect();
        let stem = stem(&path);
        let fits = match codes.as_slice() {
            _ if stem.starts_with("many-") => codes.len() > 1,
            [code] => stem
                .strip_prefix(code)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('-')),
            _ => false,
        };
        if !fits {
            wrong.push(format!("{}: {codes:?}", path.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_rejected_file_and_no_diagnostic_stands_alone() {
    for (extension, twin) in [("toml", "snap"), ("snap", "toml")] {
        for path in files(extension) {
            assert!(
                path.with_extension(twin).exists(),
                "{} is an orphan",
                path.display()
            );
        }
    }
}

/// The codes that the sources can report, by where they do.
fn codes() -> BTreeMap<String, String> {
    let mut codes = BTreeMap::new();
    let mut hidden = Vec::new();
    for source in sources() {
        let calls = source
            .text
            .match_indices("mistakes.push(")
            .chain(source.text.match_indices(".mistakes\n"));
        for (start, call) in calls {
            let place = source.place(start);
            let rest = &source.text[start + call.len()..];
            let rest = rest.trim_start().trim_start_matches(".push(").trim_start();
            match rest.strip_prefix('"').and_then(|rest| rest.split_once('"')) {
                Some((code, _)) => {
                    codes.insert(code.to_owned(), place);
                }
                None => hidden.push(place),
            }
        }
    }
    assert!(
        hidden.is_empty(),
        "write the code as a literal, so that this test sees it:\n{}",
        hidden.join("\n")
    );
    codes
}

#[test]
fn every_code_has_a_rejected_file() {
    let codes = codes();
    assert!(codes.len() > 30, "the search has lost its way: {codes:?}");
    let seen: BTreeSet<&str> = files("toml")
        .iter()
        .flat_map(|path| mistakes(path).1.sorted())
        .map(|mistake| mistake.code)
        .collect();
    let missing: Vec<String> = codes
        .iter()
        .filter(|(code, _)| !seen.contains(code.as_str()))
        .map(|(code, place)| format!("{place}: {code}"))
        .collect();
    assert!(
        missing.is_empty(),
        "no file in snapshots/_rejected shows these:\n{}",
        missing.join("\n")
    );
}

#[test]
fn every_code_is_documented_and_every_documented_code_exists() {
    let readme =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("providers/README.md"))
            .unwrap();
    let (_, section) = readme
        .split_once("\n## Mistakes\n")
        .expect("providers/README.md has a section `Mistakes`");
    let documented: BTreeSet<String> = section
        .lines()
        .filter_map(|line| Some(line.strip_prefix("| `")?.split_once('`')?.0.to_owned()))
        .collect();
    let known: BTreeSet<String> = codes().into_keys().collect();
    assert_eq!(documented, known);
}

#[test]
fn all_mistakes_of_a_file_are_told_at_once_and_in_its_order() {
    for file in ["many-mistakes.toml", "config/many-mistakes.toml"] {
        let (_, mistakes) = mistakes(&snapshots().join("_rejected").join(file));
        let sorted = mistakes.sorted();
        let codes: BTreeSet<&str> = sorted.iter().map(|mistake| mistake.code).collect();
        assert!(codes.len() >= 8, "{file}: {codes:?}");
        assert!(
            sorted.is_sorted_by_key(|mistake| mistake.span.start),
            "{file}"
        );
    }
}
