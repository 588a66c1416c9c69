//! Which service a host name belongs to. Pure.
//!
//! Amazon's names are `<labels>.<region>.<service>.<suffix>`; in China, GovCloud and the isolated partitions the region
//! can come after the service. The label before those two says what an RDS endpoint leads to.

/// The domains of AWS by partition.
const SUFFIXES: [&str; 4] = [".amazonaws.com", ".amazonaws.com.cn", ".c2s.ic.gov", ".sc2s.sgov.gov"];

/// What a host name of AWS, or of MongoDB Atlas, says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// What the host leads to.
    pub service: Service,
    /// The region, where the name says it.
    pub region: Option<String>,
    /// The first label: an identifier of an instance, a cluster, a workgroup, or an endpoint.
    pub label: String,
}

/// What a host leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Service {
    /// An instance of RDS or Aurora. One of Aurora may be a reader.
    RdsInstance,
    /// The writer of an Aurora or Multi-AZ cluster.
    RdsWriter,
    /// The readers of a cluster.
    RdsReader,
    /// A custom endpoint: any mix of a cluster's instances.
    RdsCustom,
    /// An RDS Proxy.
    RdsProxy,
    /// A shard group of Aurora Limitless.
    Limitless,
    /// Aurora DSQL.
    Dsql,
    /// A provisioned Redshift cluster.
    Redshift,
    /// Redshift Serverless.
    RedshiftServerless,
    /// Amazon DocumentDB.
    DocumentDb,
    /// MongoDB Atlas.
    Atlas,
}

impl Service {
    /// Is it RDS or Aurora, as far as users can be provisioned there?
    pub fn is_rds(self) -> bool {
        matches!(self, Self::RdsInstance | Self::RdsWriter | Self::RdsReader | Self::RdsCustom)
    }

    /// Why no users can be provisioned there, and what to do instead; `None` where they can.
    pub fn refusal(self) -> Option<&'static str> {
        match self {
            Self::RdsInstance | Self::RdsWriter | Self::RdsReader | Self::RdsCustom | Self::Redshift => None,
            Self::RdsProxy => Some(
                "is an RDS Proxy, which shares connections between users; use the endpoint of the instance or cluster behind it (users may still go through the proxy)",
            ),
            Self::Limitless => Some(
                "is a shard group of Aurora Limitless, where users cannot be provisioned; use a cluster that is not sharded",
            ),
            Self::Dsql => Some(
                "is Aurora DSQL, whose users belong to IAM roles (AWS IAM GRANT); use RDS or Aurora PostgreSQL",
            ),
            Self::RedshiftServerless => Some(
                "is Redshift Serverless, where everybody with an IAM role shares one database user; use a provisioned cluster",
            ),
            Self::DocumentDb => {
                Some("is Amazon DocumentDB, which has no users with certificates; use MongoDB")
            }
            Self::Atlas => {
                Some("is MongoDB Atlas, whose users are made through its API; use MongoDB run by yourself")
            }
        }
    }
}

impl Host {
    /// What a host name says; `None` where it is none of Amazon's databases. Case and a final dot do not matter.
    pub fn of(name: &str) -> Option<Self> {
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        let label = name.split('.').next().unwrap_or_default().to_owned();
        if name.ends_with(".mongodb.net") {
            return Some(Self { service: Service::Atlas, region: None, label });
        }
        if let Some(front) = name.strip_suffix(".on.aws") {
            let labels: Vec<&str> = front.split('.').collect();
            return match labels.as_slice() {
                [_, service, region]
                    if (*service == "dsql" || service.starts_with("dsql-")) && is_region(region) =>
                {
                    Some(Self { service: Service::Dsql, region: Some((*region).to_owned()), label })
                }
                _ => None,
            };
        }
        let front = SUFFIXES.iter().find_map(|suffix| name.strip_suffix(suffix))?;
        let labels: Vec<&str> = front.split('.').collect();
        let (front, service, region) = match labels.as_slice() {
            [front @ .., region, service] if is_service(service) && is_region(region) => {
                (front, *service, Some((*region).to_owned()))
            }
            [front @ .., service, region] if is_service(service) && is_region(region) => {
                (front, *service, Some((*region).to_owned()))
            }
            [front @ .., service] if is_service(service) => (front, *service, None),
            _ => return None,
        };
        // The address of the service's own API.
        let kind = front.last()?;
        let service = match service {
            "redshift" => Service::Redshift,
            "redshift-serverless" => Service::RedshiftServerless,
            "docdb" => Service::DocumentDb,
            _ => endpoint(kind),
        };
        Some(Self { service, region, label })
    }

    /// The identifier of a Redshift cluster; `None` where the name does not say it (an endpoint that Redshift manages in
    /// another VPC has a name of its own).
    pub fn redshift_cluster(&self) -> Option<&str> {
        let is_cluster = self.service == Service::Redshift && !self.label.contains("-endpoint-");
        is_cluster.then_some(self.label.as_str())
    }

    /// Is it one side of a blue/green deployment: the green one, or the blue one after the switchover?
    pub fn is_blue_green(&self) -> bool {
        let mut parts = self.label.rsplitn(3, '-');
        let (last, before) = (parts.next().unwrap_or_default(), parts.next());
        let green = before == Some("green")
            && parts.next().is_some()
            && last.len() == 6
            && last.bytes().all(|byte| byte.is_ascii_alphanumeric());
        let old = before.is_some()
            && last
                .strip_prefix("old")
                .is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()));
        self.service.is_rds() && (green || old)
    }
}

/// The domain of AWS in a region.
pub fn domain_of(region: &str) -> &'static str {
    match region {
        _ if region.starts_with("cn-") => "amazonaws.com.cn",
        _ if region.starts_with("us-iso-") => "c2s.ic.gov",
        _ if region.starts_with("us-isob-") => "sc2s.sgov.gov",
        _ => "amazonaws.com",
    }
}

/// The partition that a region belongs to, as resource names (ARNs) spell it.
pub fn partition_of(region: &str) -> &'static str {
    match region {
        _ if region.starts_with("cn-") => "aws-cn",
        _ if region.starts_with("us-gov-") => "aws-us-gov",
        _ if region.starts_with("us-iso-") => "aws-iso",
        _ if region.starts_with("us-isob-") => "aws-iso-b",
        _ => "aws",
    }
}

/// Could it be the name of a region? `eu-west-1`, `us-gov-east-1`.
pub fn is_region(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let [area, directions @ .., number] = parts.as_slice() else { return false };
    let is_word = |word: &&str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase());
    area.len() == 2
        && is_word(area)
        && (1..=2).contains(&directions.len())
        && directions.iter().all(is_word)
        && !number.is_empty()
        && number.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_service(label: &str) -> bool {
    matches!(label, "rds" | "redshift" | "redshift-serverless" | "docdb")
}

/// By the label before the region of an RDS host.
fn endpoint(kind: &str) -> Service {
    // The longest prefix first.
    let kinds = [
        ("cluster-ro-", Service::RdsReader),
        ("cluster-custom-", Service::RdsCustom),
        ("cluster-", Service::RdsWriter),
        ("proxy-", Service::RdsProxy),
        ("shardgrp-", Service::Limitless),
    ];
    let found = kinds.iter().find(|(prefix, _)| kind.starts_with(prefix));
    found.map_or(Service::RdsInstance, |(_, service)| *service)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_recognized() {
        use Service::*;
        for (name, service, region) in [
            ("orders.abc123.eu-west-1.rds.amazonaws.com", RdsInstance, "eu-west-1"),
            ("Orders.ABC123.EU-West-1.rds.AMAZONAWS.com.", RdsInstance, "eu-west-1"),
            ("proxy-orders.abc123.eu-west-1.rds.amazonaws.com", RdsInstance, "eu-west-1"),
            ("orders.cluster-abc123.eu-west-1.rds.amazonaws.com", RdsWriter, "eu-west-1"),
            ("orders.cluster-ro-abc123.eu-west-1.rds.amazonaws.com", RdsReader, "eu-west-1"),
            ("any.cluster-custom-abc123.eu-west-1.rds.amazonaws.com", RdsCustom, "eu-west-1"),
            ("orders.proxy-abc123.eu-west-1.rds.amazonaws.com", RdsProxy, "eu-west-1"),
            ("ep.endpoint.proxy-abc123.eu-west-1.rds.amazonaws.com", RdsProxy, "eu-west-1"),
            ("orders.shardgrp-abc123.eu-west-1.rds.amazonaws.com", Limitless, "eu-west-1"),
            // The region after the service, and the older form.
            ("orders.abc123.rds.cn-north-1.amazonaws.com.cn", RdsInstance, "cn-north-1"),
            ("orders.cluster-ro-abc123.rds.cn-northwest-1.amazonaws.com.cn", RdsReader, "cn-northwest-1"),
            ("orders.cluster-abc123.cn-north-1.rds.amazonaws.com.cn", RdsWriter, "cn-north-1"),
            ("orders.abc123.rds.us-gov-west-1.amazonaws.com", RdsInstance, "us-gov-west-1"),
            ("orders.cluster-abc123.us-gov-east-1.rds.amazonaws.com", RdsWriter, "us-gov-east-1"),
            ("orders.proxy-abc123.us-iso-east-1.rds.c2s.ic.gov", RdsProxy, "us-iso-east-1"),
            ("orders.abc123.rds.us-isob-east-1.sc2s.sgov.gov", RdsInstance, "us-isob-east-1"),
            ("foo0bar1.dsql.us-east-1.on.aws", Dsql, "us-east-1"),
            ("foo0bar1.dsql-fnh4.us-east-1.on.aws", Dsql, "us-east-1"),
            ("wh.abc123.eu-west-1.redshift.amazonaws.com", Redshift, "eu-west-1"),
            ("wh.abc123.redshift.cn-north-1.amazonaws.com.cn", Redshift, "cn-north-1"),
            ("wg.123456789012.eu-west-1.redshift-serverless.amazonaws.com", RedshiftServerless, "eu-west-1"),
            (
                "a-endpoint-b.123456789012.eu-west-1.redshift-serverless.amazonaws.com",
                RedshiftServerless,
                "eu-west-1",
            ),
            ("docs.cluster-abc123.eu-west-1.docdb.amazonaws.com", DocumentDb, "eu-west-1"),
        ] {
            let host = Host::of(name).unwrap_or_else(|| panic!("{name}"));
            assert_eq!((host.service, host.region.as_deref()), (service, Some(region)), "{name}");
        }
        let without = Host::of("x.rds.amazonaws.com").unwrap();
        assert_eq!((without.service, without.region), (RdsInstance, None));
        assert_eq!(Host::of("shop.abc12.mongodb.net").unwrap().service, Atlas);
    }

    #[test]
    fn other_hosts_are_not() {
        for name in [
            "orders-db.shop.svc",
            "10.0.0.1",
            "",
            "rds.amazonaws.com.example.org",
            "orders.abc123.eu-west-1.rds.amazonaws.com.example.org",
            "xrds.amazonaws.com",
            "rds.eu-west-1.amazonaws.com",
            "redshift.eu-west-1.amazonaws.com",
            "bucket.s3.eu-west-1.amazonaws.com",
            "a.lambda-url.eu-west-1.on.aws",
            "mongodb.net",
        ] {
            assert_eq!(Host::of(name), None, "{name}");
        }
    }

    #[test]
    fn what_cannot_be_provisioned_says_what_to_use() {
        for name in [
            "orders.proxy-abc123.eu-west-1.rds.amazonaws.com",
            "orders.shardgrp-abc123.eu-west-1.rds.amazonaws.com",
            "foo0bar1.dsql.us-east-1.on.aws",
            "wg.123456789012.eu-west-1.redshift-serverless.amazonaws.com",
            "docs.cluster-abc123.eu-west-1.docdb.amazonaws.com",
            "shop.abc12.mongodb.net",
        ] {
            let refusal = Host::of(name).unwrap().service.refusal().unwrap_or_else(|| panic!("{name}"));
            assert!(refusal.contains("; use "), "{refusal}");
        }
        assert_eq!(Host::of("wh.abc123.eu-west-1.redshift.amazonaws.com").unwrap().service.refusal(), None);
    }

    #[test]
    fn a_cluster_is_named_by_the_first_label_unless_that_is_an_endpoint() {
        let cluster = |name: &str| Host::of(name).unwrap().redshift_cluster().map(str::to_owned);
        assert_eq!(cluster("wh.abc.eu-west-1.redshift.amazonaws.com").as_deref(), Some("wh"));
        assert_eq!(cluster("wh-endpoint-abc.xyz.eu-west-1.redshift.amazonaws.com"), None);
        assert_eq!(cluster("orders.abc123.eu-west-1.rds.amazonaws.com"), None);
    }

    #[test]
    fn the_sides_of_a_blue_green_deployment_are_recognized() {
        for (label, expected) in [
            ("orders-green-abc123", true),
            ("orders-old1", true),
            ("orders-old12", true),
            ("orders", false),
            ("orders-greenhouse", false),
            ("green-abc123", false),
            ("orders-green-abc", false),
            ("orders-old", false),
            ("old1", false),
        ] {
            let host = Host::of(&format!("{label}.abc123.eu-west-1.rds.amazonaws.com")).unwrap();
            assert_eq!(host.is_blue_green(), expected, "{label}");
        }
    }

    #[test]
    fn partitions_follow_from_the_region() {
        for (region, partition, domain) in [
            ("eu-west-1", "aws", "amazonaws.com"),
            ("cn-north-1", "aws-cn", "amazonaws.com.cn"),
            ("us-gov-west-1", "aws-us-gov", "amazonaws.com"),
            ("us-iso-east-1", "aws-iso", "c2s.ic.gov"),
            ("us-isob-east-1", "aws-iso-b", "sc2s.sgov.gov"),
        ] {
            assert!(is_region(region));
            assert_eq!((partition_of(region), domain_of(region)), (partition, domain), "{region}");
        }
        for text in ["", "eu", "eu-1", "eu-west", "eu-west-1a", "EU-WEST-1", "abc-def-1", "rds", "eu--1"] {
            assert!(!is_region(text), "{text}");
        }
    }
}
