//! What the programs of an object require of a kernel, read from the object alone.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fmt::Write as _;

use aya_obj::Object as Parsed;

use crate::Ebpf;
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

/// What one fexit program requires of a kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Requirements {
    /// How many instructions it has, its subprograms included.
    pub instructions: usize,
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
}

/// Something that not every kernel has.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Requirement {
    /// What, as a reason why an older kernel will not do.
    pub what: String,
    /// The first upstream release that has it; none if no kernel grants it.
    pub minimum: Option<KernelVersion>,
    /// Where that is from: a kernel commit, or a feature of this library.
    pub source: String,
}

impl Requirements {
    /// The first upstream release that has all that is known to be needed; none if no kernel grants it.
    ///
    /// It is a lower bound: the target and the fields of types may be missing in a newer kernel still, and the verifier
    /// has its own opinion.
    pub fn minimum(&self) -> Option<KernelVersion> {
        self.requirements
            .iter()
            .try_fold(Feature::Fexit.minimum(), |newest, requirement| {
                Some(newest.max(requirement.minimum?))
            })
    }
}

impl Ebpf {
    /// The licence that the object says its programs have; empty if it says none.
    pub fn license(&self) -> String {
        let license = &self.shared.object.extra.license;
        license.to_string_lossy().into_owned()
    }

    /// What each fexit program requires of a kernel, by program name. No kernel is asked.
    ///
    /// # Errors
    ///
    /// [`ProgramError::Relocation`] when the parts of the object do not fit together.
    pub fn requirements(&self) -> Result<BTreeMap<String, Requirements>, ProgramError> {
        let object = &self.shared.object;
        let linked = object.linked()?;
        let survey = Survey::new(object, &self.shared.maps);
        let fexit = self.programs().filter_map(|(name, program)| match program {
            Program::FExit(_) => Some((name, program)),
            _ => None,
        });
        Ok(fexit
            .filter_map(|(name, program)| {
                Some((
                    name.to_owned(),
                    survey.requirements(&linked, name, program)?,
                ))
            })
            .collect())
    }
}

struct Survey<'a> {
    object: &'a Object,
    maps: &'a [Map],
    /// The function of each BTF type id.
    by_type: HashMap<u32, Key>,
    core: Vec<RelocationSite>,
    gpl: bool,
}

impl<'a> Survey<'a> {
    fn new(object: &'a Object, maps: &'a [Map]) -> Self {
        let license = object.extra.license.to_string_lossy().into_owned();
        Self {
            object,
            maps,
            by_type: object.by_type(),
            core: relocation_sites(object),
            gpl: is_gpl_compatible(&license),
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
        let mut required = Requirements {
            instructions: function.instructions.len(),
            is_sleepable: data.is_sleepable(),
            helpers: Vec::new(),
            kfuncs: Vec::new(),
            externs: Vec::new(),
            maps: Vec::new(),
            core: core.into_iter().collect(),
            requirements: Vec::new(),
        };
        let mut found = Found::default();
        found.look_at(&function.instructions);
        self.add(&found, &mut required);
        self.section(program, &mut required.requirements);
        required.requirements.sort_by(|a, b| {
            (a.minimum.is_some(), b.minimum).cmp(&(b.minimum.is_some(), a.minimum))
        });
        Some(required)
    }

    /// What its section says.
    fn section(&self, program: &Program, requirements: &mut Vec<Requirement>) {
        let data = program.data();
        let mut add = |feature: Feature, what: String| {
            requirements.push(Requirement {
                what,
                minimum: Some(feature.minimum()),
                source: format!("feature {feature}"),
            });
        };
        match data.kind() {
            "fsession" => add(Feature::Session, "it is an fsession program".to_owned()),
            kind @ ("fexit.multi" | "fsession.multi") => {
                add(Feature::Multi, format!("it is an {kind} program"));
            }
            _ => add(Feature::Fexit, "it is an fexit program".to_owned()),
        }
        if data.is_sleepable() {
            add(
                Feature::Sleepable,
                format!("it may sleep (section `{}`)", data.section),
            );
        }
        if data
            .section_target()
            .and_then(|target| target.split_once(':'))
            .is_some_and(|(module, _)| module != "vmlinux")
        {
            add(
                Feature::ModuleTarget,
                "its target is a function of a module".to_owned(),
            );
        }
    }

    /// What its instructions show.
    fn add(&self, found: &Found, required: &mut Requirements) {
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
            required.requirements.extend(self.helper(number));
        }
        for function in of_calls.iter().filter(|function| !function.is_weak) {
            required.requirements.extend(kfunc(&function.name));
        }
        let used = self
            .maps
            .iter()
            .filter(|map| required.maps.iter().any(|name| name == map.name()));
        for map in used {
            required.requirements.extend(map_type(map));
        }
        let features = found.features.iter();
        required
            .requirements
            .extend(features.map(|&feature| instruction(feature)));
    }

    fn helper(&self, number: u32) -> Vec<Requirement> {
        let Some(helper) = Helper::by_number(number) else {
            return vec![Requirement {
                what: format!("it calls helper number {number}, which no kernel has"),
                minimum: None,
                source: "include/uapi/linux/bpf.h of 6.2, when the list was closed".to_owned(),
            }];
        };
        let mut source = format!("kernel commit {}", helper.commit);
        let limit = match compat::fexit_until(helper.name) {
            Some((until, commit)) => {
                let _ = write!(source, ", withdrawn by {commit}");
                format!(", which fexit programs may only before Linux {until}")
            }
            None if helper.for_fexit => String::new(),
            None => ", which fexit programs may not".to_owned(),
        };
        let mut requirements = vec![Requirement {
            what: format!("it calls bpf_{}{limit}", helper.name),
            minimum: helper.for_fexit.then_some(helper.minimum),
            source: source.clone(),
        }];
        if helper.gpl_only && !self.gpl {
            requirements.push(Requirement {
                what: format!(
                    "it calls bpf_{}, for which the object's licence must be compatible with the GPL",
                    helper.name
                ),
                minimum: None,
                source,
            });
        } else if let Some((minimum, commit)) = compat::gpl_until(helper.name)
            && !self.gpl
        {
            requirements.push(Requirement {
                what: format!(
                    "it calls bpf_{}, for which the object's licence had to be compatible with the GPL before",
                    helper.name
                ),
                minimum: Some(minimum),
                source: format!("kernel commit {commit}"),
            });
        }
        requirements
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

fn kfunc(name: &str) -> Option<Requirement> {
    if compat::is_lsm_only(name) {
        return Some(Requirement {
            what: format!("it calls the kernel's function {name}, which fexit programs may not"),
            minimum: None,
            source: "the filter of its set in the kernel: for LSM programs alone".to_owned(),
        });
    }
    let (minimum, commit) = compat::kfunc(name)?;
    Some(Requirement {
        what: format!("it calls the kernel's function {name}"),
        minimum: Some(minimum),
        source: format!("kernel commit {commit}"),
    })
}

fn map_type(map: &Map) -> Option<Requirement> {
    let (kind, (minimum, commit)) = compat::map_type(map.map_type())?;
    // What is older than fexit itself need not be told.
    (minimum > Feature::Fexit.minimum()).then(|| Requirement {
        what: format!("its map {} is of type {kind}", map.name()),
        minimum: Some(minimum),
        source: format!("kernel commit {commit}"),
    })
}

fn instruction((what, (major, minor), commit): Instruction) -> Requirement {
    Requirement {
        what: format!("it has {what}"),
        minimum: Some(KernelVersion::new(major, minor, 0)),
        source: format!("kernel commit {commit}"),
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
