//! A Debian archive in `kernels.toml`.

use serde::Deserialize;

use super::snapshot::SnapshotOf;
use crate::kernels::trust::keys::Keys;

/// A Debian archive, or another archive of the same format.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Archive {
    /// Base addresses, tried in this order.
    pub(crate) mirrors: Vec<String>,
    /// As `bookworm-security`; of several, the newest kernel counts.
    #[serde(alias = "suite")]
    suites: Suites,
    /// As `main`.
    #[serde(default = "main_component")]
    pub(crate) component: String,
    /// The keys that sign it.
    #[serde(alias = "keyring")]
    pub(crate) keys: Keys,
    /// The snapshot archive, for packages that this archive no longer has.
    pub(crate) snapshot: Option<SnapshotOf>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(untagged, expecting = "a suite, or a list of suites")]
enum Suites {
    One(String),
    Many(Vec<String>),
}

impl Archive {
    /// The names of its suites.
    pub(super) fn suites(&self) -> &[String] {
        match &self.suites {
            Suites::One(name) => std::slice::from_ref(name),
            Suites::Many(names) => names,
        }
    }
}

fn main_component() -> String {
    "main".to_owned()
}
