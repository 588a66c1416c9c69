//! The process: probes, metrics, an orderly end.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rolecall_api::DatabaseSession;
use rolecall_testbed::rows;
use rolecall_tests::TestEnv;
use rolecall_tests::operator::get;
use rustix::process::Signal;
use serde_json::json;

#[tokio::test]
async fn it_serves_probes_and_metrics() -> Result<()> {
    let env = TestEnv::start().await?;
    env.session("alice-orders", json!({})).await?;
    env.active("alice-orders").await?;
    let operator = env.operator.as_ref().context("an operator")?;
    for path in ["/livez", "/readyz"] {
        let answer = operator.get(path).await?;
        assert!(answer.starts_with("HTTP/1.1 200"), "{path}: {answer}");
    }
    assert!(operator.get("/nothing").await?.starts_with("HTTP/1.1 404"));
    // Counted when the status is written, which may be after somebody has seen it.
    let change = "rolecall_session_transitions_total{phase=\"Active\"} 1";
    let counted = async || Ok(operator.get("/metrics").await?.lines().any(|found| found == change));
    env.eventually(change, counted).await?;
    let metrics = operator.get("/metrics").await?;
    assert!(
        metrics.contains("content-type: text/plain; version=0.0.4") && !metrics.contains("# EOF"),
        "{metrics}"
    );
    let open = operator.get_as("/metrics", "application/openmetrics-text; version=1.0.0").await?;
    assert!(
        open.contains("content-type: application/openmetrics-text") && open.ends_with("# EOF\n"),
        "{open}"
    );
    let server = format!("database_admin=\"{}/orders\"", env.namespace);
    for line in [
        "rolecall_sessions{phase=\"Active\"} 1".to_owned(),
        format!("rolecall_server_reachable{{{server}}} 1"),
        format!("rolecall_crowded_access_lists{{{server}}} 0"),
        "rolecall_reconcile_panics_total 0".to_owned(),
        format!("rolecall_build_info{{version=\"{}\"}} 1", env!("CARGO_PKG_VERSION")),
        "rolecall_leader 1".to_owned(),
        "# TYPE rolecall_reconcile_total counter".to_owned(),
        "# TYPE process_cpu_seconds_total counter".to_owned(),
        // Before they count anything.
        "rolecall_reconcile_total{kind=\"rule\",result=\"error\"} 0".to_owned(),
        "rolecall_session_transitions_total{phase=\"Rejected\"} 0".to_owned(),
        "rolecall_watch_errors_total{kind=\"DatabaseUser\"} 0".to_owned(),
    ] {
        assert!(metrics.lines().any(|found| found == line), "no line {line} in\n{metrics}");
    }
    let number = |name: &str| {
        metrics.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<f64>().ok()).unwrap_or(0.0)
    };
    assert!(number("process_resident_memory_bytes ") > 1e6, "{metrics}");
    assert!(number("process_open_fds ") > 3.0 && number("process_start_time_seconds ") > 1.7e9, "{metrics}");
    let verified = format!("rolecall_server_verified_timestamp_seconds{{{server}}} ");
    let verified = metrics.lines().find_map(|line| line.strip_prefix(&verified)).context(verified.clone())?;
    assert!(verified.parse::<i64>()? > 1_700_000_000, "{verified}");
    assert!(!metrics.contains("alice"), "metrics contain no names");
    Ok(())
}

#[tokio::test]
async fn a_database_that_is_down_makes_it_neither_dead_nor_unready() -> Result<()> {
    let env = TestEnv::start().await?;
    env.session("alice-orders", json!({})).await?;
    env.active("alice-orders").await?;
    env.pg.stop().await;
    env.session("second", json!({})).await?;
    env.pending("second", "DatabaseUnreachable").await?;
    let operator = env.operator.as_ref().context("an operator")?;
    assert!(operator.get("/livez").await?.starts_with("HTTP/1.1 200"));
    assert!(operator.get("/readyz").await?.starts_with("HTTP/1.1 200"));
    let metrics = operator.get("/metrics").await?;
    assert!(
        metrics
            .contains(&format!("rolecall_server_reachable{{database_admin=\"{}/orders\"}} 0", env.namespace))
    );
    env.pg.start_again().await?;
    env.active("second").await?;
    Ok(())
}

#[tokio::test]
async fn sigterm_ends_it_in_order_and_leaves_accesses_as_they_are() -> Result<()> {
    let env = TestEnv::builder().without_operator().start().await?;
    let mut process = env.process(&["--log-format=json"]).await?;
    env.session("alice-orders", json!({})).await?;
    env.active("alice-orders").await?;
    let client = env.login("alice-orders").await?;
    let address = process.log().address().await?;
    assert!(get(address, "/readyz").await?.starts_with("HTTP/1.1 200"));

    let begun = Instant::now();
    process.signal(Signal::TERM)?;
    let status = process.ended().await?;
    assert!(status.success(), "{status}\n{}", process.log().text());
    assert!(begun.elapsed() < Duration::from_secs(9), "it took {:?}", begun.elapsed());
    rows(&client, "select 1").await.context("access stays")?;
    assert!(env.account().await?.is_some_and(|account| account.is_enabled_with(&["reader"])));
    let admins = "select count(*) from pg_stat_activity where usename = 'teleport-admin'";
    assert_eq!(env.pg.value("postgres", admins).await?.as_deref(), Some("0"), "its connections are closed");
    Ok(())
}

#[tokio::test]
async fn the_audit_log_is_written_though_nothing_else_is_logged() -> Result<()> {
    let env = TestEnv::builder().without_operator().start().await?;
    let flags = ["--log-format=json", "--log=warn,rolecall_operator::http=info"];
    let process = env.process(&flags).await?;
    env.session("alice-orders", json!({"reason": "INC-1234"})).await?;
    env.active("alice-orders").await?;
    env.delete_and_wait::<DatabaseSession>("alice-orders").await?;
    process.log().wait_for(r#""event":"ended""#).await?;
    let text = process.log().text();
    let lines = text.lines().map(serde_json::from_str::<serde_json::Value>).collect::<Result<Vec<_>, _>>()?;
    let line = |event: &str| lines.iter().find(|line| line["event"] == event).cloned();
    let active = line("active").with_context(|| text.clone())?;
    assert_eq!(active["dbRoles"], json!(["reader"]));
    assert_eq!(active["roles"], json!(["reader"]));
    assert_eq!(active["proven"], true);
    for (field, wanted) in [
        ("session", "alice-orders"),
        ("namespace", env.namespace.as_str()),
        ("user", "alice"),
        ("database", "orders"),
        ("databaseName", "app"),
        ("username", "alice@example.com"),
        ("reason", "Active"),
        ("why", "INC-1234"),
    ] {
        assert_eq!(active[field], wanted, "{field}: {active}");
    }
    assert_eq!(line("ended").with_context(|| text.clone())?["reason"], "Deleted");
    assert!(!text.contains("rolecall_operator: ready"), "{text}");
    Ok(())
}

#[tokio::test]
async fn sigterm_ends_it_while_a_database_does_not_answer() -> Result<()> {
    let env = TestEnv::builder().without_operator().start().await?;
    let mut process = env.process(&[]).await?;
    env.session("alice-orders", json!({})).await?;
    env.active("alice-orders").await?;
    env.pg.pause().await;
    env.delete::<DatabaseSession>("alice-orders").await?;
    tokio::time::sleep(Duration::from_millis(300)).await;
    let begun = Instant::now();
    process.signal(Signal::TERM)?;
    let ended = process.ended().await;
    env.pg.unpause().await;
    assert!(ended?.success(), "{}", process.log().text());
    // The default grace of a Pod is half a minute; then it would be killed.
    assert!(begun.elapsed() < Duration::from_secs(25), "it took {:?}", begun.elapsed());
    Ok(())
}

#[tokio::test]
async fn a_port_that_is_taken_ends_it_with_a_message() -> Result<()> {
    let env = TestEnv::start().await?;
    let taken = env.operator.as_ref().context("an operator")?.log().address().await?;
    let second = env.another_operator(&[&format!("--listen={taken}")]).await?;
    let error = second.ended().await.err().context("it cannot run")?;
    assert!(format!("{error:#}").contains(&taken.to_string()), "{error:#}");
    Ok(())
}
