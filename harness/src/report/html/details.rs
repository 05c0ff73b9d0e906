//! The details of a result: all its fields that have a value.

use serde::Serialize;
use serde_json::Value;

use crate::support::sanitize::plain;

/// A title, and the names and values of fields.
#[derive(Debug)]
pub(super) struct Details {
    pub(super) title: String,
    pub(super) fields: Vec<Field>,
}

#[derive(Debug)]
pub(super) struct Field {
    /// As in the JSON report; `stages.load.us` for a field of a field.
    pub(super) name: String,
    pub(super) value: String,
}

impl Field {
    /// Whether its layout matters.
    pub(super) fn is_block(&self) -> bool {
        self.value.contains('\n')
    }
}

impl Details {
    pub(super) fn new(title: String, result: &impl Serialize) -> Self {
        let mut fields = Vec::new();
        // A report is made to be serialized: this does not fail.
        let value = serde_json::to_value(result).unwrap_or_default();
        add(&mut fields, "", &value);
        Self { title, fields }
    }
}

fn add(fields: &mut Vec<Field>, name: &str, value: &Value) {
    let text = match value {
        Value::Null | Value::Bool(false) => return,
        Value::Object(members) => {
            for (member, value) in members {
                let name = [name, member].join(if name.is_empty() { "" } else { "." });
                add(fields, &name, value);
            }
            return;
        }
        Value::Array(elements) => {
            let lines: Vec<_> = elements.iter().map(line).collect();
            lines.join("\n")
        }
        other => line(other),
    };
    if !text.is_empty() {
        let value = plain(&text).into_owned();
        fields.push(Field {
            name: name.to_owned(),
            value,
        });
    }
}

fn line(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn fields_with_a_value_are_listed_by_their_path() {
        let result = json!({
            "id": "attach", "error": null, "backported": false, "notes": [],
            "stages": {"load": {"ok": true, "us": 5}, "attach": null},
            "log": "0: (95) exit\u{1b}[2J\nprocessed 1 insns",
            "maps": ["a", {"name": "b"}],
        });
        let details = Details::new("attach on 6.1".to_owned(), &result);
        let fields = details.fields.iter();
        let fields: Vec<_> = fields
            .map(|f| (&*f.name, &*f.value, f.is_block()))
            .collect();
        assert_eq!(
            fields,
            [
                ("id", "attach", false),
                ("stages.load.ok", "true", false),
                ("stages.load.us", "5", false),
                ("log", "0: (95) exit\\u{1b}[2J\nprocessed 1 insns", true),
                ("maps", "a\n{\"name\":\"b\"}", true),
            ]
        );
    }
}
