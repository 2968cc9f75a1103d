//! Why a policy could not be applied.

use super::{slots::SlotError, store::StoreError};
use crate::{
    compile::CompileError,
    datapath::{DatapathError, Part},
    host::HostError,
};

/// Why a policy could not be applied.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// The rules of an interface do not fit into tables.
    #[error("{interface}: {source}")]
    Compile {
        /// The interface.
        interface: String,
        /// Why.
        source: CompileError,
    },
    /// There are more rules than counters.
    #[error("{interface}: {source}")]
    Slots {
        /// The interface.
        interface: String,
        /// Why.
        source: SlotError,
    },
    /// It cannot be found out whether the host routes what arrives.
    #[error("{interface}: {source}")]
    Routing {
        /// The interface.
        interface: String,
        /// Why.
        source: HostError,
    },
    /// A trial or a shadow is already there.
    #[error("{0} is running: `portcullis confirm` or `portcullis rollback` ends it")]
    Pending(&'static str),
    /// A shadow stands beside what is enforced.
    #[error(
        "{0}: nothing is enforced there, so nothing can be compared: apply the policy with --observe instead"
    )]
    NothingToShadow(String),
    /// The trial ends before it can be confirmed.
    #[error("the trial ends within a second: it is too late to confirm it")]
    TooLate,
    /// The process has a clock of its own.
    #[error("a trial is not possible in a time namespace of its own: the kernel's clock is another one")]
    OtherClock,
    /// Something was taken away as soon as it was in place.
    #[error("{interface}: {} missing, although the policy was put in place: somebody takes it away", missing(.parts))]
    Missing {
        /// The interface.
        interface: String,
        /// What is missing.
        parts: Vec<Part>,
    },
    /// The state folder refuses.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The kernel refuses.
    #[error("{interface}: {source}")]
    Datapath {
        /// The interface.
        interface: String,
        /// Why.
        source: DatapathError,
    },
}

fn missing(parts: &[Part]) -> String {
    let all: Vec<String> = parts.iter().map(Part::to_string).collect();
    format!("{} {}", all.join(" and "), if all.len() == 1 { "is" } else { "are" })
}

impl ApplyError {
    /// What the kernel refused on an interface.
    pub(super) fn at(interface: &str, source: DatapathError) -> Self {
        Self::Datapath { interface: interface.to_owned(), source }
    }
}
