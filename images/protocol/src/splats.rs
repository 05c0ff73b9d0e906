//! The patterns of splats, as data. The guest looks for them in the kernel's log while a scenario runs, the host on the
//! console during the whole run.

/// The severity of a message, in ascending order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// A stall. A busy host alone can cause it.
    Stall,
    /// The kernel detected an invalid state, and continued.
    Warning,
    /// The kernel killed the running task, and continued.
    Oops,
    /// The kernel stopped.
    Panic,
}

/// Where in a message the text occurs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// At its start, after the time stamp.
    Start,
    /// Anywhere in it.
    Anywhere,
}

/// A text that shows a fault.
#[derive(Clone, Copy, Debug)]
pub struct Pattern {
    /// The text.
    pub text: &'static str,
    /// Where it must occur.
    pub place: Place,
    /// Its severity.
    pub severity: Severity,
    /// What it means, for people.
    pub meaning: &'static str,
    /// Why the pattern has this form.
    pub reason: &'static str,
}

/// The marker before most reports of the kernel. The next line names the fault.
pub const CUT_HERE: &str = "------------[ cut here ]------------";

/// The start of the last line of a report.
pub const END_OF_REPORT: &str = "---[ end ";

const fn row(
    severity: Severity,
    place: Place,
    text: &'static str,
    meaning: &'static str,
    reason: &'static str,
) -> Pattern {
    Pattern {
        text,
        place,
        severity,
        meaning,
        reason,
    }
}

use Place::{Anywhere, Start};
use Severity::{Oops, Panic, Stall, Warning};

/// The first match counts: special patterns precede general ones.
#[rustfmt::skip]
pub const PATTERNS: &[Pattern] = &[
    row(Panic, Anywhere, "Kernel panic - not syncing", "the kernel panicked",
        "printed by panic() in every release; anywhere, because what user space last wrote to the console may lack its line end"),
    row(Panic, Start, "PANIC: double fault", "the kernel panicked",
        "x86 prints it before the stack is known to hold enough for panic() itself"),
    row(Stall, Anywhere, "BUG: soft lockup", "a CPU was stuck in the kernel",
        "the watchdog's report; a busy host causes it too"),
    row(Stall, Start, "BUG: workqueue lockup", "a work queue made no progress",
        "the watchdog's report; a busy host causes it too"),
    row(Stall, Anywhere, "self-detected stall on CPU", "RCU stalled",
        "the subsystem's name before it changes from release to release"),
    row(Stall, Anywhere, "detected stalls on CPUs/tasks", "RCU stalled",
        "as above, seen from another CPU"),
    row(Stall, Anywhere, "detected expedited stalls", "RCU stalled",
        "as above, for an expedited grace period"),
    row(Stall, Anywhere, "kthread starved for", "RCU stalled",
        "the RCU kthread did not run; a busy host causes it too"),
    row(Stall, Anywhere, "rcu_tasks detected stalls", "RCU-tasks stalled",
        "what trampolines wait for before they are freed"),
    row(Stall, Start, "INFO: task ", "a task was blocked",
        "the hung-task watchdog: `INFO: task NAME:PID blocked for more than N seconds`"),
    row(Oops, Start, "BUG: ", "the kernel hit a bug",
        "page faults in the kernel, bad page states, KASAN and KFENCE, sleeping in atomic context"),
    row(Oops, Start, "kernel BUG at ", "the kernel hit a bug",
        "BUG() and BUG_ON()"),
    row(Oops, Start, "Oops: ", "the kernel oopsed",
        "the head of a report whose first line was lost"),
    row(Oops, Start, "Oops - ", "the kernel oopsed",
        "the form of some exceptions on arm64"),
    row(Oops, Start, "Internal error: ", "the kernel oopsed",
        "the form on arm64"),
    row(Oops, Start, "Unable to handle kernel ", "the kernel oopsed",
        "the form on arm64, and on x86 before 5.1"),
    row(Oops, Start, "general protection fault", "the kernel oopsed",
        "x86, for a non-canonical address; a user program has its name and PID in front"),
    row(Oops, Start, "invalid opcode: 0000", "the kernel oopsed",
        "x86, for an invalid opcode; with the error code, because a user program has its name in front"),
    row(Oops, Start, "divide error: 0000", "the kernel oopsed",
        "x86, as above"),
    row(Oops, Start, "stack segment: 0000", "the kernel oopsed",
        "x86, as above"),
    row(Oops, Start, "int3: 0000", "the kernel oopsed",
        "x86, a breakpoint without owner, as of a half-patched trampoline site"),
    row(Oops, Anywhere, "invoked oom-killer", "the VM ran out of memory",
        "with the name of the allocating task in front"),
    row(Warning, Start, "WARNING: ", "the kernel warned",
        "WARN() in every release, and the lock checker; at the start, because mitigations say `Spectre V2 : WARNING: ` at every boot"),
    row(Warning, Start, "UBSAN: ", "the kernel ran undefined behaviour",
        "the checker for undefined behaviour"),
    row(Warning, Start, "refcount_t: ", "a reference count is wrong",
        "the text that comes with a WARN(), for when that was cut off"),
    row(Warning, Start, "list_add ", "a list is corrupt",
        "as above"),
    row(Warning, Start, "list_del ", "a list is corrupt",
        "as above"),
    row(Warning, Anywhere, "new suspected memory leaks", "the kernel leaked memory",
        "kmemleak, with its name and their number in front; its other lines only say that it runs"),
    row(Warning, Start, "INFO: trying to register non-static key", "the kernel used an uninitialized lock",
        "the lock checker's one report that does not begin with WARNING"),
    row(Warning, Start, "unchecked MSR access error", "the kernel accessed an MSR that does not exist",
        "x86; prints a stack trace as WARN() does"),
    row(Warning, Start, "Trying to vfree() ", "the kernel freed memory that it does not own",
        "the text that comes with a WARN() for BPF's own memory"),
];

/// The first pattern that matches a message (without its time stamp).
pub fn find(message: &str) -> Option<&'static Pattern> {
    PATTERNS.iter().find(|pattern| match pattern.place {
        Start => message.starts_with(pattern.text),
        Anywhere => message.contains(pattern.text),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pattern_matches_itself_and_has_a_reason() {
        for pattern in PATTERNS {
            let found = find(pattern.text).unwrap();
            assert_eq!(
                found.text, pattern.text,
                "shadowed by a more general pattern before it"
            );
            assert!(!pattern.meaning.is_empty() && !pattern.reason.is_empty());
        }
    }
}
