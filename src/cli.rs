//! The command line: wires everything. The only layer that reads files and the environment.

mod assets;
mod check;
mod crash;
mod demo;
mod descriptors;
mod files;
mod healthcheck;
mod ink;
mod key;
mod loaded;
mod log;
mod missing;
mod mounts;
mod new;
mod orders;
mod process;
mod providers;
mod quota;
mod running;
mod schema;
mod serve;
mod simulate;
mod sockets;
mod stamps;
mod start;
mod state;
mod supervisor;
mod translate;
mod usage;
mod watch;
mod workers;

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::builder::FalseyValueParser;
use clap::{Arg, ArgAction, Args, CommandFactory, FromArgMatches, Parser, Subcommand};

/// One endpoint in front of third-party APIs: the same rate-limit headers on every answer.
#[derive(Debug, Parser)]
#[command(name = "headroom", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the gateway; no configuration is needed
    Serve(serve::Arguments),
    /// Check configuration and adapter files: every mistake of every file
    Check(check::Arguments),
    /// Read one HTTP response on stdin and print what headroom makes of it
    Translate(translate::Arguments),
    /// The catalogue, or one provider of it
    Providers(providers::Arguments),
    /// Write a commented adapter file and a first case
    New(new::Arguments),
    /// Keys of consumers
    Key(key::Arguments),
    /// JSON Schema for editors
    Schema(schema::Arguments),
    /// Completions for a shell
    Completions(assets::Completions),
    /// The manual page, in roff
    Man,
    /// The meters of a running gateway: what is left of which quota, and who used it
    Quota(quota::Arguments),
    /// Who used how much of a running gateway: the last 24 hours and the last 7 days, or what you ask
    Usage(Box<usage::Arguments>),
    /// The meters live, what runs out first on top; q leaves
    Top(quota::TopArguments),
    /// Ask a running gateway whether it is ready; for containers
    Healthcheck(healthcheck::Arguments),
    /// Simulated providers, the gateway before them and live calls
    Demo(demo::Arguments),
    /// Stand in for providers: their limits, their headers, their refusals
    Simulate(simulate::Arguments),
}

/// Where adapters come from, beside those built in.
#[derive(Debug, Args)]
struct AdapterFolders {
    /// A folder of adapter files, beside the built-in ones or instead of them
    #[arg(
        long = "providers",
        value_name = "DIR",
        env = "HEADROOM_PROVIDERS",
        value_delimiter = ':'
    )]
    folders: Vec<PathBuf>,
}

/// Whether strangers may be let in.
#[derive(Debug, Args)]
struct Openness {
    /// Whoever can reach headroom may call, also from other machines and without consumers
    #[arg(long, env = "HEADROOM_OPEN_TO_ALL", value_parser = FalseyValueParser::new())]
    open_to_all: bool,
}

/// Why a command ends early: what to tell the user, and the exit code.
#[derive(Debug)]
struct Failure {
    message: String,
    code: u8,
}

impl Failure {
    /// The input has mistakes.
    fn mistakes(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            code: 1,
        }
    }

    /// Something cannot be read or is not there.
    fn unreadable(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            code: 2,
        }
    }
}

/// The command line. Every flag that has no variable of its own has one after its command: `HEADROOM_USAGE_LAST` is
/// `headroom usage --last`.
fn command() -> clap::Command {
    twinned(Cli::command(), "HEADROOM")
}

fn twinned(command: clap::Command, prefix: &str) -> clap::Command {
    let twin = |argument: Arg| {
        let Some(long) = argument.get_long().filter(|_| argument.get_env().is_none()) else {
            return argument;
        };
        let name = format!("{prefix}_{}", long.replace('-', "_").to_uppercase());
        match argument.get_action() {
            // What says no is not said.
            ArgAction::SetTrue => argument.env(name).value_parser(FalseyValueParser::new()),
            _ => argument.env(name),
        }
    };
    command.mut_args(twin).mut_subcommands(|command| {
        let prefix = format!("{prefix}_{}", command.get_name().to_uppercase());
        twinned(command, &prefix)
    })
}

/// Parses the arguments, runs the command, says what went wrong.
#[must_use]
pub fn run() -> ExitCode {
    crash::watch();
    let cli = Cli::from_arg_matches(&command().get_matches()).unwrap_or_else(|error| error.exit());
    let outcome = match cli.command {
        Command::Serve(arguments) => serve::run(&arguments),
        Command::Check(arguments) => check::run(&arguments),
        Command::Translate(arguments) => translate::run(&arguments),
        Command::Providers(arguments) => providers::run(&arguments),
        Command::New(arguments) => new::run(&arguments),
        Command::Key(arguments) => key::run(&arguments),
        Command::Schema(arguments) => schema::run(&arguments),
        Command::Completions(arguments) => assets::completions(&arguments),
        Command::Man => assets::man(),
        Command::Quota(arguments) => quota::run(&arguments),
        Command::Usage(arguments) => usage::run(&arguments),
        Command::Top(arguments) => quota::top(&arguments),
        Command::Healthcheck(arguments) => healthcheck::run(&arguments),
        Command::Demo(arguments) => demo::run(&arguments),
        Command::Simulate(arguments) => simulate::run(&arguments),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            tell(failure.message.trim_end());
            ExitCode::from(failure.code)
        }
    }
}

/// Writes a result. A reader that has gone away (`| head`) is no failure.
fn print(text: &str) -> Result<(), Failure> {
    is_read(text).map(|_| ())
}

/// Writes a part of a result that has no end. Tells whether anybody reads it.
fn is_read(text: &str) -> Result<bool, Failure> {
    let mut stdout = io::stdout().lock();
    // What is behind the last line feed would wait for the next one.
    let written = stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush());
    match written {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(Failure::unreadable(format!(
            "headroom: cannot write the result: {error}"
        ))),
    }
}

/// Tells people something beside the result.
fn tell(text: &str) {
    // A closed stderr leaves nobody to tell.
    let _ = writeln!(io::stderr(), "{text}");
}

/// Whether stderr takes colours.
fn colour() -> bool {
    colour_on(&io::stderr())
}

/// Whether a stream takes colours: only a terminal, and not against `NO_COLOR`.
fn colour_on(stream: &impl io::IsTerminal) -> bool {
    stream.is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// A variable stands for one flag, unless the flag is the same in several commands.
    fn gather(command: &clap::Command, variables: &mut BTreeMap<String, String>) {
        for argument in command.get_arguments() {
            let Some(long) = argument.get_long() else {
                continue;
            };
            let variable = argument.get_env().and_then(|name| name.to_str());
            let variable = variable.unwrap_or_else(|| panic!("{} --{long}", command.get_name()));
            let known = variables.insert(variable.to_owned(), long.to_owned());
            assert!(known.is_none_or(|known| known == long), "{variable}");
        }
        command
            .get_subcommands()
            .for_each(|command| gather(command, variables));
    }

    #[test]
    fn every_flag_has_a_variable() {
        let mut variables = BTreeMap::new();
        command().debug_assert();
        gather(&command(), &mut variables);
        for (variable, flag) in [
            ("HEADROOM_LISTEN", "listen"),
            ("HEADROOM_USAGE_LAST", "last"),
            ("HEADROOM_KEY_NEW_ADMIN", "admin"),
            ("HEADROOM_DEMO_ONCE", "once"),
        ] {
            assert_eq!(variables[variable], flag);
        }
    }

    #[test]
    fn a_variable_that_says_no_is_a_flag_left_out() {
        let once = |value: &'static str| {
            let command = command().mut_subcommand("demo", |demo| {
                demo.mut_arg("once", |once| once.env(None).default_value(value))
            });
            let matches = command.try_get_matches_from(["headroom", "demo"]).unwrap();
            let (_, demo) = matches.subcommand().unwrap();
            demo.get_flag("once")
        };
        assert!(once("1") && once("true"));
        assert!(!once("0") && !once("false") && !once(""));
    }
}
