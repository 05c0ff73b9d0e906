//! The types of maps: names and first releases.

use aya_obj::generated::bpf_map_type;

use crate::btf::Btf;
use crate::compat;
use crate::feature::Feature;
use crate::kernel_version::KernelVersion;

/// `BPF_MAP_TYPE_PERCPU_HASH` as `percpu_hash`.
pub(super) fn name(map_type: u32) -> String {
    compat::map_type(map_type)
        .map_or_else(|| format!("number {map_type}"), |(name, _)| name.to_owned())
}

/// The feature that a map type requires.
pub(super) fn feature(map_type: u32) -> Option<Feature> {
    let features = [
        (bpf_map_type::BPF_MAP_TYPE_RINGBUF, Feature::RingBuf),
        (bpf_map_type::BPF_MAP_TYPE_ARENA, Feature::Arena),
    ];
    let mut features = features.into_iter();
    let found = features.find(|(known, _)| *known as u32 == map_type)?;
    Some(found.1)
}

/// Name and first release of a map type that the kernel lacks, by its BTF.
pub(super) fn missing(map_type: u32) -> Option<(&'static str, KernelVersion)> {
    let (name, (minimum, _)) = compat::map_type(map_type)?;
    let btf = Btf::from_sys_fs().ok()?;
    is_missing(name, &btf).then_some((name, minimum))
}

fn is_missing(name: &str, btf: &Btf) -> bool {
    let value = format!("BPF_MAP_TYPE_{}", name.to_uppercase());
    !btf.has_enum_value(&value) || missing_code(name, btf).is_some()
}

/// The function that shows that a kernel, which lists a map type, was built without it.
pub(crate) fn missing_code(name: &str, btf: &Btf) -> Option<&'static str> {
    compat::function_of_map_type(name)
        .filter(|function| btf.is_whole() && !btf.has_function(function))
}

/// The second half of the message that a kernel lacks a map type.
pub(crate) fn why_missing(kind: &str, minimum: KernelVersion, running: KernelVersion) -> String {
    if running < minimum {
        return format!("which exists from Linux {minimum} on; this is {running}");
    }
    let options = compat::options_of_map_type(kind);
    let options: Vec<_> = options
        .iter()
        .map(|name| format!("CONFIG_{name}"))
        .collect();
    match options.is_empty() {
        true => format!("which this kernel, {running}, was built without"),
        false => format!(
            "which this kernel, {running}, was built without ({})",
            options.join(", ")
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Endianness;
    use crate::testing::compile;

    fn kernel(functions: &str) -> Btf {
        let source = format!(
            "enum bpf_map_type {{ BPF_MAP_TYPE_HASH = 1, BPF_MAP_TYPE_TASK_STORAGE = 29 }} kind; {functions}"
        );
        let btf = crate::elf::examine(&compile(&source)).unwrap().1.btf;
        Btf::parse(&btf, Endianness::default()).unwrap()
    }

    #[test]
    fn listed_type_without_code_is_missing() {
        let without = kernel("SEC(\"x\") int f(void) { return kind; }");
        let with = kernel("SEC(\"x\") int task_storage_map_alloc(void) { return kind; }");
        assert!(is_missing("task_storage", &without) && !is_missing("task_storage", &with));
        for btf in [&without, &with] {
            assert!(!is_missing("hash", btf) && is_missing("inode_storage", btf));
        }
    }

    #[test]
    fn kernel_is_too_old_or_was_built_without() {
        let why = |(major, minor, patch)| {
            let running = KernelVersion::new(major, minor, patch);
            why_missing("inode_storage", KernelVersion::new(5, 10, 0), running)
        };
        assert_eq!(
            why((4, 18, 0)),
            "which exists from Linux 5.10 on; this is 4.18"
        );
        assert_eq!(
            why((5, 10, 2)),
            "which this kernel, 5.10.2, was built without (CONFIG_BPF_LSM)"
        );
    }
}
