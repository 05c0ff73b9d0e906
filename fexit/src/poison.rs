//! What a CO-RE relocation asked for, when the kernel does not have it.
//!
//! The relocation code puts a call that no verifier takes in the place of an instruction that it could not fill in:
//! code behind a check (`bpf_core_field_exists`) is never looked at. Where it is, the verifier's words are of an
//! unknown function, and say nothing of the field.

use crate::btf::core::CoreRelocation;
use crate::btf::raw::{Kind, Raw, Type};
use crate::object::Object;

/// The function that is called in the place of what could not be relocated: 0xbad2310.
const POISON: &str = "#195896080";

/// Where the verifier stopped, if that was at such a call: the number of the instruction.
fn poisoned(log: &str) -> Option<usize> {
    let call = |line: &&str| line.contains("call ") && line.contains(POISON);
    let line = log.lines().rev().find(call)?;
    line.split(':').next()?.trim().parse().ok()
}

/// What the program asks for and the kernel lacks, if that is why it was refused: `field task.gone`.
pub(crate) fn explain(object: &Object, program: &str, log: &str) -> Option<String> {
    let relocation = at(object, program, poisoned(log)?)?;
    let local = Raw::parse(object.extra.btf.clone()).ok()?;
    describe(&local, &relocation)
}

/// The relocation of an instruction of the program as it was loaded, its subprograms behind it.
fn at(object: &Object, program: &str, instruction: usize) -> Option<CoreRelocation> {
    let done = object.done(program)?;
    let linked = done.function(program)?;
    // Each function's first instruction, and its type.
    let functions = &linked.func_info.func_info;
    let own = functions
        .iter()
        .rev()
        .find(|function| function.insn_off as usize <= instruction)?;
    let local = Raw::parse(object.extra.btf.clone()).ok()?;
    let name = local.string(local.by_id(own.type_id)?.name_off())?;
    let mut functions = object.parsed().functions.values();
    let function = functions.find(|function| function.name.as_bytes() == name)?;
    let inside = instruction.checked_sub(own.insn_off as usize)? * 8;
    let offset = function.section_offset.checked_add(inside)?;
    let here = |relocation: &&CoreRelocation| {
        let section = local.string(relocation.section_name);
        let section = section.and_then(|name| {
            let name = String::from_utf8_lossy(name);
            object.extra.section_index.get(name.as_ref())
        });
        relocation.insn_off as usize == offset && section == Some(&function.section_index.0)
    };
    object.extra.core.iter().find(here).copied()
}

/// What a relocation asks for, in words of the source.
fn describe(local: &Raw, relocation: &CoreRelocation) -> Option<String> {
    let t = local.by_id(relocation.type_id)?;
    let type_name = name(local, t.name_off());
    let access = String::from_utf8_lossy(local.string(relocation.access)?).into_owned();
    Some(match relocation.kind {
        0..=5 => format!("field `{type_name}{}`", path(local, t, &access)),
        10 | 11 => {
            let stride = if t.kind == Kind::Enum64 { 3 } else { 2 };
            let value = access.parse::<usize>().ok().filter(|at| *at < t.vlen())?;
            let value = name(local, t.extra(stride * value));
            format!("value `{value}` of `enum {type_name}`")
        }
        _ => format!("type `{type_name}`"),
    })
}

fn name(local: &Raw, offset: u32) -> String {
    String::from_utf8_lossy(local.string(offset).unwrap_or_default()).into_owned()
}

/// `.in.y` for the accesses `0:1:1`; the first steps over the pointer.
fn path(local: &Raw, start: Type<'_>, access: &str) -> String {
    let mut path = String::new();
    let mut at = Some(start);
    for index in access.split(':').skip(1) {
        let Some(t) = at.and_then(|t| resolve(local, t)) else {
            break;
        };
        let index: usize = index.parse().unwrap_or(0);
        if t.kind == Kind::Array {
            path.push_str(&format!("[{index}]"));
            at = local.by_id(t.extra(0));
            continue;
        }
        let Some((member, id)) = t.members().nth(index) else {
            break;
        };
        // A struct or union without a name is looked through in the source.
        let member = name(local, member);
        if !member.is_empty() {
            path.push('.');
            path.push_str(&member);
        }
        at = local.by_id(id);
    }
    path
}

fn resolve<'a>(local: &'a Raw, mut t: Type<'a>) -> Option<Type<'a>> {
    // A chain of modifiers longer than this is a loop.
    for _ in 0..32 {
        if !t.kind.is_modifier() {
            return Some(t);
        }
        t = local.by_id(t.size_or_type())?;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::btf::Btf;
    use crate::object::Globals;
    use crate::testing::compile;

    const SOURCE: &str = "#define CORE __attribute__((preserve_access_index))
        struct inner { int x; int gone; } CORE;
        struct task { int pid; struct { struct inner in[3]; }; } CORE;
        enum color { RED = 1, BLUE = 3 };
        static __attribute__((noinline)) int deep(struct task *t, int a) { return t->in[2].gone + a; }
        SEC(\"fexit/f\") int before(u64 *ctx) { return 0; }
        SEC(\"fexit/f\") int field(u64 *ctx) { return deep((void *)ctx[0], ctx[1]); }
        SEC(\"fexit/f\") int value(u64 *ctx) {
            return __builtin_preserve_enum_value(*(typeof(enum color) *)BLUE, 1); }
        int f(struct task *t) { return t->pid; }";
    const KERNEL: &str = "struct inner { int x; };
        struct task { int pid; struct inner in[3]; }; enum color { RED = 1 };
        struct task t; enum color c; int f(struct task *t) { return t->pid; }
        SEC(\"fexit/f\") int p(void *ctx) { return 0; }";

    #[test]
    fn what_the_kernel_lacks_is_named() {
        let types = crate::elf::examine(&compile(KERNEL), None).unwrap().1.btf;
        let kernel = Btf::parse(&types).unwrap();
        let object = Object::parse(&compile(SOURCE), &Globals::new()).unwrap();
        crate::sys::fake::kernel(|_| Some(crate::sys::fake::fd()));
        for (program, lacks) in [
            ("field", "field `task.in[2].gone`"),
            ("value", "value `BLUE` of `enum color`"),
        ] {
            let relocated = object.relocated(program, || Ok(kernel.clone())).unwrap();
            let function = relocated.function(program).unwrap();
            let poison = function
                .instructions
                .iter()
                .position(|insn| insn.imm == 0x0bad_2310)
                .unwrap();
            let log = format!(
                "0: R1=ctx R10=fp0\n{poison}: (85) call unknown{POISON}\ninvalid func unknown{POISON}\n"
            );
            assert_eq!(explain(&object, program, &log).as_deref(), Some(lacks));
        }
        assert_eq!(
            explain(&object, "field", "invalid func unknown#184\n"),
            None
        );
    }
}
