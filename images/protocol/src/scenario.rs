//! The description of a scenario for the host. The guest lists its scenarios when the harness is built.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// One scenario.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scenario {
    /// Its name in jobs and reports: `take_link`.
    pub id: String,
    /// What it tests, as a sentence without a full stop.
    pub title: String,
    /// The name of the feature that it requires: `cookie`. `None` if it must pass on every kernel.
    pub feature: Option<String>,
    /// The claimed minimum kernel of the feature on x86-64, major and minor, which the harness checks.
    pub minimum: Option<(u16, u16)>,
    /// Whether it attaches programs to functions of the kernel. Some architectures support that later than the feature.
    pub traces_functions: bool,
    /// Its time limit.
    pub timeout: Duration,
    /// Kernel modules that it requires.
    pub modules: Vec<String>,
    /// Whether it runs only if its whole id is given: a deliberate fault.
    pub hidden: bool,
}
