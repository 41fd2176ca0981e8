//! Lists the shipped adapters for the catalogue, so that adding a provider touches no other file.

use std::path::Path;
use std::{env, fs, io};

fn main() -> io::Result<()> {
    println!("cargo::rerun-if-changed=providers");
    let root = env::var("CARGO_MANIFEST_DIR").map_err(io::Error::other)?;
    let mut ids: Vec<String> = fs::read_dir(Path::new(&root).join("providers"))?
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter_map(|name| name.strip_suffix(".toml").map(str::to_owned))
        .collect();
    ids.sort();
    let entries: String = ids
        .iter()
        .map(|id| {
            format!(
                "    (\"{id}\", include_str!(concat!(env!(\"CARGO_MANIFEST_DIR\"), \"/providers/{id}.toml\"))),\n"
            )
        })
        .collect();
    let out = env::var("OUT_DIR").map_err(io::Error::other)?;
    fs::write(
        Path::new(&out).join("catalog.rs"),
        format!(
            "/// Id and text of each shipped adapter, sorted by id.\nconst SHIPPED: &[(&str, &str)] = &[\n{entries}];\n"
        ),
    )
}
