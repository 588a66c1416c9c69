//! Names by which Services and Pods are known in a cluster.

use std::net::IpAddr;

/// What a name leads to inside a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ClusterName {
    /// `orders-db.shop.svc`: a Service.
    Service {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
    /// `orders-db-0.orders-db.shop.svc`: a Pod by its host name, in a Service without an address of its own.
    Member {
        /// The namespace of both.
        namespace: String,
        /// The Service.
        service: String,
        /// The Pod's host name.
        hostname: String,
    },
    /// `10-0-0-7.shop.pod`: a Pod by its address.
    Pod {
        /// Its namespace.
        namespace: String,
        /// Its address.
        address: IpAddr,
    },
}

impl ClusterName {
    /// What a host name would lead to in a cluster, and whether it can only be meant so: `orders-db.shop.svc` is, while
    /// `orders.example` may be any name. Short names are completed with the namespace.
    pub(crate) fn parse(host: &str, namespace: &str) -> Option<(Self, bool)> {
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        if host.parse::<IpAddr>().is_ok() {
            return None;
        }
        let labels: Vec<&str> = host.split('.').collect();
        if !labels.iter().all(|label| is_label(label)) {
            return None;
        }
        let service = |name: &str, namespace: &str| Self::Service {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        };
        Some(match labels.as_slice() {
            [name] => (service(name, namespace), false),
            [name, namespace] => (service(name, namespace), false),
            [name, namespace, "svc", ..] => (service(name, namespace), true),
            [hostname, name, namespace, "svc", ..] => {
                let (namespace, service) = ((*namespace).to_owned(), (*name).to_owned());
                (Self::Member { namespace, service, hostname: (*hostname).to_owned() }, true)
            }
            [address, namespace, "pod", ..] => {
                let v4 = address.replace('-', ".").parse::<IpAddr>();
                let address = v4.or_else(|_| address.replace('-', ":").parse()).ok()?;
                (Self::Pod { namespace: (*namespace).to_owned(), address }, true)
            }
            _ => return None,
        })
    }

    /// The namespace that it is in.
    pub(crate) fn namespace(&self) -> &str {
        match self {
            Self::Service { namespace, .. }
            | Self::Member { namespace, .. }
            | Self::Pod { namespace, .. } => namespace,
        }
    }
}

fn is_label(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    !text.is_empty() && text.len() <= 63 && text.bytes().all(inner) && !text.starts_with('-')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(host: &str) -> Option<(String, bool)> {
        let (name, certain) = ClusterName::parse(host, "shop")?;
        let text = match name {
            ClusterName::Service { namespace, name } => format!("svc {namespace}/{name}"),
            ClusterName::Member { namespace, service, hostname } => {
                format!("pod {namespace}/{service}/{hostname}")
            }
            ClusterName::Pod { namespace, address } => format!("ip {namespace}/{address}"),
        };
        Some((text, certain))
    }

    #[test]
    fn names_of_services_and_pods_are_told_from_others() {
        for (host, expected) in [
            ("orders-db", Some(("svc shop/orders-db", false))),
            ("orders-db.data", Some(("svc data/orders-db", false))),
            ("orders-db.data.svc", Some(("svc data/orders-db", true))),
            ("Orders-DB.data.svc.cluster.local.", Some(("svc data/orders-db", true))),
            ("db-0.orders-db.data.svc", Some(("pod data/orders-db/db-0", true))),
            ("db-0.orders-db.data.svc.corp.example", Some(("pod data/orders-db/db-0", true))),
            ("10-0-0-7.data.pod.cluster.local", Some(("ip data/10.0.0.7", true))),
            ("fd00--7.data.pod", Some(("ip data/fd00::7", true))),
            ("x.data.pod", None),
            ("orders.eu-west-1.rds.amazonaws.com", None),
            ("orders.svc.example.com", None),
            ("db.example.com", None),
            ("10.0.0.7", None),
            ("fd00::7", None),
            ("", None),
            ("a..svc", None),
            ("_x.y.svc", None),
        ] {
            let expected = expected.map(|(text, certain): (&str, bool)| (text.to_owned(), certain));
            assert_eq!(parse(host), expected, "{host}");
        }
    }
}
