//! Entry points for the fuzzer. Built only by `cargo xtask fuzz`; no system call is made.

use crate::EbpfLoader;
use crate::btf::Btf;
use crate::btf::raw::Raw;
use crate::object::relocation_sites;
use crate::object::{Globals, Object};

/// The most programs of an object that are checked: each may read the object again.
const PROGRAMS: usize = 4;

/// Parses an object and relocates it, if possible; then calls the public methods.
pub fn load(data: &[u8], kernel: &Btf) {
    let Ok(object) = Object::parse(data, &Globals::new()) else {
        return;
    };
    for program in object.extra.sections.keys().take(PROGRAMS) {
        if let Ok(relocated) = object.relocated(program, None, || Ok(kernel.clone())) {
            let log = "7: (85) call unknown#195896080\n";
            let _ = relocation_sites::missing(&object, &relocated, program, log);
        }
    }
    let (globals, map_names) = (object.extra.globals.clone(), object.map_names.clone());
    // Each has up to 256 MiB of data: only one at a time.
    drop(object);
    let mut loader = EbpfLoader::new();
    if let Some((name, global)) = globals.first_key_value() {
        loader.set_global(name, vec![1u8; global.size.min(64)].as_slice(), true);
    }
    if let Some(name) = map_names.first() {
        loader.map_max_entries(name, 3);
    }
    let Ok(ebpf) = loader.load(data) else {
        return;
    };
    let _ = ebpf.requirements(crate::Arch::X86_64);
    for (_, program) in ebpf.programs() {
        let _ = (program.kind(), format!("{program:?}"));
        if let Some((_, glob)) = program.section().split_once('/') {
            let _ = kernel.functions_like(glob, Default::default());
        }
    }
    for (_, map) in ebpf.maps() {
        let _ = (
            map.kind(),
            map.key_size(),
            map.value_size(),
            map.fd().is_ok(),
        );
    }
    for name in ebpf.globals() {
        let _ = ebpf.global_bytes(name);
    }
}

/// Parses BTF, as base and as split BTF, and calls all lookups.
pub fn btf(data: &[u8], base: &[u8]) {
    if let Ok(btf) = Btf::parse(data, crate::Endianness::default()) {
        btf.ask_everything();
    }
    let Ok(base) = Raw::parse(base.to_vec()) else {
        return;
    };
    if let Ok(split) = Raw::parse_split(data.to_vec(), &base) {
        Btf::describe_all(&split, Some(&base));
        // A lookup for each type.
        let relocation = |t: crate::btf::raw::Type<'_>| crate::btf::core::CoreRelocation {
            type_id: t.id,
            access: t.name_off(),
            ..Default::default()
        };
        let all: Vec<_> = split.types().map(relocation).collect();
        let again = || Raw::parse_split(data.to_vec(), &base).into_iter();
        let (module, kernel) = (again().collect(), again().next());
        if let Some(kernel) = kernel {
            let _ = crate::btf::min_core_btf::build(&kernel.into(), [], &split, &all);
        }
        let _ = crate::btf::min_core_btf::build(&base.into(), [Ok(module)], &split, &all);
    }
}
