//! Inputs of the fuzz targets: a few that were written for a beginning (`fuzz/seeds/`), and what was found (`fuzz/found/`).

use std::fs;
use std::path::Path;

// The targets themselves, so that what `fuzz/run` looks at is what is looked at here.
#[path = "../fuzz/src/targets.rs"]
pub(crate) mod targets;

/// Nothing, where there is no such folder.
fn inputs(folder: &str, target: &str) -> Vec<Vec<u8>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    let Ok(entries) = fs::read_dir(root.join(folder).join(target)) else {
        return Vec::new();
    };
    entries
        .map(|entry| fs::read(entry.unwrap().path()).unwrap())
        .collect()
}

#[test]
fn what_was_found_stays_mended() {
    for (name, target) in targets::TARGETS {
        let seeds = inputs("seeds", name);
        assert!(!seeds.is_empty(), "{name} has nothing to begin with");
        for input in seeds.iter().chain(&inputs("found", name)) {
            target(input);
        }
    }
}
