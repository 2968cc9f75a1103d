//! Why a policy could not be applied.

use super::{slots::SlotError, store::StoreError};
use crate::{compile::CompileError, datapath::DatapathError};

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

impl ApplyError {
    /// What the kernel refused on an interface.
    pub(super) fn at(interface: &str, source: DatapathError) -> Self {
        Self::Datapath { interface: interface.to_owned(), source }
    }
}
