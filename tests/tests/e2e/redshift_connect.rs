//! `kubectl rolecall connect` on Redshift, by its simulator: psql itself, with a password and with credentials that AWS
//! lends.

use std::process::Output;

use anyhow::{Context, Result, ensure};
use rolecall_api::DatabaseSession;
use rolecall_aws_testbed::redshift::Admin;
use rolecall_testbed::Identity;
use rolecall_testbed::components::clients;
use rolecall_tests::base_env::BaseEnv;
use rolecall_tests::process::kubectl_rolecall_command;
use rolecall_tests::redshift::{CLUSTER, DATABASE, KEYS, RedshiftEnv};
use rolecall_tests::test_env::ALICE;

/// `connect` by whoever has every right in the cluster.
async fn connect(env: &BaseEnv, args: &[&str], variables: &[(&str, String)]) -> Result<Output> {
    let folder = tempfile::tempdir()?;
    let programs = folder.path().to_owned();
    tokio::task::spawn_blocking(move || clients::psql(&programs)).await??;
    let mut path = folder.path().as_os_str().to_owned();
    path.push(":");
    path.push(std::env::var_os("PATH").unwrap_or_default());
    let mut command = kubectl_rolecall_command(&Identity::user("somebody", &["system:masters"])).await?;
    command.env("PATH", path).env("HOME", folder.path());
    command.envs(variables.iter().map(|(name, value)| (name, value)));
    command.args(["connect", "orders", "--user", "alice", "--db-name", DATABASE, "-n", &env.namespace]);
    let output = command.args(args).output().await.context("starting kubectl-rolecall")?;
    for session in env.list::<DatabaseSession>().await? {
        env.gone::<DatabaseSession>(session.metadata.name.as_deref().unwrap_or_default()).await?;
    }
    Ok(output)
}

const WHO: [&str; 6] = ["--", "-X", "-A", "-t", "-c", "SELECT current_user"];

#[tokio::test]
async fn psql_logs_in_by_the_sessions_password() -> Result<()> {
    let env = RedshiftEnv::start(Admin::Superuser).await?;
    let output = connect(&env, &WHO, &[]).await?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(String::from_utf8_lossy(&output.stdout), format!("{ALICE}\n"), "{stderr}");
    let account = env.known_account().await?;
    assert!(!account.login && account.sessions.is_empty(), "{account:?}");

    // Nothing but the server's own authorities is believed.
    let stranger = tempfile::NamedTempFile::new()?;
    std::fs::write(stranger.path(), rolecall_testbed::Authority::new("Another CA")?.cert_pem())?;
    let file = stranger.path().display().to_string();
    let output = connect(&env, &[&["--ca-file", &file][..], &WHO].concat(), &[]).await?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    ensure!(!output.status.success() && stderr.contains("certificate verify failed"), "{stderr}");
    Ok(())
}

#[tokio::test]
async fn psql_logs_in_by_credentials_that_aws_lends_to_whoever_runs_it() -> Result<()> {
    let (env, front, _process) = RedshiftEnv::start_with_iam().await?;
    let none = connect(&env, &WHO, &[]).await?;
    let stderr = String::from_utf8_lossy(&none.stderr);
    ensure!(!none.status.success() && stderr.contains("AWS credentials"), "{stderr}");

    let mut variables = front.environment();
    variables
        .extend([("AWS_ACCESS_KEY_ID", KEYS.0.to_owned()), ("AWS_SECRET_ACCESS_KEY", KEYS.1.to_owned())]);
    let output = connect(&env, &WHO, &variables).await?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(String::from_utf8_lossy(&output.stdout), format!("{ALICE}\n"), "{stderr}");
    let lent = front
        .calls()
        .into_iter()
        .rfind(|call| call.parameters.get("DbUser").is_some_and(|user| user == ALICE));
    let lent = lent.context("AWS was asked for her")?;
    assert_eq!(lent.parameters.get("ClusterIdentifier").map(String::as_str), Some(CLUSTER));
    // What is lent lives on for a while, and is of no use after the session.
    let account = env.known_account().await?;
    assert!(!account.login && account.sessions.is_empty(), "{account:?}");
    Ok(())
}
