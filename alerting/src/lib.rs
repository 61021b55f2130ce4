//! hearth-alerting
