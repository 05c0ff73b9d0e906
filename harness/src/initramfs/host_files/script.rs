//! Scripts: the interpreter in the first line, and the words that may be commands.

/// The interpreter in the `#!` line, and its argument.
pub(super) fn interpreter(data: &[u8]) -> Option<(String, Option<String>)> {
    // The kernel reads only this much of the line.
    let head = &data[..data.len().min(256)];
    let line = head
        .strip_prefix(b"#!")?
        .split(|&byte| byte == b'\n')
        .next()?;
    let line = std::str::from_utf8(line).ok()?.trim();
    let (program, argument) = line
        .split_once([' ', '\t'])
        .map_or((line, None), |(program, argument)| {
            (program, Some(argument.trim().to_owned()))
        });
    (!program.is_empty()).then(|| (program.to_owned(), argument))
}

/// Whether a program of this name is a shell.
pub(super) fn is_shell(name: &str) -> bool {
    matches!(
        name,
        "sh" | "ash" | "bash" | "dash" | "ksh" | "mksh" | "zsh"
    )
}

/// Every word of a shell script that may be a command. The caller ignores words that are not programs on PATH.
pub(super) fn words(script: &str) -> impl Iterator<Item = &str> {
    let part_of_name = |c: char| c.is_ascii_alphanumeric() || "_-+./[".contains(c);
    let code = script.lines().map(|line| match line.find(" #") {
        _ if line.trim_start().starts_with('#') => "",
        Some(comment) => &line[..comment],
        None => line,
    });
    code.flat_map(move |line| line.split(move |c| !part_of_name(c)))
        .filter(|word| !word.is_empty() && !word.starts_with('-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shebang_names_an_interpreter_and_at_most_one_argument() {
        let read = |text: &str| interpreter(text.as_bytes());
        assert_eq!(read("#!/bin/sh\nls"), Some(("/bin/sh".into(), None)));
        assert_eq!(
            read("#! /usr/bin/env -S python3 -u \n"),
            Some(("/usr/bin/env".into(), Some("-S python3 -u".into())))
        );
        for none in ["", "#!", "#!\n/bin/sh", "ls", "#!\u{fffd}"] {
            assert_eq!(
                read(none).filter(|(program, _)| program.starts_with('/')),
                None,
                "{none:?}"
            );
        }
    }

    #[test]
    fn every_possible_command_word_of_a_script_is_found() {
        let script = "# head -1\nls /sys|wc -l; [ -e \"$(uname -r)\" ] && /bin/true # tail\n";
        let words: Vec<_> = words(script).collect();
        assert_eq!(words, ["ls", "/sys", "wc", "[", "uname", "/bin/true"]);
    }
}
