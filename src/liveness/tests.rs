//! Tests of the liveness layer on the manual clock.
