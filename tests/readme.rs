//! The README's examples are run: every `console` block whose command is headroom's.

use std::path::Path;
use std::process::Command;
use std::{env, fs};

#[test]
fn examples_print_what_the_readme_says() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let readme = fs::read_to_string(root.join("README.md")).unwrap();
    let binary = Path::new(env!("CARGO_BIN_EXE_headroom"));
    let path = format!(
        "{}:{}",
        binary.parent().unwrap().display(),
        env::var("PATH").unwrap()
    );
    let mut examples = 0;
    for block in readme.split("```console\n").skip(1) {
        let block = block.split("```").next().unwrap();
        let (command, expected) = block.split_once('\n').unwrap();
        let command = command.strip_prefix("$ ").unwrap();
        let output = Command::new("sh")
            .args(["-c", command])
            .current_dir(root)
            .env("PATH", &path)
            .output()
            .unwrap();
        assert_eq!(
            String::from_utf8_lossy(&output.stdout),
            expected,
            "{command}"
        );
        examples += 1;
    }
    assert!(examples >= 2, "the README has lost its examples");
}

/// The configuration that the README shows is one that headroom takes.
#[test]
fn the_configuration_of_the_readme_has_no_mistakes() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let readme = fs::read_to_string(root.join("README.md")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("my-providers")).unwrap();
    let file = folder.path().join("headroom.toml");
    let block = readme.split("```toml\n").nth(1).unwrap();
    fs::write(&file, block.split("```").next().unwrap()).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_headroom"))
        .arg("check")
        .arg(&file)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}
