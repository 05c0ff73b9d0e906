//! The first releases of helpers, kfuncs, map types and program types: data, each with its source.
//!
//! Only upstream releases. A distribution may backport, so the answer of the running kernel outranks these tables. They
//! serve for requirements of an object without a kernel, and for errors.

mod helpers;
pub(crate) mod instructions;
mod kfuncs;
mod map_types;
mod on_arch;
mod options;
mod program_types;
mod too_new;

use crate::btf::Btf;
use crate::kernel_version::KernelVersion;
pub(crate) use on_arch::{KFUNC_CALL, first_release};
pub(crate) use options::{options_of_attach_type, options_of_map_type, options_of_program_type};
pub(crate) use program_types::{ProgramType, program_type};
pub use too_new::TooNew;
pub(crate) use too_new::too_new;

type KfuncRow = (&'static str, (u16, u16), &'static str);
type Row = (&'static str, (u16, u16), &'static str, bool, bool);

/// A helper of the kernel: a function that programs call by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Helper {
    /// Its number.
    pub number: u32,
    /// Its name without `bpf_`.
    pub name: &'static str,
    /// The first release in which fexit programs may call it; if they never may, the first release that has it.
    pub minimum: KernelVersion,
    /// The kernel commit that added it.
    pub commit: &'static str,
    /// Whether fexit programs may call it on any kernel.
    pub for_fexit: bool,
    /// The first release in which fexit programs may no longer call it, if there is one.
    pub fexit_until: Option<KernelVersion>,
    /// Whether a program that calls it must have a licence that is compatible with the GPL.
    pub gpl_only: bool,
    /// The first release that no longer requires such a licence, if there is one.
    pub gpl_until: Option<KernelVersion>,
}

impl Helper {
    /// The helper with this number. The list is complete: 6.2 added the last one.
    pub fn by_number(number: u32) -> Option<Self> {
        let index = usize::try_from(number).ok()?.checked_sub(1)?;
        let &(name, release, commit, for_fexit, gpl_only) = helpers::HELPERS.get(index)?;
        Some(Self {
            number,
            name,
            minimum: version(release),
            commit,
            for_fexit,
            fexit_until: fexit_until(name).map(|(release, _)| release),
            gpl_only,
            gpl_until: gpl_until(name).map(|(release, _)| release),
        })
    }
}

impl Helper {
    /// The first release in which programs of any type may call it, and the kernel commit.
    pub(crate) fn first(&self) -> Since {
        let earlier = helpers::FIRST.iter().find(|row| row.0 == self.name);
        earlier.map_or((self.minimum, self.commit), |row| (version(row.1), row.2))
    }

    /// The helpers that the kernel that `btf` describes has, for programs of some type; none if its BTF does not list them.
    pub fn all_in(btf: &Btf) -> Vec<Self> {
        let names = btf.enum_values("bpf_func_id");
        (1..)
            .map_while(Self::by_number)
            .filter(|helper| names.contains(format!("BPF_FUNC_{}", helper.name).as_bytes()))
            .collect()
    }

    /// Of a helper that the verifier does not offer to a fexit program: whether the kernel lacks it, or keeps it from fexit
    /// programs. A helper that it has for them is refused for another reason, which is in the log.
    pub(crate) fn is_withheld(&self, btf: Option<&Btf>, running: KernelVersion) -> bool {
        let listed = btf.map_or_else(Vec::new, Self::all_in);
        if listed.is_empty() {
            return !self.is_for_fexit_on(running);
        }
        // Programs of other types could call some helpers before fexit programs.
        let came_later = self.first().0 < self.minimum && running < self.minimum;
        !listed.contains(self) || !self.for_fexit || self.fexit_until.is_some() || came_later
    }

    /// Whether fexit programs may call it on this upstream release.
    pub fn is_for_fexit_on(&self, release: KernelVersion) -> bool {
        self.for_fexit
            && self.minimum <= release
            && self.fexit_until.is_none_or(|until| release < until)
    }
}

/// The first release, and the kernel commit.
pub(crate) type Since = (KernelVersion, &'static str);

/// The release from which on fexit programs may no longer call this helper, if there is one.
pub(crate) fn fexit_until(helper: &str) -> Option<Since> {
    let mut rows = helpers::FEXIT_UNTIL.iter();
    rows.find(|row| row.0 == helper)
        .map(|&(_, release, commit)| (release, commit))
}

/// The release from which on this helper allows any licence, if it did not before.
pub(crate) fn gpl_until(helper: &str) -> Option<Since> {
    let mut rows = helpers::GPL_UNTIL.iter();
    rows.find(|row| row.0 == helper)
        .map(|&(_, release, commit)| (version(release), commit))
}

/// The first release with this kfunc, if it is known.
pub(crate) fn kfunc(name: &str) -> Option<Since> {
    let index = kfuncs::KFUNCS
        .binary_search_by_key(&name, |row| row.0)
        .ok()?;
    let (_, release, commit) = kfuncs::KFUNCS[index];
    Some((version(release), commit))
}

/// Whether this is a function of the kernel that only LSM programs may call.
pub(crate) fn is_lsm_only(kfunc: &str) -> bool {
    kfuncs::LSM_ONLY.contains(&kfunc)
}

/// The name of this map type, and its first release.
pub(crate) fn map_type(number: u32) -> Option<(&'static str, Since)> {
    let index = usize::try_from(number).ok()?.checked_sub(1)?;
    let &(name, release, commit) = map_types::MAP_TYPES.get(index)?;
    Some((name, (version(release), commit)))
}

/// A function that each kernel with this map type has, if the enum with the type does not tell.
pub(crate) fn function_of_map_type(name: &str) -> Option<&'static str> {
    let mut rows = map_types::FUNCTIONS.iter();
    rows.find(|row| row.0 == name).map(|row| row.1)
}

fn version((major, minor): (u16, u16)) -> KernelVersion {
    KernelVersion::new(major, minor, 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_names_belong_together() {
        for (number, name, minimum) in [
            (1, "map_lookup_elem", "3.18"),
            (130, "ringbuf_output", "5.8"),
            (174, "get_attach_cookie", "5.19"),
            (184, "get_func_ret", "5.17"),
            (211, "cgrp_storage_delete", "6.2"),
        ] {
            let helper = Helper::by_number(number).unwrap();
            assert_eq!(
                (helper.name, helper.minimum.to_string()),
                (name, minimum.to_owned())
            );
        }
        assert_eq!(Helper::by_number(0), None);
        let coarse = Helper::by_number(160).unwrap();
        assert_eq!(coarse.name, "ktime_get_coarse_ns");
        for ((major, minor, patch), expected) in [
            ((5, 10, 0), false),
            ((5, 11, 0), true),
            ((5, 15, 4), true),
            ((5, 15, 5), false),
            ((5, 16, 0), false),
        ] {
            let release = KernelVersion::new(major, minor, patch);
            assert_eq!(coarse.is_for_fexit_on(release), expected, "{release}");
        }
        assert_eq!(Helper::by_number(212), None);
        assert_eq!(map_type(27).unwrap().0, "ringbuf");
        assert_eq!(map_type(0), None);
    }

    fn kernel(source: &str) -> Btf {
        let object = crate::testing::compile(source);
        let btf = crate::elf::examine(&object).unwrap().1.btf;
        Btf::parse(&btf, crate::Endianness::default()).unwrap()
    }

    #[test]
    fn helper_that_the_kernel_has_for_fexit_programs_is_not_withheld() {
        let kernel = kernel(
            "enum bpf_func_id { BPF_FUNC_redirect = 23, BPF_FUNC_get_socket_cookie = 46,
             BPF_FUNC_ktime_get_coarse_ns = 160, BPF_FUNC_copy_from_user_task = 191 }; enum bpf_func_id id;",
        );
        let el9 = KernelVersion::new(5, 14, 0);
        let newest = KernelVersion::new(7, 3, 0);
        for (number, running, expected) in [
            // Backported, and only for programs that may sleep.
            (191, el9, false),
            // Not there, although the release is newer than the helper.
            (181, newest, true),
            // For programs of other types.
            (23, newest, true),
            // From 5.12 on also for fexit programs.
            (46, KernelVersion::new(5, 10, 0), true),
            (46, el9, false),
            // Withdrawn; refused by a kernel that is older than that too.
            (160, el9, true),
        ] {
            let helper = Helper::by_number(number).unwrap();
            let withheld = helper.is_withheld(Some(&kernel), running);
            assert_eq!(withheld, expected, "{} on {running}", helper.name);
        }
        // Without BTF the release has to do.
        let task = Helper::by_number(191).unwrap();
        assert!(task.is_withheld(None, el9) && !task.is_withheld(None, newest));
    }

    #[test]
    fn kernel_has_the_helpers_that_its_btf_lists() {
        let listed = kernel("enum bpf_func_id { BPF_FUNC_loop = 181 }; enum bpf_func_id id;");
        assert_eq!(Helper::all_in(&listed), [Helper::by_number(181).unwrap()]);
        assert!(Helper::all_in(&kernel("int none;")).is_empty());
    }

    #[test]
    fn every_row_is_found_and_has_a_source() {
        for (name, _, commit) in kfuncs::KFUNCS {
            assert_eq!(kfunc(name).unwrap().1, commit);
        }
        assert_eq!(kfunc("bpf_nothing"), None);
        for name in kfuncs::LSM_ONLY {
            assert!(is_lsm_only(name) && kfunc(name).is_none(), "{name}");
        }
        assert!(!is_lsm_only("bpf_task_acquire"));
        let commits = helpers::HELPERS.iter().map(|row| row.2);
        let commits = commits.chain(kfuncs::KFUNCS.iter().map(|row| row.2));
        let commits = commits.chain(helpers::FIRST.iter().map(|row| row.2));
        let commits = commits.chain(helpers::GPL_UNTIL.iter().map(|row| row.2));
        let commits = commits.chain(helpers::FEXIT_UNTIL.iter().map(|row| row.2));
        for commit in commits.chain(map_types::MAP_TYPES.iter().map(|row| row.2)) {
            let hash = commit.len() == 12 && commit.bytes().all(|b| b.is_ascii_hexdigit());
            let tag = commit.strip_prefix('v');
            let tag = tag.is_some_and(|release| release.parse::<KernelVersion>().is_ok());
            assert!(hash || tag, "{commit}");
        }
    }
}
