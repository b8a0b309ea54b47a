//! Counts what a document comes to while it is written, so that none is written which could not be
//! read again.

use std::io::{self, Write};

use super::{
    Document,
    document::{MOST_LEVELS, MOST_VALUES},
};

/// Passes JSON on, and counts its bytes, values and levels.
pub(super) struct Tally<'a> {
    out: &'a mut dyn Write,
    bytes: u64,
    /// Values that began, the one under way included.
    values: u64,
    level: u32,
    deepest: u32,
    /// Between the quotes of a string; behind a backslash in it.
    quoted: Option<Escaped>,
    /// An object or array was opened, and nothing stands in it yet.
    opened: bool,
}

type Escaped = bool;

impl<'a> Tally<'a> {
    pub(super) fn new(out: &'a mut dyn Write) -> Self {
        Self {
            out,
            bytes: 0,
            values: 1,
            level: 0,
            deepest: 0,
            quoted: None,
            opened: false,
        }
    }

    /// Tells whether a document of this kind may be so.
    pub(super) fn check(&self, document: &Document) -> io::Result<()> {
        let max = document.max_bytes;
        let too_much = [
            (self.bytes > max, format!("more than {max} bytes")),
            (
                self.values > u64::from(MOST_VALUES),
                format!("more than {MOST_VALUES} values"),
            ),
            (
                self.deepest > MOST_LEVELS,
                format!("nested more than {MOST_LEVELS} deep"),
            ),
        ];
        match too_much.into_iter().find(|(so, _)| *so) {
            None => Ok(()),
            Some((_, what)) => Err(io::Error::new(
                io::ErrorKind::FileTooLarge,
                format!("it comes to {what}, and could not be read again"),
            )),
        }
    }

    fn count(&mut self, byte: u8) {
        self.quoted = match (self.quoted, byte) {
            (Some(true), _) => Some(false),
            (Some(false), b'\\') => Some(true),
            (Some(false), b'"') => None,
            (Some(false), _) => Some(false),
            (None, _) => return self.count_structure(byte),
        };
    }

    /// Each comma is followed by one more value, and so is an opening, unless it closes at once.
    fn count_structure(&mut self, byte: u8) {
        match byte {
            b' ' | b'\n' => return,
            b'{' | b'[' => {
                self.begin();
                self.opened = true;
                self.level = self.level.saturating_add(1);
                self.deepest = self.deepest.max(self.level);
                return;
            }
            b'}' | b']' => {
                self.opened = false;
                self.level = self.level.saturating_sub(1);
            }
            b',' => self.values = self.values.saturating_add(1),
            b'"' => self.quoted = Some(false),
            _ => {}
        }
        self.begin();
    }

    /// Something stands in what was opened last.
    fn begin(&mut self) {
        self.values = self.values.saturating_add(u64::from(self.opened));
        self.opened = false;
    }
}

impl Write for Tally<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes)?;
        self.bytes = self.bytes.saturating_add(written as u64);
        bytes[..written].iter().for_each(|&byte| self.count(byte));
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn json_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            r#"[a-c\\"{}\[\], \n]{0,6}"#.prop_map(Value::from),
        ];
        leaf.prop_recursive(5, 40, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                prop::collection::btree_map(r#"[a\\"{,]{0,3}"#, inner, 0..5).prop_map(|map| {
                    Value::from(map.into_iter().collect::<serde_json::Map<_, _>>())
                }),
            ]
        })
    }

    /// Values and levels of a value, counted on the value.
    fn size(value: &Value) -> (u64, u32) {
        let within: Vec<&Value> = match value {
            Value::Array(list) => list.iter().collect(),
            Value::Object(map) => map.values().collect(),
            _ => return (1, 0),
        };
        let sizes = within.into_iter().map(size);
        sizes.fold((1, 1), |(values, levels), (more, deep)| {
            (values + more, levels.max(deep + 1))
        })
    }

    fn tally(value: &Value, pretty: bool) -> (u64, u32, u64, usize) {
        let mut out = Vec::new();
        let mut tally = Tally::new(&mut out);
        if pretty {
            serde_json::to_writer_pretty(&mut tally, value).unwrap();
        } else {
            serde_json::to_writer(&mut tally, value).unwrap();
        }
        let found = (tally.values, tally.deepest, tally.bytes);
        (found.0, found.1, found.2, out.len())
    }

    proptest! {
        #[test]
        fn it_counts_values_and_levels_as_a_reader_does(value in json_value(), pretty: bool) {
            let (values, levels, bytes, len) = tally(&value, pretty);
            prop_assert_eq!((values, levels), size(&value), "{}", value);
            prop_assert_eq!(bytes, len as u64);
        }
    }

    #[test]
    fn what_could_not_be_read_again_is_not_written() {
        let document = Document {
            format: "x",
            newest: 1,
            max_bytes: 20,
        };
        assert!(document.write(&json!([1, 2]), &mut Vec::new()).is_ok());
        let long = document.write(&"twenty-one characters", &mut Vec::new());
        assert!(long.unwrap_err().to_string().contains("more than 20 bytes"));
        let document = Document {
            max_bytes: u64::MAX,
            ..document
        };
        let mut nested = json!(1);
        for _ in 0..=MOST_LEVELS {
            nested = json!([nested]);
        }
        let deep = document.write(&nested, &mut Vec::new()).unwrap_err();
        assert!(deep.to_string().contains("deep"), "{deep}");
        let mut many = vec![0; MOST_VALUES as usize];
        let error = document.write(&many, &mut io::sink()).unwrap_err();
        assert!(error.to_string().contains("values"), "{error}");
        many.pop();
        assert!(document.write(&many, &mut io::sink()).is_ok());
    }
}
