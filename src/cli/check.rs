//! `headroom check`: every mistake of every file.

use std::path::{Path, PathBuf};

use clap::Args;
use toml::de::DeTable;

use super::loaded::{Sources, folders_of};
use super::process::Process;
use super::start::{Start, StartArguments, expired};
use super::{Failure, colour_on, files, print, tell};
use crate::adapter::catalog::Catalog;
use crate::adapter::parse::parse;
use crate::clock;
use crate::config;
use crate::diagnostic::Mistakes;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Adapter files, folders of them, or configuration files; by default ./headroom.toml and ./providers
    #[arg(value_name = "PATH")]
    paths: Vec<PathBuf>,
    #[command(flatten)]
    start: StartArguments,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let mut paths = Vec::new();
    let sources = arguments.start.sources([]);
    if arguments.paths.is_empty() {
        let folder = Path::new("providers");
        paths.extend(sources.path().map(Path::to_path_buf));
        if !folder.is_dir() && paths.is_empty() && arguments.start.is_silent() {
            return Err(Failure::unreadable(
                "headroom: there is nothing to check here: no ./headroom.toml and no ./providers; name a file or a folder",
            ));
        }
        if folder.is_dir() {
            paths.extend(
                files::adapters_in(folder)?
                    .into_iter()
                    .map(|(_, path)| path),
            );
        }
    }
    for path in &arguments.paths {
        if path.is_dir() {
            paths.extend(files::adapters_in(path)?.into_iter().map(|(_, path)| path));
        } else {
            paths.push(path.clone());
        }
    }
    // The mistakes are the result, so they go to stdout; what kept the command from looking goes to stderr.
    let mut text = String::new();
    let mut problems = String::new();
    let mut wrong = 0;
    let mut unreadable = None;
    let mut configs = Vec::new();
    for path in &paths {
        let source = match files::read(path) {
            Ok(source) => source,
            Err(failure) => {
                problems.push_str(&failure.message);
                problems.push('\n');
                unreadable = Some(failure.code);
                continue;
            }
        };
        let is_config = is_config(path, &source) || sources.config.as_ref() == Some(path);
        if is_config {
            configs.push(Some(path.clone()));
        }
        if let Err(mistakes) = check(path, &source, is_config, &sources)? {
            wrong += mistakes.sorted().len();
            let colour = colour_on(&std::io::stdout());
            text.push_str(&mistakes.render(&path.display().to_string(), &source, colour));
        }
    }
    print(&text)?;
    if wrong > 0 {
        let plural = if wrong == 1 { "" } else { "s" };
        problems.push_str(&format!("{wrong} mistake{plural} found"));
    }
    if let Some(code) = unreadable {
        return Err(Failure {
            message: problems,
            code,
        });
    }
    if wrong > 0 {
        return Err(Failure::mistakes(problems));
    }
    if configs.is_empty() && arguments.paths.is_empty() && !arguments.start.is_silent() {
        configs.push(None);
    }
    for config in configs {
        let sources = Sources {
            config,
            ..sources.clone()
        };
        begin(&arguments.start, &sources)?;
    }
    let files = paths.len();
    print(&format!(
        "{files} file{}, no mistakes\n",
        if files == 1 { "" } else { "s" }
    ))
}

fn stem(path: &Path) -> &str {
    let stem = path.file_stem().and_then(|stem| stem.to_str());
    stem.unwrap_or("adapter")
}

/// A file is a configuration by its name or by its keys; else it is an adapter.
fn is_config(path: &Path, source: &str) -> bool {
    let (root, _) = DeTable::parse_recoverable(source);
    let has = |key: &str| root.get_ref().contains_key(key);
    stem(path) == "headroom"
        || ["connections", "consumers", "webhooks"]
            .into_iter()
            .any(has)
        || source.lines().any(|line| {
            let is_more = |c: char| c.is_whitespace() || matches!(c, '"' | '\'');
            let line: String = line.chars().filter(|c| !is_more(*c)).take(16).collect();
            [
                "[connection",
                "connections.",
                "[consumer",
                "consumers.",
                "state_dir",
                "max_wait",
                "count_block",
                "[headers",
                "[limits",
                "[admin",
                "open_to_all",
                "[tls",
                "listen",
                "providers",
            ]
            .iter()
            .any(|key| line.starts_with(key))
        })
}

/// Goes as far as `serve` does before it opens a port, and says what does not keep it from starting.
fn begin(arguments: &StartArguments, sources: &Sources) -> Result<(), Failure> {
    let loaded = sources.read()?;
    Start::new(arguments, &loaded)?;
    let state = arguments.place(&loaded).trouble();
    let state = state.map(|trouble| format!("counts would not be kept: {trouble}"));
    for problem in expired(&loaded.config, clock::now())
        .into_iter()
        .chain(state)
    {
        tell(&format!("warning: {problem}"));
    }
    Ok(())
}

fn check(
    path: &Path,
    source: &str,
    is_config: bool,
    sources: &Sources,
) -> Result<Result<(), Mistakes>, Failure> {
    if !is_config {
        return Ok(parse(stem(path), source).map(|_| ()));
    }
    let base = path.parent().map(Path::to_path_buf).unwrap_or_default();
    let (config, mut mistakes) = config::parse(source, &Process::new(&base));
    let mut catalog = Catalog::default();
    let named = folders_of(&config, &base);
    for folder in named.iter().chain(&sources.folders) {
        for (id, path) in files::adapters_in(folder)? {
            // The mistakes of these files are told when they are checked themselves.
            let _ = catalog.add(&id, &files::read(&path)?);
        }
    }
    mistakes.append(config.check(&catalog));
    mistakes.append(sources.exposure.mistakes(&config));
    Ok(if mistakes.is_empty() {
        Ok(())
    } else {
        Err(mistakes)
    })
}
