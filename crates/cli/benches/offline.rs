//! How long commands take that ask nobody: beside kubectl, which asks nobody either, and as a share of what is allowed.
//!
//! `cargo xtask bench cli [-- NUMBER OF MANIFESTS]`

#![allow(clippy::expect_used, reason = "a benchmark that cannot be set up has failed")]

use std::fmt::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rolecall_testbed::components::Kubernetes;
use rolecall_testbed::{KubernetesVersion, environment};

/// How often each command is run; the median counts.
const RUNS: usize = 7;
/// What the program may take for itself, and a decision on many manifests.
const OWN: Duration = Duration::from_millis(30);
const MANY: Duration = Duration::from_secs(1);

fn main() {
    let number = std::env::args().skip(1).find_map(|arg| arg.parse().ok()).unwrap_or(10_000);
    let directory = tempfile::tempdir().expect("a directory can be made");
    let manifests = manifests(number);
    let one = directory.path().join("one.yaml");
    std::fs::write(&one, manifests.join("---\n")).expect("it is written");
    let many = directory.path().join("many");
    std::fs::create_dir(&many).expect("it is made");
    for (index, manifest) in manifests.iter().enumerate() {
        std::fs::write(many.join(format!("{index}.yaml")), manifest).expect("it is written");
    }

    let kubectl = Kubernetes::prepare(KubernetesVersion::NEWEST).expect("kubectl is there").kubectl();
    let kubectl = median(Command::new(kubectl).args(["version", "--client"]), directory.path());
    println!(
        "| command | manifests | median | of what is allowed | beside kubectl version --client ({kubectl:.0?}) |"
    );
    println!("|---|---|---|---|---|");
    let row = |args: &[&str], file: Option<&Path>, allowed: Duration| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kubectl-rolecall"));
        command.args(args);
        if let Some(file) = file {
            command.arg("-f").arg(file);
        }
        let took = median(&mut command, directory.path());
        let count = match file {
            Some(file) if file.is_dir() => format!("{number} files"),
            Some(_) => format!("{number} in one file"),
            None => "none".to_owned(),
        };
        let (share, beside) =
            (took.as_secs_f64() / allowed.as_secs_f64(), took.as_secs_f64() / kubectl.as_secs_f64());
        println!("| {} | {count} | {took:.0?} | {share:.2} | {beside:.2} |", args.join(" "));
    };
    row(&["--version"], None, OWN);
    row(&["completion", "bash"], None, OWN);
    for file in [&one, &many] {
        row(&["ls", "--user", "user-7"], Some(file), MANY);
        row(&["explain", "-u", "user-7", "-d", "db-7", "--db-name", "app"], Some(file), MANY);
        row(&["who-can", "db-7"], Some(file), MANY);
    }
}

/// Half users, a quarter databases, a quarter roles.
fn manifests(number: usize) -> Vec<String> {
    let (roles, databases) = (number / 4, number / 4);
    let mut manifests = Vec::with_capacity(number);
    let head = |kind: &str, name: String| {
        format!(
            "apiVersion: rolecall.dev/v1alpha1\nkind: {kind}\nmetadata: {{name: {name}, labels: {{env: prod}}}}\n"
        )
    };
    for index in 0..number {
        let mut text = String::new();
        if index < roles {
            text.push_str(&head("ProvisioningRole", format!("role-{index}")));
            let _ = write!(
                text,
                "spec:\n  options: {{createDbUserMode: Keep, maxSessionTtl: 8h}}\n  allow:\n    dbLabels: {{env: [prod, \
                 \"team-{index}-*\"]}}\n    dbNames: [\"*\"]\n    dbRoles: [reader, \"team-{{{{external.team}}}}\"]\n    \
                 dbPermissions:\n    - match: {{schema: [s{index}]}}\n      permissions: [SELECT, INSERT]\n"
            );
        } else if index < roles + databases {
            text.push_str(&head("DatabaseAdmin", format!("db-{}", index - roles)));
            text.push_str(
                "spec:\n  protocol: postgres\n  uri: db.shop.svc:5432\n  adminUser: {name: adm}\n  auth: {x509: {secretRef: \
                 {name: cert}}}\n",
            );
        } else {
            let user = index - roles - databases;
            text.push_str(&head("DatabaseUser", format!("user-{user}")));
            let role = |offset: usize| (user + offset) % roles;
            let _ = write!(
                text,
                "spec:\n  roles: [role-{}, role-{}, role-{}]\n  traits: {{team: [blue, red]}}\n",
                role(0),
                role(1),
                role(2)
            );
        }
        manifests.push(text);
    }
    manifests
}

fn median(command: &mut Command, home: &Path) -> Duration {
    command.env_clear().envs(environment(home)).stdin(Stdio::null()).stdout(Stdio::null());
    let mut took: Vec<Duration> = (0..RUNS)
        .map(|_| {
            let started = Instant::now();
            let status = command.status().expect("it starts");
            assert!(status.success(), "{command:?}");
            started.elapsed()
        })
        .collect();
    took.sort();
    took[RUNS / 2]
}
