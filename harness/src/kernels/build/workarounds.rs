//! Workarounds for kernels that are older than the tools that build them. The data, with conditions and reasons, is in
//! `kernels/workarounds.toml`.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::Deserialize;

use super::config::{Config, Symbols};

pub(super) const DATA: &str = include_str!("../../../../kernels/workarounds.toml");

/// A workaround.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Workaround {
    /// Its name in the report.
    pub(super) name: String,
    /// Which sources need it.
    when: Condition,
    /// Why they need it.
    reason: String,
    /// Kernel options, as lines of a fragment.
    #[serde(default)]
    config: Vec<String>,
    /// Variables for `make`.
    #[serde(default)]
    make: Vec<String>,
    /// Arguments for pahole.
    #[serde(default)]
    pahole: Vec<PaholeFlag>,
}

/// What a source contains: a file, with one text and without another.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Condition {
    file: String,
    has: Option<String>,
    lacks: Option<String>,
}

/// An argument for pahole from this version on.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PaholeFlag {
    flag: String,
    since: u32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Data {
    workaround: Vec<Workaround>,
}

/// The workarounds that this source needs.
pub(super) fn of(tree: &Path) -> Result<Vec<Workaround>> {
    let mut needed = Vec::new();
    for workaround in all()? {
        if workaround.when.holds(tree)? {
            needed.push(workaround);
        }
    }
    Ok(needed)
}

fn all() -> Result<Vec<Workaround>> {
    let data: Data = toml::from_str(DATA).context("workarounds.toml is invalid")?;
    Ok(data.workaround)
}

impl Condition {
    /// Whether it holds for a source. It does not if the source has no such file.
    fn holds(&self, tree: &Path) -> Result<bool> {
        let path = tree.join(&self.file);
        let text = match fs::read(&path) {
            Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
            Err(error) => {
                return Err(error).with_context(|| format!("cannot read {}", path.display()));
            }
        };
        let contains = |part: &String| text.contains(part.as_str());
        Ok(self.has.as_ref().is_none_or(contains) && !self.lacks.as_ref().is_some_and(contains))
    }
}

impl Workaround {
    /// Adds its kernel options to a configuration.
    pub(super) fn configure(&self, config: &mut Config, symbols: &Symbols) -> Result<()> {
        config.add(&self.name, &self.config.join("\n"), symbols)
    }

    /// Its variables for `make`.
    pub(super) fn variables(&self) -> &[String] {
        &self.make
    }

    /// Its name and reason.
    pub(super) fn explained(&self) -> String {
        format!("{}: {}", self.name, self.reason)
    }
}

/// The arguments for this version of pahole (124 is 1.24).
pub(super) fn pahole_flags(workarounds: &[Workaround], pahole: u32) -> Vec<&str> {
    workarounds
        .iter()
        .flat_map(|workaround| &workaround.pahole)
        .filter(|flag| pahole >= flag.since)
        .map(|flag| flag.flag.as_str())
        .collect()
}

/// Writes a script that runs pahole with more arguments: a kernel's build takes only the path of a program.
pub(super) fn wrap_pahole(dir: &Path, flags: &[&str]) -> Result<PathBuf> {
    let path = dir.join("pahole");
    let text = format!(
        "#!/bin/sh\n[ \"$1\" = --version ] && exec pahole --version\nexec pahole {} \"$@\"\n",
        flags.join(" ")
    );
    let context = || format!("cannot write {}", path.display());
    fs::write(&path, text).with_context(context)?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).with_context(context)?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A source that is old, or wrong, in each place where a workaround looks.
    const OLD: [(&str, &str); 16] = [
        (
            "arch/x86/kernel/smpboot.c",
            "\tboot_init_stack_canary();\n\tcpu_startup_entry(CPUHP_AP_ONLINE_IDLE);\n",
        ),
        (
            "arch/x86/boot/compressed/kaslr_64.c",
            "unsigned long __force_order;\n",
        ),
        (
            "tools/objtool/elf.c",
            "\t\tWARN(\"missing symbol table\");\n\t\treturn -1;\n",
        ),
        ("scripts/Makefile.lib", "\t$(if $(delay-objtool), --link)\n"),
        ("Makefile", "KBUILD_CFLAGS   += -Werror\n"),
        (
            "arch/x86/entry/entry_64.S",
            "idtentry_vc vmm_communication\t\tdo_vmm_communication\n",
        ),
        ("kernel/Makefile", "\tcat $< | scripts/bin2c; \\\n"),
        (
            "tools/lib/subcmd/subcmd-util.h",
            "\tif (!ret && !size)\n\t\tret = realloc(ptr, 1);\n",
        ),
        ("include/uapi/linux/btf.h", "#define BTF_KIND_DATASEC 15\n"),
        (
            "include/linux/kernel.h",
            "#ifdef CONFIG_RHEL_DIFFERENCES\nvoid mark_hardware_unmaintained(const char *name);\n#endif\n",
        ),
        (
            "Kconfig",
            "config RH_KABI_SIZE_ALIGN_CHECKS\n\tbool \"checks\"\n",
        ),
        (
            "arch/x86/include/asm/paravirt.h",
            "static inline void paravirt_set_cap(void)\n{\n}\n#endif\n#endif /* __ASSEMBLY__ */\n\
             #endif /* !CONFIG_PARAVIRT */\n",
        ),
        (
            "kernel/locking/qspinlock.c",
            "\t\t     (sizeof(struct pv_mmu_ops)  != 384) ||\n",
        ),
        (
            "tools/objtool/check.c",
            "\t\trela->sym->return_thunk = true;\n",
        ),
        (
            "arch/x86/kernel/sev.c",
            "#include <linux/mm.h>\n\tdesc = kmalloc(sizeof(*desc), GFP_KERNEL_ACCOUNT);\n",
        ),
        (
            "arch/x86/boot/header.S",
            "\t.macro\t\t__handover_offset\n#if !defined(CONFIG_X86_64)\n",
        ),
    ];

    fn names(files: &[(&str, &str)]) -> Vec<String> {
        let dir = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let found = of(dir.path()).unwrap();
        found.into_iter().map(|found| found.name).collect()
    }

    #[test]
    fn source_that_has_every_trouble_gets_every_workaround() {
        let all: Vec<_> = all().unwrap().into_iter().map(|w| w.name).collect();
        assert_eq!(names(&OLD), all);
    }

    #[test]
    fn backported_fix_makes_a_workaround_needless() {
        for (fixed, text, absent) in [
            (
                "arch/x86/kernel/smpboot.c",
                "\tboot_init_stack_canary();\n\tcpu_startup_entry(x);\n\tprevent_tail_call_optimization();\n",
                &["stack-protector"][..],
            ),
            ("arch/x86/boot/compressed/kaslr_64.c", "", &["force-order"]),
            (
                "tools/objtool/elf.c",
                "\t * A missing symbol table is actually possible\n",
                &["objtool"],
            ),
            (
                "scripts/Makefile.lib",
                "delay-objtool := $(CONFIG_X86_KERNEL_IBT)\n\t$(if $(delay-objtool), --link)\n",
                &["delay-objtool"],
            ),
            (
                "Makefile",
                "KBUILD_CFLAGS   += $(call cc-option,-Werror=date-time)\n",
                &["werror"],
            ),
            (
                "arch/x86/entry/entry_64.S",
                ".macro idtentry_vc vector asmsym cfunc\n",
                &["sev"],
            ),
            (
                "kernel/Makefile",
                "$(obj)/configs.o: $(obj)/config_data.gz\n",
                &["bin2c"],
            ),
            (
                "tools/lib/subcmd/subcmd-util.h",
                "\tif (!ret)\n\t\tdie(\"Out of memory, realloc failed\");\n",
                &["libsubcmd"],
            ),
            (
                "include/uapi/linux/btf.h",
                "\tBTF_KIND_DECL_TAG\t= 17,\n\tBTF_KIND_TYPE_TAG\t= 18,\n\tBTF_KIND_ENUM64\t\t= 19,\n",
                &["enum64", "decl-tag", "type-tag"],
            ),
            (
                "include/linux/kernel.h",
                "void mark_hardware_unmaintained(const char *name);\n#else\n\
                 static inline void mark_hardware_unmaintained(const char *name) { }\n",
                &["rhel-differences"],
            ),
            (
                "arch/x86/include/asm/paravirt.h",
                "static inline void paravirt_set_cap(void)\n{\n}\n#endif\n#endif /* __ASSEMBLY__ */\n",
                &["paravirt-spinlocks"],
            ),
            (
                "kernel/locking/qspinlock.c",
                "bool nopvspin __initdata;\n",
                &["paravirt-sizes"],
            ),
            (
                "tools/objtool/check.c",
                "\t\tif (elf_add_reloc_to_insn(file->elf, sec, insn->sec))\n",
                &["rethunk"],
            ),
            (
                "arch/x86/kernel/sev.c",
                "#include <linux/slab.h>\n\tdesc = kmalloc(sizeof(*desc), GFP_KERNEL_ACCOUNT);\n",
                &["sev-slab"],
            ),
            (
                "arch/x86/boot/header.S",
                "\t.macro\t\t__handover_offset\n#ifndef CONFIG_EFI_HANDOVER_PROTOCOL\n",
                &["efi-stub"],
            ),
            ("Kconfig", "source \"Kconfig.redhat\"\n", &["kabi-sizes"]),
        ] {
            let files = OLD.map(|(path, old)| (path, if path == fixed { text } else { old }));
            let names = names(&files);
            let all = all().unwrap().into_iter().map(|w| w.name);
            let expected: Vec<_> = all.filter(|name| !absent.contains(&&**name)).collect();
            assert_eq!(names, expected, "{fixed}");
        }
    }

    #[test]
    fn source_without_the_file_needs_no_workaround() {
        assert!(names(&[]).is_empty());
    }

    #[test]
    fn each_workaround_is_valid_and_has_a_reason() {
        for workaround in all().unwrap() {
            assert!(workaround.reason.len() > 20, "{}", workaround.name);
            workaround
                .configure(&mut Config::default(), &Symbols::default())
                .unwrap();
        }
    }

    #[test]
    fn pahole_gets_only_flags_it_supports() {
        let all = all().unwrap();
        assert!(pahole_flags(&all, 124).contains(&"--skip_encoding_btf_enum64"));
        assert!(!pahole_flags(&all, 123).contains(&"--skip_encoding_btf_enum64"));
        assert!(pahole_flags(&all, 122).is_empty());
    }
}
