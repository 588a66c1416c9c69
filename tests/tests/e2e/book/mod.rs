//! The book is true: every block of commands in it runs, on a real API server with a real PostgreSQL, and every example
//! of a kind works. A block that cannot run here says why, in a comment before it: `<!-- not run: ... -->`.

mod examples;
mod nodes;
mod pages;
mod stage;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use pages::{Block, Where, blocks};
use rolecall_api::{DatabaseAdmin, DatabaseSession, SessionPhase};
use rolecall_testbed::rows;
use rolecall_tests::TestEnv;
use rolecall_tests::objects::reason_of;
use rolecall_tests::test_env::ALICE;
use serde_json::json;
use stage::Stage;

fn docs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs")
}

/// The pages of the book, by their paths in `docs`.
fn all_pages() -> Result<Vec<String>> {
    let summary = fs::read_to_string(docs().join("SUMMARY.md"))?;
    let links = summary.split("](").skip(1).filter_map(|rest| Some(rest.split_once(')')?.0.to_owned()));
    Ok(links.collect())
}

fn commands_of(page: &str) -> Result<Vec<Block>> {
    let text = fs::read_to_string(docs().join(page)).with_context(|| page.to_owned())?;
    Ok(blocks(&text).into_iter().filter(|block| block.language == "sh").collect())
}

/// The pages that a newcomer follows, in this order, from an empty cluster to one that is empty again.
const NEWCOMER: [&str; 3] = ["install.md", "first-session.md", "upgrade.md"];

/// The pages whose commands are for a cluster in use, with what they find there.
const IN_USE: [(&str, &str); 5] = [
    ("kinds/database-session.md", ""),
    ("clients.md", ""),
    ("teleport.md", TELEPORT),
    ("gitops.md", "kubectl create namespace argocd\nkubectl create configmap argocd-cm --namespace argocd"),
    ("runbook.md", ""),
];

/// What somebody would get from tctl.
const TELEPORT: &str = r#"cat > teleport.yaml <<EOF
kind: db
version: v3
metadata:
  name: orders
  labels: {env: prod}
spec:
  protocol: postgres
  uri: orders-db.shop.svc:5432
  admin_user: {name: teleport-admin}
---
kind: role
version: v7
metadata: {name: reader}
spec:
  options: {create_db_user_mode: keep}
  allow:
    db_labels: {env: prod}
    db_names: [horizon]
    db_roles: [reader]
---
kind: user
version: v2
metadata: {name: alice}
spec:
  roles: [reader]
EOF"#;

#[test]
fn every_block_of_commands_belongs_to_a_page_that_is_run() -> Result<()> {
    let mut run = 0;
    for page in all_pages()? {
        let blocks = commands_of(&page)?;
        let known = NEWCOMER.contains(&page.as_str()) || IN_USE.iter().any(|(other, _)| *other == page);
        let runs = blocks.iter().any(|block| !matches!(block.place, Where::Nowhere(_)));
        ensure!(known || !runs, "{page} has commands that no test runs");
        for block in &blocks {
            match &block.place {
                Where::Nowhere(reason) => {
                    ensure!(reason.len() > 10, "{page}: why is this not run?\n{}", block.text)
                }
                Where::Here | Where::Elsewhere => run += 1,
            }
        }
    }
    ensure!(run >= 20, "{run}");
    Ok(())
}

#[tokio::test]
async fn a_newcomer_gets_to_a_session_and_out_again_by_what_the_book_says() -> Result<()> {
    let stage = Stage::empty().await?;
    let started = std::time::Instant::now();
    for page in NEWCOMER {
        stage.run(page, "", &commands_of(page)?).await?;
        if page == "first-session.md" {
            println!("from helm to the end of the first session: {:.0} s", started.elapsed().as_secs_f64());
        }
    }
    let crds = stage.cluster.kubectl(&["get", "crd", "--output", "name"]).await?;
    ensure!(crds.trim().is_empty(), "the last commands delete the kinds: {crds}");
    let open = stage.logins().await?;
    ensure!(open.is_empty(), "{open:?} may still log in");
    Ok(())
}

#[tokio::test]
async fn the_commands_for_a_cluster_in_use_do_what_they_say() -> Result<()> {
    let stage = Stage::in_use().await?;
    for (page, before) in IN_USE {
        stage.run(page, before, &commands_of(page)?).await?;
    }
    Ok(())
}

/// The statements that the runbook has people run close a login whose end waits, and the operator finds it so.
#[tokio::test]
async fn the_statements_of_the_runbook_close_a_login() -> Result<()> {
    let env = TestEnv::start().await?;
    env.session("alice-orders", json!({})).await?;
    env.active("alice-orders").await?;
    let client = env.login("alice-orders").await?;
    env.patch::<DatabaseAdmin>("orders", json!({"spec": {"suspend": true}})).await?;
    env.until("orders", "suspended", |admin: &DatabaseAdmin| reason_of(admin) == "DatabaseSuspended").await?;
    env.delete::<DatabaseSession>("alice-orders").await?;
    env.phase("alice-orders", SessionPhase::Ending, "DatabaseSuspended").await?;

    let text = fs::read_to_string(docs().join("runbook.md"))?;
    let Some(sql) = blocks(&text).into_iter().find(|block| block.language == "sql") else {
        bail!("the runbook has no statements")
    };
    env.pg.sql("postgres", &sql.text.replace("alice@example.com", ALICE)).await?;
    ensure!(rows(&client, "select 1").await.is_err(), "the connection is open");
    ensure!(env.account().await?.is_some_and(|account| !account.login), "the login is open");

    env.patch::<DatabaseAdmin>("orders", json!({"spec": {"suspend": false}})).await?;
    env.gone::<DatabaseSession>("alice-orders").await?;
    Ok(())
}
