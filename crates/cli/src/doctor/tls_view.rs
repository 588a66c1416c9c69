//! What a probe means. Pure.

use jiff::Timestamp;
use rolecall_engine::Reason;
use rolecall_pki::tls::{CertificateView, Inspection, Tls, verdict, view};
use rustls_pki_types::UnixTime;

use super::probe::{Probe, Seen};
use super::report::{Area, Check, Status};

/// How long before its end a certificate is warned of, in seconds.
const SOON: i64 = 14 * 24 * 3_600;

/// What the server's certificate is checked against.
#[derive(Clone, Debug)]
pub(super) enum Authorities {
    /// These, as PEM; `None`: those of the system.
    Known(Option<String>),
    /// They could not be read, for this reason.
    Unknown(String),
}

/// What else decides what a probe means.
#[derive(Clone, Copy, Debug)]
pub(super) struct Setting<'a> {
    /// How the certificate is verified, without the CAs.
    pub(super) tls: &'a Tls,
    /// The CAs.
    pub(super) authorities: &'a Authorities,
    /// Does the operator reach the server?
    pub(super) operator_reaches: Option<bool>,
    /// Somebody logs in with a certificate: the admin user, or its users.
    pub(super) by_certificate: bool,
    /// The time.
    pub(super) now: Timestamp,
}

/// What was seen of one place.
pub(super) fn checks(probe: &Probe, setting: Setting<'_>) -> Vec<Check> {
    let address = &probe.address;
    match &probe.seen {
        Seen::NoName(why) => {
            vec![unseen(setting, format!("{address} cannot be resolved from here: {why}"))]
        }
        Seen::NoAnswer(addresses, why) => {
            let at = addresses.join(", ");
            vec![unseen(setting, format!("{address} ({at}) does not answer from here: {why}"))]
        }
        Seen::Foreign(addresses, why) => vec![
            answers(address, addresses),
            Check::failed(
                Area::Tls,
                format!("{address} breaks the exchange off before TLS: {why}; check the port, and what is between here and the server"),
            )
            .because(Reason::TlsFailed.as_str()),
        ],
        Seen::NoTls(addresses) => vec![
            answers(address, addresses),
            Check::failed(
                Area::Tls,
                format!("{address} offers no TLS: turn it on in the server (ssl = on), or set tls.mode: Disable"),
            )
            .because(Reason::TlsFailed.as_str()),
        ],
        Seen::Plain(addresses) => vec![
            answers(address, addresses),
            Check::new(
                Area::Tls,
                Status::Warning,
                "tls.mode is Disable: whoever is between the operator and the server reads everything",
            ),
        ],
        Seen::Tls(addresses, inspection) => {
            let mut checks = vec![answers(address, addresses)];
            checks.extend(of_inspection(probe, inspection, setting));
            checks
        }
    }
}

fn answers(address: &str, addresses: &[String]) -> Check {
    Check::ok(Area::Address, format!("{address} ({}) answers from here", addresses.join(", ")))
}

/// It cannot be reached from here, which is a fault only if the operator does not reach it, either.
fn unseen(setting: Setting<'_>, what: String) -> Check {
    match setting.operator_reaches {
        Some(true) => Check::new(
            Area::Address,
            Status::Unknown,
            format!(
                "{what}; the operator reaches it: to look from here as well, forward its port and name it with --address"
            ),
        ),
        _ => Check::failed(
            Area::Address,
            format!("{what}; check the address, the server and the network between"),
        )
        .because(Reason::DatabaseUnreachable.as_str()),
    }
}

fn of_inspection(probe: &Probe, inspection: &Inspection, setting: Setting<'_>) -> Vec<Check> {
    let mut checks = Vec::new();
    let chain = &inspection.chain;
    if chain.is_empty() {
        let why = match &inspection.broken_off {
            Some(fault) => sentence(&fault.detail, &fault.remedy),
            None => "the server shows no certificate".to_owned(),
        };
        return vec![Check::failed(Area::Tls, why).because(Reason::TlsFailed.as_str())];
    }
    match setting.authorities {
        Authorities::Unknown(why) => checks.push(Check::new(
            Area::Tls,
            Status::Unknown,
            format!("whether the certificate of {} is trusted could not be checked: {why}", probe.address),
        )),
        Authorities::Known(authorities) => {
            let mut tls = setting.tls.clone();
            tls.ca_pem.clone_from(authorities);
            let now = UnixTime::since_unix_epoch(std::time::Duration::from_secs(
                setting.now.as_second().try_into().unwrap_or_default(),
            ));
            checks.push(match verdict(&tls, &probe.name, chain, now) {
                Ok(None) => {
                    let version = inspection.version.as_deref().unwrap_or("TLS").replace('_', ".");
                    Check::ok(
                        Area::Tls,
                        format!(
                            "{} proves to be {:?} by a certificate that is trusted ({version})",
                            probe.address, probe.name
                        ),
                    )
                }
                Ok(Some(fault)) => Check::failed(Area::Tls, sentence(&fault.detail, &fault.remedy))
                    .because(Reason::TlsFailed.as_str()),
                Err(error) => Check::failed(Area::Tls, error.to_string()).because(error.reason.as_str()),
            });
        }
    }
    let views: Vec<Option<CertificateView>> = chain.iter().map(view).collect();
    for (index, one) in views.iter().enumerate() {
        checks.push(certificate(one.as_ref(), index + 1, views.len(), setting.now));
    }
    if setting.by_certificate && !inspection.asks_for_certificate {
        checks.push(
            Check::failed(
                Area::Tls,
                "the server asks nobody for a client certificate, so nobody can log in with one: let it name a file with the CAs of client certificates (PostgreSQL: ssl_ca_file; MongoDB: net.tls.CAFile)",
            )
            .because(Reason::ClientCaNotTrusted.as_str()),
        );
    }
    checks
}

/// One certificate of the chain.
fn certificate(view: Option<&CertificateView>, number: usize, of: usize, now: Timestamp) -> Check {
    let which = format!("certificate {number} of {of}");
    let Some(view) = view else {
        return Check::failed(Area::Tls, format!("{which} is not encoded as X.509 demands"));
    };
    let names = match view.names.as_slice() {
        [] => String::new(),
        names => format!(", for {}", names.join(", ")),
    };
    let text = format!(
        "{which}: {}, issued by {}, valid from {} until {}{names}",
        view.subject, view.issuer, view.not_before, view.not_after
    );
    let left = view.not_after_seconds - now.as_second();
    match left {
        ..0 => Check::failed(Area::Tls, format!("{text}: it has expired")),
        0..SOON => Check::new(
            Area::Tls,
            Status::Warning,
            format!("{text}: it expires in {} days", left / (24 * 3_600)),
        ),
        _ => Check::ok(Area::Tls, text),
    }
}

fn sentence(detail: &str, remedy: &str) -> String {
    if remedy.is_empty() { detail.to_owned() } else { format!("{detail}; {remedy}") }
}

#[cfg(test)]
mod tests {
    use rolecall_testbed::Authority;
    use rustls_pki_types::CertificateDer;
    use rustls_pki_types::pem::PemObject;

    use super::*;

    fn seen(names: &[&str], authority: &Authority) -> Probe {
        let issued = authority.server(names).expect("a certificate can be made");
        let chain = CertificateDer::pem_slice_iter(issued.cert_pem.as_bytes())
            .collect::<Result<Vec<_>, _>>()
            .expect("PEM");
        let inspection = Inspection {
            chain,
            version: Some("TLSv1_3".to_owned()),
            asks_for_certificate: true,
            broken_off: None,
        };
        Probe {
            address: "db:5432".to_owned(),
            name: "db".to_owned(),
            seen: Seen::Tls(vec!["10.0.0.1".to_owned()], Box::new(inspection)),
        }
    }

    fn statuses(probe: &Probe, authorities: &Authorities, now: Timestamp) -> Vec<(Area, Status)> {
        let tls = Tls::default();
        let setting =
            Setting { tls: &tls, authorities, operator_reaches: Some(true), by_certificate: true, now };
        checks(probe, setting).iter().map(|check| (check.area, check.status)).collect()
    }

    #[test]
    fn a_chain_is_shown_and_judged() {
        rustls::crypto::aws_lc_rs::default_provider().install_default().ok();
        let authority = Authority::new("servers").expect("a CA can be made");
        let known = Authorities::Known(Some(authority.cert_pem().to_owned()));
        let now = Timestamp::now();
        let good = statuses(&seen(&["db"], &authority), &known, now);
        assert_eq!(
            good[..3],
            [(Area::Address, Status::Ok), (Area::Tls, Status::Ok), (Area::Tls, Status::Ok)]
        );
        let unknown = Authorities::Unknown("no right to read it".to_owned());
        assert_eq!(statuses(&seen(&["db"], &authority), &unknown, now)[1].1, Status::Unknown);
        assert_eq!(statuses(&seen(&["other"], &authority), &known, now)[1].1, Status::Failed, "the name");
        let other = Authority::new("others").expect("a CA can be made");
        assert_eq!(statuses(&seen(&["db"], &other), &known, now)[1].1, Status::Failed, "the CA");
        let later = now + jiff::SignedDuration::from_hours(24 * 365 * 200);
        let expired = statuses(&seen(&["db"], &authority), &known, later);
        assert_eq!((expired[1].1, expired[2].1), (Status::Failed, Status::Failed));
    }

    #[test]
    fn a_server_that_the_operator_reaches_need_not_be_reached_from_here() {
        let tls = Tls::default();
        let probe = Probe {
            address: "orders-db.shop.svc:5432".to_owned(),
            name: "orders-db.shop.svc".to_owned(),
            seen: Seen::NoName("no such host".to_owned()),
        };
        let authorities = Authorities::Known(None);
        let of = |operator_reaches| {
            let setting = Setting {
                tls: &tls,
                authorities: &authorities,
                operator_reaches,
                by_certificate: false,
                now: Timestamp::now(),
            };
            checks(&probe, setting).remove(0)
        };
        assert_eq!((of(Some(true)).status, of(None).status), (Status::Unknown, Status::Failed));
        assert!(of(Some(true)).message.contains("--address"));
    }

    #[test]
    fn a_server_that_asks_for_no_certificate_lets_nobody_in_by_one() {
        let authority = Authority::new("servers").expect("a CA can be made");
        let mut probe = seen(&["db"], &authority);
        if let Seen::Tls(_, inspection) = &mut probe.seen {
            inspection.asks_for_certificate = false;
        }
        let known = Authorities::Known(Some(authority.cert_pem().to_owned()));
        let last = statuses(&probe, &known, Timestamp::now()).pop();
        assert_eq!(last, Some((Area::Tls, Status::Failed)));
    }
}
