//! Where and how to connect, in the forms that clients take.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::path::Path;

use anyhow::bail;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::psql::Target;

/// The files that a client reads.
#[derive(Clone, Copy, Debug)]
pub(super) struct Paths<'a> {
    /// Certificate, key, and the key as Java reads it; `None`: another proof.
    pub(super) certificate: Option<(&'a Path, &'a Path, &'a Path)>,
    /// Authorities of one's own.
    pub(super) authorities: Option<&'a Path>,
}

/// What is kept as it is in the parts of a URI.
const PART: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');

/// Variables as commands of a POSIX shell.
pub(super) fn exports(variables: &[(&'static str, OsString)]) -> String {
    variables.iter().fold(String::new(), |mut text, (name, value)| {
        let value = value.to_string_lossy().replace('\'', r"'\''");
        // Writing to a String does not fail.
        let _ = writeln!(text, "export {name}='{value}'");
        text
    })
}

/// The keywords and values by which libpq connects. A password is not among them.
fn keywords(target: &Target, paths: &Paths<'_>) -> Vec<(&'static str, String)> {
    let text = |path: &Path| path.display().to_string();
    let mut keywords = vec![
        ("host", target.server_name.clone()),
        ("port", target.port.to_string()),
        ("dbname", target.database.clone()),
        ("user", target.username.clone()),
    ];
    keywords.extend(target.address.map(|address| ("hostaddr", address.to_string())));
    let own = paths.authorities.is_some();
    keywords.push(("sslmode", target.ssl_mode(own).to_owned()));
    if target.uses_tls() {
        keywords.push(("sslrootcert", paths.authorities.map_or("system".to_owned(), text)));
    }
    if let Some((certificate, key, _)) = paths.certificate {
        keywords.extend([("sslcert", text(certificate)), ("sslkey", text(key))]);
    }
    keywords
}

/// As libpq's keyword=value.
pub(super) fn dsn(target: &Target, paths: &Paths<'_>) -> String {
    let word = |(name, value): (&str, String)| {
        format!("{name}='{}'", value.replace('\\', r"\\").replace('\'', r"\'"))
    };
    keywords(target, paths).into_iter().map(word).collect::<Vec<_>>().join(" ")
}

/// As PostgreSQL's URI.
pub(super) fn uri(target: &Target, paths: &Paths<'_>) -> String {
    let part = |text: &str| utf8_percent_encode(text, PART).to_string();
    let named = ["host", "port", "dbname", "user"];
    let options: Vec<String> = keywords(target, paths)
        .iter()
        .filter(|(name, _)| !named.contains(name))
        .map(|(name, value)| format!("{name}={}", part(value)))
        .collect();
    format!(
        "postgresql://{}@{}:{}/{}?{}",
        utf8_percent_encode(&target.username, NON_ALPHANUMERIC),
        host(&target.server_name),
        target.port,
        utf8_percent_encode(&target.database, NON_ALPHANUMERIC),
        options.join("&")
    )
}

/// As a URL for Java.
///
/// # Errors
///
/// Java's drivers check the name that they dial, so that there is none for a server that is reached at another address.
pub(super) fn jdbc(target: &Target, paths: &Paths<'_>, redshift: bool) -> anyhow::Result<String> {
    if target.address.is_some() {
        bail!(
            "Java's drivers check a server by the name that they dial, and {} is reached at another address from here; \
             --proxy gives them a local port",
            target.server_name
        );
    }
    let part = |text: &str| utf8_percent_encode(text, PART).to_string();
    let scheme = if redshift { "redshift" } else { "postgresql" };
    let mut url = format!(
        "jdbc:{scheme}://{}:{}/{}?user={}&sslmode={}",
        host(&target.server_name),
        target.port,
        utf8_percent_encode(&target.database, NON_ALPHANUMERIC),
        part(&target.username),
        target.ssl_mode(paths.authorities.is_some()),
    );
    if target.uses_tls() {
        match paths.authorities {
            Some(path) => url.push_str(&format!("&sslrootcert={}", part(&path.display().to_string()))),
            // The JVM's own, where the driver would look for a file in the home directory.
            None if !redshift => url.push_str("&sslfactory=org.postgresql.ssl.DefaultJavaSSLFactory"),
            None => {}
        }
    }
    if let Some((certificate, _, key)) = paths.certificate {
        let (certificate, key) = (certificate.display().to_string(), key.display().to_string());
        url.push_str(&format!("&sslcert={}&sslkey={}", part(&certificate), part(&key)));
    }
    Ok(url)
}

fn host(name: &str) -> String {
    if name.contains(':') { format!("[{name}]") } else { name.to_owned() }
}

#[cfg(test)]
mod tests {
    use rolecall_api::TlsMode;

    use super::*;

    fn target() -> Target {
        Target {
            server_name: "orders-db.shop.svc".to_owned(),
            address: None,
            port: 5432,
            database: "ho rizon".to_owned(),
            username: "alice@example.com".to_owned(),
            tls: TlsMode::VerifyFull,
        }
    }

    const PATHS: Paths<'static> = Paths { certificate: None, authorities: None };

    fn files() -> Paths<'static> {
        let path = Path::new;
        Paths {
            certificate: Some((path("/f/crt"), path("/f/key"), path("/f/pk8"))),
            authorities: Some(path("/f/ca")),
        }
    }

    #[test]
    fn each_form_says_the_same() {
        let mut target = target();
        assert_eq!(
            jdbc(&target, &files(), false).expect("it is reached directly"),
            "jdbc:postgresql://orders-db.shop.svc:5432/ho%20rizon?user=alice%40example.com&sslmode=verify-full&\
             sslrootcert=/f/ca&sslcert=/f/crt&sslkey=/f/pk8"
        );
        target.address = Some("127.0.0.1".parse().expect("an address"));
        target.port = 4711;
        assert_eq!(
            uri(&target, &files()),
            "postgresql://alice%40example%2Ecom@orders-db.shop.svc:4711/ho%20rizon?hostaddr=127.0.0.1&\
             sslmode=verify-full&sslrootcert=/f/ca&sslcert=/f/crt&sslkey=/f/key"
        );
        assert_eq!(
            dsn(&target, &files()),
            "host='orders-db.shop.svc' port='4711' dbname='ho rizon' user='alice@example.com' hostaddr='127.0.0.1' \
             sslmode='verify-full' sslrootcert='/f/ca' sslcert='/f/crt' sslkey='/f/key'"
        );
        let error = jdbc(&target, &files(), false).expect_err("the name would go unchecked").to_string();
        assert!(error.ends_with("--proxy gives them a local port"), "{error}");
    }

    #[test]
    fn without_files_the_systems_authorities_count() {
        assert!(uri(&target(), &PATHS).ends_with("?sslmode=verify-full&sslrootcert=system"));
        let redshift = jdbc(&target(), &PATHS, true).expect("it is reached directly");
        assert!(redshift.starts_with("jdbc:redshift://orders-db.shop.svc:5432/"), "{redshift}");
        let plain = Target { tls: TlsMode::Disable, ..target() };
        assert!(uri(&plain, &PATHS).ends_with("?sslmode=disable"));
    }

    #[test]
    fn what_a_shell_reads_is_quoted() {
        let text = exports(&[("PGUSER", "al'ice $(id)".into())]);
        assert_eq!(text, "export PGUSER='al'\\''ice $(id)'\n");
        let quoted = Target { username: r"a'b\c".to_owned(), ..target() };
        assert!(dsn(&quoted, &PATHS).contains(r"user='a\'b\\c'"));
    }
}
