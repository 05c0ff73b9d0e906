//! What a scenario is, and the little that its code needs from outside.

use std::collections::BTreeMap;
use std::fmt;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use fexit::Feature;
use serde_json::Value;

/// How long a scenario may take unless it says otherwise: it takes milliseconds, but an emulator is slow.
const TIME_LIMIT: Duration = Duration::from_secs(30);

/// One thing that is shown on a real kernel. It runs as a process of its own.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Scenario {
    /// Its name in jobs and reports: `take_link`.
    pub id: &'static str,
    /// What it shows, as a sentence without a full stop.
    pub title: &'static str,
    /// The feature that it needs; [`Feature::minimum`] is the claim that the harness holds against what happens. None
    /// for what the library does on every kernel.
    pub feature: Option<Feature>,
    /// When it is killed.
    pub timeout: Duration,
    /// Kernel modules that must be loaded before.
    pub modules: &'static [&'static str],
    /// Whether it may run while others do: it counts nothing but what it does itself, and changes nothing for others.
    pub beside_others: bool,
    /// Whether it is left out unless it is asked for by name: a fault made on purpose.
    pub hidden: bool,
    /// What it does. An error is a failure, unless it is a refusal by the library or a [`Skip`].
    pub run: fn(&mut Context) -> Result<()>,
}

impl Scenario {
    /// A scenario with the usual time limit that needs no modules and runs alone.
    pub const fn new(
        id: &'static str,
        title: &'static str,
        feature: Feature,
        run: fn(&mut Context) -> Result<()>,
    ) -> Self {
        Self {
            feature: Some(feature),
            ..Self::on_every_kernel(id, title, run)
        }
    }

    /// As [`Scenario::new`], for what needs no feature: it must pass on every kernel.
    pub const fn on_every_kernel(
        id: &'static str,
        title: &'static str,
        run: fn(&mut Context) -> Result<()>,
    ) -> Self {
        let (timeout, modules, hidden) = (TIME_LIMIT, &[] as &[_], false);
        let beside_others = false;
        Self {
            id,
            title,
            feature: None,
            timeout,
            modules,
            beside_others,
            hidden,
            run,
        }
    }

    /// With another time limit.
    #[must_use]
    pub const fn timeout(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    /// With kernel modules loaded.
    #[must_use]
    pub const fn modules(self, modules: &'static [&'static str]) -> Self {
        Self { modules, ..self }
    }

    /// Run while others do, where they stand next to one another.
    #[must_use]
    pub const fn beside_others(self) -> Self {
        Self {
            beside_others: true,
            ..self
        }
    }

    /// What the host knows of it.
    pub fn describe(&self) -> protocol::scenario::Scenario {
        let minimum = self.feature.map(Feature::minimum);
        protocol::scenario::Scenario {
            id: self.id.to_owned(),
            title: self.title.to_owned(),
            feature: self.feature.map(|feature| feature.name().to_owned()),
            minimum: minimum.map(|minimum| (minimum.major, minimum.minor)),
            timeout: self.timeout,
            modules: self.modules.iter().map(|&name| name.to_owned()).collect(),
            hidden: self.hidden,
        }
    }

    /// Run only when asked for by name.
    #[must_use]
    pub const fn hidden(self) -> Self {
        Self {
            hidden: true,
            ..self
        }
    }
}

/// What a scenario hands back beside its result.
#[derive(Debug, Default)]
pub struct Context {
    /// Figures by name.
    pub measurements: BTreeMap<String, Value>,
}

impl Context {
    /// Reports a figure. Its name says the unit: `attach_us`, `programs`.
    pub fn measure(&mut self, name: &str, value: impl Into<Value>) {
        self.measurements.insert(name.to_owned(), value.into());
    }
}

/// The error of a scenario that cannot run here, for a reason that says nothing about the library.
#[derive(Debug)]
pub struct Skip(String);

impl fmt::Display for Skip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Skip {}

/// The error by which a scenario says that it cannot run here.
pub fn skip(reason: impl Into<String>) -> anyhow::Error {
    anyhow::Error::new(Skip(reason.into()))
}

/// Asks `probe` until it gives a value, for what the kernel does in its own time.
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
            bail!("{what}: not within {timeout:?}");
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
        let error = poll_until::<()>("rain", Duration::ZERO, || Ok(None)).unwrap_err();
        assert_eq!(error.to_string(), "rain: not within 0ns");
    }
}
