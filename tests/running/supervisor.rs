//! Under a supervisor: sockets that it hands over, and what it is told. The unit of systemd.

use std::fs;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::exchange::{OK, status};
use crate::running::tls::POLICY;
use crate::support::harness::PATIENCE;
use crate::support::program::{Program, after, get, stub};
use crate::support::upstream::Upstream;

/// What a supervisor hears.
struct Ear(UnixDatagram);

impl Ear {
    fn at(path: &Path) -> Self {
        let socket = UnixDatagram::bind(path).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self(socket)
    }

    /// The next message that is no sign of life.
    fn hear(&self) -> String {
        loop {
            let message = self.hear_anything();
            if message != "WATCHDOG=1\n" {
                return message;
            }
        }
    }

    fn hear_anything(&self) -> String {
        let mut buffer = [0; 1024];
        let length = self.0.recv(&mut buffer).unwrap();
        String::from_utf8_lossy(&buffer[..length]).into_owned()
    }
}

#[tokio::test]
async fn sockets_that_are_handed_over_are_taken() {
    let upstream = Upstream::answering(OK).await;
    let (folder, config) = stub(&upstream, POLICY, "listen = \"127.0.0.1:0\"");
    let [main, own] = [(), ()].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    let addresses = [&main, &own].map(|socket| socket.local_addr().unwrap());
    // The connection's own comes first: names decide, not places.
    let mut command = after(
        folder.path(),
        "exec 3<&0 4<&1 </dev/null >/dev/null; export LISTEN_PID=$$ LISTEN_FDS=2 LISTEN_FDNAMES=stub:main;",
    );
    command.stdin(Stdio::from(OwnedFd::from(own)));
    command.stdout(Stdio::from(OwnedFd::from(main)));
    let program = Program::launch(command, folder.path(), &config);
    let mut found = program.addresses.clone();
    found.sort();
    let mut expected = addresses;
    expected.sort();
    assert_eq!(found, expected);
    for (address, target) in addresses.into_iter().zip(["/stub/a", "/a"]) {
        let answer = get(address, target, "").await;
        assert_eq!(status(&answer), 200, "{answer}");
    }
    for request in upstream.requests() {
        assert!(request.starts_with("GET /a "), "{request}");
    }
    assert!(program.terminate().success());
}

#[tokio::test]
async fn sockets_of_another_process_are_left_alone() {
    let upstream = Upstream::answering(OK).await;
    let (folder, config) = stub(&upstream, POLICY, "");
    let strange = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = strange.local_addr().unwrap();
    let mut command = after(
        folder.path(),
        "exec 3<&0 </dev/null; export LISTEN_PID=1 LISTEN_FDS=1;",
    );
    command.stdin(Stdio::from(OwnedFd::from(strange)));
    let program = Program::launch(command, folder.path(), &config);
    assert_ne!(program.address(), address);
}

#[tokio::test]
async fn a_supervisor_is_told_how_it_is() {
    let upstream = Upstream::answering(OK).await;
    let (folder, config) = stub(&upstream, POLICY, "");
    let path = folder.path().join("notify");
    let ear = Ear::at(&path);
    let mut command = after(folder.path(), "");
    command
        .env("NOTIFY_SOCKET", &path)
        .env("WATCHDOG_USEC", "200000");
    let program = Program::launch(command, folder.path(), &config);
    assert_eq!(ear.hear(), "READY=1\nSTATUS=Takes calls\n");
    // It is alive, again and again.
    let alive = |ear: &Ear| while ear.hear_anything() != "WATCHDOG=1\n" {};
    alive(&ear);
    alive(&ear);
    let hang_up = || {
        let id = program.id().to_string();
        let sent = Command::new("kill").args(["-HUP", &id]).status();
        assert!(sent.unwrap().success());
    };
    hang_up();
    let reloading = ear.hear();
    let since = reloading.strip_prefix("RELOADING=1\nMONOTONIC_USEC=");
    let since: u64 = since.unwrap().trim_end().parse().unwrap();
    // The same clock as everybody's.
    let uptime = fs::read_to_string("/proc/uptime").unwrap();
    let uptime: f64 = uptime.split(' ').next().unwrap().parse().unwrap();
    let now = std::time::Duration::from_secs_f64(uptime).as_micros();
    assert!(
        u128::from(since).abs_diff(now) < 60_000_000,
        "{since} {now}"
    );
    assert_eq!(ear.hear(), "READY=1\nSTATUS=Takes calls\n");
    fs::write(folder.path().join("headroom.toml"), "nonsense").unwrap();
    hang_up();
    // The change may have been seen before the signal came.
    while !ear.hear().starts_with("RELOADING=1\n") {}
    let kept = ear.hear();
    assert!(
        kept.starts_with("READY=1\nSTATUS=Takes calls; the files have mistakes"),
        "{kept}"
    );
    let ending = tokio::task::spawn_blocking(move || program.terminate());
    while ear.hear() != "STOPPING=1\nSTATUS=Finishes the calls in flight\n" {}
    assert!(ending.await.unwrap().success());
}

#[test]
fn the_units_are_well_formed() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["headroom.service", "headroom.socket"] {
        let text = fs::read_to_string(format!("packaging/systemd/{name}")).unwrap();
        let text = text.replace("/usr/bin/headroom", env!("CARGO_BIN_EXE_headroom"));
        fs::write(folder.path().join(name), text).unwrap();
    }
    let mut command = Command::new("systemd-analyze");
    command.args(["verify", "headroom.service", "headroom.socket"]);
    // A machine without systemd cannot look.
    let Ok(output) = command.current_dir(folder.path()).output() else {
        return;
    };
    let told = String::from_utf8_lossy(&output.stderr);
    let ours: Vec<_> = told
        .lines()
        .filter(|line| line.contains("headroom"))
        .collect();
    assert!(output.status.success() && ours.is_empty(), "{told}");
}
