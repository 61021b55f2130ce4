//! One target per parser of foreign bytes: a function that takes anything at all and must neither panic,
//! nor hang, nor allocate without a limit.
//!
//! A target is a file in `targets/` with `pub fn run(data: &[u8])`, and a line in [`TARGETS`]; seeds are
//! the files in `fuzz/corpus/NAME/`. Two things run them: `tests/replay.rs`, on any toolchain, with the
//! seeds and some thousands of mutations of them, in every test run; and libFuzzer, guided by coverage,
//! through the package in `fuzz/cargo-fuzz`, which alone needs a nightly toolchain.
#![forbid(unsafe_code)]

pub mod mutate;
pub mod targets;

/// A parser under attack.
pub struct Target {
    /// Also the name of its folder of seeds.
    pub name: &'static str,
    /// Panics where the parser has a fault; a clean error of the parser is a pass.
    pub run: fn(&[u8]),
    /// Seeds in the code, for a target without a folder.
    pub seeds: &'static [&'static [u8]],
}

/// Every target. The replay test and libFuzzer's binary both read this table.
pub const TARGETS: &[Target] = &[
    Target {
        name: "label_key",
        run: targets::label_key::run,
        seeds: &[b"", b"\x0a\x10\x0a\x08__name__\x12\x02up"],
    },
    Target {
        name: "wal",
        run: targets::wal::run,
        seeds: &[
            b"HFRM\0\0\0\0",
            b"\x01\x03\0\0\0\x01ab\x02\x04\0\0\0\x02\x02\x3f\xf0",
            // What a checkpoint has: a state, strings, a row with a closed chunk, the end.
            b"\x05\x03\0\0\0\x09\x05\x02\x06\x04\0\0\0\x02up\0\x07\x1a\0\0\0\x01seventeen bytes!\x02\0\x01\x01\x02\x03\x01c\0\x08\x01\0\0\0\x01",
        ],
    },
    Target {
        name: "block",
        run: targets::block::run,
        seeds: &[
            // A label set and its neighbour; ids as gaps; of version 1 both, and a chunk list.
            b"\x04\x03\x05\x01\x07\x02\x05\x02",
            b"\x04\x01\xb6\x0a",
            b"\x02\0\x02\x03\x05\x06\x02\x01\0\x09",
            b"\x02\x04\x03",
            b"\x02\x07\0\xd0\x0f\xe8\x07\x03\x14\x02\x05\xd0\x0f\xe8\x07\x03\x1e",
            // Directory and body of a block with three series.
            b"\0\0\0\0\x04\0\0\0\0\0\0\0O\x1a\xb4\xa6fU>\xb8\0\0\0\0\0\0\0\0x\xd4\x03\0\0\0\0\0\xe0\x93\x04\0\0\0\0\
              \0\x03\0\0\0\0\0\0\0\x03\0\0\0\0\0\0\0\xb4\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x10\0\0\0\0\0\0\0C\0\0\0\0\0\
              \0\0S\0\0\0\0\0\0\0(\0\0\0\0\0\0\0{\0\0\0\0\0\0\0\x18\0\0\0\0\0\0\0\x93\0\0\0\0\0\0\0\x1e\0\0\0\0\0\0\
              \0\xb1\0\0\0\0\0\0\0\x0a\0\0\0\0\0\0\0\xbb\0\0\0\0\0\0\0\x10\0\0\0\0\0\0\0\xcb\0\0\0\0\0\0\0\x0b\0\0\0\
              \0\0\0\0\xd6\0\0\0\0\0\0\0 \0\0\0\0\0\0\0\xf6\0\0\0\0\0\0\0\x10\0\0\0\0\0\0\0\x06\x01\0\0\0\0\0\0 \0\0\
              \0\0\0\0\0&\x01\0\0\0\0\0\0\x0c\0\0\0\0\0\0\0HEARTHBK\0\0\0\0\0\0\0\0c;\0\xe8\x07\0\0\x02\x06\x10\x0c\
              \x0b\x0b\x0b\xef\xfb\xbek;\x02\xfa\x01\x19\0\x02\x06\x10\x0c\x0b\x0b\x0b\xef\xfb\xbek;\x01\x19\x05\0\x02\
              \x06\x10\x0c\x0b\x0b\x0b\xef\xfb\xbek;\x02\xfa\x01K\0\x02\x06\x10\x0c\x0b\x0b\x0b\xef\xfb\xbe__name__\
              host-1host-2host-3instancemetric\x08\0\0\0\x0e\0\0\0\x14\0\0\0\x1a\0\0\0\x22\0\0\0(\0\0\0%\xdf\xf2>\x1e\
              4#\xc6\x92\x15\xc1\x84\xa7\x07\x7f>\x96\xce\x9d\xf6k\x03\x18/:#rz\x0e\x0c\x04\x03\x15\0\x05\x04\x05\x04\
              \x05\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\xf8\xa8\x0f<\x22\x08\x10\x08\x11\0\0\0\0\0\0\0\0\x11\0\0\
              \0<\0\0\0\0\0\0\0\0\0\0\0x\xd4\x03\0\0\0\0\0\0\0\0\0\x01\0\0\0\x04\0\0\0\x04\0\0\0\x05\0\0\0\0\0\0\0\x01\
              \0\0\0\x03\0\0\0\x02\0\0\0\x06\0\0\0\x03\0\0\0\x09\0\0\0\x03\0\x07\x01\0\x01\x01\0\x02\x01\0\x04",
        ],
    },
    Target {
        name: "promql",
        run: targets::promql::run,
        seeds: &[
            b"sum by (a) (rate(x{b=\"c\",d=~\"e.*\"}[5m] offset 1m)) / on (a) group_left (f) -(y @ end())",
            b"histogram_quantile(0.9, {\"my.metric\",'l.x'!=`v`}[1h:step()*2] offset -(min_of(1h, 2^3))) # c",
            b"a == bool ignoring(b) fill_left(-Inf) 0x1F or topk without () (1_000, b anchored) </ 1h30m",
        ],
    },
    Target {
        name: "remote_write",
        run: targets::remote_write::run,
        seeds: &[
            b"",
            // A sample; labels on both sides of one; metadata.
            b"\x0a\x24\x0a\x0e\x0a\x08__name__\x12\x02up\x12\x10\x09\0\0\0\0\0\0\xf8\x3f\x10\x80\x80\x80\x80\x80\x01",
            b"\x0a\x1e\x0a\x06\x0a\x01b\x12\x01c\x12\x02\x10\x05\x0a\x10\x0a\x08__name__\x12\x04up_x",
            b"\x1a\x0d\x08\x01\x12\x02up\x22\x02Hi\x2a\x01s",
            // An exemplar, an integer histogram and a float histogram.
            b"\x0a\x0f\x1a\x0d\x0a\x06\x0a\x01t\x12\x01x\x11\0\0\0\0\0\0\xf8\x3f",
            b"\x0a\x15\x22\x13\x08\x03\x20\x06\x5a\x04\x08\x01\x10\x02\x62\x02\x02\x02\x70\x01\x78\x05\x30\x01",
            b"\x0a\x16\x22\x14\x11\0\0\0\0\0\0\xf8\x3f\x6a\x08\0\0\0\0\0\0\xf8\x3f\x20\x69",
            // The first of them as a snappy block.
            b"\x14\x4c\x0a\x12\x0a\x0c\x0a\x08__name__\x12\x00\x12\x02\x10\x05",
        ],
    },
    Target {
        name: "chunk_values",
        run: targets::chunk_values::run,
        seeds: &[
            // Constant; frame; delta; with a special; scaled and sparse; in the order of floats; coded.
            b"\x08\x08\x01\xfa\x01",
            b"\n\x13\x02\x00\x05 \x90\x04E\x1b\x92!c\x10\x93\xa3\t\x08",
            b"\x0b\x13\x00\x00\x1c\x02\x18\x86a\x18\x86",
            b"\x8b\'\x00\x00\x00\x01\x01\x07\x02 \x84\x10B\x08",
            b"k\x0b\x00\x80 \x00\x00\x01\x04\x04\x01\x0f",
            b"b\x0b\x00\x04\x00\x80\x80\x80\x80\x80\x80\x80\xfe\x1f@\x1aU\x05f\x1d\x00\"\x0f\xf9\x8f\x0ff\x1d\x00\"\x0f",
            b"\x05\x01\x0fIHb\x13=\xd4?\xf6Vj\xc9\xeb\xc7\xf0?",
            b"\x07\x0b\x0c\x00\x00\x00\x00\x06\x9f\x99\x00\t\x0b{\x82UF\x00",
        ],
    },
    Target {
        name: "chunk_times",
        run: targets::chunk_times::run,
        seeds: &[
            // Regular; a line with jitter and a break; change of change; wild.
            b"\x03\x1d\x00\x80\xa0\xab\xfe\xf9b\xb0\xea\x01\x00",
            b"\x06\'\x00\x80\xa0\xab\xfe\xf9b\xb0\xea\x01\x01\r\xc0\xa9\x07\x02llllllllll",
            b"\x14\t\x00\x00\x02\x07\x00\x00\x03C\x82\xf1\x90T0",
            b"\"\x03\x00\x80\x80\x80\xf8\xff\x03\xff\xff\xff\x07\x00\x1b\x01 \x00\x0c\x00\x01@\x00\x00\x00\x00\x00\x00\x00",
        ],
    },
    Target {
        name: "chunk_histograms",
        run: targets::chunk_histograms::run,
        seeds: &[
            // Integer and exponential; custom bounds, start times and a count of its own.
            b"\x01\r\x08\x06\x02\x03\x02\x02\x01\x00\x00\x02\x08\x00\x04\x00\x0b\x08\x01\x00\n\x00\x08\x08\x00\x00+\x08\x00\x02\x00\x00\x00\x01\xaa\x00\x0b\x08\x00\x00\x02\x02\x88\x88\x00+\x08\x00\x02\x00\x00\x02\x01\xaa\x00",
            b"\x01\x02\x02i\x00\x00\x00\x00\x00\x00\x00\x00\x01\x00\x02\x00\x01\x00\x00\x00\x00\x00\x00\xe0?\"\x02\x00\x02\x00\x00\x01\x06\"\x02\x00\xff\x06\x05\x00\x01\x04\x0b\x02\x01\x00\n\x00\x08\x02\x00\x00*\x02\x02\x19\x00\x02\x05`\x13\x0b\x02\x02\x002\x00\x0b\x02\x0222\x00",
        ],
    },
    Target {
        name: "http_answer",
        run: targets::http_answer::run,
        seeds: &[
            b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nup 1\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nup \r\n2;x=y\r\n1\n\r\n0\r\nX: y\r\n\r\n",
            b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.0 404 Not Found\r\nConnection: close\r\n\r\nnothing",
        ],
    },
    Target {
        name: "discovery",
        run: targets::discovery::run,
        seeds: &[
            br#"[{"targets": ["a:1"], "labels": {"l": "v"}}]"#,
            br#"{"type": "MODIFIED", "object": {"metadata": {"name": "a", "namespace": "n", "resourceVersion": "5"},
               "spec": {"containers": [{"name": "c", "ports": [{"containerPort": 80}]}]}, "status": {"podIP": "1.2.3.4"}}}"#,
            br#"{"type": "ERROR", "object": {"code": 410, "reason": "Expired"}}"#,
            br#"[{"Node": {"Node": "n", "Address": "1.2.3.4", "Meta": {"a": "b"}},
               "Service": {"ID": "w", "Tags": ["a"], "Port": 80}, "Checks": [{"CheckID": "c", "Status": "passing"}]}]"#,
            b"current-context: c\ncontexts: [{name: c, context: {cluster: k, user: u}}]\nclusters: [{name: k, cluster: {server: 'https://h'}}]\nusers: [{name: u, user: {token: t}}]",
        ],
    },
    Target {
        name: "exposition_text",
        run: targets::exposition_text::run,
        seeds: &[
            b"# HELP a_total Two\\n\n# TYPE a_total counter\n# note\na_total{x=\"1\",y=\"q\\\"\"} 5 1500\n\na 1e3",
            b"{\"a.b\",\"c d\"=\"e\"} NaN\n a { b = \"c\" , } +Inf\n",
        ],
    },
    Target {
        name: "exposition_openmetrics",
        run: targets::exposition_openmetrics::run,
        seeds: &[
            b"# TYPE a_s counter\n# UNIT a_s s\n# HELP a_s Help.\na_s_total{x=\"1\"} 5 1.5 # {t=\"u\"} 0.25 2\n# EOF\n",
            b"{\"a.b\",c=\"d\"} 1\n# EOF",
        ],
    },
    Target {
        name: "exposition_protobuf",
        run: targets::exposition_protobuf::run,
        seeds: &[
            b"",
            // A counter with an exemplar and a creation time; a summary with a quantile.
            b"\x38\x0a\x03c_s\x12\x01h\x18\x00\x2a\x01s\x22\x29\x0a\x06\x0a\x01a\x12\x01b\x1a\x1c\x09\0\0\0\0\0\0\xf8\x3f\x12\x0d\x0a\x06\x0a\x01t\x12\x01x\x1a\x03\x08\xe8\x07\x1a\x02\x08\x05\x30\x05",
            b"\x21\x0a\x01q\x18\x02\x22\x1a\x22\x18\x08\x03\x1a\x12\x09\0\0\0\0\0\0\xe0\x3f\x11\0\0\0\0\0\0\xf8\x3f\x22\0",
            // A histogram of both kinds.
            b"\x2f\x0a\x01h\x18\x04\x22\x28\x3a\x26\x08\x03\x1a\x0b\x08\x01\x11\0\0\0\0\0\0\xf0\x3f\x28\x06\x38\x01\x62\x04\x08\x02\x10\x02\x6a\x02\x02\0\x62\x04\x08\x02\x10\x01\x6a\x01\x01",
        ],
    },
    Target {
        name: "content_type",
        run: targets::content_type::run,
        seeds: &[b"text/plain; version=0.0.4; charset=\"utf-8\"", b"application/openmetrics-text"],
    },
    Target {
        name: "number",
        run: targets::number::run,
        seeds: &[b"-1.5e+10", b"0001.250", b"infinity", b"NaN", b"9007199254740993"],
    },
    Target {
        name: "prometheus_chunk",
        run: targets::prometheus_chunk::run,
        seeds: &[
            b"\0\0\x14\xa0\x97\xf7\xe6\xc3h\0\0\0\0\0\0\0\0\x98u\0\0\0\0\0",
            b"\x01\0\x0a\x80\0\xee\\fO\xbe\xbe>\x9fF_\xf0\0\x0d\x10\xf4\x1b\xfa\x05\0\0\0\0\0\0\0\0\x11G\xe0\xeabL&\xc0\x067\x88\x80\x08\x06\xc0\xe8\x1a\x85\xe8\x1b\x04\xd0'\x03X\xdf\x81\x16\x04(",
            b"\x02\0\x01\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
            b"",
        ],
    },
    Target {
        name: "prometheus_index",
        run: targets::prometheus_index::run,
        seeds: &[
            b"\xba\xaa\xd7\0\x02\0\0\0)\0\0\0\x0d\0\x010\x011\x012\x013\x014\x08__name__\x03exp\x01h\x01k\x01m\x04nhcb\x01sG\0\xd2P\0\0\0\0\0\0\0\0\0\0\x10\x02\x06\x0a\x0c\x01\x01\xe0\x84\x89\xea\xc3h\x80\xd3\x0e\x08\x15J\xad\xaa\0\0\0\0\0\0\x0c\0\0\0\x01\0\0\0\x01\0\0\0\x0a\x8c\xad$\x81\0\0\0\x0c\0\0\0\x01\0\0\0\x01\0\0\0\x01\x15$\x8f\xba\0\0\0\x08\0\0\0\x01\0\0\0\x04s\xa3J9\0\0\0\x08\0\0\0\x01\0\0\0\x04s\xa3J9\0\0\0\x08\0\0\0\x01\0\0\0\x04s\xa3J9\0\0\0\x13\0\0\0\x02\x01\x08__name__X\x01\x01sl\xfb\xfb\"i\0\0\0\x1e\0\0\0\x03\x02\0\0\x80\x01\x02\x08__name__\x01m\x90\x01\x02\x01s\x010\xa0\x01\xc2w\xf6\xd6\0\0\0\0\0\0\0\x05\0\0\0\0\0\0\x006\0\0\0\0\0\0\0U\0\0\0\0\0\0\0\xb0\0\0\0\0\0\0\0\x80\0\0\0\0\0\0\0\xcb\x15}D\x93",
            b"\x01\0\x01\x01\x04\x06\x08",
        ],
    },
    Target {
        name: "prometheus_log",
        run: targets::prometheus_log::run,
        seeds: &[
            b"\x09\0[Y\xb4>\xd3\xae\x01\x04\x01\0\x09\x01@\x01\x02\x08__name__\x01m\x01s\x010\x09\x17\x0c\0\x02\x02\x082\x18\0\x001\x0d\x18\0\x03:\x18\0\x002\x0d\x18\0\x04:\x18\0\x003\x0d\x18\0\x05:\x18\0\x004\x0d\x18\0\x06\x1d\x18\x18h\x01k\x03exp\x0d\x1a\0\x076\x1a\0\x10\x04nhcb",
            b"\x01\0\0\0\0\0\0\0\x07\x01\x01a\x01b",
            b"\x02\0\0\0\0\0\0\0\x07\0\0\0\0\0\0\x03\xe8\0\0?\xf8\0\0\0\0\0\0\x03\x04@\x04\0\0\0\0\0\0",
            b"\x09\0\0\0\0\0\0\0\x07\0\0\0\0\0\0\0\x09\0\0\x03i\0\0\0\0\0\0\0\0\0\x03@\x04\0\0\0\0\0\0\x01\0\x02\0\x02\x02\x02\0\x01?\xe0\0\0\0\0\0\0",
            b"\x08\0\0\0\0\0\0\0\x07\0\0\0\0\0\0\0\x09\0\0\x02\x06?PbM\xd2\xf1\xa9\xfc?\xf0\0\0\0\0\0\0@\x0c\0\0\0\0\0\0@\x04\0\0\0\0\0\0\x01\0\x02\0\x02?\xf0\0\0\0\0\0\0?\xf8\0\0\0\0\0\0\0",
            b"\x04\0\0\0\0\0\0\0\x07\0\0\0\0\0\0\0\x09\0\0?\xf8\0\0\0\0\0\0\x01\x01t\x01x",
            b"\x06\x07\x01\x01\x04TYPE\x01c",
            b"\x03\0\0\0\0\0\0\0\x07\x09\x0a",
            b"\x05\0\0\0\0\0\0\0\x07\0\0\0\0\0\0\0\x08",
        ],
    },
    Target {
        name: "prometheus_files",
        run: targets::prometheus_files::run,
        seeds: &[
            b"{\"ulid\":\"01BKGTZQ1SYQJTR4PB43C8PD98\",\"minTime\":1,\"maxTime\":2,\"compaction\":{\"level\":1,\"parents\":[{\"ulid\":\"x\"}]},\"version\":1}",
            b"\x010\xbc\x91\x01\0\0\0\0\0\0\0\0\0\0\x01\0\0\x01\xa2\x1e\x9d\x02\x80\0\0\x01\xa2\x1e\x9dw\xb0\x81\x15\0\x03\x80\x8a\xe8\xe9\xc3h@i \0\0\0\0\0\x98u\xe2\x16\x90\xd1A\xfe\xd5",
            b"01BKGTZQ1SYQJTR4PB43C8PD98",
            b"\x010\xba0\x01\x03\x09\x0ao\x1e\x10\xfe",
        ],
    },
];

/// Runs the target of that name.
///
/// # Panics
/// Where the parser has a fault, or no target has the name.
pub fn run(name: &str, data: &[u8]) {
    let target = TARGETS.iter().find(|target| target.name == name);
    (target.unwrap_or_else(|| panic!("no fuzz target is called {name:?}")).run)(data);
}
