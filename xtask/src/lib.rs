//! Finds the eBPF toolchain and builds the kernel object.
