//! Structs of the kernel whose function pointers programs implement (`struct_ops`).

use std::collections::BTreeMap;

use super::error::BtfError;
use super::kernel::Btf;
use super::name_filter::strip_flavor;
use super::raw::{Kind, Raw, Type};
use super::scope::Scope;

/// The kernel lets programs implement the struct `NAME` if it has a struct `bpf_struct_ops_NAME` with it.
const VALUE: &str = "bpf_struct_ops_";

/// A variable of an object: a struct, or a part of one, and the programs that implement its functions.
#[derive(Clone, Debug)]
pub(crate) struct StructOps {
    pub(crate) name: String,
    /// Its type in the object's BTF.
    pub(crate) type_id: u32,
    /// Its initial value; zero where a program is named.
    pub(crate) data: Vec<u8>,
    /// The programs, by the index of the member in the object's struct.
    pub(crate) programs: BTreeMap<usize, String>,
}

/// What a program implements.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Implemented {
    /// The type id of the kernel's struct.
    pub(crate) btf_id: u32,
    /// The index of the member in it.
    pub(crate) member: u32,
    /// The module that the struct is of.
    pub(crate) module: Option<String>,
}

/// Why a program implements nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Misfit {
    /// The kernel has no such struct, or does not let programs implement it.
    NoStruct(String),
    /// The kernel's struct differs from the object's.
    Different(String),
}

impl std::fmt::Display for Misfit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NoStruct(name) => write!(
                f,
                "BTF has no `struct {VALUE}{name}`; if a module has it, load the module, which must have BTF"
            ),
            Self::Different(reason) => f.write_str(reason),
        }
    }
}

impl StructOps {
    /// The name of its struct in the kernel.
    pub(crate) fn struct_name(&self, local: &Raw) -> String {
        let of_struct = local.by_id(self.type_id);
        let name = of_struct.and_then(|t| local.string(t.name_off()));
        String::from_utf8_lossy(strip_flavor(name.unwrap_or_default())).into_owned()
    }

    /// The name of the member that `program` implements.
    pub(crate) fn member_name(&self, local: &Raw, program: &str) -> Option<String> {
        let (index, _) = self.programs.iter().find(|(_, name)| *name == program)?;
        let (name, _) = local.by_id(self.type_id)?.members().nth(*index)?;
        Some(String::from_utf8_lossy(local.string(name)?).into_owned())
    }
}

impl Btf {
    /// What `program` implements by `variable`, with libbpf's rules: members are found by their names, those that the
    /// kernel lacks must be zero, the others must be of the same kind and size. Other programs of the variable do not count.
    pub(crate) fn struct_ops(
        &self,
        local: &Raw,
        variable: &StructOps,
        program: &str,
    ) -> Result<Result<Implemented, Misfit>, BtfError> {
        let name = variable.struct_name(local);
        let local = Scope {
            base: None,
            own: local,
        };
        let judge = |kernel: Scope<'_>, module: Option<&str>| {
            let found = value(kernel, &name)?;
            let judged = data(kernel, found, &name).ok_or_else(|| {
                let reason =
                    format!("`struct {VALUE}{name}` has no member of type `struct {name}`");
                Misfit::Different(reason)
            });
            Some(judged.and_then(|kernel_struct| {
                let member = member((local, variable), (kernel, kernel_struct), program)?;
                Ok(Implemented {
                    btf_id: kernel_struct.id,
                    member,
                    module: module.map(str::to_owned),
                })
            }))
        };
        let kernel = self.scope()?;
        if let Some(judged) = judge(kernel, None) {
            return Ok(judged);
        }
        kernel.own.check()?;
        for module in self.loaded_modules()? {
            let Some(own) = self.loaded_module(&module)? else {
                continue;
            };
            let scope = Scope {
                base: Some(kernel.own),
                own: &own,
            };
            if let Some(judged) = judge(scope, Some(&module)) {
                return Ok(judged);
            }
        }
        Ok(Err(Misfit::NoStruct(name)))
    }
}

/// `struct bpf_struct_ops_NAME`.
fn value<'a>(kernel: Scope<'a>, name: &str) -> Option<Type<'a>> {
    let value = format!("{VALUE}{name}");
    let mut types = kernel.own.types().filter(|t| t.kind == Kind::Struct);
    types.find(|t| kernel.is_named(t.name_off(), value.as_bytes()))
}

/// The struct itself: a member of `struct bpf_struct_ops_NAME`.
fn data<'a>(kernel: Scope<'a>, value: Type<'a>, name: &str) -> Option<Type<'a>> {
    let mut members = value.members().filter_map(|(_, id)| kernel.by_id(id));
    members.find(|t| t.kind == Kind::Struct && kernel.is_named(t.name_off(), name.as_bytes()))
}

/// The index of the member of the kernel's struct that `program` implements.
fn member(
    (local, variable): (Scope<'_>, &StructOps),
    (kernel, kernel_struct): (Scope<'_>, Type<'_>),
    program: &str,
) -> Result<u32, Misfit> {
    let different =
        |reason: String| Misfit::Different(format!("variable `{}`: {reason}", variable.name));
    let mut found = None;
    let of_struct = local.by_id(variable.type_id);
    let members = of_struct.iter().flat_map(Type::members).enumerate();
    for (index, (name_off, id)) in members {
        let name = local.string(name_off).unwrap_or_default();
        let text = String::from_utf8_lossy(name);
        let (bits, width) = of_struct.map_or((0, 0), |t| t.member_bits(index));
        let start = bits as usize / 8;
        let size = local
            .size(id)
            .ok_or_else(|| different(format!("member `{text}` has no size")))?;
        let bytes = variable.data.get(start..start + size as usize);
        let is_zero = bytes.unwrap_or_default().iter().all(|&byte| byte == 0);
        let is_of_program = variable
            .programs
            .get(&index)
            .is_some_and(|name| name == program);
        let mut kernel_members = kernel_struct.members().enumerate();
        let kernel_member = kernel_members.find(|(_, (other, _))| kernel.is_named(*other, name));
        let Some((kernel_index, (_, kernel_id))) = kernel_member else {
            if is_of_program || !is_zero {
                return Err(different(format!(
                    "the kernel's struct has no member `{text}`"
                )));
            }
            continue;
        };
        if width != 0 || kernel_struct.member_bits(kernel_index).1 != 0 {
            return Err(different(format!("member `{text}` is a bit field")));
        }
        let (Some(own), Some(kernels)) = (local.resolve(id), kernel.resolve(kernel_id)) else {
            return Err(different(format!("member `{text}` has no type")));
        };
        if own.kind != kernels.kind {
            return Err(different(format!(
                "member `{text}` is of another type in the kernel"
            )));
        }
        if own.kind != Kind::Ptr {
            if kernel.size(kernel_id) != Some(size) {
                return Err(different(format!(
                    "member `{text}` is of another size in the kernel"
                )));
            }
            continue;
        }
        if !is_zero {
            return Err(different(format!(
                "pointer `{text}` is set to something that is no program"
            )));
        }
        if !is_of_program {
            continue;
        }
        let function = kernel.resolve(kernels.size_or_type());
        if function.is_none_or(|t| t.kind != Kind::FuncProto) {
            return Err(different(format!(
                "member `{text}` is no function pointer in the kernel"
            )));
        }
        let kernel_index = u32::try_from(kernel_index).unwrap_or(u32::MAX);
        if found.is_some_and(|other| other != kernel_index) {
            return Err(different(format!(
                "`{program}` is set for more than one member"
            )));
        }
        found = Some(kernel_index);
    }
    found.ok_or_else(|| different(format!("it does not name `{program}`")))
}
