//! Dumps the first elements of the maps and the global variables of an object.

use fexit::maps::{Entry, MapError, RingBuf};
use fexit::{Ebpf, Map};
use protocol::program::{GlobalDump, MapDump, Records};
use serde_json::Value;

/// The most elements of a map or records of a ring buffer, maps, variables, and bytes of a value.
const ENTRIES: usize = 16;
const MAPS: usize = 32;
const GLOBALS: usize = 256;
const BYTES: usize = 256;

pub(super) fn maps(object: &Ebpf, notes: &mut Vec<String>) -> Vec<MapDump> {
    // A map that no program uses is not created, and is not created for the dump. Data sections are dumped as variables.
    let used: Vec<&Map> = object
        .maps()
        .map(|(_, map)| map)
        .filter(|map| map.is_created() && !map.name().starts_with('.'))
        .collect();
    if used.len() > MAPS {
        notes.push(format!(
            "only the first {MAPS} of {} maps are shown",
            used.len()
        ));
    }
    used.into_iter()
        .take(MAPS)
        .map(|map| dump(map, notes))
        .collect()
}

fn dump(map: &Map, notes: &mut Vec<String>) -> MapDump {
    let mut dump = MapDump {
        name: map.name().to_owned(),
        kind: map.kind(),
        entries: None,
        more: false,
        records: None,
    };
    if map.kind() == "ringbuf" {
        match records(map) {
            Ok(records) => dump.records = Some(records),
            Err(error) => notes.push(error.to_string()),
        }
        return dump;
    }
    match map.entries(ENTRIES) {
        Ok((entries, more)) => {
            dump.entries = Some(entries.iter().map(|entry| shown(map, entry)).collect());
            dump.more = more;
        }
        Err(error) => notes.push(error.to_string()),
    }
    dump
}

/// Consumes all records of a ring buffer. No program writes to it any more.
fn records(map: &Map) -> Result<Records, MapError> {
    let mut ring = RingBuf::try_from(map.clone())?;
    let mut records = Records::default();
    while let Some(record) = ring.next() {
        if records.first.len() < ENTRIES {
            records.first.push(number(&record, false));
        }
        records.count += 1;
        records.bytes += record.len() as u64;
    }
    Ok(records)
}

fn shown(map: &Map, (key, value): &Entry) -> (Value, Value) {
    if value.len() == map.value_size() {
        return (number(key, false), number(value, false));
    }
    let slot = map.value_size().next_multiple_of(8).max(1);
    let values = value
        .chunks(slot)
        .map(|slot| number(&slot[..map.value_size().min(slot.len())], false));
    (number(key, false), values.collect())
}

pub(super) fn globals(object: &Ebpf, notes: &mut Vec<String>) -> Vec<GlobalDump> {
    let all = object.global_variables().count();
    if all > GLOBALS {
        notes.push(format!(
            "only the first {GLOBALS} of {all} global variables are shown"
        ));
    }
    let shown = object
        .global_variables()
        .take(GLOBALS)
        .filter_map(|global| {
            // A section that no program uses has no map.
            let map = object.map(global.section)?;
            if !map.is_created() {
                return None;
            }
            let bytes = object.global_bytes(global.name).ok()?;
            let value = match global.integer {
                Some(signed) => number(&bytes, signed),
                None => hexadecimal(&bytes),
            };
            Some(GlobalDump {
                name: global.name.to_owned(),
                value,
            })
        });
    shown.collect()
}

/// Bytes as a number if they have the size of one.
fn number(bytes: &[u8], signed: bool) -> Value {
    let mut wide = [0; 8];
    if !matches!(bytes.len(), 1 | 2 | 4 | 8) {
        return hexadecimal(bytes);
    }
    wide[..bytes.len()].copy_from_slice(bytes);
    let value = u64::from_le_bytes(wide);
    if !signed {
        return value.into();
    }
    let unused = 64 - 8 * bytes.len();
    ((value << unused).cast_signed() >> unused).into()
}

fn hexadecimal(bytes: &[u8]) -> Value {
    let mut text: String = bytes
        .iter()
        .take(BYTES)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    if bytes.len() > BYTES {
        text.push_str(&format!("... ({} bytes in all)", bytes.len()));
    }
    text.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_of_the_size_of_a_number_become_a_number() {
        assert_eq!(number(&[0xff, 0xff], false), 65535);
        assert_eq!(number(&[0xfe, 0xff, 0xff, 0xff], true), -2);
        assert_eq!(number(&u64::MAX.to_le_bytes(), false), u64::MAX);
        assert_eq!(number(&[1, 2, 0xab], false), "0102ab");
        let long = hexadecimal(&[7; 1000]);
        assert!(
            long.as_str()
                .unwrap()
                .ends_with("07... (1000 bytes in all)")
        );
    }
}
