//! Finds descriptors, programs and links that a scenario leaked: the library should have closed them.

use std::collections::HashSet;
use std::fs;
use std::time::Duration;

use anyhow::{Result, ensure};
use fexit::programs::{loaded_links, loaded_programs};
use guest::scenario::poll_until;

use crate::concurrency::Concurrency;

/// How long the kernel may take to free programs and links: it does so asynchronously, and an emulator is slow.
const TIMEOUT: Duration = Duration::from_secs(5);

/// What was open at the start. What cannot be listed, without privileges or on an old kernel, is not checked.
#[derive(Debug, Default)]
pub(crate) struct LeakCheck {
    scope: Scope,
    descriptors: HashSet<String>,
    programs: HashSet<u32>,
    links: HashSet<u32>,
}

/// What is checked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Scope {
    /// This process's descriptors and all programs and links: no other process creates any now.
    #[default]
    All,
    /// This process's descriptors only: other scenarios create programs and links.
    Process,
    /// All programs and links.
    Kernel,
}

impl LeakCheck {
    /// Checks one scenario.
    pub(crate) fn for_process(concurrency: Concurrency) -> Self {
        Self::take(match concurrency {
            Concurrency::Serial => Scope::All,
            Concurrency::Parallel => Scope::Process,
        })
    }

    /// Checks all scenarios of a parallel batch together.
    pub(crate) fn for_kernel() -> Self {
        Self::take(Scope::Kernel)
    }

    fn take(scope: Scope) -> Self {
        let (mut found, own, all) = (
            Self::default(),
            scope != Scope::Kernel,
            scope != Scope::Process,
        );
        found.scope = scope;
        if own {
            found.descriptors = descriptors();
        }
        if all {
            found.programs = loaded_programs().flatten().map(|info| info.id).collect();
            found.links = loaded_links().flatten().map(|info| info.id).collect();
        }
        found
    }

    /// Fails if something is open that was not open at the start. Waits for what the kernel frees late.
    pub(crate) fn finish(&self) -> Result<()> {
        poll_until("everything that was opened is closed", TIMEOUT, || {
            Ok(self.leaks().is_empty().then_some(()))
        })
        .or_else(|_| {
            let leaks = self.leaks();
            ensure!(leaks.is_empty(), "leaked: {}", leaks.join(", "));
            Ok(())
        })
    }

    fn leaks(&self) -> Vec<String> {
        let now = Self::take(self.scope);
        let mut leaks: Vec<String> = now
            .descriptors
            .difference(&self.descriptors)
            .map(|fd| format!("descriptor {fd}"))
            .collect();
        leaks.extend(
            now.programs
                .difference(&self.programs)
                .map(|id| format!("program {id}")),
        );
        leaks.extend(
            now.links
                .difference(&self.links)
                .map(|id| format!("link {id}")),
        );
        leaks
    }
}

/// The open descriptors of this process, each with its target.
fn descriptors() -> HashSet<String> {
    let fds = fs::read_dir("/proc/self/fd")
        .into_iter()
        .flatten()
        .flatten();
    // The descriptor that lists them is closed by now, so its link cannot be read.
    let open = fds.filter_map(|fd| {
        let target = fs::read_link(fd.path()).ok()?;
        Some(format!(
            "{} -> {}",
            fd.file_name().display(),
            target.display()
        ))
    });
    open.filter(|fd| !fd.contains("/proc/")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leaked_descriptor_is_named() {
        let before = LeakCheck::for_process(Concurrency::Parallel);
        // Other tests open files at the same time: look for this file only.
        let file = fs::File::open("/dev/null").unwrap();
        let leaks = before.leaks();
        assert!(
            leaks.iter().any(|what| what.contains("/dev/null")),
            "{leaks:?}"
        );
        drop(file);
    }
}
