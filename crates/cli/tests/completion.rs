//! Completion, as bash and kubectl run it, and the man pages.

#![allow(clippy::expect_used, reason = "a test that cannot be set up has failed")]

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use rolecall_testbed::{Cluster, environment};

const PROGRAM: &str = env!("CARGO_BIN_EXE_kubectl-rolecall");

/// A directory with the program by both of its names, and kubectl where there is a cluster.
fn path(kubectl: Option<&Path>) -> tempfile::TempDir {
    let directory = tempfile::tempdir().expect("a directory can be made");
    for name in ["kubectl-rolecall", "kubectl_complete-rolecall"] {
        symlink(PROGRAM, directory.path().join(name)).expect("a link can be made");
    }
    if let Some(kubectl) = kubectl {
        symlink(kubectl, directory.path().join("kubectl")).expect("a link can be made");
    }
    directory
}

fn run(directory: &Path, program: &str, args: &[&str]) -> Output {
    Command::new(program)
        .args(args)
        .current_dir(directory)
        .env_clear()
        .envs(environment(directory))
        .env(
            "PATH",
            std::env::join_paths([directory, Path::new("/usr/bin"), Path::new("/bin")]).expect("paths"),
        )
        .output()
        .expect("it starts")
}

fn text(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn bash_completes_commands_flags_and_values() {
    let directory = path(None);
    let complete = |line: &str| {
        let words = format!("kubectl-rolecall {line}");
        let count = words.split(' ').count() - 1;
        let script = format!(
            "source <(kubectl-rolecall completion bash)\n\
             COMP_WORDS=({words}); COMP_CWORD={count}; COMP_TYPE=9\n\
             [ ${{#COMP_WORDS[@]}} -gt $COMP_CWORD ] || COMP_WORDS+=('')\n\
             _clap_complete_kubectl_rolecall kubectl-rolecall \"${{COMP_WORDS[COMP_CWORD]}}\" ''\n\
             printf '%s\\n' \"${{COMPREPLY[@]}}\""
        );
        let found = text(&run(directory.path(), "bash", &["--norc", "-c", &script]));
        found.lines().map(|line| line.trim().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(complete("who"), ["who-can"]);
    assert_eq!(complete("completion f"), ["fish"]);
    assert!(complete("explain --us").contains(&"--user".to_owned()));
    assert!(complete("get ").contains(&"databases".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn kubectl_completes_the_plugin_with_names_of_the_cluster() {
    let cluster = Cluster::shared().await.expect("the cluster starts");
    cluster
        .apply(&rolecall_api::crds_yaml().expect("the definitions can be written"))
        .await
        .expect("applies");
    let wait = ["wait", "--for=condition=Established", "crd", "--all", "--timeout=60s"];
    cluster.kubectl(&wait).await.expect("the definitions are taken up");
    let admin = "{apiVersion: v1, kind: Namespace, metadata: {name: completed}}\n---\n\
                 {apiVersion: rolecall.dev/v1alpha1, kind: DatabaseAdmin, metadata: {name: orders, namespace: completed}, \
                  spec: {protocol: postgres, uri: 'a:1', adminUser: {name: adm}, auth: {x509: {secretRef: {name: c}}}}}";
    cluster.apply(admin).await.expect("it is made");
    let directory = path(Some(&cluster.kubectl_path()));
    let kubeconfig = cluster.kubeconfig().display().to_string();
    let complete = |words: &[&str]| {
        let words = [&["__complete", "rolecall"], words].concat();
        text(&run(directory.path(), "kubectl", &words))
    };
    let with = ["--kubeconfig", &kubeconfig, "-n", "completed"];
    let names = complete(&[&["connect"], &with[..], &["o"]].concat());
    assert_eq!(names, "orders\n:4\n");
    let commands = complete(&["who"]);
    assert!(commands.starts_with("who-can\tList the users"), "{commands}");
    // A cluster that does not answer completes nothing, and is not waited for.
    let none = complete(&["connect", "--kubeconfig", "/nonexistent", "o"]);
    assert_eq!(none, ":4\n");
}

#[test]
fn the_script_for_kubectl_asks_the_program() {
    let directory = path(None);
    let script = directory.path().join("script");
    std::fs::write(&script, text(&run(directory.path(), PROGRAM, &["completion", "kubectl"])))
        .expect("it is written");
    let script = script.display().to_string();
    let found = text(&run(directory.path(), "sh", &[&script, "completion", "z"]));
    assert_eq!(found.lines().last(), Some(":4"));
    assert!(found.starts_with("zsh"), "{found}");
}

#[test]
fn there_is_a_man_page_for_each_command() {
    let directory = path(None);
    let pages = directory.path().join("man");
    text(&run(directory.path(), PROGRAM, &["man", &pages.display().to_string()]));
    let names: Vec<PathBuf> =
        pages.read_dir().expect("it is there").flatten().map(|page| page.path()).collect();
    for name in ["kubectl-rolecall.1", "kubectl-rolecall-explain.1", "kubectl-rolecall-plan.1"] {
        let page = pages.join(name);
        assert!(names.contains(&page), "{name}: {names:?}");
        let page = std::fs::read_to_string(page).expect("it is read");
        assert!(page.contains(".SH NAME") && page.contains(".SH SYNOPSIS"), "{name}");
    }
}
