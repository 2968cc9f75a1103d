//! What can be wrong with a catalog file or with a name that refers to one.

/// A mistake in a catalog, or a name that it does not have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CatalogError {
    /// A catalog file that is wrong somewhere.
    #[error("{file}:{line}:{column}: {message}")]
    File {
        /// The file, as the caller named it.
        file: String,
        /// 1-based.
        line: usize,
        /// 1-based, in characters.
        column: usize,
        /// What is wrong, and what would be right.
        message: String,
    },
    /// No system of this name.
    #[error("there is no system `{name}`{}", suggestion(nearest.as_deref()))]
    UnknownSystem {
        /// The name that was asked for.
        name: String,
        /// The nearest name that exists.
        nearest: Option<String>,
    },
    /// No role of this name.
    #[error("there is no role `{name}`{}", suggestion(nearest.as_deref()))]
    UnknownRole {
        /// The name that was asked for, as `system/role`.
        name: String,
        /// The nearest name that exists, as `system/role`.
        nearest: Option<String>,
    },
}

fn suggestion(nearest: Option<&str>) -> String {
    nearest.map_or_else(
        || ": `portcullis catalog list` shows what there is".to_owned(),
        |name| format!(": did you mean `{name}`?"),
    )
}
