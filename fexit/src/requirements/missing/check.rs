//! What a kernel lacks, by its types and configuration: program type, helpers, kfuncs, map types, options.

use std::collections::BTreeSet;

use super::{Effect, KernelFiles, Missing, MissingKind};
use crate::btf::BtfError;
use crate::compat::{self, Helper};
use crate::elf::externs::Extern;
use crate::maps::missing_code;
use crate::requirements::{Requirement, Requirements};

pub(super) struct Check<'a> {
    pub(super) required: &'a Requirements,
    pub(super) kernel: &'a KernelFiles<'a>,
    /// Whether the program may ask first, and so not reach an instruction that this kernel lacks.
    pub(super) is_guarded: bool,
}

impl Check<'_> {
    /// The effect of an instruction that the kernel lacks.
    pub(super) fn of_instruction(&self) -> Effect {
        match self.is_guarded {
            true => Effect::Depends,
            false => Effect::Refused,
        }
    }

    pub(super) fn words(&self, reason: &'static str) -> &'static str {
        match self.is_guarded {
            true => "the kernel has none; the program may ask first, and not reach it",
            false => reason,
        }
    }

    /// Whether an enum of the kernel lacks a value; no if the enum is not there.
    fn lacks(&self, values: &str, name: &str) -> bool {
        let known = self.kernel.btf.enum_values(values);
        !known.is_empty() && !known.contains(name.as_bytes())
    }

    pub(super) fn types(&self) -> Vec<Missing> {
        let required = self.required;
        let mut found = Vec::new();
        let prog_type = format!("BPF_PROG_TYPE_{}", required.program_type);
        if self.lacks("bpf_prog_type", &prog_type) {
            let reason = "enum bpf_prog_type has no such value";
            let kind = MissingKind::ProgramType;
            found.push(Missing::new(Effect::Refused, kind, prog_type, reason));
        }
        if let Some(attach_type) = required.attach_type {
            let name = format!("BPF_{attach_type}");
            if self.lacks("bpf_attach_type", &name) {
                let reason = "enum bpf_attach_type has no such value";
                let kind = MissingKind::AttachType;
                found.push(Missing::new(Effect::Refused, kind, name, reason));
            }
        }
        let options = compat::options_of_program_type(required.program_type);
        found.extend(self.options(Effect::Refused, options));
        found
    }

    /// The options without which programs are not attached to the kernel's functions.
    pub(super) fn options_to_attach(&self) -> Vec<Missing> {
        let attach_type = self.required.attach_type.unwrap_or_default();
        self.options(
            Effect::NotAttached,
            compat::options_of_attach_type(attach_type),
        )
    }

    fn options(&self, effect: Effect, options: &[&'static str]) -> Vec<Missing> {
        let Some(config) = self.kernel.config else {
            return Vec::new();
        };
        let set: BTreeSet<&str> = config
            .lines()
            .filter_map(|line| line.strip_prefix("CONFIG_")?.split_once('='))
            .map(|(name, _)| name)
            .collect();
        let unset = options.iter().filter(|option| !set.contains(*option));
        let missing = |option: &&str| {
            let reason = "the kernel was built without it";
            let name = format!("CONFIG_{option}");
            Missing::new(effect, MissingKind::Option, name, reason)
        };
        unset.map(missing).collect()
    }

    /// Programs on hooks run only if `bpf` is one of the security modules.
    pub(super) fn security_modules(&self) -> Option<Missing> {
        let config = self.kernel.config?;
        let list = config
            .lines()
            .find_map(|line| line.strip_prefix("CONFIG_LSM="))?;
        let is_listed = list.trim_matches('"').split(',').any(|name| name == "bpf");
        let is_on_hook = self.required.attach_type == Some("LSM_MAC");
        (is_on_hook && !is_listed).then(|| {
            let reason =
                "`bpf` is not in that list, so programs on hooks never run; boot with lsm=LIST,bpf";
            Missing::new(
                Effect::NotAttached,
                MissingKind::Option,
                "CONFIG_LSM",
                reason,
            )
        })
    }

    /// What no kernel grants. Of a feature that no release is known to have on its architecture, the kernel's options tell.
    pub(super) fn never(&self) -> Vec<Missing> {
        let all = self.required.requirements.iter();
        let never = all.filter(|one| one.minimum.is_none() && one.feature.is_none());
        let missing = |requirement: &Requirement| {
            let reason = format!("no kernel allows that ({})", requirement.source);
            let kind = MissingKind::Helper;
            Missing::new(self.of_instruction(), kind, &requirement.what, &reason)
        };
        never.map(missing).collect()
    }

    pub(super) fn helpers(&self) -> Vec<Missing> {
        let known = self.kernel.btf.enum_values("bpf_func_id");
        let helpers = self.required.helpers.iter();
        let helpers = helpers.filter_map(|&number| Helper::by_number(number));
        let absent = helpers.filter(|helper| {
            !known.is_empty() && !known.contains(format!("BPF_FUNC_{}", helper.name).as_bytes())
        });
        let missing = |helper: Helper| {
            let reason = self.words("enum bpf_func_id has no such value");
            let name = format!("bpf_{}", helper.name);
            Missing::new(self.of_instruction(), MissingKind::Helper, name, reason)
        };
        absent.map(missing).collect()
    }

    pub(super) fn kfuncs(&self, externs: &[Extern]) -> Result<Vec<Missing>, BtfError> {
        let is_weak = |name: &str| externs.iter().any(|e| e.name == name && e.is_weak);
        let mut found = Vec::new();
        for name in self.required.kfuncs.iter().filter(|name| !is_weak(name)) {
            if self.kernel.btf.lists_any(name)? {
                continue;
            }
            // What is known here is in no module.
            let (effect, reason) = match compat::kfunc(name).is_some() {
                true => (Effect::Refused, "the kernel's BTF lists no such function"),
                false => (
                    Effect::Depends,
                    "the kernel's BTF lists no such function; a module may have it",
                ),
            };
            found.push(Missing::new(effect, MissingKind::Kfunc, name, reason));
        }
        Ok(found)
    }

    pub(super) fn map(&self, map: &str, number: u32) -> Vec<Missing> {
        let Some((name, _)) = compat::map_type(number) else {
            return Vec::new();
        };
        let value = format!("BPF_MAP_TYPE_{}", name.to_ascii_uppercase());
        // The enum keeps the old names of types that were renamed (6.2 and 6.6).
        let mut found = Vec::new();
        let why = if self.lacks("bpf_map_type", &value) {
            Some("enum bpf_map_type has no such value".to_owned())
        } else {
            let function = missing_code(name, self.kernel.btf);
            function.map(|function| format!("the kernel lists it, and has no {function}"))
        };
        if let Some(why) = why {
            let reason = format!("{why}; it is the type of the map {map}");
            found.push(Missing::new(
                Effect::Refused,
                MissingKind::MapType,
                value,
                &reason,
            ));
        }
        found.extend(self.options(Effect::Refused, compat::options_of_map_type(name)));
        found
    }
}
