//! BTF with types of a kind that this library does not know.

use std::io::Write as _;

use super::core::CoreRelocation;
use super::kernel::Kernel;
use super::lazy::LazyBtf;
use super::min_core_btf;
use super::raw::{Kind, Raw};
use super::{Ambiguity, Btf, BtfError};
use crate::sys::fake;
use crate::{Endianness, Feature};

const NEW: u32 = 20;
const STRINGS: &[u8] = b"\0int\0before\0after\0task\0member\x000:0\0";
const INT: u32 = 1;
const BEFORE: u32 = 5;
const AFTER: u32 = 12;
const TASK: u32 = 18;
const MEMBER: u32 = 23;
const FIRST_MEMBER: u32 = 30;

fn info(kind: u32, vlen: u32) -> u32 {
    kind << 24 | vlen
}

/// An integer, a function, three types of an unknown kind, another function, and a struct that refers to one of them.
/// Ids: 1, 3, 4 to 6, 7 and 8.
fn types() -> Vec<u32> {
    let mut types = vec![INT, info(1, 0), 4, 32];
    types.extend([0, info(13, 0), 1]);
    types.extend([BEFORE, info(12, 1), 2]);
    for vlen in [0, 1, 3] {
        types.extend([0, info(NEW, vlen), 0, 77]);
        types.extend(vec![0x1300_0000; 2 * vlen as usize]);
    }
    types.extend([AFTER, info(12, 1), 2]);
    types.extend([TASK, info(4, 2), 8, MEMBER, 1, 0, MEMBER, 5, 32]);
    types
}

/// A layout section for all kinds up to the unknown one, which has 4 bytes and 8 for each part.
fn layout() -> Vec<u8> {
    let mut layout = vec![0; 4 * NEW as usize];
    layout.extend([4, 8, 0, 0]);
    layout
}

fn blob(types: &[u32], layout: &[u8], strings: &[u8]) -> Vec<u8> {
    let len = |bytes: usize| u32::try_from(bytes).unwrap();
    let types: Vec<u8> = types.iter().flat_map(|word| word.to_ne_bytes()).collect();
    let strings_at = len(types.len() + layout.len());
    let mut out = 0xeb9f_u16.to_ne_bytes().to_vec();
    out.extend([1, 0]);
    let place = [32, 0, len(types.len()), strings_at, len(strings.len())];
    let words = place
        .into_iter()
        .chain([len(types.len()), len(layout.len())]);
    out.extend(words.flat_map(u32::to_ne_bytes));
    out.extend(types);
    out.extend(layout);
    out.extend(strings);
    out
}

/// The same blob, read in each way: from a file, from memory, lazily, and mapped.
fn all_ways(blob: &[u8]) -> [Result<Btf, BtfError>; 4] {
    fake::kernel(|_| None);
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(blob).unwrap();
    let running = |raw: Raw| Kernel {
        is_running: true,
        raw: raw.into(),
        ..Kernel::default()
    };
    let kernel = |lazy| Kernel {
        lazy: Some(lazy),
        ..Kernel::default()
    };
    [
        Btf::parse_file(file.path(), Endianness::default()),
        Btf::parse(blob, Endianness::default()),
        LazyBtf::open(file.path()).map(|lazy| kernel(lazy).into()),
        Raw::parse(blob.to_vec()).map(|raw| running(raw).into()),
    ]
}

fn is_refused<T: std::fmt::Debug>(result: Result<T, BtfError>) {
    let error = result.unwrap_err();
    let unknown = matches!(
        error,
        BtfError::UnknownKind {
            kind: NEW,
            type_id: 4
        }
    );
    assert!(unknown, "{error:?}");
    let text = error.to_string();
    assert!(text.contains("kind 20") && text.contains("type 4") && text.contains("update"));
}

#[test]
fn unknown_kind_without_layout_is_an_error() {
    let blob = blob(&types(), &[], STRINGS);
    let [file, memory, lazy, running] = all_ways(&blob);
    is_refused(file);
    is_refused(memory);
    for btf in [lazy.unwrap(), running.unwrap()] {
        for _ in 0..4 {
            is_refused(btf.functions("after"));
            is_refused(btf.functions("no_such_function"));
            assert_eq!(btf.functions("before").unwrap(), [3]);
        }
        is_refused(btf.prefetch_names(&["before", "after"], Vec::new()));
        is_refused(btf.prefetch_names(&[], vec![b"task"]));
        btf.prefetch_names(&["before"], Vec::new()).unwrap();
        is_refused(btf.functions("after"));
        is_refused(btf.functions_like("b*", Ambiguity::default()));
        assert_eq!(Feature::Fexit.is_in(&btf), None);
    }
}

#[test]
fn unknown_kind_with_layout_is_skipped() {
    let blob = blob(&types(), &layout(), STRINGS);
    for btf in all_ways(&blob) {
        let btf = btf.unwrap();
        for _ in 0..4 {
            assert_eq!(btf.functions("after").unwrap(), [7]);
            assert_eq!(btf.functions("before").unwrap(), [3]);
            assert!(btf.functions("task").unwrap().is_empty());
        }
        let raw = btf.raw().unwrap();
        assert_eq!(raw.count(), 8);
        assert!(raw.by_id(4).is_none() && raw.by_id(6).is_none());
        assert_eq!(raw.by_id(8).unwrap().kind, Kind::Struct);
        assert_eq!(Feature::Fexit.is_in(&btf), Some(false));
    }
}

#[test]
fn module_uses_the_layout_of_the_kernel() {
    let base = |layout: &[u8]| Raw::parse(blob(&types(), layout, STRINGS)).unwrap();
    let own = |layout: &[u8]| {
        let words = [0, info(NEW, 1), 0, 0, 0, 0, AFTER, info(12, 1), 2];
        blob(&words, layout, b"\0")
    };
    let split = Raw::parse_split(own(&[]), &base(&layout())).unwrap();
    assert_eq!(split.by_id(10).unwrap().kind, Kind::Func);
    is_refused(Raw::parse_split(own(&layout()), &base(&[])));
    let known = Raw::parse(blob(&types()[..10], &[], STRINGS)).unwrap();
    let split = Raw::parse_split(own(&layout()), &known).unwrap();
    assert_eq!(split.by_id(5).unwrap().kind, Kind::Func);
    is_refused(Raw::parse_split(own(&[]), &known));
}

#[test]
fn reference_to_an_unknown_kind_is_void_in_min_core_btf() {
    let kernel = Btf::from(Raw::parse(blob(&types(), &layout(), STRINGS)).unwrap());
    let local = Raw::parse(blob(&[TASK, info(4, 1), 4, MEMBER, 0, 0], &[], STRINGS)).unwrap();
    let relocation = CoreRelocation {
        type_id: 1,
        access: FIRST_MEMBER,
        ..CoreRelocation::default()
    };
    let found = min_core_btf::build(&kernel, [], &local, &[relocation])
        .unwrap()
        .unwrap();
    let raw = Raw::parse(found).unwrap();
    raw.check().unwrap();
    // The integer, and the struct after it.
    assert_eq!(raw.count(), 2);
    let members = raw.by_id(2).unwrap().members().map(|(_, id)| id);
    assert_eq!(members.collect::<Vec<_>>(), [1, 0]);
}

#[test]
fn more_things_than_sixteen_bits_count_are_one_record() {
    const VALUES: u32 = 0x1_0001;
    let mut types = vec![INT, info(6, VALUES), 4];
    types.extend((0..VALUES).flat_map(|value| [MEMBER, value]));
    types.extend([AFTER, info(12, 1), 0]);
    for btf in all_ways(&blob(&types, &[], STRINGS)) {
        assert_eq!(btf.unwrap().functions("after").unwrap(), [2]);
    }
}

#[test]
fn truncated_record_is_malformed() {
    let types = types();
    let cut_off = blob(&types[..9], &[], STRINGS);
    for btf in all_ways(&cut_off).into_iter().take(2) {
        let error = btf.unwrap_err().to_string();
        assert!(error.contains("type 3 is truncated"), "{error}");
    }
    let mut outside = blob(&types, &layout(), STRINGS);
    outside[28..32].copy_from_slice(&0x10_0000u32.to_ne_bytes());
    for btf in all_ways(&outside) {
        assert!(btf.unwrap_err().to_string().contains("layout section"));
    }
}
