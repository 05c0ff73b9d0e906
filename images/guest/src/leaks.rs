//! What a scenario leaves behind that the library should have closed: descriptors, programs and links.

use std::collections::HashSet;
use std::fs;
use std::time::Duration;

use anyhow::{Result, ensure};
use fexit::programs::{loaded_links, loaded_programs};
use guest::scenario::poll_until;

use crate::child::Company;

/// The kernel frees programs in its own time, and an emulator is slow.
const PATIENCE: Duration = Duration::from_secs(5);

/// What there is of each kind. What cannot be counted, for want of rights or on an old kernel, counts as nothing.
#[derive(Debug, Default)]
pub(crate) struct Census {
    scope: Scope,
    descriptors: HashSet<String>,
    programs: HashSet<u32>,
    links: HashSet<u32>,
}

/// What is counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Scope {
    /// This process's descriptors, and all programs and links, for nobody else makes any now.
    #[default]
    All,
    /// This process's descriptors: others make programs and links of their own.
    Process,
    /// All programs and links.
    Kernel,
}

impl Census {
    /// What a scenario itself must answer for.
    pub(crate) fn of_process(company: Company) -> Self {
        Self::take(match company {
            Company::Alone => Scope::All,
            Company::Others => Scope::Process,
        })
    }

    /// What all scenarios together must answer for that ran side by side.
    pub(crate) fn of_kernel() -> Self {
        Self::take(Scope::Kernel)
    }

    fn take(scope: Scope) -> Self {
        let (mut census, own, all) = (
            Self::default(),
            scope != Scope::Kernel,
            scope != Scope::Process,
        );
        census.scope = scope;
        if own {
            census.descriptors = descriptors();
        }
        if all {
            census.programs = loaded_programs().flatten().map(|info| info.id).collect();
            census.links = loaded_links().flatten().map(|info| info.id).collect();
        }
        census
    }

    /// Demands that nothing is there that was not there before; what the kernel frees late is waited for.
    pub(crate) fn nothing_new(&self) -> Result<()> {
        poll_until(
            "everything that was opened is closed again",
            PATIENCE,
            || Ok(self.news().is_empty().then_some(())),
        )
        .or_else(|_| {
            let news = self.news();
            ensure!(news.is_empty(), "this was left behind: {}", news.join(", "));
            Ok(())
        })
    }

    fn news(&self) -> Vec<String> {
        let now = Self::take(self.scope);
        let mut news: Vec<String> = now
            .descriptors
            .difference(&self.descriptors)
            .map(|fd| format!("descriptor {fd}"))
            .collect();
        news.extend(
            now.programs
                .difference(&self.programs)
                .map(|id| format!("program {id}")),
        );
        news.extend(
            now.links
                .difference(&self.links)
                .map(|id| format!("link {id}")),
        );
        news
    }
}

/// The open descriptors of this process, each with what it is.
fn descriptors() -> HashSet<String> {
    let fds = fs::read_dir("/proc/self/fd")
        .into_iter()
        .flatten()
        .flatten();
    // The descriptor that lists them is gone by the time it is looked at.
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
    fn a_descriptor_that_stays_open_is_named() {
        let before = Census::of_process(Company::Others);
        // Other tests open files meanwhile, so only this one counts.
        let file = fs::File::open("/dev/null").unwrap();
        let news = before.news();
        assert!(
            news.iter().any(|what| what.contains("/dev/null")),
            "{news:?}"
        );
        drop(file);
    }
}
