//! Users.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use rolecall_api::{DatabaseUser, DatabaseUserSpec};

use super::fields::Field;
use super::resource::Kind;
use super::{Names, Object, Reporter, Resource};

/// The longest name that a database server keeps whole.
const MAX_USERNAME: usize = 63;

/// Converts a user.
///
/// # Errors
///
/// A field with an unexpected value.
pub(super) fn convert(
    mut resource: Resource<'_>,
    metadata: ObjectMeta,
    names: &mut Names,
    reporter: &mut Reporter<'_>,
) -> anyhow::Result<Vec<Object>> {
    let roles = resource.spec.texts("roles")?;
    let roles = roles.iter().map(|role| names.name(Kind::Role.name(), role)).collect();
    let mut traits = resource.spec.take("traits").map(Field::selector).transpose()?.unwrap_or_default();
    traits.retain(|_, values| !values.is_empty());
    let mut status = resource.spec.fields("status")?;
    let suspend = status.truth("is_locked")?.unwrap_or_default();
    if suspend {
        reporter.note("spec.status.is_locked", "the user is suspended until suspend is set to false");
    }
    if resource
        .spec
        .take("expires")
        .is_some_and(|field| !field.text().is_ok_and(|text| text.starts_with("0001-")))
    {
        reporter.lost("spec.expires", "objects do not expire; delete it in time");
    }
    let other: Vec<String> = resource.spec.rest().into_iter().map(|field| field.path).collect();
    if !other.is_empty() {
        reporter.note("", format!("not about databases and left out: {}", other.join(", ")));
    }
    let renamed = metadata.name.as_deref() != Some(&resource.name);
    if resource.name.len() > MAX_USERNAME {
        reporter.lost(
            "metadata.name",
            format!(
                "it has {} bytes, and a database server keeps at most {MAX_USERNAME}: write another spec.username",
                resource.name.len()
            ),
        );
    }
    let spec = DatabaseUserSpec {
        username: renamed.then(|| resource.name.clone()),
        origin_cluster: None,
        roles,
        traits,
        suspend,
    };
    Ok(vec![Object::User(Box::new(DatabaseUser { metadata, spec, status: None }))])
}
