//! The bytes that are hashed: JSON in the canonical form of RFC 8785 (JCS). It does not depend on the order of fields or
//! on spaces, so that a collector may write a line anew.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

/// A JSON object in canonical form. Numbers have to be integers, as all in the audit log are.
pub fn canonical(object: &Map<String, Value>) -> String {
    let mut text = String::with_capacity(512);
    write_object(object, None, &mut text);
    text
}

/// The same without one of its fields.
pub(crate) fn canonical_without(object: &Map<String, Value>, field: &str) -> String {
    let mut text = String::with_capacity(512);
    write_object(object, Some(field), &mut text);
    text
}

fn write_object(object: &Map<String, Value>, without: Option<&str>, text: &mut String) {
    let mut fields: Vec<(&String, &Value)> =
        object.iter().filter(|(name, _)| without != Some(name.as_str())).collect();
    fields.sort_by(|(a, _), (b, _)| a.encode_utf16().cmp(b.encode_utf16()));
    text.push('{');
    for (number, (name, value)) in fields.into_iter().enumerate() {
        if number > 0 {
            text.push(',');
        }
        write_text(name, text);
        text.push(':');
        write(value, text);
    }
    text.push('}');
}

fn write(value: &Value, text: &mut String) {
    match value {
        Value::Object(object) => write_object(object, None, text),
        Value::Array(items) => {
            text.push('[');
            for (number, item) in items.iter().enumerate() {
                if number > 0 {
                    text.push(',');
                }
                write(item, text);
            }
            text.push(']');
        }
        Value::String(string) => write_text(string, text),
        Value::Null | Value::Bool(_) | Value::Number(_) => text.push_str(&value.to_string()),
    }
}

/// serde_json escapes what RFC 8785 escapes, in the same way, and nothing else.
fn write_text(string: &str, text: &mut String) {
    text.push_str(&Value::from(string).to_string());
}

/// A JSON object, read strictly: a field that occurs twice is an error. Readers differ in which of the two they take, so
/// that one could be shown to people and another one be hashed.
#[derive(Debug)]
pub(crate) struct Strict(pub(crate) Map<String, Value>);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match StrictValue::deserialize(deserializer)?.0 {
            Value::Object(object) => Ok(Self(object)),
            _ => Err(serde::de::Error::custom("it is no object")),
        }
    }
}

struct StrictValue(Value);

impl<'de> Deserialize<'de> for StrictValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(StrictVisitor).map(Self)
    }
}

struct StrictVisitor;

impl<'de> Visitor<'de> for StrictVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(StrictValue(item)) = items.next_element()? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some((name, StrictValue(value))) = fields.next_entry::<String, StrictValue>()? {
            if object.contains_key(&name) {
                return Err(serde::de::Error::custom(format!("the field {name:?} occurs twice")));
            }
            object.insert(name, value);
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(value: &Value) -> String {
        canonical(value.as_object().unwrap())
    }

    #[test]
    fn order_and_spaces_do_not_matter_and_content_does() {
        let one: Value = serde_json::from_str(r#"{ "b": ["x", 1],  "a": "ü\u000a" }"#).unwrap();
        assert_eq!(of(&one), "{\"a\":\"ü\\n\",\"b\":[\"x\",1]}");
        assert_ne!(of(&json!({"a": 1})), of(&json!({"a": "1"})));
    }

    #[test]
    fn fields_are_in_the_order_of_rfc_8785() {
        // The example of section 3.2.3, as far as it concerns names.
        let object =
            json!({"\u{20ac}": 1, "\r": 2, "\u{fb33}": 3, "1": 4, "\u{1f600}": 5, "\u{80}": 6, "ö": 7});
        let text = of(&object);
        let position = |name: &str| text.find(&Value::from(name).to_string());
        let order = ["\r", "1", "\u{80}", "ö", "\u{20ac}", "\u{1f600}", "\u{fb33}"].map(position);
        assert!(order.is_sorted() && order[0].is_some(), "{text}");
    }

    #[test]
    fn a_field_that_occurs_twice_is_refused() {
        let twice = serde_json::from_str::<Strict>(r#"{"user": "alice", "user": "bob"}"#);
        assert!(twice.unwrap_err().to_string().contains("occurs twice"));
        assert!(serde_json::from_str::<Strict>(r#"{"a": {"b": 1, "b": 1}}"#).is_err());
        assert!(serde_json::from_str::<Strict>("[]").is_err());
    }
}
