//! Extensions that check statements about roles and passwords, as credcheck does, and RDS, which keeps passwords from
//! admin users. A proxy simulates them: it answers such a statement with their SQLSTATE, and all of its message with it.

use std::sync::Arc;

use rolecall_engine::account::Credential;
use rolecall_engine::{Class, Desired, Engine as _, Error, Needs, Reason, Want};
use rolecall_pki::tls::TlsMode;
use rolecall_postgres::{Auth, Config, Platform, Postgres as Engine};
use rolecall_testbed::{PgVersion, Postgres};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Mutex;

use crate::common::{Failure, apply, enabled, ended, live, unique};

/// A server behind rules, and an engine on it.
struct Ruled {
    pg: Postgres,
    engine: Engine,
    refused: Arc<Mutex<Refused>>,
}

/// Which statements are refused.
#[derive(Default)]
struct Refused {
    /// Those that contain one of these.
    texts: Vec<&'static str>,
    /// With this SQLSTATE.
    code: &'static str,
}

impl Ruled {
    async fn start(settings: &[(&str, &str)]) -> Self {
        Self::start_on(Platform::SelfHosted, settings).await
    }

    /// Statements are refused once [`Ruled::refuse`] says so.
    async fn start_on(platform: Platform, settings: &[(&str, &str)]) -> Self {
        let hba = "host all all 127.0.0.1/32 scram-sha-256\nhost all all ::1/128 scram-sha-256";
        let mut builder = Postgres::builder(PgVersion::V17).setting("ssl", "off").hba(hba);
        for (name, value) in settings {
            builder = builder.setting(name, value);
        }
        let pg = builder.start().await.unwrap();
        pg.sql(
            "postgres",
            "create role \"teleport-auto-user\"; create role keeper login createrole password 'x';
             create role reader; create role writer;
             grant \"teleport-auto-user\", reader, writer to keeper with admin option",
        )
        .await
        .unwrap();
        let refused = Arc::new(Mutex::new(Refused::default()));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (server, texts) = (pg.port(), Arc::clone(&refused));
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(carry(client, server, Arc::clone(&texts)));
            }
        });
        let mut config = Config::new("127.0.0.1", port, "keeper", Auth::Password("x".into()));
        config.tls.mode = TlsMode::Disable;
        config.platform = platform;
        Self { pg, engine: Engine::new(config).unwrap(), refused }
    }

    async fn refuse(&self, texts: &[&'static str]) {
        self.refuse_with("28000", texts).await;
    }

    async fn refuse_with(&self, code: &'static str, texts: &[&'static str]) {
        *self.refused.lock().await = Refused { texts: texts.to_vec(), code };
    }

    async fn value(&self, query: &str) -> String {
        self.pg.value("postgres", query).await.unwrap().unwrap_or_default()
    }

    async fn roles_of(&self, user: &str) -> String {
        let roles = format!(
            "select string_agg(roleid::regrole::text, ' ' order by roleid::regrole::text) from pg_auth_members
             where member = '{user}'::regrole and roleid <> '\"teleport-auto-user\"'::regrole"
        );
        self.value(&roles).await
    }

    async fn fails(&self, desired: &Desired) -> Error {
        match apply(&self.engine, desired).await {
            Err(Failure::Error(error)) => error,
            other => panic!("{other:?}"),
        }
    }
}

/// Carries the messages of one connection, and answers those that are refused.
async fn carry(client: TcpStream, server: u16, refused: Arc<Mutex<Refused>>) -> std::io::Result<()> {
    let server = TcpStream::connect(("127.0.0.1", server)).await?;
    let (mut asked, answers) = client.into_split();
    let (mut answered, mut questions) = server.into_split();
    let answers = Arc::new(Mutex::new(answers));
    let to = Arc::clone(&answers);
    tokio::spawn(async move {
        let mut buffer = vec![0; 65_536];
        while let Ok(read @ 1..) = answered.read(&mut buffer).await {
            if to.lock().await.write_all(&buffer[..read]).await.is_err() {
                break;
            }
        }
        let _ = to.lock().await.shutdown().await;
    });
    let mut first = true;
    loop {
        let kind = if first { None } else { Some(asked.read_u8().await?) };
        let length = asked.read_u32().await?;
        let mut body = vec![0; length as usize - 4];
        asked.read_exact(&mut body).await?;
        first = false;
        // Statements in a block are quoted: an extension sees each as it is.
        let text = String::from_utf8_lossy(&body).replace("''", "'");
        let code = {
            let refused = refused.lock().await;
            refused.texts.iter().any(|refused| text.contains(refused)).then_some(refused.code)
        };
        if let (Some(b'Q'), Some(code)) = (kind, code) {
            let fields = format!("SERROR\0VERROR\0C{code}\0Mdas geht so nicht\0\0");
            let mut answer = vec![b'E'];
            answer.extend(u32::try_from(fields.len() + 4).unwrap().to_be_bytes());
            answer.extend(fields.as_bytes());
            answer.extend([b'Z', 0, 0, 0, 5, b'I']);
            answers.lock().await.write_all(&answer).await?;
            continue;
        }
        if let Some(kind) = kind {
            questions.write_u8(kind).await?;
        }
        questions.write_u32(length).await?;
        questions.write_all(&body).await?;
    }
}

fn with_password(mut desired: Desired) -> Desired {
    if let Want::Enabled(enabled) = &mut desired.want {
        enabled.credential = Credential::Password { set: Some("SCRAM-SHA-256$4096:c2FsdHNhbHRzYWx0c2E=$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=".into()) };
    }
    desired
}

#[tokio::test]
async fn a_password_that_is_refused_names_the_rule_and_is_no_failed_login() {
    let ruled = Ruled::start(&[("credcheck.encrypted_password_allowed", "off")]).await;
    ruled.refuse(&["PASSWORD 'SCRAM"]).await;
    let user = unique("alice");
    let error = ruled.fails(&with_password(enabled(&user, &["reader"]))).await;
    assert_eq!(
        (error.class, error.reason, error.code.as_str()),
        (Class::Refused, Reason::ServerRefused, "28000")
    );
    let text = error.to_string();
    assert!(text.contains("das geht so nicht"), "{text}");
    assert!(text.contains("ALTER SYSTEM SET credcheck.encrypted_password_allowed = on"), "{text}");
    ruled.refuse(&[]).await;
    apply(&ruled.engine, &with_password(enabled(&user, &["reader"]))).await.unwrap();
}

#[tokio::test]
async fn what_changes_nothing_is_not_sent() {
    let ruled = Ruled::start(&[("credcheck.password_valid_max", "365")]).await;
    ruled.refuse(&["VALID UNTIL 'infinity'"]).await;
    let user = unique("alice");
    apply(&ruled.engine, &enabled(&user, &["reader"])).await.unwrap();
    apply(&ruled.engine, &ended(&user, false)).await.unwrap();
    assert_eq!(ruled.roles_of(&user).await, "");
    apply(&ruled.engine, &enabled(&user, &["reader"])).await.unwrap();
    assert!(apply(&ruled.engine, &ended(&user, true)).await.unwrap().dropped);
}

#[tokio::test]
async fn what_may_not_be_reset_keeps_no_membership_and_no_connection() {
    for refused in ["VALID UNTIL 'infinity'", "RESET ALL", "PASSWORD NULL"] {
        let ruled = Ruled::start(&[("credcheck.password_valid_max", "365")]).await;
        let user = unique("alice");
        apply(&ruled.engine, &with_password(enabled(&user, &["reader", "writer"]))).await.unwrap();
        ruled
            .pg
            .sql(
                "postgres",
                &format!(
                    "alter role {user} valid until '2099-01-01'; alter role {user} set work_mem = '1MB'"
                ),
            )
            .await
            .unwrap();
        ruled.refuse(&[refused]).await;
        let applied = apply(&ruled.engine, &ended(&user, false)).await.unwrap();
        let why = applied.not_reset.unwrap();
        assert!(why.contains("credcheck.password_valid_max = 365"), "{refused}: {why}");
        assert_eq!(ruled.roles_of(&user).await, "", "{refused}");
        let login = format!("select rolcanlogin from pg_roles where rolname = '{user}'");
        assert_eq!(ruled.value(&login).await, "f", "{refused}");
        // It cannot start as it is, which is reported.
        let error = ruled.fails(&enabled(&user, &["reader"])).await;
        assert_eq!(
            (error.class, error.reason),
            (Class::Refused, Reason::ServerRefused),
            "{refused}: {error}"
        );
        assert!(error.remedy.contains("credcheck"), "{refused}: {error}");
        assert!(apply(&ruled.engine, &ended(&user, true)).await.unwrap().dropped, "{refused}");
    }
}

#[tokio::test]
async fn where_rds_keeps_passwords_from_the_admin_user_an_access_ends_without_touching_them() {
    let ruled = Ruled::start_on(Platform::Rds, &[("rds.restrict_password_commands", "1")]).await;
    ruled.pg.sql("postgres", "create role rds_password; grant rds_password to keeper").await.unwrap();
    let user = unique("alice");
    apply(&ruled.engine, &with_password(enabled(&user, &["reader", "writer"]))).await.unwrap();

    ruled.pg.sql("postgres", "revoke rds_password from keeper").await.unwrap();
    ruled.refuse_with("42501", &[" PASSWORD ", "VALID UNTIL 'infinity'"]).await;
    let findings = ruled.engine.preflight(&Needs::default()).await.unwrap().findings;
    let finding = findings.iter().find(|finding| finding.object == "rds_password").unwrap();
    assert!(finding.message.contains("run GRANT rds_password TO \"keeper\""), "{finding:?}");
    let applied = apply(&ruled.engine, &ended(&user, false)).await.unwrap();
    assert!(applied.not_reset.is_some_and(|why| why.contains("42501")), "what stays is named");
    assert_eq!(ruled.roles_of(&user).await, "");
    let left = format!("select rolcanlogin, rolpassword is not null from pg_authid where rolname = '{user}'");
    let left = ruled.pg.sql("postgres", &left).await.unwrap();
    assert_eq!(left, [[Some("f".to_owned()), Some("t".to_owned())]], "no login, the password as it was");

    ruled.pg.sql("postgres", "grant rds_password to keeper").await.unwrap();
    ruled.refuse(&[]).await;
    assert!(apply(&ruled.engine, &ended(&user, true)).await.unwrap().dropped);
}

#[tokio::test]
async fn a_password_that_is_refused_keeps_no_role_that_is_lost() {
    let ruled = Ruled::start(&[]).await;
    let user = unique("alice");
    apply(&ruled.engine, &with_password(enabled(&user, &["reader", "writer"]))).await.unwrap();
    ruled.refuse(&["PASSWORD 'SCRAM"]).await;
    let error = ruled.fails(&live(with_password(enabled(&user, &["reader"])))).await;
    assert_eq!((error.class, error.reason), (Class::Refused, Reason::ServerRefused), "{error}");
    assert!(error.remedy.contains("shared_preload_libraries"), "{error}");
    assert_eq!(ruled.roles_of(&user).await, "reader");
}

#[tokio::test]
async fn a_role_that_may_not_be_made_names_the_rule() {
    let ruled = Ruled::start(&[("credcheck.username_min_length", "40")]).await;
    ruled.refuse(&["CREATE ROLE"]).await;
    let error = ruled.fails(&enabled(&unique("alice"), &["reader"])).await;
    assert_eq!((error.class, error.reason), (Class::Refused, Reason::ServerRefused), "{error}");
    assert!(error.remedy.contains("credcheck.username_min_length = 40"), "{error}");
    ruled.engine.preflight(&Default::default()).await.unwrap();
}
