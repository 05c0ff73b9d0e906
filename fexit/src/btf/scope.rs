//! The types of a blob together with those of its base.

use super::raw::{self, Kind, Raw, Type};

/// The parameters of a function.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct FuncModel {
    /// The number of arguments.
    pub(crate) arguments: usize,
    /// Whether one of them is a struct or union by value.
    pub(crate) takes_struct: bool,
}

/// BTF together with its base, if it is split.
#[derive(Clone, Copy)]
pub(super) struct Scope<'a> {
    pub(super) base: Option<&'a Raw>,
    pub(super) own: &'a Raw,
}

impl<'a> Scope<'a> {
    pub(super) fn by_id(self, id: u32) -> Option<Type<'a>> {
        self.own.by_id(id).or_else(|| self.base?.by_id(id))
    }

    pub(super) fn string(self, offset: u32) -> Option<&'a [u8]> {
        self.own
            .string(offset)
            .or_else(|| self.base?.string(offset))
    }

    pub(super) fn is_named(self, offset: u32, name: &[u8]) -> bool {
        self.own.is_named(offset, name) || self.base.is_some_and(|base| base.is_named(offset, name))
    }

    /// The functions with this name that are in `own`.
    pub(super) fn functions(self, name: &str) -> Vec<Type<'a>> {
        let named =
            |t: &Type<'_>| t.kind == Kind::Func && self.is_named(t.name_off(), name.as_bytes());
        self.own.types().filter(named).collect()
    }

    pub(super) fn resolve(self, id: u32) -> Option<Type<'a>> {
        raw::resolve(id, |id| self.by_id(id))
    }

    /// The size of a value of this type in bytes.
    pub(super) fn size(self, id: u32) -> Option<u32> {
        /// No array has more dimensions.
        const DIMENSIONS: usize = 32;
        let mut count = 1u32;
        let mut t = self.resolve(id)?;
        for _ in 0..DIMENSIONS {
            let size = match t.kind {
                Kind::Array => {
                    count = count.checked_mul(t.extra(2))?;
                    t = self.resolve(t.extra(0))?;
                    continue;
                }
                Kind::Ptr => 8,
                Kind::Int
                | Kind::Struct
                | Kind::Union
                | Kind::Enum
                | Kind::Enum64
                | Kind::Float => t.size_or_type(),
                _ => return None,
            };
            return count.checked_mul(size);
        }
        None
    }

    /// The type ids of the function's parameters.
    fn arguments(self, function: &Type<'_>) -> Vec<u32> {
        let proto = self
            .by_id(function.size_or_type())
            .filter(|t| t.kind == Kind::FuncProto);
        proto
            .map(|proto| proto.members().map(|(_, id)| id).collect())
            .unwrap_or_default()
    }

    pub(super) fn model(self, function: &Type<'_>) -> FuncModel {
        let arguments = self.arguments(function);
        let by_value = |id: &u32| {
            self.resolve(*id)
                .is_some_and(|t| matches!(t.kind, Kind::Struct | Kind::Union))
        };
        FuncModel {
            takes_struct: arguments.iter().any(by_value),
            arguments: arguments.len(),
        }
    }

    /// The signature, as `f(int, struct path *)`.
    pub(super) fn signature(self, function: &Type<'_>) -> String {
        let name =
            |offset| String::from_utf8_lossy(self.string(offset).unwrap_or_default()).into_owned();
        let arguments: Vec<_> = self
            .arguments(function)
            .into_iter()
            .map(|id| self.type_name(id, 0))
            .collect();
        format!("{}({})", name(function.name_off()), arguments.join(", "))
    }

    fn type_name(self, id: u32, depth: usize) -> String {
        let Some(t) = self.by_id(id).filter(|_| depth < 16) else {
            return "void".to_owned();
        };
        let name =
            String::from_utf8_lossy(self.string(t.name_off()).unwrap_or_default()).into_owned();
        let inner = || self.type_name(t.size_or_type(), depth + 1);
        match t.kind {
            Kind::Struct => format!("struct {name}"),
            Kind::Union => format!("union {name}"),
            Kind::Enum | Kind::Enum64 => format!("enum {name}"),
            Kind::Fwd => format!("struct {name}"),
            Kind::Ptr => format!("{} *", inner()),
            Kind::Const => format!("const {}", inner()),
            Kind::Volatile | Kind::Restrict | Kind::TypeTag => inner(),
            Kind::FuncProto => "function".to_owned(),
            _ => name,
        }
    }
}
