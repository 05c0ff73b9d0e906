//! The types of maps: their names, and the feature that a newer one needs.

use aya_obj::generated::bpf_map_type;

use crate::facts;
use crate::feature::Feature;

/// `BPF_MAP_TYPE_PERCPU_HASH` as `percpu_hash`.
pub(crate) fn name(map_type: u32) -> String {
    facts::map_type(map_type)
        .map_or_else(|| format!("number {map_type}"), |(name, _)| name.to_owned())
}

/// The feature that a map type needs beyond BPF itself.
pub(super) fn feature(map_type: u32) -> Option<Feature> {
    (map_type == bpf_map_type::BPF_MAP_TYPE_RINGBUF as u32).then_some(Feature::RingBuf)
}
