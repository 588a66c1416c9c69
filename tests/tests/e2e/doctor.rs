//! `kubectl rolecall doctor`: what is broken shows, with what mends it; what it may not see, it says.

use anyhow::{Context, Result, ensure};
use rolecall_api::{DatabaseAdmin, DatabaseSession};
use rolecall_aws_testbed::redshift::Admin;
use rolecall_testbed::{Identity, MongoAdmin, PgBouncer, PgVersion, PoolMode, Postgres};
use rolecall_tests::base_env::BaseEnv;
use rolecall_tests::objects::is_ready;
use rolecall_tests::process::kubectl_rolecall;
use rolecall_tests::redshift::RedshiftEnv;
use rolecall_tests::test_env::ADMIN_USER;
use rolecall_tests::{MongoTestEnv, TestEnv};
use serde_json::{Value, json};

use crate::checks::{admin_ready, secret, trigger_reconcile};

const HEALTHY: i32 = 0;
const BROKEN: i32 = 2;
const INCOMPLETE: i32 = 3;

/// Somebody who may read everything in the cluster.
fn engineer() -> Identity {
    Identity::user("engineer", &["system:masters"])
}

/// What doctor prints, and its exit status.
async fn doctor(env: &BaseEnv, who: &Identity, args: &[&str]) -> Result<(i32, String)> {
    let output = kubectl_rolecall(who, &[&["doctor", "orders", "-n", &env.namespace], args].concat()).await?;
    let status = output.status.code().context("it was killed")?;
    ensure!(status != 1, "{}", String::from_utf8_lossy(&output.stderr));
    Ok((status, String::from_utf8(output.stdout)?))
}

/// Its checks as `area status message`.
async fn lines(env: &BaseEnv, who: &Identity, args: &[&str]) -> Result<(i32, Vec<String>)> {
    let (status, text) = doctor(env, who, &[args, &["-o", "json"]].concat()).await?;
    let answer: Value = serde_json::from_str(&text)?;
    assert_eq!((answer["kind"].as_str(), answer["database"].as_str()), (Some("Diagnosis"), Some("orders")));
    let text = |check: &Value, key: &str| check[key].as_str().unwrap_or_default().to_owned();
    let checks = answer["checks"].as_array().context("checks")?;
    let line = |check: &Value| {
        format!("{} {} {}", text(check, "area"), text(check, "status"), text(check, "message"))
    };
    Ok((status, checks.iter().map(line).collect()))
}

/// That one of the lines starts and goes on like this.
#[track_caller]
fn has(lines: &[String], start: &str, part: &str) {
    let found = lines.iter().any(|line| line.starts_with(start) && line.contains(part));
    assert!(found, "no {start:?} with {part:?} in\n{}", lines.join("\n"));
}

/// Waits until doctor finds nothing wrong any more: the operator has to look again.
async fn healthy(env: &BaseEnv) -> Result<()> {
    env.eventually("doctor finds nothing wrong", async || {
        Ok(doctor(env, &engineer(), &[]).await?.0 == HEALTHY)
    })
    .await
}

#[tokio::test]
async fn a_healthy_server_is_shown_from_its_address_to_each_right() -> Result<()> {
    let env = TestEnv::start().await?;
    admin_ready(&env).await?;
    let (status, lines) = lines(&env, &engineer(), &[]).await?;
    let all = lines.join("\n");
    assert_eq!(status, HEALTHY, "{all}");
    for (start, part) in [
        ("cluster ok", "Ready"),
        ("address ok", "answers from here"),
        ("tls ok", "by a certificate that is trusted"),
        ("tls ok certificate 1 of 1", "issued by"),
        ("login ok", "logs in; the server has version 17."),
        ("pooler ok", ""),
        ("rights ok", "may create users"),
        ("rights ok", "may grant the role \"reader\""),
        ("rights ok", "may grant the role \"teleport-auto-user\""),
        ("rights warning", "everybody may connect to the logical database \"app2\""),
        ("clock ok", "agree"),
        ("eventTriggers ok", ""),
        ("hba note", "hostssl all +\"teleport-auto-user\" all cert"),
    ] {
        has(&lines, start, part);
    }
    let (status, table) = doctor(&env, &engineer(), &[]).await?;
    assert!(status == HEALTHY && table.contains("orders is healthy, "), "{table}");
    let (status, script) = doctor(&env, &engineer(), &["--fix-sql"]).await?;
    assert!(status == HEALTHY && script.contains("-- No statement is needed."), "{script}");
    assert!(script.lines().all(|line| line.is_empty() || line.starts_with("--")), "{script}");
    Ok(())
}

#[tokio::test]
async fn each_missing_right_has_its_line_and_the_script_gives_them_all() -> Result<()> {
    for version in [PgVersion::V15, PgVersion::V17, PgVersion::V19] {
        let env = TestEnv::builder().version(version).flag("--resync-interval=1s").start().await?;
        admin_ready(&env).await?;
        env.role("reader", json!({"allow": {"dbRoles": ["reader", "absent"]}})).await?;
        let marker_and_role = match version {
            // Who makes a role there gets no ADMIN OPTION on it: CREATEROLE is enough to grant any.
            PgVersion::V15 => format!("revoke admin option for reader from \"{ADMIN_USER}\""),
            _ => format!(
                "revoke admin option for reader, \"teleport-auto-user\" from \"{ADMIN_USER}\" cascade"
            ),
        };
        let breaking = format!(
            "{marker_and_role};
             alter role \"{ADMIN_USER}\" nocreaterole; revoke connect on database app from public"
        );
        env.pg.sql("postgres", &breaking).await?;
        env.session("alice-orders", json!({})).await?;

        let (status, found) = lines(&env, &engineer(), &[]).await?;
        assert_eq!(status, BROKEN, "{version}: {found:#?}");
        has(&found, "rights failed", "run ALTER ROLE \"teleport-admin\" CREATEROLE");
        has(&found, "rights failed", "GRANT CONNECT ON DATABASE \"app\" TO \"teleport-admin\"");
        has(&found, "rights failed", "gives the role \"absent\", which does not exist");
        for role in ["reader", "teleport-auto-user"] {
            has(
                &found,
                "rights failed",
                &format!("run GRANT \"{role}\" TO \"teleport-admin\" WITH ADMIN OPTION"),
            );
        }
        let (status, script) = doctor(&env, &engineer(), &["--fix-sql"]).await?;
        assert_eq!(status, BROKEN);
        env.pg.sql("postgres", &script).await.with_context(|| script.clone())?;
        healthy(&env).await.with_context(|| format!("{version}: {script}"))?;
    }
    Ok(())
}

#[tokio::test]
async fn without_the_right_to_read_secrets_it_shows_the_rest_and_says_what_it_could_not_see() -> Result<()> {
    let env = TestEnv::start().await?;
    admin_ready(&env).await?;
    let group = format!("people-of-{}", env.namespace);
    let rights = "
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: rolecall-people}
rules:
- {apiGroups: [rolecall.dev], resources: [databaseadmins, databasesessions], verbs: [get, list]}";
    env.apply_yaml(rights).await?;
    env.apply(json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": {"name": "rolecall-people"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "rolecall-people"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": group}],
    }))
    .await?;
    let person = Identity::user("somebody", &[&group]);
    let (status, before) = lines(&env, &person, &[]).await?;
    assert_eq!(status, INCOMPLETE, "{before:#?}");
    has(&before, "cluster ok", "Ready");
    has(&before, "tls unknown", "you may not read the Secret \"orders-ca\"");
    has(&before, "tls ok certificate 1 of 1", "issued by");
    has(&before, "login unknown", "\"orders-admin-cert\" (spec.auth.x509.secretRef)");
    has(&before, "clock ok", "API server");

    // A session shows the CAs to everybody who may read it.
    env.session("alice-orders", json!({})).await?;
    env.active("alice-orders").await?;
    let (status, with) = lines(&env, &person, &[]).await?;
    assert_eq!(status, INCOMPLETE);
    has(&with, "tls ok", "by a certificate that is trusted");

    env.delete_and_wait::<DatabaseSession>("alice-orders").await?;
    let (_, script) = doctor(&env, &person, &["--fix-sql"]).await?;
    assert!(script.contains("-- This could not be looked at:"), "{script}");
    Ok(())
}

#[tokio::test]
async fn a_server_that_does_not_answer_or_proves_to_be_another_is_told_from_here_as_well() -> Result<()> {
    let env = TestEnv::start().await?;
    admin_ready(&env).await?;
    let wrong = json!({"ca.crt": env.pg.client_authority().cert_pem()});
    secret(&env, "wrong-ca", wrong).await?;
    for (change, back, start, part) in [
        (
            json!({"uri": "localhost:1"}),
            json!({"uri": env.pg.address()}),
            "address failed",
            "does not answer from here",
        ),
        (
            json!({"uri": "orders-db.invalid:5432"}),
            json!({"uri": env.pg.address()}),
            "address failed",
            "cannot be resolved from here",
        ),
        (
            json!({"tls": {"caSecretRef": {"name": "wrong-ca"}}}),
            json!({"tls": {"caSecretRef": {"name": "orders-ca"}}}),
            "tls failed",
            "correct the CA",
        ),
        (
            json!({"tls": {"serverName": "orders-db.shop.svc"}}),
            json!({"tls": {"serverName": null}}),
            "tls failed",
            "set tls.serverName",
        ),
        (
            json!({"auth": {"x509": {"secretRef": {"name": "nothing"}}}}),
            json!({"auth": {"x509": {"secretRef": {"name": "orders-admin-cert"}}}}),
            "login failed",
            "there is no Secret \"nothing\"",
        ),
    ] {
        env.admin(json!({"spec": change})).await?;
        env.until("orders", "not Ready", |admin: &DatabaseAdmin| !is_ready(admin)).await?;
        let (status, found) = lines(&env, &engineer(), &[]).await?;
        assert_eq!(status, BROKEN, "{change}: {found:#?}");
        has(&found, "cluster failed Ready", "");
        has(&found, start, part);
        env.admin(json!({"spec": back})).await?;
        admin_ready(&env).await?;
    }
    // From elsewhere, by the name that the certificate carries.
    env.admin(json!({"spec": {"suspend": true}})).await?;
    let (status, found) = lines(&env, &engineer(), &["--address", "127.0.0.1:1"]).await?;
    assert_eq!(status, INCOMPLETE, "the operator reached it: {found:#?}");
    has(&found, "address unknown", "name it with --address");
    has(&found, "cluster warning", "spec.suspend is true");
    let (status, found) =
        lines(&env, &engineer(), &["--address", &format!("127.0.0.1:{}", env.pg.port())]).await?;
    assert_eq!(status, HEALTHY, "{found:#?}");
    has(&found, "tls ok", "proves to be \"localhost\"");
    Ok(())
}

#[tokio::test]
async fn logins_that_are_refused_poolers_and_event_triggers_are_told() -> Result<()> {
    let hba = format!("{}{}", PgBouncer::server_hba(), Postgres::default_hba());
    let env = TestEnv::builder().hba(&hba).start().await?;
    admin_ready(&env).await?;
    let trigger = "create function public.on_ddl() returns event_trigger language plpgsql as 'begin end';
         create event trigger watch on ddl_command_end execute function public.on_ddl()";
    env.pg.sql("app", trigger).await?;
    let open = format!(
        "grant select on pg_hba_file_rules to \"{ADMIN_USER}\";
         grant execute on function pg_hba_file_rules() to \"{ADMIN_USER}\""
    );
    env.pg.sql("postgres", &open).await?;
    env.session("alice-orders", json!({})).await?;
    env.active("alice-orders").await?;
    let (status, found) = lines(&env, &engineer(), &[]).await?;
    assert_eq!(status, HEALTHY, "{found:#?}");
    has(&found, "eventTriggers warning", "\"watch\" of the logical database \"app\" (on ddl_command_end");
    has(&found, "hba ok", "of pg_hba.conf lets users of sessions in (cert)");

    let ignoring = "ignore_startup_parameters = options, extra_float_digits";
    let pooler = PgBouncer::start(&env.pg, PoolMode::Transaction, &[ADMIN_USER], ignoring).await?;
    let (status, found) =
        lines(&env, &engineer(), &["--address", &format!("127.0.0.1:{}", pooler.port())]).await?;
    assert_eq!(status, BROKEN, "{found:#?}");
    has(&found, "pooler failed", "let uri name the server itself");

    env.pg.set_hba("hostssl all all all reject\n").await?;
    let (status, found) = lines(&env, &engineer(), &[]).await?;
    assert_eq!(status, INCOMPLETE, "the operator says that it logs in: {found:#?}");
    has(&found, "login unknown", "pg_hba.conf");
    has(&found, "tls ok", "by a certificate that is trusted");
    let all =
        format!("select pg_terminate_backend(pid) from pg_stat_activity where usename = '{ADMIN_USER}'");
    env.pg.sql("postgres", &all).await?;
    trigger_reconcile(&env).await?;
    env.until("orders", "not Ready", |admin: &DatabaseAdmin| !is_ready(admin)).await?;
    let (status, found) = lines(&env, &engineer(), &[]).await?;
    assert_eq!(status, BROKEN, "{found:#?}");
    has(&found, "login failed", "pg_hba.conf");
    env.pg.set_hba(&hba).await?;
    Ok(())
}

#[tokio::test]
async fn on_mongodb_each_missing_privilege_has_its_command() -> Result<()> {
    let lacking = MongoAdmin::nothing().database("$external", &["viewUser", "createUser", "updateUser"]);
    let env = MongoTestEnv::builder().privileges(lacking).flag("--resync-interval=1s").start().await?;
    env.until("orders", "seen", |admin: &DatabaseAdmin| admin.status.is_some()).await?;
    let (status, found) = lines(&env, &engineer(), &[]).await?;
    assert_eq!(status, BROKEN, "{found:#?}");
    has(&found, "tls ok", "by a certificate that is trusted");
    has(&found, "login ok", "the server has version 6.0.");
    has(&found, "rights failed", "dropUser");
    let (_, script) = doctor(&env, &engineer(), &["--fix-sql"]).await?;
    for line in script.lines().filter(|line| !line.is_empty() && !line.starts_with("//")) {
        let call = line.strip_prefix("db.getSiblingDB(").and_then(|line| line.strip_suffix(");"));
        let (database, command) =
            call.and_then(|call| call.split_once(").runCommand(")).context(line.to_owned())?;
        let command: mongodb::bson::Document = serde_json::from_str(command)?;
        env.root.database(&serde_json::from_str::<String>(database)?).run_command(command).await?;
    }
    healthy(&env).await.context(script)
}

#[tokio::test]
async fn on_redshift_what_the_admin_user_does_not_see_has_its_statement() -> Result<()> {
    let env =
        RedshiftEnv::prepare(Admin::SystemRole, json!({"password": {}}), &["--resync-interval=1s"]).await?;
    let mut env = env;
    env.make_objects().await?;
    env.start_operator().await?;
    env.until("orders", "seen", |admin: &DatabaseAdmin| admin.status.is_some()).await?;
    let (status, found) = lines(&env, &engineer(), &[]).await?;
    assert_eq!(status, BROKEN, "{found:#?}");
    has(&found, "rights failed", "SYSLOG ACCESS UNRESTRICTED");
    has(&found, "rights ok", "may create users");
    has(&found, "tls ok", "by a certificate that is trusted");
    let (_, script) = doctor(&env, &engineer(), &["--fix-sql"]).await?;
    let statements: Vec<&str> =
        script.lines().filter(|line| !line.is_empty() && !line.starts_with("--")).collect();
    assert_eq!(statements, [format!("ALTER USER \"{ADMIN_USER}\" SYSLOG ACCESS UNRESTRICTED;")], "{script}");
    env.cluster.sql("dev", statements[0]).await?;
    let (_, found) = lines(&env, &engineer(), &[]).await?;
    // Whether that is enough is not known of Redshift: where it is not, a superuser is asked for, with a gap to fill in.
    has(&found, "rights failed", "CREATEUSER");
    let (_, script) = doctor(&env, &engineer(), &["--fix-sql"]).await?;
    assert!(script.lines().all(|line| line.is_empty() || line.starts_with("--")), "{script}");
    Ok(())
}
