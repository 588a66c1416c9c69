//! Which PostgreSQL a server runs, and what follows from it.

use rolecall_engine::{Class, Error, Reason};

/// The oldest version that is supported.
const OLDEST: u16 = 15;

/// The version of a server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Version {
    /// As the server prints it, without the packager's addition: `17.10`, `18beta1`.
    pub(crate) text: String,
    pub(crate) dialect: Dialect,
}

/// What a major version understands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Dialect(pub(crate) u16);

impl Dialect {
    /// 16 and later: memberships have a grantor each and INHERIT and SET options, and who may grant a role is a
    /// matter of ADMIN OPTION, not of CREATEROLE.
    pub(crate) fn has_grantors(self) -> bool {
        self.0 >= 16
    }
}

impl Dialect {
    /// 17 and later: `MAINTAIN` is a privilege.
    pub(crate) fn has_maintain(self) -> bool {
        self.0 >= 17
    }
}

impl Version {
    /// Reads the parameter `server_version`, as `17.10 (Debian 17.10-1.pgdg120+1)`.
    pub(crate) fn parse(text: &str) -> Self {
        let text = text.split_whitespace().next().unwrap_or_default().to_owned();
        let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let major = text[..digits].parse().unwrap_or(0);
        Self { text, dialect: Dialect(major) }
    }

    /// `rds`: it is a server of RDS or Aurora.
    pub(crate) fn check_supported(&self, rds: bool) -> Result<(), Error> {
        let remedy = if self.text.contains("limitless") {
            "users of Aurora Limitless cannot be provisioned; use a cluster that is not sharded".to_owned()
        } else if self.dialect.0 >= OLDEST {
            return Ok(());
        } else if rds {
            format!(
                "PostgreSQL {OLDEST} and later are supported, which Aurora Serverless v1 has none of; upgrade the server, or use Aurora Serverless v2"
            )
        } else {
            format!("PostgreSQL {OLDEST} and later are supported")
        };
        Err(Error {
            class: Class::Refused,
            reason: Reason::Unsupported,
            attempted: "using the server".to_owned(),
            code: String::new(),
            detail: format!("it is PostgreSQL {:?}", self.text),
            remedy,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read() {
        for (text, short, major) in [
            ("15.18 (Debian 15.18-0+deb12u1)", "15.18", 15),
            ("17.10", "17.10", 17),
            ("18beta1", "18beta1", 18),
            ("", "", 0),
        ] {
            assert_eq!(
                Version::parse(text),
                Version { text: short.to_owned(), dialect: Dialect(major) },
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_too_old_or_sharded_is_refused_with_what_to_use() {
        let check = |text: &str, rds| Version::parse(text).check_supported(rds);
        assert!(check("14.9", false).is_err());
        assert!(check("15.0", false).is_ok() && check("15.0", true).is_ok());
        let remedy = |text: &str| check(text, true).unwrap_err().remedy;
        assert!(remedy("13.12").contains("Serverless v2"));
        assert!(remedy("16.4-limitless").contains("not sharded"));
    }
}
