//! What is stored and printed of an object, and who may change it.

use anyhow::{Context, Result};
use k8s_openapi::ByteString;
use kube::api::{Api, Patch, PatchParams};
use kube::{Client, ResourceExt};
use rolecall_api::conditions::{self, READY};
use rolecall_api::names::FIELD_MANAGER;
use rolecall_api::{
    Connection, DatabaseSession, DatabaseSessionStatus, EndReason, SecretRef, SessionPhase, Time, reasons,
};
use serde_json::{Value, json};

use crate::kinds;

const SAMPLES: [&str; 15] = [
    include_str!("../../../deploy/samples/database_admin.yaml"),
    include_str!("../../../deploy/samples/database_session.yaml"),
    include_str!("../../../deploy/samples/database_user.yaml"),
    include_str!("../../../deploy/samples/db_object_import_rule.yaml"),
    include_str!("../../../deploy/samples/provisioning_role.yaml"),
    include_str!("../../../deploy/samples/mongodb/database_admin.yaml"),
    include_str!("../../../deploy/samples/mongodb/database_session.yaml"),
    include_str!("../../../deploy/samples/mongodb/db_object_import_rule.yaml"),
    include_str!("../../../deploy/samples/mongodb/provisioning_role.yaml"),
    include_str!("../../../deploy/samples/mongodb/database_user.yaml"),
    include_str!("../../../deploy/samples/redshift/database_admin.yaml"),
    include_str!("../../../deploy/samples/redshift/database_session.yaml"),
    include_str!("../../../deploy/samples/redshift/database_user.yaml"),
    include_str!("../../../deploy/samples/redshift/db_object_import_rule.yaml"),
    include_str!("../../../deploy/samples/redshift/provisioning_role.yaml"),
];

#[tokio::test]
async fn a_new_object_is_pending_and_applying_it_again_changes_nothing() -> Result<()> {
    let client = client_in("samples").await?;
    for sample in SAMPLES {
        let mut sample: Value = serde_saphyr::from_str(sample)?;
        let kind = sample["kind"].as_str().context("a kind")?.to_owned();
        let name = sample["metadata"]["name"].as_str().context("a name")?.to_owned();
        sample["metadata"]["namespace"] = "samples".into();
        let api = kinds::api(&client, &kind, "samples")?;
        let apply = PatchParams::apply("gitops");
        let created = api.patch(&name, &apply, &Patch::Apply(&sample)).await?;
        let pending = json!({
            "type": READY,
            "status": conditions::UNKNOWN,
            "reason": reasons::PENDING,
            "message": "Waiting for the operator",
            "lastTransitionTime": "1970-01-01T00:00:00Z",
        });
        assert_eq!(api.get(&name).await?.data["status"]["conditions"], json!([pending]), "{kind}");

        // The first update of any kind stores the status that until then only reads fill in.
        let stored = api.patch(&name, &apply, &Patch::Apply(&sample)).await?;
        let again = api.patch(&name, &apply, &Patch::Apply(&sample)).await?;
        assert_eq!(again.resource_version(), stored.resource_version(), "{kind}");
        assert_eq!(again.metadata.generation, created.metadata.generation, "{kind}");
    }
    Ok(())
}

#[tokio::test]
async fn defaults_are_stored_in_the_object() -> Result<()> {
    let client = client_in("defaults").await?;
    for (kind, spec, stored) in [
        (
            "DatabaseAdmin",
            json!({"protocol": "postgres", "uri": "a:1", "tls": {}, "auth": {"awsIam": {}},
                   "userCredentials": {"x509": {"caSecretRef": {"name": "ca"}}}}),
            json!({"protocol": "postgres", "uri": "a:1", "tls": {"mode": "VerifyFull"}, "auth": {"awsIam": {}},
                   "userCredentials": {"x509": {"caSecretRef": {"name": "ca"}, "ttl": "1h"}},
                   "missingDbRoles": "Reject", "grantableDbRoles": ["*"], "orphans": "Disable",
                   "objectSync": "5m", "suspend": false, "deletion": "Revoke"}),
        ),
        ("DatabaseUser", json!({}), json!({"suspend": false})),
        (
            "DatabaseSession",
            json!({"user": "alice", "database": "orders"}),
            json!({"user": "alice", "database": "orders", "retainAfterEnd": "1h"}),
        ),
        ("ProvisioningRole", json!({"allow": {}}), json!({"allow": {}})),
        (
            "ProvisioningRole",
            json!({"options": {"approval": {}}}),
            json!({"options": {"approval": {"count": 1, "timeout": "24h"}}}),
        ),
        (
            "DbObjectImportRule",
            json!({"databaseLabels": {}, "mappings": [{}]}),
            json!({"databaseLabels": {}, "mappings": [{}], "priority": 0}),
        ),
    ] {
        let object = json!({
            "apiVersion": "rolecall.dev/v1alpha1", "kind": kind, "metadata": {"generateName": "a-"}, "spec": spec,
        });
        let api = kinds::api(&client, kind, "defaults")?;
        let mut created = api.create(&Default::default(), &serde_json::from_value(object)?).await?;
        // This one the API server may have written.
        if let Some(spec) = created.data["spec"].as_object_mut() {
            spec.remove("requestedBy");
        }
        assert_eq!(created.data["spec"], stored, "{kind}");
    }
    Ok(())
}

#[tokio::test]
async fn a_session_prints_what_it_is_doing() -> Result<()> {
    let cluster = crate::cluster().await?;
    let client = client_in("printing").await?;
    let sessions: Api<DatabaseSession> = Api::namespaced(client, "printing");
    let session: Value = serde_saphyr::from_str(SAMPLES[1])?;
    sessions.patch("alice-orders", &PatchParams::apply("alice"), &Patch::Apply(&session)).await?;
    let print = || cluster.kubectl(&["get", "dbs", "-n", "printing"]);
    let words = |text: String| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let printed = words(print().await?);
    assert_eq!(printed[..7], ["NAME", "USER", "DATABASE", "DBNAME", "PHASE", "EXPIRES", "REASON"]);
    assert_eq!(printed[9..14], ["alice", "orders", "horizon", "Pending", "Pending"], "{printed:?}");

    let time = |text: &str| text.parse().map(Time);
    let status = DatabaseSessionStatus {
        observed_generation: Some(1),
        phase: Some(SessionPhase::Active),
        conditions: vec![conditions::new(
            READY,
            true,
            reasons::ACTIVE,
            "Access is granted",
            Some(1),
            time("2126-01-01T10:00:00Z")?,
        )],
        username: Some("alice@example.com".to_owned()),
        db_roles: vec!["reader".to_owned()],
        permissions: [("SELECT".to_owned(), 12)].into(),
        started_at: Some(time("2126-01-01T10:00:00Z")?),
        expires_at: Some(time("2126-01-01T11:00:00Z")?),
        ended_at: Some(time("2126-01-01T11:00:01Z")?),
        end_reason: Some(EndReason::Expired),
        credentials_secret_ref: Some(SecretRef { name: "alice-orders".to_owned() }),
        certificate: Some(ByteString(b"-----BEGIN CERTIFICATE-----".to_vec())),
        connection: Some(Connection {
            host: "orders-db.shop.svc".to_owned(),
            port: 5432,
            database: Some("horizon".to_owned()),
            ca_bundle: Some(ByteString(b"-----BEGIN CERTIFICATE-----".to_vec())),
        }),
        binding: Some(SecretRef { name: "alice-orders".to_owned() }),
        ..DatabaseSessionStatus::default()
    };
    let patch = json!({"apiVersion": "rolecall.dev/v1alpha1", "kind": "DatabaseSession", "status": status});
    let params = PatchParams::apply(FIELD_MANAGER).force();
    let written = sessions.patch_status("alice-orders", &params, &Patch::Apply(&patch)).await?;
    assert_eq!(written.status, Some(status));
    let printed = words(print().await?);
    assert_eq!(
        printed[9..15],
        ["alice", "orders", "horizon", "Active", "2126-01-01T11:00:00Z", "Active"],
        "{printed:?}"
    );
    Ok(())
}

#[tokio::test]
async fn every_kind_prints_whether_it_is_ready_and_why_not() -> Result<()> {
    let cluster = crate::cluster().await?;
    let client = client_in("reasons").await?;
    for sample in &SAMPLES[..5] {
        let sample: Value = serde_saphyr::from_str(sample)?;
        let kind = sample["kind"].as_str().context("a kind")?;
        let name = sample["metadata"]["name"].as_str().context("a name")?;
        let api = kinds::api(&client, kind, "reasons")?;
        api.patch(name, &PatchParams::apply("alice"), &Patch::Apply(&sample)).await?;
        let printed = cluster.kubectl(&["get", kind, "-n", "reasons"]).await?;
        let (names, values) = printed.split_once('\n').context("two lines")?;
        // Columns are aligned.
        let at = names.find("REASON").with_context(|| format!("no REASON of {kind}:\n{printed}"))?;
        assert!(values[at..].starts_with("Pending"), "{kind}:\n{printed}");
    }
    Ok(())
}

#[tokio::test]
async fn the_operator_may_do_its_work_and_nothing_more() -> Result<()> {
    let cluster = crate::cluster().await?;
    for (verb, what, allowed) in [
        ("watch", "databasesessions.rolecall.dev", true),
        ("patch", "databaseusers.rolecall.dev/status", true),
        ("patch", "databaseadmins.rolecall.dev", true),
        ("delete", "databasesessions.rolecall.dev", true),
        ("manage", "databasesessions.rolecall.dev", true),
        ("operate", "databaseadmins.rolecall.dev", true),
        ("connect", "databaseusers.rolecall.dev", false),
        ("bind", "provisioningroles.rolecall.dev", false),
        ("get", "secrets", true),
        ("create", "secrets", true),
        ("create", "events.events.k8s.io", true),
        ("create", "leases.coordination.k8s.io", true),
        ("update", "leases.coordination.k8s.io rolecall-operator", true),
        ("update", "leases.coordination.k8s.io another", false),
        ("patch", "secrets", false),
        ("list", "secrets", false),
        ("watch", "secrets", false),
        ("patch", "provisioningroles.rolecall.dev", false),
        ("watch", "databasesessiondecisions.rolecall.dev", true),
        ("create", "databasesessiondecisions.rolecall.dev", false),
        ("delete", "databasesessiondecisions.rolecall.dev", false),
        ("approve", "provisioningroles.rolecall.dev", false),
        ("create", "databasesessions.rolecall.dev", false),
        ("delete", "databaseadmins.rolecall.dev", false),
        ("get", "pods", false),
        ("escalate", "clusterroles.rbac.authorization.k8s.io", false),
    ] {
        let (what, subresource) = what.split_once('/').unwrap_or((what, ""));
        let subresource = format!("--subresource={subresource}");
        // Of one name, where one follows.
        let what = &what.replace(' ', "/");
        let account = "--as=system:serviceaccount:rolecall-system:rolecall-operator";
        let args = ["auth", "can-i", verb, what, &subresource, account, "-n", "rolecall-system"];
        assert_eq!(cluster.kubectl(&args).await.is_ok(), allowed, "{verb} {what}");
    }
    Ok(())
}

/// A client, and a namespace for the test's objects.
async fn client_in(namespace: &str) -> Result<Client> {
    let cluster = crate::cluster().await?;
    cluster.kubectl(&["create", "namespace", namespace]).await?;
    crate::client().await
}
