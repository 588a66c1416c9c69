//! Objects by name, as kubectl takes them: `NAME`, or `KIND/NAME` as other commands print them.

use anyhow::bail;
use kube::Resource;
use rolecall_api::names::{GROUP, VERSION};
use rolecall_api::{
    DatabaseAdmin, DatabaseSession, DatabaseSessionDecision, DatabaseUser, DbObjectImportRule,
    ProvisioningRole,
};

/// The name in `NAME`, `dbs/NAME`, `databasesession/NAME`, `databasesessions.rolecall.dev/NAME`.
///
/// # Errors
///
/// A kind that is another one, or none.
pub fn name_of<K: Resource<DynamicType = ()>>(text: &str) -> anyhow::Result<String> {
    let Some((kind, name)) = text.split_once('/') else { return Ok(text.to_owned()) };
    match kind_called(kind) {
        Some(found) if found.kind == K::kind(&()) => Ok(name.to_owned()),
        Some(found) => {
            bail!("{text:?} names a {}, but a {} is expected here", found.kind, K::kind(&()))
        }
        None => {
            let meant =
                likely(kind).map(|meant| format!(" (did you mean {meant}/{name}?)")).unwrap_or_default();
            bail!("{kind:?} in {text:?} is no kind{meant}; write the {}'s name alone", K::kind(&()))
        }
    }
}

/// As [`name_of`], for a DatabaseUser, which may also be called by its name in databases: that may contain a slash.
///
/// # Errors
///
/// A kind that is another one.
pub fn user_of(text: &str) -> anyhow::Result<String> {
    match text.split_once('/') {
        Some((kind, _)) if kind_called(kind).is_some() => name_of::<DatabaseUser>(text),
        _ => Ok(text.to_owned()),
    }
}

/// The kind that was probably meant.
fn likely(text: &str) -> Option<String> {
    /// From here on words look alike.
    const ALIKE: f64 = 0.9;
    let text = text.to_ascii_lowercase();
    let names = kinds().into_iter().flat_map(|kind| kind.called).filter(|name| name.len() > 4);
    let likeness = |name: &String| strsim::jaro_winkler(name, &text);
    names.filter(|name| likeness(name) > ALIKE).max_by(|a, b| likeness(a).total_cmp(&likeness(b)))
}

struct Kind {
    kind: String,
    called: Vec<String>,
}

/// The kind that is called so: by its name, its plural or a short name, with or without group and version.
fn kind_called(text: &str) -> Option<Kind> {
    let text = text.to_ascii_lowercase();
    let group = format!(".{GROUP}");
    let version = format!(".{VERSION}");
    let bare = text.strip_suffix(&group).unwrap_or(&text);
    let bare = if bare.len() < text.len() { bare.strip_suffix(&version).unwrap_or(bare) } else { bare };
    kinds().into_iter().find(|kind| kind.called.iter().any(|name| name == bare))
}

fn kinds() -> [Kind; 6] {
    fn of<K: Resource<DynamicType = ()>>(short: &str) -> Kind {
        let kind = K::kind(&()).into_owned();
        let called = vec![kind.to_ascii_lowercase(), K::plural(&()).into_owned(), short.to_owned()];
        Kind { kind, called }
    }
    [
        of::<DatabaseAdmin>("dba"),
        of::<ProvisioningRole>("prole"),
        of::<DbObjectImportRule>("doir"),
        of::<DatabaseUser>("dbu"),
        of::<DatabaseSession>("dbs"),
        of::<DatabaseSessionDecision>("dbsd"),
    ]
}

#[cfg(test)]
mod tests {
    use kube::CustomResourceExt;

    use super::*;

    #[test]
    fn a_kind_may_precede_the_name() {
        for text in [
            "a",
            "dbs/a",
            "DBS/a",
            "DatabaseSession/a",
            "databasesessions/a",
            "databasesession.rolecall.dev/a",
            "databasesessions.v1alpha1.rolecall.dev/a",
        ] {
            assert_eq!(name_of::<DatabaseSession>(text).expect(text), "a", "{text}");
        }
        assert_eq!(
            name_of::<DatabaseSession>("dba/orders").expect_err("refused").to_string(),
            "\"dba/orders\" names a DatabaseAdmin, but a DatabaseSession is expected here"
        );
        assert_eq!(
            name_of::<DatabaseAdmin>("pod/orders").expect_err("refused").to_string(),
            "\"pod\" in \"pod/orders\" is no kind; write the DatabaseAdmin's name alone"
        );
        assert_eq!(
            name_of::<DatabaseSession>("databasesesion/a").expect_err("refused").to_string(),
            "\"databasesesion\" in \"databasesesion/a\" is no kind (did you mean databasesession/a?); write the \
             DatabaseSession's name alone"
        );
        assert_eq!(user_of("dbu/alice").expect("a user"), "alice");
        assert_eq!(user_of("host/alice").expect("a name in databases"), "host/alice");
        assert!(user_of("dbs/alice").is_err());
    }

    #[test]
    fn short_names_are_those_of_the_definitions() {
        for crd in rolecall_api::crds() {
            let names = &crd.spec.names;
            let short = names.short_names.clone().unwrap_or_default();
            for name in short.iter().chain([&names.plural, &names.kind]).chain(&names.singular) {
                assert_eq!(kind_called(name).expect(name).kind, names.kind);
            }
        }
        assert_eq!(DatabaseSession::crd_name(), "databasesessions.rolecall.dev");
    }
}
