//! Keys of consumers, and files that only speak of such things.

use super::{run, run_in};

#[test]
fn a_new_key_fits_the_table_beside_it() {
    let keys: Vec<String> = (0..2)
        .map(|_| {
            let folder = tempfile::tempdir().unwrap();
            let ran = run_in(folder.path(), &["key", "new", "reports"], b"");
            assert_eq!(ran.code, 0, "{}", ran.stderr);
            let (key, table) = ran.stdout.split_once("\n\n").unwrap();
            assert!(key.starts_with("hr_") && key.len() == 46, "{key}");
            let hash = headroom::consumer::to_hex(&headroom::consumer::hash_key(key));
            assert_eq!(
                table,
                format!("[consumers.reports]\nkey_hash = \"{hash}\"\n")
            );
            assert!(!ran.stderr.contains(key), "{}", ran.stderr);
            std::fs::write(folder.path().join("headroom.toml"), table).unwrap();
            let checked = run_in(folder.path(), &["check"], b"");
            assert_eq!(checked.code, 0, "{}{}", checked.stdout, checked.stderr);
            key.to_owned()
        })
        .collect();
    assert_ne!(keys[0], keys[1]);
    let ran = run(&["key", "new", "the reports"], "");
    assert_eq!((ran.code, ran.stdout.as_str()), (2, ""));
    assert!(
        ran.stderr.contains("\"the reports\" cannot be"),
        "{}",
        ran.stderr
    );
}

#[test]
fn a_new_key_of_the_pages_fits_the_table_beside_it() {
    let folder = tempfile::tempdir().unwrap();
    let ran = run_in(folder.path(), &["key", "new", "me", "--admin"], b"");
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let (key, table) = ran.stdout.split_once("\n\n").unwrap();
    let hash = headroom::consumer::to_hex(&headroom::consumer::hash_key(key));
    assert_eq!(table, format!("[admin] # me\nkey_hash = \"{hash}\"\n"));
    assert!(!ran.stderr.contains(key), "{}", ran.stderr);
    let file = folder.path().join("headroom.toml");
    std::fs::write(&file, table).unwrap();
    let checked = run_in(folder.path(), &["check"], b"");
    assert_eq!(checked.code, 0, "{}{}", checked.stdout, checked.stderr);
    // One key is one's own, and what is no name or no key is told without the key.
    for (wrong, words) in [
        (
            format!("{table}[consumers.me]\nkey_hash = \"{hash}\"\n"),
            "has the same key",
        ),
        (
            format!("[admin]\nkey_hash = \"{key}\"\n"),
            "this is the key itself",
        ),
        (
            "[admin]\nhosts = [\"https://a.example\"]\n".to_owned(),
            "is not the name of a host",
        ),
        (
            "[admin]\nhosts = [\"a.example:80\"]\n".to_owned(),
            "is not the name of a host",
        ),
        ("[admin]\nmetrics = \"closed\"\n".to_owned(), "open"),
    ] {
        std::fs::write(&file, &wrong).unwrap();
        let checked = run_in(folder.path(), &["check"], b"");
        assert_eq!(checked.code, 1, "{wrong}");
        assert!(checked.stdout.contains(words), "{}", checked.stdout);
    }
}

/// A file by any name is known as a configuration by its keys.
#[test]
fn a_file_of_consumers_is_a_configuration() {
    let folder = tempfile::tempdir().unwrap();
    for source in [
        "[consumers.reports]\nkey_hash = \"x\"\n",
        "state_dir = \"\"\n",
        "max_waiting = \"x\"\n",
        "max_wait = \"x\"\n",
        "count_block = 0\n",
    ] {
        std::fs::write(folder.path().join("other.toml"), source).unwrap();
        let ran = run_in(folder.path(), &["check", "other.toml"], b"");
        assert_eq!(ran.code, 1);
        assert!(ran.stderr.contains("1 mistake found"), "{}", ran.stdout);
    }
}
