//! Amazon's databases: which one a host is, the CAs of RDS, and how an admin user logs in by IAM.
//!
//! | module | contains |
//! |---|---|
//! | [`host`] | what a host name says |
//! | [`roots`] | the CAs of RDS by region |
//! | [`credentials`] | the AWS credentials of this process |
//! | [`rds_token`] | logins to RDS and Aurora: signed here, without a call to AWS |
//! | [`cluster_credentials`] | logins to Redshift: lent by GetClusterCredentials |

pub mod cluster_credentials;
pub mod credentials;
mod failure;

pub mod host;
mod http_client;
pub mod rds_token;
pub mod roots;
mod sign;

pub use cluster_credentials::{Cluster, ClusterLogin, ClusterTarget, Endpoint};
pub use credentials::{Aws, Credentials};
pub use host::{Host, Service};
pub use rds_token::{RdsLogin, Target};
pub use roots::rds_roots;
