//! Values of the kernel's configuration (`__kconfig`), which a loader fills in.
//!
//! They are in a separate constant map, so that the verifier knows the values and removes unreachable code. Types of
//! declarations, and the rule for those without a value, are libbpf's.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::Read;
use std::path::PathBuf;

use aya_obj::EbpfSectionKind;
use aya_obj::generated::{BPF_F_RDONLY_PROG, bpf_map_type};
use aya_obj::maps::{LegacyMap, bpf_map_def};
use flate2::read::GzDecoder;

use crate::elf::externs::{Declared, Type};
use crate::sys;

/// The name of the map and of the section in the object's BTF.
pub(crate) const MAP: &str = ".kconfig";

const RUNNING: &str = "/proc/config.gz";

/// The size limit; a configuration has 200 kB.
const LONGEST: u64 = 16 << 20;

/// The values of a configuration by the full names of the options.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Config(HashMap<String, String>);

impl Config {
    /// Parses a `.config`. Lines that are not `CONFIG_NAME=VALUE` are ignored.
    pub(crate) fn parse(text: &str) -> Self {
        let lines = text.lines().filter(|line| line.starts_with("CONFIG_"));
        let options = lines.filter_map(|line| line.split_once('='));
        Self(
            options
                .map(|(name, value)| (name.to_owned(), value.trim_end().to_owned()))
                .collect(),
        )
    }

    /// The configuration of the running kernel.
    pub(crate) fn running() -> Result<Self, String> {
        let in_boot = PathBuf::from(format!("/boot/config-{}", sys::kernel_release()));
        let bytes = packed(RUNNING).or_else(|_| fs::read(sys::kernel_file(&in_boot)));
        let bytes = bytes.map_err(|error| {
            format!(
                "the running kernel's configuration is neither in {RUNNING} nor in {} ({error}); give it by \
                 `EbpfLoader::kconfig`",
                in_boot.display()
            )
        })?;
        Ok(Self::parse(&String::from_utf8_lossy(&bytes)))
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }
}

fn packed(path: &str) -> std::io::Result<Vec<u8>> {
    let mut text = Vec::new();
    GzDecoder::new(File::open(sys::kernel_file(path))?)
        .take(LONGEST)
        .read_to_end(&mut text)?;
    Ok(text)
}

/// The source of values.
pub(crate) trait Source {
    /// The value of an option; `None` if it is not set.
    fn option(&self, name: &str) -> Result<Option<String>, String>;
    /// A value that is not an option, `LINUX_...`; `None` if there is no such value.
    fn virtual_value(&self, name: &str) -> Result<Option<u64>, String>;
}

/// The configuration that was given to the loader, which precedes that of the running kernel.
pub(crate) struct Options {
    given: Option<Config>,
    running: Result<Config, String>,
}

impl Options {
    pub(crate) fn new(
        given: Option<&str>,
        running: impl FnOnce() -> Result<Config, String>,
    ) -> Self {
        Self {
            given: given.map(Config::parse),
            running: running(),
        }
    }

    pub(crate) fn get(&self, name: &str) -> Result<Option<String>, String> {
        let given = self.given.as_ref().and_then(|given| given.get(name));
        match (given, &self.running) {
            (Some(value), _) => Ok(Some(value.to_owned())),
            (None, Ok(running)) => Ok(running.get(name).map(str::to_owned)),
            // Without a kernel configuration, the given one counts.
            (None, Err(_)) if self.given.is_some() => Ok(None),
            (None, Err(reason)) => Err(reason.clone()),
        }
    }
}

/// The bytes of one value, or why it has none.
pub(crate) fn value(
    name: &str,
    is_weak: bool,
    declared: Option<Declared>,
    source: &dyn Source,
) -> Result<Vec<u8>, String> {
    let Some(declared) = declared else {
        return Err("no option can have its type".to_owned());
    };
    let found = if name.starts_with("CONFIG_") {
        let option = source.option(name)?;
        option.map(|value| declared.parse(&value)).transpose()?
    } else {
        let value = source.virtual_value(name)?;
        let number = |value: u64| declared.number(value, false);
        value.map(number).transpose()?
    };
    match found {
        Some(bytes) => Ok(bytes),
        None if is_weak => Ok(vec![0; declared.size]),
        None if name.starts_with("CONFIG_") => Err(
            "the kernel's configuration does not set it; declare it `__weak` for it to be zero there"
                .to_owned(),
        ),
        None => Err("no such value is known".to_owned()),
    }
}

impl Declared {
    fn parse(self, value: &str) -> Result<Vec<u8>, String> {
        match value {
            "y" | "n" | "m" => self.switch(value),
            text if text.starts_with('"') => self.text(text),
            number => {
                let (negative, digits) = match number.strip_prefix('-') {
                    Some(digits) => (true, digits),
                    None => (false, number),
                };
                let parsed = match digits.strip_prefix("0x").or(digits.strip_prefix("0X")) {
                    Some(digits) => u64::from_str_radix(digits, 16),
                    None => digits.parse(),
                };
                let parsed = parsed.map_err(|_| format!("its value `{number}` is not a number"))?;
                self.number(parsed, negative)
            }
        }
    }

    fn switch(self, value: &str) -> Result<Vec<u8>, String> {
        let number = match value {
            "n" => 0u64,
            "y" => 1,
            _ => 2,
        };
        match self.kind {
            Type::Bool if value == "m" => {
                Err("its value is `m`: declare it as `enum libbpf_tristate`".to_owned())
            }
            Type::Bool | Type::Tristate => Ok(self.low_bytes(number)),
            Type::Char => Ok(value.bytes().collect()),
            _ => Err(format!(
                "its value is `{value}`: declare it as bool, `enum libbpf_tristate` or char"
            )),
        }
    }

    fn text(self, value: &str) -> Result<Vec<u8>, String> {
        if self.kind != Type::Text {
            return Err(format!(
                "its value is {value}: declare it as an array of char"
            ));
        }
        let inner = value
            .strip_prefix('"')
            .and_then(|rest| rest.strip_suffix('"'));
        let inner = inner.ok_or_else(|| format!("its value {value} has no end"))?;
        // A longer text is truncated; it always ends with a NUL.
        let kept = inner.len().min(self.size - 1);
        let mut bytes = inner.as_bytes()[..kept].to_vec();
        bytes.resize(self.size, 0);
        Ok(bytes)
    }

    fn number(self, value: u64, negative: bool) -> Result<Vec<u8>, String> {
        let shown = || format!("{}{value}", if negative { "-" } else { "" });
        let signed = match self.kind {
            Type::Int { signed } => signed,
            Type::Char => false,
            // A feature is 0 or 1, so it may be a bool.
            Type::Bool if value <= 1 && !negative => return Ok(self.low_bytes(value)),
            _ => {
                return Err(format!(
                    "its value is {}: declare it as an integer",
                    shown()
                ));
            }
        };
        let bits = 8 * u32::try_from(self.size).unwrap_or(8);
        let most = match (signed, negative) {
            _ if bits == 64 => u64::MAX,
            (true, false) => (1 << (bits - 1)) - 1,
            (true, true) => 1 << (bits - 1),
            (false, false) => u64::MAX >> (64 - bits),
            (false, true) => 0,
        };
        if value > most {
            return Err(format!(
                "its value {} does not fit into {bits} bits",
                shown()
            ));
        }
        Ok(self.low_bytes(if negative {
            value.wrapping_neg()
        } else {
            value
        }))
    }

    fn low_bytes(self, value: u64) -> Vec<u8> {
        let bytes = value.to_ne_bytes();
        if cfg!(target_endian = "little") {
            bytes[..self.size].to_vec()
        } else {
            bytes[8 - self.size..].to_vec()
        }
    }
}

/// The definition of a constant map that holds `data`.
pub(crate) fn map(data: Vec<u8>) -> aya_obj::Map {
    let value_size = u32::try_from(data.len()).unwrap_or(u32::MAX);
    aya_obj::Map::Legacy(LegacyMap {
        def: bpf_map_def {
            map_type: bpf_map_type::BPF_MAP_TYPE_ARRAY as u32,
            key_size: 4,
            value_size,
            max_entries: 1,
            map_flags: BPF_F_RDONLY_PROG,
            ..bpf_map_def::default()
        },
        inner_def: None,
        section_index: 0,
        section_kind: EbpfSectionKind::Rodata,
        symbol_index: None,
        data,
    })
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;
    use crate::sys::fake;

    const CONFIG: &str = "# comment\nCONFIG_YES=y\nCONFIG_MODULE=m\n# CONFIG_NO is not set\nCONFIG_N=n\n\
        CONFIG_HZ=250\nCONFIG_HEX=0x1000\nCONFIG_NEGATIVE=-5\nCONFIG_TEXT=\"abc\"\nCONFIG_BIG=300\n";

    struct Fixed(Options);

    impl Source for Fixed {
        fn option(&self, name: &str) -> Result<Option<String>, String> {
            self.0.get(name)
        }

        fn virtual_value(&self, name: &str) -> Result<Option<u64>, String> {
            Ok((name == "LINUX_KERNEL_VERSION").then_some(0x050a01))
        }
    }

    fn source(given: Option<&str>, running: Option<&str>) -> Fixed {
        let running = running.map(Config::parse).ok_or("no config".to_owned());
        Fixed(Options::new(given, || running))
    }

    fn of(name: &str, kind: Type, size: usize) -> Result<Vec<u8>, String> {
        let declared = Declared { kind, size };
        value(name, false, Some(declared), &source(None, Some(CONFIG)))
    }

    #[test]
    fn running_configuration_is_read_from_proc_or_boot() {
        let hz = || Config::running().map(|config| config.get("CONFIG_HZ").map(str::to_owned));
        let kernel = fake::kernel(|_| None);
        *kernel.release.borrow_mut() = "6.1.0-7-amd64".to_owned();
        assert!(hz().unwrap_err().contains("/boot/config-6.1.0-7-amd64"));
        kernel.file("/boot/config-6.1.0-7-amd64", "CONFIG_HZ=250\n");
        assert_eq!(hz(), Ok(Some("250".to_owned())));
        let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
        packed.write_all(b"CONFIG_HZ=1000\n").unwrap();
        kernel.file("/proc/config.gz", packed.finish().unwrap());
        assert_eq!(hz(), Ok(Some("1000".to_owned())));
    }

    const INT: Type = Type::Int { signed: true };
    const UNSIGNED: Type = Type::Int { signed: false };

    #[test]
    fn values_are_what_the_declaration_can_hold() {
        let int = |n: i32| n.to_ne_bytes().to_vec();
        for (name, kind, size, bytes) in [
            ("CONFIG_YES", Type::Bool, 1, vec![1]),
            ("CONFIG_N", Type::Bool, 1, vec![0]),
            ("CONFIG_YES", Type::Tristate, 4, int(1)),
            ("CONFIG_MODULE", Type::Tristate, 4, int(2)),
            ("CONFIG_MODULE", Type::Char, 1, b"m".to_vec()),
            ("CONFIG_HZ", INT, 4, int(250)),
            ("CONFIG_HZ", UNSIGNED, 8, 250u64.to_ne_bytes().to_vec()),
            ("CONFIG_HEX", INT, 4, int(0x1000)),
            ("CONFIG_NEGATIVE", INT, 4, int(-5)),
            ("CONFIG_TEXT", Type::Text, 8, b"abc\0\0\0\0\0".to_vec()),
            ("CONFIG_TEXT", Type::Text, 3, b"ab\0".to_vec()),
            ("LINUX_KERNEL_VERSION", INT, 4, int(0x050a01)),
        ] {
            assert_eq!(of(name, kind, size), Ok(bytes), "{name} as {kind:?}");
        }
    }

    #[test]
    fn values_that_do_not_fit_say_what_would() {
        for (name, kind, size, what) in [
            ("CONFIG_MODULE", Type::Bool, 1, "libbpf_tristate"),
            ("CONFIG_YES", INT, 4, "declare it as bool"),
            ("CONFIG_HZ", Type::Text, 8, "an integer"),
            ("CONFIG_TEXT", INT, 4, "array of char"),
            ("CONFIG_BIG", UNSIGNED, 1, "does not fit"),
            ("CONFIG_NEGATIVE", UNSIGNED, 4, "does not fit"),
            ("CONFIG_HEX", INT, 2, ""),
            ("CONFIG_NO", Type::Bool, 1, "__weak"),
            ("LINUX_NO_SUCH", INT, 4, "no such value"),
            ("OTHER", INT, 4, "no such value"),
        ] {
            match of(name, kind, size) {
                Err(why) => assert!(!what.is_empty() && why.contains(what), "{name}: {why}"),
                Ok(_) => assert!(what.is_empty(), "{name} as {kind:?}"),
            }
        }
        let nothing = value("CONFIG_HZ", true, None, &source(None, Some(CONFIG)));
        assert!(nothing.unwrap_err().contains("its type"));
    }

    #[test]
    fn given_configuration_precedes_that_of_the_kernel() {
        let ask = |name, is_weak, given, running| {
            let int = Declared { kind: INT, size: 4 };
            value(name, is_weak, Some(int), &source(given, running)).map(|bytes| bytes[0])
        };
        assert_eq!(
            ask("CONFIG_HZ", false, Some("CONFIG_HZ=100"), Some(CONFIG)),
            Ok(100)
        );
        assert_eq!(
            ask("CONFIG_HZ", false, Some("CONFIG_A=1"), Some(CONFIG)),
            Ok(250)
        );
        assert_eq!(
            ask("CONFIG_HZ", false, Some("CONFIG_HZ=100"), None),
            Ok(100)
        );
        // A weak value may be absent from the configuration; a configuration that cannot be read is an error.
        assert_eq!(ask("CONFIG_NO", true, None, Some(CONFIG)), Ok(0));
        assert_eq!(ask("CONFIG_NO", true, Some("CONFIG_A=1"), None), Ok(0));
        assert_eq!(
            ask("CONFIG_NO", true, None, None),
            Err("no config".to_owned())
        );
        assert_eq!(ask("LINUX_KERNEL_VERSION", false, None, None), Ok(1));
        assert_eq!(ask("LINUX_NO_SUCH", true, None, None), Ok(0));
    }
}
