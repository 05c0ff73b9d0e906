//! A Debian archive in `kernels.toml`.

use serde::Deserialize;

use super::SnapshotOf;
use crate::kernels::sources::packages::amd64;

/// A Debian archive, or another archive of the same format.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Archive {
    /// Base addresses, tried in this order.
    pub(crate) mirrors: Vec<String>,
    /// As `bookworm-security`.
    pub(crate) suite: String,
    /// As `main`.
    #[serde(default = "main_component")]
    pub(crate) component: String,
    /// As `amd64`.
    #[serde(default = "amd64")]
    pub(crate) architecture: String,
    /// The name of the keys that sign it.
    pub(crate) keyring: String,
    /// The snapshot archive, for packages that this archive no longer has.
    pub(crate) snapshot: Option<SnapshotOf>,
}

fn main_component() -> String {
    "main".to_owned()
}
