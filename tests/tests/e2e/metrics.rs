//! Metrics are written as Prometheus wants them, and do not grow with users and sessions.

use std::collections::BTreeSet;
use std::io::Write;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use rolecall_testbed::components::charts;
use rolecall_tests::TestEnv;
use serde_json::json;

/// Every label that a metric may have: none of them names a person, an object of the database, or a session.
const LABELS: [&str; 9] =
    ["action", "changes", "database_admin", "kind", "le", "namespace", "phase", "result", "version"];

/// The body of `/metrics`.
async fn scrape(env: &TestEnv) -> Result<String> {
    let answer = env.operator.as_ref().context("an operator")?.get("/metrics").await?;
    let (_, body) = answer.split_once("\r\n\r\n").context("a body")?;
    Ok(body.to_owned())
}

/// Each series: its name and labels.
fn series(metrics: &str) -> BTreeSet<&str> {
    let samples = metrics.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    samples.filter_map(|line| Some(line.rsplit_once(' ')?.0)).collect()
}

#[tokio::test]
async fn metrics_pass_the_lint_of_prometheus() -> Result<()> {
    let env = TestEnv::start().await?;
    env.session("alice-orders", json!({})).await?;
    env.active("alice-orders").await?;
    let metrics = scrape(&env).await?;
    let promtool = tokio::task::spawn_blocking(charts::promtool).await??;
    let mut lint = Command::new(promtool)
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    lint.stdin.take().context("an input")?.write_all(metrics.as_bytes())?;
    let output = lint.wait_with_output()?;
    let said =
        [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
    ensure!(output.status.success() && said.is_empty(), "{said}\n{metrics}");
    Ok(())
}

#[tokio::test]
async fn the_number_of_series_does_not_grow_with_users_and_sessions() -> Result<()> {
    let env = TestEnv::start().await?;
    env.session("alice-orders", json!({})).await?;
    env.active("alice-orders").await?;
    let before = scrape(&env).await?;
    for index in 0..5 {
        let user = format!("user-{index}");
        env.user(&user, json!({})).await?;
        env.role(&format!("role-{index}"), json!({})).await?;
        env.session(&user, json!({"user": user})).await?;
        env.session(&format!("denied-{index}"), json!({"user": user, "dbRoles": ["none"]})).await?;
    }
    for index in 0..5 {
        env.active(&format!("user-{index}")).await?;
        env.pending(&format!("denied-{index}"), "AccessDenied").await?;
    }
    let after = scrape(&env).await?;
    let new: Vec<&str> = series(&after).difference(&series(&before)).copied().collect();
    ensure!(new.is_empty(), "{new:#?}");

    for line in series(&after) {
        let Some((_, labels)) = line.split_once('{') else { continue };
        // A name is what stands before an equals sign and a quote.
        for name in labels.split("=\"").filter_map(|part| part.rsplit([',', '"']).next()) {
            ensure!(name.ends_with('}') || LABELS.contains(&name), "label {name} in {line}");
        }
    }
    Ok(())
}
