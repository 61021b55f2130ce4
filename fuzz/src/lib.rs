//! One function per parser of foreign bytes, fed with anything at all.
#![forbid(unsafe_code)]
