//! A machine as a reader of the book has one: a cluster, a server, and the programs that commands name.

use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rolecall_testbed::components::{charts, clients};
use rolecall_testbed::{Cluster, PgVersion, Postgres, environment, rows};
use rolecall_tests::process;
use tempfile::TempDir;
use tokio::process::Command;
use tokio::sync::OnceCell;

use super::nodes;
use super::pages::{Block, Where};

const README: &str = include_str!("../../../../README.md");
const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
/// All commands of a page, on a machine that does other things as well.
const TIMEOUT: Duration = Duration::from_secs(600);

/// A cluster in which namespaces get the account that Pods run as.
async fn cluster() -> rolecall_testbed::Result<Cluster> {
    let controllers = ["namespace-controller", "garbage-collector-controller", "serviceaccount-controller"];
    Cluster::builder().controllers(&controllers).start().await
}

/// See the module.
pub(super) struct Stage {
    pub(super) cluster: Cluster,
    other: OnceCell<Cluster>,
    pg: Postgres,
    folder: TempDir,
}

impl Stage {
    /// Nothing but a cluster and a server that takes passwords; the server's authority is in `ca.crt`.
    pub(super) async fn empty() -> Result<Self> {
        Self::with("hostssl all all all scram-sha-256\n").await
    }

    async fn with(hba: &str) -> Result<Self> {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let pg = Postgres::builder(PgVersion::V17).hba(hba).start().await?;
        let folder = TempDir::new()?;
        for tree in ["charts", "deploy", "kustomize"] {
            symlink(Path::new(ROOT).join(tree), folder.path().join(tree))?;
        }
        std::fs::write(folder.path().join("ca.crt"), pg.server_ca_pem())?;
        let programs = folder.path().join("programs");
        std::fs::create_dir(&programs)?;
        let cluster = cluster().await?;
        symlink(cluster.kubectl_path(), programs.join("kubectl"))?;
        // Before any command is waited for: it may have to be built, and the Jobs of Helm's hooks run it.
        process::program().await?;
        symlink(process::program_of_the_plugin().await?, programs.join("kubectl-rolecall"))?;
        tokio::task::spawn_blocking(move || {
            clients::shells(&programs)?;
            symlink(charts::helm_4()?, programs.join("helm"))?;
            anyhow::Ok(())
        })
        .await??;
        Ok(Self { cluster, other: OnceCell::new(), pg, folder })
    }

    /// With an operator installed as the README says, and what the first session of the book makes in the namespace `shop`:
    /// with certificates for users, and a session that stays.
    pub(super) async fn in_use() -> Result<Self> {
        let stage =
            Self::with("hostssl all teleport-admin all scram-sha-256\nhostssl all all all cert\n").await?;
        let users = stage.pg.client_authority();
        for (name, text) in [("users.crt", users.cert_pem()), ("users.key", users.key_pem())] {
            std::fs::write(stage.folder.path().join(name), text)?;
        }
        let install =
            super::pages::blocks(README).into_iter().find(|block| block.text.contains("helm install"));
        let install = install.context("the README installs a release")?.text
            + "kubectl create secret tls orders-client-ca --namespace shop --cert=users.crt --key=users.key";
        let mut blocks = super::commands_of("first-session.md")?;
        // Up to where somebody logs in with a password.
        let login = blocks.iter().position(|block| block.text.contains("SELECT current_user"));
        blocks.truncate(login.context("a login")?);
        let by_certificate = "userCredentials: {x509: {caSecretRef: {name: orders-client-ca}}}";
        for block in &mut blocks {
            block.text = block
                .text
                .replace("ttl: 10m, ", "")
                .replace("userCredentials: {password: {}}", by_certificate);
        }
        let started = Instant::now();
        stage.run("first-session.md", &install, &blocks).await?;
        println!(
            "from the README's `helm install` to an active session: {:.0} s",
            started.elapsed().as_secs_f64()
        );
        Ok(stage)
    }

    /// Runs the blocks of a page in one shell, after `before`.
    pub(super) async fn run(&self, page: &str, before: &str, blocks: &[Block]) -> Result<()> {
        let here = self.cluster.kubeconfig();
        let mut script = format!("set -eu\nexport KUBECONFIG={}\n{before}\n", here.display());
        for (index, block) in blocks.iter().enumerate() {
            let kubeconfig = match block.place {
                Where::Nowhere(_) => continue,
                Where::Here => here.clone(),
                Where::Elsewhere => self.other.get_or_try_init(cluster).await?.kubeconfig(),
            };
            script.push_str(&format!(
                "echo '== {page}, block {index}' >&2\nexport KUBECONFIG={}\n",
                kubeconfig.display()
            ));
            script.push_str(&block.text);
            script.push('\n');
        }
        let commands = self.shell(&script);
        let here = nodes::play(&self.cluster);
        let elsewhere = async {
            match self.other.get() {
                Some(other) => nodes::play(other).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            done = commands => done.with_context(|| format!("the commands of {page}")),
            ended = here => ended.context("playing nodes"),
            ended = elsewhere => ended.context("playing nodes of the other cluster"),
        }
    }

    async fn shell(&self, script: &str) -> Result<()> {
        let folder = self.folder.path();
        let mut path = folder.join("programs").into_os_string();
        path.push(":");
        path.push(std::env::var_os("PATH").unwrap_or_default());
        let socket = self.pg.socket_dir().display();
        let superuser = format!("host={socket} port={} user=postgres dbname=postgres", self.pg.port());
        let output = Command::new("sh")
            .args(["-c", script])
            .current_dir(folder)
            .env_clear()
            .envs(environment(folder))
            .env("PATH", path)
            .env("SERVER", self.pg.address())
            .env("SUPERUSER", superuser)
            .stdin(std::process::Stdio::null())
            .kill_on_drop(true)
            .output();
        let output = tokio::time::timeout(TIMEOUT, output).await.context("the commands do not end")??;
        let said =
            [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
        ensure!(output.status.success(), "{said}");
        Ok(())
    }

    /// Managed users who may log in.
    pub(super) async fn logins(&self) -> Result<Vec<String>> {
        let client = self.pg.superuser("postgres").await?;
        let question = "select u.rolname from pg_roles u join pg_auth_members m on m.member = u.oid
             join pg_roles r on r.oid = m.roleid where r.rolname = 'teleport-auto-user' and u.rolcanlogin
             and u.rolname <> 'teleport-admin'";
        let found = rows(&client, question).await?;
        Ok(found.iter().map(|row| format!("{row:?}")).collect())
    }
}
