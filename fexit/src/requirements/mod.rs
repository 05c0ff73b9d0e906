//! What the programs of an object require of a kernel, read from the object alone.

mod calls;
mod missing;
mod section;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use aya_obj::Object as Parsed;

use crate::Ebpf;
use crate::arch::Arch;
use crate::btf::core_spec::CoreRelocationInfo;
use crate::compat::instructions::{Found, Instruction};
use crate::compat::{self, Helper};
use crate::elf::externs::{Extern, ExternKind};
use crate::error::ProgramError;
use crate::feature::Feature;
use crate::kernel_version::KernelVersion;
use crate::maps::Map;
use crate::object::relocation_sites::{RelocationSite, relocation_sites};
use crate::object::{Key, Object};
use crate::programs::Program;
use calls::Caller;
pub use missing::{Effect, KernelFiles, Missing, MissingKind};
use section::SectionType;
pub use section::{KernelTarget, TargetKind};

/// What one program requires of a kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Requirements {
    /// How many instructions it has, its subprograms included.
    pub instructions: usize,
    /// Its type, as `TRACING` for `BPF_PROG_TYPE_TRACING`.
    pub program_type: &'static str,
    /// Its attach type, as `TRACE_FEXIT` for `BPF_TRACE_FEXIT`; none if it is loaded without one.
    pub attach_type: Option<&'static str>,
    /// What its targets are; none if they are not the kernel's.
    pub target_kind: Option<TargetKind>,
    /// What its section names as the target.
    pub target: Option<KernelTarget>,
    /// Whether it may sleep.
    pub is_sleepable: bool,
    /// The helpers that it calls, by their numbers.
    pub helpers: Vec<u32>,
    /// The functions of the kernel that it calls (kfuncs).
    pub kfuncs: Vec<String>,
    /// The variables outside the object that it refers to.
    pub externs: Vec<String>,
    /// The maps that it uses, those of global variables among them.
    pub maps: Vec<String>,
    /// What it asks of the kernel's types.
    pub core: Vec<CoreRelocationInfo>,
    /// What that comes to, the newest first.
    pub requirements: Vec<Requirement>,
    caller: Caller,
}

/// Something that not every kernel has.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Requirement {
    /// What, as a reason why an older kernel will not do.
    pub what: String,
    /// The first upstream release that has it on the architecture; none if no kernel grants it.
    pub minimum: Option<KernelVersion>,
    /// Where that is from: a kernel commit, or a feature of this library.
    pub source: String,
    /// That feature, if it is one.
    pub feature: Option<Feature>,
}

impl Requirement {
    fn of_feature(feature: Feature, what: String, arch: Arch) -> Self {
        Self {
            what,
            minimum: feature.minimum_on(arch),
            source: format!("feature {feature}"),
            feature: Some(feature),
        }
    }
}

impl Requirements {
    /// The first upstream release that has all that is known to be needed; none if no kernel grants it.
    ///
    /// It is a lower bound: the target and the fields of types may be missing in a newer kernel still, and the verifier
    /// has its own opinion.
    pub fn minimum(&self) -> Option<KernelVersion> {
        self.requirements
            .iter()
            .try_fold(KernelVersion::new(0, 0, 0), |newest, requirement| {
                Some(newest.max(requirement.minimum?))
            })
    }
}

impl Requirements {
    /// The first upstream release in which the program may call this helper; none if no kernel allows that.
    pub fn helper_minimum(&self, helper: &Helper) -> Option<KernelVersion> {
        self.caller.helper_minimum(helper)
    }
}

impl Ebpf {
    /// The licence that the object says its programs have; empty if it says none.
    pub fn license(&self) -> String {
        let license = &self.shared.object.extra.license;
        license.to_string_lossy().into_owned()
    }

    /// What each program requires of a kernel of this architecture, by program name. No kernel is asked. Programs that
    /// this library [does not load](Program::is_loadable) are left out.
    ///
    /// # Errors
    ///
    /// [`ProgramError::Relocation`] when the parts of the object do not fit together.
    pub fn requirements(&self, arch: Arch) -> Result<BTreeMap<String, Requirements>, ProgramError> {
        let object = &self.shared.object;
        let linked = object.linked()?;
        let survey = Survey::new(object, &self.shared.maps, arch);
        let required = |(name, program): (&str, &Program)| {
            let required = survey.requirements(&linked, name, program)?;
            Some((name.to_owned(), required))
        };
        Ok(self.programs().filter_map(required).collect())
    }
}

struct Survey<'a> {
    object: &'a Object,
    maps: &'a [Map],
    /// The function of each BTF type id.
    by_type: HashMap<u32, Key>,
    core: Vec<RelocationSite>,
    gpl: bool,
    arch: Arch,
}

impl<'a> Survey<'a> {
    fn new(object: &'a Object, maps: &'a [Map], arch: Arch) -> Self {
        let license = object.extra.license.to_string_lossy().into_owned();
        Self {
            object,
            maps,
            by_type: object.by_type(),
            core: relocation_sites(object),
            gpl: is_gpl_compatible(&license),
            arch,
        }
    }

    fn requirements(&self, linked: &Parsed, name: &str, program: &Program) -> Option<Requirements> {
        let key = linked.programs.get(name)?.function_key();
        let function = linked.functions.get(&key)?;
        let reached: HashSet<Key> = function
            .func_info
            .func_info
            .iter()
            .filter_map(|info| self.by_type.get(&info.type_id).copied())
            .chain([key])
            .collect();
        let core: BTreeSet<CoreRelocationInfo> = self
            .core
            .iter()
            .filter(|site| reached.contains(&site.function))
            .map(|site| site.relocation.clone())
            .collect();
        let data = program.data();
        let section = SectionType::of(data)?;
        let (program_type, attach_type) = section.names();
        let mut required = Requirements {
            instructions: function.instructions.len(),
            program_type,
            attach_type,
            target_kind: section::target_kind(data),
            target: section::target(data),
            is_sleepable: section.is_sleepable(data),
            helpers: Vec::new(),
            kfuncs: Vec::new(),
            externs: Vec::new(),
            maps: Vec::new(),
            core: core.into_iter().collect(),
            requirements: section.requirements(data, self.arch),
            caller: Caller {
                is_of_function: data.is_of_function(),
                gpl: self.gpl,
                arch: self.arch,
            },
        };
        let callbacks = &self.object.extra.exception_callbacks;
        if callbacks.is_named_by(name) {
            let what = "it has an exception callback".to_owned();
            let callback = Requirement::of_feature(Feature::Exceptions, what, self.arch);
            required.requirements.push(callback);
        }
        let mut found = Found::default();
        found.look_at(&function.instructions);
        self.add(&found, &mut required);
        required.requirements.sort_by(|a, b| {
            (a.minimum.is_some(), b.minimum).cmp(&(b.minimum.is_some(), a.minimum))
        });
        Some(required)
    }

    /// What its instructions show.
    fn add(&self, found: &Found, required: &mut Requirements) {
        let caller = required.caller;
        // What is no newer than the program type need not be told.
        let type_minimum = required.requirements.first().and_then(|r| r.minimum);
        let is_newer = |r: &Requirement| r.minimum > type_minimum;
        required.helpers = found.helpers.iter().copied().collect();
        let externs = self.object.extra.externs.as_slice();
        let of_calls = externs_of(&found.kfuncs, externs);
        required.kfuncs = of_calls.iter().map(|e| e.name.clone()).collect();
        required.externs = externs_of(&found.externs, externs)
            .into_iter()
            .filter(|e| !matches!(e.kind, ExternKind::Function(_)))
            .map(|e| e.name.clone())
            .collect();
        required.maps = pick(&found.maps, &self.object.map_names);
        for &number in &found.helpers {
            required.requirements.extend(caller.helper(number));
        }
        for function in of_calls.iter().filter(|function| !function.is_weak) {
            required.requirements.extend(caller.kfunc(&function.name));
        }
        let used = self
            .maps
            .iter()
            .filter(|map| required.maps.iter().any(|name| name == map.name()));
        for map in used {
            required.requirements.extend(map_type(map).filter(is_newer));
        }
        let features = found.features.keys();
        required.requirements.extend(
            features
                .map(|&i| instruction(i, caller.arch))
                .filter(is_newer),
        );
    }
}

fn pick(numbers: &BTreeSet<i32>, names: &[String]) -> Vec<String> {
    numbers
        .iter()
        .filter_map(|&number| names.get(usize::try_from(number).ok()?).cloned())
        .collect()
}

fn externs_of<'a>(numbers: &BTreeSet<i32>, externs: &'a [Extern]) -> Vec<&'a Extern> {
    let numbers = numbers.iter().filter_map(|&n| usize::try_from(n).ok());
    numbers.filter_map(|number| externs.get(number)).collect()
}

fn map_type(map: &Map) -> Option<Requirement> {
    let (kind, (minimum, commit)) = compat::map_type(map.map_type())?;
    Some(Requirement {
        what: format!("its map {} is of type {kind}", map.name()),
        minimum: Some(minimum),
        source: format!("kernel commit {commit}"),
        feature: None,
    })
}

fn instruction((what, (major, minor), commit): Instruction, arch: Arch) -> Requirement {
    let first = (KernelVersion::new(major, minor, 0), commit);
    let (minimum, commit) = compat::first_release(arch, what, first);
    Requirement {
        what: format!("it has {what}"),
        minimum: Some(minimum),
        source: format!("kernel commit {commit}"),
        feature: None,
    }
}

/// `license_is_gpl_compatible` of include/linux/license.h.
fn is_gpl_compatible(license: &str) -> bool {
    const COMPATIBLE: [&str; 6] = [
        "GPL",
        "GPL v2",
        "GPL and additional rights",
        "Dual BSD/GPL",
        "Dual MIT/GPL",
        "Dual MPL/GPL",
    ];
    COMPATIBLE.contains(&license)
}
