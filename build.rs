//! Lists the shipped adapters for the catalogue, so that adding a provider touches no other file; and tells the linker in which
//! order a call comes through the functions of the program.

use std::path::Path;
use std::process::{Command, Stdio};
use std::{env, fs, io};

fn main() -> io::Result<()> {
    let root = variable("CARGO_MANIFEST_DIR")?;
    let out = variable("OUT_DIR")?;
    catalog(Path::new(&root), Path::new(&out))?;
    order(Path::new(&root), Path::new(&out))
}

fn variable(name: &str) -> io::Result<String> {
    env::var(name).map_err(io::Error::other)
}

fn catalog(root: &Path, out: &Path) -> io::Result<()> {
    println!("cargo::rerun-if-changed=providers");
    let mut ids: Vec<String> = fs::read_dir(root.join("providers"))?
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
    fs::write(
        out.join("catalog.rs"),
        format!(
            "/// Id and text of each shipped adapter, sorted by id.\nconst SHIPPED: &[(&str, &str)] = &[\n{entries}];\n"
        ),
    )
}

/// Side by side, the functions of a call are in half as many pages (PERFORMANCE.md). Linkers that do not know such scripts do
/// without: that is found out by linking something small.
fn order(root: &Path, out: &Path) -> io::Result<()> {
    println!("cargo::rerun-if-changed=src/order.ld");
    let is_linux = variable("CARGO_CFG_TARGET_OS")? == "linux";
    if !is_linux || variable("PROFILE")? != "release" {
        return Ok(());
    }
    // A copy, because Cargo finds its own folder again where all was moved, and does not run this anew.
    let script = out.join("order.ld");
    fs::copy(root.join("src/order.ld"), &script)?;
    // The compiler's arguments are separated by commas here.
    let argument = match script.to_str() {
        Some(script) if !script.contains(',') => format!("-Wl,-T,{script}"),
        _ => return Ok(()),
    };
    let source = out.join("linked.rs");
    fs::write(&source, "fn main() {}\n")?;
    let flags = env::var("CARGO_ENCODED_RUSTFLAGS").unwrap_or_default();
    let target = variable("TARGET")?;
    let name = target.to_uppercase().replace(['-', '.'], "_");
    println!("cargo::rerun-if-env-changed=CARGO_TARGET_{name}_LINKER");
    let linker = env::var("RUSTC_LINKER").ok();
    let linked = Command::new(variable("RUSTC")?)
        .args(["--crate-type", "bin", "--target", &target])
        .args(flags.split('\x1f').filter(|flag| !flag.is_empty()))
        .args(linker.map(|linker| format!("-Clinker={linker}")))
        .arg(format!("-Clink-arg={argument}"))
        .arg("-o")
        .args([&out.join("linked"), &source])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()?;
    if linked.success() {
        println!("cargo::rustc-link-arg-bin=headroom={argument}");
    }
    Ok(())
}
