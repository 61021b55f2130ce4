//! A look at the keys of a `scrape_configs[]` entry before its fields are read, so that a discovery
//! mechanism that is known but not served is refused by its name instead of as an unknown field.

use super::scrape::ScrapeConfig;
use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeSeed, Deserializer, Error, IntoDeserializer, MapAccess, Visitor};
use serde::{Deserialize, de};
use std::fmt;

/// Mechanisms of Prometheus that are not served yet.
const UNSERVED_DISCOVERY: [&str; 37] = [
    "aws",
    "azure",
    "consul",
    "digitalocean",
    "dns",
    "docker",
    "dockerswarm",
    "ec2",
    "ecs",
    "eureka",
    "gce",
    "hetzner",
    "http",
    "ionos",
    "kubernetes",
    "kuma",
    "lightsail",
    "linode",
    "marathon",
    "msk",
    "nerve",
    "nomad",
    "oci",
    "openstack",
    "outscale",
    "ovhcloud",
    "puppetdb",
    "rds",
    "scaleway",
    "serverset",
    "stackit",
    "triton",
    "uyuni",
    "vultr",
    "elasticache",
    "linodes",
    "zookeeper",
];

fn check_key<E: de::Error>(key: &str) -> Result<(), E> {
    match key.strip_suffix("_sd_configs") {
        Some(mechanism) if UNSERVED_DISCOVERY.contains(&mechanism) => Err(E::custom(format!(
            "{key}: service discovery by {mechanism} is not served yet; static_configs and file_sd_configs are"
        ))),
        _ => Ok(()),
    }
}

/// Reads the key within the visitor, so that an error carries the key's own line.
struct CheckedKey<S>(S);

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for CheckedKey<S> {
    type Value = S::Value;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<S::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de, S: DeserializeSeed<'de>> Visitor<'de> for CheckedKey<S> {
    type Value = S::Value;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a field name")
    }
    fn visit_str<E: Error>(self, key: &str) -> Result<S::Value, E> {
        check_key::<E>(key)?;
        self.0.deserialize(key.into_deserializer())
    }
}

struct CheckedKeys<M>(M);

impl<'de, M: MapAccess<'de>> MapAccess<'de> for CheckedKeys<M> {
    type Error = M::Error;
    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, M::Error> {
        self.0.next_key_seed(CheckedKey(seed))
    }
    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, M::Error> {
        self.0.next_value_seed(seed)
    }
}

impl<'de> Deserialize<'de> for ScrapeConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entry;
        impl<'de> Visitor<'de> for Entry {
            type Value = ScrapeConfig;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a scrape configuration")
            }
            fn visit_unit<E: Error>(self) -> Result<ScrapeConfig, E> {
                Err(E::custom("empty or null scrape config section"))
            }
            fn visit_map<M: MapAccess<'de>>(self, map: M) -> Result<ScrapeConfig, M::Error> {
                ScrapeConfig::fields(MapAccessDeserializer::new(CheckedKeys(map)))
            }
        }
        deserializer.deserialize_any(Entry)
    }
}
