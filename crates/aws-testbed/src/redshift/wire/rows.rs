//! Rows on the wire, as text or as drivers want the simple types.

use bytes::{BufMut, BytesMut};
use pgwire::messages::PgWireBackendMessage as Backend;
use pgwire::messages::data::{DataRow, FieldDescription, RowDescription};

use crate::redshift::read::{Column, Row, Type, Value};

const TEXT: i16 = 0;

/// The OID and the size of a type.
fn oid(of: Type) -> (u32, i16) {
    match of {
        Type::Bool => (16, 1),
        Type::Int => (23, 4),
        Type::BigInt => (20, 8),
        Type::Oid => (26, 4),
        Type::Text => (1043, -1),
        Type::Name => (19, 64),
        Type::Char(_) => (1042, -1),
        Type::Timestamp => (1114, 8),
        Type::Abstime => (702, 4),
        Type::TextArray => (1009, -1),
    }
}

/// The format of a column: one for all, or one for each, or text.
fn format(formats: &[i16], column: usize) -> i16 {
    match formats {
        [one] => *one,
        many => many.get(column).copied().unwrap_or(TEXT),
    }
}

pub(super) fn description(columns: &[Column], formats: &[i16]) -> Backend {
    let fields = columns.iter().enumerate().map(|(at, column)| {
        let (oid, size) = oid(column.of);
        let modifier = match column.of {
            Type::Char(width) => i32::try_from(width).map_or(-1, |width| width + 4),
            _ => -1,
        };
        FieldDescription::new(column.name.clone(), 0, 0, oid, size, modifier, format(formats, at))
    });
    Backend::RowDescription(RowDescription::new(fields.collect()))
}

pub(super) fn row(row: &Row, columns: &[Column], formats: &[i16]) -> Backend {
    let mut data = BytesMut::new();
    for (at, value) in row.iter().enumerate() {
        let of = columns.get(at).map_or(Type::Text, |column| column.of);
        match value_of(value, of, format(formats, at) != TEXT) {
            Some(bytes) => {
                data.put_i32(i32::try_from(bytes.len()).unwrap_or_default());
                data.put_slice(&bytes);
            }
            None => data.put_i32(-1),
        }
    }
    Backend::DataRow(DataRow::new(data, i16::try_from(row.len()).unwrap_or_default()))
}

fn value_of(value: &Value, of: Type, binary: bool) -> Option<Vec<u8>> {
    Some(match value {
        Value::Null => return None,
        Value::Bool(value) if binary => vec![u8::from(*value)],
        Value::Bool(value) => if *value { "t" } else { "f" }.into(),
        Value::Int(number) if binary && of == Type::BigInt => number.to_be_bytes().to_vec(),
        Value::Int(number) if binary => i32::try_from(*number).unwrap_or_default().to_be_bytes().to_vec(),
        Value::Int(number) => number.to_string().into_bytes(),
        Value::Text(text) if binary && of == Type::Timestamp => micros(text).to_be_bytes().to_vec(),
        Value::Text(text) => text.clone().into_bytes(),
    })
}

/// Microseconds since the year 2000.
fn micros(text: &str) -> i64 {
    const YEAR_2000: i64 = 946_684_800_000_000;
    let time = text.replacen(' ', "T", 1).parse::<jiff::civil::DateTime>();
    let at = time.ok().and_then(|time| time.to_zoned(jiff::tz::TimeZone::UTC).ok());
    at.map_or(0, |at| at.timestamp().as_microsecond() - YEAR_2000)
}
