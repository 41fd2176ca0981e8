//! `headroom schema`: JSON Schema for editors.

use clap::{Args, ValueEnum};

use super::{Failure, print};
use crate::adapter::language::ADAPTER;
use crate::document::schema::schema;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Which language
    language: Language,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Language {
    /// Adapter files
    Adapter,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let schema = match arguments.language {
        Language::Adapter => schema(&ADAPTER, "headroom adapter"),
    };
    print(&format!("{schema:#}\n"))
}
