//! Where to connect, resolved before there is a session.

use std::net::SocketAddr;

use anyhow::{Context, anyhow, bail};
use rolecall_api::DatabaseAdmin;
use rolecall_resolve::parse_postgres_address;

use super::psql::server_name;

/// The address to connect to where it is not the one of the name that the server's certificate carries: the one asked
/// for, or that of the server where its certificate carries another name.
///
/// # Errors
///
/// What is not an address, and a name without one.
pub(super) async fn elsewhere(
    admin: &DatabaseAdmin,
    asked: Option<&str>,
) -> anyhow::Result<Option<SocketAddr>> {
    if let Some(asked) = asked {
        return resolve(asked).await.map(Some).context("reading --address");
    }
    let Some(name) = server_name(admin) else { return Ok(None) };
    let (host, _) =
        parse_postgres_address(&admin.spec.uri).context("reading spec.uri of the DatabaseAdmin")?;
    if host == name {
        return Ok(None);
    }
    let found = resolve(&admin.spec.uri).await;
    found.map(Some).context("finding the server; name another way to it with --address")
}

async fn resolve(address: &str) -> anyhow::Result<SocketAddr> {
    let (host, port) = parse_postgres_address(address)?;
    if !address.contains(':') {
        bail!("{address:?} has no port; write HOST:PORT, for example {address}:{port}");
    }
    let mut found =
        tokio::net::lookup_host((host.as_str(), port)).await.with_context(|| format!("finding {host}"))?;
    found.next().ok_or_else(|| anyhow!("{host} has no address"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_address_is_host_and_port() {
        for text in ["127.0.0.1:5432", "[::1]:5432", "localhost:1"] {
            let found = resolve(text).await.expect(text);
            assert!(found.ip().is_loopback() && text.ends_with(&found.port().to_string()));
        }
        for text in [
            "",
            "localhost",
            "localhost:",
            "localhost:0",
            "localhost:70000",
            ":5432",
            "[x]:1",
            "postgres://h:1",
            "u@h:1",
        ] {
            let message = format!("{:#}", resolve(text).await.expect_err(text));
            assert!(message.to_lowercase().contains("host:port"), "{message}");
        }
    }
}
