//! End-to-end and kernel tests.
