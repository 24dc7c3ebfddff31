//! Loom models of the handshakes.
