//! The printed table of limits and deadlines, docs/http-support.md, says what the defaults are and leaves none out.

use std::time::Duration;

use httpserver::{HttpOptions, StreamOptions};

fn table() -> Vec<(String, String)> {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/http-support.md");
    let page = std::fs::read_to_string(page).unwrap();
    let (_, section) = page.split_once("## Limits and deadlines").expect("the section");
    let rows = section.lines().filter_map(|line| line.strip_prefix("| `"));
    let cells = rows.map(|row| row.split(" | ").collect::<Vec<_>>());
    cells.map(|cells| (cells[0].trim_end_matches('`').to_owned(), cells[1].to_owned())).collect()
}

fn bytes(bytes: u64) -> String {
    match bytes {
        u64::MAX => "none".to_owned(),
        _ if bytes.is_multiple_of(1 << 20) => format!("{} MiB", bytes >> 20),
        _ if bytes.is_multiple_of(1 << 10) => format!("{} KiB", bytes >> 10),
        _ => format!("{bytes} bytes"),
    }
}

fn time(time: impl Into<Option<Duration>>) -> String {
    time.into().map_or("none".to_owned(), |time| format!("{} s", time.as_secs()))
}

fn defaults() -> Vec<(&'static str, String)> {
    let (http, stream) = (HttpOptions::default(), StreamOptions::default());
    let memory = iostream::MemoryBudget::default();
    let (limits, form) = (&http.limits, &http.form);
    vec![
        ("head_bytes", bytes(limits.head_bytes as u64)),
        ("request_line_bytes", bytes(limits.request_line_bytes as u64)),
        ("fields", limits.fields.to_string()),
        ("empty_lines", limits.empty_lines.to_string()),
        ("body_bytes", bytes(limits.body_bytes)),
        ("chunk_line_bytes", bytes(limits.chunk_line_bytes.into())),
        ("chunk_extension_bytes", bytes(limits.chunk_extension_bytes.into())),
        ("trailer_bytes", bytes(limits.trailer_bytes as u64)),
        ("trailer_fields", limits.trailer_fields.to_string()),
        ("form.fields", form.fields.to_string()),
        ("form.multipart.parts", form.multipart.parts.to_string()),
        ("form.multipart.part_head_bytes", bytes(form.multipart.part_head_bytes as u64)),
        ("form.multipart.field_bytes", bytes(form.multipart.field_bytes)),
        ("form.multipart.file_bytes", bytes(form.multipart.file_bytes)),
        ("header_timeout", time(http.header_timeout)),
        ("idle_connection_timeout", time(http.idle_connection_timeout)),
        ("body_timeout", time(http.body_timeout)),
        ("minimum_body_rate", format!("{} bytes/s", http.minimum_body_rate)),
        ("write_timeout", time(http.write_timeout)),
        ("minimum_send_rate", format!("{} bytes/s", http.minimum_send_rate)),
        ("handler_timeout", time(http.handler_timeout)),
        ("linger", time(http.linger)),
        ("max_buffered_response", bytes(http.max_buffered_response as u64)),
        (
            "max_requests_per_connection",
            http.max_requests_per_connection.map_or("none".into(), |n| n.to_string()),
        ),
        ("max_connection_age", time(http.max_connection_age)),
        ("keep_alive", http.keep_alive.to_string()),
        ("cancel_on_disconnect", http.cancel_on_disconnect.to_string()),
        ("decompress_request", http.decompress_request.to_string()),
        ("max_inflation", format!("{} times", http.max_inflation)),
        ("compress_response", http.compress_response.map_or("none".to_owned(), |it| format!("{it:?}"))),
        ("max_buffer_size", bytes(stream.max_buffer_size as u64)),
        ("max_write_buffer_size", bytes(stream.max_write_buffer_size as u64)),
        ("read_chunk_size", bytes(stream.read_chunk_size as u64)),
        ("memory.soft", bytes(memory.soft as u64)),
        ("memory.hard", bytes(memory.hard as u64)),
        ("memory.patience", time(memory.patience)),
        ("handshake_timeout", time(iostream::tls::DEFAULT_HANDSHAKE_TIMEOUT)),
    ]
}

#[test]
fn the_printed_table_says_what_the_defaults_are() {
    let printed = table();
    let printed: Vec<(&str, &str)> =
        printed.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let defaults = defaults();
    let defaults: Vec<(&str, &str)> = defaults.iter().map(|(name, value)| (*name, value.as_str())).collect();
    assert_eq!(printed, defaults);
}

#[test]
fn the_printed_table_leaves_no_option_out() {
    let shown = format!("{:#?}", HttpOptions::default());
    // The outermost fields stand four blanks from the edge.
    let options =
        shown.lines().filter_map(|line| line.strip_prefix("    ")?.split_once(": ").map(|(name, _)| name));
    // Not limits: whose word is taken, what is said of the server, and who is told of requests. `limits` and `form` are there field by field.
    let others = ["limits", "form", "xheaders", "protocol", "metrics", "access_log", "ambient"];
    for option in options.filter(|option| !option.starts_with(' ') && !others.contains(option)) {
        assert!(table().iter().any(|(name, _)| name == option), "{option} is not in docs/http-support.md");
    }
}
