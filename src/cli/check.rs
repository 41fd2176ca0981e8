//! `headroom check`: every mistake of every file.

use std::path::{Path, PathBuf};

use clap::Args;

use super::mounts::{Exposure, folders_of};
use super::process::Process;
use super::{Failure, Openness, colour_on, files, print};
use crate::adapter::catalog::Catalog;
use crate::adapter::parse::parse;
use crate::config;
use crate::diagnostic::Mistakes;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Adapter files, folders of them, or configuration files; by default ./headroom.toml and ./providers
    #[arg(value_name = "PATH")]
    paths: Vec<PathBuf>,
    #[command(flatten)]
    openness: Openness,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let mut paths = Vec::new();
    if arguments.paths.is_empty() {
        let (config, folder) = (Path::new("headroom.toml"), Path::new("providers"));
        if config.exists() {
            paths.push(config.to_path_buf());
        }
        if !folder.is_dir() && paths.is_empty() {
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
    let exposure = Exposure {
        open_to_all: arguments.openness.open_to_all,
        listen: Vec::new(),
    };
    // The mistakes are the result, so they go to stdout; what kept the command from looking goes to stderr.
    let mut text = String::new();
    let mut problems = String::new();
    let mut wrong = 0;
    let mut unreadable = None;
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
        if let Err(mistakes) = check(path, &source, &exposure)? {
            wrong += mistakes.sorted().len();
            let colour = colour_on(&std::io::stdout());
            let shown = if is_config(path, &source) {
                config::without_secrets(&source)
            } else {
                source
            };
            text.push_str(&mistakes.render(&path.display().to_string(), &shown, colour));
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
    stem(path) == "headroom"
        || source.lines().any(|line| {
            let line = line.trim_start();
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

fn check(path: &Path, source: &str, exposure: &Exposure) -> Result<Result<(), Mistakes>, Failure> {
    if !is_config(path, source) {
        return Ok(parse(stem(path), source).map(|_| ()));
    }
    let base = path.parent().map(Path::to_path_buf).unwrap_or_default();
    let (config, mut mistakes) = config::parse(source, &Process::new(&base));
    let mut catalog = Catalog::default();
    for folder in folders_of(&config, &base) {
        for (id, path) in files::adapters_in(&folder)? {
            // The mistakes of these files are told when they are checked themselves.
            let _ = catalog.add(&id, &files::read(&path)?);
        }
    }
    mistakes.append(config.check(&catalog));
    mistakes.append(exposure.mistakes(&config));
    Ok(if mistakes.is_empty() {
        Ok(())
    } else {
        Err(mistakes)
    })
}
