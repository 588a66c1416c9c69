//! The databases in the configuration file of a Teleport agent.

use super::resource::{self, Resource};
use super::{Fields, Report, Reporter};
use crate::input::Location;

/// The databases under `db_service`.
///
/// # Errors
///
/// A field with an unexpected value, a database without a name.
pub(super) fn read<'a>(
    mut file: Fields<'a>,
    place: &'a Location,
    report: &mut Report,
) -> anyhow::Result<Vec<Resource<'a>>> {
    let mut reporter = Reporter { place, resource: "agent configuration".to_owned(), report };
    let mut service = file.fields("db_service")?;
    // Databases that are written down here are meant, whether this agent serves them now or not.
    service.take("enabled");
    let databases = service.take("databases");
    for field in service.rest() {
        reporter.lost(field.path, "databases are not discovered; write a DatabaseAdmin for each");
    }
    let other: Vec<String> = file.rest().into_iter().map(|field| field.path).collect();
    if !other.is_empty() {
        reporter.note("", format!("not about databases and left out: {}", other.join(", ")));
    }
    let mut resources = Vec::new();
    for field in databases.into_iter().flat_map(|field| field.items()) {
        let unnamed = field.clone();
        let mut spec = field.fields()?;
        let Some(name) = spec.text("name")? else { return unnamed.refuse("a database with a name") };
        // What is `metadata.labels` in a resource is `static_labels` here.
        let labels = resource::labels(&mut spec, "static_labels")?;
        let description = spec.text("description")?;
        resources.push(Resource::of_agent(place, name, labels, description, spec));
    }
    Ok(resources)
}
