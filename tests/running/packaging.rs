//! What is packaged fits the program, as far as that shows without systemd and without a container engine.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use headroom::limits::Limits;

use crate::support::program::headroom;

/// Keys of units by section (systemd.unit(5), systemd.service(5), systemd.exec(5), systemd.socket(5)): those in use here. A
/// word that is not among them is a slip, which systemd would only warn of, or it has to be looked up and written here.
const KEYS: &[(&str, &str)] = &[
    ("[Unit]", "Description After Wants"),
    (
        "[Service]",
        "Type ExecStart ExecReload Restart WatchdogSec TimeoutStopSec LimitNOFILE LoadCredential DynamicUser StateDirectory \
         StateDirectoryMode ProtectSystem ProtectHome PrivateTmp PrivateDevices PrivateUsers ProtectProc ProcSubset \
         ProtectClock ProtectControlGroups ProtectHostname ProtectKernelLogs ProtectKernelModules ProtectKernelTunables \
         NoNewPrivileges CapabilityBoundingSet AmbientCapabilities LockPersonality MemoryDenyWriteExecute \
         RestrictAddressFamilies RestrictNamespaces RestrictRealtime RestrictSUIDSGID RemoveIPC SystemCallArchitectures \
         SystemCallFilter SystemCallErrorNumber UMask",
    ),
    ("[Socket]", "ListenStream NoDelay FileDescriptorName"),
    ("[Install]", "WantedBy"),
];

/// Those that may be there more than once, each adding to the ones before.
const LISTS: &[&str] = &["SystemCallFilter", "LoadCredential"];

/// The lines of a unit that say something: section, key and value.
fn entries(name: &str) -> Vec<(String, String, String)> {
    let text = fs::read_to_string(format!("packaging/systemd/{name}")).unwrap();
    let mut section = String::new();
    let mut entries = Vec::new();
    for line in text.lines() {
        // What is commented out is there to be used: it has to be right too.
        let is_offered = line.starts_with('#') && !line.starts_with("# ") && line != "#";
        let line = line
            .strip_prefix('#')
            .filter(|_| is_offered)
            .unwrap_or(line);
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if line.starts_with('[') {
            line.clone_into(&mut section);
            continue;
        }
        let (key, value) = line.split_once('=').unwrap_or_else(|| panic!("{line}"));
        assert_eq!((key, value), (key.trim(), value.trim()), "{line}");
        entries.push((section.clone(), key.to_owned(), value.to_owned()));
    }
    entries
}

fn help(command: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let output = headroom(folder.path()).args([command, "--help"]).output();
    String::from_utf8(output.unwrap().stdout).unwrap()
}

#[test]
fn units_say_what_systemd_and_headroom_know() {
    for name in ["headroom.service", "headroom.socket"] {
        let mut seen = BTreeSet::new();
        for (section, key, value) in entries(name) {
            let known = KEYS.iter().find(|(known, _)| *known == section);
            let (_, known) = known.unwrap_or_else(|| panic!("{name}: {section}"));
            let is_known = known.split_whitespace().any(|one| one == key);
            assert!(is_known, "{name}: {key} is no key of {section}");
            let is_new = seen.insert((section, key.clone()));
            assert!(is_new || LISTS.contains(&&*key), "{name}: {key} twice");
            let is_switch = ["Protect", "Private", "Restrict", "NoNew"];
            if is_switch.iter().any(|beginning| key.starts_with(beginning)) {
                assert!(
                    !["true", "false", "1", "0", ""].contains(&&*value),
                    "{key}={value}"
                );
            }
        }
    }
    let service = entries("headroom.service");
    let value = |key: &str| {
        let found = service.iter().find(|(_, known, _)| known == key);
        found.unwrap_or_else(|| panic!("no {key}")).2.clone()
    };
    let start = value("ExecStart");
    let rest = start.strip_prefix("/usr/bin/headroom serve ").unwrap();
    let help = help("serve");
    for flag in rest.split(' ').filter(|word| word.starts_with("--")) {
        assert!(help.contains(flag), "{flag}");
    }
    // Longer than headroom takes for its end by itself.
    let patience = value("TimeoutStopSec");
    let seconds: u64 = patience.strip_suffix('s').unwrap().parse().unwrap();
    let Limits {
        drain_delay,
        drain_timeout,
        ..
    } = Limits::default();
    assert!(Duration::from_secs(seconds) > drain_delay + drain_timeout);
}

#[test]
fn the_image_says_what_headroom_knows() {
    let text = fs::read_to_string("Dockerfile").unwrap();
    let (serve, healthcheck) = (help("serve"), help("healthcheck"));
    let is_word = |c: char| c.is_ascii_uppercase() || c == '_';
    let names: BTreeSet<_> = text
        .split(|c| !is_word(c))
        .filter(|word| word.starts_with("HEADROOM_"))
        .collect();
    assert!(names.len() >= 3, "{names:?}");
    for name in names {
        let shown = format!("[env: {name}=");
        assert!(
            serve.contains(&shown) || healthcheck.contains(&shown),
            "{name}"
        );
    }
    for line in [
        "HEALTHCHECK --interval=10s --timeout=6s --start-period=5s CMD [\"/headroom\", \"healthcheck\"]",
        "ENTRYPOINT [\"/headroom\"]",
        "CMD [\"serve\"]",
        "USER 65532:65532",
    ] {
        assert!(text.lines().any(|one| one == line), "{line}");
    }
}
