//! Third-party clients log in by a session's Secret, mounted as the kubelet does, and check who answers.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::Secret;
use rolecall_api::DatabaseSession;
use rolecall_testbed::Identity;
use rolecall_testbed::components::clients::{self, Client};
use rolecall_tests::base_env::BaseEnv;
use rolecall_tests::process::kubectl_rolecall_command;
use rolecall_tests::test_env::ALICE;
use rolecall_tests::{Credentials, MongoTestEnv, TestEnv};
use serde_json::json;
use tempfile::TempDir;

/// How long a client may take: a virtual machine starts, and everything else runs beside it.
const TIMEOUT: Duration = Duration::from_secs(120);

#[tokio::test]
async fn libpq_logs_in_by_the_uri_and_three_variables() -> Result<()> {
    by_certificate(clients::libpq).await
}

#[tokio::test]
async fn node_postgres_logs_in_by_the_uri_with_the_files() -> Result<()> {
    by_certificate(clients::node).await
}

#[tokio::test]
async fn pgx_logs_in_by_the_uri_and_three_variables() -> Result<()> {
    by_certificate(clients::go).await
}

#[tokio::test]
async fn pgjdbc_logs_in_by_what_readers_of_service_bindings_make_and_the_key_in_der() -> Result<()> {
    by_certificate(clients::jdbc).await
}

#[tokio::test]
async fn a_password_in_the_uri_is_enough_and_readers_of_service_bindings_verify_the_server() -> Result<()> {
    let env = TestEnv::builder().credentials(Credentials::Password).start().await?;
    for client in [clients::libpq, clients::node, clients::go, clients::jdbc] {
        logs_in(&env, prepare(client).await?, ALICE).await?;
    }
    Ok(())
}

#[tokio::test]
async fn pymongo_logs_in_by_the_uri_and_two_files() -> Result<()> {
    let env = MongoTestEnv::start().await?;
    let name = format!("CN={}", env.alice);
    logs_in(&env, prepare(clients::pymongo).await?, &name).await
}

#[tokio::test]
async fn connect_logs_in_for_users_who_may_not_read_secrets() -> Result<()> {
    let env = TestEnv::start().await?;
    assert_eq!(connect(&env, &["--database-name", "app"]).await?, format!("{ALICE}\n{ALICE}\n"));
    Ok(())
}

#[tokio::test]
async fn connect_logs_in_on_mongodb_for_users_who_may_not_read_secrets() -> Result<()> {
    let env = MongoTestEnv::builder().alice("alice").start().await?;
    assert_eq!(connect(&env, &["--user", "alice"]).await?, format!("CN={}\n", env.alice));
    Ok(())
}

#[tokio::test]
async fn connect_says_which_right_is_missing_and_how_to_ask_for_it() -> Result<()> {
    let env = TestEnv::start().await?;
    let refused = connect_with(&env, "", &["--database-name", "app"]).await.err().context("no right")?;
    let question =
        format!("kubectl auth can-i connect databaseusers.rolecall.dev/alice -n {}", env.namespace);
    let text = refused.to_string();
    ensure!(text.contains("error: creating the session: ") && text.contains(&question), "{text}");
    Ok(())
}

/// What the client program of `connect` prints that somebody runs with the rights of the README. It leaves nothing
/// behind.
async fn connect(env: &BaseEnv, more: &[&str]) -> Result<String> {
    let verbs = "
- {apiGroups: [rolecall.dev], resources: [databaseusers], resourceNames: [alice], verbs: [connect]}
- {apiGroups: [rolecall.dev], resources: [databaseadmins], resourceNames: [orders], verbs: [connect]}";
    connect_with(env, verbs, more).await
}

/// As [`connect`], with these rules beside those about the kinds.
async fn connect_with(env: &BaseEnv, rules: &str, more: &[&str]) -> Result<String> {
    let group = format!("people-of-{}", env.namespace);
    let rights = "
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: rolecall-people}
rules:
- {apiGroups: [rolecall.dev], resources: [databaseadmins, provisioningroles, databaseusers, dbobjectimportrules],
   verbs: [get, list]}
- {apiGroups: [rolecall.dev], resources: [databasesessions], verbs: [get, list, watch, create, delete]}";
    env.apply_yaml(&format!("{rights}{rules}")).await?;
    env.apply(json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": {"name": "rolecall-people"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "rolecall-people"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": group}],
    }))
    .await?;
    let folder = TempDir::new()?;
    let programs = folder.path().to_owned();
    tokio::task::spawn_blocking(move || clients::shells(&programs)).await??;
    let mut command = kubectl_rolecall_command(&Identity::user(ALICE, &[&group])).await?;
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("PG") {
            command.env_remove(name);
        }
    }
    let mut path = folder.path().as_os_str().to_owned();
    path.push(":");
    path.push(std::env::var_os("PATH").unwrap_or_default());
    command.env_remove("ROLECALL_USER").env("PATH", path).env("TMPDIR", folder.path());
    command.args(["connect", "orders", "-n", &env.namespace]).args(more);
    let output = tokio::time::timeout(TIMEOUT, command.output()).await??;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let left = std::fs::read_dir(folder.path())?.count();
    ensure!(left == 2, "something lies beside the two programs");
    for session in env.list::<DatabaseSession>().await? {
        env.gone::<DatabaseSession>(session.metadata.name.as_deref().unwrap_or_default()).await?;
    }
    Ok(String::from_utf8(output.stdout)?)
}

async fn by_certificate(client: fn() -> rolecall_testbed::Result<Client>) -> Result<()> {
    let env = TestEnv::start().await?;
    logs_in(&env, prepare(client).await?, ALICE).await
}

/// Fetches or builds a client, which blocks, unless it is there.
async fn prepare(client: fn() -> rolecall_testbed::Result<Client>) -> Result<Client> {
    Ok(tokio::task::spawn_blocking(client).await??)
}

/// The client logs in as the session's user, and does not where another authority signed the server's certificate.
async fn logs_in(env: &BaseEnv, client: Client, name: &str) -> Result<()> {
    env.session("alice-app", json!({"ttl": "10m"})).await?;
    env.active("alice-app").await?;
    let folder = mount(env, "alice-app").await?;
    let answer = run(&client, folder.path()).await?;
    ensure!(answer == Ok(name.to_owned()), "{client:?}: {answer:?}");

    let another = env.secret("orders-client-ca").await?["tls.crt"].clone();
    write(&folder.path().join("ca.crt"), another.as_bytes())?;
    let refused = run(&client, folder.path()).await?;
    let answer = refused.err().context("the server's certificate is not checked")?;
    ensure!(answer.to_lowercase().contains("certificate") || answer.contains("PKIX"), "{client:?}: {answer}");
    env.delete_and_wait::<DatabaseSession>("alice-app").await
}

/// What the client printed, or what it said it failed by.
async fn run(client: &Client, folder: &Path) -> Result<std::result::Result<String, String>> {
    let mut command = tokio::process::Command::from(client.command(folder));
    let output = tokio::time::timeout(TIMEOUT, command.kill_on_drop(true).output()).await??;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    Ok(if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) })
}

/// The Secret as files that no other user can read, in the layout of the kubelet.
async fn mount(env: &BaseEnv, name: &str) -> Result<TempDir> {
    let secret: Secret = env.get(name).await?;
    let folder = TempDir::new()?;
    let data = folder.path().join("..2024_01_01");
    std::fs::create_dir(&data)?;
    std::os::unix::fs::symlink("..2024_01_01", folder.path().join("..data"))?;
    for (key, value) in secret.data.context("data")? {
        write(&data.join(&key), &value.0)?;
        std::os::unix::fs::symlink(Path::new("..data").join(&key), folder.path().join(&key))?;
    }
    Ok(folder)
}

fn write(path: &Path, content: &[u8]) -> Result<()> {
    // Through the link, as `path` may be one.
    let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let _ = std::fs::remove_file(&path);
    std::fs::write(&path, content)?;
    Ok(std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o400))?)
}
