//! The definition of a scenario, and what its code uses.

use std::collections::BTreeMap;
use std::fmt;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use fexit::{Arch, Feature, KernelVersion};
use serde_json::Value;

/// The function of a system call that takes registers, as `__x64_sys_dup`.
pub fn syscall(name: &str) -> String {
    let prefix = Arch::current().map_or("", Arch::syscall_prefix);
    format!("{prefix}sys_{name}")
}

/// The default time limit. A scenario takes milliseconds, but an emulator is slow.
const TIME_LIMIT: Duration = Duration::from_secs(30);

/// One test on a real kernel. It runs in its own process.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Scenario {
    /// Its name in jobs and reports: `take_link`.
    pub id: &'static str,
    /// What it tests, as a sentence without a full stop.
    pub title: &'static str,
    /// The feature that it requires; the harness checks its claimed [`Feature::minimum`]. `None` if it must pass on every
    /// kernel.
    pub feature: Option<Feature>,
    /// Whether it attaches programs to functions of the kernel, as all that require a feature do unless they say otherwise.
    pub traces_functions: bool,
    /// Its time limit.
    pub timeout: Duration,
    /// Kernel modules that it requires.
    pub modules: &'static [&'static str],
    /// Whether it may run in parallel with others: it counts only its own calls, and changes nothing for others.
    pub parallel: bool,
    /// Whether it runs only if its id is given: a deliberate fault.
    pub hidden: bool,
    /// Its function. An error is a failure, unless it is `Unsupported` or a [`Skip`].
    pub run: fn(&mut Context) -> Result<()>,
}

/// Defines the `SCENARIOS` of a file. Each has the name of its function, which is its id; the feature that it requires, or
/// none if it must pass on every kernel; settings; and its title.
macro_rules! scenarios {
    ($($id:ident($($feature:ident)?)$(.$setting:ident($($value:expr),*))*: $title:literal;)*) => {
        pub(super) const SCENARIOS: &[$crate::scenario::Scenario] = &[$(
            $crate::scenario::Scenario::new(stringify!($id), $title, $id)
                $(.feature(fexit::Feature::$feature))?
                $(.$setting($($value),*))*
        ),*];
    };
}
pub(crate) use scenarios;

impl Scenario {
    /// A scenario with the default time limit and no modules. It must pass on every kernel, and runs serially.
    pub const fn new(
        id: &'static str,
        title: &'static str,
        run: fn(&mut Context) -> Result<()>,
    ) -> Self {
        Self {
            id,
            title,
            feature: None,
            traces_functions: true,
            timeout: TIME_LIMIT,
            modules: &[],
            parallel: false,
            hidden: false,
            run,
        }
    }

    /// Sets the feature that it requires.
    #[must_use]
    pub const fn feature(self, feature: Feature) -> Self {
        let feature = Some(feature);
        Self { feature, ..self }
    }

    /// Says that it attaches no program to a function of the kernel.
    #[must_use]
    pub const fn without_functions(self) -> Self {
        Self {
            traces_functions: false,
            ..self
        }
    }

    /// Sets another time limit.
    #[must_use]
    pub const fn timeout(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    /// Sets the kernel modules that it requires.
    #[must_use]
    pub const fn modules(self, modules: &'static [&'static str]) -> Self {
        Self { modules, ..self }
    }

    /// Lets it run in parallel with others.
    #[must_use]
    pub const fn parallel(self) -> Self {
        Self {
            parallel: true,
            ..self
        }
    }

    /// Its description for the host.
    pub fn describe(&self) -> protocol::scenario::Scenario {
        let minimum = self.feature.map(Feature::minimum);
        protocol::scenario::Scenario {
            id: self.id.to_owned(),
            title: self.title.to_owned(),
            feature: self.feature.map(|feature| feature.name().to_owned()),
            minimum: minimum.map(|minimum| (minimum.major, minimum.minor)),
            traces_functions: self.traces_functions,
            timeout: self.timeout,
            modules: self.modules.iter().map(|&name| name.to_owned()).collect(),
            hidden: self.hidden,
        }
    }

    /// Makes it run only if its id is given.
    #[must_use]
    pub const fn hidden(self) -> Self {
        Self {
            hidden: true,
            ..self
        }
    }
}

/// What a scenario reports in addition to its result.
#[derive(Debug, Default)]
pub struct Context {
    /// Measurements by name.
    pub measurements: BTreeMap<String, Value>,
    /// What the kernel has before the release that the library claims.
    pub backports: Vec<String>,
}

impl Context {
    /// Reports a measurement. The name ends with the unit: `attach_us`, `programs`.
    pub fn measure(&mut self, name: &str, value: impl Into<Value>) {
        self.measurements.insert(name.to_owned(), value.into());
    }

    /// Reports that the kernel has this, which the library claims from `minimum` on, if the kernel is older. The harness
    /// judges that: it knows whether a vendor backported it.
    pub fn has(&mut self, what: &str, minimum: KernelVersion) {
        if KernelVersion::current() < minimum {
            self.backports.push(format!("{what} ({minimum})"));
        }
    }
}

/// The error of a scenario that cannot run here, for a reason unrelated to the library.
#[derive(Debug)]
pub struct Skip(String);

impl fmt::Display for Skip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Skip {}

/// Creates the error of a scenario that cannot run here.
pub fn skip(reason: impl Into<String>) -> anyhow::Error {
    anyhow::Error::new(Skip(reason.into()))
}

/// Calls `probe` until it returns a value, for what the kernel does asynchronously.
///
/// # Errors
///
/// The error of `probe`, or after `timeout` one that says that `what` did not happen.
pub fn poll_until<T>(
    what: &str,
    timeout: Duration,
    mut probe: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    let start = Instant::now();
    loop {
        if let Some(value) = probe()? {
            return Ok(value);
        }
        if start.elapsed() >= timeout {
            bail!("timeout after {timeout:?}: {what}");
        }
        thread::sleep(Duration::from_millis(2));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn polling_ends_with_a_value_an_error_or_the_limit() {
        let mut rounds = 0;
        let third = poll_until("the third round", TIME_LIMIT, || {
            rounds += 1;
            Ok((rounds == 3).then_some(rounds))
        });
        assert_eq!(third.unwrap(), 3);
        let error = poll_until::<()>("nothing", TIME_LIMIT, || bail!("broken")).unwrap_err();
        assert_eq!(error.to_string(), "broken");
        let error = poll_until::<()>("no event", Duration::ZERO, || Ok(None)).unwrap_err();
        assert_eq!(error.to_string(), "timeout after 0ns: no event");
    }
}
