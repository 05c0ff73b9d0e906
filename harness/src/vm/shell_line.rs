//! A command line for a shell.

use std::ffi::{OsStr, OsString};
use std::path::Path;

/// A shell command that runs `program` with `arguments`.
pub(super) fn shell_line(program: &Path, arguments: &[OsString]) -> String {
    let words =
        std::iter::once(program.as_os_str()).chain(arguments.iter().map(OsString::as_os_str));
    let words: Vec<_> = words.map(OsStr::to_string_lossy).collect();
    let quoter = shlex::Quoter::new().allow_nul(true);
    // The only error is a NUL character, which is allowed.
    quoter
        .join(words.iter().map(|word| &**word))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn shell_quoting_round_trips() {
        let words = [
            "",
            "plain-word=1,2",
            "two words",
            "it's",
            "$HOME `x` \\ \"",
            "a\nb",
            "~",
            "#",
            "*",
            "ü",
        ];
        let arguments: Vec<_> = std::iter::once("%s\\0")
            .chain(words)
            .map(OsString::from)
            .collect();
        let line = shell_line(Path::new("printf"), &arguments);
        let output = Command::new("sh").args(["-c", &line]).output().unwrap();
        let printed = String::from_utf8(output.stdout).unwrap();
        assert_eq!(printed.split_terminator('\0').collect::<Vec<_>>(), words);
    }
}
