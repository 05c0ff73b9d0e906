//! Declarations of functions in C.

use super::raw::{Kind, Type};
use super::scope::Scope;

/// Types that refer to each other more deeply than this are a loop.
const DEPTH: usize = 32;

impl Scope<'_> {
    /// The declaration of a function: `int vfs_open(const struct path *path, struct file *file)`.
    pub(super) fn prototype(self, function: &Type<'_>) -> String {
        let name = self.text(function.name_off());
        self.declare(function.size_or_type(), name, DEPTH)
    }

    /// The declaration of `declarator` as a thing of this type; without a name if that is empty.
    fn declare(self, id: u32, declarator: String, depth: usize) -> String {
        let (Some(t), Some(depth)) = (self.by_id(id), depth.checked_sub(1)) else {
            return named("void", &declarator);
        };
        let inner = t.size_or_type();
        let with_tag =
            |tag: &str| named(&format!("{tag} {}", self.text(t.name_off())), &declarator);
        match t.kind {
            Kind::Ptr => {
                let is_binding = self
                    .by_id(self.untagged(inner))
                    .is_some_and(|t| matches!(t.kind, Kind::Array | Kind::FuncProto));
                let pointer = if is_binding {
                    format!("(*{declarator})")
                } else {
                    format!("*{declarator}")
                };
                self.declare(inner, pointer, depth)
            }
            Kind::Array => self.declare(t.extra(0), format!("{declarator}[{}]", t.extra(2)), depth),
            Kind::FuncProto => {
                let parameters = self.parameters(&t, depth);
                self.declare(inner, format!("{declarator}({parameters})"), depth)
            }
            Kind::Const => self.qualify("const", inner, declarator, depth),
            Kind::Volatile => self.qualify("volatile", inner, declarator, depth),
            Kind::Restrict | Kind::TypeTag => self.declare(inner, declarator, depth),
            Kind::Struct => with_tag("struct"),
            Kind::Union => with_tag("union"),
            Kind::Enum | Kind::Enum64 => with_tag("enum"),
            Kind::Fwd if t.word(1) >> 31 == 1 => with_tag("union"),
            Kind::Fwd => with_tag("struct"),
            _ => named(&self.text(t.name_off()), &declarator),
        }
    }

    fn qualify(self, qualifier: &str, inner: u32, declarator: String, depth: usize) -> String {
        let is_pointer = self.by_id(inner).is_some_and(|t| t.kind == Kind::Ptr);
        if is_pointer {
            let qualified = format!("{qualifier} {declarator}");
            return self.declare(inner, qualified.trim_end().to_owned(), depth);
        }
        format!("{qualifier} {}", self.declare(inner, declarator, depth))
    }

    fn parameters(self, proto: &Type<'_>, depth: usize) -> String {
        let one = |(name, id): (u32, u32)| match (self.text(name), id) {
            (name, 0) if name.is_empty() => "...".to_owned(),
            (name, id) => self.declare(id, name, depth),
        };
        let all: Vec<String> = proto.members().map(one).collect();
        if all.is_empty() {
            "void".to_owned()
        } else {
            all.join(", ")
        }
    }

    /// The type behind tags, which C does not show.
    fn untagged(self, id: u32) -> u32 {
        let mut id = id;
        for _ in 0..DEPTH {
            match self.by_id(id) {
                Some(t) if t.kind == Kind::TypeTag => id = t.size_or_type(),
                _ => break,
            }
        }
        id
    }

    fn text(self, offset: u32) -> String {
        String::from_utf8_lossy(self.string(offset).unwrap_or_default()).into_owned()
    }
}

fn named(of: &str, declarator: &str) -> String {
    format!("{of} {declarator}").trim_end().to_owned()
}
