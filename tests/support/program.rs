//! `headroom serve` as a process of its own, and callers who speak to it.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;
use std::{env, fs, thread};

use headroom::clock;
use tempfile::TempDir;

use super::harness::{Caller, PATIENCE};
use super::upstream::Upstream;

/// What it has told so far.
#[derive(Default)]
struct Log {
    lines: Mutex<Vec<String>>,
    grown: Condvar,
}

/// The running program. It ends with the test.
pub(crate) struct Program {
    child: Child,
    /// Where it listens: its own address, then those of the connections that have one, in their order.
    pub(crate) addresses: Vec<SocketAddr>,
    log: Arc<Log>,
}

/// A command without the environment's own settings, and without the state of whoever runs the tests.
pub(crate) fn headroom(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_headroom"));
    for (name, _) in env::vars_os() {
        if name.to_string_lossy().starts_with("HEADROOM_") {
            command.env_remove(name);
        }
    }
    command
        .env("XDG_STATE_HOME", folder.join("home"))
        .current_dir(folder);
    command
}

/// A folder with an adapter of these policies, and a configuration whose connection `stub` goes by it.
pub(crate) fn stub(upstream: &Upstream, policies: &str, connection: &str) -> (TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("adapters")).unwrap();
    let adapter = format!("name = \"Stub\"\ndocs = [\"https://example.com\"]\n{policies}\n");
    fs::write(folder.path().join("adapters/stub.toml"), adapter).unwrap();
    let config = format!(
        "providers = [\"adapters\"]\n[connections.stub]\nbase_url = \"{}\"\n{connection}\n",
        upstream.base_url()
    );
    (folder, config)
}

/// A command that begins as this script says, and then is headroom.
pub(crate) fn after(folder: &Path, script: &str) -> Command {
    let program = headroom(folder);
    let mut command = Command::new("sh");
    let script = format!("{script} exec \"$0\" serve --listen 127.0.0.1:0");
    command.args(["-c", &script]).arg(program.get_program());
    command.current_dir(folder);
    for (name, value) in program.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command
}

impl Program {
    /// Serves this configuration, with its state below this folder.
    pub(crate) fn start(folder: &Path, config: &str) -> Self {
        Self::with(folder, config, &[])
    }

    /// The same, with more arguments.
    pub(crate) fn with(folder: &Path, config: &str, arguments: &[&str]) -> Self {
        let listen = ["--listen", "127.0.0.1:0"];
        Self::with_listen(folder, config, &[&listen, arguments].concat())
    }

    /// The same, which the arguments tell where to listen.
    pub(crate) fn with_listen(folder: &Path, config: &str, arguments: &[&str]) -> Self {
        let mut command = headroom(folder);
        command.arg("serve").args(arguments);
        Self::launch(command, folder, config)
    }

    /// The same with at most so many file descriptors.
    pub(crate) fn with_descriptors(folder: &Path, config: &str, most: usize) -> Self {
        let command = after(folder, &format!("ulimit -n {most};"));
        Self::launch(command, folder, config)
    }

    /// The same, by a command that is ready to serve.
    pub(crate) fn launch(mut command: Command, folder: &Path, config: &str) -> Self {
        fs::write(folder.join("headroom.toml"), config).unwrap();
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let log = Arc::new(Log::default());
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let writer = Arc::clone(&log);
        thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                writer.lines.lock().unwrap().push(line);
                writer.grown.notify_all();
            }
        });
        let mut program = Self {
            child,
            addresses: Vec::new(),
            log,
        };
        let own = config.matches("\nlisten = ").count();
        let found = program.wait_for(|lines| {
            let found: Vec<_> = lines.iter().filter_map(|line| listens(line)).collect();
            (found.len() == 1 + own).then_some(found)
        });
        program.addresses = found;
        program
    }

    /// Waits until its log has what is looked for.
    pub(crate) fn wait_for<T>(&self, find: impl Fn(&[String]) -> Option<T>) -> T {
        let deadline = clock::monotonic() + PATIENCE;
        let mut lines = self.log.lines.lock().unwrap();
        loop {
            if let Some(found) = find(&lines) {
                return found;
            }
            let left = deadline.saturating_duration_since(clock::monotonic());
            assert!(!left.is_zero(), "not in the log: {lines:#?}");
            lines = self.log.grown.wait_timeout(lines, left).unwrap().0;
        }
    }

    /// Looks at its log as it is.
    pub(crate) fn look<T>(&self, find: impl Fn(&[String]) -> Option<T>) -> Option<T> {
        find(&self.log.lines.lock().unwrap())
    }

    /// Waits until it has told a line with these words.
    pub(crate) fn wait_for_line(&self, words: &str) -> String {
        self.wait_for(|lines| lines.iter().find(|line| line.contains(words)).cloned())
    }

    /// Its process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Its own address.
    pub(crate) fn address(&self) -> SocketAddr {
        self.addresses[0]
    }

    /// Everything that it has told so far.
    pub(crate) fn told(&self) -> String {
        self.log.lines.lock().unwrap().join("\n")
    }

    /// Waits for its end.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        self.child.wait().unwrap()
    }

    /// Ends it as a supervisor does, and waits for the end.
    pub(crate) fn terminate(mut self) -> ExitStatus {
        let sent = Command::new("kill")
            .args(["-TERM", &self.child.id().to_string()])
            .status();
        assert!(sent.unwrap().success());
        self.child.wait().unwrap()
    }

    /// Ends it with no time for anything.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// A call without a body on a connection of its own: these lines stand in its head. Gives the whole answer.
    pub(crate) async fn get(&self, target: &str, lines: &str) -> String {
        get(self.address(), target, lines).await
    }
}

/// The address in a line of the log that tells one.
fn listens(line: &str) -> Option<SocketAddr> {
    let rest = line.split("headroom listens on http").nth(1)?;
    let rest = rest.trim_start_matches('s').strip_prefix("://")?;
    rest.split([' ', '"']).next()?.parse().ok()
}

/// A call without a body on a connection of its own. Gives the whole answer.
pub(crate) async fn get(address: SocketAddr, target: &str, lines: &str) -> String {
    let mut caller = Caller::connect(address).await;
    caller.write(request(address, target, lines)).await;
    caller.rest().await
}

/// A call without a body, after which the connection ends.
pub(crate) fn request(address: SocketAddr, target: &str, lines: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n{lines}\r\n")
}

/// How long something took, and what it gave.
pub(crate) async fn timed<T>(work: impl Future<Output = T>) -> (T, Duration) {
    let started = clock::monotonic();
    let result = work.await;
    (result, started.elapsed())
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
