//! Templates of label values in import rules, such as `{{obj.schema}}`.

use crate::limits::check_text;
use crate::template::{TemplateError, split_braces};

/// What a label template can name of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Attribute {
    /// `obj.protocol`
    Protocol,
    /// `obj.database_service_name`: the name of the database server's resource.
    DatabaseServiceName,
    /// `obj.object_kind`
    ObjectKind,
    /// `obj.database`: the logical database.
    Database,
    /// `obj.schema`
    Schema,
    /// `obj.name`
    Name,
}

/// The attributes of one object.
#[derive(Clone, Copy, Debug)]
pub struct Attributes<'a> {
    /// What the server speaks.
    pub protocol: &'a str,
    /// Name of the database server's resource.
    pub database_service_name: &'a str,
    /// The object's kind.
    pub object_kind: &'a str,
    /// The logical database.
    pub database: &'a str,
    /// The schema.
    pub schema: &'a str,
    /// The object's own name.
    pub name: &'a str,
}

impl<'a> Attributes<'a> {
    fn get(&self, attribute: Attribute) -> &'a str {
        match attribute {
            Attribute::Protocol => self.protocol,
            Attribute::DatabaseServiceName => self.database_service_name,
            Attribute::ObjectKind => self.object_kind,
            Attribute::Database => self.database,
            Attribute::Schema => self.schema,
            Attribute::Name => self.name,
        }
    }
}

/// The value that an import rule gives a label: text, or text around one attribute of the object. White space
/// at both ends is not part of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LabelTemplate {
    prefix: Box<str>,
    attribute: Option<Attribute>,
    suffix: Box<str>,
}

impl LabelTemplate {
    /// Reads a template.
    ///
    /// # Errors
    ///
    /// Braces that are not one pair of `{{` and `}}`, or anything but one of the six variables between them.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        check_text(text).map_err(TemplateError)?;
        let Some((prefix, inside, suffix)) = split_braces(text)? else {
            return Ok(Self::literal(text.trim()));
        };
        let name: String = inside.split_whitespace().collect::<Vec<_>>().join(" ");
        let attribute = match name.as_str() {
            "obj.protocol" => Attribute::Protocol,
            "obj.database_service_name" => Attribute::DatabaseServiceName,
            "obj.object_kind" => Attribute::ObjectKind,
            "obj.database" => Attribute::Database,
            "obj.schema" => Attribute::Schema,
            "obj.name" => Attribute::Name,
            _ => {
                return Err(TemplateError(format!(
                    "{{{{{name}}}}} is no variable: there are obj.protocol, obj.database_service_name, \
                     obj.object_kind, obj.database, obj.schema and obj.name"
                )));
            }
        };
        Ok(Self {
            prefix: prefix.trim_start().into(),
            attribute: Some(attribute),
            suffix: suffix.trim_end().into(),
        })
    }

    /// A value that is the same for every object.
    pub(crate) fn literal(text: &str) -> Self {
        Self { prefix: text.into(), attribute: None, suffix: "".into() }
    }

    /// The attribute that it names.
    pub(crate) fn attribute(&self) -> Option<Attribute> {
        self.attribute
    }

    /// The label's value for an object.
    pub fn value(&self, object: &Attributes<'_>) -> String {
        let mut value = String::new();
        self.write(object, &mut value);
        value
    }

    /// Like [`LabelTemplate::value`], into a string that is used again and again.
    pub(crate) fn write(&self, object: &Attributes<'_>, value: &mut String) {
        value.clear();
        value.push_str(&self.prefix);
        if let Some(attribute) = self.attribute {
            value.push_str(object.get(attribute));
        }
        value.push_str(&self.suffix);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OBJECT: Attributes<'_> = Attributes {
        protocol: "postgres",
        database_service_name: "orders",
        object_kind: "table",
        database: "app",
        schema: "hr",
        name: "salaries",
    };

    #[test]
    fn only_white_space_at_the_ends_goes() {
        let template = LabelTemplate::parse("  in {{ obj.schema }} now ").expect("well-formed");
        assert_eq!(template.value(&OBJECT), "in hr now");
    }

    #[test]
    fn faults_name_the_variables() {
        for text in ["{{}}", "{{obj}}", "{{external.team}}", "{{obj.schema.name}}", "{{\"x\"}}"] {
            let error = LabelTemplate::parse(text).expect_err(text).to_string();
            assert!(error.contains("obj.schema"), "{error}");
        }
    }
}
