//! The image as an OCI layout, by `deploy/image/oci.sh`.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use rolecall_testbed::components::cargo_tool;
use serde_json::{Value, json};

use crate::root::{Root, path, script};
use crate::run;

const CARGO_CYCLONEDX_VERSION: &str = "0.5.9";
/// What a registry stores, and a node downloads.
const MOST_BYTES: u64 = 25_000_000;

/// An OCI layout.
pub(crate) struct Layout<'a>(pub(crate) &'a Path);

impl Layout<'_> {
    /// A file of it, as JSON.
    pub(crate) fn read(&self, name: &str) -> Result<Value> {
        Ok(serde_json::from_slice(&fs::read(self.0.join(name)).with_context(|| name.to_owned())?)?)
    }

    /// What a descriptor refers to.
    pub(crate) fn blob(&self, of: &Value) -> Result<Value> {
        self.read(&format!("blobs/{}", of["digest"].as_str().unwrap_or_default().replace(':', "/")))
    }
}

/// What lets a test kill the program at a certain point is not in what is shipped.
pub(crate) fn assert_has_no_kill_points(root: &Root) -> Result<()> {
    const VARIABLE: &[u8] = b"ROLECALL_KILL_POINT";
    let found = fs::read(root.program())?.windows(VARIABLE.len()).any(|part| part == VARIABLE);
    ensure!(!found, "the program reads the variable of kill points");
    Ok(())
}

/// Two layouts of one program are one image, which is small, is not root's, and holds what was laid out.
pub(crate) fn assert_packed_the_same(root: &Root) -> Result<()> {
    let cyclonedx = cargo_tool("cargo-cyclonedx", CARGO_CYCLONEDX_VERSION)?;
    let programs = root.beside().join("programs");
    fs::create_dir(&programs)?;
    fs::copy(root.program(), programs.join(format!("rolecall-operator.{}", root.machine)))?;
    let layouts = ["first", "second"].map(|name| root.beside().join(name));
    for layout in &layouts {
        run(Command::new(script("oci.sh"))
            .args([layout.as_os_str(), "test".as_ref()])
            .env("ROLECALL_MACHINES", root.machine)
            .env("ROLECALL_OPERATORS", &programs)
            .env("PATH", path(&[&cyclonedx])?))?;
    }
    let [first, second] = layouts.each_ref().map(|path| Layout(path));
    ensure!(first.read("index.json")? == second.read("index.json")?, "two builds differ");
    let index = first.blob(&first.read("index.json")?["manifests"][0])?;
    let architecture = if root.machine == "aarch64" { "arm64" } else { "amd64" };
    assert_eq!(index["manifests"][0]["platform"]["architecture"], architecture);
    let manifest = first.blob(&index["manifests"][0])?;
    let config = first.blob(&manifest["config"])?;
    assert_eq!(config["config"]["User"], "65532:65532");
    assert_eq!(config["config"]["Entrypoint"], json!(["/rolecall-operator"]));
    assert_eq!((&config["os"], &config["architecture"]), (&json!("linux"), &json!(architecture)));
    let layers = manifest["layers"].as_array().into_iter().flatten();
    let size: u64 = layers.filter_map(|layer| layer["size"].as_u64()).sum();
    println!("the layers of the image for {} take {size} bytes", root.machine);
    ensure!(size < MOST_BYTES && size > 1_000_000, "{size} bytes");
    assert_named_parts(&layouts)
}

/// The lists of what was compiled into the program.
fn assert_named_parts([first, second]: &[std::path::PathBuf; 2]) -> Result<()> {
    let parts = fs::read(format!("{}.cdx.json", first.display()))?;
    ensure!(parts == fs::read(format!("{}.cdx.json", second.display()))?, "two lists of parts differ");
    let parts: Value = serde_json::from_slice(&parts)?;
    let components = parts["components"].as_array().into_iter().flatten();
    let names: Vec<&str> = components.filter_map(|part| part["name"].as_str()).collect();
    ensure!(names.contains(&"tokio") && names.contains(&"aws-lc-rs"), "{names:?}");
    ensure!(!names.contains(&"proptest"), "what only tests need is not in it");
    Ok(())
}
