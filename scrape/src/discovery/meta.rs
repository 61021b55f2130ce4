//! Labels of discovered targets: names put together from a mechanism's prefix and what the world calls its
//! things, which may hold any character.

use crate::config::MAX_DISCOVERED_TARGETS;
use hearth_model::{Labels, LabelsBuilder};

/// `text` as part of a label name: what is no letter, digit or `_` becomes `_`.
pub fn sanitized(text: &str) -> String {
    text.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect()
}

/// An address from a host that may be an IPv6 address, and a port.
pub fn host_port(host: &str, port: impl std::fmt::Display) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

/// A list as one value, with the separator around every entry, so that a pattern can ask for one of them. Of
/// an empty list both separators stay.
pub fn enclosed<T: AsRef<str>>(entries: impl IntoIterator<Item = T>, separator: &str) -> String {
    let mut out = String::from(separator);
    for entry in entries {
        out.push_str(entry.as_ref());
        out.push_str(separator);
    }
    if out.len() == separator.len() {
        out.push_str(separator);
    }
    out
}

/// Whether a list is longer than any that is taken. Where an answer multiplies (ports by addresses), its
/// reader stops here; whoever takes the list then refuses it.
pub fn is_full(targets: &[Labels]) -> bool {
    targets.len() > MAX_DISCOVERED_TARGETS
}

/// The labels of one target or group.
pub struct Meta {
    prefix: &'static str,
    labels: LabelsBuilder,
}

impl Meta {
    /// `prefix` stands before every name, such as `__meta_consul_`.
    pub fn new(prefix: &'static str) -> Meta {
        Meta { prefix, labels: LabelsBuilder::default() }
    }

    pub fn address(mut self, address: &str) -> Meta {
        self.labels.set("__address__", address);
        self
    }

    pub fn set(&mut self, name: &str, value: impl AsRef<str>) -> &mut Meta {
        self.labels.set(&format!("{}{name}", self.prefix), value.as_ref());
        self
    }

    /// A label without the prefix.
    pub fn plain(&mut self, name: &str, value: &str) -> &mut Meta {
        self.labels.set(name, value);
        self
    }

    /// A value that has a text form.
    pub fn show(&mut self, name: &str, value: impl std::fmt::Display) -> &mut Meta {
        self.set(name, value.to_string())
    }

    /// What may not be there; where it is not, there is no label.
    pub fn maybe(&mut self, name: &str, value: Option<impl std::fmt::Display>) -> &mut Meta {
        if let Some(value) = value {
            self.show(name, value);
        }
        self
    }

    /// `name` + each key, sanitised.
    pub fn each<K: AsRef<str>, V: AsRef<str>>(
        &mut self,
        name: &str,
        pairs: impl IntoIterator<Item = (K, V)>,
    ) -> &mut Meta {
        for (key, value) in pairs {
            self.set(&format!("{name}{}", sanitized(key.as_ref())), value);
        }
        self
    }

    /// All labels of another set, as they are.
    pub fn all(&mut self, labels: Option<&Labels>) -> &mut Meta {
        for (name, value) in labels.into_iter().flat_map(Labels::iter) {
            self.labels.set(name, value);
        }
        self
    }

    pub fn labels(&self) -> Labels {
        self.labels.build()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_addresses_are_made_of_anything() {
        let mut meta = Meta::new("__meta_x_").address(&host_port("::1", 80));
        meta.set("a", "1").maybe("b", None::<u8>).show("c", 5).each("tag_", [("k.8/s-é", "v"), ("", "w")]);
        assert_eq!(
            meta.labels().to_string(),
            r#"{__address__="[::1]:80", __meta_x_a="1", __meta_x_c="5", __meta_x_tag_="w", __meta_x_tag_k_8_s__="v"}"#
        );
        assert_eq!(enclosed(["a", "b"], ","), ",a,b,");
        assert_eq!(enclosed([""; 0], ","), ",,");
    }
}
