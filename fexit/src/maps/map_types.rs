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

/// Name and first release of a map type that the kernel's BTF does not list.
pub(super) fn missing(map_type: u32) -> Option<(&'static str, KernelVersion)> {
    let (name, (minimum, _)) = compat::map_type(map_type)?;
    let value = format!("BPF_MAP_TYPE_{}", name.to_uppercase());
    let known = Btf::from_sys_fs().ok()?.has_enum_value(&value);
    (!known).then_some((name, minimum))
}
