//! Attacks on one open and one closed port, by frames that none of this project's builders made.
//!
//! What each frame deserves is said next to it, in the words of docs/policy.md, and not asked of the model. A witness
//! on the protected interface sees exactly what the program lets pass; sockets of the host would notice what reaches
//! them; and the counters must have counted each frame once.

mod ether_types;
mod field;
mod frames;
mod headers;
mod packets;
mod resets;
