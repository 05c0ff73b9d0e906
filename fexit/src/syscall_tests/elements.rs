//! The elements of maps.

use std::cell::RefCell;
use std::rc::Rc;

use aya_obj::generated::bpf_cmd::{
    self, BPF_MAP_DELETE_ELEM, BPF_MAP_GET_NEXT_KEY, BPF_MAP_LOOKUP_ELEM, BPF_MAP_UPDATE_ELEM,
};

use super::{HASH, kernel, number, with_map};
use crate::maps::{HashMap, Map, PerCpuArray, PerCpuValues};
use crate::sys::attr::MapElemAttr;
use crate::sys::fake::{self, Call};

/// The attributes of a call for an element: command, key, value, flags.
pub(super) type Elements = Rc<RefCell<Vec<(bpf_cmd, Vec<u8>, Vec<u8>, u64)>>>;

/// Records calls for elements with keys and values of these sizes; `lookup` answers.
pub(super) fn elements(
    (key, value): (u64, u64),
    lookup: &'static [u8],
) -> (Elements, impl FnMut(&mut Call<'_>) -> Option<i32>) {
    let elements = Elements::default();
    let seen = Rc::clone(&elements);
    let answer = move |call: &mut Call<'_>| {
        let cmd = call.cmd;
        if ![
            BPF_MAP_LOOKUP_ELEM,
            BPF_MAP_UPDATE_ELEM,
            BPF_MAP_DELETE_ELEM,
        ]
        .contains(&cmd)
        {
            return None;
        }
        let elem: MapElemAttr = *call.attr();
        let value = match cmd {
            BPF_MAP_UPDATE_ELEM => fake::memory(elem.value, value),
            _ => Vec::new(),
        };
        if cmd == BPF_MAP_LOOKUP_ELEM {
            fake::write(elem.value, lookup);
        }
        seen.borrow_mut()
            .push((cmd, fake::memory(elem.key, key), value, elem.flags));
        None
    };
    (elements, answer)
}

#[test]
fn elements_are_named_by_key_and_flags_and_values_come_back() {
    let (elements, answer) = elements((4, 8), &[1, 2, 3, 4, 5, 6, 7, 8]);
    let (kernel, _) = kernel(answer);
    let mut map = with_map(HASH).map("m").unwrap().clone();
    let fd = number(map.fd().unwrap());
    let mut view: HashMap<&mut Map, u32, u64> = (&mut map).try_into().unwrap();
    view.insert(0x0403_0201, 9u64, 1).unwrap();
    assert_eq!(view.get(&7, 4).unwrap(), 0x0807_0605_0403_0201);
    view.remove(&5).unwrap();
    let key = |key: u32| key.to_ne_bytes().to_vec();
    assert_eq!(
        elements.take(),
        [
            (
                BPF_MAP_UPDATE_ELEM,
                key(0x0403_0201),
                9u64.to_ne_bytes().to_vec(),
                1
            ),
            (BPF_MAP_LOOKUP_ELEM, key(7), vec![], 4),
            (BPF_MAP_DELETE_ELEM, key(5), vec![], 0),
        ]
    );
    assert!(
        kernel
            .attrs::<MapElemAttr>()
            .iter()
            .all(|elem| elem.map_fd == fd)
    );
}

#[test]
fn keys_are_asked_for_one_behind_the_other() {
    let asked = Rc::new(RefCell::new(Vec::new()));
    let seen = Rc::clone(&asked);
    kernel(move |call| {
        if call.cmd == BPF_MAP_GET_NEXT_KEY {
            let elem: MapElemAttr = *call.attr();
            let key = (elem.key != 0).then(|| fake::memory(elem.key, 4)[0]);
            seen.borrow_mut().push(key);
            let next: u32 = match key {
                None => 3,
                Some(3) => 6,
                _ => return Some(libc::ENOENT),
            };
            fake::write(elem.value, &next.to_ne_bytes());
        }
        None
    });
    let map = with_map(HASH).map("m").unwrap().clone();
    let view: HashMap<Map, u32, u64> = map.try_into().unwrap();
    let keys: Vec<u32> = view.keys().map(Result::unwrap).collect();
    assert_eq!(keys, [3, 6]);
    assert_eq!(asked.take(), [None, Some(3), Some(6)]);
}

#[test]
fn per_cpu_value_has_a_slot_of_eight_bytes_for_each_possible_cpu() {
    let (elements, answer) = elements(
        (4, 24),
        &[1, 0, 0, 0, 9, 9, 9, 9, 2, 0, 0, 0, 9, 9, 9, 9, 3],
    );
    let (kernel, _) = kernel(answer);
    kernel.file("/sys/devices/system/cpu/possible", "0-2\n");
    let mut map = with_map("int (*type)[6]; int (*max_entries)[4]; u32 *key; u32 *value;")
        .map("m")
        .unwrap()
        .clone();
    let mut view: PerCpuArray<&mut Map, u32> = (&mut map).try_into().unwrap();
    assert_eq!(
        view.get(&2, 0).unwrap().iter().collect::<Vec<_>>(),
        [&1, &2, &3]
    );
    view.set(1, PerCpuValues::try_from(vec![4, 5, 6]).unwrap(), 0)
        .unwrap();
    let (_, key, value, _) = elements.take().remove(1);
    assert_eq!(key, 1u32.to_ne_bytes());
    let slots: Vec<u64> = value
        .as_chunks()
        .0
        .iter()
        .map(|&slot| u64::from_ne_bytes(slot))
        .collect();
    assert_eq!(slots, [4, 5, 6]);
}
