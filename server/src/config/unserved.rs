//! Sections that this server reads and does not act on yet: their keys are checked, what they ask for is
//! named in a warning, and they are shown without anything that could be a secret.

use serde_json::Value;

/// The keys of each section, or of each entry of a section that is a list.
const KEYS: &[(&str, &[&str])] = &[
    ("runtime", &["gogc"]),
    ("alerting", &["alert_relabel_configs", "alertmanagers"]),
    (
        "tracing",
        &[
            "client_type",
            "endpoint",
            "sampling_fraction",
            "insecure",
            "tls_config",
            "headers",
            "compression",
            "timeout",
        ],
    ),
    (
        "otlp",
        &[
            "promote_all_resource_attributes",
            "promote_resource_attributes",
            "ignore_resource_attributes",
            "translation_strategy",
            "keep_identifying_resource_attributes",
            "convert_histograms_to_nhcb",
            "promote_scope_metadata",
            "label_name_underscore_sanitization",
            "label_name_preserve_multiple_underscores",
        ],
    ),
    (
        "remote_write",
        &[
            "url",
            "remote_timeout",
            "headers",
            "write_relabel_configs",
            "name",
            "send_exemplars",
            "send_native_histograms",
            "round_robin_dns",
            "protobuf_message",
            "queue_config",
            "metadata_config",
            "sigv4",
            "azuread",
            "google_iam",
        ],
    ),
    (
        "remote_read",
        &[
            "url",
            "remote_timeout",
            "chunked_read_limit",
            "headers",
            "name",
            "read_recent",
            "required_matchers",
            "filter_external_labels",
        ],
    ),
];

/// Keys of `<http_config>`, which remote sections carry inline.
const HTTP_KEYS: &[&str] = &[
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
    "bearer_token",
    "bearer_token_file",
];

/// Keys whose text is shown; everything else might be, or hold, a secret.
const SHOWN: &[&str] = &[
    "name",
    "remote_timeout",
    "timeout",
    "api_version",
    "scheme",
    "path_prefix",
    "translation_strategy",
    "client_type",
    "compression",
    "protobuf_message",
    "out_of_order_time_window",
    "action",
    "regex",
    "source_labels",
    "target_label",
    "separator",
    "replacement",
    "targets",
    "floats",
    "time",
    "size",
    "batch_send_deadline",
    "min_backoff",
    "max_backoff",
    "sample_age_limit",
    "send_interval",
];

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(members) => members.is_empty(),
        _ => false,
    }
}

/// Refuses a key that Prometheus does not know in this section.
pub fn check(section: &str, value: &Value) -> Result<(), String> {
    let Some((_, keys)) = KEYS.iter().find(|(name, _)| *name == section) else { return Ok(()) };
    let list = section.starts_with("remote_");
    let entries: Vec<&Value> = match value {
        Value::Null => return Ok(()),
        Value::Array(items) if list => items.iter().collect(),
        Value::Object(_) if !list => vec![value],
        _ if list => return Err(format!("{section}: expected a list")),
        _ => return Err(format!("{section}: expected a mapping")),
    };
    for (index, entry) in entries.iter().enumerate() {
        let place = if list { format!("{section}[{index}]") } else { section.to_owned() };
        let Value::Object(members) = entry else { return Err(format!("{place}: expected a mapping")) };
        let known =
            |key: &&String| keys.contains(&key.as_str()) || (list && HTTP_KEYS.contains(&key.as_str()));
        if let Some(key) = members.keys().find(|key| !known(key)) {
            return Err(format!("{place}: unknown field `{key}`"));
        }
        if list && members.get("url").is_none_or(|url| url.as_str().is_none_or(str::is_empty)) {
            return Err(format!("{place}: url for {section} is empty"));
        }
    }
    Ok(())
}

/// What the operator does not get.
pub fn warning(section: &str, value: &Value) -> Option<String> {
    if is_empty(value) {
        return None;
    }
    let what = match section {
        "runtime" => return None,
        "alerting" => "alerts are not sent yet",
        "remote_write" => "samples are not sent to other stores yet",
        "remote_read" => "other stores are not read yet",
        "storage" => return None,
        "tracing" => "traces are not sent yet",
        _ => "the OTLP receiver is not there yet",
    };
    Some(format!("section {section} is read but has no effect: {what}"))
}

/// The section without its secrets.
pub fn hidden(value: &Value) -> Value {
    hide("", value)
}

fn hide(key: &str, value: &Value) -> Value {
    match value {
        Value::String(_) if SHOWN.contains(&key) => value.clone(),
        Value::String(text) if key == "url" => Value::String(without_credentials(text)),
        Value::String(_) => Value::String("<hidden>".to_owned()),
        Value::Array(items) => items.iter().map(|item| hide(key, item)).collect(),
        Value::Object(members) => {
            members.iter().map(|(name, member)| (name.clone(), hide(name, member))).collect()
        }
        plain => plain.clone(),
    }
}

/// A URL without user, password and query, in all of which people put secrets.
fn without_credentials(url: &str) -> String {
    let url = url.split(['?', '#']).next().unwrap_or("");
    match url.split_once("://") {
        Some((scheme, rest)) => {
            let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
            let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
            format!("{scheme}://{host}{path}")
        }
        None => "<hidden>".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn unknown_keys_are_refused() {
        assert_eq!(check("remote_write", &json!([{"url": "http://x", "basic_auth": {}}])), Ok(()));
        assert_eq!(
            check("remote_write", &json!([{}])),
            Err("remote_write[0]: url for remote_write is empty".into())
        );
        assert_eq!(check("alerting", &json!({"foo": 1})), Err("alerting: unknown field `foo`".into()));
        assert_eq!(check("otlp", &json!([1])), Err("otlp: expected a mapping".into()));
    }

    #[test]
    fn no_secret_is_shown() {
        let section = json!([{
            "url": "http://u:canary@host/p?token=canary",
            "name": "a",
            "headers": {"X-Key": "canary"},
            "sigv4": {"secret_key": "canary"},
            "queue_config": {"capacity": 5},
        }]);
        let text = hidden(&section).to_string();
        assert!(!text.contains("canary"), "{text}");
        assert!(text.contains("http://host/p") && text.contains("\"capacity\":5"), "{text}");
    }
}
