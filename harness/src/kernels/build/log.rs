//! What the log of a failed build says.

/// The number of lines from the end of the log.
const TAIL: usize = 25;

/// How many lines with the same mark to show: the first is the cause, later ones follow from it.
const FIRST: usize = 5;

/// The first errors of compilers and of `make`, unless the end of the log has them all, and the end.
pub(super) fn summary(log: &str) -> String {
    let lines: Vec<_> = log.lines().collect();
    let tail = lines.len().saturating_sub(TAIL);
    let mut shown: Vec<usize> = Vec::new();
    for is_marked in [is_error, is_from_make] {
        let marked = lines.iter().enumerate().filter(|(_, line)| is_marked(line));
        shown.extend(marked.map(|(at, _)| at).take(FIRST));
    }
    shown.sort_unstable();
    shown.dedup();
    let end = lines[tail..].join("\n");
    if shown.iter().all(|&at| at >= tail) {
        return format!("the end of the log:\n{end}");
    }
    let first: Vec<_> = shown.into_iter().map(|at| lines[at]).collect();
    format!(
        "the first errors:\n{}\nthe end of the log:\n{end}",
        first.join("\n")
    )
}

/// A message of a compiler, the assembler, the linker or modpost.
fn is_error(line: &str) -> bool {
    line.to_ascii_lowercase().contains("error:") || line.contains("undefined reference to")
}

/// `make[1]: *** [Makefile:10: x.o] Error 1`.
fn is_from_make(line: &str) -> bool {
    line.contains("***")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steps(n: usize) -> String {
        (0..n)
            .map(|i| format!("  CC      kernel/{i}.o\n"))
            .collect()
    }

    #[test]
    fn first_errors_are_shown_however_much_follows() {
        let log = format!(
            "{}kernel/a.c:7:1: error: no such thing\n{}make[2]: *** [scripts/Makefile.build:1: kernel/a.o] Error 1\n\
             foo.s:3: Error: bad instruction\n{}",
            steps(40),
            steps(3),
            steps(60)
        );
        let summary = summary(&log);
        let (first, end) = summary.split_once("the end of the log:\n").unwrap();
        assert_eq!(
            first,
            "the first errors:\nkernel/a.c:7:1: error: no such thing\n\
             make[2]: *** [scripts/Makefile.build:1: kernel/a.o] Error 1\nfoo.s:3: Error: bad instruction\n"
        );
        assert_eq!(end.lines().count(), TAIL);
        assert!(end.ends_with("kernel/59.o"), "{end}");
    }

    #[test]
    fn errors_that_follow_from_the_first_are_left_out() {
        let errors: String = (0..30).map(|i| format!("a.c:{i}: error: x\n")).collect();
        let stars: String = (0..30)
            .map(|i| format!("make: *** [{i}] Error 2\n"))
            .collect();
        let summary = summary(&format!("{errors}{stars}{}", steps(30)));
        assert!(
            summary.contains("a.c:4: error: x\nmake: *** [0] Error 2\n"),
            "{summary}"
        );
        assert!(
            !summary.contains("a.c:5:") && !summary.contains("[5]"),
            "{summary}"
        );
    }

    #[test]
    fn errors_within_the_end_are_not_repeated() {
        let log = format!("{}ld: error: x\n", steps(30));
        assert_eq!(summary(&log).matches("ld: error: x").count(), 1);
        assert!(!summary(&log).contains("first errors"));
        assert_eq!(summary(""), "the end of the log:\n");
        // The name of a file is no error.
        assert!(
            !summary(&format!("  CC      lib/error-inject.o\n{}", steps(30))).contains("inject")
        );
    }
}
