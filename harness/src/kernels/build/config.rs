//! Fragments of a kernel configuration: which options are requested, and which of them the kernel dropped.
//!
//! A fragment has the format of the kernel's own fragments. A line `## from 5.11` limits the options below it to these
//! kernels, up to the next such line; `## all` ends the limit.

use std::collections::HashMap;

use anyhow::{Context, Result, bail};
use fexit::KernelVersion;

use crate::kernels::range::Range;

/// The fragments that every kernel is built with.
pub(super) const FRAGMENTS: [(&str, &str); 2] = [
    (
        "base.config",
        include_str!("../../../../kernels/config/base.config"),
    ),
    (
        "fexit.config",
        include_str!("../../../../kernels/config/fexit.config"),
    ),
];

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
    /// Adds the options of a fragment for this kernel version.
    pub(super) fn add(&mut self, name: &str, text: &str, version: KernelVersion) -> Result<()> {
        let mut range = Range::default();
        for (number, line) in text.lines().enumerate() {
            let context = || format!("{name}, line {}", number + 1);
            if let Some(limits) = line.strip_prefix("## ") {
                range = Range::parse(limits).with_context(context)?;
            } else if let Some(setting) = Setting::parse(line).with_context(context)?
                && range.contains(version)
            {
                self.0.retain(|earlier| earlier.name != setting.name);
                self.0.push(setting);
            }
        }
        Ok(())
    }

    /// The text of a `.config` file.
    pub(super) fn to_text(&self) -> String {
        self.0.iter().map(Setting::to_line).collect()
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
            let is = value.as_deref().unwrap_or("off").to_owned();
            (value != setting.value).then(|| format!("{} (is {is})", setting.to_line().trim_end()))
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

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str, version: &str) -> Result<Config> {
        let mut config = Config::default();
        config.add("test", text, version.parse().unwrap())?;
        Ok(config)
    }

    #[test]
    fn options_apply_by_version_range_and_the_last_wins() {
        let text = "# Why.\nCONFIG_A=y\n## from 5.11\nCONFIG_B=m\n## until 5.7\n# CONFIG_A is not set\n## all\nCONFIG_C=\"x\"\n";
        let of = |version| config(text, version).unwrap().to_text();
        assert_eq!(of("5.10"), "CONFIG_A=y\nCONFIG_C=\"x\"\n");
        assert_eq!(of("5.11"), "CONFIG_A=y\nCONFIG_B=m\nCONFIG_C=\"x\"\n");
        assert_eq!(of("5.5.19"), "# CONFIG_A is not set\nCONFIG_C=\"x\"\n");
    }

    #[test]
    fn lost_option_is_named_with_its_final_value() {
        let asked = config(
            "CONFIG_A=y\nCONFIG_B=m\nCONFIG_C=8\n# CONFIG_D is not set\nCONFIG_E=n\nCONFIG_F=y\n",
            "5.10",
        )
        .unwrap();
        let made = "CONFIG_A=y\nCONFIG_B=y\n# CONFIG_C is not set\nCONFIG_D=y\nCONFIG_G=y\n";
        assert_eq!(
            asked.lost(made),
            [
                "CONFIG_B=m (is y)",
                "CONFIG_C=8 (is off)",
                "# CONFIG_D is not set (is y)",
                "CONFIG_F=y (is off)"
            ]
        );
        assert!(asked.lost(&asked.to_text()).is_empty());
    }

    #[test]
    fn invalid_option_is_named_with_its_line() {
        let error = format!("{:#}", config("CONFIG_A=y\nB=y\n", "5.5").unwrap_err());
        assert!(
            error.starts_with("test, line 2: \"B=y\" is not an option"),
            "{error}"
        );
        assert!(config("## until tomorrow\n", "5.5").is_err());
    }

    #[test]
    fn required_options_are_requested_for_every_kernel() {
        for version in ["5.5", "5.10", "7.3"] {
            let mut config = Config::default();
            for (name, text) in FRAGMENTS {
                config.add(name, text, version.parse().unwrap()).unwrap();
            }
            let text = config.to_text();
            for option in [
                "BPF_SYSCALL",
                "BPF_JIT",
                "DEBUG_INFO_BTF",
                "FUNCTION_TRACER",
            ] {
                assert!(text.contains(&format!("CONFIG_{option}=y\n")), "{option}");
            }
            assert_eq!(
                text.contains("BTF_MODULES"),
                version != "5.5" && version != "5.10"
            );
        }
    }
}
