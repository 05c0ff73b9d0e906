//! The CO-RE relocations of an object.

/// The type-based relocations: `enum bpf_core_relo_kind` of include/uapi/linux/bpf.h.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OfType {
    /// Its id in the object's BTF.
    LocalId,
    /// Its id in the kernel's BTF.
    KernelId,
    Exists,
    Size,
    /// Whether it matches the object's type.
    Matches,
}

/// One CO-RE relocation of an object.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct CoreRelocation {
    /// Offset of the name of the program section.
    pub(crate) section_name: u32,
    /// Offset of the instruction in its section, in bytes.
    pub(crate) insn_off: u32,
    /// The local type.
    pub(crate) type_id: u32,
    /// Offset of the access string (`0:1:2`).
    pub(crate) access: u32,
    pub(crate) kind: u32,
}

impl CoreRelocation {
    /// Its kind, if it is type-based.
    pub(crate) fn of_type(&self) -> Option<OfType> {
        Some(match self.kind {
            6 => OfType::LocalId,
            7 => OfType::KernelId,
            8 => OfType::Exists,
            9 => OfType::Size,
            12 => OfType::Matches,
            _ => return None,
        })
    }

    /// Whether it is field-based or enum-based: aya-obj applies those.
    pub(crate) fn is_of_member(&self) -> bool {
        matches!(self.kind, 0..=5 | 10 | 11)
    }
}

/// The CO-RE relocations in a `.BTF.ext` section; `None` when it is malformed.
pub(crate) fn relocations(ext: &[u8]) -> Option<Vec<CoreRelocation>> {
    let word = |at: usize| {
        let bytes = ext.get(at..at.checked_add(4)?)?;
        Some(u32::from_ne_bytes(bytes.try_into().ok()?))
    };
    let header = word(4)? as usize;
    if header < 32 {
        return Some(Vec::new()); // written before CO-RE
    }
    let start = header.checked_add(word(24)? as usize)?;
    let end = start.checked_add(word(28)? as usize)?;
    if start == end {
        return Some(Vec::new());
    }
    let size = word(start)? as usize;
    if size < 16 || end > ext.len() {
        return None;
    }
    let mut found = Vec::new();
    let mut at = start + 4;
    while at < end {
        let section_name = word(at)?;
        let count = word(at + 4)?;
        at += 8;
        for _ in 0..count {
            if at.checked_add(size)? > end {
                return None;
            }
            found.push(CoreRelocation {
                section_name,
                insn_off: word(at)?,
                type_id: word(at + 4)?,
                access: word(at + 8)?,
                kind: word(at + 12)?,
            });
            at += size;
        }
    }
    Some(found)
}

/// Removes the CO-RE relocations for which `keep` is false.
pub(crate) fn retain(ext: &mut [u8], mut keep: impl FnMut(&CoreRelocation) -> bool) {
    let Some(all) = relocations(ext).filter(|all| !all.is_empty()) else {
        return;
    };
    // `relocations` has checked all offsets.
    let word = |at: usize| {
        ext.get(at..at + 4)
            .map_or(0, |b| u32::from_ne_bytes([b[0], b[1], b[2], b[3]]))
    };
    let start = word(4) as usize + word(24) as usize;
    let end = start + word(28) as usize;
    let size = word(start) as usize;
    let mut kept = ext[start..start + 4].to_vec();
    let mut all = all.iter();
    let mut at = start + 4;
    while at < end {
        let (head, records) = (at, word(at + 4));
        at += 8;
        let mut section = Vec::new();
        for _ in 0..records {
            if all.next().is_some_and(&mut keep) {
                section.extend(&ext[at..at + size]);
            }
            at += size;
        }
        if !section.is_empty() {
            let count = u32::try_from(section.len() / size).unwrap_or(0);
            kept.extend(&ext[head..head + 4]);
            kept.extend(count.to_ne_bytes());
            kept.append(&mut section);
        }
    }
    let len = if kept.len() == 4 { 0 } else { kept.len() };
    ext[28..32].copy_from_slice(&u32::try_from(len).unwrap_or(0).to_ne_bytes());
    ext[start..start + kept.len()].copy_from_slice(&kept);
}
