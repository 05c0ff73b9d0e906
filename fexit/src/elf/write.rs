//! Writing ELF: changes to a file, and a small new file.

use object::elf::{EM_BPF, SHT_PROGBITS, SHT_STRTAB};

/// Overwrites a part of the file; does nothing outside of it.
pub(crate) fn patch(copy: &mut [u8], at: usize, bytes: &[u8]) {
    if let Some(slot) = at
        .checked_add(bytes.len())
        .and_then(|end| copy.get_mut(at..end))
    {
        slot.copy_from_slice(bytes);
    }
}

/// A file for aya-obj that has only these sections.
pub(crate) fn file(sections: &[(&str, &[u8])]) -> Vec<u8> {
    const HEADER: usize = 64;
    const SECTION: usize = 64;
    let mut names = vec![0];
    let mut contents = Vec::new();
    let mut headers = vec![0; SECTION]; // the first is none
    let count = sections.len() + 2;
    let start = HEADER + count * SECTION;
    let mut add = |name: &str, section_type: u32, content: &dyn Fn(&[u8]) -> Vec<u8>| {
        let name_at = names.len() as u32;
        names.extend(name.bytes().chain([0]));
        let content = content(&names);
        let mut header = vec![0; SECTION];
        patch(&mut header, 0, &name_at.to_ne_bytes());
        patch(&mut header, 4, &section_type.to_ne_bytes());
        let offset = (start + contents.len()) as u64;
        patch(&mut header, 24, &offset.to_ne_bytes());
        patch(&mut header, 32, &(content.len() as u64).to_ne_bytes());
        patch(&mut header, 48, &1u64.to_ne_bytes()); // alignment
        headers.extend(header);
        contents.extend(content);
    };
    for (name, content) in sections {
        add(name, SHT_PROGBITS, &|_| content.to_vec());
    }
    add(".strtab", SHT_STRTAB, &|names| names.to_vec());
    let mut file = vec![0; HEADER];
    let order = if cfg!(target_endian = "little") { 1 } else { 2 };
    patch(&mut file, 0, &[0x7f, b'E', b'L', b'F', 2, order, 1]);
    patch(&mut file, 16, &1u16.to_ne_bytes()); // relocatable
    patch(&mut file, 18, &EM_BPF.to_ne_bytes());
    patch(&mut file, 20, &1u32.to_ne_bytes());
    patch(&mut file, 40, &(HEADER as u64).to_ne_bytes());
    for (at, value) in [(52, HEADER), (58, SECTION), (60, count), (62, count - 1)] {
        patch(&mut file, at, &(value as u16).to_ne_bytes());
    }
    [file, headers, contents].concat()
}
