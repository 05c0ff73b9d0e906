//! What the host knows of a scenario. Its code is the guest's, which writes this list when the harness is built.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// One scenario.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scenario {
    /// Its name in jobs and reports: `take_link`.
    pub id: String,
    /// What it shows, as a sentence without a full stop.
    pub title: String,
    /// The name of the feature that it needs: `cookie`. None if it must pass on every kernel.
    pub feature: Option<String>,
    /// The first kernel that has the feature, major and minor: the claim that the harness holds against what happens.
    pub minimum: Option<(u16, u16)>,
    /// When the guest kills it.
    pub timeout: Duration,
    /// Kernel modules that must be loaded before.
    pub modules: Vec<String>,
    /// Whether it runs only when it is asked for by its whole id: a fault made on purpose.
    pub hidden: bool,
}
