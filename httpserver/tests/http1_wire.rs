//! What comes in: one table of bytes and what they mean, each fed whole, byte by byte, cut everywhere, and with more behind it.

mod http1_support;

use http1_support::events;
use httpserver::http1::Limits;

/// Bytes, and the events they come to. The name says what is pinned; ids are those of the contract, `row` those of its bad-input matrix.
type Case = (&'static str, &'static [u8], &'static [&'static str]);

const REQUESTS: &[Case] = &[
    ("plain", b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", &["GET / HTTP/1.1 host=a", "eof"]),
    ("no_space_after_colon", b"GET / HTTP/1.1\r\nHost:a\r\n\r\n", &["GET / HTTP/1.1 host=a", "eof"]),
    ("blanks_around_value", b"GET / HTTP/1.1\r\nHost: \t a \t\r\n\r\n", &["GET / HTTP/1.1 host=a", "eof"]),
    ("obs_text_in_value", b"GET / HTTP/1.1\r\nHost: a\r\nX: \xe9\xff\r\n\r\n", &["GET / HTTP/1.1 host=a", "eof"]),
    ("hu13_any_token_is_a_method", b"f0o! /x HTTP/1.1\r\nHost: a\r\n\r\n", &["f0o! /x HTTP/1.1 host=a", "eof"]),
    ("two_requests", b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\nHost: b\r\n\r\n",
     &["GET /1 HTTP/1.1 host=a", "GET /2 HTTP/1.1 host=b", "eof"]),
    ("h1_2_row_3_empty_lines_before", b"\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n\r\nGET / HTTP/1.1\r\nHost: b\r\n\r\n",
     &["GET / HTTP/1.1 host=a", "GET / HTTP/1.1 host=b", "eof"]),
    ("row_3_too_many_empty_lines", b"\r\n\r\n\r\n\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", &["error 400 TooManyEmptyLines"]),
    ("nothing_but_an_empty_line", b"\r\n", &["eof"]),
    ("eof_in_request_line", b"GET / HT", &["eof Truncated"]),
    ("eof_in_fields", b"GET / HTTP/1.1\r\nHost: a\r\n", &["eof Truncated"]),

    // Request line
    ("row_1_garbage", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", &["error 400 InvalidMethod"]),
    ("leading_blank", b" GET / HTTP/1.1\r\nHost: a\r\n\r\n", &["error 400 InvalidMethod"]),
    ("hu13_comma_in_method", b"FOO,BAR / HTTP/1.1\r\nHost: a\r\n\r\n", &["error 400 InvalidMethod"]),
    ("lf_in_method", b"GE\nT / HTTP/1.1\r\nHost: a\r\n\r\n", &["error 400 InvalidMethod"]),
    ("hu11_two_blanks_before_target", b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n", &["error 400 InvalidTarget"]),
    ("hu11_two_blanks_before_version", b"GET /  HTTP/1.1\r\nHost: a\r\n\r\n", &["error 400 InvalidVersion"]),
    ("hu11_tab_instead_of_blank", b"GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n", &["error 400 InvalidMethod"]),
    ("hu11_blank_in_target", b"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", &["error 400 InvalidVersion"]),
    ("no_version", b"GET /\r\nHost: a\r\n\r\n", &["error 400 InvalidTarget"]),
    ("nul_in_target", b"GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n", &["error 400 InvalidTarget"]),
    ("del_in_target", b"GET /\x7f HTTP/1.1\r\nHost: a\r\n\r\n", &["error 400 InvalidTarget"]),
    ("bare_cr_in_target", b"GET /\r HTTP/1.1\r\nHost: a\r\n\r\n", &["error 400 InvalidTarget"]),
    ("httparse_gap_obs_text_in_target", b"GET /\xc3\xa9 HTTP/1.1\r\nHost: a\r\n\r\n", &["error 400 InvalidTarget"]),
    ("httparse_gap_bare_lf_after_request_line", b"GET / HTTP/1.1\nHost: a\r\n\r\n", &["error 400 BareLf"]),
    ("row_2_http_2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &["error 505 UnsupportedVersion"]),
    ("row_2_http_0_9", b"GET / HTTP/0.9\r\n\r\n", &["error 505 UnsupportedVersion"]),
    ("hu12_http_1_2_is_served_as_1_1", b"GET / HTTP/1.2\r\nHost: a\r\n\r\n", &["GET / HTTP/1.1 host=a", "eof"]),
    ("hu12_http_1_9_needs_host", b"GET / HTTP/1.9\r\n\r\n", &["error 400 MissingHost"]),
    ("hu12_http_1_2_is_as_strict", b"GET / HTTP/1.2\r\nHost: a\nX: y\r\n\r\n", &["error 400 BareLf"]),
    ("version_in_lower_case", b"GET / http/1.1\r\nHost: a\r\n\r\n", &["error 400 InvalidVersion"]),
    ("version_with_two_digits", b"GET / HTTP/1.10\r\nHost: a\r\n\r\n", &["error 400 InvalidVersion"]),
    ("version_without_minor", b"GET / HTTP/1\r\nHost: a\r\n\r\n", &["error 400 InvalidVersion"]),
    ("blank_after_version", b"GET / HTTP/1.1 \r\nHost: a\r\n\r\n", &["error 400 InvalidVersion"]),

    // Targets
    ("hu23_absolute_form_goes_before_host", b"GET http://b:81/p?q HTTP/1.1\r\nHost: a\r\n\r\n",
     &["GET http://b:81/p?q HTTP/1.1 host=b:81", "eof"]),
    ("hs19_absolute_form_without_path", b"OPTIONS http://b HTTP/1.1\r\nHost: b\r\n\r\n", &["OPTIONS http://b HTTP/1.1 host=b", "eof"]),
    ("absolute_form_needs_host_field_too", b"GET http://b/ HTTP/1.1\r\n\r\n", &["error 400 MissingHost"]),
    ("absolute_form_without_authority", b"GET http:///p HTTP/1.1\r\nHost: a\r\n\r\n", &["error 400 InvalidTarget"]),
    ("absolute_form_with_user", b"GET http://u@b/ HTTP/1.1\r\nHost: a\r\n\r\n", &["error 400 InvalidTarget"]),
    ("absolute_form_without_slashes", b"GET urn:b HTTP/1.1\r\nHost: a\r\n\r\n", &["error 400 InvalidTarget"]),
    ("no_form_at_all", b"GET index.html HTTP/1.1\r\nHost: a\r\n\r\n", &["error 400 InvalidTarget"]),
    ("fragment", b"GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n", &["error 400 InvalidTarget"]),
    ("hs19_connect", b"CONNECT b:443 HTTP/1.1\r\nHost: a\r\n\r\n", &["CONNECT b:443 HTTP/1.1 host=b:443", "closed"]),
    ("connect_without_port", b"CONNECT b HTTP/1.1\r\nHost: a\r\n\r\n", &["error 400 InvalidTarget"]),
    ("connect_with_path", b"CONNECT /x HTTP/1.1\r\nHost: a\r\n\r\n", &["error 400 InvalidTarget"]),
    ("authority_form_with_get", b"GET b:443 HTTP/1.1\r\nHost: a\r\n\r\n", &["error 400 InvalidTarget"]),
    ("hs19_asterisk", b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", &["OPTIONS * HTTP/1.1 host=a", "eof"]),
    ("asterisk_with_get", b"GET * HTTP/1.1\r\nHost: a\r\n\r\n", &["error 400 InvalidTarget"]),
    ("double_slash_is_a_path", b"GET //b/c HTTP/1.1\r\nHost: a\r\n\r\n", &["GET //b/c HTTP/1.1 host=a", "eof"]),

    // Fields
    ("row_6_no_colon", b"GET / HTTP/1.1\r\nHost\r\n\r\n", &["error 400 InvalidFieldName"]),
    ("row_7_blank_before_colon", b"GET / HTTP/1.1\r\nHost : a\r\n\r\n", &["error 400 InvalidFieldName"]),
    ("row_7_empty_name", b"GET / HTTP/1.1\r\n: a\r\n\r\n", &["error 400 InvalidFieldName"]),
    ("row_7_non_token_name", b"GET / HTTP/1.1\r\nA(b): a\r\n\r\n", &["error 400 InvalidFieldName"]),
    ("row_7_obs_text_in_name", b"GET / HTTP/1.1\r\nH\xe9: a\r\n\r\n", &["error 400 InvalidFieldName"]),
    ("row_8_nul_in_value", b"GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n", &["error 400 InvalidFieldValue"]),
    ("row_8_del_in_value", b"GET / HTTP/1.1\r\nHost: a\r\nX: \x7f\r\n\r\n", &["error 400 InvalidFieldValue"]),
    ("hu8_row_8_bare_cr_in_value", b"GET / HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n", &["error 400 BareCr"]),
    ("row_8_two_crs", b"GET / HTTP/1.1\r\nHost: a\r\r\n\r\n", &["error 400 BareCr"]),
    ("hu7_row_9_obs_fold", b"GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n b\r\n\r\n", &["error 400 FoldedField"]),
    ("hu7_row_9_blank_before_first_field", b"GET / HTTP/1.1\r\n Host: a\r\n\r\n", &["error 400 FoldedField"]),
    ("row_9_blank_line_with_a_tab", b"GET / HTTP/1.1\r\nHost: a\r\n\t\r\n\r\n", &["error 400 FoldedField"]),
    ("hu8_httparse_gap_bare_lf_after_field", b"GET / HTTP/1.1\r\nHost: a\nX: y\r\n\r\n", &["error 400 BareLf"]),
    ("httparse_gap_bare_lf_after_last_field", b"GET / HTTP/1.1\r\nHost: a\n\r\n", &["error 400 BareLf"]),
    ("httparse_gap_bare_lf_after_empty_value", b"GET / HTTP/1.1\r\nX:\nHost: a\r\n\r\n", &["error 400 BareLf"]),
    ("httparse_gap_bare_lf_as_blank_line", b"GET / HTTP/1.1\r\nHost: a\r\n\n", &["error 400 BareLf"]),
    ("httparse_gap_bare_lf_without_fields", b"GET / HTTP/1.0\r\n\n", &["error 400 BareLf"]),
    ("httparse_gap_bare_lf_before_request", b"\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", &["error 400 BareLf"]),
    ("bare_cr_before_request", b"\rGET / HTTP/1.1\r\nHost: a\r\n\r\n", &["error 400 BareCr"]),

    // Host
    ("hu19_row_10_missing", b"GET / HTTP/1.1\r\n\r\n", &["error 400 MissingHost"]),
    ("hu19_missing_in_1_0", b"GET / HTTP/1.0\r\n\r\n", &["GET / HTTP/1.0 host=- last", "closed"]),
    ("hu19_row_11_twice", b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", &["error 400 InvalidHost"]),
    ("hu19_row_11_twice_in_1_0", b"GET / HTTP/1.0\r\nHost: a\r\nhost: a\r\n\r\n", &["error 400 InvalidHost"]),
    ("hu19_row_11_comma", b"GET / HTTP/1.1\r\nHost: a,b\r\n\r\n", &["error 400 InvalidHost"]),
    ("hu19_row_11_path", b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", &["error 400 InvalidHost"]),
    ("hu19_empty", b"GET / HTTP/1.1\r\nHost:\r\n\r\n", &["GET / HTTP/1.1 host=-", "eof"]),
    ("hu19_ipv6", b"GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n", &["GET / HTTP/1.1 host=[::1]:80", "eof"]),

    // Content-Length
    ("h1_9_no_body_without_length", b"POST / HTTP/1.1\r\nHost: a\r\n\r\n", &["POST / HTTP/1.1 host=a", "eof"]),
    ("h1_13_length", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello", &["POST / HTTP/1.1 host=a", "body hello", "eof"]),
    ("h1_10_leading_zeros", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 005\r\n\r\nhello",
     &["POST / HTTP/1.1 host=a", "body hello", "eof"]),
    ("h1_10_row_13_equal_repeats", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2, 2\r\ncontent-length: 2\r\n\r\nhi",
     &["POST / HTTP/1.1 host=a", "body hi", "eof"]),
    ("h1_10_row_14_different", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nhi",
     &["error 400 InvalidContentLength"]),
    ("h1_10_differs_as_text", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3,03\r\n\r\nabc", &["error 400 InvalidContentLength"]),
    ("h1_10_row_12_word", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: foo\r\n\r\n", &["error 400 InvalidContentLength"]),
    ("h1_10_row_12_minus", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n", &["error 400 InvalidContentLength"]),
    ("h1_10_row_12_plus", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +10\r\n\r\n", &["error 400 InvalidContentLength"]),
    ("h1_10_row_12_underscore", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1_0\r\n\r\n", &["error 400 InvalidContentLength"]),
    ("h1_10_row_12_empty", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: \r\n\r\n", &["error 400 InvalidContentLength"]),
    ("h1_10_row_12_hex", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x5\r\n\r\n", &["error 400 InvalidContentLength"]),
    ("h1_10_empty_element", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5,\r\n\r\n", &["error 400 InvalidContentLength"]),
    ("length_beyond_u64", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 18446744073709551616\r\n\r\n", &["error 413 BodyTooLarge"]),
    ("h1_11_row_15_too_large", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000001\r\n\r\n",
     &["POST / HTTP/1.1 host=a", "error 413 BodyTooLarge"]),
    ("eof_in_body", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhell", &["POST / HTTP/1.1 host=a", "body hell", "eof Truncated"]),

    // Transfer-Encoding
    ("h1_12_chunked", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nA\r\n0123456789\r\n0\r\n\r\n",
     &["POST / HTTP/1.1 host=a", "body abc0123456789", "eof"]),
    ("h1_12_chunked_in_capitals", b"POST / HTTP/1.1\r\nHost: a\r\nTRANSFER-ENCODING: CHUNKED\r\n\r\n0\r\n\r\n",
     &["POST / HTTP/1.1 host=a", "eof"]),
    ("h1_12_row_16_with_length", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
     &["error 400 ConflictingFraming"]),
    ("h1_12_row_17_unknown", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n", &["error 400 InvalidTransferEncoding"]),
    ("h1_12_row_17_identity", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity\r\n\r\n", &["error 400 InvalidTransferEncoding"]),
    ("h1_12_row_17_gzip_chunked", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
     &["error 501 UnknownTransferCoding"]),
    ("h1_12_row_17_chunked_gzip", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, gzip\r\n\r\n",
     &["error 400 InvalidTransferEncoding"]),
    ("h1_12_row_17_twice", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
     &["error 400 InvalidTransferEncoding"]),
    ("h1_12_row_17_twice_in_a_list", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, chunked\r\n\r\n",
     &["error 400 InvalidTransferEncoding"]),
    ("h1_12_no_break_space", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\xa0\r\n\r\n", &["error 400 InvalidTransferEncoding"]),
    ("h1_12_empty", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\r\n\r\n", &["error 400 InvalidTransferEncoding"]),
    ("h1_12_parameter", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked;x=y\r\n\r\n", &["error 400 InvalidTransferEncoding"]),
    ("chunked_in_1_0", b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", &["error 400 InvalidTransferEncoding"]),

    // Chunks
    ("h1_16_next_request_follows", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /n HTTP/1.1\r\nHost: b\r\n\r\n",
     &["POST / HTTP/1.1 host=a", "GET /n HTTP/1.1 host=b", "eof"]),
    ("row_20_extensions", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1;a;b=c \t; d = \"e\\\"\\\\;\xe9\";f\r\nx\r\n0;z\r\n\r\n",
     &["POST / HTTP/1.1 host=a", "body x", "eof"]),
    ("row_20_blank_before_extension", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1 \t;a\r\nx\r\n0\r\n\r\n",
     &["POST / HTTP/1.1 host=a", "body x", "eof"]),
    ("extension_without_name", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1;\r\nx\r\n",
     &["POST / HTTP/1.1 host=a", "error 400 InvalidChunkExtension"]),
    ("extension_without_value", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1;a=\r\nx\r\n",
     &["POST / HTTP/1.1 host=a", "error 400 InvalidChunkExtension"]),
    ("httparse_gap_anything_in_extension", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1;a\x01\r\nx\r\n",
     &["POST / HTTP/1.1 host=a", "error 400 InvalidChunkExtension"]),
    ("quote_then_word", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1;a=\"b\"c\r\nx\r\n",
     &["POST / HTTP/1.1 host=a", "error 400 InvalidChunkExtension"]),
    ("line_feed_in_quotes", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1;a=\"\nb\"\r\nx\r\n",
     &["POST / HTTP/1.1 host=a", "error 400 BareLf"]),
    ("blank_after_size", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1 \r\nx\r\n",
     &["POST / HTTP/1.1 host=a", "error 400 InvalidChunkExtension"]),
    ("h1_14_row_18_not_hex", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nG\r\n", &["POST / HTTP/1.1 host=a", "error 400 InvalidChunkSize"]),
    ("h1_14_underscore", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1_a\r\n", &["POST / HTTP/1.1 host=a", "error 400 InvalidChunkSize"]),
    ("h1_14_prefix", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0x1\r\n", &["POST / HTTP/1.1 host=a", "error 400 InvalidChunkSize"]),
    ("empty_size", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\r\n", &["POST / HTTP/1.1 host=a", "error 400 InvalidChunkSize"]),
    ("leading_blank_in_size", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n 1\r\n", &["POST / HTTP/1.1 host=a", "error 400 InvalidChunkSize"]),
    ("size_overflow", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n10000000000000000\r\n",
     &["POST / HTTP/1.1 host=a", "error 400 InvalidChunkSize"]),
    ("sum_overflow", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\nffffffffffffffff\r\n",
     &["POST / HTTP/1.1 host=a", "body x", "error 413 BodyTooLarge"]),
    ("h1_17_row_23_sum_too_large", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\nf4240\r\nabc",
     &["POST / HTTP/1.1 host=a", "body x", "error 413 BodyTooLarge"]),
    ("h1_15_row_21_no_crlf_after_data", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nxy\r\n",
     &["POST / HTTP/1.1 host=a", "body x", "error 400 InvalidChunkEnd"]),
    ("h1_15_row_24_bare_lf_after_size", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\nx\r\n",
     &["POST / HTTP/1.1 host=a", "error 400 BareLf"]),
    ("h1_15_row_24_bare_lf_after_data", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\n0\r\n\r\n",
     &["POST / HTTP/1.1 host=a", "body x", "error 400 BareLf"]),
    ("bare_cr_after_size", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\rx\r\n", &["POST / HTTP/1.1 host=a", "error 400 BareCr"]),
    ("h1_14_row_19_long_line", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n00000000000000000000000000000000000000000000000000000000000000001\r\n",
     &["POST / HTTP/1.1 host=a", "error 400 ChunkLineTooLong"]),
    ("many_extensions", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1;aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\nx\r\n1;bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb\r\nx\r\n1;c\r\n",
     &["POST / HTTP/1.1 host=a", "body x", "error 400 ChunkExtensionsTooLarge"]),
    ("h1_16_row_22_trailers", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nDigest: \t x \r\nX:y\r\n\r\nGET /n HTTP/1.1\r\nHost: a\r\n\r\n",
     &["POST / HTTP/1.1 host=a", "trailer Digest=x", "trailer X=y", "GET /n HTTP/1.1 host=a", "eof"]),
    ("trailer_that_frames", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\ncontent-length: 5\r\n\r\n",
     &["POST / HTTP/1.1 host=a", "error 400 ForbiddenTrailer"]),
    ("trailer_bare_lf", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: y\n\r\n", &["POST / HTTP/1.1 host=a", "error 400 BareLf"]),
    ("trailer_fold", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n X: y\r\n\r\n", &["POST / HTTP/1.1 host=a", "error 400 FoldedField"]),
    ("too_many_trailers", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nA: 1\r\nB: 2\r\nC: 3\r\n\r\n",
     &["POST / HTTP/1.1 host=a", "error 431 TrailersTooLarge"]),
    ("long_trailers", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nA: 1234567890123456789012345678901234567890123456789012345678\r\n\r\n",
     &["POST / HTTP/1.1 host=a", "error 431 TrailersTooLarge"]),
    ("eof_before_last_chunk", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n",
     &["POST / HTTP/1.1 host=a", "body x", "eof Truncated"]),
    ("eof_in_trailers", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", &["POST / HTTP/1.1 host=a", "eof Truncated"]),

    // Connection and expectations
    ("h1_24_close", b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Close\r\n\r\n", &["GET / HTTP/1.1 host=a last", "closed"]),
    ("h1_24_close_in_a_list", b"GET / HTTP/1.1\r\nHost: a\r\nConnection: foo, close\r\n\r\n", &["GET / HTTP/1.1 host=a last", "closed"]),
    ("h1_24_close_beats_keep_alive", b"GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive\r\nConnection: close\r\n\r\n",
     &["GET / HTTP/1.1 host=a last", "closed"]),
    ("h1_25_1_0_keep_alive", b"GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", &["GET / HTTP/1.0 host=-", "eof"]),
    ("h1_25_1_0_post_without_length", b"POST / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", &["POST / HTTP/1.0 host=- last", "closed"]),
    ("h1_25_1_0_post_with_length", b"POST / HTTP/1.0\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n", &["POST / HTTP/1.0 host=-", "eof"]),
    ("h1_21_expect", b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nExpect: 100-Continue\r\n\r\nx",
     &["PUT / HTTP/1.1 host=a waits", "body x", "eof"]),
    ("h1_22_expect_without_body", b"PUT / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n\r\n", &["PUT / HTTP/1.1 host=a", "eof"]),
    ("h1_22_expect_in_1_0", b"PUT / HTTP/1.0\r\nContent-Length: 1\r\nExpect: 100-continue\r\n\r\nx", &["PUT / HTTP/1.0 host=- last", "body x", "closed"]),
    ("h1_22_row_28_expect_with_large_body", b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000001\r\nExpect: 100-continue\r\n\r\n",
     &["PUT / HTTP/1.1 host=a waits", "error 413 BodyTooLarge"]),
    ("row_27_other_expectation", b"PUT / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue, tea\r\n\r\n", &["error 417 UnknownExpectation"]),
    ("row_27_other_expectation_in_1_0", b"PUT / HTTP/1.0\r\nExpect: tea\r\n\r\n", &["PUT / HTTP/1.0 host=- last", "closed"]),
    ("upgrade", b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, keep-alive\r\nUpgrade: websocket\r\n\r\n", &["GET / HTTP/1.1 host=a upgrade", "eof"]),
    ("upgrade_without_connection", b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\r\n", &["GET / HTTP/1.1 host=a", "eof"]),
    ("upgrade_in_1_0", b"GET / HTTP/1.0\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n", &["GET / HTTP/1.0 host=- last", "closed"]),

    // Limits of the table below
    ("h1_7_row_4_long_request_line", b"GET /0123456789012345678901234567890123456789012345678901 HTTP/1.1\r\nHost: a\r\n\r\n",
     &["error 414 RequestLineTooLong"]),
    ("row_4_long_method", b"ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEFGHIJKLMNOPQRSTUVWXYZABCDEFGHIJKLMNOPQRSTUVWXYZ / HTTP/1.1\r\n", &["error 501 MethodTooLong"]),
    ("row_4_longest_request_line", b"GET /01234567890123456789012345678901234567890123456 HTTP/1.1\r\nHost: a\r\n\r\n",
     &["GET /01234567890123456789012345678901234567890123456 HTTP/1.1 host=a", "eof"]),
    ("row_5_too_many_fields", b"GET / HTTP/1.1\r\nHost: a\r\n1: 1\r\n2: 2\r\n3: 3\r\n4: 4\r\n\r\n", &["error 431 TooManyFields"]),
    ("row_5_as_many_as_allowed", b"GET / HTTP/1.1\r\nHost: a\r\n1: 1\r\n2: 2\r\n3: 3\r\n\r\n", &["GET / HTTP/1.1 host=a", "eof"]),
    ("h1_7_row_4_long_head", b"GET / HTTP/1.1\r\nHost: a\r\nX: 0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789\r\n\r\n",
     &["error 431 HeadTooLarge"]),
];

/// Small, so that the table can reach them.
fn limits() -> Limits {
    let mut limits = Limits::default();
    limits.head_bytes = 120;
    limits.request_line_bytes = 64;
    limits.fields = 4;
    limits.body_bytes = 1_000_000;
    limits.chunk_line_bytes = 64;
    limits.chunk_extension_bytes = 64;
    limits.trailer_bytes = 60;
    limits.trailer_fields = 2;
    limits
}

#[test]
fn requests_mean_what_the_table_says() {
    for (name, bytes, expected) in REQUESTS {
        assert_eq!(events(&[bytes], &limits()), *expected, "{name}");
    }
}

#[test]
fn requests_mean_the_same_byte_by_byte() {
    for (name, bytes, expected) in REQUESTS {
        let pieces: Vec<_> = bytes.chunks(1).collect();
        assert_eq!(events(&pieces, &limits()), *expected, "{name}");
    }
}

#[test]
fn requests_mean_the_same_wherever_they_are_cut() {
    for (name, bytes, expected) in REQUESTS {
        for cut in 0..=bytes.len() {
            let (first, second) = bytes.split_at(cut);
            assert_eq!(events(&[first, second], &limits()), *expected, "{name}, cut at {cut}");
        }
    }
}

#[test]
fn bytes_behind_a_request_are_left_to_the_next_one() {
    for (name, bytes, expected) in REQUESTS {
        let with_more = [bytes, &b"GET /more HTTP/1.1\r\nHost: m\r\n\r\n"[..]].concat();
        let mut expected: Vec<_> = expected.to_vec();
        match expected.pop() {
            Some("eof Truncated") => continue,
            Some("eof") => expected.extend(["GET /more HTTP/1.1 host=m", "eof"]),
            last => expected.extend(last),
        }
        assert_eq!(events(&[&with_more], &limits()), expected, "{name}");
        assert_eq!(events(&[bytes, &with_more[bytes.len()..]], &limits()), expected, "{name}, apart");
    }
}

#[test]
fn a_fault_is_refused_when_its_byte_is_seen() {
    for (bytes, expected) in [
        (&b"GET / HTTP/1.1\n"[..], "error 400 BareLf"),
        (b"G\x01", "error 400 InvalidMethod"),
        (b"GET / HTTP/2.0", "error 505 UnsupportedVersion"),
        (b"GET / HTTP/1.1\r\nA: \0", "error 400 InvalidFieldValue"),
        (b"GET / HTTP/1.1\r\nA: b\r\n\t", "error 400 FoldedField"),
    ] {
        assert_eq!(events(&[bytes], &limits()), [expected]);
    }
}

/// A head of exactly `len` bytes.
fn head_of(len: usize) -> Vec<u8> {
    let start = b"GET / HTTP/1.1\r\nHost: a\r\nX: ".to_vec();
    let filler = vec![b'x'; len - start.len() - 4];
    [start, filler, b"\r\n\r\n".to_vec()].concat()
}

#[test]
fn h1_7_the_head_limit_counts_every_byte_of_it() {
    assert_eq!(events(&[&head_of(120)], &limits()), ["GET / HTTP/1.1 host=a", "eof"]);
    assert_eq!(events(&[&head_of(121)], &limits()), ["error 431 HeadTooLarge"]);
    assert_eq!(events(&[&head_of(64 << 10)], &Limits::default()), ["GET / HTTP/1.1 host=a", "eof"]);
    assert_eq!(events(&[&head_of((64 << 10) + 1)], &Limits::default()), ["error 431 HeadTooLarge"]);
}

#[test]
fn row_5_the_default_allows_a_hundred_fields() {
    let head = |fields: usize| {
        let fields = "X: y\r\n".repeat(fields - 1);
        format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n").into_bytes()
    };
    assert_eq!(events(&[&head(100)], &Limits::default()), ["GET / HTTP/1.1 host=a", "eof"]);
    assert_eq!(events(&[&head(101)], &Limits::default()), ["error 431 TooManyFields"]);
}

#[test]
fn h1_14_a_hundred_thousand_chunks_of_one_byte_are_one_body() {
    let head = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    let chunks = b"1\r\nx\r\n".repeat(100_000);
    let mut connection = httpserver::http1::Connection::new();
    let mut request = httpserver::http1::RequestHead::new();
    connection.receive_head(head, &Limits::default(), &mut request).expect("a good head");
    let (mut at, mut data, mut calls) = (0, 0, 0);
    loop {
        calls += 1;
        match connection.receive_body(&chunks[at..], &Limits::default()).expect("good chunks") {
            httpserver::http1::BodyEvent::Data { range, consumed } => {
                data += range.len();
                at += consumed;
            }
            httpserver::http1::BodyEvent::NeedMore { consumed } => {
                at += consumed;
                break;
            }
            httpserver::http1::BodyEvent::End { .. } => panic!("there is no last chunk"),
        }
    }
    assert_eq!((data, calls, at), (100_000, 100_001, chunks.len()));
}
