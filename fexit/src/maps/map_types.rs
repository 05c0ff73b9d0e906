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
}
