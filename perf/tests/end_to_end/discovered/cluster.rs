//! The API server of a cluster inside a test: lists page by page, watches with bookmarks, label and field
//! selectors, versions that are too old, outages and refusals. Each change is a new version of the whole.

use super::api::{Reply, Request, serve};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{Error, ErrorKind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

/// What a resource's objects call themselves.
const KINDS: [(&str, &str, &str); 7] = [
    ("pods", "Pod", "v1"),
    ("services", "Service", "v1"),
    ("nodes", "Node", "v1"),
    ("namespaces", "Namespace", "v1"),
    ("endpoints", "Endpoints", "v1"),
    ("endpointslices", "EndpointSlice", "discovery.k8s.io/v1"),
    ("ingresses", "Ingress", "networking.k8s.io/v1"),
];

/// How long a watch sleeps before it looks whether it was cut.
const LOOK: Duration = Duration::from_millis(50);

/// Shared by the test, which changes it, and the server, which shows it.
#[derive(Clone)]
pub struct Cluster {
    inner: Arc<Inner>,
    pub address: String,
}

#[derive(Default)]
struct Inner {
    page_objects: usize,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    version: u64,
    /// By resource and `namespace/name`.
    objects: BTreeMap<(String, String), Value>,
    log: Vec<Change>,
    /// Watches from before this version are told to list anew.
    oldest: u64,
    /// Watches that began at another number end.
    cuts: u64,
    /// Requests that are still to be refused.
    refusals: usize,
    down: bool,
    /// What was answered, by name.
    counts: BTreeMap<&'static str, usize>,
}

struct Change {
    version: u64,
    resource: String,
    /// Both are missing in a bookmark.
    old: Option<Value>,
    new: Option<Value>,
}

/// What a list or a watch is about.
struct Scope<'a> {
    resource: String,
    namespace: String,
    labels: &'a str,
    fields: &'a str,
}

impl Scope<'_> {
    fn of(request: &Request) -> Scope<'_> {
        let parts: Vec<&str> = request.path.split('/').collect();
        let resource = parts.last().expect("a path has a last part");
        let at = parts.iter().position(|part| *part == "namespaces").filter(|at| at + 2 < parts.len());
        Scope {
            resource: (*resource).to_owned(),
            namespace: at.map_or(String::new(), |at| parts[at + 1].to_owned()),
            labels: request.get("labelSelector"),
            fields: request.get("fieldSelector"),
        }
    }

    fn takes(&self, object: &Value) -> bool {
        let holds = |selector: &str, of: &dyn Fn(&str) -> Value| {
            selector.split(',').filter(|part| !part.is_empty()).all(|part| {
                let (name, value) = part.split_once('=').expect("selectors of tests are equalities");
                of(name) == *value
            })
        };
        (self.namespace.is_empty() || object["metadata"]["namespace"] == *self.namespace)
            && holds(self.labels, &|name| object["metadata"]["labels"][name].clone())
            && holds(self.fields, &|name| {
                object.pointer(&format!("/{}", name.replace('.', "/"))).cloned().unwrap_or_default()
            })
    }
}

impl Cluster {
    /// A list's pages hold `page_objects` at most, whatever larger limit was asked for.
    pub fn start(page_objects: usize) -> Cluster {
        let inner = Arc::new(Inner { page_objects, ..Inner::default() });
        inner.lock().version = 100;
        let shown = Arc::clone(&inner);
        let address = serve(move |request, reply| shown.answer(request, reply));
        Cluster { inner, address }
    }

    /// Adds or changes an object.
    pub fn set(&self, resource: &str, object: Value) {
        let mut state = self.inner.lock();
        state.version += 1;
        let version = state.version;
        let (_, kind, api) = KINDS.iter().find(|(plural, ..)| *plural == resource).expect("a known resource");
        let mut object = object;
        object["kind"] = json!(kind);
        object["apiVersion"] = json!(api);
        object["metadata"]["resourceVersion"] = json!(version.to_string());
        let key = (resource.to_owned(), key(&object));
        let old = state.objects.insert(key, object.clone());
        state.log.push(Change { version, resource: resource.to_owned(), old, new: Some(object) });
        self.inner.changed.notify_all();
    }

    /// Annotates every object of a resource.
    pub fn touch(&self, resource: &str, note: &str) {
        let of =
            |((plural, _), object): (&(String, String), &Value)| (plural == resource).then(|| object.clone());
        let objects: Vec<Value> = self.inner.lock().objects.iter().filter_map(of).collect();
        for mut object in objects {
            object["metadata"]["annotations"]["touched"] = json!(note);
            self.set(resource, object);
        }
    }

    pub fn remove(&self, resource: &str, key: &str) {
        let mut state = self.inner.lock();
        state.version += 1;
        let version = state.version;
        let old = state.objects.remove(&(resource.to_owned(), key.to_owned()));
        assert!(old.is_some(), "there is no {resource} {key}");
        state.log.push(Change { version, resource: resource.to_owned(), old, new: None });
        self.inner.changed.notify_all();
    }

    /// Tells every watch of a resource how far the cluster is.
    pub fn bookmark(&self, resource: &str) {
        let mut state = self.inner.lock();
        let version = state.version;
        state.log.push(Change { version, resource: resource.to_owned(), old: None, new: None });
        self.inner.changed.notify_all();
    }

    /// Breaks every watch off in the middle.
    pub fn cut(&self) {
        self.inner.lock().cuts += 1;
        self.inner.changed.notify_all();
    }

    /// Answers nobody while `change` runs.
    pub fn outage(&self, change: impl FnOnce(&Cluster)) {
        self.inner.lock().down = true;
        self.cut();
        change(self);
        self.inner.lock().down = false;
    }

    /// Forgets how it came to be what it is.
    pub fn compact(&self) {
        let mut state = self.inner.lock();
        state.oldest = state.version;
    }

    /// The next requests are told to come back in a second.
    pub fn refuse(&self, requests: usize) {
        self.inner.lock().refusals = requests;
    }

    /// How often something was answered: `refused`, `expired`, `bookmark`, `list`, `page`, `watch`.
    pub fn count(&self, what: &str) -> usize {
        self.inner.lock().counts.get(what).copied().unwrap_or(0)
    }
}

fn key(object: &Value) -> String {
    let text = |name: &str| object["metadata"][name].as_str().unwrap_or_default();
    match text("namespace") {
        "" => text("name").to_owned(),
        namespace => format!("{namespace}/{}", text("name")),
    }
}

fn status(code: u16, reason: &str) -> Value {
    json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": format!("the test says {reason}"), "reason": reason, "code": code,
    })
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no answer panicked")
    }

    fn count(state: &mut State, what: &'static str) {
        *state.counts.entry(what).or_default() += 1;
    }

    fn answer(&self, request: &Request, reply: &mut Reply<'_>) -> Result<(), Error> {
        let mut state = self.lock();
        if state.down {
            return Err(Error::from(ErrorKind::ConnectionReset));
        }
        if state.refusals > 0 {
            state.refusals -= 1;
            Inner::count(&mut state, "refused");
            let headers = [("Retry-After", "1"), ("Content-Type", "application/json")];
            let body = status(429, "TooManyRequests").to_string();
            return reply.whole("429 Too Many Requests", &headers, &body);
        }
        let scope = Scope::of(request);
        if !KINDS.iter().any(|(plural, ..)| *plural == scope.resource) {
            return reply.json("404 Not Found", &status(404, "NotFound").to_string());
        }
        if !["true", "1"].contains(&request.get("watch")) {
            let body = self.list(&mut state, &scope, request);
            return match body {
                Some(body) => reply.json("200 OK", &body.to_string()),
                None => reply.json("410 Gone", &status(410, "Expired").to_string()),
            };
        }
        if !request.get("sendInitialEvents").is_empty() {
            return reply.json("422 Unprocessable Entity", &status(422, "Invalid").to_string());
        }
        drop(state);
        self.watch(&scope, request, reply)
    }

    /// A page of a list; none where it began in another version.
    fn list(&self, state: &mut State, scope: &Scope<'_>, request: &Request) -> Option<Value> {
        let limit: usize = request.get("limit").parse().unwrap_or(0);
        let mut from = 0;
        if let Some((version, offset)) = request.get("continue").split_once('-') {
            if version != state.version.to_string() {
                Inner::count(state, "expired");
                return None;
            }
            Inner::count(state, "page");
            from = offset.parse().expect("an offset");
        }
        Inner::count(state, "list");
        let of = |(resource, _): &(String, String)| *resource == scope.resource;
        let all = state.objects.iter().filter(|(key, object)| of(key) && scope.takes(object));
        let mut rest: Vec<&Value> = all.map(|(_, object)| object).skip(from).collect();
        let mut token = String::new();
        let page = self.page_objects.min(limit);
        if limit > 0 && rest.len() > page {
            rest.truncate(page);
            token = format!("{}-{}", state.version, from + rest.len());
        }
        let (_, kind, api) = KINDS.iter().find(|(plural, ..)| *plural == scope.resource)?;
        Some(json!({
            "kind": format!("{kind}List"), "apiVersion": api, "items": rest,
            "metadata": {"resourceVersion": state.version.to_string(), "continue": token},
        }))
    }

    fn watch(&self, scope: &Scope<'_>, request: &Request, reply: &mut Reply<'_>) -> Result<(), Error> {
        let from: u64 = request.get("resourceVersion").parse().unwrap_or(0);
        let mut state = self.lock();
        let cuts = state.cuts;
        if from < state.oldest {
            Inner::count(&mut state, "expired");
            // Servers say it in one way or the other.
            if scope.resource == "pods" {
                return reply.json("410 Gone", &status(410, "Expired").to_string());
            }
            reply.begin()?;
            reply.line(&json!({"type": "ERROR", "object": status(410, "Expired")}).to_string())?;
            return Err(Error::from(ErrorKind::ConnectionAborted));
        }
        Inner::count(&mut state, "watch");
        reply.begin()?;
        let mut at = state.log.iter().take_while(|change| change.version <= from).count();
        loop {
            let lines: Vec<String> =
                state.log[at..].iter().filter_map(|change| event(scope, change)).collect();
            at = state.log.len();
            let bookmarks = lines.iter().filter(|line| line.contains("\"BOOKMARK\"")).count();
            (0..bookmarks).for_each(|_| Inner::count(&mut state, "bookmark"));
            drop(state);
            lines.iter().try_for_each(|line| reply.line(line))?;
            state = self.lock();
            if state.cuts != cuts {
                return Err(Error::from(ErrorKind::ConnectionAborted));
            }
            if state.log.len() == at {
                state = self.changed.wait_timeout(state, LOOK).expect("no answer panicked").0;
            }
        }
    }
}

/// What a watch is told of a change; none where it does not concern it.
fn event(scope: &Scope<'_>, change: &Change) -> Option<String> {
    if change.resource != scope.resource {
        return None;
    }
    let taken = |object: &&Value| scope.takes(object);
    let (kind, mut object) = match (change.old.as_ref(), change.new.as_ref()) {
        (None, None) => {
            let (_, kind, api) = KINDS.iter().find(|(plural, ..)| *plural == scope.resource)?;
            ("BOOKMARK", json!({"kind": kind, "apiVersion": api, "metadata": {"creationTimestamp": null}}))
        }
        (old, new) => match (old.filter(taken), new.filter(taken)) {
            (None, None) => return None,
            (None, Some(new)) => ("ADDED", new.clone()),
            (Some(_), Some(new)) => ("MODIFIED", new.clone()),
            // What no longer fits the selectors is gone for this watch.
            (Some(old), None) => ("DELETED", old.clone()),
        },
    };
    object["metadata"]["resourceVersion"] = json!(change.version.to_string());
    Some(json!({"type": kind, "object": object}).to_string())
}
