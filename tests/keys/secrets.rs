//! Nothing that headroom tells has a secret in it.

use super::*;
use crate::support::program::headroom;

/// Values that came from elsewhere are not repeated by mistakes about them, whatever their key is.
#[tokio::test]
async fn mistakes_do_not_repeat_what_stands_elsewhere() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("planted"), "pl4nted in a file\n").unwrap();
    for value in ["${PLANTED}", "file:planted", "x${PLANTED}y"] {
        let config = format!(
            "listen = \"{value}\"\nvia = \"{value}\"\nmax_wait = \"{value}\"\nca_file = \"{value}\"\n\
             [telemetry]\notlp_endpoint = \"{value}\"\n\
             [[webhooks]]\nurl = \"{value}\"\nsecret = \"{value}\"\nconnections = [\"{value}\"]\n\
             [connections.a]\nprovider = \"{value}\"\nbase_url = \"{value}\"\ntime_zone = \"{value}\"\nlisten = \"{value}\"\n\
             reserve = {{ share = \"{value}\", consumers = [\"{value}\"] }}\n\
             [connections.hubspot]\nplan = \"{value}\"\ncredential = \"{value}\\u0001\"\n\
             [connections.toggl.oauth2]\ntoken_url = \"{value}\"\nclient_id = \"{value}\"\nclient_secret = \"{value}\\t\"\n\
             [consumers.b]\nkey_hash = \"{value}\"\nconnections = [\"{value}\"]\nmethods = [\"{value}\"]\npaths = [\"{value}\"]\nshare = \"{value}\"\n"
        );
        std::fs::write(folder.path().join("headroom.toml"), &config).unwrap();
        for arguments in [&["check"][..], &["serve"]] {
            let output = headroom(folder.path())
                .args(arguments)
                .env("PLANTED", "pl4nted in the environment")
                .output()
                .unwrap();
            assert_eq!(output.status.code(), Some(1), "{output:?}");
            let told = [output.stdout, output.stderr].concat();
            let told = String::from_utf8(told).unwrap();
            assert!(told.matches("error[").count() > 10, "{told}");
            assert!(!told.contains("pl4nted"), "{told}");
        }
    }
}

/// Nor what is written out: the line of a mistake is shown without it.
#[test]
fn mistakes_do_not_show_secrets_of_the_file() {
    let folder = tempfile::tempdir().unwrap();
    for line in [
        "credential = \"pl4nted\\n\"",
        "credential = \"pl4nted",
        "credentials = \"pl4nted\"",
        "credential = pl4nted",
        "credential = [\"pl4nted\"]",
        "credential = [\n\"pl4nted\",\n]",
        "credential = [\n\"pl4nted",
        "credential = { a = \"pl4nted\" }",
        "credential.a = \"pl4nted\"",
        "credential.a = \"pl4nted",
        "'credential' = 'pl4nted\t\u{1}'",
        "'credential' = 'pl4nted",
        "\"cred\\u0065ntial\" = \"pl4nted\\n\"",
        "\"cred\\U00000065ntial\" = \"pl4nted",
        "\"cred\\u0065ntail\" = \"pl4nted\"",
        "\"cred\\x65ntial\" = \"pl\\u0034nted\\n\"",
        "credential = \"\"\"\npl4nted\\n\"\"\"",
        "credential = \"\"\"\npl4nted",
        "credential = \"\"\"\\\n  pl4nted\\u0001\"\"\"",
        "credential = '''\npl4nted\n\n'''",
        "credential = '''pl4nted",
        "oauth2.client_secret = \"pl4nted\\t\"\noauth2.more = 1",
        "oauth2.\"client_s\\u0065cret\" = \"pl4nted\\t\"",
        "oauth2 . 'client_secret' = 'pl4nted",
        "oauth2 = { \"client_s\\u0065cret\" = \"pl4nted\", more = 1 }",
        "oauth2 = { 'refresh_token' = 'pl4nted', more = 1 }",
        "[connections.hubspot.oauth2]\n\"refresh_tok\\u0065n\" = \"pl4nted\"\nmore = 1",
        "[connections.hubspot.credential]\na = \"pl4nted\"",
        "[[webhooks]]\n\"s\\u0065cret\" = \"pl4nted\"\nmore = 1",
        "webhooks = [\n{ url = 1, \"s\\u0065cret\" = \"pl4nted\" },\n]",
        "client_certificate = \"a\"\nclient_key = \"-----BEGIN PRIVATE KEY-----\\npl4nted\\n-----END PRIVATE KEY-----\"",
        "client_key = \"\"\"\n-----BEGIN RSA PRIVATE KEY-----\npl4nted\n-----END RSA PRIVATE KEY-----\n\"\"\"",
        "client_key = \"-----BEGIN EC PRIVATE KEY-----\npl4nted",
        "oauth2 = { client_secret = \"pl4nted\", refresh = 1 }",
        "oauth2 = { client_secret = \"pl4nted\\t\" }",
    ] {
        let config = format!("[connections.hubspot]\n{line}\n");
        std::fs::write(folder.path().join("headroom.toml"), &config).unwrap();
        for command in ["check", "serve"] {
            let output = headroom(folder.path()).arg(command).output().unwrap();
            assert_eq!(output.status.code(), Some(1), "{output:?}");
            let told = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
            assert!(
                told.contains("error[") && !told.contains("pl4nted"),
                "{told}"
            );
        }
    }
}

/// A configuration of another name is one by its keys, however these are written.
#[test]
fn mistakes_do_not_show_secrets_of_a_file_with_another_name() {
    let folder = tempfile::tempdir().unwrap();
    for table in [
        "[connections.hubspot]",
        " [ connections . hubspot ]",
        "[\"connections\".hubspot]",
        "['connections'.'hubspot']",
        "[\"conn\\u0065ctions\".hubspot]",
        "['connections'.'hubspot'",
    ] {
        let config = format!("{table}\ncredential = \"pl4nted\\n\"\n");
        std::fs::write(folder.path().join("other.toml"), &config).unwrap();
        let output = headroom(folder.path())
            .args(["check", "other.toml"])
            .output();
        let output = output.unwrap();
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let told = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert!(
            told.contains("error[") && !told.contains("pl4nted"),
            "{told}"
        );
    }
}

/// What all of a run tells: the log, the pages, the answers, the state.
#[tokio::test]
async fn a_run_tells_no_secret() {
    let planted = ["pl4nted-credential", "pl4nted-caller", "pl4nted-session"];
    let key = reports();
    let config = format!(
        "{}[connections.mine]\nprovider = \"bearer\"\ncredential = \"{}\"\n[connections.asked]\nprovider = \"query\"\ncredential = \"{}\"\n",
        consumer(
            "reports",
            &key,
            "connections = [\"mine\", \"asked\", \"bearer\", \"query\"]"
        ),
        planted[0],
        planted[0],
    );
    let site = Site::new(&config).await;
    let mut told = String::new();
    for target in [
        "/mine/a",
        "/asked/a",
        "/bearer/a",
        "/query/a?access_token=pl4nted-caller",
        "/header/a",
    ] {
        for lines in [
            format!("headroom-key: {key}\r\n"),
            format!(
                "headroom-key: {key}\r\nAuthorization: Bearer pl4nted-caller\r\nCookie: s=pl4nted-session\r\n"
            ),
            format!("Authorization: Bearer {key}\r\nX-Other: {key}\r\n"),
            "Authorization: Bearer pl4nted-caller\r\n".to_owned(),
        ] {
            told += &site.get(target, &lines).await;
        }
    }
    for page in [
        "",
        "quota",
        "usage?by=consumer",
        "usage?by=endpoint",
        "events",
        "metrics",
        "readyz",
    ] {
        told += &site.get(&format!("/-/{page}"), "").await;
    }
    told += &site.program.wait_for(|lines| Some(lines.join("\n")));
    assert!(site.upstream.requests().len() >= 4);
    let folder = site.folder.path().to_path_buf();
    assert!(site.program.terminate().success());
    let home = folder.join("home/headroom");
    for entry in std::fs::read_dir(home).unwrap() {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap();
        told += &String::from_utf8_lossy(&bytes);
    }
    for secret in planted.iter().copied().chain([&key[3..]]) {
        let at = told.find(secret);
        let around = at.map(|at| &told[at.saturating_sub(80)..told.len().min(at + 80)]);
        assert_eq!(around, None);
    }
}
