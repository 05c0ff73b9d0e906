//! What a kernel prints when something is wrong with it: the patterns, as data. The guest looks for them in the
//! kernel's log while a scenario runs, the host on the console from start to end.

/// How bad it is. The order is the order of gravity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Something waited far too long. On a busy host that alone can be the cause.
    Stall,
    /// The kernel found itself in a state that should not be, and went on.
    Warning,
    /// The kernel killed what was running, and went on.
    Oops,
    /// The kernel gave up.
    Panic,
}

/// Where in a message the text stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// At its start, after the time stamp.
    Start,
    /// Anywhere in it.
    Anywhere,
}

/// A text that shows something to be wrong.
#[derive(Clone, Copy, Debug)]
pub struct Pattern {
    /// What is looked for.
    pub text: &'static str,
    /// Where it must stand.
    pub place: Place,
    /// How bad it is.
    pub severity: Severity,
    /// What it says about the run.
    pub meaning: &'static str,
    /// Why the text is looked for in this form.
    pub reason: &'static str,
}

/// The marker that the kernel puts before most of its reports; the next line says what it is.
pub const CUT_HERE: &str = "------------[ cut here ]------------";

/// What begins the last line of a report.
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

/// The first pattern that fits counts: special ones stand before general ones.
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
        "its thread did not get to run; on a busy host no wonder"),
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
        "x86, for a pointer that no address can be; a user's program has its name and PID in front"),
    row(Oops, Start, "invalid opcode: 0000", "the kernel oopsed",
        "x86, for code that is none; with the code, because a user's program has its name in front"),
    row(Oops, Start, "divide error: 0000", "the kernel oopsed",
        "x86, as above"),
    row(Oops, Start, "stack segment: 0000", "the kernel oopsed",
        "x86, as above"),
    row(Oops, Start, "int3: 0000", "the kernel oopsed",
        "x86, a breakpoint that nobody owns: what a half-patched trampoline site gives"),
    row(Oops, Anywhere, "invoked oom-killer", "the VM ran out of memory",
        "with the name of whoever asked for memory in front"),
    row(Warning, Start, "WARNING: ", "the kernel warned",
        "WARN() in every release, and the lock checker; at the start, because mitigations say `Spectre V2 : WARNING: ` at every boot"),
    row(Warning, Start, "UBSAN: ", "the kernel did something undefined",
        "the checker for undefined behaviour"),
    row(Warning, Start, "refcount_t: ", "a reference count is wrong",
        "the text that comes with a WARN(), for when that was cut off"),
    row(Warning, Start, "list_add ", "a list is corrupt",
        "as above"),
    row(Warning, Start, "list_del ", "a list is corrupt",
        "as above"),
    row(Warning, Anywhere, "new suspected memory leaks", "the kernel leaked memory",
        "kmemleak, with its name and their number in front; its other lines only say that it runs"),
    row(Warning, Start, "INFO: trying to register non-static key", "the kernel used a lock that is none",
        "the lock checker's one report that does not begin with WARNING"),
    row(Warning, Start, "unchecked MSR access error", "the kernel touched a register that is not there",
        "x86; prints a stack trace as WARN() does"),
    row(Warning, Start, "Trying to vfree() ", "the kernel freed memory that it does not own",
        "the text that comes with a WARN() for BPF's own memory"),
];

/// The pattern that fits a message (without its time stamp).
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
    fn every_pattern_finds_itself_and_says_why_it_is_there() {
        for pattern in PATTERNS {
            let found = find(pattern.text).unwrap();
            assert_eq!(
                found.text, pattern.text,
                "hidden by a more general one before it"
            );
            assert!(!pattern.meaning.is_empty() && !pattern.reason.is_empty());
        }
    }
}
