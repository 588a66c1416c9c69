//! Completion, as shells and kubectl run it, and the man pages.

#![allow(clippy::expect_used, reason = "a test that cannot be set up has failed")]

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use rolecall_testbed::components::{Kubernetes, Shells};
use rolecall_testbed::{Cluster, KubernetesVersion, environment};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

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
    set_up(Command::new(program).args(args), directory).output().expect("it starts")
}

/// The program and what else lies in the directory on the PATH, and nothing of the caller's.
fn set_up<'a>(command: &'a mut Command, directory: &Path) -> &'a mut Command {
    let path = std::env::join_paths([directory, Path::new("/usr/bin"), Path::new("/bin")]).expect("paths");
    command.current_dir(directory).env_clear().envs(environment(directory)).env("PATH", path)
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

/// A shell in a terminal of its own, to which keys are sent.
struct Terminal {
    keys: File,
    child: std::process::Child,
}

impl Terminal {
    fn start(directory: &Path, program: &Path, args: &[&str]) -> Self {
        let side = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("there is a terminal");
        grantpt(&side).expect("it is ours");
        unlockpt(&side).expect("it is open");
        let name = ptsname(&side, Vec::new()).expect("it has a name").to_string_lossy().into_owned();
        let end = || Stdio::from(File::options().read(true).write(true).open(&name).expect("it is there"));
        let mut command = Command::new("setsid");
        set_up(command.arg("--ctty").arg(program).args(args), directory).env("TERM", "dumb");
        let child = command.stdin(end()).stdout(end()).stderr(end()).spawn().expect("it starts");
        let keys = File::from(side);
        let mut shown = keys.try_clone().expect("it is open");
        // What it shows is of no interest, but somebody has to take it.
        std::thread::spawn(move || while shown.read(&mut [0; 4096]).is_ok_and(|length| length > 0) {});
        Self { keys, child }
    }

    fn types(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).expect("it reads");
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits for a file with so many lines.
fn lines(path: &Path, count: usize) -> Vec<String> {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let lines: Vec<String> = text.lines().map(str::to_owned).collect();
        if lines.len() >= count || Instant::now() > deadline {
            return lines;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn zsh_completes_what_is_typed() {
    let (directory, shells) = (path(None), Shells::prepare().expect("they can be fetched"));
    let found = directory.path().join("found");
    let mut zsh = Terminal::start(directory.path(), &shells.zsh(), &["-f", "-i"]);
    // Ctrl-X and a letter write down what stands in the line, and clear it. Neither means anything to the terminal.
    zsh.types(&format!(
        "fpath=({functions}/**/*(/N) {functions}); autoload -Uz compinit; compinit -u -D; \
         source <(kubectl-rolecall completion zsh); shown() {{ print -r -- \"$BUFFER|\" >> {found}; BUFFER= }}; \
         zle -N shown; bindkey '^Xs' shown; print ready >> {found}\n",
        functions = shells.zsh_functions().display(),
        found = found.display()
    ));
    assert_eq!(lines(&found, 1), ["ready"]);
    for line in ["who", "completion f", "explain --us", "plan --kusto"] {
        zsh.types(&format!("kubectl-rolecall {line}\t\u{18}s"));
    }
    let completed = ["who-can", "completion fish", "explain --user", "plan --kustomize"];
    let completed = completed.map(|line| format!("kubectl-rolecall {line} |"));
    assert_eq!(lines(&found, 5)[1..], completed);
}

#[test]
fn fish_completes_the_program_and_the_plugin() {
    let (directory, shells) = (path(Some(&kubectl())), Shells::prepare().expect("they can be fetched"));
    let script = "kubectl-rolecall completion fish | source; kubectl completion fish | source; \
                  for line in 'kubectl-rolecall ' 'kubectl rolecall '; \
                  for words in who 'completion f' 'explain --us'; complete -C \"$line$words\"; end; end";
    let (program, environment) = shells.fish();
    let mut fish = Command::new(program);
    set_up(fish.args(["--no-config", "-c", script]), directory.path()).envs(environment.iter().cloned());
    let found = text(&fish.output().expect("it starts"));
    let found: Vec<_> = found.lines().map(|line| line.split_once('\t').unwrap_or((line, ""))).collect();
    let names: Vec<&str> = found.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, ["who-can", "fish", "--user", "who-can", "fish", "--user"]);
    assert!(found.iter().all(|(_, help)| !help.is_empty()), "{found:?}");
}

#[test]
fn bash_completes_the_plugin_of_kubectl() {
    let (directory, shells) = (path(Some(&kubectl())), Shells::prepare().expect("they can be fetched"));
    let script = format!(
        "source '{}'; source <(kubectl completion bash)
         complete() {{ COMP_WORDS=(\"$@\"); COMP_CWORD=$(($# - 1)); COMP_LINE=\"$*\"; COMP_POINT=${{#COMP_LINE}}
           COMP_TYPE=9; __start_kubectl; printf '%s\\n' \"${{COMPREPLY[@]}}\"; }}
         compopt() {{ :; }}
         complete kubectl rolecall who; complete kubectl rolecall completion f; complete kubectl rolecall explain --us",
        shells.bash_completion().display()
    );
    let found = text(&run(directory.path(), "bash", &["--norc", "-c", &script]));
    assert_eq!(found.split_whitespace().collect::<Vec<_>>(), ["who-can", "fish", "--user"]);
}

fn kubectl() -> PathBuf {
    Kubernetes::prepare(KubernetesVersion::NEWEST).expect("it can be built").kubectl()
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
