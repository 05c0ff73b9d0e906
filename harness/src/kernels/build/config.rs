//! The configuration of a kernel: which options are requested, and which of them the kernel dropped.
//!
//! A fragment has the format of the kernel's own fragments. The options below a line `## where defined` are requested
//! only if the source has them; `## always` ends that. The source decides, not its version, since distributions backport.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};

/// One option and its value; `None` turns it off.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Setting {
    name: String,
    value: Option<String>,
}

/// The requested options. The last setting of an option counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Config(Vec<Setting>);

impl Config {
    /// Adds the options of a fragment for a source with these symbols.
    pub(super) fn add(&mut self, name: &str, text: &str, symbols: &Symbols) -> Result<()> {
        let mut always = true;
        for (number, line) in text.lines().enumerate() {
            let context = || format!("{name}, line {}", number + 1);
            if let Some(condition) = line.strip_prefix("## ") {
                always = match condition.trim() {
                    "always" => true,
                    "where defined" => false,
                    _ => Err(anyhow!(
                        "{condition:?} is no condition: write `## where defined` or `## always`"
                    ))
                    .with_context(context)?,
                };
            } else if let Some(setting) = Setting::parse(line).with_context(context)?
                && (always || symbols.contains(&setting.name))
            {
                self.0.retain(|earlier| earlier.name != setting.name);
                self.0.push(setting);
            }
        }
        Ok(())
    }

    /// The text of a `.config` file: the options of `base` that are not requested otherwise, and the requested ones.
    pub(super) fn on(&self, base: &str) -> String {
        let requested: HashSet<_> = self.0.iter().map(|setting| &setting.name).collect();
        let kept = base.lines().filter(|line| match Setting::parse(line) {
            Ok(Some(setting)) => !requested.contains(&setting.name),
            _ => true,
        });
        let kept: String = kept.flat_map(|line| [line, "\n"]).collect();
        kept + &self.0.iter().map(Setting::to_line).collect::<String>()
    }

    /// The options that differ in `text`, the configuration that `make olddefconfig` wrote.
    pub(super) fn lost(&self, text: &str) -> Vec<String> {
        let lines = text.lines().filter_map(|line| Setting::parse(line).ok());
        let made: HashMap<_, _> = lines
            .flatten()
            .map(|setting| (setting.name, setting.value))
            .collect();
        let lost = |setting: &Setting| {
            let value = made.get(&setting.name).cloned().flatten();
            // Where the kernel has no such text, it is empty.
            let same = value == setting.value
                || (value.is_none() && setting.value.as_deref() == Some("\"\""));
            let is = value.as_deref().unwrap_or("off");
            (!same).then(|| format!("{} (is {is})", setting.to_line().trim_end()))
        };
        self.0.iter().filter_map(lost).collect()
    }
}

impl Setting {
    /// `None` for a comment or an empty line.
    fn parse(line: &str) -> Result<Option<Self>> {
        let line = line.trim();
        let (name, value) = match line.strip_prefix('#') {
            Some(comment) => match comment.trim().strip_suffix(" is not set") {
                Some(name) if name.starts_with("CONFIG_") => (name, None),
                _ => return Ok(None),
            },
            None if line.is_empty() => return Ok(None),
            None => match line.split_once('=') {
                Some((name, value)) if name.starts_with("CONFIG_") => (name, Some(value)),
                _ => bail!("{line:?} is not an option: write CONFIG_SOMETHING=y"),
            },
        };
        Ok(Some(Self {
            name: name.to_owned(),
            value: value.filter(|&value| value != "n").map(str::to_owned),
        }))
    }

    fn to_line(&self) -> String {
        match &self.value {
            Some(value) => format!("{}={value}\n", self.name),
            None => format!("# {} is not set\n", self.name),
        }
    }
}

/// The options that the Kconfig files of a source define, as `CONFIG_SMP`.
#[derive(Clone, Debug, Default)]
pub(super) struct Symbols(HashSet<String>);

impl Symbols {
    /// Reads the Kconfig files for x86.
    pub(super) fn read(tree: &Path) -> Result<Self> {
        let mut symbols = Self::default();
        symbols
            .add(tree, tree)
            .with_context(|| format!("cannot read the Kconfig files of {}", tree.display()))?;
        Ok(symbols)
    }

    fn contains(&self, name: &str) -> bool {
        self.0.contains(name)
    }

    fn add(&mut self, tree: &Path, dir: &Path) -> Result<()> {
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            let path = entry.path();
            let name = entry.file_name();
            let name = name.to_string_lossy();
            let kind = entry.file_type()?;
            if kind.is_dir() {
                let other = dir == tree && NO_KCONFIG.contains(&&*name)
                    || dir == tree.join("arch") && name != "x86";
                if !other {
                    self.add(tree, &path)?;
                }
            } else if kind.is_file() && name.starts_with("Kconfig") {
                let text = fs::read(&path).with_context(|| path.display().to_string())?;
                self.0
                    .extend(String::from_utf8_lossy(&text).lines().filter_map(defined));
            }
        }
        Ok(())
    }
}

/// Folders without options: files called Kconfig are test data there.
const NO_KCONFIG: [&str; 4] = [".git", "Documentation", "scripts", "tools"];

/// The option that a line of a Kconfig file defines.
fn defined(line: &str) -> Option<String> {
    let mut words = line.split_whitespace();
    matches!(words.next()?, "config" | "menuconfig")
        .then(|| words.next())
        .flatten()
        .map(|name| format!("CONFIG_{name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn symbols(names: &[&str]) -> Symbols {
        Symbols(names.iter().map(|name| format!("CONFIG_{name}")).collect())
    }

    fn config(text: &str, names: &[&str]) -> Result<Config> {
        let mut config = Config::default();
        config.add("test", text, &symbols(names))?;
        Ok(config)
    }

    #[test]
    fn options_apply_where_the_source_defines_them_and_the_last_wins() {
        let text = "# Why.\nCONFIG_A=y\n## where defined\nCONFIG_B=m\n# CONFIG_A is not set\n## always\nCONFIG_C=\"x\"\n";
        let of = |names: &[&str]| config(text, names).unwrap().on("");
        assert_eq!(of(&[]), "CONFIG_A=y\nCONFIG_C=\"x\"\n");
        assert_eq!(of(&["B"]), "CONFIG_A=y\nCONFIG_B=m\nCONFIG_C=\"x\"\n");
        assert_eq!(of(&["A"]), "# CONFIG_A is not set\nCONFIG_C=\"x\"\n");
    }

    #[test]
    fn requested_options_replace_those_of_the_base() {
        let base = "#\n# Linux/x86 5.14.0\n#\nCONFIG_A=m\n# CONFIG_B is not set\nCONFIG_D=7\n# CONFIG_E is not set\n";
        let requested = config("CONFIG_A=y\nCONFIG_B=y\n# CONFIG_D is not set\n", &[]).unwrap();
        assert_eq!(
            requested.on(base),
            "#\n# Linux/x86 5.14.0\n#\n# CONFIG_E is not set\nCONFIG_A=y\nCONFIG_B=y\n# CONFIG_D is not set\n"
        );
    }

    #[test]
    fn lost_option_is_named_with_its_final_value() {
        let asked = config(
            "CONFIG_A=y\nCONFIG_B=m\nCONFIG_C=8\n# CONFIG_D is not set\nCONFIG_E=n\nCONFIG_F=y\nCONFIG_G=\"\"\nCONFIG_H=\"\"\n",
            &[],
        )
        .unwrap();
        let made = "CONFIG_A=y\nCONFIG_B=y\n# CONFIG_C is not set\nCONFIG_D=y\nCONFIG_H=\"key\"\nCONFIG_I=y\n";
        assert_eq!(
            asked.lost(made),
            [
                "CONFIG_B=m (is y)",
                "CONFIG_C=8 (is off)",
                "# CONFIG_D is not set (is y)",
                "CONFIG_F=y (is off)",
                "CONFIG_H=\"\" (is \"key\")"
            ]
        );
        assert!(asked.lost(&asked.on("")).is_empty());
    }

    #[test]
    fn invalid_line_is_named_with_its_number() {
        for (line, message) in [
            ("B=y", "\"B=y\" is not an option"),
            ("## from 5.11", "\"from 5.11\" is no condition"),
        ] {
            let error = config(&format!("CONFIG_A=y\n{line}\n"), &[]).unwrap_err();
            let error = format!("{error:#}");
            assert!(error.starts_with("test, line 2: "), "{error}");
            assert!(error.contains(message), "{error}");
        }
    }

    #[test]
    fn symbols_are_those_that_the_kconfig_files_for_x86_define() {
        let dir = tempfile::tempdir().unwrap();
        let put = |path: &str, text: &str| {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        put(
            "Kconfig",
            "source \"lib/Kconfig.debug\"\nconfig A\n\tbool \"config X\"\n",
        );
        put(
            "lib/Kconfig.debug",
            "menuconfig B\n  config C\n\thelp\n\t  The config is \u{e9}.\n",
        );
        put("arch/x86/Kconfig", "config D\n");
        put("arch/arm64/Kconfig", "config X\n");
        put("scripts/kconfig/tests/Kconfig", "config X\n");
        put("lib/notes", "config X\n");
        let symbols = Symbols::read(dir.path()).unwrap();
        for name in ["A", "B", "C", "D"] {
            assert!(symbols.contains(&format!("CONFIG_{name}")), "{name}");
        }
        assert!(!symbols.contains("CONFIG_X"));
    }
}
