//! Logging in with the contents of a Secret.

use std::collections::BTreeMap;
use std::ops::Deref;

use anyhow::{Context, Result};
use mongodb::Client;
use mongodb::bson::doc;
use tempfile::TempDir;

/// The server refuses a command that the user may not run.
pub const UNAUTHORIZED: i32 = 13;
/// The server refuses a login.
pub const AUTHENTICATION_FAILED: i32 = 18;

/// A client that has logged in, with the files that it logs in with.
#[derive(Debug)]
pub struct Login {
    client: Client,
    _files: TempDir,
}

impl Deref for Login {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

/// Logs in as any client does that has the Secret: by its URI, with `tls.pem` and `ca.crt` in files.
///
/// # Errors
/// When the server refuses, or something is missing in the Secret.
pub async fn login_with(secret: &BTreeMap<String, String>) -> Result<Login> {
    let files = TempDir::new()?;
    let value = |key: &str| secret.get(key).with_context(|| format!("the Secret has no {key}"));
    let path = |key: &str| files.path().join(key);
    for key in ["tls.pem", "ca.crt"] {
        std::fs::write(path(key), value(key)?)?;
    }
    let uri = format!(
        "{}&tlsCertificateKeyFile={}&tlsCAFile={}&serverSelectionTimeoutMS=10000",
        value("uri")?,
        path("tls.pem").display(),
        path("ca.crt").display(),
    );
    let client = Client::with_uri_str(uri).await?;
    // The driver connects with the first command only.
    client.database("admin").run_command(doc! { "connectionStatus": 1 }).await?;
    Ok(Login { client, _files: files })
}

/// The server's code for a refusal.
pub fn code(error: &mongodb::error::Error) -> Option<i32> {
    match error.kind.as_ref() {
        mongodb::error::ErrorKind::Command(refused) => Some(refused.code),
        mongodb::error::ErrorKind::Authentication { .. } => Some(AUTHENTICATION_FAILED),
        _ => None,
    }
}

/// As [`code`], for a failure of [`login_with`].
pub fn login_code(error: &anyhow::Error) -> Option<i32> {
    error.downcast_ref().and_then(code)
}
