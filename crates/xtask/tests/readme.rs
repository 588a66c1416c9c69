//! What the README says is so: its manifests are accepted by a real API server, its tables name what there is.

use std::collections::BTreeSet;
use std::fs;

use clap::CommandFactory;
use rolecall_testbed::Cluster;
use rolecall_xtask::root;

const README: &str = include_str!("../../../README.md");

/// The blocks of this language.
fn blocks(text: &str, language: &str) -> Vec<String> {
    let start = format!("```{language}\n");
    text.split(&start).skip(1).filter_map(|rest| Some(rest.split_once("```")?.0.to_owned())).collect()
}

#[tokio::test]
async fn every_manifest_is_accepted() -> rolecall_testbed::Result<()> {
    let manifests = blocks(README, "yaml");
    assert!(manifests.len() >= 5, "one for each kind");
    // Nothing is created, so nothing has to be collected.
    let cluster = Cluster::builder().controllers(&[]).start().await?;
    cluster.kubectl(&["apply", "--server-side", "-k", &root().join("deploy").display().to_string()]).await?;
    cluster.kubectl(&["wait", "--for=condition=Established", "crd", "--all"]).await?;
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    for manifest in manifests {
        fs::write(file.path(), &manifest).expect("a temporary file can be written");
        let path = file.path().display().to_string();
        let dry_run = ["apply", "--server-side", "--dry-run=server", "--validate=strict", "-f", &path];
        cluster.kubectl(&dry_run).await?;
    }
    Ok(())
}

#[test]
fn every_flag_of_the_operator_is_in_the_table() {
    let command = rolecall_operator::args::Args::command();
    for argument in command.get_arguments() {
        let flag = format!("`--{}`", argument.get_long().expect("every argument is a flag"));
        let Some(line) = README.lines().find(|line| line.starts_with(&format!("| {flag} |"))) else {
            panic!("{flag} is missing");
        };
        let variable =
            argument.get_env().expect("every flag can be set in the environment").to_string_lossy();
        assert!(line.contains(&format!("`{variable}`")), "{flag}: {variable} is missing");
        for default in argument.get_default_values().iter().filter(|value| !value.is_empty()) {
            assert!(
                line.contains(&format!("`{}`", default.to_string_lossy())),
                "{flag}: its default is missing"
            );
        }
    }
}

#[test]
fn the_map_names_every_crate_and_no_other() {
    let told: BTreeSet<String> = README
        .lines()
        .filter_map(|line| Some(line.strip_prefix("| [crates/")?.split_once(']')?.0.to_owned()))
        .collect();
    let there: BTreeSet<String> = fs::read_dir(root().join("crates"))
        .expect("there are crates")
        .filter_map(|entry| Some(entry.ok()?.file_name().to_string_lossy().into_owned()))
        .collect();
    assert_eq!(told, there);
}

#[test]
fn every_link_into_the_tree_leads_somewhere() {
    for target in README.split("](").skip(1).filter_map(|rest| Some(rest.split_once(')')?.0.to_owned())) {
        if !target.starts_with("http") && !target.starts_with('#') {
            assert!(root().join(&target).exists(), "{target} does not exist");
        }
    }
}
