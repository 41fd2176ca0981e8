//! `headroom schema`: JSON Schema for editors.

use clap::{Args, ValueEnum};

use super::{Failure, print};
use crate::adapter::language::ADAPTER;
use crate::config::CONFIG;
use crate::document::schema::schema;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Which language
    language: Language,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Language {
    /// headroom.toml
    Config,
    /// Adapter files
    Adapter,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let schema = match arguments.language {
        Language::Config => schema(&CONFIG, "headroom configuration"),
        Language::Adapter => schema(&ADAPTER, "headroom adapter"),
    };
    print(&format!("{schema:#}\n"))
}
