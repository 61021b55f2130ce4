//! Keys of a YAML mapping that belong to somebody else than the struct that is read: discovery sections
//! of a job, the fields of `<http_config>` within a section. They are taken out of the stream as they come,
//! so that every error keeps its place in the file.

use super::discovery::DiscoverySections;
use super::http::HttpConfig;
use super::scalar::{GoBool, Scalar};
use super::scrape::ScrapeConfig;
use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeSeed, Deserializer, Error, IntoDeserializer, MapAccess, Visitor};
use serde::{Deserialize, de};
use std::fmt;
use std::marker::PhantomData;

/// Who takes some of a mapping's keys.
pub(super) trait Aside {
    /// Whether the key is its own; an error refuses the key by name.
    fn wants(&self, key: &str) -> Result<bool, String>;
    /// Reads the value that stands behind the key.
    fn take<'de, M: MapAccess<'de>>(&mut self, key: &str, map: &mut M) -> Result<(), M::Error>;
}

enum Key<S, V> {
    Own(V),
    Aside(String, S),
}

/// Reads the key within the visitor, so that an error carries the key's own line.
struct KeySeed<'a, S, A> {
    seed: S,
    aside: &'a A,
}

impl<'de, S: DeserializeSeed<'de>, A: Aside> DeserializeSeed<'de> for KeySeed<'_, S, A> {
    type Value = Key<S, S::Value>;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de, S: DeserializeSeed<'de>, A: Aside> Visitor<'de> for KeySeed<'_, S, A> {
    type Value = Key<S, S::Value>;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a field name")
    }
    fn visit_str<E: Error>(self, key: &str) -> Result<Self::Value, E> {
        if self.aside.wants(key).map_err(E::custom)? {
            return Ok(Key::Aside(key.to_owned(), self.seed));
        }
        self.seed.deserialize(key.into_deserializer()).map(Key::Own)
    }
}

/// A mapping without the keys that are taken aside.
pub(super) struct Parted<'a, M, A> {
    pub map: M,
    pub aside: &'a mut A,
}

impl<'de, M: MapAccess<'de>, A: Aside> MapAccess<'de> for Parted<'_, M, A> {
    type Error = M::Error;
    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, mut seed: S) -> Result<Option<S::Value>, M::Error> {
        loop {
            match self.map.next_key_seed(KeySeed { seed, aside: &*self.aside })? {
                None => return Ok(None),
                Some(Key::Own(value)) => return Ok(Some(value)),
                Some(Key::Aside(key, back)) => {
                    self.aside.take(&key, &mut self.map)?;
                    seed = back;
                }
            }
        }
    }
    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, M::Error> {
        self.map.next_value_seed(seed)
    }
}

impl Aside for DiscoverySections {
    fn wants(&self, key: &str) -> Result<bool, String> {
        Ok(key.strip_suffix("_sd_configs").is_some_and(Self::knows))
    }
    fn take<'de, M: MapAccess<'de>>(&mut self, key: &str, map: &mut M) -> Result<(), M::Error> {
        self.read(key, map)
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
                let mut sections = DiscoverySections::default();
                let parted = Parted { map, aside: &mut sections };
                let mut config = ScrapeConfig::fields(MapAccessDeserializer::new(parted))?;
                config.discovery = sections;
                Ok(config)
            }
        }
        deserializer.deserialize_any(Entry)
    }
}

impl Aside for HttpConfig {
    fn wants(&self, key: &str) -> Result<bool, String> {
        Ok(HTTP_KEYS.contains(&key))
    }
    fn take<'de, M: MapAccess<'de>>(&mut self, key: &str, map: &mut M) -> Result<(), M::Error> {
        match key {
            "basic_auth" => self.basic_auth = map.next_value()?,
            "authorization" => self.authorization = map.next_value()?,
            "oauth2" => self.oauth2 = map.next_value()?,
            "tls_config" => self.tls_config = map.next_value::<Option<_>>()?.unwrap_or_default(),
            "follow_redirects" => self.follow_redirects = flag(map)?.unwrap_or(true),
            "enable_http2" => self.enable_http2 = flag(map)?.unwrap_or(true),
            "proxy_url" => self.proxy_url = Some(text(map)?).filter(|url| !url.is_empty()),
            "no_proxy" => self.no_proxy = text(map)?,
            "proxy_from_environment" => self.proxy_from_environment = flag(map)?.unwrap_or_default(),
            "proxy_connect_header" => {
                self.proxy_connect_header = map.next_value::<Option<_>>()?.unwrap_or_default();
            }
            "http_headers" => self.http_headers = map.next_value::<Option<_>>()?.unwrap_or_default(),
            _ => return Err(de::Error::custom(format!("unknown field `{key}`"))),
        }
        Ok(())
    }
}

/// The fields that [`HttpConfig`] reads.
const HTTP_KEYS: [&str; 11] = [
    "basic_auth",
    "authorization",
    "oauth2",
    "tls_config",
    "follow_redirects",
    "enable_http2",
    "proxy_url",
    "no_proxy",
    "proxy_from_environment",
    "proxy_connect_header",
    "http_headers",
];

fn flag<'de, M: MapAccess<'de>>(map: &mut M) -> Result<Option<bool>, M::Error> {
    Ok(map.next_value::<Option<GoBool>>()?.map(|flag| flag.0))
}

fn text<'de, M: MapAccess<'de>>(map: &mut M) -> Result<String, M::Error> {
    Ok(map.next_value::<Option<Scalar>>()?.map_or_else(String::new, |text| text.0))
}

/// Reads a mapping whose `<http_config>` fields stand among its own.
pub(super) struct HttpAside<T>(PhantomData<T>);

impl<T> HttpAside<T> {
    pub fn new() -> HttpAside<T> {
        HttpAside(PhantomData)
    }
}

impl<'de, T: Deserialize<'de>> Visitor<'de> for HttpAside<T> {
    type Value = (T, HttpConfig);
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a discovery section")
    }
    fn visit_map<M: MapAccess<'de>>(self, map: M) -> Result<Self::Value, M::Error> {
        let mut http = HttpConfig::default();
        let own = T::deserialize(MapAccessDeserializer::new(Parted { map, aside: &mut http }))?;
        Ok((own, http))
    }
}
