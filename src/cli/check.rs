//! `headroom check`: every mistake of every file.

use std::path::{Path, PathBuf};

use clap::Args;
use toml::de::DeTable;

use super::loaded::{Sources, folders_of};
use super::process::Process;
use super::start::{Start, StartArguments, expired};
use super::{Failure, colour_on, files, print, tell};
use crate::adapter::catalog::Catalog;
use crate::adapter::language::ADAPTER;
use crate::adapter::parse::parse;
use crate::clock;
use crate::config::{self, CONFIG};
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
    let is_of_adapters = |name: &str| ADAPTER.keys.iter().any(|key| key.name == name);
    let mut keys = CONFIG
        .keys
        .iter()
        .map(|key| key.name)
        .filter(|name| !is_of_adapters(name));
    let (root, _) = DeTable::parse_recoverable(source);
    // Where the text is no TOML its lines tell, and where a name has lost a letter.
    let lines = source.lines().map(|line| {
        let is_more = |c: &char| !c.is_whitespace() && !matches!(c, '"' | '\'');
        line.chars().filter(is_more).take(32).collect::<String>()
    });
    let mut in_table = false;
    let mut begins = |line: String| match line.trim_start_matches('[') {
        key if key.len() == line.len() => {
            let is_key = |rest: &str| rest.starts_with('=') || rest.starts_with('.');
            let mut keys = keys.clone();
            !in_table && keys.any(|name| line.strip_prefix(name).is_some_and(is_key))
        }
        table => {
            in_table = true;
            let mut names = keys.clone().chain(["connection", "consumer"]);
            names.any(|name| table.starts_with(name))
        }
    };
    stem(path) == "headroom"
        || lines.into_iter().any(&mut begins)
        || keys.any(|name| root.get_ref().contains_key(name))
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
