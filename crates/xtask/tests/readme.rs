//! The README and the docs are true: manifests are accepted by a real API server, tables and links name what exists.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use clap::CommandFactory;
use rolecall_testbed::{Cluster, environment};
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
    // Without its controller nobody else makes the one that Pods run as.
    cluster.kubectl(&["create", "serviceaccount", "default"]).await?;
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    for manifest in manifests {
        fs::write(file.path(), &manifest).expect("a temporary file can be written");
        let path = file.path().display().to_string();
        let dry_run = ["apply", "--server-side", "--dry-run=server", "--validate=strict", "-f", &path];
        cluster.kubectl(&dry_run).await?;
    }
    Ok(())
}

#[tokio::test]
async fn the_commands_for_certificates_secrets_and_the_kubeconfig_work() -> rolecall_testbed::Result<()> {
    let block = |part: &str| {
        let found = blocks(README, "sh").into_iter().find(|block| block.contains(part));
        found.unwrap_or_else(|| panic!("no block with {part}"))
    };
    let cluster = Cluster::builder().controllers(&[]).start().await?;
    cluster.kubectl(&["apply", "--server-side", "-k", &root().join("deploy").display().to_string()]).await?;
    let dir = tempfile::tempdir().expect("a directory");
    let kubectl = cluster.kubectl_path();
    let path = std::env::join_paths(
        [kubectl.parent().expect("a directory").to_owned()]
            .into_iter()
            .chain(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())),
    );
    let path = path.expect("a path");
    let run = |script: &str| {
        let output = Command::new("sh")
            .args(["-ec", script])
            .current_dir(dir.path())
            .env_clear()
            .envs(environment(dir.path()))
            .env("PATH", &path)
            .env("KUBECONFIG", cluster.kubeconfig())
            .output()
            .expect("there is a shell");
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{script}\n{stderr}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    run(&block("openssl req"));
    run("openssl verify -CAfile server-ca.crt -verify_hostname orders-db.shop.svc server.crt
         openssl verify -CAfile client-ca.crt -purpose sslclient admin.crt");
    run(&block("create secret tls orders-client-ca"));
    let secrets = run("kubectl get secrets -o name");
    for name in ["orders-ca", "orders-admin-cert", "orders-client-ca"] {
        assert!(secrets.contains(name), "{secrets}");
    }
    run(&block("> operator.kubeconfig"));
    let who =
        run("kubectl --kubeconfig operator.kubeconfig auth whoami -o jsonpath={.status.userInfo.username}");
    assert_eq!(who, "system:serviceaccount:rolecall-system:rolecall-operator");
    Ok(())
}

#[test]
fn the_statements_for_mongodb_are_about_the_samples() {
    let js = blocks(README, "js").concat();
    let sample = include_str!("../../../deploy/samples/mongodb/database_session.yaml");
    let database = sample.lines().find_map(|line| line.trim().strip_prefix("databaseName: "));
    let database = database.and_then(|rest| rest.split_whitespace().next()).expect("a logical database");
    assert!(js.contains(&format!("{{db: \"{database}\", collection: \"\"}}")), "{database} is not in\n{js}");
    let named: BTreeSet<&str> =
        js.split("db: \"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    assert_eq!(named, ["", "$external", "admin", database].into());
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
    let named: BTreeSet<String> = README
        .lines()
        .filter_map(|line| Some(line.strip_prefix("| [crates/")?.split_once(']')?.0.to_owned()))
        .collect();
    assert_eq!(named, crates());
}

#[test]
fn the_architecture_names_every_crate() {
    let text = fs::read_to_string(root().join("docs/architecture.md")).expect("it can be read");
    for name in crates() {
        let names = [format!("**{name}**"), format!("  {name}[\"")];
        assert!(names.iter().any(|name| text.contains(name)), "docs/architecture.md does not name {name}");
    }
}

#[test]
fn every_link_into_the_tree_leads_somewhere() {
    let docs = fs::read_dir(root().join("docs")).expect("there are docs");
    let docs = docs.map(|entry| entry.expect("it can be read").path());
    for file in
        docs.chain([root().join("README.md")]).filter(|path| path.extension().is_some_and(|end| end == "md"))
    {
        let text = fs::read_to_string(&file).expect("it can be read");
        for target in
            text.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(target, _)| target)
        {
            let path = target.split('#').next().unwrap_or_default();
            if !path.starts_with("http") && !path.is_empty() {
                let linked = file.parent().expect("a directory").join(path);
                assert!(linked.exists(), "{}: {target} does not exist", file.display());
            }
        }
    }
}

/// The names of the directories in `crates`.
fn crates() -> BTreeSet<String> {
    let entries = fs::read_dir(root().join("crates")).into_iter().flatten();
    entries.filter_map(|entry| Some(entry.ok()?.file_name().to_string_lossy().into_owned())).collect()
}
