//! What kind of server it is, from its host name.

use std::collections::BTreeMap;

use rolecall_engine::account::WantedRole;
use rolecall_engine::{Reason, Refusal};

/// A kind of PostgreSQL server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Platform {
    /// Run by yourself, or by anybody whose PostgreSQL behaves like one.
    #[default]
    SelfHosted,
    /// Amazon RDS or Aurora.
    Rds,
}

/// The role that lets a user of RDS log in with an IAM token.
pub const RDS_IAM: &str = "rds_iam";

impl Platform {
    /// Determines the platform of a PostgreSQL server by its host name.
    ///
    /// # Errors
    ///
    /// `Unsupported` for RDS Proxy (it keeps its own users) and for Redshift.
    pub fn of_host(host: &str) -> Result<Self, Refusal> {
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        let Some(labels) = aws_labels(&host) else { return Ok(Self::SelfHosted) };
        let unsupported = |what: &str, instead: &str| {
            Err(Refusal::new(
                Reason::Unsupported,
                format!("{host:?} is {what}, where users cannot be provisioned; {instead}"),
            ))
        };
        match labels.as_slice() {
            [.., "redshift" | "redshift-serverless"] => {
                unsupported("Amazon Redshift", "set protocol: redshift")
            }
            // identifier . proxy-xxx . region . rds
            [.., proxy, _, "rds"] if proxy.starts_with("proxy-") => {
                unsupported("an RDS Proxy", "use the address of the database itself")
            }
            [.., "rds"] => Ok(Self::Rds),
            _ => Ok(Self::SelfHosted),
        }
    }

    /// Adds the database roles that every account of this platform has beside those that policy gives.
    pub fn add_roles(self, roles: &mut BTreeMap<String, WantedRole>) {
        match self {
            Self::SelfHosted => {}
            Self::Rds => {
                roles.insert(RDS_IAM.to_owned(), WantedRole { named_literally: true });
            }
        }
    }
}

/// The labels of an AWS host before its domain, `None` for any other host.
fn aws_labels(host: &str) -> Option<Vec<&str>> {
    let rest = host.strip_suffix(".amazonaws.com").or_else(|| host.strip_suffix(".amazonaws.com.cn"))?;
    Some(rest.split('.').collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_platform_follows_from_the_host_name() {
        for (host, platform) in [
            ("orders-db.shop.svc", Platform::SelfHosted),
            ("10.0.0.1", Platform::SelfHosted),
            ("rds.amazonaws.com.example.org", Platform::SelfHosted),
            ("orders.abc123.eu-west-1.rds.amazonaws.com", Platform::Rds),
            ("Orders.abc123.eu-west-1.rds.AMAZONAWS.com.", Platform::Rds),
            ("orders.cluster-ro-abc123.eu-west-1.rds.amazonaws.com", Platform::Rds),
            ("orders.cluster-abc123.cn-north-1.rds.amazonaws.com.cn", Platform::Rds),
            ("proxy-orders.abc123.eu-west-1.rds.amazonaws.com", Platform::Rds),
        ] {
            assert_eq!(Platform::of_host(host).unwrap(), platform, "{host}");
        }
        for host in [
            "orders.proxy-abc123.eu-west-1.rds.amazonaws.com",
            "wh.abc123.eu-west-1.redshift.amazonaws.com",
            "wh.123456789012.eu-west-1.redshift-serverless.amazonaws.com",
        ] {
            assert_eq!(Platform::of_host(host).unwrap_err().reason, Reason::Unsupported, "{host}");
        }
    }

    #[test]
    fn rds_adds_its_role() {
        let mut roles = BTreeMap::new();
        Platform::SelfHosted.add_roles(&mut roles);
        assert!(roles.is_empty());
        Platform::Rds.add_roles(&mut roles);
        assert!(roles[RDS_IAM].named_literally);
    }
}
