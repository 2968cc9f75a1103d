//! What must hold for every document, catalog and policy file, whoever wrote it.
//!
//! In come bytes; each function panics where one of the promises is broken: a row is neither read nor
//! reported, a line lies outside of the document, a printed file reads differently, time or memory grow out of
//! proportion. The fuzzer calls them with what it makes up (`targets/`), `tests/replay.rs` with the seeds and
//! with every input that once broke one. Invariant: a function's outcome depends on its bytes alone.

mod cell;
mod cost;
mod document;
mod encoding;
mod files;
mod shapes;
mod workbook;

pub use self::cell::cell;
pub use self::document::{delimited, html, text};
pub use self::encoding::encoding;
pub use self::files::{catalog, policy};
pub use self::shapes::shapes;
pub use self::workbook::workbook;

/// A property of any bytes: it returns where it holds, and panics where it does not.
pub type Property = fn(&[u8]);

/// Every target with its name, which is also the name of its folder of seeds.
pub const TARGETS: [(&str, Property); 9] = [
    ("text", text),
    ("html", html),
    ("delimited", delimited),
    ("workbook", workbook),
    ("encoding", encoding),
    ("cell", cell),
    ("shapes", shapes),
    ("catalog", catalog),
    ("policy", policy),
];
