//! Ways in for the fuzzer, which no user needs. Built only by `ci/fuzz`; the kernel is never asked for anything.

use crate::btf::Btf;
use crate::btf::raw::Raw;
use crate::object::{Globals, Object};

/// Reads an object and relocates it, as far as the bytes allow.
pub fn load(object: &[u8], kernel: &Btf) {
    let Ok(object) = Object::parse(object, &Globals::new()) else {
        return;
    };
    let _ = object.relocated(|| Ok(kernel.clone()));
}

/// Reads BTF, alone and on top of another, and asks it everything.
pub fn btf(data: &[u8], base: &[u8]) {
    if let Ok(btf) = Btf::parse(data) {
        btf.ask_everything();
    }
    let Ok(base) = Raw::parse(base.to_vec()) else {
        return;
    };
    if let Ok(split) = Raw::parse_split(data.to_vec(), &base) {
        Btf::describe_all(&split, Some(&base));
        let all = || split.types().map(|t| t.id);
        let _ = crate::btf::core::cut(&base, &split, all());
        let _ = crate::btf::core::cut(&split, &split, all());
    }
}
