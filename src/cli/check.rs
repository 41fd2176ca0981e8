//! `headroom check`: every mistake of every file.

use std::path::{Path, PathBuf};

use clap::Args;

use super::{Failure, colour, files, print};
use crate::adapter::parse::parse;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Adapter files, folders of them, or configuration files; by default ./headroom.toml and ./providers
    #[arg(value_name = "PATH")]
    paths: Vec<PathBuf>,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let mut paths = Vec::new();
    if arguments.paths.is_empty() {
        let folder = Path::new("providers");
        if !folder.is_dir() {
            return Err(Failure::unreadable(
                "headroom: there is nothing to check here: no ./headroom.toml and no ./providers; name a file or a folder",
            ));
        }
        paths.extend(
            files::adapters_in(folder)?
                .into_iter()
                .map(|(_, path)| path),
        );
    }
    for path in &arguments.paths {
        if path.is_dir() {
            paths.extend(files::adapters_in(path)?.into_iter().map(|(_, path)| path));
        } else {
            paths.push(path.clone());
        }
    }
    let mut text = String::new();
    let mut wrong = 0;
    let mut unreadable = None;
    for path in &paths {
        let source = match files::read(path) {
            Ok(source) => source,
            Err(failure) => {
                text.push_str(&failure.message);
                text.push('\n');
                unreadable = Some(failure.code);
                continue;
            }
        };
        let id = path
            .file_stem()
            .and_then(|stem| stem.to_str())
            .unwrap_or("adapter");
        if let Err(mistakes) = parse(id, &source) {
            wrong += mistakes.sorted().len();
            text.push_str(&mistakes.render(&path.display().to_string(), &source, colour()));
        }
    }
    if let Some(code) = unreadable {
        return Err(Failure {
            message: text,
            code,
        });
    }
    if wrong > 0 {
        text.push_str(&format!(
            "{wrong} mistake{} found",
            if wrong == 1 { "" } else { "s" }
        ));
        return Err(Failure::mistakes(text));
    }
    print(&format!("{} files, no mistakes\n", paths.len()))
}
