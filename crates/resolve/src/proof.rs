//! How an admin user authenticates.

use rolecall_api::{DatabaseAdmin, reasons};

use crate::Blocked;

/// How the admin user authenticates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AdminProof<'a> {
    /// The certificate and key in a Secret of type `kubernetes.io/tls`.
    X509 {
        /// The Secret.
        secret: &'a str,
    },
    /// A password.
    Password {
        /// The Secret.
        secret: &'a str,
        /// The key in it.
        key: &'a str,
    },
    /// By AWS credentials.
    AwsIam,
}

impl AdminProof<'_> {
    /// The field that says so; of a Secret the one that names it.
    pub fn field(self) -> &'static str {
        match self {
            Self::X509 { .. } => "spec.auth.x509.secretRef",
            Self::Password { .. } => "spec.auth.password.secretRef",
            Self::AwsIam => "spec.auth.awsIam",
        }
    }
}

/// How the admin user authenticates.
///
/// # Errors
///
/// The DatabaseAdmin names no supported way.
pub fn admin_proof(admin: &DatabaseAdmin) -> Result<AdminProof<'_>, Blocked> {
    let auth = &admin.spec.auth;
    if let Some(x509) = &auth.x509 {
        return Ok(AdminProof::X509 { secret: &x509.secret_ref.name });
    }
    if auth.aws_iam.is_some() {
        return Ok(AdminProof::AwsIam);
    }
    match &auth.password {
        Some(password) => {
            Ok(AdminProof::Password { secret: &password.secret_ref.name, key: &password.secret_ref.key })
        }
        None => Err(Blocked::new(
            reasons::UNSUPPORTED,
            "spec.auth names no way for the admin user to log in; use x509, password or awsIam",
        )),
    }
}
